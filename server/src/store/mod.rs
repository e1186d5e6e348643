//! What must survive a power cut: wishes, facts, events, images, volumes, tokens, and which user ids are whose.
//!
//! ```text
//! readers ----> memory (every row, ready to serve) <---- published after commit
//! writers ----> staged (rules checked, numbers given) ----> queue ----> one connection: many writes, one fsync
//! ```
//!
//! Reads never touch SQLite and never wait for a write. Writes are checked and numbered one after another in memory, committed in groups, and
//! answered when they are on disk. One exception, for speed and on purpose: what reconcile *observed* is shown before it is durable,
//! because a restart finds it again by looking; what destroys the thing observed must wait for `durable()`.
//!
//! One process owns the file, one connection writes: WAL, `synchronous=FULL`, foreign keys. It is not a cache of the kernel: exit codes and logs
//! are the shim's files, the rows are a copy of them plus the wishes.

mod container;
mod copy;
mod error;
mod event;
mod idempotency;
mod image;
mod list;
mod memory;
mod open;
mod publish;
mod session;
mod statement;
#[cfg(test)]
mod tests;
mod token;
mod uid_range;
mod volume;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use runtime::id::InstanceId;
use serde::Serialize;
use sqlx::SqliteConnection;

use crate::clock::Clock;
use publish::Publisher;
use writer::Writer;

pub use container::{ContainerChange, ContainerRecord, Desired, NewContainer, Progress, Stop, Wish};
pub use copy::{RESTORED, Restored, copy_of_stopped, known_schema, schema_of, settle_restored};
pub use error::{Cause, Lookup, StoreError, UpdateError};
pub use event::{EventFilter, EventRecord};
pub use idempotency::{KeyGuard, Replay, StoredAnswer};
pub use image::{ImageRecord, NewImage, PutImage};
pub use list::{BadToken, ListQuery, Page};
pub use publish::{ContainerWatch, Watched};
pub use session::SessionRow;
pub use token::{TokenRecord, hash_secret, hex};
pub use volume::{VolumeChange, VolumeRecord};
pub use writer::Pending;

/// A handle; clones share one store.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    instance: InstanceId,
    interrupted: Vec<String>,
    writer: Writer,
    publisher: Arc<Publisher>,
    keys_under_way: idempotency::KeysUnderWay,
    committer: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Store {
    /// Opens the file at `path`, or makes it; checks it, brings it to this version's schema, and reads all of it.
    ///
    /// # Errors
    /// `Open`, `Damaged` (SQLite's `quick_check`), `Newer` (written by a later version; nothing is changed), `Migrate`, `Read`, `Decode`.
    pub async fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Store, StoreError> {
        Store::open_as(path, clock, None).await
    }

    /// As [`Store::open`], for a data folder that has an instance's id already: the launcher was started with it.
    pub async fn open_as(path: &Path, clock: Arc<dyn Clock>, instance: Option<&InstanceId>) -> Result<Store, StoreError> {
        let mut connection = open::connect(path).await?;
        let instance = open::instance_id(&mut connection, instance).await?;
        let tables = open::load(&mut connection, &instance).await?;
        let interrupted = open::intents(&mut connection).await?;
        let publisher = Arc::new(Publisher::new(Store::load_recent_events(&mut connection).await?));
        let (writer, task) = Writer::start(connection, tables, Arc::clone(&publisher));
        let inner = Inner {
            path: path.to_owned(),
            clock,
            instance,
            interrupted,
            writer,
            publisher,
            keys_under_way: idempotency::KeysUnderWay::default(),
            committer: Mutex::new(Some(task)),
        };
        Ok(Store { inner: Arc::new(inner) })
    }

    /// 8 hexadecimal digits that are part of every kernel name which this installation makes.
    pub fn instance_id(&self) -> &InstanceId {
        &self.inner.instance
    }

    /// Whether what is written gets to the disk.
    pub async fn answers(&self) -> bool {
        self.inner.writer.answers().await
    }

    /// The newest resource version that readers see.
    pub fn resource_version(&self) -> u64 {
        self.inner.writer.read(|tables| tables.revision)
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Commits what waits and closes the file. Writes by other handles fail with `Closed` from then on; reads go on.
    pub async fn close(&self) {
        self.inner.writer.close();
        let task = self.inner.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the store's committing task");
        }
        if let Err(error) = open::checkpoint(&self.inner.path).await {
            tracing::warn!(%error, "leaving the write-ahead log as it is");
        }
    }

    async fn open_reader(&self) -> Result<SqliteConnection, StoreError> {
        open::connect_reader(&self.inner.path).await
    }
}

/// JSON of our own types, which have no map with keys that are not text and nothing else that can fail.
fn json_text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}
