//! The way in: changes are staged one after another, committed in groups, then published and answered.
//!
//! ```text
//! caller -- stage (under the lock: check, number, queue) --> queue --> one task: BEGIN; all that waits; COMMIT
//!             |  a status is shown at once                                |
//!             v                                                           v
//!           shared tables <------------------------ publish, tell watchers and followers, answer the callers
//! ```
//!
//! `staged` is the state as it will be when the queue is empty: rules are checked against it. `shared` is what readers see: what is
//! durable, and the newest facts. When a commit fails, everything queued behind it was checked against a state that never came to be, so
//! all of it fails, and `staged` starts again from `shared`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::error::StoreError;
use super::event::EventRecord;
use super::memory::{Change, Tables};
use super::publish::Publisher;
use super::statement::{self, Piece};
use crate::crash_point;
use crate::model::event::NewEvent;

/// Writes that may wait. Beyond it callers are told to come again: a queue without a bound only hides that the disk is too slow.
const MAX_WAITING: usize = 20_000;
/// Numbers are promised to disk in blocks, so that one which was shown but not committed is never used again after a crash.
const REVISION_BLOCK: u64 = 1024;
/// Events kept; older ones go, a block at a time.
const KEEP_EVENTS: i64 = 50_000;
const PRUNE_EVERY: u64 = 1024;

/// What one write wants, and who waits for it.
struct Job {
    pieces: Vec<Piece>,
    changes: Vec<Change>,
    events: Vec<Arc<EventRecord>>,
    answer: oneshot::Sender<Result<(), StoreError>>,
    /// Changes nothing: at its commit there is nothing to lose.
    probe: bool,
}

struct Staging {
    tables: Tables,
    /// Numbers below this are promised.
    promised: u64,
    /// None once the store is closed.
    queue: Option<mpsc::UnboundedSender<Job>>,
}

impl std::fmt::Debug for Staging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staging").field("revision", &self.tables.revision).finish_non_exhaustive()
    }
}

/// The callers' side.
#[derive(Debug)]
pub(super) struct Writer {
    staging: Arc<Mutex<Staging>>,
    shared: Arc<RwLock<Tables>>,
    publisher: Arc<Publisher>,
    waiting: Arc<AtomicUsize>,
}

/// A write that is staged, and perhaps not yet durable.
#[must_use = "await durable() to know that it is on disk"]
#[derive(Debug)]
pub struct Pending<T> {
    value: T,
    answer: oneshot::Receiver<Result<(), StoreError>>,
}

impl<T> Pending<T> {
    /// The outcome as it will be.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Done when it is on disk and readers see it.
    pub async fn durable(mut self) -> Result<T, StoreError> {
        self.settled().await?;
        Ok(self.value)
    }

    /// As [`Self::durable`], for one who looks up from waiting now and then. Not to be asked again once it has answered.
    pub async fn settled(&mut self) -> Result<(), StoreError> {
        (&mut self.answer).await.map_err(|_| StoreError::Closed)?
    }
}

/// The staged state, as one write sees and changes it.
pub(super) struct Stage<'a> {
    pub(super) tables: &'a mut Tables,
    pieces: Vec<Piece>,
    changes: Vec<Change>,
    events: Vec<Arc<EventRecord>>,
    early: bool,
}

impl Stage<'_> {
    /// The next resource version or event number.
    pub(super) fn next_revision(&mut self) -> u64 {
        self.tables.revision += 1;
        self.tables.revision
    }

    /// One change, in memory and in SQL. All rules must have been checked before the first of these.
    pub(super) fn put(&mut self, change: Change, piece: Piece) {
        self.tables.apply(&change);
        self.changes.push(change);
        self.pieces.push(piece);
    }

    /// A change that is to be forgotten at the end of this process.
    pub(super) fn only_in_memory(&mut self, change: Change) {
        self.tables.apply(&change);
        self.changes.push(change);
    }

    /// SQL that has no copy in memory.
    pub(super) fn sql(&mut self, piece: Piece) {
        self.pieces.push(piece);
    }

    pub(super) fn event(&mut self, event: NewEvent) -> Result<(), StoreError> {
        let sequence = self.next_revision();
        let record = EventRecord::new(event.numbered(sequence))?;
        self.pieces.push(record.insert());
        if sequence % PRUNE_EVERY < 2 {
            self.pieces.push(Piece::new(
                "DELETE FROM events WHERE sequence <= (SELECT sequence FROM events ORDER BY sequence DESC LIMIT 1 OFFSET ?)",
                [super::statement::Value::Integer(KEEP_EVENTS)],
            ));
        }
        self.events.push(Arc::new(record));
        Ok(())
    }

    /// Readers see this before it is durable: for facts, which a restart finds again by looking.
    pub(super) fn show_at_once(&mut self) {
        self.early = true;
    }
}

