//! What is in the data folder, by name: nothing is measured, nothing is opened but the folders.

use std::os::fd::AsFd;

use nix::dir::Dir;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::stat::Mode;

use super::data::{DataDir, child};
use super::failed;
use crate::error::{RuntimeError, SysError};
use crate::examination::{Inventory, Unfinished};

pub(super) fn inventory(data: &DataDir) -> Result<Inventory, RuntimeError> {
    let mut found = Inventory::default();
    for part in ["layers", "volumes", "pods"] {
        let Some(folder) = data.existing(part)? else { continue };
        let call = |errno| failed("inventory")(SysError::new("getdents64", part, errno));
        for entry in Dir::openat(&folder, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map_err(call)?.iter() {
            let entry = entry.map_err(call)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            match (part, name) {
                (_, "." | "..") => {}
                (_, hidden) if hidden.starts_with('.') => {
                    let folder = child(folder.as_fd(), hidden).ok().flatten();
                    let in_use = folder.is_some_and(|folder| Flock::lock(folder, FlockArg::LockExclusiveNonblock).is_err());
                    found.unfinished.push(Unfinished { path: format!("{part}/{hidden}"), in_use });
                }
                ("layers", name) => found.layers.push(name.to_owned()),
                ("volumes", name) => found.volumes.push(name.to_owned()),
                (_, name) => found.pods.extend(name.parse().ok()),
            }
        }
    }
    found.layers.sort();
    found.volumes.sort();
    found.pods.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_named_and_half_made_things_apart() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["layers/aa", "layers/.staging-1", "volumes/v", "pods/00112233445566778899aabbccddeeff", "pods/.trash-0"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let found = inventory(&DataDir::open(dir.path()).unwrap()).unwrap();
        assert_eq!((found.layers, found.volumes), (vec!["aa".to_owned()], vec!["v".to_owned()]));
        assert_eq!(found.pods.len(), 1);
        let unfinished: Vec<_> = found.unfinished.iter().map(|one| (one.path.as_str(), one.in_use)).collect();
        assert_eq!(unfinished, [("layers/.staging-1", false), ("pods/.trash-0", false)]);
    }
}
