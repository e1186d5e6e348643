//! One sample of a cgroup, in the figures of `status::Stats`; the network's are not in a cgroup.
//!
//! What this kernel does not state is None, never 0. See the kernel's admin-guide/cgroup-v1/{cpuacct,memory,blkio-controller}.rst,
//! admin-guide/cgroup-v2.rst and accounting/psi.rst.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;

use super::Cgroup;
use super::file;
use super::hierarchy::{Controller, Version};
use super::oom::value_of;
use crate::status::{CpuStats, IoStats, MemoryStats, PidsStats, Pressure, Stats};

impl Cgroup {
    /// What the cgroup uses now.
    pub fn stats(&self) -> Stats {
        Stats {
            timestamp: Timestamp::now(),
            cpu: self.cpu(),
            memory: self.memory(),
            pids: self.process_numbers(),
            io: self.io(),
            network: BTreeMap::new(),
            pressure: self.pressure(),
        }
    }

    /// Usage from the v2 folder where there is one, which states it without any controller; throttling from the cpu controller.
    fn cpu(&self) -> CpuStats {
        let mut stats = CpuStats::default();
        if let Some(text) = self.directory(Version::V2).and_then(|dir| file::get(&dir.join("cpu.stat"))) {
            let nanos = |key| value_of(&text, key).map(|micros| micros.saturating_mul(1000));
            stats.usage_nanos = nanos("usage_usec");
            stats.user_nanos = nanos("user_usec");
            stats.system_nanos = nanos("system_usec");
            stats.periods = value_of(&text, "nr_periods");
            stats.throttled_periods = value_of(&text, "nr_throttled");
            stats.throttled_nanos = nanos("throttled_usec");
        } else if let Some(dir) = self.v1_directory("cpuacct") {
            stats.usage_nanos = file::number(&dir.join("cpuacct.usage"));
            stats.user_nanos = file::number(&dir.join("cpuacct.usage_user"));
            stats.system_nanos = file::number(&dir.join("cpuacct.usage_sys"));
        }
        if let Some(text) = self.v1_directory("cpu").and_then(|dir| file::get(&dir.join("cpu.stat"))) {
            stats.periods = value_of(&text, "nr_periods");
            stats.throttled_periods = value_of(&text, "nr_throttled");
            stats.throttled_nanos = value_of(&text, "throttled_time");
        }
        stats
    }

    fn memory(&self) -> MemoryStats {
        let Some((dir, version)) = self.home(Controller::Memory) else { return MemoryStats::default() };
        let text = file::get(&dir.join("memory.stat")).unwrap_or_default();
        match version {
            Version::V1 => memory_v1(&dir, &text),
            Version::V2 => memory_v2(&dir, &text),
        }
    }

    fn process_numbers(&self) -> PidsStats {
        let Some((dir, _)) = self.home(Controller::Pids) else { return PidsStats::default() };
        PidsStats {
            current: file::number(&dir.join("pids.current")),
            limit: file::number(&dir.join("pids.max")),
            refused: file::get(&dir.join("pids.events")).and_then(|text| value_of(&text, "max")),
        }
    }

    fn io(&self) -> Vec<IoStats> {
        let Some((dir, version)) = self.home(Controller::Io) else { return Vec::new() };
        let text = |name: &str| file::get(&dir.join(name)).unwrap_or_default();
        match version {
            Version::V1 => io_v1(&text("blkio.throttle.io_service_bytes_recursive"), &text("blkio.throttle.io_serviced_recursive")),
            Version::V2 => io_v2(&text("io.stat")),
        }
    }

    fn pressure(&self) -> BTreeMap<String, Pressure> {
        let Some(dir) = self.directory(Version::V2) else { return BTreeMap::new() };
        let read = |what: &str| Some((what.to_owned(), pressure(&file::get(&dir.join(format!("{what}.pressure")))?)?));
        ["cpu", "memory", "io"].iter().filter_map(|what| read(what)).collect()
    }
}

fn memory_v1(dir: &Path, stat: &str) -> MemoryStats {
    let number = |name: &str| file::number(&dir.join(name));
    let usage = number("memory.usage_in_bytes");
    MemoryStats {
        usage_bytes: usage,
        working_set_bytes: working_set(usage, value_of(stat, "total_inactive_file")),
        peak_bytes: number("memory.max_usage_in_bytes"),
        // The largest number of pages there is means that there is no limit.
        limit_bytes: number("memory.limit_in_bytes").filter(|&bytes| bytes < i64::MAX.unsigned_abs() >> 16 << 16),
        swap_bytes: value_of(stat, "total_swap"),
        cache_bytes: value_of(stat, "total_cache"),
        rss_bytes: value_of(stat, "total_rss"),
        fail_count: number("memory.failcnt"),
        oom_kills: file::get(&dir.join("memory.oom_control")).and_then(|text| value_of(&text, "oom_kill")),
    }
}

