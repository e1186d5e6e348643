//! Mounts: each type has fields of its own, and a target that is not the engine's.

use std::collections::BTreeSet;

use super::process::path;
use super::{Faults, shortened};
use crate::model::container::{ContainerSpec, Mount, MountType};
use crate::model::name::{DNS_LABEL_RULE, is_dns_label};

const MAX_MOUNTS: usize = 256;

pub(super) fn check(spec: &ContainerSpec, faults: &mut Faults) {
    if spec.mounts.len() > MAX_MOUNTS {
        faults.add("/spec/mounts", format!("has {} mounts; the most is {MAX_MOUNTS}", spec.mounts.len()));
    }
    let mut targets = BTreeSet::new();
    for (index, mount) in spec.mounts.iter().enumerate() {
        let pointer = format!("/spec/mounts/{index}");
        source(&pointer, mount, faults);
        target(&format!("{pointer}/target"), &mount.target, spec.security.privileged, faults);
        options(&pointer, mount, faults);
        if !targets.insert(clean(&mount.target)) {
            faults.add(format!("{pointer}/target"), format!("{:?} is already the target of another mount", shortened(&mount.target)));
        }
    }
}

fn source(pointer: &str, mount: &Mount, faults: &mut Faults) {
    let pointer = format!("{pointer}/source");
    match (mount.kind, mount.source.as_deref()) {
        (MountType::Bind, Some(source)) => {
            path(&pointer, source, faults);
        }
        (MountType::Bind, None) => faults.add(pointer, "is required: an absolute path on the host"),
        (MountType::Volume, Some(source)) if !is_dns_label(source) => {
            faults.add(pointer, format!("{:?} {DNS_LABEL_RULE}", shortened(source)))
        }
        (MountType::Volume, None) => faults.add(pointer, "is required: the volume's name"),
        (MountType::Tmpfs, Some(_)) => faults.add(pointer, "is not for tmpfs mounts"),
        (MountType::Volume, Some(_)) | (MountType::Tmpfs, None) => {}
    }
}

/// The root and the kernel's file systems are the engine's to mount: a user's mount there would undo the masks.
fn target(pointer: &str, target: &str, privileged: bool, faults: &mut Faults) {
    if !path(pointer, target, faults) {
        return;
    }
    let clean = clean(target);
    let kernel = ["/proc", "/sys"].iter().any(|folder| clean == *folder || clean.starts_with(&format!("{folder}/")));
    let own = matches!(clean.as_str(), "/dev" | "/dev/pts" | "/dev/mqueue");
    if clean == "/" || ((kernel || own) && !privileged) {
        faults.add(pointer, format!("{clean:?} belongs to the container's own file systems and cannot be mounted over"));
    }
}

fn options(pointer: &str, mount: &Mount, faults: &mut Faults) {
    if mount.propagation.is_some() && mount.kind != MountType::Bind {
        faults.add(format!("{pointer}/propagation"), "is only for bind mounts");
    }
    if mount.kind != MountType::Tmpfs {
        for (field, given) in [("size", mount.size.is_some()), ("mode", mount.mode.is_some())] {
            if given {
                faults.add(format!("{pointer}/{field}"), "is only for tmpfs mounts");
            }
        }
    }
    if mount.size.is_some_and(|size| size.0 == 0) {
        faults.add(format!("{pointer}/size"), "must be more than 0 bytes");
    }
    if let Some(mode) = mount.mode.as_deref().filter(|mode| parse_mode(mode).is_none()) {
        faults.add(format!("{pointer}/mode"), format!("{:?} must be an octal mode such as \"1777\"", shortened(mode)));
    }
}

/// An octal mode of chmod(2), at most 7777.
pub(crate) fn parse_mode(text: &str) -> Option<u32> {
    let plain = matches!(text.len(), 1..=5) && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| u32::from_str_radix(text, 8).ok()).flatten().filter(|mode| *mode <= 0o7777)
}

/// Without empty parts.
fn clean(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    format!("/{}", parts.join("/"))
}
