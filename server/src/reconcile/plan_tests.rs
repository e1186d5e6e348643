//! The plan on a machine made of paper: whatever happens and in whatever order, it comes to what was wished.

use jiff::SignedDuration;
use proptest::prelude::*;
use runtime::id::PodId;
use runtime::status::{ContainerReport, Exit, PodReport};

use super::*;
use crate::model::container::{RestartPolicy, RestartPolicyName};
use crate::model::{ContainerSpec, ObjectMeta};
use crate::store::Wish;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn record(spec: ContainerSpec) -> ContainerRecord {
    let uid = "0".repeat(32);
    let meta = ObjectMeta {
        name: "web".to_owned(),
        uid: uid.clone(),
        labels: Default::default(),
        annotations: Default::default(),
        creation_timestamp: at(0),
        deletion_timestamp: None,
        resource_version: "1".to_owned(),
        generation: 1,
    };
    ContainerRecord::for_tests(uid.parse().unwrap(), meta, spec)
}

/// A container, its sandbox and its runtime, without any I/O.
struct Paper {
    record: ContainerRecord,
    observed: Observed,
    failure: Option<StartFailed>,
    applied: Option<u64>,
    now: Timestamp,
    /// The row is gone.
    removed: bool,
    /// Files of the sandbox are on the disk.
    data: bool,
    /// The program ignores what can be ignored.
    stubborn: bool,
    /// The next start fails.
    broken: bool,
    starts: u32,
}

impl Paper {
    fn new(spec: ContainerSpec) -> Self {
        Paper {
            record: record(spec),
            observed: Observed::NoShim,
            failure: None,
            applied: None,
            now: at(0),
            removed: false,
            data: false,
            stubborn: false,
            broken: false,
            starts: 0,
        }
    }

    fn wish(&mut self, desired: Desired) {
        if matches!(self.record.wish.desired, Desired::Deleted { .. }) && !matches!(desired, Desired::Deleted { .. }) {
            return;
        }
        self.record.wish = Wish { serial: self.record.wish.serial + 1, desired };
    }

    fn plan(&self) -> Plan {
        plan(&Look {
            record: &self.record,
            observed: &self.observed,
            failure: self.failure.as_ref(),
            applied: self.applied,
            stop_signal: signal::SIGTERM,
            now: self.now,
        })
    }

    fn state(&mut self) -> Option<&mut ContainerReport> {
        match &mut self.observed {
            Observed::Live(report) => report.containers.first_mut(),
            _ => None,
        }
    }

    fn is_running(&mut self) -> bool {
        matches!(self.state(), Some(ContainerReport { state: ContainerState::Running { .. }, .. }))
    }

    fn exit(&mut self, code: i32, signal: Option<i32>) {
        let now = self.now;
        if let Some(report) = self.state()
            && let ContainerState::Running { started_at, .. } = report.state
        {
            let exit =
                Exit { code, signal, oom_killed: false, memory_peak: None, started_at: Some(started_at), finished_at: now, failure: None };
            report.state = ContainerState::Stopped { exit };
        }
    }

    fn shim_dies(&mut self) {
        if let Observed::Live(report) = &self.observed {
            self.observed = Observed::ShimLost { last: Some(report.clone()) };
        }
    }

    fn reboot(&mut self) {
        self.observed = Observed::NoShim;
        self.applied = None;
    }

