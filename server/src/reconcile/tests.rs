//! Reconcile over a fake node and a clock that is turned by hand.

use runtime::config::NamespaceMode;
use runtime::error::RuntimeError;
use tempfile::TempDir;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::fake_node::FakeNode;
use crate::image::{ImageService, ImportRequest};
use crate::model::container::{Mount, MountType, RestartPolicy, RestartPolicyName};
use crate::model::quantity::Bytes;
use crate::model::{ContainerSpec, ContainerStatus};
use crate::node::NodeError;
use crate::store::{EventFilter, NewContainer, Stop};

struct Fixture {
    folder: TempDir,
    clock: ManualClock,
    node: FakeNode,
    store: Store,
    reconciler: Reconciler,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at("2026-01-02T03:04:05Z".parse().unwrap());
        let node = FakeNode::new(Arc::new(clock.clone()));
        let store = Store::open(&folder.path().join("db"), Arc::new(clock.clone())).await.unwrap();
        let images = ImageService::new(store.clone(), Arc::new(node.clone()));
        let request = ImportRequest { reference: Some("busybox".parse().unwrap()), ..ImportRequest::default() };
        images.import(request, Box::new(&b"tar"[..])).await.unwrap();
        let reconciler = Reconciler::new(store.clone(), Arc::new(node.clone()));
        reconciler.sweep().await.unwrap();
        Fixture { folder, clock, node, store, reconciler }
    }

    async fn create(&self, name: &str, spec: ContainerSpec) -> PodId {
        let new = NewContainer {
            name: name.to_owned(),
            labels: Default::default(),
            annotations: Default::default(),
            spec_json: serde_json::to_string(&spec).unwrap(),
            spec,
            image: self.store.image("busybox").unwrap().id.clone(),
        };
        self.store.create_container(new).await.unwrap().uid.clone()
    }

    async fn started(&self, name: &str, spec: ContainerSpec) -> PodId {
        let uid = self.create(name, spec).await;
        self.reconciler.start(&uid).await.unwrap();
        uid
    }

    fn status(&self, uid: &PodId) -> ContainerStatus {
        (*self.store.container_by_uid(uid).unwrap().status).clone()
    }

    async fn until(&self, uid: &PodId, met: impl Fn(&ContainerRecord) -> bool) -> Arc<ContainerRecord> {
        let mut watch = self.store.watch_container(uid);
        let met = watch.wait_for(|seen| seen.record.as_ref().is_some_and(|record| met(record)));
        // What never comes is a failure and not a run that hangs.
        let met = tokio::time::timeout(std::time::Duration::from_secs(30), met).await;
        met.unwrap_or_else(|_| panic!("it never came to it: {:?}", self.status(uid))).unwrap().record.clone().unwrap()
    }

    /// Turns the clock to the next timer, once there is one.
    async fn next_timer(&self) {
        let now = self.clock.now();
        loop {
            if let Some(at) = self.clock.next_timer() {
                self.clock.advance(at.duration_since(now).try_into().unwrap());
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Turns the clock as often as it takes until this is done.
    async fn turning<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = self.next_timer() => {}
            }
        }
    }

    /// The node has seen a verb so often.
    async fn called(&self, verb: &str, times: usize) {
        while self.node.count(verb) < times {
            tokio::task::yield_now().await;
        }
    }

    async fn reasons(&self, uid: &PodId) -> Vec<String> {
        let filter = EventFilter { name: Some(uid.to_string()), ..EventFilter::default() };
        let events = self.store.events_since(0, &filter, 1000).await.unwrap();
        events.iter().map(|record| record.event.reason.clone()).collect()
    }

    /// Until the log has such an event: events follow the status when they are durable.
    async fn heard(&self, uid: &PodId, reason: &str) {
        while !self.reasons(uid).await.iter().any(|known| known == reason) {
            tokio::task::yield_now().await;
        }
    }

    /// The control plane ends and begins again; what it does not hold goes on.
    async fn restart_control_plane(&mut self) {
        self.stop_control_plane().await;
        self.begin_again().await;
    }

    async fn stop_control_plane(&mut self) {
        self.reconciler.shutdown().await;
        self.store.close().await;
        self.node.hang_up();
    }

    async fn begin_again(&mut self) {
        self.store = Store::open(&self.folder.path().join("db"), Arc::new(self.clock.clone())).await.unwrap();
        self.reconciler = Reconciler::new(self.store.clone(), Arc::new(self.node.clone()));
        self.reconciler.sweep().await.unwrap();
    }
}

