//! Images, the layers that they share, and what was being imported when the lights went out.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::Store;
use super::error::{Lookup, StoreError};
use super::memory::{Change, Tables};
use super::statement::Piece;
use super::writer::Stage;
use crate::model::event::{NewEvent, ObjectReference};
use crate::model::image::{ImageLayer, ImageSpec, ImageStatus, OciImage};
use crate::model::name::Reference;
use crate::model::{Image, ObjectMeta};

const KIND: &str = "image";
/// A shorter beginning of an id says too little.
const MIN_PREFIX: usize = 8;

#[derive(Debug, Clone, PartialEq)]
pub struct ImageRecord {
    /// sha256 of the configuration's JSON: 64 hexadecimal digits.
    pub id: String,
    /// Normalised; may be empty.
    pub references: Vec<String>,
    /// Lowest first.
    pub layers: Vec<ImageLayer>,
    pub oci: OciImage,
    /// The configuration byte for byte: what the id is the digest of.
    pub config_json: Arc<str>,
    /// `sha256:…` of the manifest that it came with.
    pub manifest_digest: Option<String>,
    pub origin: String,
    pub created: Timestamp,
    pub generation: u64,
    pub version: u64,
}

/// An image whose layers are on disk.
#[derive(Debug, Clone)]
pub struct NewImage {
    pub id: String,
    pub references: Vec<Reference>,
    pub layers: Vec<ImageLayer>,
    pub oci: OciImage,
    pub config_json: String,
    pub manifest_digest: Option<String>,
    /// `imported`, `loaded`, …: also the event's reason.
    pub origin: String,
}

/// An image after it was put, and whether it is new.
pub type PutImage = (Arc<ImageRecord>, bool);

impl ImageRecord {
    /// The first reference in its short form, or the first 12 digits of the id.
    pub fn name(&self) -> String {
        let familiar = self.references.first().and_then(|text| text.parse::<Reference>().ok()).map(|r| r.familiar());
        familiar.unwrap_or_else(|| self.id[..12].to_owned())
    }

    pub fn reference(&self) -> ObjectReference {
        ObjectReference { kind: "Image".to_owned(), name: self.name(), uid: self.id.clone() }
    }

    fn to_model(&self, used_by: Vec<String>) -> Image {
        Image {
            kind: "Image".to_owned(),
            metadata: ObjectMeta {
                name: self.name(),
                uid: self.id.clone(),
                labels: Default::default(),
                annotations: Default::default(),
                creation_timestamp: self.created,
                deletion_timestamp: None,
                resource_version: self.version.to_string(),
                generation: self.generation,
            },
            spec: ImageSpec { references: self.references.clone() },
            status: ImageStatus {
                id: format!("sha256:{}", self.id),
                size: self.layers.iter().map(|layer| layer.size).sum(),
                layers: self.layers.clone(),
                digest: self.manifest_digest.clone(),
                origin: self.origin.clone(),
                created: self.oci.created,
                architecture: self.oci.architecture.clone(),
                os: self.oci.os.clone(),
                config: self.oci.config.clone(),
                used_by,
            },
        }
    }

    fn insert(&self) -> Result<Piece, StoreError> {
        Ok(Piece::new(
            "INSERT INTO images (id, reference_names, layers, config, origin, created_at, generation, resource_version, manifest_digest) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET reference_names = excluded.reference_names, \
             layers = excluded.layers, generation = excluded.generation, resource_version = excluded.resource_version, \
             manifest_digest = excluded.manifest_digest",
            [
                self.id.as_str().into(),
                json(&self.references)?.into(),
                json(&self.layers)?.into(),
                self.config_json.as_ref().into(),
                self.origin.as_str().into(),
                self.created.to_string().into(),
                self.generation.into(),
                self.version.into(),
                self.manifest_digest.clone().into(),
            ],
        ))
    }
}

fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(StoreError::encode(KIND))
}

/// Names of the containers made from an image; those that are being removed still hold it.
fn users(tables: &Tables, id: &str) -> Vec<String> {
    tables.containers.values().filter(|record| record.image == id).map(|record| record.meta.name.clone()).collect()
}

