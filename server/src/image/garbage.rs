//! Layers that nothing uses any more, and those of imports that were cut short.

use std::collections::BTreeSet;

use runtime::id::LayerId;

use super::ImageService;
use crate::crash_point;
use crate::node::NodeError;

impl ImageService {
    /// Removes layers without an image. While one is being unpacked nothing is removed: the end of that import tries again, as the end of an export
    /// does for layers that are being sent.
    pub async fn collect_garbage(&self) {
        let Ok(_alone) = self.layers.try_write() else { return };
        // Listed first: whoever found an image with one of these has kept it by then.
        for layer in self.store.unused_layers().into_iter().filter(|layer| !self.pins.has(layer)) {
            if let Err(error) = self.remove_layer(&layer).await {
                tracing::warn!(layer, %error, "an unused layer stays until later");
            }
        }
    }

    /// The folder, then the row.
    async fn remove_layer(&self, layer: &str) -> Result<(), super::ImageError> {
        let id: LayerId = layer.parse().map_err(|_| super::ImageError::Layer(NodeError::unexpected("removeLayer")))?;
        self.node.remove_layer(id).await.map_err(super::ImageError::Layer)?;
        crash_point!("image.layer-removed");
        self.store.forget_layer(layer).await?;
        Ok(())
    }

    /// At a start: what was left half-done is undone. Costs nothing when nothing was.
    ///
    /// # Errors
    /// `Layer` when the launcher does not answer; to be tried again.
    pub async fn sweep(&self) -> Result<(), super::ImageError> {
        let interrupted: Vec<String> = self.store.interrupted_imports().to_vec();
        if !interrupted.is_empty() {
            let _alone = self.layers.write().await;
            let on_disk = self.node.disk_usage().await.map_err(super::ImageError::Layer)?;
            let layers: BTreeSet<String> = on_disk.into_iter().filter(|item| item.kind == "layer").map(|item| item.id).collect();
            for layer in layers.iter().filter(|layer| !self.store.knows_layer(layer)) {
                tracing::info!(layer, "removing a layer that no image knows");
                self.remove_layer(layer).await?;
            }
            for intent in &interrupted {
                self.store.forget_intent(intent).await?;
            }
        }
        self.collect_garbage().await;
        Ok(())
    }
}