    /// One pass of the worker: the facts, then the actions. False when there was nothing to do.
    fn pass(&mut self) -> bool {
        let plan = self.plan();
        let news = plan.status != *self.record.status || plan.progress != self.record.progress;
        self.record.status = std::sync::Arc::new(plan.status);
        self.record.progress = plan.progress;
        self.failure = None;
        let acts = !plan.actions.is_empty();
        for action in plan.actions {
            self.act(action);
        }
        news || acts
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start { attempt } => self.start(attempt),
            Action::Signal { signal, .. } => {
                let frozen = matches!(self.state().map(|r| &r.state), Some(ContainerState::Running { paused: true, .. }));
                if signal == signal::SIGKILL || !(self.stubborn || frozen) {
                    self.exit(128 + signal, Some(signal));
                }
            }
            Action::Pause | Action::Resume => {
                if let Some(ContainerReport { state: ContainerState::Running { paused, .. }, .. }) = self.state() {
                    *paused = action == Action::Pause;
                }
            }
            Action::Update => self.applied = Some(self.record.meta.generation),
            Action::StopPod => {
                assert!(matches!(self.observed, Observed::Live(_)), "StopPod without a shim");
                self.observed = Observed::NoShim;
            }
            Action::Clean { data } => {
                assert!(!matches!(self.observed, Observed::Live(_)), "Clean beside a living shim");
                self.observed = Observed::NoShim;
                self.data &= !data;
            }
            Action::Remove { .. } => {
                assert!(self.observed == Observed::NoShim && !self.data, "a row goes last");
                self.removed = true;
            }
        }
    }

    fn start(&mut self, attempt: u32) {
        assert!(self.observed == Observed::NoShim, "two shims for one sandbox");
        assert_eq!(attempt, self.record.progress.attempts, "each attempt has a number of its own");
        self.starts += 1;
        self.data = true;
        let pod: PodId = self.record.uid.clone();
        if std::mem::take(&mut self.broken) {
            self.failure = Some(StartFailed { attempt, exit_code: 127, message: "exec: ENOENT".to_owned() });
            self.observed = Observed::Live(PodReport { id: pod, shim_pid: 1, protocol: 1, containers: Vec::new() });
            return;
        }
        let state = ContainerState::Running { pid: 7, started_at: self.now, paused: false };
        let report = ContainerReport { name: "web".parse().unwrap(), attempt, state, oom_kills: 0, conditions: Vec::new() };
        self.observed = Observed::Live(PodReport { id: pod, shim_pid: 1, protocol: 1, containers: vec![report] });
        self.applied = Some(self.record.meta.generation);
    }

    /// Passes and timers until nothing moves any more, for at most `within` seconds.
    fn settle(&mut self, within: i64) {
        let end = self.now + SignedDuration::from_secs(within);
        for _ in 0..10_000 {
            if self.removed {
                return;
            }
            if self.pass() {
                continue;
            }
            match self.plan().look_again {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => return,
            }
        }
        panic!("it never comes to rest: {:?}", self.plan());
    }

    fn phase(&self) -> Phase {
        self.record.status.phase
    }
}

fn policy(name: RestartPolicyName, most: Option<u32>) -> ContainerSpec {
    ContainerSpec { restart_policy: RestartPolicy { name, maximum_retry_count: most }, ..ContainerSpec::default() }
}

fn run() -> Desired {
    Desired::Running { paused: false, restart: None }
}

fn stop() -> Desired {
    Desired::Stopped { stop: Stop::default() }
}

fn delete() -> Desired {
    Desired::Deleted { stop: Stop::default(), volumes: false }
}

#[test]
fn a_start_an_end_and_nothing_left_but_files() {
    let mut paper = Paper::new(ContainerSpec::default());
    paper.wish(run());
    paper.settle(0);
    assert_eq!((paper.phase(), paper.record.progress.served), (Phase::Running, 1));
    paper.exit(3, None);
    paper.settle(100);
    let status = &paper.record.status;
    assert_eq!((status.phase, status.exit_code, status.reason.as_deref()), (Phase::Exited, Some(3), Some("Error")));
    assert!(paper.observed == Observed::NoShim && paper.data && paper.starts == 1);
}

#[test]
fn stopping_asks_first_and_kills_after_the_grace() {
    let mut paper = Paper::new(ContainerSpec::default());
    paper.stubborn = true;
    paper.wish(run());
    paper.settle(0);
    paper.wish(stop());
    assert_eq!(paper.plan().actions, [Action::Signal { signal: 15, all: false }]);
    paper.pass();
    assert_eq!(paper.plan().actions, []);
    assert_eq!(paper.plan().look_again, Some(at(10)));
    paper.settle(100);
    assert_eq!((paper.phase(), paper.record.status.signal.as_deref()), (Phase::Exited, Some("SIGKILL")));
    assert_eq!(paper.now, at(10));
}

#[test]
fn a_shorter_grace_overtakes_a_longer_one() {
    let mut paper = Paper::new(ContainerSpec { stop_timeout_seconds: Some(1000), ..ContainerSpec::default() });
    paper.stubborn = true;
    paper.wish(run());
    paper.settle(0);
    paper.wish(stop());
    paper.pass();
    paper.wish(Desired::Deleted { stop: Stop { signal: None, grace_seconds: Some(0) }, volumes: false });
    paper.settle(0);
    assert!(paper.removed);
}

