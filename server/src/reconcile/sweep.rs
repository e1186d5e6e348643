//! Starting up: the first look at everything. Not recovery code, only where the ordinary loop begins.
//!
//! Each row gets its worker, with what the launcher found in its run dir; a run dir without a row is cleared away.

use runtime::status::RunDirEntry;

use super::Reconciler;
use super::observe::Observed;
use crate::node::NodeError;

impl Reconciler {
    /// Until it has been done once, workers that are woken look for themselves; so this may be tried again when the launcher is away.
    pub async fn sweep(&self) -> Result<(), NodeError> {
        let entries = self.shared.node().list().await?;
        for record in self.shared.store.all_containers() {
            let entry = entries.iter().find(|entry| entry.pod == record.uid);
            let observed = match entry {
                // To be looked at: only its shim knows.
                Some(RunDirEntry { alive: true, .. }) => None,
                Some(entry) => Some(Observed::ShimLost { last: entry.last.clone() }),
                None => Some(Observed::NoShim),
            };
            self.ensure_worker(&record.uid, observed);
        }
        self.mark_swept();
        for entry in &entries {
            if self.shared.store.container_by_uid(&entry.pod).is_none()
                && let Err(error) = self.clear_orphan(entry).await
            {
                tracing::warn!(pod = %entry.pod, %error, "a sandbox without a row stays until the next start");
            }
        }
        Ok(())
    }

    async fn clear_orphan(&self, entry: &RunDirEntry) -> Result<(), NodeError> {
        tracing::info!(pod = %entry.pod, alive = entry.alive, "clearing a sandbox without a row");
        if entry.alive {
            self.shared.node().stop_pod(&entry.pod).await?;
        }
        self.shared.node().clean(&entry.pod, true).await
    }
}
