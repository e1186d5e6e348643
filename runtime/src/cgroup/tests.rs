//! The whole of `create`, `apply` and `remove` over a tree of plain folders: what is written where, and what a fault leaves.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::*;
use crate::config::Resources;

struct Fake {
    root: tempfile::TempDir,
    hierarchies: Hierarchies,
    instance: InstanceId,
    pod: PodId,
    name: ContainerName,
}

impl Fake {
    fn v2() -> Self {
        Fake::new("cgroup2", &[])
    }

    fn v1(controllers: &[&str]) -> Self {
        Fake::new("cgroup", controllers)
    }

    fn new(kind: &str, controllers: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().display();
        let mut mounts = String::new();
        if controllers.is_empty() {
            fs::write(root.path().join("cgroup.controllers"), "cpuset cpu io memory hugetlb pids\n").unwrap();
            mounts = format!("1 2 0:1 / {at} rw - {kind} none rw\n");
        }
        for (n, controller) in controllers.iter().enumerate() {
            fs::create_dir(root.path().join(controller)).unwrap();
            mounts.push_str(&format!("1 2 0:{n} / {at}/{controller} rw - {kind} none rw,{controller}\n"));
        }
        let hierarchies = Hierarchies::from_mountinfo(&mounts).unwrap();
        let (instance, pod) = ("0123abcd".parse().unwrap(), "00112233445566778899aabbccddeeff".parse().unwrap());
        Fake { root, hierarchies, instance, pod, name: "web".parse().unwrap() }
    }

    fn create(&self, resources: &Resources) -> Result<Cgroup, CgroupError> {
        let trace = &mut Trace::new("test");
        Cgroup::create(&self.hierarchies, &self.instance, &self.pod, &self.name, resources, &DeviceRules::All, trace)
    }

    fn dir(&self, hierarchy: &str) -> PathBuf {
        self.root.path().join(hierarchy).join("berth-0123abcd/00112233445566778899aabbccddeeff/web")
    }

    fn read(&self, path: impl AsRef<Path>) -> String {
        fs::read_to_string(self.dir("").join(path)).unwrap_or_else(|e| e.to_string())
    }
}

fn limits() -> Resources {
    Resources {
        cpu_millis: Some(500),
        cpu_shares: Some(2000),
        memory: Some(10 << 20),
        memory_swap: Some(12 << 20),
        pids: Some(7),
        ..Resources::default()
    }
}

#[test]
fn v2_controllers_are_handed_down_and_limits_land_in_their_files() {
    let fake = Fake::v2();
    let cgroup = fake.create(&limits()).unwrap();
    let all = "+cpu +cpuset +memory +pids +io";
    for parent in [fake.root.path().to_owned(), fake.dir("").join("../.."), fake.dir("").join("..")] {
        assert_eq!(fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap(), all, "{}", parent.display());
    }
    assert!(!fake.dir("").join("cgroup.subtree_control").exists(), "processes are in it: it hands nothing down");
    assert_eq!(fake.read("cpu.max"), "50000 100000");
    assert_eq!(fake.read("cpu.weight"), "170");
    assert_eq!(fake.read("../cpu.weight"), "170", "among the pods it is the pod's weight that counts");
    assert_eq!(fake.read("memory.max"), (10 << 20).to_string());
    assert_eq!(fake.read("memory.swap.max"), (2 << 20).to_string());
    assert_eq!(fake.read("pids.max"), "7");
    assert_eq!(pods(&fake.hierarchies, &fake.instance), std::slice::from_ref(&fake.pod));
    fs::write(fake.dir("").join("cgroup.events"), "populated 0\nfrozen 0\n").unwrap();
    fs::create_dir_all(fake.dir("").join("made/by/it")).unwrap();
    cgroup.remove(Instant::now()).unwrap();
    assert_eq!(pods(&fake.hierarchies, &fake.instance), []);
}

#[test]
fn a_pod_has_the_shares_of_its_containers_together() {
    let fake = Fake::v1(&["cpu"]);
    let other = fake.dir("cpu").join("../db");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("cpu.shares"), "300").unwrap();
    let cgroup = fake.create(&Resources { cpu_millis: Some(500), cpu_shares: Some(512), ..Resources::default() }).unwrap();
    let pods = || fs::read_to_string(fake.dir("cpu").join("../cpu.shares")).unwrap();
    assert_eq!(pods(), "812");
    cgroup.apply(&Resources { cpu_millis: Some(500), cpu_shares: Some(100), ..Resources::default() }, &mut Trace::new("test")).unwrap();
    assert_eq!(pods(), "400");
}

#[test]
fn less_than_a_hundredth_of_a_core_takes_the_long_period() {
    let fake = Fake::v2();
    fake.create(&Resources { cpu_millis: Some(1), ..Resources::default() }).unwrap();
    assert_eq!(fake.read("cpu.max"), "1000 1000000");
}