fn program(name: &str) -> ContainerSpec {
    ContainerSpec { image: "busybox".to_owned(), command: Some(vec![name.to_owned()]), ..ContainerSpec::default() }
}

fn with_policy(name: &str, policy: RestartPolicyName) -> ContainerSpec {
    ContainerSpec { restart_policy: RestartPolicy { name: policy, maximum_retry_count: None }, ..program(name) }
}

fn force() -> Deletion {
    Deletion { running: true, stop: Stop { signal: None, grace_seconds: Some(0) }, volumes: false }
}

fn refusal() -> NodeError {
    NodeError::Refused(RuntimeError::Unsupported { feature: "x".to_owned(), path: "/x".to_owned(), message: "x".to_owned() })
}

#[tokio::test]
async fn the_whole_life_of_a_container_that_ends_at_once() {
    let f = Fixture::new().await;
    let uid = f.create("one", program("true")).await;
    let record = f.reconciler.start(&uid).await.unwrap();
    assert!(matches!(record.status.phase, Phase::Running | Phase::Exited));
    let status = wait(&f.store, &uid, WaitCondition::Exited).await.unwrap();
    assert_eq!((status.phase, status.exit_code, status.reason.as_deref()), (Phase::Exited, Some(0), Some("Completed")));
    f.reconciler.delete(&uid, None, Deletion::default()).await.unwrap();
    assert!(f.node.is_empty() && f.store.container("one").is_err());
    assert_eq!(f.node.calls(&uid), ["startShim", "watch", "create", "start", "stopPod", "clean"]);
    assert_eq!(f.reasons(&uid).await, ["Created", "Started", "Exited", "Deleted"]);
    wait(&f.store, &uid, WaitCondition::Removed).await.unwrap_err();
}

#[tokio::test]
async fn a_program_that_is_not_there_is_127_for_the_caller_and_in_the_status() {
    let f = Fixture::new().await;
    let uid = f.create("one", program("missing")).await;
    let error = f.reconciler.start(&uid).await.unwrap_err();
    assert!(matches!(&error, ActionError::Start(start) if start.exit_code() == 127), "{error:?}");
    let status = f.status(&uid);
    assert_eq!((status.phase, status.exit_code, status.reason.as_deref()), (Phase::Created, Some(127), Some("StartError")));
    assert!(status.message.unwrap().contains("ENOENT"));
    assert_eq!(wait(&f.store, &uid, WaitCondition::Exited).await.unwrap().exit_code, Some(127));
    f.called("stopPod", 1).await;
    f.reconciler.delete(&uid, None, Deletion::default()).await.unwrap();
    assert!(f.node.is_empty());
}

#[tokio::test]
async fn starting_what_runs_and_stopping_what_does_not_are_no_errors() {
    let f = Fixture::new().await;
    let uid = f.create("one", program("sleep")).await;
    f.reconciler.stop(&uid, Stop::default()).await.unwrap();
    f.reconciler.start(&uid).await.unwrap();
    f.reconciler.start(&uid).await.unwrap();
    assert_eq!(f.node.count("startShim"), 1);
    f.reconciler.stop(&uid, Stop::default()).await.unwrap();
    f.reconciler.stop(&uid, Stop::default()).await.unwrap();
    let status = f.status(&uid);
    assert_eq!((status.phase, status.exit_code, status.signal.as_deref()), (Phase::Exited, Some(143), Some("SIGTERM")));
}

