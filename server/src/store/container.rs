//! Containers: wish, fact, and what reconcile remembers between two looks.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use runtime::id::PodId;
use serde::{Deserialize, Serialize};

use super::error::{Lookup, StoreError, UpdateError};
use super::memory::{Change, SpecEdit};
use super::publish::ContainerWatch;
use super::statement::Piece;
use super::uid_range;
use super::writer::{Pending, Stage};
use super::{Store, json_text};
use crate::model::event::{NewEvent, ObjectReference};
use crate::model::{Container, ContainerSpec, ContainerStatus, ObjectMeta};

const KIND: &str = "container";
/// A shorter part of a uid says too little.
const MIN_PREFIX: usize = 8;

/// One container at one version. Never changed: a new version is a new record.
#[derive(Debug)]
pub struct ContainerRecord {
    pub uid: PodId,
    pub meta: ObjectMeta,
    pub spec: Arc<ContainerSpec>,
    /// The spec as the user wrote it.
    pub spec_json: Arc<str>,
    /// Digits of the id of the image that it was made from.
    pub image: String,
    /// Its user ids are this times 65,536, and the 65,535 after it. None with the host's or another container's user namespace.
    pub uid_slot: Option<u16>,
    pub wish: Wish,
    pub status: Arc<ContainerStatus>,
    pub progress: Progress,
    pub(super) status_version: u64,
    json: OnceLock<Arc<str>>,
}

impl Clone for ContainerRecord {
    fn clone(&self) -> Self {
        ContainerRecord {
            uid: self.uid.clone(),
            meta: self.meta.clone(),
            spec: Arc::clone(&self.spec),
            spec_json: Arc::clone(&self.spec_json),
            image: self.image.clone(),
            uid_slot: self.uid_slot,
            wish: self.wish.clone(),
            status: Arc::clone(&self.status),
            progress: self.progress.clone(),
            status_version: self.status_version,
            json: self.json.clone(),
        }
    }
}

/// What the user wants, numbered: asking again for the same is a new wish.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wish {
    pub serial: u64,
    pub desired: Desired,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Desired {
    /// Made, and never asked to run.
    #[default]
    Created,
    /// Started once for this wish, then as the restart policy says.
    #[serde(rename_all = "camelCase")]
    Running {
        paused: bool,
        /// What runs now is stopped first.
        restart: Option<Stop>,
    },
    #[serde(rename_all = "camelCase")]
    Stopped { stop: Stop },
    #[serde(rename_all = "camelCase")]
    Deleted { stop: Stop, volumes: bool },
}

/// How to end what runs. Absent fields are the spec's, then the image's, then SIGTERM and 10 seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    pub signal: Option<i32>,
    /// Seconds until SIGKILL; 0 kills at once.
    pub grace_seconds: Option<u64>,
}

/// What reconcile remembers between two looks, and shows to nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// The serial of the wish that was last carried out.
    pub served: u64,
    /// Starts so far: the next one's attempt number.
    pub attempts: u32,
    /// The attempt whose start is in the status.
    pub noted: Option<u32>,
    /// The attempt whose end is in the status.
    pub recorded: Option<u32>,
    /// The attempt that the user killed: its end is not for the restart policy.
    pub killed: Option<u32>,
    /// The delay before the last restart by policy, in milliseconds.
    pub delay_ms: u64,
    /// The serial of the wish for which the stop signal was sent.
    pub signalled: Option<u64>,
    pub signalled_at: Option<Timestamp>,
    /// When SIGKILL followed.
    pub killed_at: Option<Timestamp>,
}

/// A container to be made. Its spec has passed `validate`.
#[derive(Debug, Clone)]
pub struct NewContainer {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub spec: ContainerSpec,
    /// The spec as the user wrote it: one JSON object.
    pub spec_json: String,
    /// Digits of the image's id.
    pub image: String,
}

/// New values of what may change; None leaves a part as it is.
#[derive(Debug, Clone, Default)]
pub struct ContainerChange {
    pub labels: Option<BTreeMap<String, String>>,
    pub annotations: Option<BTreeMap<String, String>>,
    /// Typed, and as the user wrote it.
    pub spec: Option<(ContainerSpec, String)>,
}

