//! An image becomes an archive: an OCI image layout that is a docker archive too, as `docker save` writes it.
//!
//! ```text
//!  oci-layout, index.json, manifest.json, blobs/sha256/: manifest, configuration     written here, as soon as the layers' digests are known
//!  blobs/sha256/: each layer                                                        as a worker makes it of the unpacked layer
//! ```
//!
//! What a layer was when it came is not kept, and need not be what a tar of its files is: order, times and compression are the packer's. So the
//! layers' digests are those of what is sent, and the configuration names them; all else in it stays. An archive that came from here is the
//! same, byte for byte, when it is loaded and sent again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use runtime::error::RuntimeError;
use runtime::id::LayerId;
use runtime::protocol::ExportedLayer;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{ImageError, ImageService};
use crate::model::name::Reference;
use crate::node::{NodeError, TarPieces};
use crate::store::ImageRecord;

const BLOCK: u64 = 512;
/// Two zero blocks.
const END: [u8; 2 * BLOCK as usize] = [0; 2 * BLOCK as usize];

/// Layers that must stay, and for how many.
#[derive(Debug, Clone, Default)]
pub(super) struct Pins(Arc<Mutex<BTreeMap<String, usize>>>);

impl Pins {
    fn change(&self, layers: &BTreeSet<String>, change: impl Fn(usize) -> usize) {
        let mut pins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for layer in layers {
            let count = pins.entry(layer.clone()).or_default();
            *count = change(*count);
        }
        pins.retain(|_, count| *count > 0);
    }

    pub(super) fn has(&self, layer: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(layer)
    }
}

/// Keeps the layers of an image until it is dropped, also when the image is deleted meanwhile.
#[derive(Debug)]
struct Pinned {
    images: ImageService,
    layers: BTreeSet<String>,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.images.pins.change(&self.layers, |count| count.saturating_sub(1));
        // Without one the server is at its end, and its next start looks anyway.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let images = self.images.clone();
            runtime.spawn(async move { images.collect_garbage().await });
        }
    }
}

/// An archive on its way out. Dropping it ends the worker.
#[derive(Debug)]
pub struct Export {
    /// Of the whole archive, in bytes.
    pub size: u64,
    /// What comes before the first layer.
    head: Option<Vec<u8>>,
    /// Those that are not whole yet; `size` is what is left of the first.
    layers: VecDeque<ExportedLayer>,
    pieces: Option<TarPieces>,
    /// The padding of the layer at hand.
    padding: u64,
    _pinned: Pinned,
}

impl ImageService {
    /// Begins to send what `key` names; by a reference under that name, else without one.
    ///
    /// # Errors
    /// `Lookup`; `Layer` when the layers cannot be read; `Encode`.
    pub async fn export(&self, key: &str) -> Result<Export, ImageError> {
        let record = self.store.image(key)?;
        let layers: BTreeSet<String> = record.layers.iter().map(|layer| digits(&layer.diff_id).to_owned()).collect();
        self.pins.change(&layers, |count| count + 1);
        let pinned = Pinned { images: self.clone(), layers };
        // Once more: what was deleted before the layers were kept may have lost them.
        let record = self.store.image(&record.id)?;
        let ids = pinned.layers.iter().map(|layer| layer.parse::<LayerId>());
        let ids = ids.collect::<Result<Vec<_>, _>>().map_err(|_| NodeError::unexpected("exportLayers"))?;
        let (measured, pieces) = self.node.export_layers(ids).await?;
        if measured.len() != pinned.layers.len() {
            return Err(NodeError::unexpected("exportLayers").into());
        }
        let tars: BTreeMap<&str, &ExportedLayer> = pinned.layers.iter().map(String::as_str).zip(&measured).collect();
        let layers: Vec<ExportedLayer> =
            record.layers.iter().filter_map(|layer| Some((*tars.get(digits(&layer.diff_id))?).clone())).collect();
        let name = key.parse::<Reference>().ok().filter(|reference| record.references.contains(&reference.to_string()));
        let head = head(&record, name.as_ref(), &layers)?;
        let mut seen = BTreeSet::new();
        // As the worker sends them.
        let to_come: VecDeque<_> = measured.into_iter().filter(|layer| seen.insert(layer.digest.clone())).collect();
        let members: u64 = to_come.iter().map(|layer| BLOCK + layer.size + padding(layer.size)).sum();
        let size = head.len() as u64 + members + END.len() as u64;
        let mut export = Export { size, head: None, layers: to_come, pieces: Some(pieces), padding: 0, _pinned: pinned };
        let mut all = head;
        export.begin_layer(&mut all);
        export.head = Some(all);
        Ok(export)
    }
}

