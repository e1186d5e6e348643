//! Named volumes.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use runtime::id::VolumeId;

use super::Store;
use super::error::{Lookup, StoreError};
use super::list::{BadToken, ListQuery, Page};
use super::memory::{Change, Tables};
use super::statement::Piece;
use super::writer::Stage;
use crate::model::container::MountType;
use crate::model::event::{NewEvent, ObjectReference};
use crate::model::volume::{VolumeSpec, VolumeStatus};
use crate::model::{ContainerSpec, ObjectMeta, Volume};

const KIND: &str = "volume";

#[derive(Debug, Clone, PartialEq)]
pub struct VolumeRecord {
    pub id: VolumeId,
    pub meta: ObjectMeta,
    pub version: u64,
}

impl VolumeRecord {
    pub fn reference(&self) -> ObjectReference {
        ObjectReference { kind: "Volume".to_owned(), name: self.meta.name.clone(), uid: self.meta.uid.clone() }
    }
}

/// Names of the containers that mount a volume.
fn users(tables: &Tables, name: &str) -> Vec<String> {
    let mounts = |spec: &ContainerSpec| spec.mounts.iter().any(|m| m.kind == MountType::Volume && m.source.as_deref() == Some(name));
    tables.containers.values().filter(|record| mounts(&record.spec)).map(|record| record.meta.name.clone()).collect()
}

impl Store {
    pub fn volume(&self, name: &str) -> Result<Arc<VolumeRecord>, Lookup> {
        let by_uid = |record: &&Arc<VolumeRecord>| name.len() >= 8 && record.meta.uid.starts_with(name);
        self.inner.writer.read(|tables| {
            if let Some(record) = tables.volumes.get(name) {
                return Ok(Arc::clone(record));
            }
            let mut found = tables.volumes.values().filter(by_uid);
            match (found.next(), found.count()) {
                (Some(record), 0) => Ok(Arc::clone(record)),
                (Some(_), more) => Err(Lookup::Ambiguous { key: name.to_owned(), matches: more + 1 }),
                (None, _) => Err(Lookup::NotFound { kind: KIND, key: name.chars().take(80).collect() }),
            }
        })
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
        let used_by = self.inner.writer.read(|tables| users(tables, &record.meta.name));
        Volume { kind: "Volume".to_owned(), metadata: record.meta.clone(), spec: VolumeSpec {}, status: VolumeStatus { used_by } }
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

    /// The row goes last: the folder must be gone already.
    ///
    /// # Errors
    /// `NotFound`, `InUse` naming the containers, and those of a commit.
    pub async fn remove_volume(&self, name: &str) -> Result<(), StoreError> {
        let now = self.now();
        let staged = self.inner.writer.write(|stage| {
            let record = check_unused(stage.tables, name)?;
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
    pub fn volume_unused(&self, name: &str) -> Result<Arc<VolumeRecord>, StoreError> {
        self.inner.writer.read(|tables| check_unused(tables, name))
    }
}

fn check_unused(tables: &Tables, name: &str) -> Result<Arc<VolumeRecord>, StoreError> {
    let record = tables.volumes.get(name).cloned().ok_or_else(|| StoreError::NotFound { kind: KIND, key: name.to_owned() })?;
    let by = users(tables, name);
    if by.is_empty() { Ok(record) } else { Err(StoreError::InUse { kind: KIND, name: name.to_owned(), by }) }
}

/// A container that names a volume makes it, as in Docker.
pub(super) fn ensure_for(stage: &mut Stage<'_>, spec: &ContainerSpec, now: Timestamp) -> Result<(), StoreError> {
    for name in spec.mounts.iter().filter(|mount| mount.kind == MountType::Volume).filter_map(|mount| mount.source.as_deref()) {
        if !stage.tables.volumes.contains_key(name) {
            put(stage, name, BTreeMap::new(), BTreeMap::new(), now)?;
        }
    }
    Ok(())
}

fn put(
    stage: &mut Stage<'_>,
    name: &str,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    now: Timestamp,
) -> Result<Arc<VolumeRecord>, StoreError> {
    let uid = crate::model::name::new_uid();
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
    let text = |map: &BTreeMap<String, String>| serde_json::to_string(map).map_err(StoreError::encode(KIND));
    let piece = Piece::new(
        "INSERT INTO volumes (uid, name, labels, annotations, created_at, resource_version) VALUES (?, ?, ?, ?, ?, ?)",
        [
            meta.uid.as_str().into(),
            name.into(),
            text(&meta.labels)?.into(),
            text(&meta.annotations)?.into(),
            now.to_string().into(),
            version.into(),
        ],
    );
    let record = Arc::new(VolumeRecord { id, meta, version });
    stage.put(Change::VolumePut(Arc::clone(&record)), piece);
    stage.event(NewEvent::new(now, record.reference(), "Created", "Volume created"))?;
    Ok(record)
}