impl ContainerRecord {
    pub fn version(&self) -> u64 {
        self.meta.resource_version.parse().unwrap_or(0)
    }

    /// The resource as it goes out, made once a version.
    pub fn json(&self) -> Arc<str> {
        Arc::clone(self.json.get_or_init(|| {
            let meta = json_text(&self.meta);
            let status = json_text(&*self.status);
            format!(r#"{{"kind":"Container","metadata":{meta},"spec":{},"status":{status}}}"#, self.spec_json).into()
        }))
    }

    pub(super) fn forget_json(&mut self) {
        self.json = OnceLock::new();
    }

    pub fn to_model(&self) -> Container {
        Container {
            kind: "Container".to_owned(),
            metadata: self.meta.clone(),
            spec: ContainerSpec::clone(&self.spec),
            status: ContainerStatus::clone(&self.status),
        }
    }

    /// What events say they are about.
    pub fn reference(&self) -> ObjectReference {
        ObjectReference { kind: "Container".to_owned(), name: self.meta.name.clone(), uid: self.meta.uid.clone() }
    }

    /// First host uid of its range.
    pub fn uid_base(&self) -> Option<u32> {
        self.uid_slot.map(uid_range::base)
    }

    /// A record without a store, for tests of what is pure.
    #[cfg(test)]
    pub(crate) fn for_tests(uid: PodId, meta: ObjectMeta, spec: ContainerSpec) -> Self {
        ContainerRecord::loaded(LoadedContainer {
            uid,
            meta,
            spec,
            spec_json: String::new(),
            image: String::new(),
            uid_slot: None,
            wish: Wish::default(),
            status: ContainerStatus::default(),
            progress: Progress::default(),
        })
    }

    /// From the row. See `open.rs`.
    pub(super) fn loaded(parts: LoadedContainer) -> Self {
        ContainerRecord {
            uid: parts.uid,
            meta: parts.meta,
            spec: Arc::new(parts.spec),
            spec_json: parts.spec_json.into(),
            image: parts.image,
            uid_slot: parts.uid_slot,
            wish: parts.wish,
            status: Arc::new(parts.status),
            progress: parts.progress,
            status_version: 0,
            json: OnceLock::new(),
        }
    }
}

pub(super) struct LoadedContainer {
    pub(super) uid: PodId,
    pub(super) meta: ObjectMeta,
    pub(super) spec: ContainerSpec,
    pub(super) spec_json: String,
    pub(super) image: String,
    pub(super) uid_slot: Option<u16>,
    pub(super) wish: Wish,
    pub(super) status: ContainerStatus,
    pub(super) progress: Progress,
}

impl Store {
    /// By name, uid, or a unique beginning of a uid of at least 8 digits.
    pub fn container(&self, key: &str) -> Result<Arc<ContainerRecord>, Lookup> {
        let not_found = || Lookup::NotFound { kind: KIND, key: key.chars().take(80).collect() };
        self.inner.writer.read(|tables| {
            if let Some(record) = tables.container_names.get(key).and_then(|uid| tables.containers.get(uid)) {
                return Ok(Arc::clone(record));
            }
            if key.len() < MIN_PREFIX || key.len() > 32 || !key.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                return Err(not_found());
            }
            let from: PodId = format!("{key:0<32}").parse().map_err(|_| not_found())?;
            let mut found = tables.containers.range(from..).take_while(|(uid, _)| uid.as_str().starts_with(key));
            match (found.next(), found.next()) {
                (Some((_, record)), None) => Ok(Arc::clone(record)),
                (Some(_), Some(_)) => Err(Lookup::Ambiguous { key: key.to_owned(), matches: 2 + found.count() }),
                (None, _) => Err(not_found()),
            }
        })
    }

    /// By the whole uid: for reconcile.
    pub fn container_by_uid(&self, uid: &PodId) -> Option<Arc<ContainerRecord>> {
        self.inner.writer.read(|tables| tables.containers.get(uid).cloned())
    }

