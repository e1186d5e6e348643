//! The store, each test on a file of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runtime::id::PodId;
use sqlx::{Connection, Executor};
use tempfile::TempDir;

use super::publish::Publisher;
use super::writer::Writer;
use super::*;
use crate::clock::ManualClock;
use crate::model::container::{Mount, MountType, Namespaces};
use crate::model::event::NewEvent;
use crate::model::image::{ImageConfig, ImageLayer, OciImage, OciRootfs};
use crate::model::{ContainerSpec, ContainerStatus, Phase, Role};

struct Fixture {
    folder: TempDir,
    clock: ManualClock,
    store: Store,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at("2026-01-02T03:04:05Z".parse().unwrap());
        let store = Store::open(&folder.path().join("berth.db"), Arc::new(clock.clone())).await.unwrap();
        store.put_images(vec![image("a", Some("busybox"))], None).await.unwrap();
        Fixture { folder, clock, store }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("berth.db")
    }

    async fn reopen(&mut self) {
        self.store.close().await;
        self.store = Store::open(&self.path(), Arc::new(self.clock.clone())).await.unwrap();
    }

    async fn create(&self, name: &str) -> Arc<ContainerRecord> {
        self.store.create_container(new(name)).await.unwrap()
    }
}

fn image(digit: &str, reference: Option<&str>) -> NewImage {
    let diff_id = format!("sha256:{}", digit.repeat(64));
    let rootfs = OciRootfs { kind: "layers".to_owned(), diff_ids: vec![diff_id.clone()] };
    let oci = OciImage { created: None, architecture: "amd64".to_owned(), os: "linux".to_owned(), config: ImageConfig::default(), rootfs };
    NewImage {
        id: digit.repeat(64),
        references: reference.map(|text| text.parse().unwrap()).into_iter().collect(),
        layers: vec![ImageLayer { diff_id, size: 10 }],
        config_json: serde_json::to_string(&oci).unwrap(),
        oci,
        manifest_digest: None,
        origin: "imported".to_owned(),
    }
}

async fn put(store: &Store, image: NewImage) -> PutImage {
    store.put_images(vec![image], None).await.unwrap().remove(0)
}

fn new(name: &str) -> NewContainer {
    NewContainer {
        name: name.to_owned(),
        labels: [("app".to_owned(), name.to_owned())].into(),
        annotations: Default::default(),
        spec: ContainerSpec { image: "busybox".to_owned(), ..Default::default() },
        spec_json: r#"{"image":"busybox",  "resources": {"memory": "64Mi"}}"#.to_owned(),
        image: "a".repeat(64),
    }
}

fn running(record: &ContainerRecord) -> ContainerStatus {
    ContainerStatus { phase: Phase::Running, pid: Some(7), ..ContainerStatus::clone(&record.status) }
}

