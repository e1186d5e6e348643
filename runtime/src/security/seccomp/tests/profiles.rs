//! Custom profiles: what they mean, what is refused, and that libseccomp would decide the same.

use super::*;

fn pointer(profile: Value) -> String {
    match custom(profile) {
        Ok(_) => "no fault".to_owned(),
        Err(fault) => fault.path.strip_prefix(PROFILE).map_or(fault.path.clone(), str::to_owned),
    }
}

#[test]
fn faults_are_pointed_at() {
    let with =
        |rule: Value| json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}, rule]});
    let arg = |arg: Value| with(json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [arg]}));
    let top = |more: Value| {
        let mut profile = json!({"defaultAction": "SCMP_ACT_ERRNO"});
        profile.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        profile
    };
    let includes = |filter: Value| with(json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": filter}));
    let cases = [
        (json!([]), ""),
        (json!("SCMP_ACT_ALLOW"), ""),
        (json!({}), "/defaultAction"),
        (json!({"defaultAction": "ALLOW"}), "/defaultAction"),
        (json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "/defaultAction"),
        (json!({"defaultAction": 1}), "/defaultAction"),
        (json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}), "/defaultErrnoRet"),
        (top(json!({"defaultErrnoRet": 4096})), "/defaultErrnoRet"),
        (top(json!({"defaultErrnoRet": -1})), "/defaultErrnoRet"),
        (top(json!({"defaultErrno": "ENOSUCH"})), "/defaultErrno"),
        (top(json!({"a/b~c": 1})), "/a~1b~0c"),
        (top(json!({"architectures": ["SCMP_ARCH_X86_64", "x86"]})), "/architectures/1"),
        (top(json!({"archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["X32"]}]})), "/archMap/0/subArchitectures/0"),
        (top(json!({"architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86"}]})), "/archMap"),
        (top(json!({"flags": ["SECCOMP_FILTER_FLAG_LOG"]})), "/flags/0"),
        (top(json!({"syscalls": {}})), "/syscalls"),
        (with(json!(7)), "/syscalls/1"),
        (with(json!({"action": "SCMP_ACT_ALLOW"})), "/syscalls/1/names"),
        (with(json!({"names": ["read"]})), "/syscalls/1/action"),
        (with(json!({"names": ["read", 1], "action": "SCMP_ACT_ALLOW"})), "/syscalls/1/names/1"),
        (with(json!({"name": "read", "names": ["write"], "action": "SCMP_ACT_ALLOW"})), "/syscalls/1/name"),
        (with(json!({"names": ["no_such"], "action": "SCMP_ACT_PERMIT"})), "/syscalls/1/action"),
        (with(json!({"names": ["read"], "action": "SCMP_ACT_KILL", "errnoRet": 5})), "/syscalls/1/errnoRet"),
        (with(json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "arg": []})), "/syscalls/1/arg"),
        (arg(json!({"index": 6, "value": 1, "op": "SCMP_CMP_EQ"})), "/syscalls/1/args/0/index"),
        (arg(json!({"index": 0, "value": -1, "op": "SCMP_CMP_EQ"})), "/syscalls/1/args/0/value"),
        (arg(json!({"index": 0, "value": 1.5, "op": "SCMP_CMP_EQ"})), "/syscalls/1/args/0/value"),
        (arg(json!({"index": 0, "value": 1, "op": "EQ"})), "/syscalls/1/args/0/op"),
        (arg(json!({"index": 0, "value": 1})), "/syscalls/1/args/0/op"),
        (arg(json!({"value": 1, "op": "SCMP_CMP_EQ"})), "/syscalls/1/args/0/index"),
        (includes(json!({"minKernel": "4"})), "/syscalls/1/includes/minKernel"),
        (includes(json!({"minKernel": "4.8.1"})), "/syscalls/1/includes/minKernel"),
        (includes(json!({"minKernel": "4294967296.1"})), "/syscalls/1/includes/minKernel"),
        (includes(json!({"caps": "CAP_CHOWN"})), "/syscalls/1/includes/caps"),
        (includes(json!({"cap": ["CAP_CHOWN"]})), "/syscalls/1/includes/cap"),
    ];
    for (profile, expected) in cases {
        assert_eq!(pointer(profile.clone()), expected, "{profile}");
    }
}