    /// Every container there is a row of.
    pub fn all_containers(&self) -> Vec<Arc<ContainerRecord>> {
        self.inner.writer.read(|tables| tables.containers.values().cloned().collect())
    }

    /// The newest state and each one after it, to the end.
    pub fn watch_container(&self, uid: &PodId) -> ContainerWatch {
        self.inner.writer.read(|tables| self.inner.publisher.watch(uid, tables))
    }

    /// Makes the row, its range of user ids and the volumes that it names and that are not there yet.
    ///
    /// # Errors
    /// `NameTaken`, `NotFound` when the image is gone, `NoUidRange`, and the errors of a commit.
    pub async fn create_container(&self, new: NewContainer) -> Result<Arc<ContainerRecord>, StoreError> {
        let now = self.now();
        let pending = self.inner.writer.write(move |stage| {
            if stage.tables.container_names.contains_key(&new.name) {
                return Err(StoreError::NameTaken { kind: KIND, name: new.name });
            }
            if !stage.tables.images.contains_key(&new.image) {
                return Err(StoreError::NotFound { kind: "image", key: new.image });
            }
            let own_users = new.spec.namespaces.user != "host" && crate::model::validate::joined_container(&new.spec.namespaces).is_none();
            let uid_slot = if own_users { Some(uid_range::allocate(stage.tables)?) } else { None };
            let volumes = super::volume::ensure_for(stage, &new.spec, &new.image, now)?;
            let record = Arc::new(new_record(stage, new, uid_slot, volumes, now)?);
            let piece = insert(&record)?;
            stage.put(Change::ContainerAdded(Arc::clone(&record)), piece);
            if let Some(slot) = uid_slot {
                stage.put(Change::NextSlot(slot.wrapping_add(1)), uid_range::remember(slot));
            }
            stage.event(NewEvent::new(now, record.reference(), "Created", format!("Created from image {}", record.spec.image)))?;
            Ok(record)
        })?;
        pending.durable().await
    }

    /// Changes labels, annotations or spec. `edit` sees the newest record and is run while no other write is, so nothing is lost.
    ///
    /// # Errors
    /// `NotFound`, `Stale` when `if_match` is given and is not the newest version, `BeingDeleted`, what `edit` refuses, and those of a commit.
    pub async fn update_container<E>(
        &self,
        uid: &PodId,
        if_match: Option<&str>,
        edit: impl FnOnce(&ContainerRecord) -> Result<ContainerChange, E>,
    ) -> Result<Arc<ContainerRecord>, UpdateError<E>> {
        let now = self.now();
        let mut refused = None;
        let staged = self.inner.writer.write(|stage| {
            let record = current(stage, uid)?;
            check_version(&record, if_match)?;
            if record.meta.deletion_timestamp.is_some() {
                return Err(StoreError::BeingDeleted { name: record.meta.name.clone() });
            }
            let change = match edit(&record) {
                Ok(change) => change,
                Err(error) => {
                    refused = Some(error);
                    return Err(StoreError::Closed);
                }
            };
            put_edit(stage, &record, change, now)?;
            Ok(())
        });
        if let Some(error) = refused {
            return Err(UpdateError::Refused(error));
        }
        staged?.durable().await?;
        self.container_by_uid(uid).ok_or_else(|| UpdateError::Store(not_found(uid)))
    }

    /// Writes down what the user wants, and answers the record with it. Durable when it returns; the worker is woken by the caller.
    ///
    /// # Errors
    /// `NotFound`, `Stale` as for [`Self::update_container`], `BeingDeleted` for any wish but another deletion, and those of a commit.
    pub async fn set_desired(&self, uid: &PodId, if_match: Option<&str>, desired: Desired) -> Result<Arc<ContainerRecord>, StoreError> {
        self.stage_desired(uid, if_match, desired, false)?.durable().await
    }

