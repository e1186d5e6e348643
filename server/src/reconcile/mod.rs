//! Makes wishes true: the only room that acts on containers, and the only one that writes their status.
//!
//! ```text
//!   http: wish --> store --> wake --> worker (one a container) --> look --> plan (pure) --> act --> node
//!                    ^                                              |
//!                    +----------------- status, events -------------+
//! ```
//!
//! `plan.rs` is the heart and decides; `facts.rs` says what an observation means, `health.rs` what a health check does; `worker.rs` is the loop; `act.rs` does; `sweep.rs` is how it all
//! begins. Here: the handle that others hold.

mod act;
mod backoff;
mod error;
mod facts;
mod health;
mod observe;
mod plan;
mod prepare;
mod shared;
mod sweep;
#[cfg(test)]
mod tests;
mod wait;
mod worker;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::id::PodId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::model::Phase;
use crate::model::signal::SIGKILL;
use crate::node::Node;
use crate::store::{ContainerChange, ContainerRecord, Desired, Stop, Store, StoreError, UpdateError};
use observe::Observed;
use shared::Shared;
use worker::{Message, Until, Worker};

pub use error::{ActionError, StartError};
pub use wait::{WaitCondition, wait};

/// How long a caller waits beyond the grace that the container is given.
const ANSWER_WITHIN: u64 = 90;
/// How long `kill -9` may take to be seen.
const KILL_WITHIN: Duration = Duration::from_secs(10);

/// A handle; clones share one set of workers.
#[derive(Debug, Clone)]
pub struct Reconciler {
    shared: Arc<Shared>,
    workers: Arc<Mutex<HashMap<PodId, Handle>>>,
    swept: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Handle {
    mailbox: mpsc::UnboundedSender<Message>,
    task: JoinHandle<()>,
}

/// What a deletion may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deletion {
    /// Also when it runs; else that is a `WrongState`.
    pub running: bool,
    pub stop: Stop,
    /// The volumes that were made for this container alone go too.
    pub volumes: bool,
}

/// What the workers have done since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Times that one compared a wish with the facts.
    pub passes: u64,
    /// Of these, those that have to be tried again.
    pub failures: u64,
    /// Containers that are looked after now.
    pub workers: usize,
}

impl Reconciler {
    /// Nothing happens before [`Self::sweep`], or before something is asked for.
    pub fn new(store: Store, node: Arc<dyn Node>) -> Self {
        Reconciler { shared: Arc::new(Shared::new(store, node)), workers: Arc::default(), swept: Arc::default() }
    }

    /// Starts the container, and answers when its program runs. What runs already is no error.
    ///
    /// # Errors
    /// `Start` when it does not run, with the step that failed; `WrongState` when it is paused; `Deadline`; those of the store.
    pub async fn start(&self, uid: &PodId) -> Result<Arc<ContainerRecord>, ActionError> {
        let record = self.record(uid)?;
        match record.status.phase {
            Phase::Paused => return Err(wrong_state(&record, "is paused: unpause it")),
            Phase::Running if is_wanted_running(&record) => return Ok(record),
            _ => {}
        }
        self.start_while_written(&record).await
    }

    /// The wish goes to the disk while it is carried out: the program runs, and the caller knows it, when both are done.
    async fn start_while_written(&self, before: &ContainerRecord) -> Result<Arc<ContainerRecord>, ActionError> {
        let uid = &before.uid;
        let mut staged = self.shared.store.set_desired_at_once(uid, Desired::Running { paused: false, restart: None })?;
        let wished = Arc::clone(staged.value());
        let written = async {
            let outcome = staged.settled().await;
            crate::crash_point!("reconcile.wished");
            outcome.map_err(ActionError::Store)
        };
        let (written, carried_out) =
            tokio::join!(written, self.wait_until(uid, Until::Served(wished.wish.serial), "running", ANSWER_WITHIN));
        if let Err(error) = written {
            self.shared.store.unwish(uid, &before.wish)?;
            self.wake(uid);
            return Err(error);
        }
        carried_out?;
        // With autoRemove it may be gone already: then the last that was known of it.
        Ok(self.shared.store.container_by_uid(uid).unwrap_or(wished))
    }

