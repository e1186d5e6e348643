//! One limit, one file: how it is written, what must stand there afterwards, and how it is put back.
//!
//! cgroups-rs's setters do the writing: one method knows both interfaces. Its `apply` is not used, because its `update!` macro and its
//! blkio part drop the kernel's answer, and it has no order for memory and swap. And whatever was written is read back here, since the
//! kernel may take a value and keep another one.

use std::path::{Path, PathBuf};

use cgroups_rs::fs::MaxValue;
use cgroups_rs::fs::blkio::BlkIoController;
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::cpuset::CpuSetController;
use cgroups_rs::fs::error::Error as CrateError;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;
use nix::errno::Errno;

use super::check::parse_list;
use super::hierarchy::Version;

/// What is limited, and to what. `None` is no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Limit {
    /// `all`: it stands for no limit, and the list is the parent's.
    Cpus {
        list: String,
        all: bool,
    },
    /// v1 only: in microseconds.
    Period(u64),
    /// v1 only: microseconds of CPU time a period.
    Quota(Option<u64>),
    /// v2's quota and period in one file.
    Max(Option<u64>, u64),
    /// v1's 2 to 262,144, whatever the version.
    Shares(u64),
    /// The pod's own weight: what its containers have together, in the file's own unit.
    Together(u64),
    Pids(Option<u64>),
    /// Bytes.
    Memory(Option<u64>),
    /// v1: memory and swap together; v2: swap alone; bytes.
    Swap(Option<u64>),
    Io {
        device: (u64, u64),
        what: Rate,
        rate: Option<u64>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rate {
    ReadBps,
    WriteBps,
    ReadIops,
    WriteIops,
}

impl Rate {
    pub(super) const ALL: [Rate; 4] = [Rate::ReadBps, Rate::WriteBps, Rate::ReadIops, Rate::WriteIops];

    fn file(self) -> &'static str {
        match self {
            Rate::ReadBps => "blkio.throttle.read_bps_device",
            Rate::WriteBps => "blkio.throttle.write_bps_device",
            Rate::ReadIops => "blkio.throttle.read_iops_device",
            Rate::WriteIops => "blkio.throttle.write_iops_device",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Rate::ReadBps => "rbps",
            Rate::WriteBps => "wbps",
            Rate::ReadIops => "riops",
            Rate::WriteIops => "wiops",
        }
    }
}

/// A limit for one cgroup: where it goes and which part of the configuration asked for it.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) dir: PathBuf,
    pub(super) version: Version,
    pub(super) limit: Limit,
    pub(super) pointer: String,
}

impl Setting {
    pub(super) fn file(&self) -> PathBuf {
        self.dir.join(self.limit.file(self.version))
    }

    /// The text that the write puts into the file: for the trace and for errors.
    pub(super) fn text(&self) -> String {
        self.limit.text(self.version)
    }

    /// Writes the limit through cgroups-rs.
    pub(super) fn write(&self) -> Result<(), Errno> {
        let (dir, base, v2) = (self.dir.clone(), PathBuf::new(), self.version == Version::V2);
        let signed = |limit: Option<u64>| limit.map_or(-1, |n| i64::try_from(n).unwrap_or(i64::MAX));
        match &self.limit {
            Limit::Cpus { list, .. } => CpuSetController::new(dir, base, v2).set_cpus(list),
            Limit::Period(micros) => CpuController::new(dir, base, v2).set_cfs_period(*micros),
            Limit::Quota(micros) => CpuController::new(dir, base, v2).set_cfs_quota(signed(*micros)),
            // The crate reads the file before it writes it, to keep the other half; here both halves are given, so that one write will do.
            Limit::Max(..) => return super::file::write(&self.file(), &self.text()).map_err(|error| error.source),
            Limit::Shares(shares) => CpuController::new(dir, base, v2).set_shares(if v2 { weight(*shares) } else { *shares }),
            Limit::Together(sum) => CpuController::new(dir, base, v2).set_shares(*sum),
            Limit::Pids(count) => {
                let max = count.map_or(MaxValue::Max, |n| MaxValue::Value(i64::try_from(n).unwrap_or(i64::MAX)));
                PidController::new(dir, base, v2).set_pid_max(max)
            }
            Limit::Memory(bytes) => MemController::new(dir, base, v2).set_limit(signed(*bytes)),
            Limit::Swap(bytes) => MemController::new(dir, base, v2).set_memswap_limit(signed(*bytes)),
            Limit::Io { device: (major, minor), what, rate } => {
                let io = BlkIoController::new(dir, base, v2);
                // No limit is 0 on v1; v2 wants `max`, which the crate cannot say, and takes the largest number for it.
                let rate = rate.unwrap_or(if v2 { u64::MAX } else { 0 });
                match what {
                    Rate::ReadBps => io.throttle_read_bps_for_device(*major, *minor, rate),
                    Rate::WriteBps => io.throttle_write_bps_for_device(*major, *minor, rate),
                    Rate::ReadIops => io.throttle_read_iops_for_device(*major, *minor, rate),
                    Rate::WriteIops => io.throttle_write_iops_for_device(*major, *minor, rate),
                }
            }
        }
        .map_err(|error| errno_of(&error))
    }