#[tokio::test]
async fn who_ignores_the_stop_signal_is_killed_after_the_grace() {
    let f = Fixture::new().await;
    let uid = f.started("one", program("stubborn")).await;
    let stop = Stop { signal: None, grace_seconds: Some(7) };
    let stopped = f.turning(f.reconciler.stop(&uid, stop)).await;
    assert_eq!(stopped.unwrap().status.signal.as_deref(), Some("SIGKILL"));
    assert_eq!(f.clock.now().to_string(), "2026-01-02T03:04:12Z");
    f.heard(&uid, "Killing").await;
}

#[tokio::test]
async fn kill_sends_what_it_is_told_and_is_not_for_the_policy() {
    let f = Fixture::new().await;
    let uid = f.started("one", with_policy("sleep", RestartPolicyName::Always)).await;
    f.reconciler.kill(&uid, 1).await.unwrap();
    assert_eq!(f.status(&uid).phase, Phase::Running, "SIGHUP is for the program");
    let record = f.reconciler.kill(&uid, SIGKILL).await.unwrap();
    assert_eq!((record.status.phase, record.status.exit_code), (Phase::Exited, Some(137)));
    f.called("stopPod", 1).await;
    let again = f.reconciler.kill(&uid, SIGKILL).await;
    assert!(matches!(again, Err(ActionError::WrongState { .. })), "{again:?}");
    assert_eq!(f.node.count("startShim"), 1);
}

#[tokio::test]
async fn a_kill_that_did_not_arrive_leaves_the_policy_in_force() {
    let f = Fixture::new().await;
    let uid = f.started("one", with_policy("sleep", RestartPolicyName::Always)).await;
    f.node.fail_next("kill", refusal());
    let failed = f.reconciler.kill(&uid, SIGKILL).await;
    assert!(matches!(failed, Err(ActionError::Node(NodeError::Refused(_)))), "{failed:?}");
    f.node.exit(&uid, 3);
    f.until(&uid, |record| record.status.phase == Phase::Restarting).await;
}

#[tokio::test]
async fn pausing_freezes_and_wrong_states_are_told() {
    let f = Fixture::new().await;
    let uid = f.create("one", program("sleep")).await;
    assert!(matches!(f.reconciler.pause(&uid).await, Err(ActionError::WrongState { .. })));
    f.reconciler.start(&uid).await.unwrap();
    assert!(matches!(f.reconciler.unpause(&uid).await, Err(ActionError::WrongState { .. })));
    assert_eq!(f.reconciler.pause(&uid).await.unwrap().status.phase, Phase::Paused);
    assert!(matches!(f.reconciler.pause(&uid).await, Err(ActionError::WrongState { .. })));
    assert!(matches!(f.reconciler.start(&uid).await, Err(ActionError::WrongState { .. })));
    assert_eq!(f.reconciler.unpause(&uid).await.unwrap().status.phase, Phase::Running);
    f.node.fail_next("pause", refusal());
    assert!(matches!(f.reconciler.pause(&uid).await, Err(ActionError::Node(NodeError::Refused(_)))));
    assert_eq!(f.status(&uid).phase, Phase::Running);
    f.reconciler.pause(&uid).await.unwrap();
    f.reconciler.stop(&uid, Stop { signal: None, grace_seconds: Some(0) }).await.unwrap();
    assert_eq!(f.status(&uid).phase, Phase::Exited);
}

#[tokio::test]
async fn a_policy_starts_it_again_when_its_time_has_come() {
    let f = Fixture::new().await;
    let uid = f.started("one", with_policy("sleep", RestartPolicyName::OnFailure)).await;
    for delay in [100, 200] {
        f.node.exit(&uid, 1);
        let record = f.until(&uid, |record| record.status.phase == Phase::Restarting).await;
        let next = record.status.next_restart_at.unwrap();
        assert_eq!(next.duration_since(f.clock.now()).as_millis(), delay);
        f.next_timer().await;
        f.until(&uid, |record| record.status.phase == Phase::Running).await;
    }
    assert_eq!(f.status(&uid).restart_count, 2);
    f.node.exit(&uid, 0);
    f.until(&uid, |record| record.status.phase == Phase::Exited).await;
}

