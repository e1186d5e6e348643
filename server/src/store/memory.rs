//! The copy in memory: what all reads are answered from.
//!
//! A change is applied field by field to whatever record is there, so that changes of one record may be published in another order than they
//! were staged (a status is shown at once, a wish when it is durable).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use runtime::id::PodId;

use super::container::{ContainerRecord, Progress, Wish};
use super::idempotency::KeyEntry;
use super::image::ImageRecord;
use super::token::TokenRecord;
use super::volume::VolumeRecord;
use crate::model::{ContainerSpec, ContainerStatus};

#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    /// The newest number handed out: of a resource version or of an event.
    pub(super) revision: u64,
    /// Ordered, so that a prefix of a uid is a range.
    pub(super) containers: BTreeMap<PodId, Arc<ContainerRecord>>,
    /// Those that users see.
    pub(super) container_names: BTreeMap<String, PodId>,
    /// Which 65,536 user ids are whose.
    pub(super) slots: BTreeMap<u16, PodId>,
    /// Where the search for a free slot goes on.
    pub(super) next_slot: u16,
    pub(super) images: BTreeMap<String, Arc<ImageRecord>>,
    /// Normalised reference to id.
    pub(super) references: BTreeMap<String, String>,
    /// Layers on disk, with their bytes.
    pub(super) layers: BTreeMap<String, u64>,
    pub(super) volumes: BTreeMap<String, Arc<VolumeRecord>>,
    pub(super) tokens: BTreeMap<String, Arc<TokenRecord>>,
    pub(super) keys: HashMap<String, Arc<KeyEntry>>,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    ContainerAdded(Arc<ContainerRecord>),
    ContainerWish { uid: PodId, wish: Wish, deletion: Option<Timestamp>, version: u64 },
    ContainerSpec { uid: PodId, edit: Box<SpecEdit>, version: u64 },
    ContainerStatus { uid: PodId, status: Arc<ContainerStatus>, progress: Progress, version: u64 },
    ContainerRemoved { uid: PodId, version: u64 },
    NextSlot(u16),
    ImagePut(Arc<ImageRecord>),
    ImageRemoved { id: String, version: u64 },
    LayerPut { diff_id: String, size: u64 },
    LayerRemoved { diff_id: String },
    VolumePut(Arc<VolumeRecord>),
    VolumeRemoved { name: String, version: u64 },
    TokenPut(Arc<TokenRecord>),
    TokenRemoved { name: String, version: u64 },
    KeyPut { key: String, entry: Arc<KeyEntry> },
    KeysExpired { before: Timestamp },
}

#[derive(Debug, Clone)]
pub(super) struct SpecEdit {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) spec: Arc<ContainerSpec>,
    pub(super) spec_json: Arc<str>,
    pub(super) generation: u64,
}

impl Tables {
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::ContainerAdded(record) => self.add_container(record),
            // As with a status below: shown once before it is durable, and never over a newer one.
            Change::ContainerWish { uid, wish, .. } if self.containers.get(uid).is_some_and(|r| r.wish.serial > wish.serial) => {}
            Change::ContainerWish { uid, wish, deletion, version } => self.edit_container(uid, *version, |record| {
                record.wish = wish.clone();
                record.meta.deletion_timestamp = *deletion;
            }),
            Change::ContainerSpec { uid, edit, version } => self.edit_container(uid, *version, |record| {
                record.meta.labels.clone_from(&edit.labels);
                record.meta.annotations.clone_from(&edit.annotations);
                record.meta.generation = edit.generation;
                record.spec = Arc::clone(&edit.spec);
                record.spec_json = Arc::clone(&edit.spec_json);
            }),
            // Shown once when it is staged and again when it is durable; in between a newer one may have been shown.
            Change::ContainerStatus { uid, version, .. } if self.containers.get(uid).is_some_and(|r| r.status_version >= *version) => {}
            Change::ContainerStatus { uid, status, progress, version } => self.edit_container(uid, *version, |record| {
                record.status = Arc::clone(status);
                record.progress = progress.clone();
                record.status_version = *version;
            }),
            Change::ContainerRemoved { uid, version } => self.remove_container(uid, *version),
            Change::NextSlot(slot) => self.next_slot = *slot,
            Change::ImagePut(record) => self.put_image(record),
            Change::ImageRemoved { id, version } => {
                self.revision = self.revision.max(*version);
                self.images.remove(id);
                self.references.retain(|_, owner| owner != id);
            }
            Change::LayerPut { diff_id, size } => {
                self.layers.insert(diff_id.clone(), *size);
            }
            Change::LayerRemoved { diff_id } => {
                self.layers.remove(diff_id);
            }
            Change::VolumePut(record) => {
                self.revision = self.revision.max(record.version);
                self.volumes.insert(record.meta.name.clone(), Arc::clone(record));
            }
            Change::VolumeRemoved { name, version } => {
                self.revision = self.revision.max(*version);
                self.volumes.remove(name);
            }
            Change::TokenPut(record) => {
                self.revision = self.revision.max(record.version);
                self.tokens.insert(record.meta.name.clone(), Arc::clone(record));
            }
            Change::TokenRemoved { name, version } => {
                self.revision = self.revision.max(*version);
                self.tokens.remove(name);
            }
            Change::KeyPut { key, entry } => {
                self.keys.insert(key.clone(), Arc::clone(entry));
            }
            Change::KeysExpired { before } => self.keys.retain(|_, entry| entry.created >= *before),
        }
    }

    fn add_container(&mut self, record: &Arc<ContainerRecord>) {
        self.revision = self.revision.max(record.version());
        self.container_names.insert(record.meta.name.clone(), record.uid.clone());
        if let Some(slot) = record.uid_slot {
            self.slots.insert(slot, record.uid.clone());
        }
        self.containers.insert(record.uid.clone(), Arc::clone(record));
    }

    fn edit_container(&mut self, uid: &PodId, version: u64, edit: impl FnOnce(&mut ContainerRecord)) {
        self.revision = self.revision.max(version);
        // None: the container was added in a transaction that is not published yet, or is gone. Both end well without this change.
        if let Some(record) = self.containers.get_mut(uid) {
            let mut edited = ContainerRecord::clone(record);
            edit(&mut edited);
            if version > edited.version() {
                edited.meta.resource_version = version.to_string();
            }
            edited.forget_json();
            *record = Arc::new(edited);
        }
    }

    fn remove_container(&mut self, uid: &PodId, version: u64) {
        self.revision = self.revision.max(version);
        let Some(record) = self.containers.remove(uid) else { return };
        self.container_names.remove(&record.meta.name);
        if let Some(slot) = record.uid_slot {
            self.slots.remove(&slot);
        }
    }

    fn put_image(&mut self, record: &Arc<ImageRecord>) {
        self.revision = self.revision.max(record.version);
        self.references.retain(|_, owner| *owner != record.id);
        for reference in &record.references {
            self.references.insert(reference.clone(), record.id.clone());
        }
        self.images.insert(record.id.clone(), Arc::clone(record));
    }
}

impl Change {
    /// The container that watchers want to hear of.
    pub(super) fn container(&self) -> Option<&PodId> {
        match self {
            Change::ContainerAdded(record) => Some(&record.uid),
            Change::ContainerWish { uid, .. }
            | Change::ContainerSpec { uid, .. }
            | Change::ContainerStatus { uid, .. }
            | Change::ContainerRemoved { uid, .. } => Some(uid),
            _ => None,
        }
    }
}
