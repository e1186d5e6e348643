//! Whom `berth serve` becomes, and how it stops being root for good.
//!
//! ```text
//! root: empty bounding set, no_new_privs --exec itself as uid, gid, no groups--> checks that nothing is left, else refuses to serve
//! ```
//!
//! Why an exec and not setuid(2) in place: the kernel then empties every capability set itself, no thread keeps old credentials, and the
//! process starts with memory in which root never handled anything. The pid stays, so whoever started it goes on watching the right one.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::thread::CapabilitySet;

use super::{ServeError, handover};

/// The user `berth` where nobody was named.
const DEFAULT_USER: &str = "berth";

/// Where even that user does not exist: a fixed number in the range that systemd keeps for dynamic service users (61184 to 65519), so that
/// no person has it. Fixed, as the database belongs to it.
const FALLBACK_ID: u32 = 61777;

/// An unprivileged user and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub uid: u32,
    pub gid: u32,
}

impl Identity {
    /// `None` for the default; a name, `uid` or `uid:gid` otherwise.
    pub(super) fn find(wanted: Option<&str>) -> Result<Identity, ServeError> {
        let passwd = || std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let identity = match wanted {
            Some(text) => parse(text, &passwd()).ok_or_else(|| ServeError::NoSuchUser { user: text.to_owned() })?,
            None => match in_passwd(&passwd(), DEFAULT_USER) {
                Some(identity) => identity,
                None => {
                    tracing::info!(uid = FALLBACK_ID, "there is no user berth: serving as a number that no user has");
                    Identity { uid: FALLBACK_ID, gid: FALLBACK_ID }
                }
            },
        };
        if identity.uid == 0 || identity.gid == 0 {
            return Err(ServeError::RootUser);
        }
        Ok(identity)
    }
}

fn parse(text: &str, passwd: &str) -> Option<Identity> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    match (user.parse::<u32>(), group) {
        (Ok(uid), None) => Some(Identity { uid, gid: uid }),
        (Ok(uid), Some(group)) => Some(Identity { uid, gid: group.parse().ok()? }),
        (Err(_), None) => in_passwd(passwd, user),
        (Err(_), Some(_)) => None,
    }
}

/// See passwd(5).
fn in_passwd(passwd: &str, name: &str) -> Option<Identity> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (user, _password, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        (user == name).then_some(())?;
        Some(Identity { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
    })
}

/// Becomes `identity` by running this program again with the same arguments; returns only when that failed.
pub(super) fn drop_for_good(identity: Identity, input: OwnedFd) -> ServeError {
    if let Err(error) = narrow() {
        return error;
    }
    let source = Command::new("/proc/self/exe") // not the path: the new user may be shut out of a folder above it
        .arg0(std::env::args_os().next().unwrap_or_else(|| "berth".into()))
        .args(std::env::args_os().skip(1))
        .env(handover::VARIABLE, "1")
        .stdin(Stdio::from(input))
        .gid(identity.gid)
        .uid(identity.uid) // std calls setgroups(2) with an empty list first, as this is root
        .exec();
    ServeError::Become { uid: identity.uid, source }
}

/// Nothing that is executed from here on can gain anything: see PR_SET_NO_NEW_PRIVS and PR_CAPBSET_DROP in prctl(2).
fn narrow() -> Result<(), ServeError> {
    for bit in 0..64 {
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            Ok(()) => {}
            // The first number that this kernel does not know.
            Err(rustix::io::Errno::INVAL) => break,
            // No CAP_SETPCAP, as in some containers: no_new_privs, below, closes the same door.
            Err(rustix::io::Errno::PERM) => {
                tracing::warn!("the capability bounding set cannot be emptied here (no CAP_SETPCAP)");
                break;
            }
            Err(source) => return Err(ServeError::Narrow { source: source.into() }),
        }
    }
    rustix::thread::set_no_new_privs(true).map_err(|source| ServeError::Narrow { source: source.into() })
}