#[tokio::test]
async fn a_container_comes_back_as_it_was_written() {
    let mut f = Fixture::new().await;
    let made = f.create("web").await;
    assert!(made.json().contains(r#""resources": {"memory": "64Mi"}"#), "the user's own text: {}", made.json());
    f.store.set_desired(&made.uid, None, Desired::Running { paused: false, restart: None }).await.unwrap();
    let progress = Progress { attempts: 3, ..Progress::default() };
    f.store.set_status(&made.uid, running(&made), progress, Vec::new()).unwrap().durable().await.unwrap();
    let before = f.store.container("web").unwrap();
    assert!(before.version() > made.version());
    let (instance, revision) = (f.store.instance_id().clone(), f.store.resource_version());

    f.reopen().await;
    let after = f.store.container("web").unwrap();
    assert_eq!(after.json(), before.json());
    assert_eq!((&after.wish, &after.progress, after.uid_slot), (&before.wish, &before.progress, before.uid_slot));
    assert_eq!(*f.store.instance_id(), instance);
    let next = f.create("next").await;
    assert!(next.version() > revision, "numbers are never used twice");
    assert_ne!(next.uid_slot, after.uid_slot);
}

#[tokio::test]
async fn found_by_name_uid_and_a_long_enough_beginning_of_it() {
    let f = Fixture::new().await;
    let made = f.create("web").await;
    for key in ["web", made.uid.as_str(), &made.uid.as_str()[..8], &made.uid.as_str()[..31]] {
        assert_eq!(f.store.container(key).unwrap().uid, made.uid, "{key}");
    }
    for key in ["we", &made.uid.as_str()[..7], "", "../web", &"f".repeat(40)] {
        assert!(matches!(f.store.container(key), Err(Lookup::NotFound { .. })), "{key}");
    }
}

#[tokio::test]
async fn a_name_is_taken_until_its_container_is_removed() {
    let f = Fixture::new().await;
    let made = f.create("web").await;
    assert!(matches!(f.store.create_container(new("web")).await, Err(StoreError::NameTaken { .. })));
    f.store.remove_container(&made.uid, Vec::new()).unwrap().durable().await.unwrap();
    assert!(f.store.container("web").is_err() && f.store.container_by_uid(&made.uid).is_none());
    let second = f.create("web").await;
    assert_eq!(f.store.container("web").unwrap().uid, second.uid);
}

#[tokio::test]
async fn user_ids_are_given_only_where_they_are_needed() {
    let f = Fixture::new().await;
    for (field, own) in [("private", true), ("host", false)] {
        let mut new = new(field);
        new.spec.namespaces.user = field.to_owned();
        let made = f.store.create_container(new).await.unwrap();
        assert_eq!(made.uid_slot.is_some(), own);
        assert_eq!(made.status.uid_base, made.uid_base());
    }
    let mut joining = new("joining");
    joining.spec.namespaces = Namespaces { network: "container:private".to_owned(), ..Namespaces::default() };
    assert_eq!(f.store.create_container(joining).await.unwrap().uid_slot, None);
}

#[tokio::test]
async fn a_stale_version_is_refused_and_edits_see_the_newest() {
    let f = Fixture::new().await;
    let made = f.create("web").await;
    let label = |value: &str| {
        let labels = Some([("app".to_owned(), value.to_owned())].into());
        move |_: &ContainerRecord| Ok::<_, ()>(ContainerChange { labels, ..ContainerChange::default() })
    };
    let edited = f.store.update_container(&made.uid, Some(&made.meta.resource_version), label("new")).await.unwrap();
    assert_eq!((edited.meta.generation, edited.meta.labels["app"].as_str()), (1, "new"));
    let stale = f.store.update_container(&made.uid, Some(&made.meta.resource_version), label("late")).await;
    assert!(matches!(stale, Err(UpdateError::Store(StoreError::Stale { .. }))));
    let spec = |r: &ContainerRecord| {
        assert_eq!(r.meta.labels["app"], "new");
        Ok::<_, ()>(ContainerChange { spec: Some((ContainerSpec::clone(&r.spec), "{\"image\":\"b\"}".to_owned())), ..Default::default() })
    };
    assert_eq!(f.store.update_container(&made.uid, None, spec).await.unwrap().meta.generation, 2);
    let refused = f.store.update_container(&made.uid, None, |_| Err("no")).await;
    assert!(matches!(refused, Err(UpdateError::Refused("no"))));
    f.store.set_desired(&made.uid, None, Desired::Deleted { stop: Stop::default(), volumes: false }).await.unwrap();
    let wish = f.store.set_desired(&made.uid, None, Desired::Created).await;
    assert!(matches!(wish, Err(StoreError::BeingDeleted { .. })));
}

#[tokio::test]
async fn a_wish_at_once_is_seen_now_never_over_a_newer_one_and_can_be_taken_back() {
    let mut f = Fixture::new().await;
    let made = f.create("web").await;
    let run = || Desired::Running { paused: false, restart: None };
    let first = f.store.set_desired_at_once(&made.uid, run()).unwrap();
    assert_eq!(f.store.container("web").unwrap().wish, Wish { serial: made.wish.serial + 1, desired: run() });
    let stop = Desired::Stopped { stop: Stop::default() };
    let second = f.store.set_desired_at_once(&made.uid, stop.clone()).unwrap();
    first.durable().await.unwrap();
    assert_eq!(f.store.container("web").unwrap().wish.desired, stop, "the older one came over it when it was durable");
    let second = second.durable().await.unwrap();

    f.store.unwish(&made.uid, &made.wish).unwrap();
    let back = f.store.container("web").unwrap();
    assert_eq!(back.wish, Wish { serial: second.wish.serial + 1, desired: Desired::Created });
    f.reopen().await;
    assert_eq!(f.store.container("web").unwrap().wish, second.wish, "what was taken back never reached the disk");
}

#[tokio::test]
async fn a_status_is_shown_before_it_is_durable_and_a_wish_after() {
    let f = Fixture::new().await;
    let made = f.create("web").await;
    let mut watch = f.store.watch_container(&made.uid);
    let pending = f.store.set_status(&made.uid, running(&made), Progress::default(), Vec::new()).unwrap();
    assert_eq!(f.store.container("web").unwrap().status.phase, Phase::Running);
    assert_eq!(watch.borrow_and_update().record.as_ref().unwrap().status.phase, Phase::Running);
    pending.durable().await.unwrap();
    f.store.remove_container(&made.uid, Vec::new()).unwrap().durable().await.unwrap();
    let last = watch.wait_for(|watched| watched.removed).await.unwrap().record.clone();
    assert_eq!(last.unwrap().status.phase, Phase::Running, "how it was is not forgotten");
}

#[tokio::test]
async fn lists_come_a_page_at_a_time_in_the_order_of_names() {
    let f = Fixture::new().await;
    for name in ["d", "b", "a", "c", "e"] {
        f.create(name).await;
    }
    let mut query = ListQuery { limit: Some(2), ..ListQuery::default() };
    let mut seen = Vec::new();
    loop {
        let page = f.store.list_containers(&query).unwrap();
        seen.extend(page.items.iter().map(|r| r.meta.name.clone()));
        assert_eq!(page.meta.remaining_item_count as usize, 5 - seen.len());
        if page.meta.continue_token.is_empty() {
            break;
        }
        query.continue_token = Some(page.meta.continue_token);
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    let two = ListQuery { selector: "app in (a,c)".parse().unwrap(), ..ListQuery::default() };
    assert_eq!(f.store.list_containers(&two).unwrap().items.len(), 2);
    let none = ListQuery { phase: Some(Phase::Running), ..ListQuery::default() };
    assert!(f.store.list_containers(&none).unwrap().items.is_empty());
    assert!(f.store.list_containers(&ListQuery { continue_token: Some("x".to_owned()), ..ListQuery::default() }).is_err());
    assert_eq!(f.store.count_containers()[0], (Phase::Created, 5));
}

#[tokio::test]
async fn events_are_durable_in_order_and_followed() {
    let mut f = Fixture::new().await;
    let mut follower = f.store.follow_events();
    let made = f.create("web").await;
    let heard = follower.recv().await.unwrap();
    assert_eq!((heard.event.reason.as_str(), heard.event.involved_object.name.as_str()), ("Created", "web"));
    let warning = NewEvent::new(f.clock.now(), made.reference(), "Exited", "exit code 3").warning().with("exitCode", 3);
    f.store.set_status(&made.uid, running(&made), Progress::default(), vec![warning]).unwrap().durable().await.unwrap();

    let all = f.store.events_since(0, &EventFilter::default(), 100).await.unwrap();
    f.reopen().await;
    assert_eq!(f.store.events_since(0, &EventFilter::default(), 100).await.unwrap(), all, "also after a restart");
    assert_eq!(f.store.events_on_disk(0, &EventFilter::default(), 100).await.unwrap(), all, "and from the file");
    assert!(all.is_sorted_by_key(|record| record.event.sequence));
    let exits = EventFilter {
        kind: Some("container".to_owned()),
        name: Some("web".to_owned()),
        reason: Some("Exited".to_owned()),
        not_before: None,
    };
    let exits = f.store.events_since(0, &exits, 100).await.unwrap();
    assert_eq!(exits.iter().map(|r| r.event.attributes["exitCode"].as_str()).collect::<Vec<_>>(), ["3"]);
    let last = all.last().unwrap().event.sequence;
    assert!(f.store.events_since(last, &EventFilter::default(), 100).await.unwrap().is_empty());
}

#[tokio::test]
async fn many_writers_at_once_lose_nothing() {
    let mut f = Fixture::new().await;
    let tasks: Vec<_> = (0..50)
        .map(|n| {
            let store = f.store.clone();
            tokio::spawn(async move { store.create_container(new(&format!("c{n}"))).await.unwrap().uid_slot.unwrap() })
        })
        .collect();
    let mut slots = BTreeSet::new();
    for task in tasks {
        assert!(slots.insert(task.await.unwrap()), "one range for two containers");
    }
    f.reopen().await;
    assert_eq!(f.store.all_containers().len(), 50);
    let events = f.store.events_since(0, &EventFilter::default(), 1000).await.unwrap();
    let numbers: BTreeSet<u64> = events.iter().map(|r| r.event.sequence).collect();
    assert_eq!(numbers.len(), events.len());
}

#[tokio::test]
async fn images_share_layers_and_move_references() {
    let f = Fixture::new().await;
    let made = f.create("web").await;
    assert_eq!(f.store.image("docker.io/library/busybox:latest").unwrap().id, "a".repeat(64));
    assert_eq!(f.store.image("aaaaaaaa").unwrap().id, "a".repeat(64));
    let (b, created) = put(&f.store, image("b", Some("busybox"))).await;
    assert!(created && f.store.image("busybox").unwrap().id == b.id);
    assert!(f.store.image_by_id(&"a".repeat(64)).unwrap().references.is_empty());
    assert!(!put(&f.store, image("b", Some("other:1"))).await.1);

    let in_use = f.store.remove_image(&"a".repeat(64), None, false).await;
    assert!(matches!(&in_use, Err(StoreError::InUse { by, .. }) if *by == ["web"]), "{in_use:?}");
    f.store.remove_image(&b.id, Some(&"busybox".parse().unwrap()), false).await.unwrap();
    assert_eq!(f.store.image("other:1").unwrap().id, b.id);
    assert!(f.store.unused_layers().is_empty());
    f.store.remove_image(&b.id, Some(&"other:1".parse().unwrap()), false).await.unwrap();
    assert_eq!(f.store.unused_layers(), ["b".repeat(64)]);
    f.store.forget_layer(&"b".repeat(64)).await.unwrap();
    assert!(f.store.unused_layers().is_empty() && !f.store.knows_layer(&"b".repeat(64)));

    f.store.remove_container(&made.uid, Vec::new()).unwrap().durable().await.unwrap();
    f.store.remove_image(&"a".repeat(64), None, false).await.unwrap();
    let gone = f.store.create_container(new("late")).await;
    assert!(matches!(gone, Err(StoreError::NotFound { kind: "image", .. })));
}

#[tokio::test]
async fn an_import_that_nobody_finished_is_found_at_the_next_start() {
    let mut f = Fixture::new().await;
    let [kept, failed, cut] =
        [f.store.begin_import().await.unwrap(), f.store.begin_import().await.unwrap(), f.store.begin_import().await.unwrap()];
    f.store.put_images(vec![image("c", None)], Some(&kept)).await.unwrap();
    f.store.forget_intent(&failed).await.unwrap();
    f.reopen().await;
    assert_eq!(f.store.interrupted_imports(), [cut]);
}

#[tokio::test]
async fn a_container_makes_the_volumes_that_it_names() {
    let f = Fixture::new().await;
    let mut with_volume = new("db");
    with_volume.spec.mounts =
        vec![Mount { kind: MountType::Volume, source: Some("data".to_owned()), target: "/data".to_owned(), ..Mount::default() }];
    let made = f.store.create_container(with_volume).await.unwrap();
    let volume = f.store.volume("data").unwrap();
    assert_eq!(f.store.volume_model(&volume).status.used_by, ["db"]);
    assert!(matches!(f.store.remove_volume("data", None).await, Err(StoreError::InUse { .. })));
    assert!(matches!(f.store.create_volume("data", Default::default(), Default::default()).await, Err(StoreError::NameTaken { .. })));
    f.store.remove_container(&made.uid, Vec::new()).unwrap().durable().await.unwrap();
    f.store.remove_volume("data", None).await.unwrap();
    assert!(f.store.volume("data").is_err());
}

#[tokio::test]
async fn tokens_are_found_by_hash_and_remember_their_use() {
    let mut f = Fixture::new().await;
    let hash = hash_secret("secret");
    f.store.create_token("ci", Role::Operator, hash.clone()).await.unwrap();
    assert!(matches!(f.store.create_token("ci", Role::Admin, hash_secret("x")).await, Err(StoreError::NameTaken { .. })));
    f.store.touch_token(&f.store.token_by_hash(&hash).unwrap());
    f.reopen().await;
    let token = f.store.token_by_hash(&hash).unwrap();
    assert_eq!((token.role, token.last_used), (Role::Operator, Some(f.clock.now())));
    assert!(f.store.token_by_hash(&hash_secret("other")).is_none());
    f.store.remove_token("ci").await.unwrap();
    assert!(f.store.token_by_hash(&hash).is_none());
}

#[tokio::test]
async fn a_key_replays_its_first_answer_for_a_day() {
    let mut f = Fixture::new().await;
    let answer = StoredAnswer { status: 201, headers: vec![("location".to_owned(), "/x".to_owned())], body: b"\x00body".to_vec() };
    let Replay::First(guard) = f.store.idempotency("k", "h1").await.unwrap() else { panic!("the first one is done") };
    assert!(matches!(f.store.idempotency("k", "h1").await.unwrap(), Replay::UnderWay));
    drop(guard);
    let Replay::First(guard) = f.store.idempotency("k", "h1").await.unwrap() else { panic!("a dropped guard forgets the key") };
    guard.finish(answer.clone()).await.unwrap();
    f.reopen().await;
    let replay = f.store.idempotency("k", "h1").await.unwrap();
    assert!(matches!(&replay, Replay::Answered(stored) if *stored == answer), "{replay:?}");
    assert!(matches!(f.store.idempotency("k", "h2").await.unwrap(), Replay::OtherRequest));
    f.clock.advance(Duration::from_secs(25 * 3600));
    let Replay::First(guard) = f.store.idempotency("k", "h2").await.unwrap() else { panic!("a day has passed") };
    guard.finish(answer).await.unwrap();
}

#[tokio::test]
async fn a_newer_or_damaged_file_is_refused_and_left_alone() {
    let f = Fixture::new().await;
    f.store.close().await;
    let mut connection = sqlx::SqliteConnection::connect(f.path().to_str().unwrap()).await.unwrap();
    connection
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', 1, x'00', 0)",
        )
        .await
        .unwrap();
    connection.close().await.unwrap();
    let newer = Store::open(&f.path(), Arc::new(f.clock.clone())).await;
    assert!(matches!(newer, Err(StoreError::Newer { found: 9999, .. })), "{newer:?}");

    let damaged = f.folder.path().join("damaged.db");
    std::fs::write(&damaged, vec![b'x'; 8192]).unwrap();
    let error = Store::open(&damaged, Arc::new(f.clock.clone())).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. } | StoreError::Open { .. }), "{error:?}");
    assert_eq!(std::fs::read(&damaged).unwrap(), vec![b'x'; 8192]);
}

