//! Limits: what the kernel takes, and what this machine has.

use std::collections::BTreeSet;

use super::{Faults, HostLimits, shortened};
use crate::model::container::{IoLimit, Resources};

/// Below this a container's first process cannot even be set up; Docker's own floor.
const MIN_MEMORY: u64 = 6 << 20;
/// The kernel's smallest CFS quota is 1 ms in a period of 100 ms.
const MIN_CPU_MILLIS: u64 = 10;
/// The kernel's PID_MAX_LIMIT on 64 bits.
const MAX_PIDS: u64 = 4 << 20;
const MAX_IO_DEVICES: usize = 64;

pub(super) fn check(resources: &Resources, host: &HostLimits, faults: &mut Faults) {
    cpu(resources, host, faults);
    memory(resources, host, faults);
    if let Some(pids) = resources.pids.filter(|pids| !(1..=MAX_PIDS).contains(pids)) {
        faults.add("/spec/resources/pids", format!("must be 1 to {MAX_PIDS}, and is {pids}"));
    }
    if resources.io.len() > MAX_IO_DEVICES {
        faults.add("/spec/resources/io", format!("has {} devices; the most is {MAX_IO_DEVICES}", resources.io.len()));
    }
    let mut devices = BTreeSet::new();
    for (index, limit) in resources.io.iter().enumerate() {
        let path = format!("/spec/resources/io/{index}");
        io(&path, limit, faults);
        if !devices.insert(limit.device.as_str()) {
            faults.add(format!("{path}/device"), format!("{:?} is already limited by another entry", shortened(&limit.device)));
        }
    }
    if resources.network.is_some() {
        faults.add("/spec/resources/network", "limiting the network needs a bridge network, which this version does not have");
    }
}

fn cpu(resources: &Resources, host: &HostLimits, faults: &mut Faults) {
    if let Some(cpu) = resources.cpu {
        let most = host.cpus.map(|cpus| u64::from(cpus) * 1000);
        if cpu.millis < MIN_CPU_MILLIS {
            faults.add("/spec/resources/cpu", format!("must be at least {MIN_CPU_MILLIS}m (0.01 of a core), and is {cpu}"));
        } else if let Some(most) = most.filter(|most| cpu.millis > *most) {
            faults.add("/spec/resources/cpu", format!("must be at most {}, the cores of this machine, and is {cpu}", most / 1000));
        }
    }
    if let Some(shares) = resources.cpu_shares.filter(|shares| !(2..=262_144).contains(shares)) {
        faults.add("/spec/resources/cpuShares", format!("must be 2 to 262144, and is {shares}"));
    }
    if let Some(message) = resources.cpuset.as_deref().and_then(|list| cpuset(list, host.cpus).err()) {
        faults.add("/spec/resources/cpuset", message);
    }
}

/// The list format of cpuset(7).
fn cpuset(list: &str, cpus: Option<u32>) -> Result<(), String> {
    let number = |text: &str| {
        let digits = matches!(text.len(), 1..=5) && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok()).flatten()
    };
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Err(format!("{:?} is not a list of processors such as \"0-2,4\"", shortened(list)));
        };
        if first > last {
            return Err(format!("the range {part:?} ends before it begins"));
        }
        if let Some(cpus) = cpus.filter(|cpus| last >= *cpus) {
            return Err(format!("names processor {last}, and this machine has 0 to {}", cpus.saturating_sub(1)));
        }
    }
    Ok(())
}

fn memory(resources: &Resources, host: &HostLimits, faults: &mut Faults) {
    let memory = resources.memory.map(|bytes| bytes.0);
    if let Some(memory) = memory {
        if memory < MIN_MEMORY {
            faults.add("/spec/resources/memory", format!("must be at least {MIN_MEMORY} bytes (6 MiB), and is {memory}"));
        } else if let Some(most) = host.memory_bytes.filter(|most| memory > *most) {
            faults.add("/spec/resources/memory", format!("must be at most {most} bytes, the memory of this machine, and is {memory}"));
        }
    }
    let Some(swap) = resources.memory_swap.map(|bytes| bytes.0) else { return };
    match memory {
        None => faults.add("/spec/resources/memorySwap", "needs resources.memory: it is memory and swap together"),
        Some(memory) if swap < memory => {
            faults.add("/spec/resources/memorySwap", format!("must be at least resources.memory ({memory} bytes), and is {swap}"));
        }
        Some(_) if i64::try_from(swap).is_err() => faults.add("/spec/resources/memorySwap", "is more than the kernel can count"),
        Some(_) => {}
    }
}

fn io(path: &str, limit: &IoLimit, faults: &mut Faults) {
    let name = limit.device.strip_prefix("/dev/").unwrap_or_default();
    if name.is_empty() || limit.device.contains('\0') || limit.device.split('/').any(|part| part == "..") || limit.device.len() > 255 {
        faults.add(format!("{path}/device"), format!("{:?} must be a block device below /dev", shortened(&limit.device)));
    }
    let limits = [
        ("readBps", limit.read_bps.map(|b| b.0)),
        ("writeBps", limit.write_bps.map(|b| b.0)),
        ("readIops", limit.read_iops),
        ("writeIops", limit.write_iops),
    ];
    if limits.iter().all(|(_, value)| value.is_none()) {
        faults.add(path, "limits nothing: give at least one of readBps, writeBps, readIops, writeIops");
    }
    for (field, _) in limits.iter().filter(|(_, value)| *value == Some(0)) {
        faults.add(format!("{path}/{field}"), "must be more than 0 (absent means no limit)");
    }
}
