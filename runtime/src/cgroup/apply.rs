//! A wish of limits becomes a list of settings, in an order that the kernel takes; then they are written, read back, and on a fault put back.

use std::path::Path;

use nix::errno::Errno;

use super::check::block_device;
use super::error::CgroupError;
use super::file;
use super::hierarchy::{Controller, Version};
use super::limit::{Limit, Rate, Setting, devices_in, rate_files, weight};
use super::{Cgroup, tree};
use crate::config::{IoLimit, Resources};
use crate::error::SysError;
use crate::trace::Trace;

/// The usual period of CFS bandwidth control, and the kernel's longest, both in microseconds: a quota is at least 1,000 of them, so less than
/// a hundredth of a core takes the long one.
const PERIOD: u64 = 100_000;
const LONG_PERIOD: u64 = 1_000_000;
/// The kernel's defaults.
const SHARES: u64 = 1024;

impl Cgroup {
    /// Makes these the limits of the running cgroup, those that are absent included: they become no limit. On a fault what was changed before
    /// it is put back. A memory limit below what is in use, and cannot be reclaimed, is `Refused` with EBUSY, on v2 too, where the kernel
    /// alone would rather kill.
    pub fn apply(&self, resources: &Resources, trace: &mut Trace) -> Result<(), CgroupError> {
        self.hierarchies.check_limits(resources)?;
        let mut done: Vec<(Setting, String)> = Vec::new();
        for setting in self.plan(resources, true)? {
            let outcome = match file::read(&setting.file()) {
                Ok(before) if setting.holds(&before) => continue,
                Ok(before) => self.change(&setting, trace).map(|()| before),
                Err(error) => Err(missing(&setting, error)),
            };
            match outcome {
                Ok(before) => done.push((setting, before)),
                Err(error) => return Err(undo(done, error, trace)),
            }
        }
        Ok(())
    }

    /// The limits of a cgroup that was just made: only those that are asked for, since all others stand at no limit.
    pub(super) fn apply_first(&self, resources: &Resources, trace: &mut Trace) -> Result<(), CgroupError> {
        self.plan(resources, false)?.iter().try_for_each(|setting| set(setting, trace))
    }

    fn change(&self, setting: &Setting, trace: &mut Trace) -> Result<(), CgroupError> {
        if let (Limit::Memory(Some(bytes)), Version::V2) = (&setting.limit, setting.version) {
            make_room(setting, *bytes)?;
        }
        set(setting, trace)
    }

    /// `all`: also a setting for each limit that the wish leaves out.
    fn plan(&self, resources: &Resources, all: bool) -> Result<Vec<Setting>, CgroupError> {
        let mut plan = Plan { cgroup: self, settings: Vec::with_capacity(8) };
        plan.cpuset(resources.cpuset.as_deref(), all);
        plan.cpu(resources, all);
        if all || resources.pids.is_some() {
            plan.add(Controller::Pids, "/resources/pids", |_| Limit::Pids(resources.pids));
        }
        plan.io(&resources.io, all)?;
        // Memory comes last: it is what a busy container is most likely to refuse, and then the least has to be put back.
        plan.memory(resources, all);
        Ok(plan.settings)
    }
}

struct Plan<'a> {
    cgroup: &'a Cgroup,
    settings: Vec<Setting>,
}