/// A full disk: the write is refused with its own error, all that waited behind it too, and readers never saw any of it.
#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_promised() {
    let f = Fixture::new().await;
    let made = f.create("kept").await;
    f.store.close().await;
    let mut connection = open::connect(&f.path()).await.unwrap();
    let instance = open::instance_id(&mut connection, None).await.unwrap();
    let tables = open::load(&mut connection, &instance).await.unwrap();
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut connection).await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + 2))).await.unwrap();
    let publisher = Arc::new(Publisher::new([]));
    let (writer, task) = Writer::start(connection, tables, Arc::clone(&publisher));
    let inner = Inner {
        path: f.path(),
        clock: Arc::new(f.clock.clone()),
        instance,
        interrupted: Vec::new(),
        writer,
        publisher,
        keys_under_way: Default::default(),
        committer: Mutex::new(Some(task)),
    };
    let store = Store { inner: Arc::new(inner) };
    let big = |name: &str| NewContainer { annotations: [("big".to_owned(), "x".repeat(100_000))].into(), ..new(name) };
    let full = store.create_container(big("big")).await;
    assert!(matches!(full, Err(StoreError::Full { .. })), "{full:?}");
    assert!(store.container("big").is_err() && store.container("kept").is_ok());
    let (first, second) = tokio::join!(store.create_container(big("one")), store.create_container(big("two")));
    assert!(first.is_err() && second.is_err());
    store.remove_container(&made.uid, Vec::new()).unwrap().durable().await.unwrap();
    assert!(store.container("kept").is_err());
    store.create_container(new("small")).await.unwrap();
    store.close().await;
    assert!(matches!(store.create_container(new("late")).await, Err(StoreError::Closed)));
    let reopened = Store::open(&f.path(), Arc::new(f.clock.clone())).await.unwrap();
    assert_eq!(reopened.all_containers().iter().map(|r| r.meta.name.as_str()).collect::<Vec<_>>(), ["small"]);
}

#[tokio::test]
async fn an_unknown_uid_is_not_found() {
    let f = Fixture::new().await;
    let nobody: PodId = "0".repeat(32).parse().unwrap();
    assert!(matches!(f.store.set_desired(&nobody, None, Desired::Created).await, Err(StoreError::NotFound { .. })));
    let status = f.store.set_status(&nobody, ContainerStatus::default(), Progress::default(), Vec::new());
    assert!(matches!(status, Err(StoreError::NotFound { .. })));
    assert!(f.store.resource_version() > 0 && f.clock.now() > Timestamp::UNIX_EPOCH);
}
