//! Named volumes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use runtime::id::{PodId, VolumeId};

use super::Store;
use super::container::ContainerRecord;
use super::error::{Lookup, StoreError, UpdateError};
use super::list::text;
use super::list::{BadToken, ListQuery, Page};
use super::memory::{Change, Tables};
use super::statement::Piece;
use super::writer::Stage;
use crate::model::container::MountType;
use crate::model::event::{NewEvent, ObjectReference};
use crate::model::volume::{VolumeSpec, VolumeStatus, anonymous_targets};
use crate::model::{ContainerSpec, ObjectMeta, Volume};

const KIND: &str = "volume";

#[derive(Debug, Clone, PartialEq)]
pub struct VolumeRecord {
    pub id: VolumeId,
    pub meta: ObjectMeta,
    pub version: u64,
}

impl VolumeRecord {
    /// Made for one container: nobody gave it a name.
    pub fn is_anonymous(&self) -> bool {
        self.meta.name == self.meta.uid
    }

    pub fn reference(&self) -> ObjectReference {
        ObjectReference { kind: "Volume".to_owned(), name: self.meta.name.clone(), uid: self.meta.uid.clone() }
    }
}

/// The containers that mount a volume.
fn users<'t>(tables: &'t Tables, name: &'t str) -> impl Iterator<Item = &'t Arc<ContainerRecord>> {
    let mounts = |spec: &ContainerSpec| spec.mounts.iter().any(|m| m.kind == MountType::Volume && m.source.as_deref() == Some(name));
    let uses = move |record: &ContainerRecord| mounts(&record.spec) || record.status.volumes.values().any(|own| own == name);
    tables.containers.values().filter(move |record| uses(record))
}

fn names<'t>(users: impl Iterator<Item = &'t Arc<ContainerRecord>>) -> Vec<String> {
    users.map(|record| record.meta.name.clone()).collect()
}

impl Store {
    pub fn volume(&self, name: &str) -> Result<Arc<VolumeRecord>, Lookup> {
        self.inner.writer.read(|tables| super::list::find(&tables.volumes, KIND, name, |record| &record.meta.uid))
    }

    pub fn list_volumes(&self, query: &ListQuery) -> Result<Page<VolumeRecord>, BadToken> {
        let after = super::list::after(query.continue_token.as_deref())?;
        Ok(self.inner.writer.read(|tables| {
            let wanted =
                tables.volumes.iter().filter(|(name, record)| name.as_str() > after && query.selector.matches(&record.meta.labels));
            super::list::page(query, tables.revision, wanted)
        }))
    }

    /// The volume as it goes out, with who mounts it now.
    pub fn volume_model(&self, record: &VolumeRecord) -> Volume {
        let used_by = self.inner.writer.read(|tables| names(users(tables, &record.meta.name)));
        let status = VolumeStatus { used_by, anonymous: record.is_anonymous(), usage: None };
        Volume { kind: "Volume".to_owned(), metadata: record.meta.clone(), spec: VolumeSpec {}, status }
    }

    /// # Errors
    /// `NameTaken`, and those of a commit.
    pub async fn create_volume(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
    ) -> Result<Arc<VolumeRecord>, StoreError> {
        let now = self.now();
        let staged = self.inner.writer.write(|stage| {
            if stage.tables.volumes.contains_key(name) {
                return Err(StoreError::NameTaken { kind: KIND, name: name.to_owned() });
            }
            put(stage, name, labels, annotations, now)
        })?;
        staged.durable().await
    }

    /// Every volume that no container but these mounts.
    pub fn volumes_without(&self, containers: &BTreeSet<PodId>) -> Vec<Arc<VolumeRecord>> {
        self.inner.writer.read(|tables| {
            let free = |name: &str| users(tables, name).all(|record| containers.contains(&record.uid));
            tables.volumes.values().filter(|record| free(&record.meta.name)).cloned().collect()
        })
    }

    /// Changes labels or annotations; None leaves them. `edit` sees the newest record and is run while no other write is.
    ///
    /// # Errors
    /// `NotFound`, what `edit` refuses, and those of a commit.
    pub async fn update_volume<E>(
        &self,
        name: &str,
        edit: impl FnOnce(&VolumeRecord) -> Result<VolumeChange, E>,
    ) -> Result<Arc<VolumeRecord>, UpdateError<E>> {
        let now = self.now();
        let mut refused = None;
        let staged = self.inner.writer.write(|stage| {
            let not_found = || StoreError::NotFound { kind: KIND, key: name.to_owned() };
            let record = stage.tables.volumes.get(name).cloned().ok_or_else(not_found)?;
            match edit(&record) {
                Ok(change) => put_change(stage, &record, change, now),
                Err(error) => {
                    refused = Some(error);
                    Err(StoreError::Closed)
                }
            }
        });
        match refused {
            Some(error) => Err(UpdateError::Refused(error)),
            None => Ok(staged?.durable().await?),
        }
    }

