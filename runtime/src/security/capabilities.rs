//! Linux capabilities: names, numbers, sets, and the set that a container gets.
//!
//! Only arithmetic: dropping and raising is `sys::cap`'s work. The numbers are the kernel's (include/uapi/linux/capability.h); they are
//! part of its ABI and never change. What a host's kernel or bounding set lacks is left out by whoever applies a set, not here.

use std::fmt;

use crate::config::{ConfigError, Security};

/// Name without `CAP_` of each capability, at its number. See capabilities(7).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// One capability: its number, 0 to 40.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(u8);

impl Capability {
    pub const CHOWN: Capability = Capability(0);
    pub const DAC_OVERRIDE: Capability = Capability(1);
    pub const DAC_READ_SEARCH: Capability = Capability(2);
    pub const FOWNER: Capability = Capability(3);
    pub const FSETID: Capability = Capability(4);
    pub const KILL: Capability = Capability(5);
    pub const SETGID: Capability = Capability(6);
    pub const SETUID: Capability = Capability(7);
    pub const SETPCAP: Capability = Capability(8);
    pub const NET_BIND_SERVICE: Capability = Capability(10);
    pub const NET_ADMIN: Capability = Capability(12);
    pub const NET_RAW: Capability = Capability(13);
    pub const SYS_MODULE: Capability = Capability(16);
    pub const SYS_RAWIO: Capability = Capability(17);
    pub const SYS_CHROOT: Capability = Capability(18);
    pub const SYS_PTRACE: Capability = Capability(19);
    pub const SYS_PACCT: Capability = Capability(20);
    pub const SYS_ADMIN: Capability = Capability(21);
    pub const SYS_BOOT: Capability = Capability(22);
    pub const SYS_NICE: Capability = Capability(23);
    pub const SYS_TIME: Capability = Capability(25);
    pub const SYS_TTY_CONFIG: Capability = Capability(26);
    pub const AUDIT_WRITE: Capability = Capability(29);
    pub const AUDIT_CONTROL: Capability = Capability(30);
    pub const SETFCAP: Capability = Capability(31);
    pub const SYSLOG: Capability = Capability(34);
    pub const AUDIT_READ: Capability = Capability(37);
    pub const PERFMON: Capability = Capability(38);
    pub const BPF: Capability = Capability(39);

    /// By name: with or without `CAP_`, in any case. None for a name that this version does not know.
    pub fn from_name(name: &str) -> Option<Capability> {
        let bare = strip_prefix_ignoring_case(name, "CAP_");
        let number = NAMES.iter().position(|known| known.eq_ignore_ascii_case(bare))?;
        u8::try_from(number).ok().map(Capability)
    }

    /// The kernel's number, as in capset(2) and `PR_CAPBSET_DROP`.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Without `CAP_`, in upper case: the form of the API.
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> &'a str {
    match text.get(..prefix.len()) {
        Some(start) if start.eq_ignore_ascii_case(prefix) => &text[prefix.len()..],
        _ => text,
    }
}

/// A set of capabilities: bit N is capability N, as in the `Cap…` lines of /proc/PID/status.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CapSet(u64);

impl CapSet {
    pub const EMPTY: CapSet = CapSet(0);
    /// Every capability that this version knows.
    pub const ALL: CapSet = CapSet((1 << NAMES.len()) - 1);
    /// What a container has unless it says otherwise: enough to switch users, own files and listen below port 1024.
    ///
    /// Podman's eleven. Docker's three more stay out: MKNOD makes device nodes, NET_RAW forges packets on a shared network, AUDIT_WRITE
    /// writes to the host's audit log.
    pub const DEFAULT: CapSet = CapSet::of(&[
        Capability::CHOWN,
        Capability::DAC_OVERRIDE,
        Capability::FOWNER,
        Capability::FSETID,
        Capability::KILL,
        Capability::SETGID,
        Capability::SETUID,
        Capability::SETPCAP,
        Capability::NET_BIND_SERVICE,
        Capability::SYS_CHROOT,
        Capability::SETFCAP,
    ]);

    pub const fn of(capabilities: &[Capability]) -> CapSet {
        let mut bits = 0;
        let mut at = 0;
        while at < capabilities.len() {
            bits |= 1 << capabilities[at].0;
            at += 1;
        }
        CapSet(bits)
    }