#[test]
fn a_frozen_program_is_thawed_to_hear_that_it_shall_end() {
    let mut paper = Paper::new(ContainerSpec::default());
    paper.wish(run());
    paper.settle(0);
    paper.wish(Desired::Running { paused: true, restart: None });
    paper.settle(0);
    assert_eq!(paper.phase(), Phase::Paused);
    paper.wish(stop());
    assert_eq!(paper.plan().actions, [Action::Signal { signal: 15, all: false }, Action::Resume]);
}

#[test]
fn policies_start_again_with_growing_delays_and_give_up_when_told() {
    for (name, most, code, starts) in [
        (RestartPolicyName::No, None, 1, 1),
        (RestartPolicyName::OnFailure, None, 0, 1),
        (RestartPolicyName::OnFailure, Some(2), 1, 3),
        (RestartPolicyName::OnFailure, Some(0), 1, 1),
        (RestartPolicyName::Always, None, 0, 6),
        (RestartPolicyName::UnlessStopped, None, 1, 6),
    ] {
        let mut paper = Paper::new(policy(name, most));
        paper.wish(run());
        for _ in 0..5 {
            paper.settle(100);
            paper.exit(code, None);
        }
        paper.settle(100);
        assert_eq!(paper.starts, starts, "{name:?} {most:?} {code}");
        assert_eq!(paper.record.status.restart_count, starts - 1);
    }
    let mut paper = Paper::new(policy(RestartPolicyName::Always, None));
    paper.wish(run());
    paper.settle(0);
    for delay in [100, 200, 400] {
        paper.exit(1, None);
        paper.settle(0);
        assert_eq!(paper.phase(), Phase::Restarting);
        let next = paper.record.status.next_restart_at.unwrap();
        assert_eq!(next.duration_since(paper.now), SignedDuration::from_millis(delay));
        assert_eq!(paper.observed, Observed::NoShim, "nothing is held while it waits");
        paper.settle(1);
        assert_eq!(paper.phase(), Phase::Running);
    }
}

#[test]
fn an_end_that_was_asked_for_is_not_for_the_policy() {
    let mut stopped = Paper::new(policy(RestartPolicyName::Always, None));
    stopped.wish(run());
    stopped.settle(0);
    stopped.wish(stop());
    stopped.settle(100);
    assert_eq!((stopped.phase(), stopped.starts), (Phase::Exited, 1));

    let mut killed = Paper::new(policy(RestartPolicyName::Always, None));
    killed.wish(run());
    killed.settle(0);
    killed.record.progress.killed = Some(0);
    killed.exit(137, Some(9));
    killed.settle(100);
    assert_eq!((killed.phase(), killed.starts), (Phase::Exited, 1));

    let mut waiting = Paper::new(policy(RestartPolicyName::Always, None));
    waiting.wish(run());
    waiting.settle(0);
    waiting.exit(1, None);
    waiting.settle(0);
    waiting.wish(stop());
    waiting.settle(100);
    assert_eq!((waiting.phase(), waiting.record.status.next_restart_at), (Phase::Exited, None));
}

#[test]
fn a_restart_ends_what_runs_and_begins_anew() {
    let mut paper = Paper::new(ContainerSpec::default());
    paper.wish(run());
    paper.settle(0);
    paper.wish(Desired::Running { paused: false, restart: Some(Stop::default()) });
    paper.settle(100);
    assert_eq!((paper.phase(), paper.starts, paper.record.status.restart_count), (Phase::Running, 2, 0));
    assert_eq!(paper.record.progress.served, 2);
}

#[test]
fn a_start_that_fails_is_told_and_not_tried_again() {
    let mut paper = Paper::new(policy(RestartPolicyName::Always, None));
    paper.broken = true;
    paper.wish(run());
    paper.settle(1000);
    let status = &paper.record.status;
    assert_eq!((status.phase, status.exit_code, status.reason.as_deref()), (Phase::Created, Some(127), Some("StartError")));
    assert!(paper.starts == 1 && paper.observed == Observed::NoShim && paper.record.progress.served == 1);
    paper.wish(run());
    paper.settle(0);
    assert_eq!(paper.phase(), Phase::Running, "asking again is trying again");
}