impl Plan<'_> {
    fn add(&mut self, controller: Controller, pointer: &str, limit: impl FnOnce(Version) -> Limit) {
        if let Some((dir, version)) = self.cgroup.home(controller) {
            self.settings.push(Setting { dir, version, limit: limit(version), pointer: pointer.to_owned() });
        }
    }

    fn cpuset(&mut self, cpus: Option<&str>, all: bool) {
        let Some((dir, version)) = self.cgroup.home(Controller::Cpuset) else { return };
        let parents = || {
            let name = if version == Version::V1 { "cpuset.cpus" } else { "cpuset.cpus.effective" };
            file::get(&dir.parent()?.join(name)).filter(|list| !list.is_empty())
        };
        // No limit is the parent's list: v1 does not take an empty one once a process is inside.
        let list = cpus.map(str::to_owned).or_else(|| if all { parents() } else { None });
        if let Some(list) = list {
            self.add(Controller::Cpuset, "/resources/cpuset", |_| Limit::Cpus { list, all: cpus.is_none() });
        }
    }

    fn cpu(&mut self, resources: &Resources, all: bool) {
        if all || resources.cpu_millis.is_some() {
            let pointer = "/resources/cpuMillis";
            let period = if resources.cpu_millis.is_some_and(|millis| millis < 10) { LONG_PERIOD } else { PERIOD };
            let quota = resources.cpu_millis.map(|millis| millis.saturating_mul(period / 1000));
            match self.cgroup.home(Controller::Cpu) {
                Some((_, Version::V1)) => {
                    self.add(Controller::Cpu, pointer, |_| Limit::Period(period));
                    self.add(Controller::Cpu, pointer, |_| Limit::Quota(quota));
                }
                _ => self.add(Controller::Cpu, pointer, |_| Limit::Max(quota, period)),
            }
        }
        if all || resources.cpu_shares.is_some() {
            let shares = resources.cpu_shares.unwrap_or(SHARES);
            self.add(Controller::Cpu, "/resources/cpuShares", |_| Limit::Shares(shares));
            self.pod_shares(shares);
        }
    }

    /// Shares divide among siblings, and a container's siblings are those of its own pod: among the pods it is the pod's shares that count, so
    /// a pod has what its containers have together, as the kubelet does it.
    fn pod_shares(&mut self, shares: u64) {
        let Some((dir, version)) = self.cgroup.home(Controller::Cpu) else { return };
        let Some(pod) = dir.parent().filter(|_| self.cgroup.relative.iter().count() == 3).map(Path::to_owned) else { return };
        let (own, file, most) = match version {
            Version::V1 => (shares, "cpu.shares", 262_144),
            Version::V2 => (weight(shares), "cpu.weight", 10_000),
        };
        let others = tree::children(&pod).into_iter().filter(|path| *path != dir);
        let sum: u64 = others.filter_map(|path| file::number(&path.join(file))).sum::<u64>().saturating_add(own);
        let limit = Limit::Together(sum.min(most));
        self.settings.push(Setting { dir: pod, version, limit, pointer: "/resources/cpuShares".to_owned() });
    }

    /// On v1 memory may never be above memory and swap together, not even between two writes: what grows past the other's present value
    /// goes last, and on the way down first.
    fn memory(&mut self, resources: &Resources, all: bool) {
        let Some((dir, version)) = self.cgroup.home(Controller::Memory) else { return };
        let first = self.settings.len();
        if all || resources.memory.is_some() {
            self.add(Controller::Memory, "/resources/memory", |_| Limit::Memory(resources.memory));
        }
        let total = resources.memory_swap.and_then(|bytes| u64::try_from(bytes).ok());
        let swap = match version {
            Version::V1 => total,
            Version::V2 => total.map(|total| total.saturating_sub(resources.memory.unwrap_or(0))),
        };
        let limit = Limit::Swap(swap);
        let file = dir.join(limit.file(version));
        if total.is_some() || (all && file.exists()) {
            self.add(Controller::Memory, "/resources/memorySwap", |_| limit);
        }
        let both_now = if version == Version::V1 { file::number(&file) } else { None };
        if both_now.is_some_and(|now| resources.memory.unwrap_or(u64::MAX) > now) {
            self.settings[first..].reverse();
        }
    }

    fn io(&mut self, limits: &[IoLimit], all: bool) -> Result<(), CgroupError> {
        let Some((dir, version)) = self.cgroup.home(Controller::Io) else { return Ok(()) };
        let mut wanted = Vec::with_capacity(limits.len());
        for (index, limit) in limits.iter().enumerate() {
            wanted.push(block_device(index, &limit.device)?);
        }
        for (index, (limit, &device)) in limits.iter().zip(&wanted).enumerate() {
            for (what, name, rate) in [
                (Rate::ReadBps, "readBps", limit.read_bps),
                (Rate::WriteBps, "writeBps", limit.write_bps),
                (Rate::ReadIops, "readIops", limit.read_iops),
                (Rate::WriteIops, "writeIops", limit.write_iops),
            ] {
                if all || rate.is_some() {
                    self.add(Controller::Io, &format!("/resources/io/{index}/{name}"), |_| Limit::Io { device, what, rate });
                }
            }
        }
        if all {
            let mut limited: Vec<_> =
                rate_files(&dir, version).iter().filter_map(|path| file::get(path)).flat_map(|t| devices_in(&t)).collect();
            limited.sort_unstable();
            limited.dedup();
            for device in limited.into_iter().filter(|device| !wanted.contains(device)) {
                for what in Rate::ALL {
                    self.add(Controller::Io, "/resources/io", |_| Limit::Io { device, what, rate: None });
                }
            }
        }
        Ok(())
    }
}