    /// The row goes last: the folder must be gone already. `user` may still mount it: it is being removed itself.
    ///
    /// # Errors
    /// `NotFound`, `InUse` naming the containers, and those of a commit.
    pub async fn remove_volume(&self, name: &str, user: Option<&PodId>) -> Result<(), StoreError> {
        let now = self.now();
        let staged = self.inner.writer.write(|stage| {
            let record = check_unused(stage.tables, name, user)?;
            let version = stage.next_revision();
            stage.put(
                Change::VolumeRemoved { name: name.to_owned(), version },
                Piece::new("DELETE FROM volumes WHERE uid = ?", [record.meta.uid.as_str().into()]),
            );
            stage.event(NewEvent::new(now, record.reference(), "Deleted", "Volume removed"))
        })?;
        staged.durable().await
    }

    /// Whether [`Self::remove_volume`] would be refused now.
    pub fn volume_unused(&self, name: &str, user: Option<&PodId>) -> Result<Arc<VolumeRecord>, StoreError> {
        self.inner.writer.read(|tables| check_unused(tables, name, user))
    }
}

/// What a patch changes.
#[derive(Debug, Clone, Default)]
pub struct VolumeChange {
    pub labels: Option<BTreeMap<String, String>>,
    pub annotations: Option<BTreeMap<String, String>>,
}

fn check_unused(tables: &Tables, name: &str, user: Option<&PodId>) -> Result<Arc<VolumeRecord>, StoreError> {
    let record = tables.volumes.get(name).cloned().ok_or_else(|| StoreError::NotFound { kind: KIND, key: name.to_owned() })?;
    let by = names(users(tables, name).filter(|record| Some(&record.uid) != user));
    if by.is_empty() { Ok(record) } else { Err(StoreError::InUse { kind: KIND, name: name.to_owned(), by }) }
}

/// A container that names a volume makes it, as in Docker; and it gets those of its own, which are answered: where, and their names.
pub(super) fn ensure_for(
    stage: &mut Stage<'_>,
    spec: &ContainerSpec,
    image: &str,
    now: Timestamp,
) -> Result<BTreeMap<String, String>, StoreError> {
    for name in spec.mounts.iter().filter(|mount| mount.kind == MountType::Volume).filter_map(|mount| mount.source.as_deref()) {
        if !stage.tables.volumes.contains_key(name) {
            put(stage, name, BTreeMap::new(), BTreeMap::new(), now)?;
        }
    }
    let image = stage.tables.images.get(image).cloned();
    let targets = image.map(|image| anonymous_targets(spec, &image.oci.config)).unwrap_or_default();
    let mut own = BTreeMap::new();
    for target in targets {
        let uid = crate::model::name::new_uid();
        put_as(stage, uid.clone(), &uid, BTreeMap::new(), BTreeMap::new(), now)?;
        own.insert(target, uid);
    }
    Ok(own)
}

fn put(
    stage: &mut Stage<'_>,
    name: &str,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    now: Timestamp,
) -> Result<Arc<VolumeRecord>, StoreError> {
    put_as(stage, crate::model::name::new_uid(), name, labels, annotations, now)
}

fn put_change(stage: &mut Stage<'_>, record: &VolumeRecord, change: VolumeChange, now: Timestamp) -> Result<Arc<VolumeRecord>, StoreError> {
    let version = stage.next_revision();
    let mut meta = record.meta.clone();
    meta.labels = change.labels.unwrap_or(meta.labels);
    meta.annotations = change.annotations.unwrap_or(meta.annotations);
    meta.resource_version = version.to_string();
    let piece = Piece::new(
        "UPDATE volumes SET labels = ?, annotations = ?, resource_version = ? WHERE uid = ?",
        [text(&meta.labels, KIND)?.into(), text(&meta.annotations, KIND)?.into(), version.into(), meta.uid.as_str().into()],
    );
    let record = Arc::new(VolumeRecord { meta, version, id: record.id.clone() });
    stage.put(Change::VolumePut(Arc::clone(&record)), piece);
    stage.event(NewEvent::new(now, record.reference(), "Updated", "Labels or annotations changed"))?;
    Ok(record)
}

fn put_as(
    stage: &mut Stage<'_>,
    uid: String,
    name: &str,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    now: Timestamp,
) -> Result<Arc<VolumeRecord>, StoreError> {
    let id = uid.parse().map_err(|_| StoreError::NotFound { kind: KIND, key: uid.clone() })?;
    let version = stage.next_revision();
    let meta = ObjectMeta {
        name: name.to_owned(),
        uid,
        labels,
        annotations,
        creation_timestamp: now,
        deletion_timestamp: None,
        resource_version: version.to_string(),
        generation: 1,
    };
    let piece = Piece::new(
        "INSERT INTO volumes (uid, name, labels, annotations, created_at, resource_version) VALUES (?, ?, ?, ?, ?, ?)",
        [
            meta.uid.as_str().into(),
            name.into(),
            text(&meta.labels, KIND)?.into(),
            text(&meta.annotations, KIND)?.into(),
            now.to_string().into(),
            version.into(),
        ],
    );
    let record = Arc::new(VolumeRecord { id, meta, version });
    stage.put(Change::VolumePut(Arc::clone(&record)), piece);
    stage.event(NewEvent::new(now, record.reference(), "Created", "Volume created"))?;
    Ok(record)
}
