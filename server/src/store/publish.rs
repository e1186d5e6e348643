//! Telling those who wait: watchers of one container, and followers of the event log.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runtime::id::PodId;
use tokio::sync::{broadcast, watch};

use super::container::ContainerRecord;
use super::event::EventRecord;
use super::memory::{Change, Tables};

/// Events in memory: what a follower that comes back, or a page of recent ones, is answered from.
const RECENT_EVENTS: usize = 1000;
/// How far a follower may fall behind before it has to read the log again.
const FOLLOWER_BUFFER: usize = 512;

/// The newest state of one container as it changes.
pub type ContainerWatch = watch::Receiver<Watched>;

/// What a watcher sees. The last record stays when the row is gone: a watcher that was slow still learns how the container ended.
#[derive(Debug, Clone)]
pub struct Watched {
    /// None when there never was such a container.
    pub record: Option<Arc<ContainerRecord>>,
    /// Its row is gone.
    pub removed: bool,
}

#[derive(Debug)]
pub(super) struct Publisher {
    watchers: Mutex<BTreeMap<PodId, watch::Sender<Watched>>>,
    recent: Mutex<VecDeque<Arc<EventRecord>>>,
    followers: broadcast::Sender<Arc<EventRecord>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Publisher {
    pub(super) fn new(recent: impl IntoIterator<Item = Arc<EventRecord>>) -> Self {
        let followers = broadcast::Sender::new(FOLLOWER_BUFFER);
        Publisher { watchers: Mutex::default(), recent: Mutex::new(recent.into_iter().collect()), followers }
    }

    pub(super) const RECENT_EVENTS: usize = RECENT_EVENTS;

    /// The tables are locked by the caller, as in [`Self::containers_changed`]: no change falls between the first look and the first news.
    pub(super) fn watch(&self, uid: &PodId, tables: &Tables) -> ContainerWatch {
        let mut watchers = lock(&self.watchers);
        watchers.retain(|_, sender| sender.receiver_count() > 0);
        match watchers.get(uid) {
            Some(sender) => sender.subscribe(),
            None => {
                let record = tables.containers.get(uid).cloned();
                let (sender, receiver) = watch::channel(Watched { removed: record.is_none(), record });
                watchers.insert(uid.clone(), sender);
                receiver
            }
        }
    }

    pub(super) fn containers_changed(&self, tables: &Tables, changes: &[Change]) {
        let watchers = lock(&self.watchers);
        if watchers.is_empty() {
            return;
        }
        for uid in changes.iter().filter_map(Change::container) {
            if let Some(sender) = watchers.get(uid) {
                let record = tables.containers.get(uid).cloned();
                sender.send_modify(|watched| {
                    watched.removed = record.is_none();
                    watched.record = record.or(watched.record.take());
                });
            }
        }
    }

    pub(super) fn events_happened(&self, events: Vec<Arc<EventRecord>>) {
        if events.is_empty() {
            return;
        }
        let mut recent = lock(&self.recent);
        for event in events {
            if recent.len() == RECENT_EVENTS {
                recent.pop_front();
            }
            recent.push_back(Arc::clone(&event));
            // Nobody may be following.
            let _ = self.followers.send(event);
        }
    }

    pub(super) fn recent<T>(&self, look: impl FnOnce(&VecDeque<Arc<EventRecord>>) -> T) -> T {
        look(&lock(&self.recent))
    }

    pub(super) fn follow(&self) -> broadcast::Receiver<Arc<EventRecord>> {
        self.followers.subscribe()
    }
}
