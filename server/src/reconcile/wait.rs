//! `wait`: until a container has ended, runs, or is gone. Answered from what the store publishes, so it costs nobody anything.

use runtime::id::PodId;

use crate::model::{ContainerStatus, Phase};
use crate::store::{Lookup, Store, Watched};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// The program has ended and the restart policy does not start it again; or a start failed.
    #[default]
    Exited,
    Running,
    /// Nothing of it is left.
    Removed,
}

/// Waits for as long as it takes. The status is the last one that there was, also when the container is gone.
///
/// # Errors
/// `NotFound` when there is no such container to begin with.
pub async fn wait(store: &Store, uid: &PodId, condition: WaitCondition) -> Result<ContainerStatus, Lookup> {
    let mut watch = store.watch_container(uid);
    let not_found = || Lookup::NotFound { kind: "container", key: uid.to_string() };
    // An error means that the store is gone, and with it all containers.
    let seen = watch.wait_for(|watched| is_met(watched, condition)).await.map_err(|_| not_found())?;
    seen.record.as_ref().map(|record| ContainerStatus::clone(&record.status)).ok_or_else(not_found)
}

/// A container that is gone meets every condition: nothing more will happen to it.
fn is_met(watched: &Watched, condition: WaitCondition) -> bool {
    let Some(record) = watched.record.as_ref().filter(|_| !watched.removed) else { return true };
    let status = &record.status;
    match condition {
        WaitCondition::Exited => match status.phase {
            Phase::Exited | Phase::Dead => true,
            Phase::Created => status.reason.is_some(),
            Phase::Running | Phase::Paused | Phase::Restarting => false,
        },
        WaitCondition::Running => status.phase == Phase::Running,
        WaitCondition::Removed => false,
    }
}