#[test]
fn a_restart_by_policy_that_fails_waits_longer_and_counts() {
    let mut paper = Paper::new(policy(RestartPolicyName::OnFailure, Some(2)));
    paper.wish(run());
    paper.settle(0);
    paper.exit(1, None);
    paper.settle(0);
    paper.broken = true;
    paper.settle(0);
    paper.now = paper.record.status.next_restart_at.unwrap();
    paper.settle(0);
    assert_eq!((paper.phase(), paper.record.status.restart_count), (Phase::Restarting, 1));
    paper.settle(10);
    assert_eq!((paper.phase(), paper.starts, paper.record.status.restart_count), (Phase::Running, 3, 2));
}

#[test]
fn what_nobody_saw_end_is_lost_and_the_policy_decides() {
    for (name, phase, starts) in [(RestartPolicyName::No, Phase::Exited, 1), (RestartPolicyName::Always, Phase::Running, 2)] {
        for reboot in [true, false] {
            let mut paper = Paper::new(policy(name, None));
            paper.wish(run());
            paper.settle(0);
            if reboot {
                paper.reboot()
            } else {
                paper.shim_dies()
            }
            let events = paper.plan().events;
            assert_eq!(events.iter().map(|event| event.reason).collect::<Vec<_>>(), ["ShimLost"]);
            paper.settle(100);
            assert_eq!((paper.phase(), paper.starts), (phase, starts), "{name:?} {reboot}");
        }
    }
}

#[test]
fn an_exit_that_a_dead_shim_wrote_down_is_the_true_one() {
    let mut paper = Paper::new(ContainerSpec::default());
    paper.wish(run());
    paper.settle(0);
    paper.exit(42, None);
    paper.shim_dies();
    paper.now = at(500);
    paper.settle(0);
    let status = &paper.record.status;
    assert_eq!((status.exit_code, status.finished_at, status.reason.as_deref()), (Some(42), Some(at(0)), Some("Error")));
}

#[test]
fn an_attempt_that_began_before_a_crash_of_ours_is_taken_over() {
    let mut paper = Paper::new(ContainerSpec::default());
    paper.wish(run());
    // The program runs, and nothing of it was written down.
    paper.start(0);
    paper.applied = None;
    paper.settle(0);
    assert_eq!((paper.phase(), paper.starts, paper.record.progress.attempts), (Phase::Running, 1, 1));
}

#[test]
fn auto_remove_leaves_nothing() {
    for broken in [false, true] {
        let mut paper = Paper::new(ContainerSpec { auto_remove: true, ..ContainerSpec::default() });
        paper.settle(0);
        assert!(!paper.removed, "not before it ran");
        paper.broken = broken;
        paper.wish(run());
        paper.settle(0);
        paper.exit(0, None);
        paper.settle(0);
        assert!(paper.removed);
    }
}

#[test]
fn what_was_brought_back_from_a_backup_is_not_removed_at_once() {
    let mut paper = Paper::new(ContainerSpec { auto_remove: true, ..ContainerSpec::default() });
    paper.record.progress.attempts = 1;
    let status = std::sync::Arc::make_mut(&mut paper.record.status);
    status.phase = Phase::Exited;
    status.reason = Some(crate::store::RESTORED.to_owned());
    paper.wish(Desired::Stopped { stop: Stop::default() });
    paper.settle(0);
    assert!(!paper.removed);
    paper.wish(run());
    paper.settle(0);
    paper.exit(0, None);
    paper.settle(0);
    assert!(paper.removed);
}

#[test]
fn new_limits_are_applied_to_what_runs_and_only_to_that() {
    let mut paper = Paper::new(ContainerSpec::default());
    paper.record.meta.generation = 2;
    paper.settle(0);
    assert_eq!(paper.record.status.observed_generation, 2);
    paper.wish(run());
    paper.settle(0);
    paper.record.meta.generation = 3;
    assert_eq!(paper.plan().actions, [Action::Update]);
    paper.settle(0);
    assert_eq!(paper.record.status.observed_generation, 3);
}

#[test]
fn memory_kills_are_told_once_each() {
    let mut paper = Paper::new(ContainerSpec::default());
    paper.wish(run());
    paper.settle(0);
    for kills in [1, 2] {
        paper.state().unwrap().oom_kills = kills;
        assert_eq!(paper.plan().events.iter().filter(|event| event.reason == "OOMKill").count(), 1);
        paper.settle(0);
        assert_eq!((paper.plan().events.len(), paper.record.status.oom_kills), (0, kills));
    }
}