#[tokio::test]
async fn a_restart_is_one_end_and_one_beginning() {
    let f = Fixture::new().await;
    let uid = f.started("one", program("sleep")).await;
    let before = f.status(&uid).pid;
    let record = f.reconciler.restart(&uid, Stop::default()).await.unwrap();
    assert!(record.status.phase == Phase::Running && record.status.pid != before);
    let never = f.create("two", program("sleep")).await;
    assert_eq!(f.reconciler.restart(&never, Stop::default()).await.unwrap().status.phase, Phase::Running);
}

#[tokio::test]
async fn containers_outlive_the_control_plane_and_are_taken_over() {
    let mut f = Fixture::new().await;
    let runs = f.started("runs", program("sleep")).await;
    let ends = f.started("ends", program("sleep")).await;
    let dies = f.started("dies", program("sleep")).await;
    f.stop_control_plane().await;
    f.clock.advance(Duration::from_secs(5));
    f.node.exit(&ends, 42);
    f.node.kill_shim(&dies);
    let at = f.clock.now();
    f.clock.advance(Duration::from_secs(500));
    f.begin_again().await;
    let ended = f.until(&ends, |record| record.status.phase == Phase::Exited).await;
    assert_eq!((ended.status.exit_code, ended.status.finished_at), (Some(42), Some(at)), "the true time");
    let died = f.until(&dies, |record| record.status.phase == Phase::Exited).await;
    assert_eq!(died.status.reason.as_deref(), Some("ShimLost"));
    assert_eq!(f.status(&runs).phase, Phase::Running);
    f.reconciler.stop(&runs, Stop::default()).await.unwrap();
    assert_eq!((f.status(&runs).exit_code, f.node.count("startShim")), (Some(143), 3));
}

#[tokio::test]
async fn after_a_reboot_the_policy_decides() {
    let mut f = Fixture::new().await;
    let always = f.started("always", with_policy("sleep", RestartPolicyName::Always)).await;
    let once = f.started("once", program("sleep")).await;
    f.stop_control_plane().await;
    f.node.reboot();
    f.begin_again().await;
    f.until(&once, |record| record.status.reason.as_deref() == Some("ShimLost")).await;
    f.until(&always, |record| record.status.phase == Phase::Restarting).await;
    f.next_timer().await;
    f.until(&always, |record| record.status.phase == Phase::Running).await;
}

#[tokio::test]
async fn a_sandbox_without_a_row_is_cleared_at_the_start() {
    let mut f = Fixture::new().await;
    let living = f.started("living", program("sleep")).await;
    let dead = f.started("dead", program("sleep")).await;
    f.stop_control_plane().await;
    f.node.kill_shim(&dead);
    let store = Store::open(&f.folder.path().join("db"), Arc::new(f.clock.clone())).await.unwrap();
    for uid in [&living, &dead] {
        store.remove_container(uid, Vec::new()).unwrap().durable().await.unwrap();
    }
    store.close().await;
    f.begin_again().await;
    assert!(f.node.is_empty());
}

#[tokio::test]
async fn a_shim_that_dies_is_told_and_cleared() {
    let f = Fixture::new().await;
    let uid = f.started("one", program("sleep")).await;
    f.node.kill_shim(&uid);
    let record = f.until(&uid, |record| record.status.phase == Phase::Exited).await;
    assert_eq!((record.status.reason.as_deref(), record.status.exit_code), (Some("ShimLost"), Some(137)));
    f.called("clean", 1).await;
    f.reconciler.start(&uid).await.unwrap();
    assert_eq!(f.status(&uid).phase, Phase::Running);
}

#[tokio::test]
async fn what_the_runtime_cannot_do_now_is_tried_again() {
    let f = Fixture::new().await;
    let uid = f.create("one", program("sleep")).await;
    let away = || NodeError::Launcher { socket: "/nowhere".into(), source: Arc::new(std::io::ErrorKind::NotFound.into()) };
    f.node.fail_next("startShim", away());
    f.turning(f.reconciler.start(&uid)).await.unwrap();
    let busy = NodeError::Refused(RuntimeError::Conflict { message: "the cgroup is busy".to_owned() });
    f.node.fail_next("stopPod", busy);
    f.reconciler.stop(&uid, Stop::default()).await.unwrap();
    f.turning(f.called("stopPod", 2)).await;
    f.node.fail_next("clean", away());
    f.turning(f.reconciler.delete(&uid, None, Deletion::default())).await.unwrap();
    assert!(f.node.is_empty());
}