    /// The bits, as `sys::cap` takes them.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// From the kernel's bits; those that this version does not know are kept, and have no name.
    pub const fn from_bits(bits: u64) -> CapSet {
        CapSet(bits)
    }

    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    pub const fn intersection(self, other: CapSet) -> CapSet {
        CapSet(self.0 & other.0)
    }

    pub const fn union(self, other: CapSet) -> CapSet {
        CapSet(self.0 | other.0)
    }

    pub const fn without(self, other: CapSet) -> CapSet {
        CapSet(self.0 & !other.0)
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// In the order of their numbers, without `CAP_`.
    pub fn names(self) -> Vec<&'static str> {
        NAMES.iter().enumerate().filter(|(number, _)| self.0 & (1 << number) != 0).map(|(_, name)| *name).collect()
    }
}

impl fmt::Debug for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CapSet({:#x} {})", self.0, self.names().join(" "))
    }
}

/// The set that a container's first process, as root, has as permitted, effective and bounding set; inheritable and ambient stay empty.
///
/// The default set, less `cap_drop`, plus `cap_add`; `ALL` in `cap_drop` starts from nothing, `ALL` in `cap_add` from everything
/// (Docker's meaning). Privileged has all of them whatever else is said, but its lists are checked too. An unknown name, or one that is
/// both added and dropped, is an error at `/security/capAdd/N` or `/security/capDrop/N`.
pub fn effective_set(security: &Security) -> Result<CapSet, ConfigError> {
    let dropped = parse_list(&security.cap_drop, "/security/capDrop")?;
    let added = parse_list(&security.cap_add, "/security/capAdd")?;
    for (index, name) in security.cap_add.iter().enumerate() {
        let contradiction = match Capability::from_name(name) {
            Some(capability) => dropped.named.contains(capability),
            None => dropped.all,
        };
        if contradiction {
            let message = format!("{name} is in capDrop too");
            return Err(ConfigError { path: format!("/security/capAdd/{index}"), message });
        }
    }
    if security.privileged {
        return Ok(CapSet::ALL);
    }
    let start = match (added.all, dropped.all) {
        (true, _) => CapSet::ALL,
        (false, true) => CapSet::EMPTY,
        (false, false) => CapSet::DEFAULT,
    };
    Ok(start.without(dropped.named).union(added.named))
}

/// What one of the two lists says.
struct List {
    all: bool,
    named: CapSet,
}

