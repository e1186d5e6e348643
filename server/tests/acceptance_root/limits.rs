//! M9 and M10: what a container may use, enforced by the kernel, reported by the API, changed while it runs.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Container, Scope, host, image};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    let mut all = tests![Shared:
        more_than_ten_million_bytes_is_an_oom_kill_with_limit_and_peak,
        an_oom_kill_below_a_small_init_is_the_containers,
        the_kill_of_a_child_is_counted_and_is_not_the_containers,
        limits_are_in_the_kernels_files,
        a_patch_changes_limits_while_it_runs,
        a_refused_patch_changes_nothing,
        a_limit_below_the_use_is_an_error_and_not_a_lie,
        the_cgroup_view_is_what_the_kernel_says,
        processors_are_those_of_the_cpuset,
        nothing_ever_runs_outside_its_cgroup,
        more_processes_than_an_answer_holds_are_counted,
        stats_are_the_kernels,
        a_stream_of_stats_ends_with_the_container,
    ];
    all.extend(tests![Quiet:
        half_a_processor_is_half_within_five_percent,
        shares_divide_a_busy_processor,
        a_fork_bomb_stops_at_its_limit_and_the_api_answers_meanwhile,
    ]);
    all
}

const TEN_MILLION: u64 = 10_000_000;

fn more_than_ten_million_bytes_is_an_oom_kill_with_limit_and_peak(scope: &Scope<'_>) {
    scope.berth.import("probe:memory", image::probe_image());
    let container = scope.run(json!({"image": "probe:memory", "command": ["probe", "eat", "64000000"], "resources": {"memory": TEN_MILLION, "memorySwap": TEN_MILLION}}));
    let exit = container.wait();
    assert_eq!(exit["oomKilled"], true, "{exit}");
    assert_eq!(exit["exitCode"], 137, "{exit}");
    assert_eq!(exit["reason"], "OOMKilled", "{exit}");
    let found = container.get();
    let status = &found["status"];
    assert_eq!(
        (&status["oomKilled"], &status["reason"], &status["phase"]),
        (&json!(true), &json!("OOMKilled"), &json!("Exited")),
        "{status:#}"
    );
    assert_eq!(found["spec"]["resources"]["memory"], TEN_MILLION);
    // The kernel counts in pages: it may round the limit down by less than one.
    let peak = status["memoryPeak"].as_u64().unwrap_or_else(|| panic!("no peak: {status:#}"));
    assert!((TEN_MILLION - 200_000..=TEN_MILLION + 4096).contains(&peak), "peak {peak}");
    let events =
        scope.api().get(&format!("/api/v1/events?kind=Container&name={}&reason=OOMKill", container.name)).send().expect(200).json();
    assert!(!events["items"].as_array().unwrap().is_empty(), "no event tells of it: {events:#}");
    assert!(!container.logs("").contains("ate"), "the program got all it wanted");
}

fn an_oom_kill_below_a_small_init_is_the_containers(scope: &Scope<'_>) {
    scope.berth.import("probe:memory", image::probe_image());
    let limits = json!({"memory": TEN_MILLION, "memorySwap": TEN_MILLION});
    let container = scope.run(json!({"image": "probe:memory", "command": ["probe", "eat", "64000000"], "init": true, "resources": limits}));
    let exit = container.wait();
    assert_eq!((&exit["exitCode"], &exit["oomKilled"], &exit["reason"]), (&json!(137), &json!(true), &json!("OOMKilled")), "{exit}");
}

