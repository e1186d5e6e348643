//! One task a container: it looks, plans, acts, and looks again, until there is nothing to do; then it waits for news.
//!
//! ```text
//!  news (wish, shim's event, timer) --> look --> plan --> write facts --> act --+
//!                                        ^                                      |
//!                                        +----------- until nothing is left ----+
//! ```
//!
//! One container is never driven twice at once, because only its worker acts. What is remembered between two looks can be lost: it is an
//! older look, saved.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use runtime::error::RuntimeError;
use runtime::id::PodId;
use tokio::sync::{mpsc, oneshot};

use super::act::Outcome;
use super::backoff;
use super::error::{ActionError, StartError};
use super::health::{self, Checked, Probe};
use super::observe::{self, Observed};
use super::plan::{Look, Plan, StartFailed, plan};
use super::shared::Shared;
use crate::crash_point;
use crate::model::signal::SIGKILL;
use crate::model::{ContainerStatus, Phase, signal};
use crate::node::{NodeError, Notice, convert};
use crate::store::{ContainerRecord, Pending, Progress, StoreError};

pub(super) type Reply = oneshot::Sender<Result<(), ActionError>>;

#[derive(Debug)]
pub(super) enum Message {
    /// The wish may have changed.
    Wake,
    Wait {
        until: Until,
        reply: Reply,
    },
    Kill {
        signal: i32,
        reply: Reply,
    },
}

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// The wish with this serial was carried out.
    Served(u64),
    /// The limits of this generation are in force.
    Applied(u64),
    Removed,
}

/// After so many failures of one step the callers who wait are told; the worker goes on trying.
const TELL_AFTER: u32 = 4;

pub(super) struct Worker {
    pub(super) uid: PodId,
    pub(super) shared: Arc<Shared>,
    pub(super) mailbox: mpsc::UnboundedReceiver<Message>,
    /// None when it has to be looked at.
    pub(super) observed: Option<Observed>,
    pub(super) notices: Option<mpsc::UnboundedReceiver<Notice>>,
    pub(super) failure: Option<(StartFailed, StartError)>,
    pub(super) applied: Option<u64>,
    /// What was asked for and refused, by the serial of the wish.
    pub(super) refused: Option<(u64, ActionError)>,
    waiters: Vec<(Until, Reply)>,
    /// Facts that are on their way to the disk.
    unsaved: Option<Pending<()>>,
    /// Facts did not reach the disk: they are written again though they are no news.
    rewrite: bool,
    failures: u32,
    /// While it runs and has a health check.
    health: Option<health::Watch>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("uid", &self.uid).field("observed", &self.observed).finish_non_exhaustive()
    }
}

/// What a pass came to.
enum Pass {
    /// Nothing to do before this time, or before there is news.
    Rest(Option<Timestamp>),
    /// The container is gone.
    Gone,
}

impl Worker {
    pub(super) fn new(uid: PodId, shared: Arc<Shared>, mailbox: mpsc::UnboundedReceiver<Message>, observed: Option<Observed>) -> Self {
        Worker {
            uid,
            shared,
            mailbox,
            observed,
            notices: None,
            failure: None,
            applied: None,
            refused: None,
            waiters: Vec::new(),
            unsaved: None,
            rewrite: false,
            failures: 0,
            health: None,
        }
    }

    /// Lives as long as the container's row, or until the control plane stops.
    pub(super) async fn run(mut self) {
        loop {
            let rest = match Box::pin(self.pass()).await {
                Pass::Gone => return self.farewell(),
                Pass::Rest(until) => until,
            };
            if self.shared.is_stopping() {
                return self.save().await;
            }
            if !self.news(rest).await {
                return self.save().await;
            }
        }
    }

    pub(super) fn farewell(&mut self) {
        for (_, reply) in self.waiters.drain(..) {
            let _ = reply.send(Ok(()));
        }
    }

    async fn save(&mut self) {
        if let Some(Err(error)) = self.settle().await {
            tracing::error!(container = %self.uid, %error, "facts are lost; the next start finds them again by looking");
        }
    }