#[test]
fn endless_profiles_are_refused() {
    let many: Vec<Value> = (0..65).map(|value| json!({"index": 0, "value": value, "op": "SCMP_CMP_EQ"})).collect();
    let rule = |args: &[Value]| json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": args});
    let profile = |syscalls: Vec<Value>| json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": syscalls});
    assert_eq!(pointer(profile(vec![rule(&many)])), "/syscalls/0/args");
    assert_eq!(pointer(profile(vec![rule(&many[..64]); 300])), "/syscalls/256");
    let distinct = |at: u64| json!({"index": 0, "value": at << 33 | at, "op": "SCMP_CMP_EQ"});
    let long: Vec<Value> = (0..1500).map(|at| rule(&[distinct(at)])).collect();
    let fault = custom(profile(long)).expect_err("too long for the kernel");
    assert_eq!(fault.path, PROFILE);
    assert!(fault.message.contains("4096"), "{fault}");
}

#[test]
fn actions_and_errnos_arrive() {
    let filter = custom(json!({
        "defaultAction": "SCMP_ACT_ALLOW", "comment": "free text",
        "syscalls": [
            {"names": ["getpid", "no_such_call_in_any_kernel"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13, "comment": "EACCES"},
            {"name": "getuid", "action": "SCMP_ACT_ERRNO", "errno": "ENODEV", "errnoRet": 1},
            {"names": ["getgid"], "action": "SCMP_ACT_KILL", "args": null, "includes": {}, "excludes": {}},
            {"names": ["geteuid"], "action": "SCMP_ACT_KILL_THREAD"},
            {"names": ["getegid"], "action": "SCMP_ACT_KILL_PROCESS"},
            {"names": ["gettid"], "action": "SCMP_ACT_TRAP"},
            {"names": ["getsid"], "action": "SCMP_ACT_LOG"},
            {"names": ["getpgid"], "action": "SCMP_ACT_TRACE", "errnoRet": 7},
        ],
    }))
    .expect("no fault");
    let expected = [
        ("getpid", EPERM),
        ("getppid", Verdict::Errno(13)),
        ("getuid", Verdict::Errno(19)),
        ("getgid", Verdict::KillThread),
        ("geteuid", Verdict::KillThread),
        ("getegid", Verdict::KillProcess),
        ("gettid", Verdict::Trap),
        ("getsid", Verdict::Log),
        ("getpgid", Verdict::Trace(7)),
        ("read", Verdict::Allow),
    ];
    for (call, verdict) in expected {
        assert_eq!(on(&filter, call, [0; 6]), verdict, "{call}");
    }
}

#[test]
fn conditions_choose_rules() {
    let verdict_with = |filter: Value, capabilities: CapSet, options: Options| {
        let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
            "syscalls": [{"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": filter["in"], "excludes": filter["out"]}]});
        let filter = compile(&Seccomp::Custom { profile }, capabilities, &options).expect("no fault").expect("a filter");
        on(&filter, "chroot", [0; 6]) == Verdict::Allow
    };
    let now = options(true);
    let old = Options { kernel: KernelVersion { major: 4, minor: 7 }, ..now };
    let chroot = CapSet::of(&[Capability::SYS_CHROOT]);
    let cases = [
        (json!({}), CapSet::EMPTY, now, true),
        (json!({"in": {"caps": ["CAP_SYS_CHROOT"]}}), chroot, now, true),
        (json!({"in": {"caps": ["CAP_SYS_CHROOT"]}}), CapSet::EMPTY, now, false),
        (json!({"in": {"caps": ["CAP_SYS_CHROOT", "CAP_SYS_ADMIN"]}}), chroot, now, false),
        (json!({"in": {"caps": ["CAP_OF_THE_FUTURE"]}}), CapSet::ALL, now, false),
        (json!({"out": {"caps": ["CAP_SYS_CHROOT", "CAP_SYS_ADMIN"]}}), chroot, now, false),
        (json!({"out": {"caps": ["CAP_SYS_ADMIN"]}}), chroot, now, true),
        (json!({"in": {"arches": ["arm64", "amd64"]}}), chroot, now, true),
        (json!({"in": {"arches": ["arm64"]}}), chroot, now, false),
        (json!({"out": {"arches": ["amd64"]}}), chroot, now, false),
        (json!({"in": {"minKernel": "4.8"}}), chroot, now, true),
        (json!({"in": {"minKernel": "4.8"}}), chroot, old, false),
        (json!({"in": {"minKernel": "6.18"}}), chroot, now, true),
        (json!({"in": {"minKernel": "6.19"}}), chroot, now, false),
        (json!({"out": {"minKernel": "4.8"}}), chroot, now, false),
        (json!({"out": {"minKernel": "4.8"}}), chroot, old, true),
    ];
    for (filter, capabilities, options, allowed) in cases {
        assert_eq!(verdict_with(filter.clone(), capabilities, options), allowed, "{filter} {capabilities:?}");
    }
}

