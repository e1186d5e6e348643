//! Every page with sample facts: what the golden tests compare and what the preview shows.

use web::format::Moment;
use web::pages::*;
use web::{ApiCall, Flash, Frame, Lang, Theme, Who};

/// A page with the path under which the preview puts it.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) path: String,
    pub(crate) html: String,
}

fn frame(lang: Lang, here: &str) -> Frame {
    Frame {
        lang,
        theme: Theme::Auto,
        host: "harbour".into(),
        version: "0.1.0".into(),
        who: Some(Who { name: "first-login".into(), role: "admin".into() }),
        flash: None,
        here: here.into(),
        socket: "/run/berth/berth.sock".into(),
        calls: vec![ApiCall::get(format!("/api/v1{}", if here.starts_with("/containers/web") { "/containers/web" } else { here }))],
    }
}

fn at(clock: &str, age_seconds: i64) -> Moment {
    Moment::new(format!("2025-11-23T{clock}Z"), age_seconds)
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

const WEB_UID: &str = "0193f2c4a7b87c21b0a45e6d9c0f1a2b";

fn badge(state: State, exit_code: Option<i32>, reason: Option<&str>) -> Badge {
    Badge { state, exit_code, reason: reason.map(Into::into), deleting: false }
}

fn rows() -> Vec<ContainerRow> {
    let row =
        |name: &str, number: u32, badge: Badge, image: &str, pid, since, restarts, memory, cpu, labels: &[(&str, &str)]| ContainerRow {
            name: name.into(),
            uid: format!("0193f2c4a7b87c21b0a45e6d{number:08x}"),
            badge,
            image: image.into(),
            pid,
            since: Some(since),
            restarts,
            memory,
            cpu,
            labels: pairs(labels),
        };
    vec![
        row(
            "web",
            1,
            badge(State::Running, None, None),
            "nginx:1.22",
            Some(7180),
            at("17:31:12", 11_693),
            0,
            Gauge::bytes(Some(9_211_904), Some(64 << 20)),
            Gauge::cores(Some(0.034), Some(0.5)),
            &[("app", "site"), ("tier", "web")],
        ),
        row(
            "site-builder",
            2,
            badge(State::Running, None, None),
            "hugo:0.111",
            Some(7262),
            at("17:31:14", 11_691),
            0,
            Gauge::bytes(Some(47 << 20), Some(64 << 20)),
            Gauge::cores(Some(0.41), Some(0.5)),
            &[("app", "site")],
        ),
        row(
            "etcd",
            3,
            badge(State::Running, None, None),
            "registry.example/etcd-io/etcd:3.4.23",
            Some(6011),
            at("14:02:40", 24_205),
            2,
            Gauge::bytes(Some(130 << 20), Some(136 << 20)),
            Gauge::cores(Some(1.2), None),
            &[],
        ),
        row(
            "greedy",
            4,
            badge(State::Exited, Some(137), Some("OOMKilled")),
            "busybox:latest",
            None,
            at("20:41:05", 300),
            0,
            Gauge::bytes(None, Some(10_000_000)),
            Gauge::default(),
            &[("lesson", "memory")],
        ),
        row(
            "burner",
            5,
            badge(State::Restarting, Some(1), Some("CrashLoopBackOff")),
            "busybox:latest",
            None,
            at("20:45:50", 15),
            6,
            Gauge::bytes(None, Some(32 << 20)),
            Gauge::cores(None, Some(0.5)),
            &[],
        ),
        row(
            "batch",
            6,
            badge(State::Paused, None, None),
            "busybox:latest",
            Some(8120),
            at("20:06:05", 2_400),
            0,
            Gauge::bytes(Some(1_400_000), None),
            Gauge::cores(Some(0.0), None),
            &[],
        ),
        row(
            "migrate",
            7,
            badge(State::Exited, Some(0), Some("Completed")),
            "busybox:latest",
            None,
            at("19:46:05", 3_600),
            0,
            Gauge::default(),
            Gauge::default(),
            &[],
        ),
        row(
            "not-there",
            8,
            badge(State::Exited, Some(127), Some("StartError")),
            "busybox:latest",
            None,
            at("19:16:05", 5_400),
            0,
            Gauge::default(),
            Gauge::default(),
            &[],
        ),
        row(
            "spare",
            9,
            badge(State::Created, None, None),
            "busybox:latest",
            None,
            at("20:40:05", 360),
            0,
            Gauge::default(),
            Gauge::default(),
            &[],
        ),
    ]
}

fn list(frame: Frame, rows: Vec<ContainerRow>) -> Containers {
    Containers {
        frame,
        rows,
        selector: String::new(),
        selector_error: None,
        phase: None,
        remaining: 0,
        next: None,
        later_page: false,
        has_images: false,
    }
}

fn head(name: &str, badge: Badge) -> Head {
    let (state, deleting) = (badge.state, badge.deleting);
    Head {
        name: name.into(),
        uid: WEB_UID.into(),
        badge,
        image: "nginx:1.22".into(),
        pid: state.is_up().then_some(7180),
        pid_inside: None,
        started: Some(at("17:31:12", 11_693)),
        finished: None,
        created: at("17:31:10", 11_695),
        restarts: 0,
        next_restart: None,
        health: "none".into(),
        can: Can::in_state(state, true, deleting),
        ask_delete: false,
    }
}

fn isolation() -> Vec<(String, String)> {
    pairs(&[
        ("pid", "private"),
        ("mnt", "private"),
        ("net", "container:web-front"),
        ("ipc", "shareable"),
        ("uts", "private"),
        ("user", "private"),
        ("cgroup", "host"),
    ])
}

fn overview(frame: Frame, head: Head, end: Option<End>) -> Overview {
    Overview {
        frame,
        head,
        end,
        command: strings(&["nginx", "-g", "daemon off;"]),
        working_dir: "/".into(),
        user: "root".into(),
        hostname: "web".into(),
        image_digest: Some("sha256:9f2b1c7d3e5a4f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8".into()),
        uid_base: Some(231_072),
        isolation: isolation(),
        memory: Gauge::bytes(Some(9_211_904), Some(64 << 20)),
        cpu: Gauge::cores(Some(0.034), Some(0.5)),
        pids: Gauge::count(Some(5), Some(100)),
        figures: vec![("figure.peak", "12.4 MiB".into()), ("figure.read", "–".into()), ("figure.pressure-cpu", "1.2 %".into())],
        restart_policy: "on-failure (5)".into(),
        stop_signal: "SIGTERM".into(),
        stop_timeout: 10,
        env: pairs(&[
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("TZ", "UTC"),
            ("NGINX_ENTRYPOINT_QUIET_LOGS", "1"),
        ]),
        mounts: vec![
            MountRow { kind: "bind".into(), source: "/srv/site".into(), target: "/usr/share/nginx/html".into(), read_only: true },
            MountRow { kind: "volume".into(), source: "cache".into(), target: "/var/cache/nginx".into(), read_only: false },
            MountRow { kind: "tmpfs".into(), source: String::new(), target: "/tmp".into(), read_only: false },
        ],
        ports: vec![PortRow { host: "127.0.0.1:8080".into(), container: "80/TCP".into() }],
        labels: pairs(&[("app", "site"), ("tier", "web")]),
        conditions: vec![],
    }
}

fn oom(frame: Frame) -> Overview {
    let mut head = head("greedy", badge(State::Exited, Some(137), Some("OOMKilled")));
    head.image = "busybox:latest".into();
    head.started = Some(at("20:41:03", 302));
    head.finished = Some(at("20:41:05", 300));
    let end = End {
        code: Some(137),
        signal: Some("SIGKILL".into()),
        oom_killed: true,
        oom_kills: 1,
        memory_limit: Some(10_000_000),
        memory_peak: Some(9_998_336),
        reason: Some("OOMKilled".into()),
        message: None,
        ran: true,
    };
    let mut page = overview(frame, head, Some(end));
    page.command = strings(&["sh", "-c", "x=$(head -c 67108864 /dev/zero | tr '\\0' x); echo ${#x}"]);
    page.memory = Gauge::bytes(None, Some(10_000_000));
    page.cpu = Gauge::default();
    page.pids = Gauge::default();
    page.ports = vec![];
    page.mounts = vec![];
    page.conditions = strings(&["oomScoreAdj -500 could not be set: EACCES (no CAP_SYS_RESOURCE here)"]);
    page
}

fn never_started(frame: Frame) -> Overview {
    let mut head = head("not-there", badge(State::Exited, Some(127), Some("StartError")));
    head.started = None;
    head.finished = Some(at("19:16:05", 5_400));
    head.ask_delete = true;
    let end = End {
        code: Some(127),
        reason: Some("StartError".into()),
        message: Some("exec: execve(/no/such/program): ENOENT".into()),
        ran: false,
        ..End::default()
    };
    overview(frame, head, Some(end))
}

fn setting(file: &str, value: &str) -> Setting {
    Setting { file: file.into(), value: value.into() }
}

fn limits(frame: Frame, head: Head) -> Limits {
    Limits {
        frame,
        head,
        rows: vec![
            Limit {
                resource: "memory",
                asked: Some("64Mi".into()),
                kernel: vec![setting("memory.limit_in_bytes", "67108864"), setting("memory.max_usage_in_bytes", "12288000")],
                usage: Gauge::bytes(Some(9_211_904), Some(64 << 20)),
            },
            Limit {
                resource: "swap",
                asked: Some("64Mi".into()),
                kernel: vec![setting("memory.memsw.limit_in_bytes", "67108864")],
                usage: Gauge::bytes(Some(0), Some(64 << 20)),
            },
            Limit {
                resource: "cpu",
                asked: Some("500m".into()),
                kernel: vec![setting("cpu.cfs_quota_us", "50000"), setting("cpu.cfs_period_us", "100000")],
                usage: Gauge::cores(Some(0.43), Some(0.5)),
            },
            Limit { resource: "shares", asked: None, kernel: vec![setting("cpu.shares", "1024")], usage: Gauge::default() },
            Limit { resource: "cpuset", asked: Some("0-1".into()), kernel: vec![setting("cpuset.cpus", "0-1")], usage: Gauge::default() },
            Limit {
                resource: "pids",
                asked: Some("100".into()),
                kernel: vec![setting("pids.max", "100")],
                usage: Gauge::count(Some(98), Some(100)),
            },
        ],
        pressure: vec![
            Pressure { resource: "cpu".into(), some_avg10: 12.4, some_avg60: 8.02, some_avg300: 3.1, full_avg10: 0.0 },
            Pressure { resource: "memory".into(), some_avg10: 0.0, some_avg60: 0.0, some_avg300: 0.0, full_avg10: 0.0 },
            Pressure { resource: "io".into(), some_avg10: 0.35, some_avg60: 0.11, some_avg300: 0.02, full_avg10: 0.3 },
        ],
        effects: vec![
            ("effect.oom", "0".into()),
            ("effect.failcnt", "0".into()),
            ("effect.throttled", "1,204 / 11,690".into()),
            ("effect.throttled.time", "41.2 s".into()),
            ("effect.pids.refused", "3".into()),
        ],
        form: {
            let mut form = CreateForm::default();
            for (field, value) in [("memory", "64Mi"), ("memorySwap", "64Mi"), ("cpu", "500m"), ("cpuset", "0-1"), ("pids", "100")] {
                form.values.insert(field.into(), value.into());
            }
            form
        },
        live: true,
    }
}

fn volumes(frame: Frame, faults: bool) -> Volumes {
    let row = |name: &str, used_by: &[&str], labels: &[(&str, &str)]| VolumeRow {
        name: name.into(),
        created: at("12:00:00", 31_565),
        labels: pairs(labels),
        used_by: strings(used_by),
    };
    let mut form = CreateForm::default();
    if faults {
        form.values.insert("name".into(), "My Cache".into());
        form.errors = vec![FieldError { path: "/metadata/name".into(), message: "must be a label of RFC 1123".into() }];
    }
    let rows =
        vec![row("cache", &["web", "site-builder"], &[]), row("etcd-data", &["etcd"], &[("tier", "db")]), row("left-over", &[], &[])];
    let paging = Paging::new("/volumes", Some("after.left-over"), true, 12);
    Volumes { frame, rows: if faults { vec![] } else { rows }, paging: if faults { Paging::default() } else { paging }, form }
}

fn namespaces(frame: Frame, head: Head) -> Namespaces {
    let row = |kind: &str, inode: u64, host: bool, processes, pid, command: &str, shared: &[(&str, &str)]| Namespace {
        kind: kind.into(),
        inode,
        path: format!("/proc/7180/ns/{kind}"),
        host,
        processes,
        pid,
        command: command.into(),
        shared_with: pairs(shared),
    };
    let other = [("site-builder", "0193f2c4a7b87c21b0a45e6d00000002")];
    Namespaces {
        frame,
        head,
        rows: vec![
            row("user", 4_026_532_621, false, 5, 7180, "nginx: master process nginx -g daemon off;", &[]),
            row("pid", 4_026_532_625, false, 5, 7180, "nginx: master process nginx -g daemon off;", &[]),
            row("mnt", 4_026_532_622, false, 5, 7180, "nginx: master process nginx -g daemon off;", &[]),
            row("net", 4_026_532_627, false, 8, 7180, "nginx: master process nginx -g daemon off;", &other),
            row("ipc", 4_026_532_624, false, 8, 7180, "nginx: master process nginx -g daemon off;", &other),
            row("uts", 4_026_532_623, false, 5, 7180, "nginx: master process nginx -g daemon off;", &[]),
            row("cgroup", 4_026_531_835, true, 142, 1, "/sbin/init", &[]),
        ],
    }
}

fn processes(frame: Frame, head: Head) -> Processes {
    let row = |pid, pid_inside, depth, uid, uid_inside, state: &str, command: &str, memory_bytes, cpu_nanos| Process {
        pid,
        pid_inside,
        depth,
        uid,
        uid_inside: Some(uid_inside),
        state: state.into(),
        command: command.into(),
        threads: 1,
        memory_bytes,
        cpu_nanos,
    };
    Processes {
        frame,
        head,
        remaining: 0,
        rows: vec![
            row(7180, 1, 0, 231_072, 0, "S", "nginx: master process nginx -g daemon off;", 5_812_224, 41_200_000),
            row(7211, 29, 1, 231_173, 101, "S", "nginx: worker process", 3_399_680, 3_804_000_000),
            row(7212, 30, 1, 231_173, 101, "R", "nginx: worker process", 3_411_968, 3_911_000_000),
            row(7301, 34, 1, 231_072, 0, "S", "sh -c while sleep 60; do nginx -s reload; done", 942_080, 12_100_000),
            row(7399, 61, 2, 231_072, 0, "S", "sleep 60", 401_408, 640_000),
        ],
    }
}

fn cgroup(frame: Frame, head: Head) -> Cgroup {
    let controller = |name: &str, files: &[(&str, &str)]| Controller {
        name: name.into(),
        path: format!("/sys/fs/cgroup/{name}/berth-1a2b/0193f2c4a7b8/web"),
        files: files.iter().map(|(name, content)| CgroupFile { name: (*name).into(), content: (*content).into() }).collect(),
    };
    Cgroup {
        frame,
        head,
        version: "hybrid".into(),
        controllers: vec![
            controller(
                "memory",
                &[
                    ("memory.failcnt", "0"),
                    ("memory.limit_in_bytes", "67108864"),
                    ("memory.max_usage_in_bytes", "12288000"),
                    ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0"),
                    ("memory.usage_in_bytes", "9211904"),
                ],
            ),
            controller(
                "cpu",
                &[
                    ("cpu.cfs_period_us", "100000"),
                    ("cpu.cfs_quota_us", "50000"),
                    ("cpu.shares", "1024"),
                    ("cpu.stat", "nr_periods 11690\nnr_throttled 1204\nthrottled_time 41203881902"),
                ],
            ),
            controller("pids", &[("pids.current", "5"), ("pids.max", "100")]),
            controller(
                "unified",
                &[
                    ("cgroup.events", "populated 1\nfrozen 0"),
                    ("cgroup.procs", "7180\n7211\n7212\n7301\n7399"),
                    ("memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0"),
                ],
            ),
        ],
    }
}

fn operation(stage: &str, actor: &str, call: &str, arguments: &[&str], duration_nanos: u64, shell: &str) -> Operation {
    Operation {
        stage: stage.into(),
        actor: actor.into(),
        call: call.into(),
        arguments: strings(arguments),
        duration_nanos,
        result: "ok".into(),
        failed: false,
        shell: shell.into(),
    }
}

fn explain(frame: Frame, head: Head, fails: bool) -> Explain {
    let group = "/sys/fs/cgroup/memory/berth-1a2b/0193f2c4a7b8/web";
    let mut operations = vec![
        operation(
            "run-dir",
            "launcher",
            "mkdir",
            &["/run/berth/pods/0193f2c4a7b8", "0700"],
            31_000,
            "mkdir -m 0700 /run/berth/pods/0193f2c4a7b8",
        ),
        operation("cgroup", "shim", "mkdir", &[group], 118_000, &format!("mkdir {group}")),
        operation(
            "cgroup",
            "shim",
            "write",
            &[&format!("{group}/memory.limit_in_bytes"), "67108864"],
            22_400,
            &format!("echo 67108864 > {group}/memory.limit_in_bytes"),
        ),
        operation(
            "cgroup",
            "shim",
            "write",
            &["…/cpu/…/cpu.cfs_quota_us", "50000"],
            18_100,
            "echo 50000 > /sys/fs/cgroup/cpu/berth-1a2b/0193f2c4a7b8/web/cpu.cfs_quota_us",
        ),
        operation(
            "cgroup",
            "init",
            "write",
            &["…/cgroup.procs", "0"],
            41_900,
            "echo $$ > /sys/fs/cgroup/memory/berth-1a2b/0193f2c4a7b8/web/cgroup.procs",
        ),
        operation(
            "namespaces",
            "shim",
            "clone3",
            &["CLONE_NEWUSER|CLONE_NEWPID|CLONE_NEWNS|CLONE_NEWNET|CLONE_NEWIPC|CLONE_NEWUTS"],
            684_000,
            "unshare --user --pid --fork --mount --net --ipc --uts sh",
        ),
        operation(
            "id-map",
            "shim",
            "write",
            &["/proc/7180/uid_map", "0 231072 65536"],
            12_700,
            "echo '0 231072 65536' > /proc/7180/uid_map",
        ),
        operation(
            "id-map",
            "shim",
            "write",
            &["/proc/7180/gid_map", "0 231072 65536"],
            9_800,
            "echo '0 231072 65536' > /proc/7180/gid_map",
        ),
        operation("mounts", "init", "mount", &["none", "/", "MS_REC|MS_PRIVATE"], 14_900, "mount --make-rprivate /"),
        operation(
            "mounts",
            "init",
            "mount",
            &["overlay", "rootfs", "lowerdir=…,upperdir=…,workdir=…"],
            304_000,
            "mount -t overlay overlay -o lowerdir=/var/lib/berth/layers/9f2b,upperdir=upper,workdir=work rootfs",
        ),
        operation(
            "mounts",
            "init",
            "mount",
            &["proc", "rootfs/proc", "MS_NOSUID|MS_NODEV|MS_NOEXEC"],
            28_300,
            "mount -t proc -o nosuid,nodev,noexec proc rootfs/proc",
        ),
        operation("pivot-root", "init", "pivot_root", &[".", "."], 36_000, "pivot_root . ."),
        operation("pivot-root", "init", "umount2", &[".", "MNT_DETACH"], 510_000, "umount -l ."),
        operation("seccomp", "init", "seccomp", &["SECCOMP_SET_MODE_FILTER", "412 instructions"], 147_000, ""),
        operation(
            "exec",
            "init",
            "execve",
            &["/usr/sbin/nginx", "[\"nginx\", \"-g\", \"daemon off;\"]"],
            402_000,
            "exec nginx -g 'daemon off;'",
        ),
    ];
    if fails {
        let last = operations.last_mut().expect("there are operations");
        (last.result, last.failed) = ("ENOENT".into(), true);
    }
    Explain { frame, head, operations }
}

fn logs(frame: Frame, head: Head, search: &str) -> Logs {
    let line = |clock: &str, stream, text: &str| LogLine { time: format!("2025-11-23T{clock}000000Z"), stream, text: text.into() };
    let (out, err) = (LogStream::Stdout, LogStream::Stderr);
    Logs {
        frame,
        head,
        lines: vec![
            line("17:31:12.104", err, "2025/11/23 17:31:12 [notice] 1#1: using the \"epoll\" event method"),
            line("17:31:12.104", err, "2025/11/23 17:31:12 [notice] 1#1: nginx/1.22.1"),
            line("17:31:12.105", err, "2025/11/23 17:31:12 [notice] 1#1: start worker processes"),
            line("17:32:40.918", out, "127.0.0.1 - - [23/Nov/2025:17:32:40 +0000] \"GET / HTTP/1.1\" 200 615 \"-\" \"curl/7.88.1\""),
            line("17:33:02.331", out, "127.0.0.1 - - [23/Nov/2025:17:33:02 +0000] \"GET /missing HTTP/1.1\" 404 153 \"-\" \"curl/7.88.1\""),
            line(
                "17:33:02.331",
                err,
                "2025/11/23 17:33:02 \u{1b}[31m[error]\u{1b}[0m 30#30: *2 open() \"/usr/share/nginx/html/missing\" failed (2: No such file or directory)",
            ),
            line("17:34:11.007", out, "\u{1b}[32mok\u{1b}[0m \u{1b}[2mhealth\u{1b}[0m \u{1b}[1;36mupstream 127.0.0.1:1313\u{1b}[0m 1.2 ms"),
            line("17:34:12.410", out, "a hostile line: \u{1b}]52;c;bm8=\u{7} <script>alert(1)</script> exe.\u{202e}gpj \u{1b}[2J"),
        ],
        tail: 500,
        stream: None,
        search: search.into(),
        more: true,
    }
}

fn event_rows() -> Vec<EventRow> {
    let row = |sequence, clock: &str, age, warning, kind: &str, name: &str, reason: &str, message: &str, actor: Option<&str>| EventRow {
        sequence,
        time: at(clock, age),
        warning,
        kind: kind.into(),
        name: name.into(),
        uid: WEB_UID.into(),
        reason: reason.into(),
        message: message.into(),
        actor: actor.map(Into::into),
    };
    vec![
        row(1042, "20:45:50", 15, true, "Container", "burner", "BackOff", "exited with code 1; next start in 40 s (restart 7)", None),
        row(
            1041,
            "20:41:05",
            300,
            true,
            "Container",
            "greedy",
            "OOMKilled",
            "pid 1 killed by the kernel at a memory limit of 10,000,000 bytes",
            None,
        ),
        row(1040, "20:41:03", 302, false, "Container", "greedy", "Started", "pid 9120", Some("first-login")),
        row(1039, "20:41:02", 303, false, "Container", "greedy", "Created", "from image busybox:latest", Some("first-login")),
        row(1038, "19:16:05", 5_400, true, "Container", "not-there", "StartError", "exec: execve(/no/such/program): ENOENT", Some("ci")),
        row(1037, "17:31:12", 11_693, false, "Container", "web", "Started", "pid 7180", Some("first-login")),
        row(1036, "17:30:02", 11_763, false, "Image", "nginx:1.22", "Imported", "3 layers, 141 MiB", Some("first-login")),
    ]
}

fn events(frame: Frame) -> Events {
    Events { frame, rows: event_rows(), kind: String::new(), name: String::new(), reason: String::new(), older: Some(1036) }
}

fn images(frame: Frame, empty: bool) -> Images {
    let row = |references: &[&str], digest: &str, size, layers, command: &[&str], used_by| ImageRow {
        references: strings(references),
        digest: format!("sha256:{digest:0<64}"),
        size,
        layers,
        platform: "linux/amd64".into(),
        created: Some(at("12:00:00", 31_565)),
        command: strings(command),
        used_by,
    };
    let rows = vec![
        row(&["nginx:1.22", "nginx:latest"], "9f2b1c7d3e5a4f60", 147_849_216, 3, &["nginx", "-g", "daemon off;"], 1),
        row(&["registry.example/etcd-io/etcd:3.4.23"], "11aa22bb33cc44dd", 84_934_656, 5, &["etcd"], 1),
        row(&["busybox:latest"], "77ee66dd55cc44bb", 2_015_232, 1, &["sh"], 6),
        row(&[], "0f1e2d3c4b5a6978", 2_015_232, 1, &[], 0),
    ];
    let rows = if empty { vec![] } else { rows };
    let (count, total_bytes) = (rows.len() as u64, rows.iter().map(|row| row.size).sum());
    Images { frame, paging: Paging::default(), count, total_bytes, rows, form: CreateForm::default() }
}

fn image(frame: Frame) -> ImagePage {
    let Images { frame, mut rows, .. } = images(frame, false);
    ImagePage {
        frame,
        image: rows.swap_remove(0),
        layers: vec![(format!("sha256:{:0<64}", "aa11"), 80_000_000), (format!("sha256:{:0<64}", "bb22"), 67_849_216)],
        origin: "imported".into(),
        entrypoint: strings(&["/docker-entrypoint.sh"]),
        cmd: strings(&["nginx", "-g", "daemon off;"]),
        env: pairs(&[("NGINX_VERSION", "1.22.1")]),
        user: String::new(),
        working_dir: String::new(),
        stop_signal: "SIGQUIT".into(),
        ports: strings(&["80/tcp"]),
        volumes: strings(&["/var/cache/nginx"]),
        labels: pairs(&[("maintainer", "someone")]),
        used_by: pairs(&[("web", WEB_UID)]),
    }
}

fn terminal(frame: Frame, head: Head, executed: bool) -> Terminal {
    let mut form = CreateForm::default();
    let executed = executed.then(|| Executed {
        command: "sh -c 'id; ls /nowhere'".into(),
        exit_code: 1,
        stdout: "uid=0(root) gid=0(root)\n".into(),
        stderr: "ls: /nowhere: No such file or directory\n".into(),
        ..Executed::default()
    });
    if let Some(executed) = &executed {
        form.values.insert("command".into(), executed.command.clone());
    }
    Terminal { frame, head, tty: false, stdin: true, form, executed }
}

fn system(frame: Frame) -> System {
    let fact = |key, value: &str| HostFact { key, value: value.into() };
    let feature = |name: &str, missing: Option<&str>| Feature { name: name.into(), missing: missing.map(Into::into) };
    let share = |key, count, active, bytes, reclaimable_bytes| DiskShare { key, count, active, bytes, reclaimable_bytes };
    System {
        frame,
        facts: vec![
            fact("fact.hostname", "harbour"),
            fact("fact.kernel", "6.18.0-1-amd64"),
            fact("fact.architecture", "x86_64"),
            fact("fact.cpus", "2"),
            fact("fact.memory", "23.5 GiB"),
            fact("fact.boot", "6b1d4f0e-7a1c-4a8e-9a57-0f3f4d1f2c11"),
            fact("fact.version", "0.1.0"),
            fact("fact.runtime", "0.1.0"),
            fact("fact.data", "/var/lib/berth"),
        ],
        cgroup_mode: "hybrid".into(),
        controllers: strings(&["blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids"]),
        features: vec![
            feature("cgroup-kill", None),
            feature("idmapped-mounts", None),
            feature("lower-oom-score", Some("EACCES: this machine has no CAP_SYS_RESOURCE")),
            feature("overlayfs", None),
            feature("pidfd", None),
            feature("pressure", None),
            feature("raise-rlimits", Some("EPERM: this machine has no CAP_SYS_RESOURCE")),
            feature("seccomp", None),
            feature("swap-accounting", None),
            feature("user-namespaces", None),
        ],
        counts: vec![("count.running", 4), ("count.containers", 9), ("count.images", 4), ("count.events", 1042)],
        disk: Ok(vec![
            share("share.images", 4, 3, 236_796_928, 2_015_232),
            share("share.containers", 9, 4, 1_048_576, 524_288),
            share("share.volumes", 3, 2, 73_400_320, 8192),
            share("share.logs", 9, 4, 12_582_912, 4096),
        ]),
    }
}

fn create(frame: Frame, faults: bool) -> Create {
    let mut form = CreateForm::fresh();
    if faults {
        for (field, value) in [
            ("image", "busybox:latest"),
            ("name", "Web_1"),
            ("command", "sh -c 'echo \"hi\" <&0'"),
            ("memory", "64 apples"),
            ("capAdd", "SYS_EVERYTHING"),
        ] {
            form.values.insert(field.into(), value.into());
        }
        let fault = |path: &str, message: &str| FieldError { path: path.into(), message: message.into() };
        form.errors = vec![
            fault("/metadata/name", "must consist of small letters, digits and “-”, and begin and end with a letter or digit"),
            fault("/spec/resources/memory", "“64 apples” is not a quantity: a number with an optional suffix such as Ki, Mi or Gi"),
            fault("/spec/security/capabilities/add/0", "this kernel knows no capability SYS_EVERYTHING"),
            fault("/spec/unknown", "unknown field"),
        ];
    }
    let preview = faults.then(|| Preview::new(&frame, "{\n  \"spec\": {}\n}".into(), r#"{"spec":{}}"#));
    let (images, joinable) = (strings(&["busybox:latest", "nginx:1.22"]), strings(&["web", "etcd"]));
    Create { frame, form, images, joinable, volumes: strings(&["cache"]), preview }
}

/// All of them.
pub(crate) fn all(lang: Lang) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut add = |name: &'static str, path: &str, page: &dyn Page| {
        samples.push(Sample { name, path: path.to_owned(), html: page.html().expect("a page of plain values renders") });
    };
    let frame = |here: &str| frame(lang, here);
    let running = || head("web", badge(State::Running, None, None));

    let mut outside = frame("/login");
    (outside.who, outside.calls) = (None, vec![]);
    add("login", "/login", &Login { frame: outside.clone(), refused: None, next: "/containers".into() });
    add(
        "login-refused",
        "/login-refused",
        &Login { frame: outside, refused: Some(Refused::Unknown), next: "/containers/web?a=1&b=\"2\"".into() },
    );

    let mut full = list(frame("/containers"), rows());
    (full.next, full.remaining) = (Some("eyJuYW1lIjoic3BhcmUifQ".into()), 31);
    full.frame.flash = Flash::done(lang, "started", "web");
    add("containers", "/containers", &full);
    add("containers-first", "/containers-first", &list(frame("/containers"), vec![]));
    let mut nothing = list(frame("/containers?labelSelector=app%3Dnone"), vec![]);
    (nothing.selector, nothing.phase) = ("app=none".into(), Some(State::Running));
    nothing.selector_error = Some("“app==none=” is not a label selector".into());
    add("containers-nothing", "/containers-nothing", &nothing);
    let mut viewer = list(frame("/containers"), rows());
    viewer.frame.who = Some(Who { name: "guest".into(), role: "viewer".into() });
    add("containers-viewer", "/containers-viewer", &viewer);

    add("container", "/containers/web", &overview(frame("/containers/web"), running(), None));
    add("container-oom", "/containers/greedy", &oom(frame("/containers/greedy")));
    add("container-never", "/containers/not-there", &never_started(frame("/containers/not-there?ask=delete")));
    add("limits", "/containers/web/limits", &limits(frame("/containers/web/limits"), running()));
    add("namespaces", "/containers/web/namespaces", &namespaces(frame("/containers/web/namespaces"), running()));
    add("processes", "/containers/web/processes", &processes(frame("/containers/web/processes"), running()));
    add("cgroup", "/containers/web/cgroup", &cgroup(frame("/containers/web/cgroup"), running()));
    add("explain", "/containers/web/explain", &explain(frame("/containers/web/explain"), running(), false));
    let failed = head("not-there", badge(State::Exited, Some(127), Some("StartError")));
    add("explain-failed", "/containers/not-there/explain", &explain(frame("/containers/not-there/explain"), failed, true));
    add("logs", "/containers/web/logs", &logs(frame("/containers/web/logs"), running(), ""));
    add("logs-search", "/containers/web/logs-search", &logs(frame("/containers/web/logs?q=notice"), running(), "notice"));
    add("terminal", "/containers/web/terminal", &terminal(frame("/containers/web/terminal"), running(), false));
    add("terminal-answer", "/containers/web/terminal-answer", &terminal(frame("/containers/web/terminal"), running(), true));
    let ended = head("web", badge(State::Exited, Some(0), None));
    add("terminal-stopped", "/containers/web/terminal-stopped", &terminal(frame("/containers/web/terminal"), ended, false));
    let mut rows = event_rows();
    rows.retain(|row| row.name == "greedy");
    add("container-events", "/containers/web/events", &ContainerEvents { frame: frame("/containers/web/events"), head: running(), rows });

    add("create", "/containers/new", &create(frame("/containers/new"), false));
    add("create-faults", "/containers/new-faults", &create(frame("/containers/new"), true));
    add("images", "/images", &images(frame("/images"), false));
    add("images-none", "/images-none", &images(frame("/images"), true));
    add("image", "/images/9f2b1c7d3e5a", &image(frame("/images/9f2b1c7d3e5a")));
    add("volumes", "/volumes", &volumes(frame("/volumes"), false));
    add("volumes-fault", "/volumes-fault", &volumes(frame("/volumes"), true));
    add("events", "/events", &events(frame("/events")));
    add("system", "/system", &system(frame("/system")));
    let error = ErrorPage {
        frame: frame("/containers/nobody"),
        status: 404,
        title: "No such container".into(),
        detail: "There is no container with the name or uid “nobody”.".into(),
        code: "container-not-found".into(),
        errors: vec![],
        instance: Some("urn:uuid:0193f2c4-a7b8-7c21-b0a4-5e6d9c0f1a2b".into()),
        back: "/containers".into(),
    };
    add("error", "/error", &error);
    samples
}