    /// Whether the file's content says what was asked for.
    pub(super) fn holds(&self, content: &str) -> bool {
        let content = content.trim();
        match &self.limit {
            // v2 states an empty list where the parent's is inherited.
            Limit::Cpus { list, all } => {
                (*all && content.is_empty()) || (parse_list(content).is_some() && parse_list(content) == parse_list(list))
            }
            Limit::Memory(bytes) | Limit::Swap(bytes) => same_bytes(content, *bytes),
            Limit::Io { device, what, rate } => rate_in(content, self.version, *device, *what) == *rate,
            _ => content == self.text(),
        }
    }

    /// The text that puts the file back to what `before`, its earlier content, said.
    pub(super) fn undo(&self, before: &str) -> String {
        match (&self.limit, self.version) {
            (Limit::Io { device, what, .. }, Version::V1) => {
                format!("{}:{} {}", device.0, device.1, rate_in(before, self.version, *device, *what).unwrap_or(0))
            }
            (Limit::Io { device, what, .. }, Version::V2) => {
                let old = rate_in(before, self.version, *device, *what).map_or_else(|| "max".to_owned(), |rate| rate.to_string());
                format!("{}:{} {}={old}", device.0, device.1, what.key())
            }
            // An empty list is not taken back while processes are inside (ENOSPC); the parent's says the same.
            (Limit::Cpus { .. }, Version::V2) if before.trim().is_empty() => {
                let parents = self.dir.parent().and_then(|parent| super::file::get(&parent.join("cpuset.cpus.effective")));
                parents.unwrap_or_else(|| "\n".to_owned())
            }
            _ => before.trim().to_owned(),
        }
    }
}

impl Limit {
    pub(super) fn file(&self, version: Version) -> &'static str {
        match (self, version) {
            (Limit::Cpus { .. }, _) => "cpuset.cpus",
            (Limit::Period(_), _) => "cpu.cfs_period_us",
            (Limit::Quota(_), _) => "cpu.cfs_quota_us",
            (Limit::Max(..), _) => "cpu.max",
            (Limit::Shares(_) | Limit::Together(_), Version::V1) => "cpu.shares",
            (Limit::Shares(_) | Limit::Together(_), Version::V2) => "cpu.weight",
            (Limit::Pids(_), _) => "pids.max",
            (Limit::Memory(_), Version::V1) => "memory.limit_in_bytes",
            (Limit::Memory(_), Version::V2) => "memory.max",
            (Limit::Swap(_), Version::V1) => "memory.memsw.limit_in_bytes",
            (Limit::Swap(_), Version::V2) => "memory.swap.max",
            (Limit::Io { what, .. }, Version::V1) => what.file(),
            (Limit::Io { .. }, Version::V2) => "io.max",
        }
    }

    fn text(&self, version: Version) -> String {
        let or = |limit: &Option<u64>, none: &str| limit.map_or_else(|| none.to_owned(), |n| n.to_string());
        match (self, version) {
            (Limit::Cpus { list, .. }, _) => list.clone(),
            (Limit::Period(micros), _) => micros.to_string(),
            (Limit::Quota(micros), _) => or(micros, "-1"),
            (Limit::Max(quota, period), _) => format!("{} {period}", or(quota, "max")),
            (Limit::Shares(shares), Version::V1) => shares.to_string(),
            (Limit::Together(sum), _) => sum.to_string(),
            (Limit::Shares(shares), Version::V2) => weight(*shares).to_string(),
            (Limit::Pids(count), _) => or(count, "max"),
            (Limit::Memory(bytes) | Limit::Swap(bytes), Version::V1) => or(bytes, "-1"),
            (Limit::Memory(bytes) | Limit::Swap(bytes), Version::V2) => or(bytes, "max"),
            (Limit::Io { device, rate, .. }, Version::V1) => format!("{}:{} {}", device.0, device.1, or(rate, "0")),
            (Limit::Io { device, what, rate }, Version::V2) => format!("{}:{} {}={}", device.0, device.1, what.key(), or(rate, "max")),
        }
    }
}

/// v1's CPU shares as v2's weight: 2 is 1, 1,024 is 100, 262,144 is 10,000, and a curve through these three between them, as runc (from
/// 1.3.2) and crun (from 1.24) do it. See <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#cpu> and
/// <https://github.com/kubernetes/kubernetes/issues/131216>.
pub(super) fn weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    #[expect(clippy::cast_precision_loss, reason = "below 2^18")]
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10,000 by the two cases above")]
    let weight = 10_f64.powf(exponent).ceil() as u64;
    weight
}

