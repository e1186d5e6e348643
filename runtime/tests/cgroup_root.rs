//! Cgroups on this kernel for real: limits that hold, kills that are counted, freezing, devices, and nothing left.
//!
//! Needs root and a writable cgroup tree, and says so where it has neither. On a hybrid host each test runs twice, the second time as if the
//! v2 tree were not there: that is the v1 path.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollTimeout, poll};
use runtime::cgroup::{
    Cgroup, CgroupError, DeviceAccess, DeviceKind, DeviceRule, DeviceRules, Hierarchies, clean, killed_by_oom, leave, pods, prepare,
};
use runtime::config::{IoLimit, Resources};
use runtime::error::RuntimeError;
use runtime::id::{ContainerName, InstanceId, PodId};
use runtime::sys::process::{self, CloneFlags, Cloned};
use runtime::trace::Trace;

/// An instance of its own for each test; drops with everything in it, whatever became of the test.
struct Host {
    hierarchies: Hierarchies,
    instance: InstanceId,
    pod: PodId,
}

impl Host {
    fn create(&self, resources: &Resources) -> Cgroup {
        self.create_with(resources, &DeviceRules::All)
    }

    fn create_with(&self, resources: &Resources, devices: &DeviceRules<'_>) -> Cgroup {
        Cgroup::create(&self.hierarchies, &self.instance, &self.pod, &name("web"), resources, devices, &mut Trace::new("test")).unwrap()
    }

    /// The folder of a controller's files, wherever this host has it.
    fn file(&self, cgroup: &Cgroup, v1: &str, v2: &str) -> String {
        let view = cgroup.view();
        let found = view.controllers.iter().find_map(|c| c.files.get(v1).or_else(|| c.files.get(v2)));
        found.cloned().unwrap_or_else(|| panic!("neither {v1} nor {v2}"))
    }

    fn is_v1(&self) -> bool {
        self.hierarchies.mode() != "v2"
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for pod in pods(&self.hierarchies, &self.instance) {
            let cleaned = clean(&self.hierarchies, &self.instance, &pod, soon());
            assert!(cleaned.is_ok() || std::thread::panicking(), "{cleaned:?}");
        }
        leave(&self.hierarchies, &self.instance);
        let left = folders_of(&self.instance);
        assert!(left.is_empty() || std::thread::panicking(), "left behind: {left:?}");
    }
}

fn folders_of(instance: &InstanceId) -> Vec<String> {
    let name = format!("berth-{instance}");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let trees = mounts.lines().filter(|line| line.contains(" - cgroup"));
    trees.map(|line| format!("{}/{name}", line.split(' ').nth(4).unwrap())).filter(|path| Path::new(path).exists()).collect()
}

/// A program that was put into the cgroup before it ran; killed and reaped when dropped.
struct Program(Child);

