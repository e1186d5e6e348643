//! Can this host hold these limits? Asked before anything is made, so that a wish that cannot be met leaves nothing behind.

use std::collections::BTreeSet;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::sys::stat::{major, minor};

use super::error::CgroupError;
use super::file;
use super::hierarchy::{Controller, Hierarchies, Version};
use crate::config::Resources;
use crate::error::RuntimeError;

impl Hierarchies {
    /// What was left unsaid: a memory limit without a word about swap means none of it, as for the kubelet; else a program beyond its limit
    /// would be slow instead of killed. A host that does not count swap leaves it as it is.
    pub fn complete(&self, resources: &Resources) -> Resources {
        let mut complete = resources.clone();
        if complete.memory_swap.is_none() && self.swap_accounting().is_ok() {
            complete.memory_swap = complete.memory.and_then(|bytes| i64::try_from(bytes).ok());
        }
        complete
    }

    /// Whether this host has what the limits need: `Unsupported` names a missing controller or feature, `Invalid` a value that contradicts
    /// itself or the machine. More memory or CPU than the machine has is allowed, as everywhere: a limit is not a reservation.
    pub fn check(&self, resources: &Resources) -> Result<(), RuntimeError> {
        self.check_limits(resources).map_err(RuntimeError::from)
    }

    pub(super) fn check_limits(&self, resources: &Resources) -> Result<(), CgroupError> {
        let wanted = [
            (resources.cpu_millis.is_some(), Controller::Cpu, "/resources/cpuMillis"),
            (resources.cpu_shares.is_some(), Controller::Cpu, "/resources/cpuShares"),
            (resources.cpuset.is_some(), Controller::Cpuset, "/resources/cpuset"),
            (resources.memory.is_some(), Controller::Memory, "/resources/memory"),
            (resources.memory_swap.is_some(), Controller::Memory, "/resources/memorySwap"),
            (resources.pids.is_some(), Controller::Pids, "/resources/pids"),
            (!resources.io.is_empty(), Controller::Io, "/resources/io"),
        ];
        for (_, controller, pointer) in wanted.into_iter().filter(|(asked, ..)| *asked) {
            self.need(controller, pointer)?;
        }
        check_memory(self, resources)?;
        if let Some(cpus) = &resources.cpuset {
            check_cpuset(cpus)?;
        }
        for (index, limit) in resources.io.iter().enumerate() {
            block_device(index, &limit.device)?;
            let rates = [
                ("readBps", limit.read_bps, u64::MAX),
                ("writeBps", limit.write_bps, u64::MAX),
                // The kernel keeps operations in 32 bits and cuts off the rest without a word.
                ("readIops", limit.read_iops, u32::MAX.into()),
                ("writeIops", limit.write_iops, u32::MAX.into()),
            ];
            for (name, rate, most) in rates {
                if rate.is_some_and(|rate| rate == 0 || rate > most) {
                    return Err(invalid(&format!("/resources/io/{index}/{name}"), format!("must be between 1 and {most}")));
                }
            }
        }
        Ok(())
    }

    fn need(&self, controller: Controller, pointer: &str) -> Result<(), CgroupError> {
        if self.home(controller).is_some() {
            return Ok(());
        }
        let name = controller.name(if self.mode() == "v2" { Version::V2 } else { Version::V1 });
        Err(CgroupError::Unsupported {
            feature: format!("{name} cgroup controller"),
            pointer: pointer.to_owned(),
            message: format!("the controllers here are: {}", self.controllers().join(", ")),
        })
    }
}

fn check_memory(hierarchies: &Hierarchies, resources: &Resources) -> Result<(), CgroupError> {
    if resources.memory.is_some_and(|bytes| i64::try_from(bytes).is_err()) {
        return Err(invalid("/resources/memory", "more bytes than the kernel can count".to_owned()));
    }
    let Some(swap) = resources.memory_swap else { return Ok(()) };
    let pointer = "/resources/memorySwap";
    if let Err(message) = hierarchies.swap_accounting() {
        return Err(CgroupError::Unsupported { feature: "swap accounting".to_owned(), pointer: pointer.to_owned(), message });
    }
    match (resources.memory, u64::try_from(swap)) {
        (_, Err(_)) if swap == -1 => Ok(()),
        (_, Err(_)) => Err(invalid(pointer, "must be -1 (no limit) or a number of bytes".to_owned())),
        (None, Ok(_)) => Err(invalid(pointer, "memory and swap together can be limited only where memory is".to_owned())),
        (Some(memory), Ok(swap)) if swap < memory => {
            Err(invalid(pointer, format!("counts memory too, so it cannot be below memory ({memory})")))
        }
        (Some(_), Ok(_)) => Ok(()),
    }
}

