//! What all workers share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use runtime::error::RuntimeError;
use runtime::id::PodId;
use runtime::status::HostFacts;
use tokio::sync::{OnceCell, watch};

use super::error::ActionError;
use crate::clock::Clock;
use crate::node::{Node, NodeError};
use crate::store::Store;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Store,
    node: Arc<dyn Node>,
    facts: OnceCell<Arc<HostFacts>>,
    stopping: watch::Sender<bool>,
    pub(super) passes: AtomicU64,
    pub(super) failures: AtomicU64,
}

impl Shared {
    pub(super) fn new(store: Store, node: Arc<dyn Node>) -> Self {
        Shared {
            store,
            node,
            facts: OnceCell::new(),
            stopping: watch::Sender::new(false),
            passes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    pub(super) fn node(&self) -> &dyn Node {
        &*self.node
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        self.store.clock()
    }

    /// The host does not change while we run: asked for once.
    pub(super) async fn facts(&self) -> Result<Arc<HostFacts>, NodeError> {
        self.facts.get_or_try_init(|| async { self.node().facts().await.map(Arc::new) }).await.cloned()
    }

    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    pub(super) async fn stopping(&self) {
        // The sender lives as long as we do.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// The folder, then the row. `user` may still mount it: it is being removed itself.
    pub(super) async fn remove_volume(&self, name: &str, user: Option<&PodId>) -> Result<(), ActionError> {
        let volume = self.store.volume_unused(name, user)?;
        match self.node().remove_volume(volume.id.clone()).await {
            // Never mounted, or a removal that was interrupted after this step: there is no folder.
            Ok(()) | Err(NodeError::Refused(RuntimeError::NotFound { .. })) => {}
            Err(error) => return Err(error.into()),
        }
        self.store.remove_volume(name, user).await?;
        Ok(())
    }
}