    /// As [`Self::set_desired`], but readers see it at once, so that it is carried out while it is being written. For a wish that may be carried
    /// out without ever having been durable: after a crash it is undone, and its caller never had an answer. When `durable()` fails, the
    /// caller takes it back with [`Self::unwish`].
    pub fn set_desired_at_once(&self, uid: &PodId, desired: Desired) -> Result<Pending<Arc<ContainerRecord>>, StoreError> {
        self.stage_desired(uid, None, desired, true)
    }

    /// Readers see the older wish again, as a new one: the disk never had another.
    pub fn unwish(&self, uid: &PodId, before: &Wish) -> Result<(), StoreError> {
        let staged = self.inner.writer.write(|stage| {
            let record = current(stage, uid)?;
            let wish = Wish { serial: record.wish.serial + 1, desired: before.desired.clone() };
            let version = stage.next_revision();
            stage.only_in_memory(Change::ContainerWish { uid: uid.clone(), wish, deletion: record.meta.deletion_timestamp, version });
            stage.show_at_once();
            Ok(())
        })?;
        // Nothing of it goes to the disk.
        drop(staged);
        Ok(())
    }

    fn stage_desired(
        &self,
        uid: &PodId,
        if_match: Option<&str>,
        desired: Desired,
        at_once: bool,
    ) -> Result<Pending<Arc<ContainerRecord>>, StoreError> {
        let now = self.now();
        self.inner.writer.write(|stage| {
            let record = current(stage, uid)?;
            check_version(&record, if_match)?;
            let deleting = matches!(desired, Desired::Deleted { .. });
            if record.meta.deletion_timestamp.is_some() && !deleting {
                return Err(StoreError::BeingDeleted { name: record.meta.name.clone() });
            }
            let wish = Wish { serial: record.wish.serial + 1, desired };
            let deletion = if deleting { record.meta.deletion_timestamp.or(Some(now)) } else { None };
            let version = stage.next_revision();
            let piece = Piece::new(
                "UPDATE containers SET desired = ?, deletion_timestamp = ?, resource_version = ? WHERE uid = ?",
                [json(&wish)?.into(), deletion.map(|t| t.to_string()).into(), version.into(), uid.as_str().into()],
            );
            stage.put(Change::ContainerWish { uid: uid.clone(), wish, deletion, version }, piece);
            if at_once {
                stage.show_at_once();
            }
            // Not what readers see once it is durable: by then a wish to delete may have been carried out.
            current(stage, uid)
        })
    }

    /// Writes down what was observed, with its events in the same transaction. Readers see it at once; await `durable()` before
    /// destroying what it was observed from. For reconcile only.
    pub fn set_status(
        &self,
        uid: &PodId,
        status: ContainerStatus,
        progress: Progress,
        events: Vec<NewEvent>,
    ) -> Result<Pending<()>, StoreError> {
        self.inner.writer.write(|stage| {
            current(stage, uid)?;
            let version = stage.next_revision();
            let piece = Piece::new(
                "UPDATE containers SET status = ?, progress = ?, resource_version = ? WHERE uid = ?",
                [json(&status)?.into(), json(&progress)?.into(), version.into(), uid.as_str().into()],
            );
            stage.put(Change::ContainerStatus { uid: uid.clone(), status: Arc::new(status), progress, version }, piece);
            for event in events {
                stage.event(event)?;
            }
            stage.show_at_once();
            Ok(())
        })
    }

    /// The last step of a deletion; readers see it before it is durable, because the wish for it is. For reconcile only.
    pub fn remove_container(&self, uid: &PodId, events: Vec<NewEvent>) -> Result<Pending<()>, StoreError> {
        self.inner.writer.write(|stage| {
            let version = stage.next_revision();
            let piece = Piece::new("DELETE FROM containers WHERE uid = ?", [uid.as_str().into()]);
            stage.put(Change::ContainerRemoved { uid: uid.clone(), version }, piece);
            for event in events {
                stage.event(event)?;
            }
            stage.show_at_once();
            Ok(())
        })
    }
}

fn not_found(uid: &PodId) -> StoreError {
    StoreError::NotFound { kind: KIND, key: uid.to_string() }
}