/// Writes one limit and looks at what the kernel made of it.
fn set(setting: &Setting, trace: &mut Trace) -> Result<(), CgroupError> {
    let (file, text) = (setting.file(), setting.text());
    let shell = format!("echo {text:?} > {}", file.display());
    trace
        .run("write", [file.display().to_string(), text.clone()], shell, || {
            setting.write().map_err(|errno| SysError::new("write", file.display(), errno))
        })
        .map_err(|error| refused(setting, error.source))?;
    let found = file::read(&file)?;
    if setting.holds(&found) {
        return Ok(());
    }
    Err(CgroupError::NotHeld { pointer: setting.pointer.clone(), file, wanted: text, found: found.trim().to_owned() })
}

/// cgroups-rs opens with O_CREAT, so a file that this kernel lacks is EACCES there.
fn refused(setting: &Setting, source: Errno) -> CgroupError {
    let file = setting.file();
    if matches!(source, Errno::ENOENT | Errno::EACCES | Errno::EPERM) && !file.exists() {
        return missing(setting, SysError::new("open", file.display(), Errno::ENOENT));
    }
    CgroupError::Refused { pointer: setting.pointer.clone(), file, value: setting.text(), source }
}

fn missing(setting: &Setting, error: SysError) -> CgroupError {
    if error.source != Errno::ENOENT {
        return CgroupError::Sys(error);
    }
    let name = setting.limit.file(setting.version);
    let message = format!("{} does not exist", setting.file().display());
    CgroupError::Unsupported { feature: name.to_owned(), pointer: setting.pointer.clone(), message }
}

/// v2's memory.max kills at once when more is in use than it allows. memory.high reclaims without killing: so first that, then look.
fn make_room(setting: &Setting, bytes: u64) -> Result<(), CgroupError> {
    let in_use = || file::number(&setting.dir.join("memory.current")).unwrap_or(0);
    if in_use() <= bytes {
        return Ok(());
    }
    let high = setting.dir.join("memory.high");
    let before = file::read(&high)?;
    file::write(&high, &bytes.to_string())?;
    let fits = in_use() <= bytes;
    file::write(&high, before.trim())?;
    if fits { Ok(()) } else { Err(refused(setting, Errno::EBUSY)) }
}

fn undo(done: Vec<(Setting, String)>, mut error: CgroupError, trace: &mut Trace) -> CgroupError {
    for (setting, before) in done.into_iter().rev() {
        let (file, value) = (setting.file(), setting.undo(&before));
        if let Err(failed) = tree::write(&file, &value, trace) {
            error = CgroupError::NotUndone { file, value, source: failed.source, after: Box::new(error) };
        }
    }
    error
}