fn the_kill_of_a_child_is_counted_and_is_not_the_containers(scope: &Scope<'_>) {
    scope.berth.import("probe:child", image::probe_image());
    let script = "probe eat 64000000; echo child ended with $?; exec sleep 1000";
    let container = scope.run(
        json!({"image": "probe:child", "command": ["sh", "-c", script], "resources": {"memory": TEN_MILLION, "memorySwap": TEN_MILLION}}),
    );
    container.until_it_says("child ended with 137");
    let status = container.until_status("the kill is counted", |status| status["oomKills"].as_u64() == Some(1));
    assert_eq!((&status["phase"], &status["oomKilled"]), (&json!("Running"), &json!(false)), "{status:#}");
    container.kill("KILL");
    let exit = container.wait();
    assert_eq!((&exit["exitCode"], &exit["oomKilled"]), (&json!(137), &json!(false)), "a KILL by hand counts as the OOM killer's: {exit}");
}

fn limit_file(container: &Container<'_>, controller: &str, v1: &str, v2: &str) -> String {
    let path = cgroup_file(container, controller, v1, v2);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

/// A file of the container's cgroup on the host: `v1` in the controller's hierarchy, or `v2` in the unified one.
pub(crate) fn cgroup_file(container: &Container<'_>, controller: &str, v1: &str, v2: &str) -> PathBuf {
    let table = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    let line_of =
        |wanted: &str| table.lines().find(|line| line.split(':').nth(1).is_some_and(|names| names.split(',').any(|name| name == wanted)));
    let ((mount, root), line, file) = match line_of(controller) {
        Some(line) => (mount_of(controller), line, v1),
        None => (mount_of(""), line_of("").expect("a v2 line"), v2),
    };
    let path = line.splitn(3, ':').nth(2).unwrap();
    let below = path.strip_prefix(&root).unwrap_or_else(|| panic!("{path} is not below {root}"));
    mount.join(below.trim_start_matches('/')).join(file)
}

/// Where a v1 controller, or with an empty name the v2 tree, is mounted, and what of the tree: in a container it may be a part.
fn mount_of(controller: &str) -> (PathBuf, String) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let is_it = |line: &&str| {
        let (_, tail) = line.split_once(" - ").unwrap_or_default();
        match controller {
            "" => tail.starts_with("cgroup2 "),
            name => tail.starts_with("cgroup ") && tail.split([',', ' ']).any(|option| option == name),
        }
    };
    let line = table.lines().find(is_it).unwrap_or_else(|| panic!("{controller:?} is not mounted"));
    let mut fields = line.split(' ').skip(3);
    let root = fields.next().unwrap().trim_end_matches('/').to_owned();
    (PathBuf::from(fields.next().unwrap()), root)
}