    /// Stops the container, and answers when its program has ended. What does not run is no error.
    pub async fn stop(&self, uid: &PodId, stop: Stop) -> Result<Arc<ContainerRecord>, ActionError> {
        let record = self.record(uid)?;
        let at_rest = matches!(record.status.phase, Phase::Created | Phase::Exited | Phase::Dead);
        if at_rest && !matches!(record.wish.desired, Desired::Running { .. }) {
            return Ok(record);
        }
        let within = grace(&record, &stop).saturating_add(ANSWER_WITHIN);
        self.wish(uid, Desired::Stopped { stop }, "stopped", within).await
    }

    /// Ends what runs, if it does, and starts it again.
    pub async fn restart(&self, uid: &PodId, stop: Stop) -> Result<Arc<ContainerRecord>, ActionError> {
        let record = self.record(uid)?;
        let within = grace(&record, &stop).saturating_add(ANSWER_WITHIN);
        self.wish(uid, Desired::Running { paused: false, restart: Some(stop) }, "running", within).await
    }

    /// Sends a signal to the first process; SIGKILL goes to all, and is answered when the program has ended. An end by SIGKILL or by the stop signal
    /// is the user's wish, and not for the restart policy.
    ///
    /// # Errors
    /// `WrongState` when it does not run.
    pub async fn kill(&self, uid: &PodId, signal: i32) -> Result<Arc<ContainerRecord>, ActionError> {
        let mut watch = self.shared.store.watch_container(uid);
        let (reply, answer) = oneshot::channel();
        self.send(uid, Message::Kill { signal, reply });
        answer.await.map_err(|_| self.ended(uid))??;
        if signal == SIGKILL {
            let runs = |record: &Arc<ContainerRecord>| matches!(record.status.phase, Phase::Running | Phase::Paused);
            let ended = watch.wait_for(|seen| seen.removed || !seen.record.as_ref().is_some_and(runs));
            let _ = tokio::time::timeout(KILL_WITHIN, ended).await;
        }
        self.record(uid).or_else(|error| watch.borrow().record.clone().ok_or(error))
    }

    /// Freezes all processes.
    ///
    /// # Errors
    /// `WrongState` when it does not run, or is paused already.
    pub async fn pause(&self, uid: &PodId) -> Result<Arc<ContainerRecord>, ActionError> {
        let record = self.record(uid)?;
        match record.status.phase {
            Phase::Running => self.wish(uid, Desired::Running { paused: true, restart: None }, "paused", ANSWER_WITHIN).await,
            Phase::Paused => Err(wrong_state(&record, "is paused already")),
            _ => Err(wrong_state(&record, "is not running")),
        }
    }

    /// # Errors
    /// `WrongState` when it is not paused.
    pub async fn unpause(&self, uid: &PodId) -> Result<Arc<ContainerRecord>, ActionError> {
        let record = self.record(uid)?;
        match record.status.phase {
            Phase::Paused => self.wish(uid, Desired::Running { paused: false, restart: None }, "running", ANSWER_WITHIN).await,
            _ => Err(wrong_state(&record, "is not paused")),
        }
    }

