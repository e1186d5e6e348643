//! The rules of mounts: targets that are not the runtime's own, sources that say where they are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{ConfigError, PLAIN_ABSOLUTE, is_plain_absolute, is_plain_below, shorten};
use crate::config::{Mount, MountSource, Propagation};

const MAX_MOUNTS: usize = 256;

/// All mounts of a container, in order.
pub(super) fn check(mounts: &[Mount], privileged: bool) -> Result<(), ConfigError> {
    if mounts.len() > MAX_MOUNTS {
        return Err(ConfigError::at("/mounts", format!("{} mounts; the most is {MAX_MOUNTS}", mounts.len())));
    }
    let mut targets = BTreeSet::new();
    for (index, mount) in mounts.iter().enumerate() {
        let fault = |(field, why): (&str, String)| ConfigError::at(format!("/mounts/{index}/{field}"), why);
        check_target(&mount.target, privileged).map_err(|why| fault(("target", why)))?;
        // Without what of the text does not count: doubled slashes and one at the end.
        if !targets.insert(Path::new(&mount.target).components().collect::<PathBuf>()) {
            return Err(fault(("target", format!("{:?} is the target of an earlier mount", shorten(&mount.target)))));
        }
        check_source(mount, privileged).map_err(fault)?;
    }
    Ok(())
}

fn check_target(target: &str, privileged: bool) -> Result<(), String> {
    if !is_plain_absolute(target) {
        return Err(PLAIN_ABSOLUTE.to_owned());
    }
    let target = Path::new(target);
    if target == Path::new("/") {
        return Err("must be below `/`".to_owned());
    }
    // A mount there would uncover what is masked (CVE-2025-52881), or hide /dev as it was made.
    let own = target.starts_with("/proc") || target.starts_with("/sys") || target == Path::new("/dev");
    if own && !privileged {
        return Err("/proc, /sys and /dev are the runtime's own; only below /dev something can be mounted".to_owned());
    }
    Ok(())
}

fn check_source(mount: &Mount, privileged: bool) -> Result<(), (&'static str, String)> {
    let bind = matches!(mount.source, MountSource::Bind { .. });
    match (mount.propagation, bind) {
        (Propagation::Private, _) => {}
        (_, false) => return Err(("propagation", "is for bind mounts only".to_owned())),
        // What is mounted inside would appear on the host (the rule is Kubernetes').
        (Propagation::Bidirectional, true) if !privileged => {
            return Err(("propagation", "bidirectional is for privileged containers only".to_owned()));
        }
        (Propagation::Bidirectional | Propagation::HostToContainer, true) => {}
    }
    match &mount.source {
        MountSource::Bind { path } if !is_plain_absolute(path) => Err(("source/path", PLAIN_ABSOLUTE.to_owned())),
        MountSource::Tmpfs { mode: Some(mode), .. } if *mode > 0o7777 => Err(("source/mode", "must be at most 7777 (octal)".to_owned())),
        MountSource::Tmpfs { size: Some(size), .. } if *size == 0 || i64::try_from(*size).is_err() => {
            Err(("source/size", "must be at least 1 byte: 0 would be no limit".to_owned()))
        }
        MountSource::Volume { sub_path: Some(path), .. } if !is_plain_below(path) => {
            Err(("source/subPath", "must be a path below the volume, without `.` and `..`".to_owned()))
        }
        MountSource::Bind { .. } | MountSource::Volume { .. } | MountSource::Tmpfs { .. } => Ok(()),
    }
}