fn check_cpuset(cpus: &str) -> Result<(), CgroupError> {
    let pointer = "/resources/cpuset";
    let wanted = parse_list(cpus).filter(|set| !set.is_empty());
    let wanted = wanted.ok_or_else(|| invalid(pointer, "must be a list of CPUs as in 0-3,5".to_owned()))?;
    let online = file::get(Path::new("/sys/devices/system/cpu/online")).unwrap_or_default();
    match parse_list(&online) {
        Some(online_set) if !wanted.is_subset(&online_set) => {
            Err(invalid(pointer, format!("this machine's CPUs that are online: {online}")))
        }
        _ => Ok(()),
    }
}

/// Major and minor number of the whole disk that `device` names.
pub(super) fn block_device(index: usize, device: &str) -> Result<(u64, u64), CgroupError> {
    let pointer = format!("/resources/io/{index}/device");
    let metadata = std::fs::metadata(device).map_err(|error| invalid(&pointer, format!("{device}: {error}")))?;
    if !metadata.file_type().is_block_device() {
        return Err(invalid(&pointer, format!("{device} is not a block device")));
    }
    let (major, minor) = (major(metadata.rdev()), minor(metadata.rdev()));
    if Path::new(&format!("/sys/dev/block/{major}:{minor}/partition")).exists() {
        return Err(invalid(&pointer, format!("{device} is a partition; the kernel limits whole disks only")));
    }
    Ok((major, minor))
}

/// A list of CPUs or memory nodes as in cpuset(7), `0-3,5`; None when it is none. At most 8,192 of them, the most that Linux can have.
pub(super) fn parse_list(text: &str) -> Option<BTreeSet<u32>> {
    let mut set = BTreeSet::new();
    for range in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= 8192 {
            return None;
        }
        set.extend(first..=last);
    }
    Some(set)
}

fn invalid(pointer: &str, message: String) -> CgroupError {
    CgroupError::Invalid { pointer: pointer.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::IoLimit;

    const MEMORY_AND_IO: &str = "\
35 31 0:32 / /nowhere/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / /nowhere/blkio rw,relatime - cgroup cgroup rw,blkio
37 31 0:34 / /nowhere/cpuset rw,relatime - cgroup cgroup rw,cpuset
";

    fn path_of(resources: Resources) -> String {
        match Hierarchies::from_mountinfo(MEMORY_AND_IO).unwrap().check(&resources) {
            Err(RuntimeError::Invalid { path, .. }) => format!("invalid {path}"),
            Err(RuntimeError::Unsupported { path, feature, .. }) => format!("no {feature} {path}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_missing_controller_is_named() {
        assert_eq!(path_of(Resources { pids: Some(1), ..Resources::default() }), "no pids cgroup controller /resources/pids");
        assert_eq!(path_of(Resources { cpu_millis: Some(1), ..Resources::default() }), "no cpu cgroup controller /resources/cpuMillis");
        let swap = Resources { memory: Some(1 << 20), memory_swap: Some(1 << 20), ..Resources::default() };
        assert_eq!(path_of(swap), "no swap accounting /resources/memorySwap");
        assert_eq!(path_of(Resources { memory: Some(1 << 40), ..Resources::default() }), "Ok(())");
    }

    #[test]
    fn values_beyond_the_machine_are_named() {
        for bad in ["", "x", "3-1", "0-", "9999", "8191", "0,,x"] {
            assert_eq!(path_of(Resources { cpuset: Some(bad.to_owned()), ..Resources::default() }), "invalid /resources/cpuset", "{bad:?}");
        }
        assert_eq!(path_of(Resources { cpuset: Some("0".to_owned()), ..Resources::default() }), "Ok(())");
        assert_eq!(path_of(Resources { memory: Some(u64::MAX), ..Resources::default() }), "invalid /resources/memory");
        for device in ["/dev/null", "/", "/no/such/device"] {
            let io = vec![IoLimit { device: device.to_owned(), read_bps: Some(1), ..IoLimit::default() }];
            assert_eq!(path_of(Resources { io, ..Resources::default() }), "invalid /resources/io/0/device", "{device}");
        }
    }

    #[test]
    fn lists_are_sets() {
        assert_eq!(parse_list("0-2,5\n").unwrap(), BTreeSet::from([0, 1, 2, 5]));
        assert_eq!(parse_list("").unwrap(), BTreeSet::new());
        assert_eq!(parse_list("0-4294967295"), None);
    }
}
