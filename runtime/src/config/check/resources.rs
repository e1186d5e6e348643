//! The rules of limits: what the kernel takes. What this host can hold is `cgroup`'s to say.

use std::collections::BTreeSet;

use super::{ConfigError, is_plain_absolute};
use crate::config::{IoLimit, Resources};

/// Docker's smallest: below it not even the set-up fits.
const MIN_MEMORY: u64 = 6 << 20;
/// The kernel's smallest quota is 1 ms, in a period of 100 ms.
const MIN_CPU_MILLIS: u64 = 10;
/// More processors than any kernel is built for (CONFIG_NR_CPUS is at most 8192).
const MAX_CPUS: u64 = 8192;
/// The kernel's PID_MAX_LIMIT.
const MAX_PIDS: u64 = 4 << 20;
const MAX_IO: usize = 64;

/// The rules of limits, of a new container and of a change to a running one.
pub fn check_resources(resources: &Resources) -> Result<(), ConfigError> {
    let fault = |field: &str, why: &str| Err(ConfigError::at(format!("/resources/{field}"), why));
    if resources.cpu_millis.is_some_and(|millis| !(MIN_CPU_MILLIS..=MAX_CPUS * 1000).contains(&millis)) {
        return fault("cpuMillis", "must be 10 to 8192000: the kernel's smallest quota is 1 ms in 100 ms");
    }
    if resources.cpu_shares.is_some_and(|shares| !(2..=262_144).contains(&shares)) {
        return fault("cpuShares", "must be 2 to 262144");
    }
    if resources.cpuset.as_ref().is_some_and(|list| !is_cpuset(list)) {
        return fault("cpuset", "must be processors and ranges of them, as 0-3,5 (cpuset(7))");
    }
    if resources.memory.is_some_and(|bytes| bytes < MIN_MEMORY || i64::try_from(bytes).is_err()) {
        return fault("memory", "must be at least 6 MiB (6291456 bytes)");
    }
    match (resources.memory_swap, resources.memory) {
        (None | Some(-1), _) => {}
        (Some(_), None) => return fault("memorySwap", "needs memory"),
        (Some(both), Some(memory)) if u64::try_from(both).is_ok_and(|both| both >= memory) => {}
        (Some(_), Some(_)) => return fault("memorySwap", "memory and swap together: must be at least memory, or -1 for no limit"),
    }
    if resources.pids.is_some_and(|pids| !(1..=MAX_PIDS).contains(&pids)) {
        return fault("pids", "must be 1 to 4194304");
    }
    check_io(&resources.io)
}

/// `0-3,5`: decimal numbers and ascending ranges; nothing else of what the kernel takes.
fn is_cpuset(list: &str) -> bool {
    let number = |text: &str| {
        let digits = matches!(text.len(), 1..=4) && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten().filter(|cpu| *cpu < MAX_CPUS)
    };
    let range = |text: &str| match text.split_once('-') {
        None => number(text).is_some(),
        Some((first, last)) => matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last),
    };
    list.len() <= 4096 && list.split(',').all(range)
}

fn check_io(limits: &[IoLimit]) -> Result<(), ConfigError> {
    if limits.len() > MAX_IO {
        return Err(ConfigError::at("/resources/io", format!("{} devices; the most is {MAX_IO}", limits.len())));
    }
    let mut devices = BTreeSet::new();
    for (index, limit) in limits.iter().enumerate() {
        let fault = |field: &str, why: &str| Err(ConfigError::at(format!("/resources/io/{index}{field}"), why));
        if !limit.device.starts_with("/dev/") || !is_plain_absolute(&limit.device) || limit.device.ends_with('/') {
            return fault("/device", "must be a path below /dev");
        }
        if !devices.insert(&limit.device) {
            return fault("/device", "is there twice");
        }
        let rates = [
            ("/readBps", limit.read_bps),
            ("/writeBps", limit.write_bps),
            ("/readIops", limit.read_iops),
            ("/writeIops", limit.write_iops),
        ];
        if let Some((field, _)) = rates.iter().find(|(_, rate)| *rate == Some(0)) {
            return fault(field, "must be at least 1: 0 would be no limit");
        }
        if rates.iter().all(|(_, rate)| rate.is_none()) {
            return fault("", "must have at least one limit");
        }
    }
    Ok(())
}