#[tokio::test]
async fn a_shim_that_cannot_be_started_is_told_to_the_caller() {
    let f = Fixture::new().await;
    let uid = f.create("one", program("sleep")).await;
    f.node.fail_next("startShim", refusal());
    let error = f.reconciler.start(&uid).await.unwrap_err();
    assert!(matches!(&error, ActionError::Start(start) if start.exit_code() == 125), "{error:?}");
    f.reconciler.start(&uid).await.unwrap();
}

#[tokio::test]
async fn who_joins_another_finds_it_running_and_shares_its_users() {
    let f = Fixture::new().await;
    let mut joining = program("sleep");
    joining.namespaces.network = "container:main".to_owned();
    let joiner = f.create("joiner", joining).await;
    let error = f.reconciler.start(&joiner).await.unwrap_err();
    assert!(error.to_string().contains("main"), "{error}");
    let main = f.create("main", program("sleep")).await;
    let error = f.reconciler.start(&joiner).await.unwrap_err();
    assert!(matches!(&error, ActionError::Start(StartError::Target { target, .. }) if target == "main"), "{error:?}");
    f.reconciler.start(&main).await.unwrap();
    f.reconciler.start(&joiner).await.unwrap();
    let pod = f.node.pod_config(&joiner).unwrap();
    let join = NamespaceMode::Join { pod: main.clone() };
    assert_eq!((&pod.namespaces.network, &pod.namespaces.user, &pod.id_map), (&join, &join, &None));
    assert!(f.node.pod_config(&main).unwrap().id_map.is_some());
}

#[tokio::test]
async fn new_limits_are_in_force_or_the_old_spec_is_back() {
    let f = Fixture::new().await;
    let uid = f.started("one", program("sleep")).await;
    let limit = |bytes: u64| {
        move |record: &ContainerRecord| {
            let mut spec = ContainerSpec::clone(&record.spec);
            spec.resources.memory = Some(Bytes(bytes));
            let text = serde_json::to_string(&spec).unwrap();
            Ok::<_, ()>(ContainerChange { spec: Some((spec, text)), ..ContainerChange::default() })
        }
    };
    let record = f.reconciler.update(&uid, None, limit(64 << 20)).await.unwrap();
    assert_eq!((record.meta.generation, record.status.observed_generation), (2, 2));
    assert_eq!(f.node.container_config(&uid).unwrap().resources.memory, Some(64 << 20));
    f.node.fail_next("update", refusal());
    let refused = f.reconciler.update(&uid, None, limit(32 << 20)).await;
    assert!(matches!(refused, Err(ChangeError::Action(ActionError::Node(NodeError::Refused(_))))), "{refused:?}");
    let record = f.until(&uid, |record| record.status.observed_generation == 4).await;
    assert_eq!(record.spec.resources.memory, Some(Bytes(64 << 20)));
    f.reconciler.stop(&uid, Stop::default()).await.unwrap();
    assert_eq!(f.reconciler.update(&uid, None, limit(16 << 20)).await.unwrap().status.observed_generation, 5);
}

#[tokio::test]
async fn auto_remove_tells_how_it_ended_all_the_same() {
    let f = Fixture::new().await;
    let uid = f.create("one", ContainerSpec { auto_remove: true, ..program("sleep") }).await;
    f.reconciler.start(&uid).await.unwrap();
    let waiting = tokio::spawn({
        let (store, uid) = (f.store.clone(), uid.clone());
        async move { wait(&store, &uid, WaitCondition::Exited).await }
    });
    let removed = tokio::spawn({
        let (store, uid) = (f.store.clone(), uid.clone());
        async move { wait(&store, &uid, WaitCondition::Removed).await }
    });
    tokio::task::yield_now().await;
    f.node.exit(&uid, 5);
    assert_eq!(waiting.await.unwrap().unwrap().exit_code, Some(5));
    assert_eq!(removed.await.unwrap().unwrap().exit_code, Some(5));
    assert!(f.node.is_empty() && f.store.container("one").is_err());
}