/// The kernel counts whole pages, and rounds down. No limit is `max` on v2, and on v1 the largest number of pages in bytes.
fn same_bytes(content: &str, wanted: Option<u64>) -> bool {
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().and_then(|n| u64::try_from(n).ok()).unwrap_or(4096);
    match (content.parse::<u64>(), wanted) {
        (Ok(held), Some(bytes)) => held == bytes || held == bytes / page * page,
        (Ok(held), None) => held >= i64::MAX.unsigned_abs() / page * page,
        (Err(_), None) => content == "max" || content == "-1",
        (Err(_), Some(_)) => false,
    }
}

/// The rate of one device, from `254:0 1048576` (v1) or `254:0 rbps=1048576 wbps=max …` (v2); None where it is not limited.
fn rate_in(content: &str, version: Version, device: (u64, u64), what: Rate) -> Option<u64> {
    let name = format!("{}:{}", device.0, device.1);
    let line = content.lines().find_map(|line| line.strip_prefix(name.as_str())?.strip_prefix(' '))?;
    match version {
        Version::V1 => line.trim().parse().ok().filter(|&rate| rate != 0),
        Version::V2 => {
            let value = line.split_whitespace().find_map(|pair| pair.strip_prefix(what.key())?.strip_prefix('='))?;
            value.parse().ok().filter(|&rate| rate != u64::MAX)
        }
    }
}

/// Every device that a file of rates names.
pub(super) fn devices_in(content: &str) -> Vec<(u64, u64)> {
    let parse = |line: &str| {
        let (major, minor) = line.split_whitespace().next()?.split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    content.lines().filter_map(parse).collect()
}

/// The crate hides the errno in its error's source.
fn errno_of(error: &CrateError) -> Errno {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    source.and_then(std::io::Error::raw_os_error).map_or(Errno::EIO, Errno::from_raw)
}

/// The files of v1 that hold rates, or v2's.
pub(super) fn rate_files(dir: &Path, version: Version) -> Vec<PathBuf> {
    match version {
        Version::V1 => Rate::ALL.iter().map(|what| dir.join(what.file())).collect(),
        Version::V2 => vec![dir.join("io.max")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(version: Version, limit: Limit) -> Setting {
        Setting { dir: PathBuf::from("/nowhere"), version, limit, pointer: String::new() }
    }

    #[test]
    fn shares_become_weights_by_the_oci_curve() {
        for (shares, expected) in
            [(0, 1), (2, 1), (102, 17), (1024, 100), (2000, 170), (262_143, 10_000), (262_144, 10_000), (u64::MAX, 10_000)]
        {
            assert_eq!(weight(shares), expected, "{shares}");
        }
        assert!((2..262_144).step_by(97).all(|s| weight(s) <= weight(s + 97)), "grows with the shares");
    }

    #[test]
    fn a_rounded_limit_holds_and_another_one_does_not() {
        let memory = |bytes| setting(Version::V1, Limit::Memory(bytes));
        assert!(memory(Some(10_000_000)).holds("9998336\n"));
        assert!(!memory(Some(10_000_000)).holds("9994240\n"));
        assert!(memory(None).holds("9223372036854771712"));
        assert!(!memory(None).holds("4096"));
        assert!(!memory(Some(4096)).holds("max"));
        assert!(setting(Version::V2, Limit::Memory(None)).holds("max\n"));
        let cpus = |all| setting(Version::V2, Limit::Cpus { list: "0,1,2".to_owned(), all });
        assert!(cpus(false).holds("0-2") && !cpus(false).holds("0-1") && !cpus(false).holds("") && !cpus(true).holds("x"));
        assert!(cpus(true).holds("\n"), "inherited");
        assert!(setting(Version::V2, Limit::Max(None, 100_000)).holds("max 100000"));
    }

    #[test]
    fn rates_are_found_by_device_and_put_back() {
        let v1 = setting(Version::V1, Limit::Io { device: (254, 0), what: Rate::ReadBps, rate: Some(1000) });
        assert!(v1.holds("8:0 5\n254:0 1000\n"));
        assert!(!v1.holds("254:01 1000\n"));
        assert_eq!(v1.undo("8:0 5\n254:0 7\n"), "254:0 7");
        assert_eq!(v1.undo(""), "254:0 0");
        let v2 = setting(Version::V2, Limit::Io { device: (254, 0), what: Rate::WriteIops, rate: None });
        assert!(v2.holds(""));
        assert!(v2.holds("254:0 rbps=1 wbps=max riops=max wiops=max\n"));
        assert!(!v2.holds("254:0 rbps=1 wbps=max riops=max wiops=9\n"));
        assert_eq!(v2.undo("254:0 rbps=1 wbps=max riops=max wiops=9\n"), "254:0 wiops=9");
        assert_eq!(v2.text(), "254:0 wiops=max");
        assert_eq!(devices_in("8:0 rbps=1\n254:16 x\nTotal 3\n"), [(8, 0), (254, 16)]);
    }
}