fn memory_v2(dir: &Path, stat: &str) -> MemoryStats {
    let number = |name: &str| file::number(&dir.join(name));
    let events = file::get(&dir.join("memory.events")).unwrap_or_default();
    let usage = number("memory.current");
    MemoryStats {
        usage_bytes: usage,
        working_set_bytes: working_set(usage, value_of(stat, "inactive_file")),
        peak_bytes: number("memory.peak"),
        limit_bytes: number("memory.max"),
        swap_bytes: number("memory.swap.current"),
        cache_bytes: value_of(stat, "file"),
        rss_bytes: value_of(stat, "anon"),
        fail_count: value_of(&events, "max"),
        oom_kills: value_of(&events, "oom_kill"),
    }
}

fn working_set(usage: Option<u64>, inactive_file: Option<u64>) -> Option<u64> {
    Some(usage?.saturating_sub(inactive_file?))
}

/// `254:0 Read 4096` a line, and `Total 4096` at the end.
fn io_v1(bytes: &str, operations: &str) -> Vec<IoStats> {
    let mut devices: BTreeMap<String, IoStats> = BTreeMap::new();
    for (text, of_bytes) in [(bytes, true), (operations, false)] {
        for line in text.lines() {
            let parts: Vec<&str> = line.split_whitespace().collect();
            let &[device, what, number] = parts.as_slice() else { continue };
            let number = number.parse().unwrap_or(0);
            let stats = devices.entry(device.to_owned()).or_insert_with(|| IoStats { device: device.to_owned(), ..IoStats::default() });
            match (what, of_bytes) {
                ("Read", true) => stats.read_bytes = number,
                ("Write", true) => stats.write_bytes = number,
                ("Read", false) => stats.read_operations = number,
                ("Write", false) => stats.write_operations = number,
                _ => {}
            }
        }
    }
    devices.into_values().collect()
}

/// `254:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0` a line; a device that was never used has its number alone.
fn io_v2(text: &str) -> Vec<IoStats> {
    let parse = |line: &str| {
        let (device, rest) = line.split_once(' ')?;
        let value = |key: &str| rest.split_whitespace().find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')?.parse().ok());
        Some(IoStats {
            device: device.to_owned(),
            read_bytes: value("rbytes")?,
            write_bytes: value("wbytes")?,
            read_operations: value("rios")?,
            write_operations: value("wios")?,
        })
    };
    text.lines().filter_map(parse).collect()
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and a line `full` after it, which `cpu` has from Linux 5.13 on only.
fn pressure(text: &str) -> Option<Pressure> {
    let value = |kind: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
        line.split_whitespace().find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
    };
    let percent = |kind: &str, key: &str| value(kind, key).and_then(|v| v.parse::<f64>().ok());
    let total = |kind: &str| value(kind, "total").and_then(|v| v.parse::<u64>().ok());
    Some(Pressure {
        some_avg10: percent("some", "avg10")?,
        some_avg60: percent("some", "avg60")?,
        some_avg300: percent("some", "avg300")?,
        some_total_micros: total("some")?,
        full_avg10: percent("full", "avg10").unwrap_or(0.0),
        full_total_micros: total("full").unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_of_both_versions_reads_the_same() {
        let bytes = "254:0 Read 8192\n254:0 Write 4096\n254:0 Sync 12288\n254:0 Total 12288\nTotal 12288\n";
        let operations = "254:0 Read 2\n254:0 Write 1\nTotal 3\n";
        let expected =
            vec![IoStats { device: "254:0".to_owned(), read_bytes: 8192, write_bytes: 4096, read_operations: 2, write_operations: 1 }];
        assert_eq!(io_v1(bytes, operations), expected);
        assert_eq!(io_v2("254:0 rbytes=8192 wbytes=4096 rios=2 wios=1 dbytes=0 dios=0\n253:0 \n7:0\n"), expected);
    }

    #[test]
    fn pressure_lines_are_read_with_or_without_full() {
        let some = "some avg10=1.50 avg60=0.25 avg300=0.00 total=77\n";
        assert_eq!(pressure(some).unwrap().some_avg10, 1.5);
        let both = pressure(&format!("{some}full avg10=0.50 avg60=0.00 avg300=0.00 total=5\n")).unwrap();
        assert_eq!((both.full_avg10, both.full_total_micros, both.some_total_micros), (0.5, 5, 77));
        assert_eq!(pressure(""), None);
    }

    #[test]
    fn what_v2_states_becomes_the_same_figures() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("memory.current", "1000\n"),
            ("memory.peak", "2000\n"),
            ("memory.max", "max\n"),
            ("memory.events", "low 0\nhigh 0\nmax 4\noom 2\noom_kill 1\noom_group_kill 0\n"),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let stats = memory_v2(dir.path(), "anon 300\nfile 700\ninactive_file 600\n");
        assert_eq!((stats.usage_bytes, stats.working_set_bytes, stats.limit_bytes), (Some(1000), Some(400), None));
        assert_eq!((stats.fail_count, stats.oom_kills, stats.swap_bytes), (Some(4), Some(1), None));
    }
}