#[test]
fn a_limit_that_another_value_stands_for_afterwards_removes_what_was_made() {
    let fake = Fake::v1(&["pids", "memory"]);
    // A first container makes the pod's folder; then a file that swallows what is written.
    let dir = fake.dir("memory");
    fs::create_dir_all(&dir).unwrap();
    let cgroup = Cgroup::of_container(&fake.hierarchies, &fake.instance, &fake.pod, &fake.name);
    symlink("/dev/null", dir.join("memory.limit_in_bytes")).unwrap();
    let trace = &mut Trace::new("test");
    let limits = Resources { pids: Some(5), memory: Some(4096), ..Resources::default() };
    fs::create_dir_all(fake.dir("pids")).unwrap();
    let error = cgroup.made(|| cgroup.apply_first(&limits, trace)).unwrap_err();
    assert!(
        matches!(&error, CgroupError::NotHeld { pointer, file, .. } if pointer == "/resources/memory" && file.ends_with("memory.limit_in_bytes"))
    );
    assert!(!cgroup.exists());
    assert_eq!(pods(&fake.hierarchies, &fake.instance), []);
    leave(&fake.hierarchies, &fake.instance);
    assert!(!fake.root.path().join("pids/berth-0123abcd").exists());
}

#[test]
fn a_failed_update_puts_back_what_came_before_it() {
    let fake = Fake::v2();
    let cgroup = fake.create(&limits()).unwrap();
    for (name, text) in [("memory.current", "4096"), ("memory.high", "max"), ("io.max", ""), ("cpuset.cpus", "")] {
        fs::write(fake.dir("").join(name), text).unwrap();
    }
    fs::write(fake.dir("").join("../cpuset.cpus.effective"), "").unwrap();
    fs::remove_file(fake.dir("").join("memory.max")).unwrap();
    symlink("/dev/null", fake.dir("").join("memory.max")).unwrap();
    let trace = &mut Trace::new("test");
    let error = cgroup.apply(&Resources { cpu_millis: Some(2000), pids: Some(9), memory: Some(1 << 20), ..Resources::default() }, trace);
    assert!(matches!(error, Err(CgroupError::NotHeld { .. })), "{error:?}");
    assert_eq!(fake.read("cpu.max"), "50000 100000");
    assert_eq!(fake.read("cpu.weight"), "170");
    assert_eq!(fake.read("../cpu.weight"), "170", "among the pods it is the pod's weight that counts");
    assert_eq!(fake.read("pids.max"), "7");
    assert!(trace.operations().len() >= 6, "each change and each way back is on record");
}

#[test]
fn v2_refuses_a_limit_below_what_is_in_use() {
    let fake = Fake::v2();
    let cgroup = fake.create(&limits()).unwrap();
    for (name, text) in [("memory.current", "8000000"), ("memory.high", "max"), ("io.max", ""), ("cpuset.cpus", "")] {
        fs::write(fake.dir("").join(name), text).unwrap();
    }
    let error = cgroup.apply(&Resources { memory: Some(1 << 20), ..limits() }, &mut Trace::new("test")).unwrap_err();
    assert!(
        matches!(&error, CgroupError::Refused { pointer, source: nix::errno::Errno::EBUSY, .. } if pointer == "/resources/memory"),
        "{error}"
    );
    assert_eq!(fake.read("memory.max"), (10 << 20).to_string());
    assert_eq!(fake.read("memory.high"), "max");
}

#[test]
fn an_update_without_limits_lifts_them_all() {
    let fake = Fake::v1(&["cpu", "memory", "pids"]);
    fs::write(fake.root.path().join("memory/memory.memsw.limit_in_bytes"), "").unwrap();
    let cgroup = fake.create(&limits()).unwrap();
    assert_eq!(fake.read(fake.dir("cpu").join("cpu.cfs_quota_us")), "50000");
    cgroup.apply(&Resources::default(), &mut Trace::new("test")).unwrap();
    for (file, text) in [
        ("cpu/cpu.cfs_quota_us", "-1"),
        ("cpu/cpu.shares", "1024"),
        ("memory/memory.limit_in_bytes", "-1"),
        ("memory/memory.memsw.limit_in_bytes", "-1"),
        ("pids/pids.max", "max"),
    ] {
        let (hierarchy, name) = file.split_once('/').unwrap();
        assert_eq!(fake.read(fake.dir(hierarchy).join(name)), text, "{file}");
    }
}

#[test]
fn memory_and_swap_go_up_and_down_in_the_kernels_order() {
    let fake = Fake::v1(&["memory"]);
    fs::write(fake.root.path().join("memory/memory.memsw.limit_in_bytes"), "").unwrap();
    let both = |bytes: u64| Resources { memory: Some(bytes), memory_swap: Some(i64::try_from(bytes).unwrap()), ..Resources::default() };
    let cgroup = fake.create(&both(1 << 20)).unwrap();
    for (bytes, first) in [(2 << 20, "memory.memsw.limit_in_bytes"), (1 << 20, "memory.limit_in_bytes")] {
        let mut trace = Trace::new("test");
        cgroup.apply(&both(bytes), &mut trace).unwrap();
        assert!(trace.operations()[0].arguments[0].ends_with(first), "{:?}", trace.operations()[0]);
        assert_eq!(trace.operations().len(), 2);
    }
}