    /// Changes labels, annotations, restart policy or limits; limits of a running container are in force when it returns. When the host
    /// refuses them, the old spec is put back.
    ///
    /// # Errors
    /// Those of [`Store::update_container`]; `Node` when the host refuses the limits, as `Refused(Update)`'s source.
    pub async fn update<E>(
        &self,
        uid: &PodId,
        if_match: Option<&str>,
        edit: impl FnOnce(&ContainerRecord) -> Result<ContainerChange, E>,
    ) -> Result<Arc<ContainerRecord>, ChangeError<E>> {
        let mut old = None;
        let keep_old = |record: &ContainerRecord| {
            old = Some((record.spec.clone(), record.spec_json.clone(), record.meta.clone()));
            edit(record)
        };
        let record = self.shared.store.update_container(uid, if_match, keep_old).await.map_err(|error| match error {
            UpdateError::Store(error) => ChangeError::Action(error.into()),
            UpdateError::Refused(refused) => ChangeError::Refused(refused),
        })?;
        let generation = record.meta.generation;
        let Some((spec, spec_json, meta)) = old.filter(|(.., meta)| meta.generation != generation) else { return Ok(record) };
        match self.wait_until(uid, Until::Applied(generation), "updated", ANSWER_WITHIN).await {
            Ok(()) => self.record(uid).map_err(ChangeError::Action),
            Err(error) => {
                tracing::info!(container = %uid, generation, before = meta.generation, "limits refused: all is put back as it was");
                let put_back = |record: &ContainerRecord| match record.meta.generation == generation {
                    true => Ok(ContainerChange {
                        spec: Some((spec.as_ref().clone(), spec_json.to_string())),
                        labels: Some(meta.labels.clone()),
                        annotations: Some(meta.annotations.clone()),
                    }),
                    false => Err(()),
                };
                // Somebody changed it again meanwhile: that stands.
                let _ = self.shared.store.update_container(uid, None, put_back).await;
                self.wake(uid);
                Err(ChangeError::Action(error))
            }
        }
    }

