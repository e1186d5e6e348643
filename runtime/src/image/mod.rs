//! Images as they arrive: hostile archives in, layers for overlayfs out.
//!
//! ```text
//!  bytes -> Input ----------> Members ---------> Unpacker -----------> a folder that overlayfs takes as a layer
//!           gzip, zstd,       headers, PAX,      every step relative
//!           digests, limits   long names,        to a descriptor,
//!                             sparse maps        beneath one root
//! ```
//!
//! An archive of images (OCI layout, docker) is first put by (`Spool`), then understood (`archive`, over `manifest` and `config`), then
//! unpacked layer by layer.
//!
//! `extract` is the same for a folder of a container that may be running, with other rules: see there.
//!
//! Nothing here opens a path of the host: input is any `Read`, output is a folder given as a descriptor. The worker that calls it
//! (`crate::worker`) has put itself where that folder is all there is; this code keeps to the folder by itself all the same.
//!
//! Why a tar reader of our own over the `tar` crate's header type: its iterator reads extension records without a limit, splits PAX
//! records at newlines (a capability attribute may contain one) and knows no PAX sparse files. Ours refuses whatever two readers could
//! understand differently.

pub mod archive;
mod attributes;
pub mod config;
mod error;
mod extract;
mod folders;
mod header;
mod input;
pub mod manifest;
mod member;
mod notes;
mod path;
mod pax;
mod sparse;
mod spool;
#[cfg(test)]
mod testing;
mod tree;
mod unpack;

pub use error::ImageError;
pub use extract::{Destination, Extracted, extract};
pub use input::Limits;
pub(crate) use input::hex;
pub use spool::Spool;
pub use tree::remove_at;
pub use unpack::{MarkOpaque, Unpacked, unpack};
