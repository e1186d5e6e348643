//! Mounts: each type has fields of its own, and a target that is not the engine's.

use std::collections::BTreeSet;

use super::process::path;
use super::{Faults, shortened};
use crate::model::container::{ContainerSpec, Mount, MountType};
use crate::model::image::ImageConfig;
use crate::model::name::{DNS_LABEL_RULE, is_dns_label};
use crate::model::volume;

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
        (MountType::Tmpfs, Some(_)) => faults.add(pointer, "is not for tmpfs mounts"),
        (MountType::Volume, _) | (MountType::Tmpfs, None) => {}
    }
}

/// The root and the kernel's file systems are the engine's to mount: a user's mount there would undo the masks.
fn target(pointer: &str, target: &str, privileged: bool, faults: &mut Faults) {
    if !path(pointer, target, faults) {
        return;
    }
    let clean = clean(target);
    if is_the_engines(&clean, privileged) {
        faults.add(pointer, format!("{clean:?} belongs to the container's own file systems and cannot be mounted over"));
    }
}

fn is_the_engines(clean: &str, privileged: bool) -> bool {
    let kernel = ["/proc", "/sys"].iter().any(|folder| clean == *folder || clean.starts_with(&format!("{folder}/")));
    let own = matches!(clean, "/dev" | "/dev/pts" | "/dev/mqueue");
    clean == "/" || ((kernel || own) && !privileged)
}

/// What is wrong with the volumes that an image asks for, beside the mounts of the spec.
pub(crate) fn image_volumes(spec: &ContainerSpec, image: &ImageConfig) -> Option<String> {
    let targets = volume::image_targets(image);
    if let Some(bad) = targets.iter().find(|target| is_the_engines(target, spec.security.privileged) || target.contains('\0')) {
        return Some(format!("the image asks for a volume at {:?}, which belongs to the container's own file systems", shortened(bad)));
    }
    let count = spec.mounts.len() + targets.len();
    (count > MAX_MOUNTS).then(|| format!("the image's volumes and the spec's mounts are {count}; the most is {MAX_MOUNTS}"))
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
    if mount.kind != MountType::Volume {
        for (field, given) in [("subPath", mount.sub_path.is_some()), ("noCopy", mount.no_copy)] {
            if given {
                faults.add(format!("{pointer}/{field}"), "is only for volume mounts");
            }
        }
    }
    if mount.sub_path.as_deref().is_some_and(|path| !is_below(path)) {
        faults.add(format!("{pointer}/subPath"), "must be a path below the volume's root, without `.`, `..` and NUL");
    }
    for (index, option) in mount.options.iter().enumerate() {
        if mount.options[..index].contains(option) {
            faults.add(format!("{pointer}/options/{index}"), "is there already");
        }
    }
    if mount.size.is_some_and(|size| size.0 == 0) {
        faults.add(format!("{pointer}/size"), "must be more than 0 bytes");
    }
    if let Some(mode) = mount.mode.as_deref().filter(|mode| parse_mode(mode).is_none()) {
        faults.add(format!("{pointer}/mode"), format!("{:?} must be an octal mode such as \"1777\"", shortened(mode)));
    }
}

/// Where it leads is what it says, but for symbolic links.
fn is_below(path: &str) -> bool {
    let plain = |part: &str| !matches!(part, "." | "..") && part.len() <= 255;
    !path.is_empty() && path.len() < 4000 && !path.starts_with('/') && !path.contains('\0') && path.split('/').all(plain)
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
