//! Throwaway workers: what the launcher's forked children do for requests that take their time.
//!
//! ```text
//!  launcher --fork--> worker (root; parses nothing hostile)         --answer--> berth
//!                       |  makes and locks the staging folder
//!                       +--clone3--> unpacker (its own pid, mount, net, ipc, uts namespaces; root = the staging folder;
//!                       |            five capabilities, a uid that owns nothing, no way to fork)
//!                       |              reads the archive from the connection, tells what it found
//!                       |  reaps it, syncs, renames what it made to its place
//! ```
//!
//! Why two: an archive is parsed by a process that can reach nothing but its own folder, and such a process cannot rename that folder to
//! its place. The half that can takes a few short messages from the other and trusts none of them; it also cleans up when the other is
//! killed, by a limit or by a bug. Marking a folder opaque needs CAP_SYS_ADMIN, so that half does it on a descriptor that it is sent.
//!
//! Not here: what an archive means (`crate::image`), and which layers are still needed (the control plane knows). Each function expects to
//! be the only thread of its process.

mod changes;
mod confine;
mod copy;
mod data;
mod export;
mod half;
mod import;
mod inventory;
mod load;
mod pack;
mod staging;
mod trash;
mod usage;
mod volume;

use std::path::Path;

pub use changes::changes;
pub use copy::{Source, copy_in, copy_out};
pub use export::export_layers;
pub use import::import_layer;
pub use load::load_archive;
pub use trash::{out_of_sight, remove_trash, remove_tree};

use crate::error::{RuntimeError, SetupError, SysError};
use crate::examination::Inventory;
use crate::id::{LayerId, VolumeId};
use crate::protocol::DiskUsage;
use data::DataDir;

/// Removes what dead workers left: staging folders, and layers and volumes that were being removed. For the launcher, once at its start.
/// Those of workers that live are locked and stay. What cannot be removed is logged and left to the next start.
pub fn sweep(data: &Path) {
    match DataDir::open(data).and_then(|data| staging::sweep(&data)) {
        Ok(removed) if removed.is_empty() => {}
        Ok(removed) => tracing::info!(?removed, "what dead workers left is removed"),
        Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "what dead workers left is not all removed"),
    }
}

/// Removes an unpacked layer. Fails with NotFound when there is none. Whether a container still uses it is the caller's to know: what an
/// overlay shows while its layers change is undefined (kernel, filesystems/overlayfs).
pub fn remove_layer(data: &Path, layer: &LayerId) -> Result<(), RuntimeError> {
    trash::throw_away(&DataDir::open(data)?.layers()?, layer.as_str(), "layer")
}

/// Makes a volume's folder, 0755 and root's as Docker does; one that is there is fine.
pub fn create_volume(data: &Path, volume: &VolumeId) -> Result<(), RuntimeError> {
    volume::create(&DataDir::open(data)?, volume)
}

/// Removes a volume with its files. Fails with NotFound when there is none, and with EBUSY, before anything is removed, when something is
/// mounted in it on the host.
pub fn remove_volume(data: &Path, volume: &VolumeId) -> Result<(), RuntimeError> {
    volume::remove(&DataDir::open(data)?, volume)
}

/// Bytes on disk (512 for each block) and inodes of every layer, volume, sandbox and log folder. Files with several names count once a
/// tree; folders nested deeper than 256 are left out. What changes meanwhile is counted as it is met.
pub fn disk_usage(data: &Path) -> Result<Vec<DiskUsage>, RuntimeError> {
    usage::disk_usage(&DataDir::open(data)?)
}

/// The names of all that is in the data folder; nothing where it does not exist.
pub fn inventory(data: &Path) -> Result<Inventory, RuntimeError> {
    if data.exists() { inventory::inventory(&DataDir::open(data)?) } else { Ok(Inventory::default()) }
}

/// A failed call of this stage.
fn failed(stage: &'static str) -> impl Fn(SysError) -> RuntimeError {
    move |error| RuntimeError::Setup(SetupError::new(stage, &error))
}