/// Refuses to go on with any power left, and names the process as people know it (after the exec above the kernel calls it `exe`).
pub(super) fn verify_unprivileged() -> Result<(), ServeError> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|source| ServeError::ReadStatus { source })?;
    if let Some(left) = power_left(&status) {
        return Err(ServeError::StillPrivileged { left });
    }
    rustix::thread::set_name(c"berth").map_err(|source| ServeError::Narrow { source: source.into() })
}

/// The first line of proc_pid_status(5) that shows power: a user or group id of 0, or a capability.
fn power_left(status: &str) -> Option<String> {
    let mut seen = 0;
    for line in status.lines() {
        let Some((key, values)) = line.split_once(':') else { continue };
        let harmless = match key {
            "Uid" | "Gid" => values.split_whitespace().all(|id| id != "0"),
            "Groups" => values.split_whitespace().all(|id| id != "0"),
            "CapInh" | "CapPrm" | "CapEff" | "CapAmb" => values.trim().bytes().all(|b| b == b'0'),
            _ => continue,
        };
        if !harmless {
            return Some(line.replace('\t', " "));
        }
        seen += 1;
    }
    // A status without those lines proves nothing.
    (seen != 7).then(|| "unreadable /proc/self/status".to_owned())
}

/// Says early, in the words of the cause, that the unprivileged user cannot reach a folder: some folder above it is closed to others.
pub(super) fn check_reachable(folder: &Path, identity: Identity) -> Result<(), ServeError> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    for above in folder.ancestors().skip(1) {
        let metadata = match File::open(above).and_then(|file| file.metadata()) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(source) => return Err(ServeError::Folder { path: above.to_owned(), source }),
        };
        let mode = metadata.permissions().mode();
        let class = match (metadata.uid() == identity.uid, metadata.gid() == identity.gid) {
            (true, _) => 0o100,
            (false, true) => 0o010,
            (false, false) => 0o001,
        };
        if mode & class == 0 {
            let (folder, above) = (folder.to_owned(), above.to_owned());
            return Err(ServeError::Unreachable { folder, above, mode: mode & 0o7777, uid: identity.uid });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nberth:x:998:997::/var/lib/berth:/usr/sbin/nologin\n";

    #[test]
    fn users_are_found_by_name_and_number() {
        assert_eq!(parse("berth", PASSWD), Some(Identity { uid: 998, gid: 997 }));
        assert_eq!(parse("61200", PASSWD), Some(Identity { uid: 61200, gid: 61200 }));
        assert_eq!(parse("61200:5", PASSWD), Some(Identity { uid: 61200, gid: 5 }));
        for bad in ["", "nobody-here", "berth:5", "1:x", "-1"] {
            assert_eq!(parse(bad, PASSWD), None, "{bad:?}");
        }
    }

    #[test]
    fn root_is_nobody_to_become() {
        assert!(matches!(Identity::find(Some("0")), Err(ServeError::RootUser)));
        assert!(matches!(Identity::find(Some("root")), Err(ServeError::RootUser)));
        assert!(matches!(Identity::find(Some("5:0")), Err(ServeError::RootUser)));
    }

    #[test]
    fn any_power_is_seen() {
        let clean = "Uid:\t5\t5\t5\t5\nGid:\t5\t5\t5\t5\nGroups:\t \nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\n";
        assert_eq!(power_left(clean), None);
        for (from, to) in [
            ("Uid:\t5\t5", "Uid:\t5\t0"),
            ("Gid:\t5", "Gid:\t0"),
            ("Groups:\t", "Groups:\t4 0"),
            ("CapEff:\t0", "CapEff:\t8"),
            ("CapAmb:\t0", "CapAmb:\t1"),
        ] {
            assert!(power_left(&clean.replace(from, to)).is_some(), "{to}");
        }
        assert!(power_left("").is_some());
    }
}