#[test]
fn kernel_releases_are_read() {
    let parsed = |release| KernelVersion::parse_release(release).map(|version| (version.major, version.minor));
    assert_eq!(parsed("6.1.0-18-amd64\n"), Some((6, 1)));
    assert_eq!(parsed("5.10-rc3"), Some((5, 10)));
    assert_eq!(parsed("6.18"), Some((6, 18)));
    for wrong in ["", "6", "six.1", "6.", ".1", "6.x"] {
        assert_eq!(parsed(wrong), None, "{wrong}");
    }
    assert!(KernelVersion::running() > KernelVersion { major: 4, minor: 0 });
}

#[test]
fn calls_that_are_newer_than_the_profile_are_absent() {
    let profile =
        |default: &str| json!({"defaultAction": default, "syscalls": [{"names": ["read", "openat2"], "action": "SCMP_ACT_ALLOW"}]});
    let verdict = |default: &str, number| {
        let filter = custom(profile(default)).expect("no fault");
        filter.verdict_of(&Call { number, arch: X86_64, arguments: [0; 6] })
    };
    assert_eq!(verdict("SCMP_ACT_ERRNO", 436), EPERM);
    assert_eq!(verdict("SCMP_ACT_ERRNO", 437), Verdict::Allow);
    assert_eq!(verdict("SCMP_ACT_ERRNO", 438), ENOSYS);
    assert_eq!(verdict("SCMP_ACT_KILL_PROCESS", 438), ENOSYS);
    for permissive in ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"] {
        assert_ne!(verdict(permissive, 438), ENOSYS, "{permissive}");
    }
}

#[test]
fn rules_of_one_call_have_an_order_of_their_own() {
    let eq = |value: u64| json!({"index": 0, "value": value, "op": "SCMP_CMP_EQ"});
    let rule = |action: &str, args: Vec<Value>| json!({"names": ["socket"], "action": action, "args": args});
    let verdict = |rules: Vec<Value>, argument| {
        let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": rules});
        on(&custom(profile).expect("no fault"), "socket", first(argument))
    };
    // Without arguments beats with arguments, whichever comes first.
    let (always, never) = (rule("SCMP_ACT_ALLOW", vec![]), rule("SCMP_ACT_TRAP", vec![eq(38)]));
    assert_eq!(verdict(vec![always.clone(), never.clone()], 38), Verdict::Allow);
    assert_eq!(verdict(vec![never, always], 38), Verdict::Allow);
    // A mask of nothing is a rule without arguments.
    let vacuous = rule("SCMP_ACT_TRAP", vec![json!({"index": 0, "value": 0, "valueTwo": 7, "op": "SCMP_CMP_MASKED_EQ"})]);
    assert_eq!(verdict(vec![vacuous, rule("SCMP_ACT_ALLOW", vec![])], 38), Verdict::Trap);
    // One argument twice is "or".
    let either = rule("SCMP_ACT_ALLOW", vec![eq(1), eq(2)]);
    assert_eq!([1, 2, 3].map(|family| verdict(vec![either.clone()], family)), [Verdict::Allow, Verdict::Allow, ENOSYS]);
    // The strictest of those that match.
    let below = rule("SCMP_ACT_ALLOW", vec![json!({"index": 0, "value": 40, "op": "SCMP_CMP_LT"})]);
    let exact = rule("SCMP_ACT_TRAP", vec![eq(38)]);
    assert_eq!(verdict(vec![below.clone(), exact.clone()], 38), Verdict::Trap);
    assert_eq!(verdict(vec![exact.clone(), below.clone()], 38), Verdict::Trap);
    assert_eq!(verdict(vec![exact, below], 39), Verdict::Allow);
}

// ---- The differential test ----