    async fn settle(&mut self) -> Option<Result<(), StoreError>> {
        let pending = self.unsaved.take()?;
        let outcome = pending.durable().await;
        self.rewrite = outcome.is_err();
        Some(outcome)
    }

    /// Waits for one piece of news and takes what else is there. False when nobody can send any more.
    async fn news(&mut self, until: Option<Timestamp>) -> bool {
        let shared = Arc::clone(&self.shared);
        let timer = async {
            match until {
                Some(at) => shared.clock().sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            message = self.mailbox.recv() => match message {
                Some(message) => self.hear(message).await,
                None => return false,
            },
            notice = next_notice(&mut self.notices) => self.learn(notice),
            checked = health::next(&mut self.health) => self.hear_check(checked),
            saved = durable(&mut self.unsaved) => {
                self.unsaved = None;
                if let Err(error) = saved {
                    tracing::error!(container = %self.uid, %error, "facts did not reach the disk and are written again");
                    self.rewrite = true;
                    self.pause_after_failure().await;
                }
            },
            () = timer => {}
            () = self.shared.stopping() => return false,
        }
        while let Ok(message) = self.mailbox.try_recv() {
            self.hear(message).await;
        }
        while let Some(Ok(notice)) = self.notices.as_mut().map(mpsc::UnboundedReceiver::try_recv) {
            self.learn(Some(notice));
        }
        true
    }

    fn learn(&mut self, notice: Option<Notice>) {
        match (notice, &mut self.observed) {
            (Some(Notice::Event(event)), Some(observed)) => observed.learn(*event),
            (Some(Notice::Event(_)), None) => {}
            (Some(Notice::Gone) | None, _) => self.look_anew(),
        }
    }

    pub(super) fn look_anew(&mut self) {
        self.observed = None;
        self.notices = None;
    }

    /// Writes a health check down. One of an earlier run, or that ended while the program did, says nothing any more.
    fn hear_check(&mut self, checked: Option<Checked>) {
        let (Some(checked), Some(watch)) = (checked, &self.health) else {
            self.health = None;
            return;
        };
        let Some(record) = self.shared.store.container_by_uid(&self.uid) else { return };
        let mut status = ContainerStatus::clone(&record.status);
        if status.phase != Phase::Running || status.started_at != Some(checked.of) {
            return;
        }
        let event = health::judge(&watch.probe, &mut status, checked.result, record.reference());
        if let Err(error) = self.put(status, record.progress.clone(), event.into_iter().collect()) {
            tracing::error!(container = %self.uid, %error, "a health check is not written down");
        }
    }

    /// Checks while it runs, and only then: not while it is paused.
    fn tend_health(&mut self, record: &ContainerRecord, status: &ContainerStatus) {
        let wanted = match (status.phase, status.started_at, convert::name(record)) {
            (Phase::Running, Some(of), Ok(name)) => self.probe(record).map(|probe| (of, name, probe)),
            _ => None,
        };
        let Some((of, name, probe)) = wanted else {
            self.health = None;
            return;
        };
        if !self.health.as_ref().is_some_and(|watch| watch.of == of && watch.probe == probe) {
            self.health = Some(health::Watch::start(&self.shared, &self.uid, name, of, probe));
        }
    }

    fn probe(&self, record: &ContainerRecord) -> Option<Probe> {
        let image = self.shared.store.image_by_id(&record.image)?;
        Probe::of(&record.spec, &image.oci.config)
    }

    async fn hear(&mut self, message: Message) {
        match message {
            Message::Wake => {}
            Message::Wait { until, reply } => self.waiters.push((until, reply)),
            Message::Kill { signal, reply } => {
                let outcome = self.kill(signal).await;
                let _ = reply.send(outcome);
            }
        }
    }

    /// Until nothing is left to do.
    async fn pass(&mut self) -> Pass {
        self.shared.passes.fetch_add(1, Ordering::Relaxed);
        loop {
            let Some(record) = self.shared.store.container_by_uid(&self.uid) else { return Pass::Gone };
            if self.observed.is_none()
                && let Err(error) = self.look().await
            {
                return self.failed("look", ActionError::Node(error));
            }
            let plan = self.plan(&record);
            if let Err(error) = self.write_down(&record, &plan) {
                return self.failed("write down", ActionError::Store(error));
            }
            self.failure = None;
            self.tend_health(&record, &plan.status);
            self.answer(&plan);
            if plan.actions.is_empty() || self.shared.is_stopping() {
                self.failures = 0;
                return Pass::Rest(plan.look_again);
            }
            for action in &plan.actions {
                if action.destroys()
                    && let Some(Err(error)) = self.settle().await
                {
                    return self.failed("write down", ActionError::Store(error));
                }
                match self.act(&record, action).await {
                    Outcome::Done => {}
                    Outcome::Changed => break,
                    Outcome::Gone => return Pass::Gone,
                    Outcome::Failed(error) => return self.failed("act", error),
                }
            }
        }
    }

    async fn look(&mut self) -> Result<(), crate::node::NodeError> {
        let (observed, notices) = observe::look(self.shared.node(), &self.uid).await?;
        self.observed = Some(observed);
        self.notices = notices;
        Ok(())
    }

    fn plan(&self, record: &ContainerRecord) -> Plan {
        let image = self.shared.store.image_by_id(&record.image);
        let mut plan = plan(&Look {
            record,
            observed: self.observed.as_ref().unwrap_or(&Observed::NoShim),
            failure: self.failure.as_ref().map(|(failed, _)| failed),
            applied: self.applied,
            stop_signal: convert::stop_signal(&record.spec, image.as_deref()),
            now: self.shared.clock().now(),
        });
        if self.probe(record).is_some() {
            let runs = matches!(plan.status.phase, Phase::Running | Phase::Paused);
            health::begin(&mut plan.status, runs, record.status.started_at);
        }
        plan
    }

    /// Shown at once, durable soon.
    fn write_down(&mut self, record: &ContainerRecord, plan: &Plan) -> Result<(), StoreError> {
        let news = *record.status != plan.status || record.progress != plan.progress || !plan.events.is_empty();
        if news || self.rewrite {
            self.put(plan.status.clone(), plan.progress.clone(), plan.events.clone())?;
            crash_point!("reconcile.written");
        }
        if let Some((failed, error)) = &self.failure {
            tracing::warn!(container = %self.uid, name = record.meta.name, attempt = failed.attempt, %error, "start failed");
            self.refused = Some((record.wish.serial, ActionError::Start(error.clone())));
        }
        Ok(())
    }

    fn put(&mut self, status: ContainerStatus, progress: Progress, events: Vec<crate::model::event::NewEvent>) -> Result<(), StoreError> {
        self.unsaved = Some(self.shared.store.set_status(&self.uid, status, progress, events)?);
        self.rewrite = false;
        Ok(())
    }

    /// Those whose wait is over.
    fn answer(&mut self, plan: &Plan) {
        let refused = self.refused.clone();
        let waiters = std::mem::take(&mut self.waiters);
        for (until, reply) in waiters {
            let over = match until {
                Until::Served(serial) => plan.progress.served >= serial,
                Until::Applied(generation) => plan.status.observed_generation >= generation,
                Until::Removed => false,
            };
            if !over {
                self.waiters.push((until, reply));
                continue;
            }
            let outcome = match (until, &refused) {
                (Until::Served(serial), Some((of, error))) if *of == serial => Err(error.clone()),
                _ => Ok(()),
            };
            let _ = reply.send(outcome);
        }
    }

    /// Those who wait for limits that the host cannot give.
    pub(super) fn refuse_limits(&mut self, error: &ActionError) {
        let waiters = std::mem::take(&mut self.waiters);
        for (until, reply) in waiters {
            match until {
                Until::Applied(_) => drop(reply.send(Err(error.clone()))),
                _ => self.waiters.push((until, reply)),
            }
        }
    }

    /// Notes that a wish cannot be carried out, so that it is not tried for ever.
    pub(super) fn give_up(&mut self, record: &ContainerRecord, error: ActionError) -> Result<(), StoreError> {
        self.refused = Some((record.wish.serial, error));
        let progress = Progress { served: record.wish.serial, ..record.progress.clone() };
        self.put(ContainerStatus::clone(&record.status), progress, Vec::new())
    }

    /// Not at once: a full disk stays full for a while.
    pub(super) async fn pause_after_failure(&mut self) {
        self.failures += 1;
        let at = self.retry_at();
        self.shared.clock().sleep_until(at).await;
    }

    fn retry_at(&self) -> Timestamp {
        let delay = jiff::SignedDuration::try_from(backoff::retry_delay(self.failures)).unwrap_or_default();
        self.shared.clock().now().saturating_add(delay).unwrap_or(Timestamp::MAX)
    }

    fn failed(&mut self, step: &'static str, error: ActionError) -> Pass {
        self.failures += 1;
        self.shared.failures.fetch_add(1, Ordering::Relaxed);
        let at = self.retry_at();
        tracing::warn!(container = %self.uid, step, error = chain(&error), failures = self.failures, "will be tried again");
        self.look_anew();
        // What is busy will not be so for ever: who waits for it waits until his own deadline.
        let busy = matches!(error, ActionError::Node(NodeError::Refused(RuntimeError::Busy { .. })));
        if self.failures >= TELL_AFTER && !busy {
            for (_, reply) in self.waiters.drain(..) {
                let _ = reply.send(Err(error.clone()));
            }
        }
        Pass::Rest(Some(at))
    }

    /// A signal that the user sends. One that ends the program is the user's end, and not for the restart policy.
    async fn kill(&mut self, number: i32) -> Result<(), ActionError> {
        use runtime::status::ContainerState::Running;
        let missing = || StoreError::NotFound { kind: "container", key: self.uid.to_string() };
        let record = self.shared.store.container_by_uid(&self.uid).ok_or_else(missing)?;
        if self.observed.is_none() {
            self.look().await?;
        }
        let name = convert::name(&record).map_err(|error| ActionError::Start(error.into()))?;
        let found = self.observed.as_ref().and_then(|observed| observed.container(name.as_str()));
        let Some((attempt, paused)) =
            found.and_then(|c| if let Running { paused, .. } = c.state { Some((c.attempt, paused)) } else { None })
        else {
            return Err(ActionError::WrongState { name: record.meta.name.clone(), state: "is not running" });
        };
        let image = self.shared.store.image_by_id(&record.image);
        let before = record.progress.killed;
        if number == SIGKILL || number == convert::stop_signal(&record.spec, image.as_deref()) {
            let progress = Progress { killed: Some(attempt), ..record.progress.clone() };
            let event = crate::model::event::NewEvent::new(
                self.shared.clock().now(),
                record.reference(),
                "Killing",
                format!("Sent {} as asked", signal::name(number)),
            );
            self.put(ContainerStatus::clone(&record.status), progress, vec![event])?;
        }
        if let Err(error) = self.shared.node().kill(&self.uid, &name, number, number == SIGKILL).await {
            // It ended by itself meanwhile: that is for the restart policy.
            if let Some(record) = self.shared.store.container_by_uid(&self.uid) {
                let progress = Progress { killed: before, ..record.progress.clone() };
                self.put(ContainerStatus::clone(&record.status), progress, Vec::new())?;
            }
            return Err(error.into());
        }
        if paused && number == SIGKILL {
            // Frozen processes die when they thaw.
            let resume = runtime::protocol::ShimRequest::Resume { container: name };
            let _ = self.shared.node().shim_done(&self.uid, resume, "resume").await;
        }
        Ok(())
    }
}

async fn next_notice(notices: &mut Option<mpsc::UnboundedReceiver<Notice>>) -> Option<Notice> {
    match notices {
        Some(notices) => notices.recv().await,
        None => std::future::pending().await,
    }
}

async fn durable(unsaved: &mut Option<Pending<()>>) -> Result<(), StoreError> {
    match unsaved {
        Some(pending) => pending.settled().await,
        None => std::future::pending().await,
    }
}

/// An error with its causes, for the log.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