impl Export {
    /// The next bytes; None at a good end, and after an error.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>, NodeError>> {
        if let Some(head) = self.head.take() {
            return Some(Ok(head));
        }
        let next = match self.pieces.as_mut()?.next().await {
            Some(Ok(piece)) => self.take(piece),
            Some(Err(error)) => Err(error),
            None if self.layers.is_empty() => {
                self.pieces = None;
                return Some(Ok(END.to_vec()));
            }
            None => Err(wrong("less than it said")),
        };
        if next.is_err() {
            self.pieces = None;
        }
        Some(next)
    }

    fn take(&mut self, mut piece: Vec<u8>) -> Result<Vec<u8>, NodeError> {
        let layer = self.layers.front_mut().ok_or_else(|| wrong("more than it said"))?;
        layer.size = layer.size.checked_sub(piece.len() as u64).ok_or_else(|| wrong("more than it said"))?;
        if layer.size == 0 {
            self.layers.pop_front();
            piece.resize(piece.len() + usize::try_from(self.padding).unwrap_or(0), 0);
            self.begin_layer(&mut piece);
        }
        Ok(piece)
    }

    fn begin_layer(&mut self, to: &mut Vec<u8>) {
        if let Some(layer) = self.layers.front() {
            self.padding = padding(layer.size);
            to.extend_from_slice(header(&blob(&layer.digest), tar::EntryType::Regular, layer.size).as_bytes());
        }
    }
}

fn wrong(what: &str) -> NodeError {
    NodeError::Refused(RuntimeError::Protocol { message: format!("the exporting worker sent {what}") })
}

fn digits(diff_id: &str) -> &str {
    diff_id.strip_prefix("sha256:").unwrap_or(diff_id)
}

fn blob(digest: &str) -> String {
    format!("blobs/sha256/{}", digits(digest))
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK
}

/// Of the archive itself, whose members have no owner and no time.
fn header(name: &str, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    let field = &mut header.as_old_mut().name;
    // None of the names is longer.
    field[..name.len().min(100)].copy_from_slice(&name.as_bytes()[..name.len().min(100)]);
    header.set_entry_type(kind);
    header.set_mode(if kind == tar::EntryType::Directory { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    header
}

/// All members but the layers. `layers` are the image's, lowest first.
fn head(record: &ImageRecord, name: Option<&Reference>, layers: &[ExportedLayer]) -> Result<Vec<u8>, ImageError> {
    let config = config(record, layers)?;
    let descriptor = |kind: &str, digest: &str, size: u64| json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": size});
    let digest = |data: &[u8]| format!("sha256:{}", crate::store::hex(&Sha256::digest(data)));
    let config_digest = digest(config.as_bytes());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", &config_digest, config.len() as u64),
        "layers": layers.iter().map(|layer| descriptor("layer.v1.tar", &layer.digest, layer.size)).collect::<Vec<_>>(),
    })
    .to_string();
    let mut entry = descriptor("manifest.v1+json", &digest(manifest.as_bytes()), manifest.len() as u64);
    if let Some(name) = name {
        // containerd's and Docker's, and the specification's, which skopeo and podman read.
        entry["annotations"] = json!({"io.containerd.image.name": name.to_string(), "org.opencontainers.image.ref.name": name.to_string()});
    }
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]}).to_string();
    // For a Docker that is older than 25.
    let docker = json!([{
        "Config": blob(&config_digest),
        "RepoTags": name.map(|name| vec![name.familiar()]),
        "Layers": layers.iter().map(|layer| blob(&layer.digest)).collect::<Vec<_>>(),
    }])
    .to_string();
    let mut archive = Vec::new();
    for (name, content) in [
        ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
        ("index.json", index.as_str()),
        ("manifest.json", docker.as_str()),
        ("blobs/", ""),
        ("blobs/sha256/", ""),
        (blob(&digest(manifest.as_bytes())).as_str(), manifest.as_str()),
        (blob(&config_digest).as_str(), config.as_str()),
    ] {
        let kind = if name.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular };
        let size = content.len() as u64;
        archive.extend_from_slice(header(name, kind, size).as_bytes());
        archive.extend_from_slice(content.as_bytes());
        archive.resize(archive.len() + usize::try_from(padding(size)).unwrap_or(0), 0);
    }
    Ok(archive)
}

/// The image's configuration, with the digests of the layers as they are sent; its own bytes where those are what they were.
fn config(record: &ImageRecord, layers: &[ExportedLayer]) -> Result<String, ImageError> {
    let same = record.layers.len() == layers.len() && record.layers.iter().zip(layers).all(|(is, sent)| is.diff_id == sent.digest);
    if same {
        return Ok(record.config_json.as_ref().to_owned());
    }
    let mut config: Value = serde_json::from_str(&record.config_json).map_err(ImageError::Encode)?;
    config["rootfs"]["diff_ids"] = layers.iter().map(|layer| layer.digest.as_str()).collect();
    Ok(config.to_string())
}