/// Values that share halves, so that comparisons of halves are put to the test.
fn value() -> impl Strategy<Value = u64> {
    let half = prop_oneof![Just(0u64), Just(1), Just(2), Just(0x7fff_ffff), Just(0x8000_0000), Just(0xffff_ffff), 0u64..200];
    (half.clone(), half).prop_map(|(upper, lower)| upper << 32 | lower)
}

fn test_of_argument() -> impl Strategy<Value = TestParts> {
    let operator = prop::sample::select(vec!["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]);
    // A mask of nothing is no test: see `rules_of_one_call_have_an_order_of_their_own`.
    (0..6u8, operator, value(), value()).prop_map(|(argument, operator, value, second)| match operator {
        "MASKED_EQ" => (argument, operator, value.max(1), second),
        _ => (argument, operator, value, second),
    })
}

/// Argument, operator, value, second value.
type TestParts = (u8, &'static str, u64, u64);
/// Calls, by place in the table; tests; action, by place in `ACTIONS`.
type RuleParts = (Vec<usize>, Vec<TestParts>, usize);

fn rule(actions: usize) -> impl Strategy<Value = RuleParts> {
    (prop::collection::vec(0..12usize, 1..6), prop::collection::vec(test_of_argument(), 0..3), 0..actions)
}

const ACTIONS: [(&str, Verdict); 3] =
    [("SCMP_ACT_ALLOW", Verdict::Allow), ("SCMP_ACT_TRAP", Verdict::Trap), ("SCMP_ACT_KILL", Verdict::KillThread)];

/// A profile in JSON, and its rules for libseccomp, made from the same parts but not by `custom`.
fn build(default: &str, rules: &[RuleParts]) -> (Value, Vec<(u32, Rule)>) {
    let calls: Vec<(&str, u32)> = Arch::X86_64.calls().collect();
    let mut syscalls = Vec::new();
    let mut plain = Vec::new();
    for (indices, tests, action) in rules {
        let (action, verdict) = ACTIONS[*action];
        let chosen: Vec<(&str, u32)> = indices.iter().map(|index| calls[index % calls.len()]).collect();
        let arg =
            |(index, op, value, two): &TestParts| json!({"index": index, "op": format!("SCMP_CMP_{op}"), "value": value, "valueTwo": two});
        let names: Vec<&str> = chosen.iter().map(|(name, _)| *name).collect();
        syscalls.push(json!({"names": names, "action": action, "args": tests.iter().map(arg).collect::<Vec<_>>()}));
        let conditions: Vec<Condition> = tests.iter().map(plain_condition).collect();
        let twice = tests.iter().map(|test| test.0).collect::<BTreeSet<_>>().len() < tests.len();
        for (_, number) in chosen {
            if twice {
                plain.extend(conditions.iter().map(|&one| (number, Rule::when([one], verdict))));
            } else {
                plain.push((number, Rule::when(conditions.clone(), verdict)));
            }
        }
    }
    (json!({"defaultAction": default, "syscalls": syscalls}), plain)
}

fn plain_condition(&(argument, operator, value, second): &TestParts) -> Condition {
    let (comparison, value) = match operator {
        "NE" => (Comparison::NotEqual, value),
        "LT" => (Comparison::Less, value),
        "LE" => (Comparison::LessOrEqual, value),
        "EQ" => (Comparison::Equal, value),
        "GE" => (Comparison::GreaterOrEqual, value),
        "GT" => (Comparison::Greater, value),
        _ => (Comparison::Masked(value), second),
    };
    Condition { argument, width: Width::Full64, comparison, value }
}

/// Calls whose rules libseccomp 2.5.4 merges wrongly, so that only what the rules say can be the measure: those with several rules, unless
/// each is one test for equality.
///
/// With `a < 0xffffffff00000000` and `a < 0` its program lets 0xffffffff pass; with `c != 0x200000001 && d != 0` and `c == 0x200000000` it
/// takes (0x200000002, 0) for a match; with `e == 1 && f == 0` and `e == 1` (1, 1) is none. The running kernel, asked with its programs, says
/// so too. And with some sets of rules it never comes to an end.
fn is_beyond_libseccomp(rules: &[Rule]) -> bool {
    let plain = |rule: &Rule| match rule.conditions[..] {
        [] => true,
        [only] => matches!(only.comparison, Comparison::Equal | Comparison::Masked(_)),
        _ => false,
    };
    rules.len() > 1 && !rules.iter().all(plain)
}

/// What rules of one call mean together.
fn meaning(rules: &[Rule], default: Verdict, call: &Call) -> Verdict {
    let matching = || rules.iter().filter(|rule| rule.conditions.iter().all(|condition| oracle::holds(condition, call)));
    let always = rules.iter().find(|rule| rule.conditions.is_empty());
    always.or_else(|| matching().max_by_key(|rule| rule.verdict.strictness())).map_or(default, |rule| rule.verdict)
}

/// Fewer than proptest's 256, as each case is a whole profile; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48);
    ProptestConfig::with_cases(cases)
}

proptest! {
    #![proptest_config(config())]

    /// The same profile, for every number in each ABI and around every edge of the arguments, gets the same verdicts from libseccomp's
    /// program (but for the calls beyond the profile's last, where runc puts its own answer before that program).
    #[test]
    fn verdicts_are_those_of_libseccomp(default in 0..2usize, actions in 1..=3usize, rules in prop::collection::vec(rule(3), 1..12)) {
        let (default, otherwise) = [("SCMP_ACT_ERRNO", EPERM), ("SCMP_ACT_LOG", Verdict::Log)][default];
        let rules: Vec<RuleParts> = rules.into_iter().map(|(calls, tests, action)| (calls, tests, action % actions)).collect();
        let (profile, plain) = build(default, &rules);
        let ours = custom(profile).expect("a sound profile");
        let of = |number: u32| plain.iter().filter(|(one, _)| *one == number).map(|(_, rule)| rule.clone()).collect::<Vec<Rule>>();
        let trusted: Vec<(u32, Rule)> = plain.iter().filter(|(number, _)| !is_beyond_libseccomp(&of(*number))).cloned().collect();
        let theirs = oracle::libseccomp(otherwise, Verdict::KillProcess, &trusted);
        let theirs_for_x32 = oracle::libseccomp(otherwise, ENOSYS, &trusted);
        let last = plain.iter().map(|(number, _)| *number).max().expect("a call");
        for (number, arch) in all_calls() {
            let of_call = of(number);
            let native = arch == X86_64 && number < X32_BIT;
            let newer = native && otherwise == EPERM && number > last;
            // libseccomp gives the number -1 (a call that a tracer cancelled) the default action.
            let cancelled = arch == X86_64 && number == u32::MAX;
            let contradictory = of_call.iter().any(|rule| rule.verdict != of_call[0].verdict);
            for arguments in if native { argument_edges(&of_call) } else { vec![[0; 6]] } {
                let call = Call { number, arch, arguments };
                let verdict = ours.verdict_of(&call);
                if newer || cancelled {
                    prop_assert_eq!(verdict, ENOSYS);
                    continue;
                }
                if native {
                    prop_assert_eq!(verdict, meaning(&of_call, otherwise, &call), "{:x?} {:?}", call, of_call);
                }
                let program = if native || arch != X86_64 { &theirs } else { &theirs_for_x32 };
                let theirs = interpret::run(program, &call).expect("a sound program");
                if is_beyond_libseccomp(&of_call) {
                    continue;
                }
                if contradictory {
                    prop_assert!(verdict.strictness() >= theirs.strictness(), "{:x?} {:?} {:?} {:?}", verdict, theirs, call, of_call);
                } else {
                    prop_assert_eq!(verdict, theirs, "{:x?} {:?}", call, of_call);
                }
            }
        }
    }

    /// Whatever is sent as a profile, the answer is a filter that the kernel would take or a fault inside the profile.
    #[test]
    fn garbage_is_a_fault_and_never_a_panic(text in "[\\[\\]{}\":,a-zA-Z_0-9 -]{0,80}", key in "defaultAction|syscalls|flags|archMap|[a-z]{3}") {
        let inner: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        let with_key = |name: &str| json!({"defaultAction": "SCMP_ACT_ERRNO", name: inner.clone()});
        for profile in [inner.clone(), with_key(&key), json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [with_key(&key)]})] {
            match custom(profile) {
                Ok(filter) => prop_assert!(filter.program.len() <= compile::MAX_INSTRUCTIONS),
                Err(fault) => prop_assert!(fault.path.starts_with(PROFILE)),
            }
        }
    }
}
