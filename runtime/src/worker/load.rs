//! Images with their layers from one archive: LoadArchive.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{Mode, mkdirat};
use serde::{Deserialize, Serialize};

use super::data::{DataDir, child};
use super::failed;
use super::half::{self, Confined};
use super::import::{make_root, patient};
use super::staging::Staging;
use crate::error::{RuntimeError, SysError};
use crate::id::{LayerId, StagingId};
use crate::image::archive::{PlannedImage, host_platform, plan};
use crate::image::config::Image;
use crate::image::manifest::Platform;
use crate::image::{Limits, Spool, Unpacked, unpack};
use crate::protocol::{LauncherAnswer, LoadedImage, LoadedLayer, encode};

/// What the confined half found.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    images: Vec<LoadedImage>,
    /// In the order of the folders that they were unpacked to: `0`, `1`, …
    layers: Vec<LayerId>,
    notes: Vec<String>,
}

/// Reads an archive of images (an OCI layout or what `docker save` writes; plain, gzip or zstd) from the connection until its end and
/// unpacks the layers of each: LoadArchive. The answer is ArchiveLoaded, and the layers survive a power cut then.
///
/// Of an image for several platforms `platform` is taken, or this machine's; what is not for a `platform` that was named is refused.
/// `max_bytes` and `max_entries` bound the archive, and once more the files of all layers together. Fails as `import_layer` does, and
/// then not one of the images is there.
pub fn load_archive(
    connection: &UnixStream,
    data: &Path,
    staging: &StagingId,
    max_bytes: u64,
    max_entries: u64,
    platform: Option<&str>,
) -> Result<LauncherAnswer, RuntimeError> {
    let platform = platform.map(Platform::parse).transpose();
    let platform = platform.map_err(|message| RuntimeError::Invalid { path: "/platform".to_owned(), message })?;
    patient(connection)?;
    let staging = Staging::create(&DataDir::open(data)?, staging)?;
    let limits = Limits { max_bytes, max_entries, require_end: true };
    let found = half::confined(&staging, connection.as_fd(), max_bytes, |confined| load(confined, connection, limits, platform.as_ref()))?;
    let answer = LauncherAnswer::ArchiveLoaded { images: found.images, notes: found.notes };
    // Before anything is published: an answer that does not fit would leave layers that nobody knows of.
    encode(&answer).map_err(|error| bad(format!("its description is too long: {error}")))?;
    let layers: Vec<_> = found.layers.into_iter().enumerate().map(|(number, layer)| (number.to_string(), layer)).collect();
    staging.publish(&layers)?;
    Ok(answer)
}

fn bad(message: String) -> RuntimeError {
    RuntimeError::BadArchive { entry: String::new(), message }
}

/// The confined half's part.
fn load(confined: &Confined<'_>, connection: &UnixStream, limits: Limits, platform: Option<&Platform>) -> Result<Found, RuntimeError> {
    let call = |call, errno| failed("unpack")(SysError::new(call, "spool", errno));
    mkdirat(&confined.root, "spool", Mode::from_bits_truncate(0o700)).map_err(|errno| call("mkdirat", errno))?;
    let folder = child(confined.root.as_fd(), "spool").map_err(failed("unpack"))?.ok_or_else(|| call("openat2", Errno::ENOENT))?;
    let spool = Spool::fill(connection, folder, limits)?;
    let planned = plan(&spool, platform.unwrap_or(&host_platform()))?;
    if let Some(platform) = platform {
        planned.iter().try_for_each(|image| check_platform(image, platform))?;
    }
    // The digest of each layer tells whether it is whole: no need for zero blocks at its end, which some builders leave out.
    let mut left = Limits { require_end: false, ..limits };
    let mut unpacked: BTreeMap<LayerId, Unpacked> = BTreeMap::new();
    let mut layers = Vec::new();
    for wanted in planned.iter().flat_map(|image| &image.layers) {
        if unpacked.contains_key(&wanted.layer) {
            continue;
        }
        let root = make_root(confined, &layers.len().to_string())?;
        let layer = unpack(spool.open(&wanted.name)?, root, left, &mut |folder| confined.mark_opaque(folder))?;
        if layer.layer != wanted.layer {
            let message = format!("its content is sha256:{}, and sha256:{} by the image's configuration", layer.layer, wanted.layer);
            return Err(RuntimeError::BadArchive { entry: wanted.name.clone(), message });
        }
        spool.discard(&wanted.name);
        left.max_bytes -= layer.size.min(left.max_bytes);
        left.max_entries -= layer.entries.min(left.max_entries);
        layers.push(wanted.layer.clone());
        unpacked.insert(wanted.layer.clone(), layer);
    }
    let notes = unpacked.values().flat_map(|layer| &layer.notes).take(100).cloned().collect();
    let images = planned.into_iter().map(|image| describe(image, &unpacked)).collect();
    Ok(Found { images, layers, notes })
}

/// An image that is for one platform only has not been chosen by it.
fn check_platform(image: &PlannedImage, wanted: &Platform) -> Result<(), RuntimeError> {
    let config = Image::parse(image.config.as_bytes()).map_err(bad)?;
    if config.architecture == wanted.architecture && (wanted.variant.is_empty() || config.variant == wanted.variant) {
        return Ok(());
    }
    let is = Platform { os: "linux".to_owned(), architecture: config.architecture, variant: config.variant };
    Err(bad(format!("the image {} is for {is}, and {wanted} was asked for", image.config_digest)))
}

fn describe(image: PlannedImage, unpacked: &BTreeMap<LayerId, Unpacked>) -> LoadedImage {
    let layers = image.layers.into_iter().filter_map(|planned| {
        let layer = unpacked.get(&planned.layer)?;
        Some(LoadedLayer {
            layer: planned.layer,
            size: layer.size,
            entries: layer.entries,
            compressed_digest: layer.compressed_digest.clone(),
        })
    });
    LoadedImage {
        layers: layers.collect(),
        references: image.references,
        manifest_digest: image.manifest_digest,
        config_digest: image.config_digest,
        config: image.config,
    }
}