#[tokio::test]
async fn deleting_what_runs_has_to_be_said() {
    let f = Fixture::new().await;
    let mut spec = program("sleep");
    let volume = |source: Option<&str>, target: &str| Mount {
        kind: MountType::Volume,
        source: source.map(str::to_owned),
        target: target.to_owned(),
        ..Mount::default()
    };
    spec.mounts = vec![volume(Some("data"), "/data"), volume(None, "/own")];
    let uid = f.started("one", spec).await;
    assert_eq!(f.node.volumes(), 2);
    let refused = f.reconciler.delete(&uid, None, Deletion::default()).await;
    assert!(matches!(refused, Err(ActionError::WrongState { .. })));
    let stale = f.reconciler.delete(&uid, Some("1"), force()).await;
    assert!(matches!(stale, Err(ActionError::Store(StoreError::Stale { .. }))));
    f.reconciler.delete(&uid, None, Deletion { volumes: true, ..force() }).await.unwrap();
    assert!(f.node.is_empty() && f.node.volumes() == 1 && f.store.volume("data").is_ok(), "only its own goes");
    let again = f.reconciler.delete(&uid, None, force()).await;
    assert!(matches!(again, Err(ActionError::Store(StoreError::NotFound { .. }))), "{again:?}");
}

#[tokio::test]
async fn memory_kills_reach_status_and_events() {
    let f = Fixture::new().await;
    let uid = f.started("one", program("sleep")).await;
    f.node.oom_kill_child(&uid);
    let record = f.until(&uid, |record| record.status.oom_kills == 1).await;
    assert!(record.status.phase == Phase::Running && !record.status.oom_killed);
    f.node.oom_kill(&uid);
    let record = f.until(&uid, |record| record.status.phase == Phase::Exited).await;
    assert!(record.status.oom_killed && record.status.oom_kills == 2);
    assert_eq!((record.status.reason.as_deref(), record.status.memory_peak), (Some("OOMKilled"), Some(1 << 20)));
}

#[tokio::test]
async fn a_delete_that_a_crash_cut_short_is_finished_at_the_next_start() {
    let mut f = Fixture::new().await;
    let uid = f.started("one", program("sleep")).await;
    f.stop_control_plane().await;
    let store = Store::open(&f.folder.path().join("db"), Arc::new(f.clock.clone())).await.unwrap();
    let desired = Desired::Deleted { stop: Stop { signal: None, grace_seconds: Some(0) }, volumes: false };
    store.set_desired(&uid, None, desired).await.unwrap();
    store.close().await;
    f.begin_again().await;
    wait(&f.store, &uid, WaitCondition::Removed).await.unwrap();
    assert!(f.node.is_empty());
    f.restart_control_plane().await;
    assert!(f.store.all_containers().is_empty());
}

/// Many at once, each through its life several times, by callers who do not wait for one another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_lives_at_once_leave_nothing() {
    let f = Arc::new(Fixture::new().await);
    let lives: Vec<_> = (0..16)
        .map(|n| {
            let f = Arc::clone(&f);
            tokio::spawn(async move {
                for round in 0..5 {
                    let name = ["true", "sleep", "false"][(n + round) % 3];
                    let uid = f.create(&format!("c{n}"), program(name)).await;
                    f.reconciler.start(&uid).await.unwrap();
                    // Errors are the races: it may have ended by itself.
                    let (stop, kill) = tokio::join!(f.reconciler.stop(&uid, Stop::default()), f.reconciler.kill(&uid, SIGKILL));
                    stop.unwrap();
                    drop(kill);
                    f.reconciler.delete(&uid, None, force()).await.unwrap();
                }
            })
        })
        .collect();
    for life in lives {
        life.await.unwrap();
    }
    assert!(f.node.is_empty() && f.store.all_containers().is_empty());
    assert_eq!(f.node.count("startShim"), 80);
    f.reconciler.shutdown().await;
    assert!(matches!(f.reconciler.start(&"0".repeat(32).parse().unwrap()).await, Err(ActionError::Store(_))));
}