    /// Deletes the container, and answers when nothing of it is left on the machine.
    ///
    /// # Errors
    /// `WrongState` when it runs and may not; `Stale`; `Deadline`, after which it is still tried.
    pub async fn delete(&self, uid: &PodId, if_match: Option<&str>, deletion: Deletion) -> Result<(), ActionError> {
        let record = self.record(uid)?;
        if !deletion.running && matches!(record.status.phase, Phase::Running | Phase::Paused | Phase::Restarting) {
            return Err(wrong_state(&record, "is running: stop it first, or use force"));
        }
        let within = grace(&record, &deletion.stop).saturating_add(ANSWER_WITHIN);
        match self.shared.store.set_desired(uid, if_match, Desired::Deleted { stop: deletion.stop, volumes: deletion.volumes }).await {
            Ok(_) => {}
            // It was there above: its worker, or another caller, was quicker than this answer.
            Err(StoreError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        crate::crash_point!("reconcile.wished");
        self.wait_until(uid, Until::Removed, "removed", within).await
    }

    /// Removes a volume that no container mounts: its folder, then its row.
    pub async fn remove_volume(&self, name: &str) -> Result<(), ActionError> {
        self.shared.remove_volume(name, None).await
    }

    /// What the container is or would be started with, for a look at its files.
    pub async fn configs(
        &self,
        record: &ContainerRecord,
    ) -> Result<(runtime::config::PodConfig, runtime::config::ContainerConfig), StartError> {
        self.shared.prepare_for_files(record).await
    }

    pub fn figures(&self) -> Figures {
        let of = |count: &std::sync::atomic::AtomicU64| count.load(std::sync::atomic::Ordering::Relaxed);
        Figures { passes: of(&self.shared.passes), failures: of(&self.shared.failures), workers: lock(&self.workers).len() }
    }

    /// Tells the worker to look again.
    pub fn wake(&self, uid: &PodId) {
        self.send(uid, Message::Wake);
    }

    /// Lets each worker finish the step that it is in, and writes down what they know. Containers run on.
    pub async fn shutdown(&self) {
        self.shared.stop();
        let handles: Vec<_> = lock(&self.workers).drain().map(|(_, handle)| handle.task).collect();
        for task in handles {
            if let Err(error) = task.await {
                tracing::error!(%error, "a worker did not end well");
            }
        }
    }

    fn record(&self, uid: &PodId) -> Result<Arc<ContainerRecord>, ActionError> {
        let missing = || StoreError::NotFound { kind: "container", key: uid.to_string() };
        self.shared.store.container_by_uid(uid).ok_or_else(missing).map_err(ActionError::Store)
    }

    /// Writes a wish down and waits until it is carried out.
    async fn wish(&self, uid: &PodId, desired: Desired, what: &'static str, within: u64) -> Result<Arc<ContainerRecord>, ActionError> {
        let wished = self.shared.store.set_desired(uid, None, desired).await?;
        crate::crash_point!("reconcile.wished");
        self.wait_until(uid, Until::Served(wished.wish.serial), what, within).await?;
        // With autoRemove it may be gone already: then the last that was known of it.
        Ok(self.shared.store.container_by_uid(uid).unwrap_or(wished))
    }

    async fn wait_until(&self, uid: &PodId, until: Until, what: &'static str, within: u64) -> Result<(), ActionError> {
        if self.shared.is_stopping() {
            return Err(ActionError::ShuttingDown);
        }
        let (reply, answer) = oneshot::channel();
        self.send(uid, Message::Wait { until, reply });
        match tokio::time::timeout(Duration::from_secs(within), answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => match self.shared.store.container_by_uid(uid) {
                None => Ok(()),
                Some(_) => Err(ActionError::ShuttingDown),
            },
            Err(_) => {
                let name = self.record(uid).map_or_else(|_| uid.to_string(), |record| record.meta.name.clone());
                Err(ActionError::Deadline { name, what, seconds: within })
            }
        }
    }

    /// Why a worker does not answer.
    fn ended(&self, uid: &PodId) -> ActionError {
        match self.record(uid) {
            Ok(_) => ActionError::ShuttingDown,
            Err(error) => error,
        }
    }

    fn send(&self, uid: &PodId, message: Message) {
        if self.shared.is_stopping() {
            return;
        }
        let mut workers = lock(&self.workers);
        let message = match workers.get(uid) {
            Some(handle) => match handle.mailbox.send(message) {
                Ok(()) => return,
                // The worker saw the row go. What was asked for is answered by the reply's end.
                Err(mpsc::error::SendError(message)) => message,
            },
            None => message,
        };
        if self.shared.store.container_by_uid(uid).is_none() {
            workers.remove(uid);
            return;
        }
        // A container that was made after the sweep has nothing on the machine.
        let observed = self.swept.load(Ordering::Acquire).then_some(Observed::NoShim);
        let handle = self.spawn(uid, observed);
        let _ = handle.mailbox.send(message);
        workers.insert(uid.clone(), handle);
    }

    fn ensure_worker(&self, uid: &PodId, observed: Option<Observed>) {
        lock(&self.workers).entry(uid.clone()).or_insert_with(|| self.spawn(uid, observed));
    }

    fn spawn(&self, uid: &PodId, observed: Option<Observed>) -> Handle {
        let (mailbox, messages) = mpsc::unbounded_channel();
        let worker = Worker::new(uid.clone(), Arc::clone(&self.shared), messages, observed);
        let (workers, own) = (Arc::downgrade(&self.workers), uid.clone());
        let task = tokio::spawn(async move {
            worker.run().await;
            if let Some(workers) = workers.upgrade() {
                lock(&workers).remove(&own);
            }
        });
        Handle { mailbox, task }
    }

    fn mark_swept(&self) {
        self.swept.store(true, Ordering::Release);
    }
}

/// A change that did not come to be.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError<E> {
    #[error(transparent)]
    Action(#[from] ActionError),
    #[error("the change was refused")]
    Refused(E),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wrong_state(record: &ContainerRecord, state: &'static str) -> ActionError {
    ActionError::WrongState { name: record.meta.name.clone(), state }
}

fn is_wanted_running(record: &ContainerRecord) -> bool {
    matches!(record.wish.desired, Desired::Running { .. }) && record.progress.served == record.wish.serial
}

/// Seconds that the container is given to end.
fn grace(record: &ContainerRecord, stop: &Stop) -> u64 {
    stop.grace_seconds.or(record.spec.stop_timeout_seconds).unwrap_or(plan::DEFAULT_GRACE)
}
