//! Judgements, from made-up findings.

use runtime::examination::{CgroupFound, Examination, Inventory, OtherInstance, RunDirFound, Unfinished};

use super::*;

const POD: &str = "00112233445566778899aabbccddeeff";

fn healthy() -> Examination {
    let features = [
        "user-namespaces",
        "idmapped-mounts",
        "idmapped-volumes",
        "overlayfs",
        "seccomp",
        "cgroup-kill",
        "cgroup-freeze",
        "swap-accounting",
        "raise-rlimits",
        "lower-oom-score",
    ];
    serde_json::from_value(serde_json::json!({
        "facts": {
            "kernel": "6.12.1", "architecture": "x86_64", "hostname": "h", "bootId": "b", "cpus": 2, "memoryBytes": 1, "cgroupMode": "v2",
            "controllers": ["cpu", "cpuset", "io", "memory", "pids"], "runtimeVersion": "0.1.0", "protocol": 1,
            "features": features.iter().map(|name| (*name, "available")).collect::<std::collections::BTreeMap<_, _>>(),
        },
        "storage": {"kind": "ext4", "totalBytes": 1_u64 << 40, "freeBytes": 1_u64 << 39, "totalInodes": 1 << 20, "freeInodes": 1 << 19},
        "descriptors": {"soft": 65536, "hard": 65536, "open": 10, "most": 100_000},
        "clockSynchronised": true, "tools": {"nft": "available", "tc": "available"}, "inventory": {},
    }))
    .unwrap()
}

fn of<'a>(report: &'a Report, name: &str) -> &'a Check {
    report.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no {name}: {report:#?}"))
}

#[test]
fn a_healthy_host_is_well() {
    let report = diagnose(&healthy(), Some(&Owned::default()));
    let ill: Vec<_> = report.checks.iter().filter(|check| check.verdict != Verdict::Ok).collect();
    assert!(report.verdict == Verdict::Ok && ill.is_empty(), "{ill:#?}");
}

#[test]
fn what_is_lacking_says_what_it_means_and_what_to_do() {
    let mut examination = healthy();
    examination.facts.features.insert("raise-rlimits".to_owned(), "prlimit64 RLIMIT_CORE: EPERM".to_owned());
    let report = diagnose(&examination, None);
    assert_eq!(report.verdict, Verdict::Degraded);
    let check = of(&report, "raise-rlimits");
    assert!(check.finding.contains("EPERM") && check.meaning.is_some() && check.remedy.is_some(), "{check:?}");
    examination.facts.features.insert("overlayfs".to_owned(), "fsopen overlay: ENODEV".to_owned());
    examination.facts.controllers.retain(|name| name != "pids");
    let report = diagnose(&examination, None);
    assert_eq!(report.verdict, Verdict::Broken);
    assert!(of(&report, "cgroups").meaning.as_deref().unwrap().contains("resources.pids"));
}

#[test]
fn a_full_disk_is_broken_and_a_nearly_full_one_degraded() {
    let mut examination = healthy();
    for (free, verdict) in [(1 << 20, Verdict::Broken), (200 << 20, Verdict::Degraded), (2 << 30, Verdict::Ok)] {
        examination.storage.free_bytes = free;
        assert_eq!(of(&diagnose(&examination, None), "disk-space").verdict, verdict, "{free}");
    }
    examination.storage.free_inodes = 10;
    assert_eq!(of(&diagnose(&examination, None), "inodes").verdict, Verdict::Broken);
}

#[test]
fn what_no_row_owns_is_named_and_what_a_row_owns_is_not() {
    let pod = || POD.parse().unwrap();
    let mut examination = healthy();
    examination.inventory = Inventory {
        run_dirs: vec![RunDirFound { pod: pod(), alive: false }],
        cgroups: vec![CgroupFound { pod: pod(), processes: 3 }],
        pods: vec![pod()],
        layers: vec!["aa".to_owned()],
        volumes: vec!["vv".to_owned()],
        unfinished: vec![
            Unfinished { path: "layers/.staging-1".to_owned(), in_use: false },
            Unfinished { path: "layers/.staging-2".to_owned(), in_use: true },
        ],
        mounts: vec!["/var/lib/berth/volumes/x/_data/m".to_owned()],
        other_instances: vec![OtherInstance { instance: "0123abcd".parse().unwrap(), processes: 2 }],
    };
    let report = diagnose(&examination, Some(&Owned::default()));
    for name in ["run-dirs", "cgroups", "writable-layers", "layers", "volumes", "half-done", "mounts"] {
        let check = report.checks.iter().find(|check| check.area == "leftovers" && check.name == name).unwrap();
        assert_eq!(check.verdict, Verdict::Degraded, "{check:?}");
    }
    assert_eq!(of(&report, "half-done").finding, "layers/.staging-1");
    assert!(of(&report, "other-instances").finding.contains("0123abcd"));
    let owned =
        Owned { pods: [POD.to_owned()].into(), layers: ["aa".to_owned()].into(), volumes: ["vv".to_owned()].into(), ..Owned::default() };
    examination.inventory.unfinished.clear();
    examination.inventory.mounts.clear();
    assert_eq!(diagnose(&examination, Some(&owned)).verdict, Verdict::Note);
}

#[test]
fn a_layer_that_is_gone_is_broken() {
    let owned = Owned { layers: ["aa".to_owned()].into(), ..Owned::default() };
    let report = diagnose(&healthy(), Some(&owned));
    assert_eq!((report.verdict, of(&report, "layers-and-volumes").verdict), (Verdict::Broken, Verdict::Broken));
}

#[test]
fn ids_that_a_user_of_the_host_has_too_are_told() {
    let owned = Owned { id_ranges: vec![("web".to_owned(), 2_000_000)], ..Owned::default() }.beside("eve:2065000:65536\n# x\n", "");
    let report = diagnose(&healthy(), Some(&owned));
    assert!(of(&report, "user-ids").finding.contains("eve"), "{report:#?}");
    let apart = Owned { id_ranges: vec![("web".to_owned(), 2_000_000)], ..Owned::default() }.beside("eve:2065536:65536\n", "");
    assert_eq!(of(&diagnose(&healthy(), Some(&apart)), "user-ids").verdict, Verdict::Ok);
}
