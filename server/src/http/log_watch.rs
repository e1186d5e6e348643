//! Tells followers of logs that a folder changed: one inotify(7) instance for all of them, as a user has few of those.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use inotify::{Inotify, WatchDescriptor, WatchMask, Watches};
use tokio::sync::watch;

/// Starts watching with its first follower.
#[derive(Debug, Default)]
pub struct LogWatch {
    inner: Mutex<Option<Arc<Instance>>>,
}

#[derive(Debug)]
struct Instance {
    watches: Mutex<Watches>,
    folders: Mutex<HashMap<PathBuf, Folder>>,
}

#[derive(Debug)]
struct Folder {
    descriptor: WatchDescriptor,
    changed: watch::Sender<()>,
}

/// A follower's side: it ends when this is dropped.
#[derive(Debug)]
pub struct Changes {
    instance: Arc<Instance>,
    path: PathBuf,
    receiver: Option<watch::Receiver<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogWatch {
    /// Watches a folder: bytes written to its files, files that come and that are renamed.
    ///
    /// # Errors
    /// `NotFound` when it does not exist, and those of inotify_init(2) and inotify_add_watch(2).
    pub fn watch(&self, path: &Path) -> io::Result<Changes> {
        let instance = self.instance()?;
        let mut folders = lock(&instance.folders);
        let receiver = match folders.get(path) {
            Some(folder) => folder.changed.subscribe(),
            None => {
                let mask = WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::ONLYDIR;
                let descriptor = lock(&instance.watches).add(path, mask)?;
                let (changed, receiver) = watch::channel(());
                folders.insert(path.to_owned(), Folder { descriptor, changed });
                receiver
            }
        };
        drop(folders);
        Ok(Changes { instance, path: path.to_owned(), receiver: Some(receiver) })
    }

    fn instance(&self) -> io::Result<Arc<Instance>> {
        let mut slot = lock(&self.inner);
        if let Some(instance) = &*slot {
            return Ok(Arc::clone(instance));
        }
        let inotify = Inotify::init()?;
        let instance = Arc::new(Instance { watches: Mutex::new(inotify.watches()), folders: Mutex::default() });
        let events = inotify.into_event_stream(vec![0; 16 << 10])?;
        tokio::spawn(pass_on(events, Arc::downgrade(&instance)));
        *slot = Some(Arc::clone(&instance));
        Ok(instance)
    }
}

async fn pass_on(mut events: inotify::EventStream<Vec<u8>>, instance: std::sync::Weak<Instance>) {
    while let Some(event) = events.next().await {
        let Some(instance) = instance.upgrade() else { return };
        let folders = lock(&instance.folders);
        match event {
            // An overflow of the kernel's queue names nobody: everybody looks.
            Ok(event) if event.mask.contains(inotify::EventMask::Q_OVERFLOW) => folders.values().for_each(Folder::tell),
            Ok(event) => folders.values().filter(|folder| folder.descriptor == event.wd).for_each(Folder::tell),
            Err(error) => {
                tracing::warn!(%error, "inotify");
                folders.values().for_each(Folder::tell);
            }
        }
    }
}

impl Folder {
    fn tell(&self) {
        self.changed.send_replace(());
    }
}

impl Changes {
    /// Done when something has changed since this was last done.
    pub async fn changed(&mut self) {
        let heard = match &mut self.receiver {
            Some(receiver) => receiver.changed().await.is_ok(),
            None => false,
        };
        if !heard {
            // The watcher is gone: nothing will be told any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.receiver = None;
        let mut folders = lock(&self.instance.folders);
        if folders.get(&self.path).is_some_and(|folder| folder.changed.receiver_count() == 0)
            && let Some(folder) = folders.remove(&self.path)
        {
            // Gone already when the folder is.
            let _ = lock(&self.instance.watches).remove(folder.descriptor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::time::Duration;

    #[tokio::test]
    async fn followers_hear_of_writes_and_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let watch = LogWatch::default();
        let mut one = watch.watch(dir.path()).unwrap();
        let mut other = watch.watch(dir.path()).unwrap();
        let mut file = std::fs::File::create(dir.path().join("0.log")).unwrap();
        let heard = async {
            one.changed().await;
            other.changed().await;
        };
        tokio::time::timeout(Duration::from_secs(5), heard).await.unwrap();
        drop(other);
        file.write_all(b"x").unwrap();
        tokio::time::timeout(Duration::from_secs(5), one.changed()).await.unwrap();
        let instance = Arc::clone(&one.instance);
        drop(one);
        assert!(lock(&instance.folders).is_empty());
        assert!(watch.watch(&dir.path().join("gone")).is_err());
    }
}