impl Store {
    /// By reference, `sha256:` id, or a unique beginning of the id's digits of at least 8.
    pub fn image(&self, key: &str) -> Result<Arc<ImageRecord>, Lookup> {
        let not_found = || Lookup::NotFound { kind: KIND, key: key.chars().take(300).collect() };
        self.inner.writer.read(|tables| {
            let by_reference = key.parse::<Reference>().ok().and_then(|reference| find_reference(tables, &reference));
            if let Some(record) = by_reference {
                return Ok(record);
            }
            let digits = key.strip_prefix("sha256:").unwrap_or(key);
            if !(MIN_PREFIX..=64).contains(&digits.len()) || !digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                return Err(not_found());
            }
            let mut found = tables.images.range(digits.to_owned()..).take_while(|(id, _)| id.starts_with(digits));
            match (found.next(), found.next()) {
                (Some((_, record)), None) => Ok(Arc::clone(record)),
                (Some(_), Some(_)) => Err(Lookup::Ambiguous { key: key.to_owned(), matches: 2 + found.count() }),
                (None, _) => Err(not_found()),
            }
        })
    }

    /// By the digits of its id.
    pub fn image_by_id(&self, id: &str) -> Option<Arc<ImageRecord>> {
        self.inner.writer.read(|tables| tables.images.get(id).cloned())
    }

    /// Newest first.
    pub fn images(&self) -> Vec<Arc<ImageRecord>> {
        let mut images: Vec<_> = self.inner.writer.read(|tables| tables.images.values().cloned().collect());
        images.sort_by(|a: &Arc<ImageRecord>, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        images
    }

    /// The image as it goes out, with who uses it now.
    pub fn image_model(&self, record: &ImageRecord) -> Image {
        record.to_model(self.inner.writer.read(|tables| users(tables, &record.id)))
    }

    /// Before anything is unpacked: what is found again at the next start when nobody fulfilled it. Returns the intent's id, 32 hexadecimal digits.
    pub async fn begin_import(&self) -> Result<String, StoreError> {
        let id = crate::model::name::new_uid();
        let piece = Piece::new(
            "INSERT INTO intents (id, kind, created_at) VALUES (?, 'import', ?)",
            [id.as_str().into(), self.now().to_string().into()],
        );
        self.inner
            .writer
            .write(|stage| {
                stage.sql(piece);
                Ok(())
            })?
            .durable()
            .await?;
        Ok(id)
    }

    /// The import failed and left nothing.
    pub async fn forget_intent(&self, id: &str) -> Result<(), StoreError> {
        let piece = forget(id);
        let staged = self.inner.writer.write(|stage| {
            stage.sql(piece);
            Ok(())
        })?;
        staged.durable().await
    }

    /// Imports that a crash cut short, as found when the store was opened.
    pub fn interrupted_imports(&self) -> &[String] {
        &self.inner.interrupted
    }

    /// Makes images known, or gives known ones further references, all or none. A reference that another image has moves here, as in
    /// Docker. `intent` is what [`Self::begin_import`] gave: fulfilled in the same transaction. What changes nothing is not written.
    pub async fn put_images(&self, images: Vec<NewImage>, intent: Option<&str>) -> Result<Vec<PutImage>, StoreError> {
        let now = self.now();
        let staged = self.inner.writer.write(move |stage| {
            let put = images.into_iter().map(|new| put_image(stage, new, now)).collect::<Result<Vec<_>, _>>()?;
            if let Some(intent) = intent {
                stage.sql(forget(intent));
            }
            // As they are after the last of them: one may have taken another's name.
            Ok(put.into_iter().map(|(record, new)| (stage.tables.images.get(&record.id).cloned().unwrap_or(record), new)).collect())
        })?;
        staged.durable().await
    }

    /// Takes one reference away, or the whole image when `reference` is None or its last; with `force` one in use only loses its names. Layers that nothing uses any more stay known
    /// until [`Self::forget_layer`].
    ///
    /// # Errors
    /// `NotFound`, `InUse` naming the containers when the image itself would go, and those of a commit.
    pub async fn remove_image(&self, id: &str, reference: Option<&Reference>, force: bool) -> Result<(), StoreError> {
        let now = self.now();
        let reference = reference.map(ToString::to_string);
        let staged = self.inner.writer.write(|stage| {
            let not_found = || StoreError::NotFound { kind: KIND, key: reference.clone().unwrap_or_else(|| id.to_owned()) };
            let record = stage.tables.images.get(id).cloned().ok_or_else(not_found)?;
            let rest: Vec<String> = match &reference {
                None => Vec::new(),
                Some(gone) if !record.references.contains(gone) => return Err(not_found()),
                Some(gone) => record.references.iter().filter(|kept| *kept != gone).cloned().collect(),
            };
            if !rest.is_empty() {
                put_references(stage, &record, rest)?;
                return stage.event(NewEvent::new(now, record.reference(), "Untagged", reference.unwrap_or_default()));
            }
            let by = users(stage.tables, id);
            if !by.is_empty() && force {
                let gone = record.references.join(", ");
                put_references(stage, &record, Vec::new())?;
                return stage.event(NewEvent::new(now, record.reference(), "Untagged", gone));
            }
            if !by.is_empty() {
                return Err(StoreError::InUse { kind: KIND, name: record.name(), by });
            }
            let version = stage.next_revision();
            stage.put(Change::ImageRemoved { id: id.to_owned(), version }, Piece::new("DELETE FROM images WHERE id = ?", [id.into()]));
            stage.event(NewEvent::new(now, record.reference(), "Deleted", "Image removed"))
        })?;
        staged.durable().await
    }

    /// Layers on disk that no image has.
    pub fn unused_layers(&self) -> Vec<String> {
        self.inner.writer.read(|tables| {
            let used: BTreeSet<&str> = tables.images.values().flat_map(|image| &image.layers).map(|layer| digits(&layer.diff_id)).collect();
            tables.layers.keys().filter(|layer| !used.contains(layer.as_str())).cloned().collect()
        })
    }

    /// True when the layer is known: it belongs to an image, or is still to be removed.
    pub fn knows_layer(&self, diff_id: &str) -> bool {
        self.inner.writer.read(|tables| tables.layers.contains_key(digits(diff_id)))
    }

    /// The layer's folder is gone.
    pub async fn forget_layer(&self, diff_id: &str) -> Result<(), StoreError> {
        let diff_id = digits(diff_id).to_owned();
        let staged = self.inner.writer.write(|stage| {
            let piece = Piece::new("DELETE FROM layers WHERE diff_id = ?", [diff_id.as_str().into()]);
            stage.put(Change::LayerRemoved { diff_id }, piece);
            Ok(())
        })?;
        staged.durable().await
    }
}

