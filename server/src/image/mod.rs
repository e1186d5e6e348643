//! Images: how they come, how they are found, how they go.
//!
//! ```text
//! bytes --> node (a worker unpacks them) --> layer on disk --> row (image, reference, layer) in one transaction
//!                                                              |
//! last image of a layer goes --> layer row without image --> folder removed --> row removed
//! ```
//!
//! Before anything is unpacked an intent is written down, because what a layer is called is known only when it is there. An intent that
//! is found at a start means that a layer may lie about that no row knows: then, and only then, the disk is compared with the rows.

mod error;
mod garbage;
mod import;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::RwLock;

use crate::model::name::Reference;
use crate::node::Node;
use crate::store::{ImageRecord, Lookup, Store};

pub use error::ImageError;
pub use import::{ImportLimits, ImportRequest};

/// A handle; clones share one.
#[derive(Debug, Clone)]
pub struct ImageService {
    store: Store,
    node: Arc<dyn Node>,
    /// Held for reading while a layer is being unpacked, for writing while layers are removed: one that comes is not taken for one that nobody
    /// needs.
    layers: Arc<RwLock<()>>,
}

impl ImageService {
    pub fn new(store: Store, node: Arc<dyn Node>) -> Self {
        ImageService { store, node, layers: Arc::default() }
    }

    /// By reference, id, or a unique beginning of the id's digits of at least 8.
    pub fn resolve(&self, key: &str) -> Result<Arc<ImageRecord>, Lookup> {
        self.store.image(key)
    }

    /// Takes away what `key` names: a reference (and the image with its last one), or by id the image with all of them. Then the layers
    /// that nothing uses any more.
    ///
    /// # Errors
    /// `Lookup`; `Store` with `InUse` naming the containers. When only the layers could not be removed, that is logged and tried again
    /// later: the image is gone.
    pub async fn delete(&self, key: &str) -> Result<(), ImageError> {
        let record = self.store.image(key)?;
        let reference = key.parse::<Reference>().ok().filter(|reference| record.references.contains(&reference.to_string()));
        self.store.remove_image(&record.id, reference.as_ref()).await?;
        self.collect_garbage().await;
        Ok(())
    }
}