fn parse_list(names: &[String], path: &str) -> Result<List, ConfigError> {
    let mut list = List { all: false, named: CapSet::EMPTY };
    for (index, name) in names.iter().enumerate() {
        if strip_prefix_ignoring_case(name, "CAP_").eq_ignore_ascii_case("ALL") {
            list.all = true;
        } else if let Some(capability) = Capability::from_name(name) {
            list.named = list.named.union(CapSet::of(&[capability]));
        } else {
            let shown: String = name.chars().take(80).collect();
            return Err(ConfigError { path: format!("{path}/{index}"), message: format!("{shown:?} is not a capability") });
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Seccomp;

    fn security(add: &[&str], drop: &[&str]) -> Security {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Security { privileged: false, cap_add: list(add), cap_drop: list(drop), no_new_privileges: true, seccomp: Seccomp::Default }
    }

    #[test]
    fn every_constant_is_the_number_of_its_name() {
        let constants = [
            (Capability::CHOWN, "CHOWN"),
            (Capability::DAC_OVERRIDE, "DAC_OVERRIDE"),
            (Capability::DAC_READ_SEARCH, "DAC_READ_SEARCH"),
            (Capability::FOWNER, "FOWNER"),
            (Capability::FSETID, "FSETID"),
            (Capability::KILL, "KILL"),
            (Capability::SETGID, "SETGID"),
            (Capability::SETUID, "SETUID"),
            (Capability::SETPCAP, "SETPCAP"),
            (Capability::NET_BIND_SERVICE, "NET_BIND_SERVICE"),
            (Capability::NET_ADMIN, "NET_ADMIN"),
            (Capability::NET_RAW, "NET_RAW"),
            (Capability::SYS_MODULE, "SYS_MODULE"),
            (Capability::SYS_RAWIO, "SYS_RAWIO"),
            (Capability::SYS_CHROOT, "SYS_CHROOT"),
            (Capability::SYS_PTRACE, "SYS_PTRACE"),
            (Capability::SYS_PACCT, "SYS_PACCT"),
            (Capability::SYS_ADMIN, "SYS_ADMIN"),
            (Capability::SYS_BOOT, "SYS_BOOT"),
            (Capability::SYS_NICE, "SYS_NICE"),
            (Capability::SYS_TIME, "SYS_TIME"),
            (Capability::SYS_TTY_CONFIG, "SYS_TTY_CONFIG"),
            (Capability::AUDIT_WRITE, "AUDIT_WRITE"),
            (Capability::AUDIT_CONTROL, "AUDIT_CONTROL"),
            (Capability::SETFCAP, "SETFCAP"),
            (Capability::SYSLOG, "SYSLOG"),
            (Capability::AUDIT_READ, "AUDIT_READ"),
            (Capability::PERFMON, "PERFMON"),
            (Capability::BPF, "BPF"),
        ];
        for (constant, name) in constants {
            assert_eq!(Capability::from_name(name), Some(constant), "{name}");
            assert_eq!(constant.name(), name);
        }
        // Fixed points of the kernel's table, which no other test of ours would notice moving.
        for (name, number) in [("SYS_ADMIN", 21), ("SYS_RESOURCE", 24), ("SETFCAP", 31), ("CHECKPOINT_RESTORE", 40)] {
            assert_eq!(Capability::from_name(name).map(Capability::number), Some(number), "{name}");
        }
    }

    #[test]
    fn names_are_taken_in_any_form_that_people_write() {
        for text in ["NET_RAW", "net_raw", "CAP_NET_RAW", "cap_net_raw", "Cap_Net_Raw"] {
            assert_eq!(Capability::from_name(text), Some(Capability::NET_RAW), "{text}");
        }
        for text in ["", "CAP_", "CAP_CAP_CHOWN", "NET RAW", " CHOWN", "13", "NETRAW", "é", "CAPé"] {
            assert_eq!(Capability::from_name(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_default_is_what_the_documents_promise() {
        assert_eq!(CapSet::DEFAULT.bits(), 0x8004_05fb);
        assert_eq!(effective_set(&security(&[], &[])), Ok(CapSet::DEFAULT));
        assert_eq!(CapSet::DEFAULT.names().len(), 11);
        assert_eq!(CapSet::ALL.bits(), 0x1ff_ffff_ffff);
    }

    #[test]
    fn lists_add_and_drop() {
        let bits = |add: &[&str], drop: &[&str]| effective_set(&security(add, drop)).map(CapSet::bits);
        assert_eq!(bits(&["NET_ADMIN"], &["chown"]), Ok(0x8004_05fb & !1 | 1 << 12));
        assert_eq!(bits(&["CAP_NET_BIND_SERVICE"], &["ALL"]), Ok(0x400));
        assert_eq!(bits(&["all"], &["cap_sys_admin"]), Ok(0x1ff_ffff_ffff & !(1 << 21)));
        assert_eq!(bits(&[], &["CAP_ALL"]), Ok(0));
        assert_eq!(bits(&["ALL"], &[]), Ok(0x1ff_ffff_ffff));
        assert_eq!(bits(&[], &["NET_RAW"]), Ok(0x8004_05fb), "dropping what is not there is no error");
    }

    #[test]
    fn privileged_has_everything_and_its_lists_are_still_checked() {
        let privileged = Security { privileged: true, ..security(&[], &["CHOWN"]) };
        assert_eq!(effective_set(&privileged), Ok(CapSet::ALL));
        let wrong = Security { privileged: true, ..security(&["NO_SUCH"], &[]) };
        assert_eq!(effective_set(&wrong).map_err(|e| e.path), Err("/security/capAdd/0".to_owned()));
    }

    #[test]
    fn a_wrong_name_is_pointed_at() {
        let fault = |add: &[&str], drop: &[&str]| effective_set(&security(add, drop)).map_err(|e| (e.path, e.message));
        let expect = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        assert_eq!(fault(&["CHOWN", "NET_ROW"], &[]), expect("/security/capAdd/1", "\"NET_ROW\" is not a capability"));
        assert_eq!(fault(&[], &["CAP_"]), expect("/security/capDrop/0", "\"CAP_\" is not a capability"));
        assert_eq!(fault(&["KILL"], &["CHOWN", "cap_kill"]), expect("/security/capAdd/0", "KILL is in capDrop too"));
        assert_eq!(fault(&["ALL"], &["ALL"]), expect("/security/capAdd/0", "ALL is in capDrop too"));
        let long = "X".repeat(4096);
        assert!(fault(&[&long], &[]).is_err_and(|(_, message)| message.len() < 120));
    }
}