fn digits(diff_id: &str) -> &str {
    diff_id.strip_prefix("sha256:").unwrap_or(diff_id)
}

fn forget(intent: &str) -> Piece {
    Piece::new("DELETE FROM intents WHERE id = ?", [intent.into()])
}

fn put_image(stage: &mut Stage<'_>, new: NewImage, now: Timestamp) -> Result<PutImage, StoreError> {
    let known = stage.tables.images.get(&new.id).cloned();
    let mut record = known.as_deref().cloned().unwrap_or_else(|| ImageRecord {
        id: new.id.clone(),
        references: Vec::new(),
        layers: new.layers.clone(),
        oci: new.oci.clone(),
        config_json: new.config_json.as_str().into(),
        manifest_digest: None,
        origin: new.origin.clone(),
        created: now,
        generation: 0,
        version: 0,
    });
    for reference in new.references.iter().map(ToString::to_string) {
        take_reference_from_others(stage, &new.id, &reference)?;
        if !record.references.contains(&reference) {
            record.references.push(reference);
        }
    }
    if new.manifest_digest.is_some() {
        record.manifest_digest = new.manifest_digest;
    }
    if let Some(known) = known.as_ref().filter(|known| ***known == record) {
        return Ok((Arc::clone(known), false));
    }
    record.generation += 1;
    record.version = stage.next_revision();
    let (record, created) = (Arc::new(record), known.is_none());
    let piece = record.insert()?;
    stage.put(Change::ImagePut(Arc::clone(&record)), piece);
    put_layers(stage, &record.layers);
    let message = format!("{} bytes in {} layers", record.layers.iter().map(|l| l.size).sum::<u64>(), record.layers.len());
    let reason = match record.origin.as_str() {
        _ if !created => "Tagged",
        "loaded" => "Loaded",
        _ => "Imported",
    };
    stage.event(NewEvent::new(now, record.reference(), reason, message))?;
    Ok((record, created))
}

/// With tag and digest, the digest decides: the manifest's, or the configuration's, which is the id.
fn find_reference(tables: &Tables, reference: &Reference) -> Option<Arc<ImageRecord>> {
    if let Some(digest) = &reference.digest {
        let by_manifest = || tables.images.values().find(|image| image.manifest_digest.as_ref() == Some(digest));
        return tables.images.get(digits(digest)).or_else(by_manifest).cloned();
    }
    tables.references.get(&reference.to_string()).and_then(|id| tables.images.get(id)).cloned()
}

fn put_layers(stage: &mut Stage<'_>, layers: &[ImageLayer]) {
    for layer in layers {
        let (diff_id, size) = (digits(&layer.diff_id).to_owned(), layer.size);
        let piece = Piece::new(
            "INSERT INTO layers (diff_id, size) VALUES (?, ?) ON CONFLICT (diff_id) DO UPDATE SET size = excluded.size",
            [diff_id.as_str().into(), size.into()],
        );
        stage.put(Change::LayerPut { diff_id, size }, piece);
    }
}

fn put_references(stage: &mut Stage<'_>, record: &ImageRecord, references: Vec<String>) -> Result<(), StoreError> {
    let changed = ImageRecord { references, generation: record.generation + 1, version: stage.next_revision(), ..record.clone() };
    let piece = changed.insert()?;
    stage.put(Change::ImagePut(Arc::new(changed)), piece);
    Ok(())
}

fn take_reference_from_others(stage: &mut Stage<'_>, id: &str, reference: &str) -> Result<(), StoreError> {
    let Some(other) = stage.tables.references.get(reference).filter(|owner| *owner != id) else { return Ok(()) };
    let Some(other) = stage.tables.images.get(other).cloned() else { return Ok(()) };
    let rest = other.references.iter().filter(|kept| *kept != reference).cloned().collect();
    put_references(stage, &other, rest)
}