fn current(stage: &Stage<'_>, uid: &PodId) -> Result<Arc<ContainerRecord>, StoreError> {
    stage.tables.containers.get(uid).cloned().ok_or_else(|| not_found(uid))
}

fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(StoreError::encode("container"))
}

fn check_version(record: &ContainerRecord, if_match: Option<&str>) -> Result<(), StoreError> {
    match if_match {
        Some(given) if given != record.meta.resource_version && given != "*" => {
            Err(StoreError::Stale { given: given.to_owned(), current: record.meta.resource_version.clone() })
        }
        _ => Ok(()),
    }
}

fn new_record(
    stage: &mut Stage<'_>,
    new: NewContainer,
    uid_slot: Option<u16>,
    volumes: BTreeMap<String, String>,
    now: Timestamp,
) -> Result<ContainerRecord, StoreError> {
    let uid_text = crate::model::name::new_uid();
    let uid: PodId = uid_text.parse().map_err(|_| StoreError::NotFound { kind: KIND, key: uid_text.clone() })?;
    let status = ContainerStatus {
        health: "none".to_owned(),
        image_digest: Some(format!("sha256:{}", new.image)),
        uid_base: uid_slot.map(uid_range::base),
        observed_generation: 1,
        volumes,
        ..ContainerStatus::default()
    };
    let meta = ObjectMeta {
        name: new.name,
        uid: uid_text,
        labels: new.labels,
        annotations: new.annotations,
        creation_timestamp: now,
        deletion_timestamp: None,
        resource_version: stage.next_revision().to_string(),
        generation: 1,
    };
    Ok(ContainerRecord::loaded(LoadedContainer {
        uid,
        meta,
        spec: new.spec,
        spec_json: new.spec_json,
        image: new.image,
        uid_slot,
        wish: Wish::default(),
        status,
        progress: Progress::default(),
    }))
}

fn insert(record: &ContainerRecord) -> Result<Piece, StoreError> {
    Ok(Piece::new(
        "INSERT INTO containers (uid, name, labels, annotations, created_at, generation, resource_version, image, spec, desired, status, progress, uid_slot) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            record.uid.as_str().into(),
            record.meta.name.as_str().into(),
            json(&record.meta.labels)?.into(),
            json(&record.meta.annotations)?.into(),
            record.meta.creation_timestamp.to_string().into(),
            record.meta.generation.into(),
            record.version().into(),
            record.image.as_str().into(),
            record.spec_json.as_ref().into(),
            json(&record.wish)?.into(),
            json(&*record.status)?.into(),
            json(&record.progress)?.into(),
            record.uid_slot.map(u64::from).into(),
        ],
    ))
}

fn put_edit(stage: &mut Stage<'_>, record: &ContainerRecord, change: ContainerChange, now: Timestamp) -> Result<(), StoreError> {
    let new_spec = change.spec.is_some();
    let (spec, spec_json) = match change.spec {
        Some((spec, text)) => (Arc::new(spec), text.into()),
        None => (Arc::clone(&record.spec), Arc::clone(&record.spec_json)),
    };
    let edit = SpecEdit {
        labels: change.labels.unwrap_or_else(|| record.meta.labels.clone()),
        annotations: change.annotations.unwrap_or_else(|| record.meta.annotations.clone()),
        generation: record.meta.generation + u64::from(new_spec),
        spec,
        spec_json,
    };
    let version = stage.next_revision();
    let piece = Piece::new(
        "UPDATE containers SET labels = ?, annotations = ?, generation = ?, spec = ?, resource_version = ? WHERE uid = ?",
        [
            json(&edit.labels)?.into(),
            json(&edit.annotations)?.into(),
            edit.generation.into(),
            edit.spec_json.as_ref().into(),
            version.into(),
            record.uid.as_str().into(),
        ],
    );
    stage.put(Change::ContainerSpec { uid: record.uid.clone(), edit: Box::new(edit), version }, piece);
    stage.event(NewEvent::new(now, record.reference(), "Updated", if new_spec { "Spec changed" } else { "Labels or annotations changed" }))
}