/// Things that happen, from any side.
#[derive(Debug, Clone)]
enum Happening {
    Wish(Desired),
    Exit(i32),
    ShimDies,
    Reboot,
    NextStartFails,
    Stubborn(bool),
    /// One pass only: the next thing happens in the middle.
    Pass,
    Settle,
    Wait(i64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let grace = prop_oneof![Just(None), Just(Some(0)), Just(Some(3))];
    let stop = grace.prop_map(|grace_seconds| Stop { signal: None, grace_seconds });
    prop_oneof![
        3 => Just(Happening::Wish(run())),
        2 => stop.clone().prop_map(|stop| Happening::Wish(Desired::Stopped { stop })),
        2 => stop.clone().prop_map(|stop| Happening::Wish(Desired::Running { paused: false, restart: Some(stop) })),
        1 => any::<bool>().prop_map(|paused| Happening::Wish(Desired::Running { paused, restart: None })),
        1 => stop.prop_map(|stop| Happening::Wish(Desired::Deleted { stop, volumes: false })),
        3 => prop_oneof![Just(0), Just(1), Just(137)].prop_map(Happening::Exit),
        1 => Just(Happening::ShimDies),
        1 => Just(Happening::Reboot),
        1 => Just(Happening::NextStartFails),
        1 => any::<bool>().prop_map(Happening::Stubborn),
        6 => Just(Happening::Pass),
        2 => Just(Happening::Settle),
        2 => (0..20_i64).prop_map(Happening::Wait),
    ]
}

fn any_policy() -> impl Strategy<Value = ContainerSpec> {
    let names = [RestartPolicyName::No, RestartPolicyName::OnFailure, RestartPolicyName::Always, RestartPolicyName::UnlessStopped];
    (prop::sample::select(names.to_vec()), prop::option::of(0..3_u32)).prop_map(|(name, most)| policy(name, most))
}

impl Paper {
    fn happen(&mut self, happening: Happening) {
        if self.removed {
            return;
        }
        match happening {
            Happening::Wish(desired) => self.wish(desired),
            Happening::Exit(code) => self.exit(code, None),
            Happening::ShimDies => self.shim_dies(),
            Happening::Reboot => self.reboot(),
            Happening::NextStartFails => self.broken = true,
            Happening::Stubborn(stubborn) => self.stubborn = stubborn,
            Happening::Pass => drop(self.pass()),
            Happening::Settle => self.settle(5),
            Happening::Wait(seconds) => self.now += SignedDuration::from_secs(seconds),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Never two shims, never `Clean` beside a living one, the row last: those are asserted by the paper machine itself.
    #[test]
    fn deleting_always_ends_empty(spec in any_policy(), happenings in prop::collection::vec(happening(), 0..40)) {
        let mut paper = Paper::new(spec);
        for happening in happenings {
            paper.happen(happening);
        }
        if !paper.removed {
            paper.wish(delete());
            paper.settle(1000);
        }
        prop_assert!(paper.removed && paper.observed == Observed::NoShim && !paper.data);
    }

    #[test]
    fn a_met_wish_plans_nothing(spec in any_policy(), happenings in prop::collection::vec(happening(), 0..40), last in happening()) {
        let mut paper = Paper::new(spec);
        for happening in happenings.into_iter().chain([last]) {
            paper.happen(happening);
        }
        paper.settle(100_000);
        if !paper.removed {
            let plan = paper.plan();
            prop_assert!(plan.actions.is_empty() && plan.events.is_empty(), "{plan:?}");
            prop_assert_eq!(&plan.status, &*paper.record.status);
            prop_assert_eq!(paper.record.progress.served, paper.record.wish.serial);
        }
    }

    #[test]
    fn a_stopped_container_stays_stopped(spec in any_policy(), happenings in prop::collection::vec(happening(), 0..30)) {
        let mut paper = Paper::new(spec);
        for happening in happenings {
            paper.happen(happening);
        }
        paper.wish(stop());
        paper.settle(1000);
        let starts = paper.starts;
        paper.reboot();
        paper.settle(100_000);
        prop_assert_eq!(paper.starts, starts);
        prop_assert!(!paper.is_running());
        prop_assert!(paper.removed || matches!(paper.phase(), Phase::Exited | Phase::Created), "{:?}", paper.phase());
    }
}