impl Program {
    /// Starts `sh -c script` with each of its processes in the cgroup from their first instruction on: the shell joins by the descriptors
    /// and waits for that before it goes on.
    fn start(cgroup: &Cgroup, script: &str) -> Self {
        let gated = format!("read gate; {script}");
        let mut child = Command::new("sh").args(["-c", &gated]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let pid = child.id().to_string();
        let fds = cgroup.tasks_fds().unwrap().into_iter().map(|(_, fd)| fd).chain(cgroup.leaf_procs_fd().unwrap());
        for fd in fds {
            fs::File::from(fd).write_all(pid.as_bytes()).unwrap();
        }
        child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        Program(child)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn wait(&mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn name(text: &str) -> ContainerName {
    text.parse().unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// Runs the test on each kind of host that this one can be.
fn on_each_host(test: impl Fn(&Host)) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: skipped, cgroups cannot be made");
        return;
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let whole = Hierarchies::from_mountinfo(&mounts).unwrap();
    let v1_only: String = mounts.lines().filter(|line| !line.contains(" - cgroup2 ")).map(|line| format!("{line}\n")).collect();
    let mut hosts = vec![whole];
    hosts.extend(Hierarchies::from_mountinfo(&v1_only).ok().filter(|v1| v1.mode() == "v1"));
    for hierarchies in hosts {
        eprintln!("as {}", hierarchies.mode());
        let number = COUNT.fetch_add(1, Ordering::Relaxed) << 24 ^ std::process::id();
        let host = Host { hierarchies, instance: format!("{number:08x}").parse().unwrap(), pod: format!("{number:032x}").parse().unwrap() };
        test(&host);
    }
}

fn limits() -> Resources {
    Resources {
        cpu_millis: Some(500),
        cpu_shares: Some(512),
        cpuset: Some("0".to_owned()),
        memory: Some(10_000_000),
        memory_swap: Some(10_000_000),
        pids: Some(50),
        io: Vec::new(),
    }
}

/// A whole disk of this machine, if there is one and it has a node here: a container need not have it.
fn a_disk() -> Option<String> {
    let names = fs::read_dir("/sys/block").ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names
        .map(|name| format!("/dev/{name}"))
        .filter(|path| Path::new(path).exists())
        .find(|path| path.starts_with("/dev/vd") || path.starts_with("/dev/sd") || path.starts_with("/dev/nvme"))
}

#[test]
fn limits_are_held_changed_and_lifted() {
    on_each_host(|host| {
        let cgroup = host.create(&limits());
        let (quota, memory) = if host.is_v1() { ("50000", "9998336") } else { ("50000 100000", "9998336") };
        assert_eq!(host.file(&cgroup, "cpu.cfs_quota_us", "cpu.max"), quota);
        assert_eq!(host.file(&cgroup, "memory.limit_in_bytes", "memory.max"), memory);
        assert_eq!(host.file(&cgroup, "memory.memsw.limit_in_bytes", "memory.swap.max"), if host.is_v1() { memory } else { "0" });
        assert_eq!(host.file(&cgroup, "pids.max", "pids.max"), "50");
        assert_eq!(host.file(&cgroup, "cpuset.cpus", "cpuset.cpus"), "0");
        assert_eq!(host.file(&cgroup, "cpu.shares", "cpu.weight"), if host.is_v1() { "512" } else { "59" });
        let mut wish = limits();
        (wish.memory, wish.memory_swap, wish.pids, wish.cpu_millis) = (Some(64 << 20), Some(128 << 20), Some(5), Some(5));
        if let Some(disk) = a_disk() {
            wish.io = vec![IoLimit { device: disk, read_bps: Some(1 << 20), write_iops: Some(100), ..IoLimit::default() }];
        }
        cgroup.apply(&wish, &mut Trace::new("test")).unwrap();
        assert_eq!(cgroup.stats().memory.limit_bytes, Some(64 << 20));
        assert_eq!(cgroup.stats().pids.limit, Some(5));
        if !wish.io.is_empty() {
            assert!(host.file(&cgroup, "blkio.throttle.read_bps_device", "io.max").contains("1048576"));
        }
        cgroup.apply(&Resources::default(), &mut Trace::new("test")).unwrap();
        assert_eq!(cgroup.stats().memory.limit_bytes, None);
        assert_eq!(cgroup.stats().pids.limit, None);
        assert_eq!(host.file(&cgroup, "blkio.throttle.read_bps_device", "io.max"), "");
        assert_eq!(host.file(&cgroup, "cpu.cfs_quota_us", "cpu.max"), if host.is_v1() { "-1" } else { "max 100000" });
        cgroup.remove(soon()).unwrap();
        assert!(!cgroup.exists());
    });
}

#[test]
fn what_the_kernel_refuses_names_the_field_and_leaves_nothing() {
    on_each_host(|host| {
        let trace = &mut Trace::new("test");
        let mut create = |resources: Resources| {
            let made = Cgroup::create(&host.hierarchies, &host.instance, &host.pod, &name("web"), &resources, &DeviceRules::All, trace);
            match made.map_err(RuntimeError::from).unwrap_err() {
                RuntimeError::Invalid { path, .. } => path,
                other => panic!("{other}"),
            }
        };
        assert_eq!(create(Resources { pids: Some(1 << 40), ..limits() }), "/resources/pids");
        assert_eq!(create(Resources { cpu_millis: Some(1 << 60), ..limits() }), "/resources/cpuMillis");
        assert_eq!(create(Resources { cpuset: Some("4000".to_owned()), ..limits() }), "/resources/cpuset");
        assert_eq!(pods(&host.hierarchies, &host.instance), []);
    });
}

#[test]
fn a_limit_below_use_is_refused_and_all_is_as_before() {
    on_each_host(|host| {
        let big = Resources { memory: Some(512 << 20), memory_swap: Some(512 << 20), pids: Some(50), ..Resources::default() };
        let cgroup = host.create(&big);
        // A shell variable of 40 MB is memory that cannot be reclaimed.
        let mut program = Program::start(&cgroup, "x=$(head -c 40000000 /dev/zero | tr '\\0' x); echo ready; read end");
        assert_eq!(program.line(), "ready");
        let small = Resources { memory: Some(20 << 20), memory_swap: Some(20 << 20), pids: Some(10), ..Resources::default() };
        let error = cgroup.apply(&small, &mut Trace::new("test")).unwrap_err();
        assert!(matches!(&error, CgroupError::Refused { source: nix::errno::Errno::EBUSY, .. }), "{error:?}");
        let RuntimeError::Invalid { path, message } = RuntimeError::from(error) else { panic!("not about the wish") };
        assert!(path == "/resources/memory" && message.contains("in use"), "{path}: {message}");
        assert_eq!(cgroup.stats().memory.limit_bytes, Some(512 << 20));
        assert_eq!(cgroup.stats().pids.limit, Some(50));
        assert_eq!(cgroup.oom_kills(), 0);
        assert!(program.0.try_wait().unwrap().is_none(), "nothing was killed");
    });
}

#[test]
fn a_fork_bomb_stops_at_the_pids_limit() {
    on_each_host(|host| {
        let cgroup = host.create(&Resources { pids: Some(20), ..Resources::default() });
        let mut program =
            Program::start(&cgroup, "i=0; while [ $i -lt 100 ]; do sleep 100 > /dev/null & i=$((i+1)); done; echo unreached; wait");
        assert_eq!(program.line(), "", "the shell gives up at its first fork that fails");
        let stats = cgroup.stats();
        assert!(stats.pids.current.unwrap() <= 20 && stats.pids.refused.unwrap() > 0, "{:?}", stats.pids);
        cgroup.kill_all().unwrap();
        program.wait();
        assert!(cgroup.wait_empty(soon()).unwrap());
        assert_eq!(cgroup.pids(), Vec::<i32>::new());
        cgroup.remove(soon()).unwrap();
    });
}

#[test]
fn an_oom_kill_of_init_is_told_from_a_childs() {
    on_each_host(|host| {
        let cgroup = host.create(&Resources { memory: Some(10_000_000), memory_swap: Some(10_000_000), ..Resources::default() });
        let watch = cgroup.oom_watch().unwrap().unwrap();
        assert_eq!(cgroup.oom_kills(), 0);
        // The child dies, the shell goes on and says so.
        let mut program = Program::start(&cgroup, "dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; echo $?; read end; exit 3");
        assert_eq!(program.line(), "137");
        poll(&mut [PollFd::new(watch.as_fd(), watch.interest())], PollTimeout::from(5000_u16)).unwrap();
        watch.drain();
        let after_child = cgroup.oom_kills();
        assert_eq!(after_child, 1);
        assert!(cgroup.memory_peak().unwrap() > 9_000_000);
        program.0.kill().unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&program.wait());
        assert!(!killed_by_oom(0, cgroup.oom_kills(), signal, true) && !killed_by_oom(after_child, cgroup.oom_kills(), signal, false));
        // Now init itself.
        let mut program = Program::start(&cgroup, "exec dd if=/dev/zero of=/dev/null bs=64M count=1");
        let ready = poll(&mut [PollFd::new(watch.as_fd(), watch.interest())], PollTimeout::from(5000_u16)).unwrap();
        assert_eq!(ready, 1, "the watch tells of it");
        let signal = std::os::unix::process::ExitStatusExt::signal(&program.wait());
        assert!(killed_by_oom(after_child, cgroup.oom_kills(), signal, false));
        assert_eq!(cgroup.stats().memory.oom_kills, Some(2));
    });
}

#[test]
fn a_quota_holds() {
    on_each_host(|host| {
        let cgroup = host.create(&Resources { cpu_millis: Some(200), ..Resources::default() });
        let _program = Program::start(&cgroup, "while :; do :; done");
        let used = || cgroup.stats().cpu.usage_nanos.unwrap();
        let (start, from) = (Instant::now(), used());
        // Ten periods by the scheduler's own count, however busy the machine is.
        let first = cgroup.stats().cpu.periods.unwrap();
        while cgroup.stats().cpu.periods.unwrap() < first + 10 && start.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
        let share = (used() - from) as f64 / start.elapsed().as_nanos() as f64;
        assert!(share < 0.26, "a fifth of a core became {share}");
        assert!(cgroup.stats().cpu.throttled_periods.unwrap() > 0);
    });
}

#[test]
fn a_frozen_cgroup_stands_still_and_can_be_killed() {
    on_each_host(|host| {
        let cgroup = host.create(&Resources::default());
        let mut program = Program::start(&cgroup, "sleep 100 & while :; do :; done");
        cgroup.freeze(soon()).unwrap();
        assert!(cgroup.is_frozen());
        let used = cgroup.stats().cpu.usage_nanos;
        std::thread::yield_now();
        assert_eq!(cgroup.stats().cpu.usage_nanos, used, "no time passes for it");
        cgroup.thaw().unwrap();
        assert!(!cgroup.is_frozen());
        cgroup.freeze(soon()).unwrap();
        cgroup.signal_all(sigterm()).unwrap();
        assert!(cgroup.is_frozen(), "paused stays paused");
        cgroup.kill_all().unwrap();
        // Which of the two signals it was is the kernel's choice: v2 ends a frozen process of a TERM that it does not handle.
        assert!(std::os::unix::process::ExitStatusExt::signal(&program.wait()).is_some());
        assert!(cgroup.wait_empty(soon()).unwrap());
        cgroup.remove(soon()).unwrap();
    });
}

fn sigterm() -> i32 {
    nix::sys::signal::Signal::SIGTERM as i32
}

#[test]
fn signals_reach_every_process_and_cgroups_below_are_removed() {
    on_each_host(|host| {
        let cgroup = host.create(&Resources::default());
        let script = "trap 'kill $! 2>/dev/null; exit 7' TERM; sleep 100 & echo $!; wait";
        let mut program = Program::start(&cgroup, script);
        let child: i32 = program.line().parse().unwrap();
        assert!(cgroup.pids().contains(&child));
        for controller in &cgroup.view().controllers {
            fs::create_dir_all(format!("{}/made/inside", controller.path)).unwrap();
        }
        // Busy: a removal that cannot be waits until its deadline and says what is in the way.
        let error = cgroup.remove(Instant::now() + Duration::from_millis(20)).unwrap_err();
        assert!(error.source == nix::errno::Errno::EBUSY && error.subject.contains("berth-"), "{error:?}");
        cgroup.signal_all(sigterm()).unwrap();
        assert_eq!(program.wait().code(), Some(7));
        cgroup.remove(soon()).unwrap();
        assert!(!cgroup.exists());
    });
}

#[test]
fn a_process_is_born_in_its_cgroup() {
    on_each_host(|host| {
        let cgroup = host.create(&Resources::default());
        let Some(leaf) = cgroup.leaf_fd().unwrap() else { return };
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let child = match process::clone3(CloneFlags(0), Some(leaf.as_fd())).unwrap() {
            Cloned::Parent(child) => child,
            Cloned::Child => {
                drop(writer);
                let _ = nix::unistd::read(&reader, &mut [0]);
                process::exit_now(0)
            }
        };
        let lines = fs::read_to_string(format!("/proc/{}/cgroup", child.pid)).unwrap();
        drop((reader, writer));
        process::reap(child.pidfd.as_fd()).unwrap();
        assert!(lines.lines().any(|line| line == format!("0::{}", cgroup.path())), "{lines}");
    });
}

#[test]
fn a_joined_process_is_in_every_hierarchy() {
    on_each_host(|host| {
        let cgroup = host.create(&Resources::default());
        let mut program = Program::start(&cgroup, "grep -vc \"$0\" /proc/self/cgroup; read end");
        drop(program.line());
        let lines = fs::read_to_string(format!("/proc/{}/cgroup", program.0.id())).unwrap();
        let inside = lines.lines().filter(|line| line.ends_with(&cgroup.path())).count();
        let expected = cgroup.tasks_fds().unwrap().len() + usize::from(cgroup.leaf_fd().unwrap().is_some());
        assert_eq!(inside, expected, "{lines}");
    });
}

const ONLY_NULL: [DeviceRule; 2] = [
    DeviceRule { kind: DeviceKind::Char, major: Some(1), minor: Some(3), access: DeviceAccess::ALL },
    DeviceRule { kind: DeviceKind::Char, major: Some(5), minor: None, access: DeviceAccess { read: true, write: true, mknod: false } },
];

#[test]
fn devices_that_no_rule_names_are_closed() {
    on_each_host(|host| {
        let cgroup = host.create_with(&Resources::default(), &DeviceRules::Only(&ONLY_NULL));
        assert_eq!(opens(&cgroup), "null:yes zero:no");
    });
}

#[test]
fn the_v2_program_closes_devices_too() {
    on_each_host(|host| {
        let cgroup = host.create(&Resources::default());
        if cgroup.leaf_fd().unwrap().is_none() {
            assert!(!host.is_v1() || cgroup.attach_device_program(&ONLY_NULL, &mut Trace::new("test")).is_err());
            return;
        }
        assert_eq!(opens(&cgroup), "null:yes zero:yes");
        cgroup.attach_device_program(&ONLY_NULL, &mut Trace::new("test")).unwrap();
        assert_eq!(opens(&cgroup), "null:yes zero:no");
    });
}

fn opens(cgroup: &Cgroup) -> String {
    let try_one =
        |device: &str| format!("if (: < /dev/{device}) 2>/dev/null; then r=\"${{r}}{device}:yes \"; else r=\"${{r}}{device}:no \"; fi; ");
    let mut program = Program::start(cgroup, &format!("{}{}echo $r", try_one("null"), try_one("zero")));
    let line = program.line();
    program.wait();
    line
}

#[test]
fn a_part_of_its_processes_can_be_ended_alone() {
    on_each_host(|host| {
        let cgroup = host.create(&Resources { pids: Some(20), ..Resources::default() });
        let below = cgroup.make_below("part").unwrap().unwrap();
        assert!(cgroup.make_below("part").is_err(), "a name is taken once");
        let mut rest = Program::start(&cgroup, "exec sleep 100");
        // What is begun in a session of its own is in no process group with it, but in the same cgroup.
        let mut part = Program::start(&below, "setsid sleep 100 & echo on; wait");
        assert_eq!(part.line(), "on");
        assert_eq!(below.pids().len(), 2);
        below.kill_all().unwrap();
        assert!(!part.wait().success());
        assert!(below.wait_empty(soon()).unwrap());
        assert!(below.remove_empty());
        assert!(rest.0.try_wait().unwrap().is_none(), "what is not in it was ended as well");
        cgroup.kill_all().unwrap();
        rest.wait();
    });
}

#[test]
fn a_pod_is_cleaned_by_its_name_alone() {
    on_each_host(|host| {
        let first = host.create(&Resources::default());
        let (none, trace) = (Resources::default(), &mut Trace::new("test"));
        let second = Cgroup::create(&host.hierarchies, &host.instance, &host.pod, &name("db"), &none, &DeviceRules::All, trace).unwrap();
        let mut running = Program::start(&first, "sleep 100 & sleep 100 & wait");
        let mut other = Program::start(&second, "exec sleep 100");
        first.freeze(soon()).unwrap();
        assert_eq!(pods(&host.hierarchies, &host.instance), std::slice::from_ref(&host.pod));
        // Reaped here, since they are this process's children.
        let reaper = std::thread::spawn(move || (running.wait(), other.wait()));
        clean(&host.hierarchies, &host.instance, &host.pod, soon()).unwrap();
        reaper.join().unwrap();
        assert_eq!(pods(&host.hierarchies, &host.instance), []);
        clean(&host.hierarchies, &host.instance, &host.pod, soon()).unwrap();
    });
}

#[test]
fn what_a_dead_shim_left_is_not_inherited_and_what_lives_is_not_taken() {
    on_each_host(|host| {
        drop(host.create(&Resources { pids: Some(3), ..Resources::default() }));
        let cgroup = host.create(&Resources::default());
        assert_eq!(cgroup.stats().pids.limit, None);
        let _program = Program::start(&cgroup, "read end");
        let trace = &mut Trace::new("test");
        let again =
            Cgroup::create(&host.hierarchies, &host.instance, &host.pod, &name("web"), &Resources::default(), &DeviceRules::All, trace);
        assert!(matches!(again, Err(CgroupError::Sys(error)) if error.source == nix::errno::Errno::EBUSY));
        assert!(cgroup.is_populated());
        assert_eq!(cgroup.pids().len(), 1);
    });
}

#[test]
fn many_shims_may_come_and_go_at_once() {
    on_each_host(|host| {
        prepare(&host.hierarchies, &host.instance, &mut Trace::new("test")).unwrap();
        leave(&host.hierarchies, &host.instance);
        std::thread::scope(|scope| {
            for n in 0..8_u32 {
                scope.spawn(move || {
                    let pod: PodId = format!("{n:032x}").parse().unwrap();
                    for _ in 0..20 {
                        let trace = &mut Trace::new("test");
                        let resources = Resources { pids: Some(3), ..Resources::default() };
                        let cgroup =
                            Cgroup::create(&host.hierarchies, &host.instance, &pod, &name("web"), &resources, &DeviceRules::All, trace)
                                .unwrap();
                        let cpus = if host.is_v1() { "cpuset.cpus" } else { "cpuset.cpus.effective" };
                        assert_ne!(host.file(&cgroup, cpus, cpus), "");
                        cgroup.remove(soon()).unwrap();
                        leave(&host.hierarchies, &host.instance);
                    }
                });
            }
        });
    });
}