fn limits_are_in_the_kernels_files(scope: &Scope<'_>) {
    let container = scope.idle_with(
        json!({"resources": {"memory": "64Mi", "memorySwap": "64Mi", "cpu": "250m", "cpuShares": 512, "pids": 77, "cpuset": "0"}}),
    );
    assert_eq!(limit_file(&container, "memory", "memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    assert_eq!(limit_file(&container, "pids", "pids.max", "pids.max"), "77");
    assert_eq!(limit_file(&container, "cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    let quota = limit_file(&container, "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(quota == "25000" || quota == "25000 100000", "{quota}");
    let shares = limit_file(&container, "cpu", "cpu.shares", "cpu.weight");
    assert!(shares == "512" || (1..100).contains(&shares.parse::<u32>().unwrap()), "{shares}");
}

fn a_patch_changes_limits_while_it_runs(scope: &Scope<'_>) {
    let container = scope.idle_with(json!({"resources": {"memory": "64Mi", "cpu": "500m", "pids": 50}}));
    let pid = container.pid();
    let patched = container.patch(&json!({"spec": {"resources": {"memory": "96Mi", "cpu": 1.5, "pids": 60}}})).expect(200).json();
    assert_eq!(patched["spec"]["resources"]["pids"], 60);
    host::until("the kernel has the new limits", || {
        let memory = limit_file(&container, "memory", "memory.limit_in_bytes", "memory.max");
        Some(()).filter(|()| memory == (96 << 20).to_string())
    });
    assert_eq!(limit_file(&container, "pids", "pids.max", "pids.max"), "60");
    assert!(limit_file(&container, "cpu", "cpu.cfs_quota_us", "cpu.max").starts_with("150000"));
    // Null takes a limit away.
    container.patch(&json!({"spec": {"resources": {"pids": null}}})).expect(200);
    host::until("the pids limit is gone", || Some(()).filter(|()| limit_file(&container, "pids", "pids.max", "pids.max") == "max"));
    assert_eq!(container.pid(), pid, "it was restarted");
    assert_eq!(container.status()["restartCount"], 0);
}

fn a_refused_patch_changes_nothing(scope: &Scope<'_>) {
    let container = scope.idle_with(json!({"resources": {"memory": "64Mi", "pids": 50}}));
    let before = container.get();
    container.patch(&json!({"spec": {"resources": {"memory": -1, "pids": 60}}})).field_fault("/spec/resources/memory");
    container.patch(&json!({"spec": {"resources": {"cpuset": "0-4096"}}})).field_fault("/spec/resources/cpuset");
    container.patch(&json!({"spec": {"image": "other:latest"}})).field_fault("/spec/image");
    let after = container.get();
    assert_eq!((&after["spec"], &after["metadata"]["resourceVersion"]), (&before["spec"], &before["metadata"]["resourceVersion"]));
    assert_eq!(limit_file(&container, "pids", "pids.max", "pids.max"), "50");
}

fn a_limit_below_the_use_is_an_error_and_not_a_lie(scope: &Scope<'_>) {
    scope.berth.import("probe:shrink", image::probe_image());
    let container = scope.run(
        json!({"image": "probe:shrink", "command": ["probe", "eat", "48000000"], "resources": {"memory": "64Mi", "memorySwap": "64Mi"}}),
    );
    container.until_it_says("ate");
    let answer = container.patch(&json!({"spec": {"resources": {"memory": "8Mi", "memorySwap": "8Mi"}}}));
    if answer.status == 200 {
        // On cgroup v2 the kernel takes it and reclaims, or kills.
        host::until("the limit holds or the program is gone", || {
            let status = container.status();
            let gone = status["phase"] != "Running";
            Some(()).filter(|()| gone || limit_file(&container, "memory", "memory.limit_in_bytes", "memory.max") == (8 << 20).to_string())
        });
    } else {
        assert!(matches!(answer.status, 409 | 422), "{}: {}", answer.status, answer.text());
        assert_eq!(container.get()["spec"]["resources"]["memory"], "64Mi", "the refused limit was stored");
        assert_eq!(limit_file(&container, "memory", "memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    }
}

fn the_cgroup_view_is_what_the_kernel_says(scope: &Scope<'_>) {
    let container = scope.idle_with(json!({"resources": {"pids": 33}}));
    let view = container.look("/cgroup");
    assert!(["v1", "hybrid", "v2"].contains(&view["version"].as_str().unwrap_or_default()), "{view:#}");
    let controllers = view["controllers"].as_array().unwrap_or_else(|| panic!("no controllers: {view:#}"));
    let limit = controllers.iter().find_map(|controller| controller["files"]["pids.max"].as_str());
    assert_eq!(limit, Some("33"), "{view:#}");
    for controller in controllers {
        assert!(controller["path"].as_str().is_some_and(|path| path.contains(&container.uid)), "{controller:#}");
    }
}

fn processors_are_those_of_the_cpuset(scope: &Scope<'_>) {
    let container = scope.idle_with(json!({"resources": {"cpuset": "1"}}));
    assert_eq!(container.exec_output(&["sh", "-c", "grep Cpus_allowed_list /proc/self/status | cut -f 2"]), "1\n");
    assert_eq!(host::status_field(container.pid(), "Cpus_allowed_list").as_deref(), Some("1"));
}

/// The program's own first look: before its first instruction it was where it belongs.
fn nothing_ever_runs_outside_its_cgroup(scope: &Scope<'_>) {
    let container = scope.idle_with(json!({"namespaces": {"cgroup": "host"}}));
    let exec = container.exec_output(&["cat", "/proc/self/cgroup"]);
    let init = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    for table in [&exec, &init] {
        for controller in ["memory", "cpu", "pids", "devices", "freezer"] {
            let line = table.lines().find(|line| line.split(':').nth(1) == Some(controller));
            assert!(line.is_none_or(|line| line.contains(&container.uid)), "{controller}: {table}");
        }
    }
}

/// One answer of a shim holds less than a megabyte.
fn more_processes_than_an_answer_holds_are_counted(scope: &Scope<'_>) {
    let long = format!("sleep 1000; : {}", "x".repeat(8000));
    let script = format!("i=0; while test $i -lt 250; do sh -c '{long}' & i=$((i+1)); done; echo all; wait");
    let container = scope.run(json!({"command": ["sh", "-c", script]}));
    container.until_it_says("all");
    let list = container.look("/processes");
    let items = list["items"].as_array().unwrap();
    let remaining = list["remainingItemCount"].as_u64().unwrap();
    assert!((150..500).contains(&items.len()), "{} are shown", items.len());
    // A program's shell and its sleep are two processes.
    let all = items.len() as u64 + remaining;
    assert!((251..=501).contains(&all), "{} and {remaining}", items.len());
    assert!(items.iter().all(|item| item["command"].as_str().unwrap().len() <= 4096));
    assert_eq!(container.exec_output(&["echo", "the shim is well"]), "the shim is well\n");
}

fn stats_are_the_kernels(scope: &Scope<'_>) {
    let container =
        scope.run(json!({"command": ["sh", "-c", "while :; do :; done"], "resources": {"cpu": "500m", "memory": "32Mi", "pids": 9}}));
    let stats = host::until("its quota has stopped it", || {
        Some(container.look("/stats")).filter(|stats| stats["cpu"]["throttledPeriods"].as_u64() > Some(0))
    });
    assert_eq!(stats["memory"]["limitBytes"], 32 << 20, "{stats:#}");
    assert_eq!((&stats["pids"]["current"], &stats["pids"]["limit"]), (&json!(1), &json!(9)), "{stats:#}");
    assert!(stats["memory"]["usageBytes"].as_u64() > Some(0), "{stats:#}");
    assert!(stats["cpu"]["usageNanos"].as_u64() > Some(0), "{stats:#}");
}

fn a_stream_of_stats_ends_with_the_container(scope: &Scope<'_>) {
    let container = scope.run(json!({"command": ["sh", "-c", "while :; do :; done"], "resources": {"cpu": "200m"}}));
    let mut stream = scope.api().get(&container.path("/stats")).header("Accept", "text/event-stream").open().unwrap();
    let mut sample = || {
        let line = stream.line_where(|line| line.starts_with("data:"));
        serde_json::from_str::<Value>(line.trim_start_matches("data:")).unwrap()
    };
    let [first, second] = [sample(), sample()];
    let used = |sample: &Value| sample["cpu"]["usageNanos"].as_u64().unwrap();
    assert!(used(&second) > used(&first) && second["timestamp"].as_str() > first["timestamp"].as_str(), "{first:#}\n{second:#}");
    container.post("/kill", &json!({})).expect(204);
    while stream.line().is_some() {}
    scope.api().get(&container.path("/stats")).send().problem(409);
}

/// Nanoseconds of CPU that the container has used.
fn processor_time(container: &Container<'_>) -> u64 {
    let text = limit_file(container, "cpuacct", "cpuacct.usage", "cpu.stat");
    let v2 = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).map(|micros| micros.parse::<u64>().unwrap() * 1000);
    v2.unwrap_or_else(|| text.parse().unwrap())
}

/// What the container used of CPU between two looks, over the time between them.
fn processors_used(container: &Container<'_>, during: Duration) -> f64 {
    let (began, first) = (Instant::now(), processor_time(container));
    std::thread::sleep(during);
    let (took, last) = (began.elapsed(), processor_time(container));
    Duration::from_nanos(last - first).as_secs_f64() / took.as_secs_f64()
}

fn half_a_processor_is_half_within_five_percent(scope: &Scope<'_>) {
    let container = scope.run(json!({"command": ["sh", "-c", "echo burning; while :; do :; done"], "resources": {"cpu": "500m"}}));
    container.until_it_says("burning");
    // Never more than five percent over. Less can be the machine's doing, where others want the processor too: then that is what must be seen.
    for _ in 0..5 {
        let waited = waited_for_others(&container);
        let used = processors_used(&container, Duration::from_secs(4));
        assert!(used <= 0.525, "used {used:.3} of a processor");
        if used >= 0.475 {
            return;
        }
        let waited = (waited_for_others(&container) - waited).as_secs_f64() / 4.0;
        assert!(waited > 0.475 - used, "used {used:.3} of a processor, and waited for others only {waited:.3} of the time");
    }
    eprintln!("the machine is too busy: that half a processor is never exceeded was seen, that it is reached was not");
}

/// How long its process was ready to run and did not: less what its own quota made it wait. See schedstats in the kernel's documentation.
fn waited_for_others(container: &Container<'_>) -> Duration {
    let schedstat = fs::read_to_string(format!("/proc/{}/schedstat", container.pid())).unwrap();
    let ready: u64 = schedstat.split(' ').nth(1).unwrap().trim().parse().unwrap();
    let throttled = container.look("/stats")["cpu"]["throttledNanos"].as_u64().unwrap();
    Duration::from_nanos(ready.saturating_sub(throttled))
}

fn shares_divide_a_busy_processor(scope: &Scope<'_>) {
    let burner = |shares: u64| {
        scope.run(json!({"command": ["sh", "-c", "echo burning; while :; do :; done"], "resources": {"cpuShares": shares, "cpuset": "1"}}))
    };
    let (small, large) = (burner(256), burner(1024));
    let weight = |container: &Container<'_>| limit_file(container, "cpu", "cpu.shares", "cpu.weight").parse::<f64>().unwrap();
    // On v2 as the OCI converts them, so that 1024 is the default of both and four times the shares are not four times the weight.
    let wanted = weight(&large) / weight(&small);
    assert!([1024.0 / 256.0, 100.0 / 35.0].contains(&wanted), "{wanted}");
    small.until_it_says("burning");
    large.until_it_says("burning");
    // One span for both; a longer one where the machine stood still for a part of a short one, as an emulated one does.
    let both = || [processor_time(&small), processor_time(&large)];
    let before = both();
    let mut ratio = 0.0;
    for _ in 0..5 {
        std::thread::sleep(Duration::from_secs(3));
        let after = both();
        let [little, much] = [0, 1].map(|which| Duration::from_nanos(after[which] - before[which]).as_secs_f64());
        ratio = much / little;
        if (0.8 * wanted..=1.2 * wanted).contains(&ratio) {
            return;
        }
    }
    panic!("{wanted:.2} times the weight got {ratio:.2} times the processor");
}

fn a_fork_bomb_stops_at_its_limit_and_the_api_answers_meanwhile(scope: &Scope<'_>) {
    const LIMIT: u64 = 60;
    scope.berth.import("probe:bomb", image::probe_image());
    let container = scope.run(json!({"image": "probe:bomb", "command": ["probe", "bomb"], "resources": {"pids": LIMIT, "cpu": "500m"}}));
    container.until_it_says("lit");
    let refused = |stats: &Value| stats["pids"]["refused"].as_u64() > Some(0);
    host::until("the kernel refuses forks", || Some(container.look("/stats")).filter(refused));
    for _ in 0..50 {
        scope.api().get("/api/v1/containers").send().expect(200);
        let current = container.look("/stats")["pids"]["current"].as_u64().unwrap();
        assert!(current <= LIMIT, "{current} processes under a limit of {LIMIT}");
    }
    container.delete();
}