impl Writer {
    /// Starts the committing task; it ends when the `Writer` is closed or gone, and the queue is empty.
    pub(super) fn start(connection: SqliteConnection, tables: Tables, publisher: Arc<Publisher>) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, jobs) = mpsc::unbounded_channel();
        // Nothing below the loaded revision is promised yet: the first write promises its block.
        let promised = tables.revision;
        let shared = Arc::new(RwLock::new(tables.clone()));
        let staging = Arc::new(Mutex::new(Staging { tables, promised, queue: Some(queue) }));
        let waiting = Arc::new(AtomicUsize::new(0));
        let committer = Committer {
            connection,
            staging: Arc::downgrade(&staging),
            shared: Arc::clone(&shared),
            publisher: Arc::clone(&publisher),
            waiting: Arc::clone(&waiting),
        };
        let task = tokio::spawn(committer.run(jobs));
        (Writer { staging, shared, publisher, waiting }, task)
    }

    /// Refuses what comes from now on; what waits is still committed.
    pub(super) fn close(&self) {
        lock(&self.staging).queue = None;
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&Tables) -> T) -> T {
        look(&self.shared.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Done when everything that was staged before is durable and published, or has failed. At once when the store is closed.
    pub(super) async fn settled(&self) {
        let (answer, told) = oneshot::channel();
        let empty = Job { pieces: Vec::new(), changes: Vec::new(), events: Vec::new(), answer, probe: true };
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let sent = lock(&self.staging).queue.as_ref().is_some_and(|queue| queue.send(empty).is_ok());
        if sent {
            let _ = told.await;
        } else {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether a commit succeeds now: one that changes nothing is made.
    pub(super) async fn answers(&self) -> bool {
        let (answer, told) = oneshot::channel();
        let pieces = vec![Piece::new("UPDATE settings SET value = value WHERE name = 'revision'", [])];
        let job = Job { pieces, changes: Vec::new(), events: Vec::new(), answer, probe: true };
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let sent = lock(&self.staging).queue.as_ref().is_some_and(|queue| queue.send(job).is_ok());
        if !sent {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        matches!(told.await, Ok(Ok(())))
    }

    /// Stages one write. When `op` fails, nothing has changed.
    pub(super) fn write<T>(&self, op: impl FnOnce(&mut Stage<'_>) -> Result<T, StoreError>) -> Result<Pending<T>, StoreError> {
        let waiting = self.waiting.load(Ordering::Relaxed);
        if waiting >= MAX_WAITING {
            return Err(StoreError::Busy { waiting });
        }
        let mut staging = lock(&self.staging);
        let staging = &mut *staging;
        let queue = staging.queue.as_ref().ok_or(StoreError::Closed)?;
        let mut stage = Stage { tables: &mut staging.tables, pieces: Vec::new(), changes: Vec::new(), events: Vec::new(), early: false };
        let value = op(&mut stage)?;
        let Stage { mut pieces, changes, events, early, .. } = stage;
        if staging.tables.revision >= staging.promised {
            staging.promised = staging.tables.revision + REVISION_BLOCK;
            pieces.push(Piece::new(
                "INSERT INTO settings (name, value) VALUES ('revision', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                [staging.promised.to_string().into()],
            ));
        }
        if early {
            let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
            for change in &changes {
                shared.apply(change);
            }
            self.publisher.containers_changed(&shared, &changes);
        }
        let (answer, told) = oneshot::channel();
        if pieces.is_empty() {
            let _ = answer.send(Ok(()));
        } else {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            // The task lives as long as this sender; should it be gone, the receiver learns of it.
            let _ = queue.send(Job { pieces, changes, events, answer, probe: false });
        }
        Ok(Pending { value, answer: told })
    }
}

fn lock(staging: &Mutex<Staging>) -> MutexGuard<'_, Staging> {
    staging.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Committer {
    connection: SqliteConnection,
    staging: std::sync::Weak<Mutex<Staging>>,
    shared: Arc<RwLock<Tables>>,
    publisher: Arc<Publisher>,
    waiting: Arc<AtomicUsize>,
}

impl Committer {
    async fn run(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        let mut batch = Vec::new();
        while jobs.recv_many(&mut batch, 256).await > 0 {
            self.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
            let pieces: Vec<Piece> = batch.iter_mut().flat_map(|job| std::mem::take(&mut job.pieces)).collect();
            if pieces.is_empty() {
                self.publish(&mut batch);
                continue;
            }
            let changes = batch.iter().any(|job| !job.probe);
            if changes {
                crash_point!("store.commit");
            }
            match statement::commit(&mut self.connection, pieces).await {
                Ok(()) => {
                    if changes {
                        crash_point!("store.committed");
                    }
                    self.publish(&mut batch);
                }
                Err(error) => self.fail(StoreError::commit(error), &mut batch, &mut jobs),
            }
        }
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "closing the database");
        }
    }

    fn publish(&self, batch: &mut Vec<Job>) {
        {
            let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
            for job in &*batch {
                for change in &job.changes {
                    shared.apply(change);
                }
                for event in &job.events {
                    shared.revision = shared.revision.max(event.event.sequence);
                }
            }
            for job in &*batch {
                self.publisher.containers_changed(&shared, &job.changes);
            }
        }
        for job in batch.drain(..) {
            self.publisher.events_happened(job.events);
            let _ = job.answer.send(Ok(()));
        }
    }

    /// Nothing of the batch happened, and nothing that was staged after it can.
    fn fail(&self, error: StoreError, batch: &mut Vec<Job>, jobs: &mut mpsc::UnboundedReceiver<Job>) {
        if let Some(staging) = self.staging.upgrade() {
            let mut staging = lock(&staging);
            while let Ok(job) = jobs.try_recv() {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                batch.push(job);
            }
            let revision = staging.tables.revision;
            staging.tables = self.shared.read().unwrap_or_else(PoisonError::into_inner).clone();
            // Numbers are not handed out twice.
            staging.tables.revision = revision;
            staging.promised = 0;
        }
        for job in batch.drain(..) {
            let _ = job.answer.send(Err(error.clone()));
        }
    }
}
