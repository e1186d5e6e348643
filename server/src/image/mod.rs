//! Images: how they come, how they are found, how they go.
//!
//! ```text
//! bytes --> node (a worker unpacks them) --> layer on disk --> row (image, reference, layer) in one transaction
//!                                                              |
//! node (a worker packs layers) --> archive
//!
//! last image of a layer goes --> layer row without image --> folder removed --> row removed
//! ```
//!
//! Before anything is unpacked an intent is written down, because what a layer is called is known only when it is there. An intent that
//! is found at a start means that a layer may lie about that no row knows: then, and only then, the disk is compared with the rows.

mod error;
mod export;
mod garbage;
mod import;
mod load;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use runtime::id::LayerId;
use tokio::sync::{RwLock, RwLockReadGuard};

use crate::model::name::Reference;
use crate::node::{Node, NodeError};
use crate::store::{ImageRecord, Lookup, Store};

pub use error::ImageError;
pub use export::Export;
pub use import::{ImportLimits, ImportRequest};
pub use load::{LoadRequest, Loaded};

/// A handle; clones share one.
#[derive(Debug, Clone)]
pub struct ImageService {
    store: Store,
    node: Arc<dyn Node>,
    /// Held for reading while a layer is being unpacked, for writing while layers are removed: one that comes is not taken for one that nobody
    /// needs.
    layers: Arc<RwLock<()>>,
    /// Layers that are being sent.
    pins: export::Pins,
}

/// Layers that are being brought.
struct Arrival<'a> {
    intent: String,
    /// Those that are there.
    come: Vec<LayerId>,
    _guard: RwLockReadGuard<'a, ()>,
}

impl ImageService {
    pub fn new(store: Store, node: Arc<dyn Node>) -> Self {
        ImageService { store, node, layers: Arc::default(), pins: export::Pins::default() }
    }

    /// Before layers are brought: the intent, and nobody removes layers meanwhile.
    async fn arrive(&self) -> Result<Arrival<'_>, ImageError> {
        let guard = self.layers.read().await;
        Ok(Arrival { intent: self.store.begin_import().await?, come: Vec::new(), _guard: guard })
    }

    /// After it: what came of a failure is undone.
    async fn arrived<T>(&self, arrival: Arrival<'_>, outcome: Result<T, ImageError>) -> Result<T, ImageError> {
        let Arrival { intent, mut come, _guard } = arrival;
        drop(_guard);
        if let Err(error) = &outcome {
            tracing::info!(error = error as &dyn std::error::Error, "an image did not come");
            if let ImageError::Layer(NodeError::Body { layers, .. }) = error {
                come.extend(layers.iter().cloned());
            }
            self.drop_unknown_layers(&come).await;
            if let Err(error) = self.store.forget_intent(&intent).await {
                tracing::warn!(%error, intent, "an intent stays until the next start");
            }
        }
        self.collect_garbage().await;
        outcome
    }

    /// Layers that came to be without an image; those that an image has stay. Alone, so that none is taken from somebody who has just
    /// brought the same one.
    async fn drop_unknown_layers(&self, layers: &[LayerId]) {
        if layers.is_empty() {
            return;
        }
        let _alone = self.layers.write().await;
        for layer in layers.iter().filter(|layer| !self.store.knows_layer(layer.as_str())) {
            if let Err(error) = self.node.remove_layer(layer.clone()).await {
                tracing::warn!(%layer, %error, "a layer without an image stays until the next start");
            }
        }
    }

    /// By reference, id, or a unique beginning of the id's digits of at least 8.
    pub fn resolve(&self, key: &str) -> Result<Arc<ImageRecord>, Lookup> {
        self.store.image(key)
    }

    /// Takes away what `key` names: a reference (and the image with its last one), or by id the image with all of them. Then the layers
    /// that nothing uses any more. With `force` an image in use loses its names and stays.
    ///
    /// # Errors
    /// `Lookup`; `Store` with `InUse` naming the containers. When only the layers could not be removed, that is logged and tried again
    /// later: the image is gone.
    pub async fn delete(&self, key: &str, force: bool) -> Result<(), ImageError> {
        let record = self.store.image(key)?;
        let reference = key.parse::<Reference>().ok().filter(|reference| record.references.contains(&reference.to_string()));
        self.store.remove_image(&record.id, reference.as_ref(), force).await?;
        self.collect_garbage().await;
        Ok(())
    }
}
