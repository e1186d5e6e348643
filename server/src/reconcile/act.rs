//! Doing one action of a plan, and learning what came of it.

use runtime::error::RuntimeError;
use runtime::id::ContainerName;
use runtime::protocol::ShimRequest;

use super::error::{ActionError, StartError};
use super::observe::Observed;
use super::plan::{Action, StartFailed};
use super::worker::Worker;
use crate::crash_point;
use crate::model::event::NewEvent;
use crate::node::convert;
use crate::node::{Attachment, NodeError};
use crate::store::ContainerRecord;

pub(super) enum Outcome {
    /// As planned: the next action may follow.
    Done,
    /// Something else is true now than the plan was made for: plan anew.
    Changed,
    /// The container's row is gone.
    Gone,
    /// To be tried again after a while.
    Failed(ActionError),
}

/// How a start went.
enum Started {
    Running,
    /// The user is told, and the status says so.
    Failed(StartError),
    /// Somebody else's trace is in the way, or the launcher is away: look and try again.
    Retry(NodeError),
}

impl Worker {
    pub(super) async fn act(&mut self, record: &ContainerRecord, action: &Action) -> Outcome {
        tracing::debug!(container = %self.uid, name = record.meta.name, ?action, "act");
        let Ok(name) = convert::name(record) else {
            let state = "has a name that the runtime does not take";
            return Outcome::Failed(ActionError::WrongState { name: record.meta.name.clone(), state });
        };
        match action {
            Action::Start { attempt } => self.start(record, *attempt).await,
            Action::Signal { signal, all } => {
                let sent = self.shared.node().kill(&self.uid, &name, *signal, *all).await;
                self.known_or_look(sent)
            }
            Action::Pause => self.set_paused(record, name, true).await,
            Action::Resume => self.set_paused(record, name, false).await,
            Action::Update => self.update(record, name).await,
            Action::StopPod => self.stop_pod().await,
            Action::Clean { data } => self.clean(*data).await,
            Action::Remove { volumes } => self.remove(record, *volumes).await,
        }
    }

    /// A refusal means that the container is no longer what it was taken for.
    fn known_or_look(&mut self, outcome: Result<(), NodeError>) -> Outcome {
        match outcome {
            Ok(()) => Outcome::Done,
            Err(NodeError::Refused(_) | NodeError::NoShim { .. } | NodeError::ShimGone { .. }) => {
                self.look_anew();
                Outcome::Changed
            }
            Err(error) => Outcome::Failed(error.into()),
        }
    }

    async fn start(&mut self, record: &ContainerRecord, attempt: u32) -> Outcome {
        match self.try_start(record, attempt).await {
            Started::Running => {
                self.applied = Some(record.meta.generation);
                Outcome::Changed
            }
            Started::Failed(error) => {
                let failed = StartFailed { attempt, exit_code: error.exit_code(), message: super::worker::chain(&error) };
                self.failure = Some((failed, error));
                Outcome::Changed
            }
            Started::Retry(error) => Outcome::Failed(error.into()),
        }
    }

    async fn try_start(&mut self, record: &ContainerRecord, attempt: u32) -> Started {
        let (pod, container) = match self.shared.prepare(record, attempt).await {
            Ok(configs) => configs,
            Err(error) => return Started::Failed(error),
        };
        if let Err(error) = self.shared.node().start_shim(pod).await {
            return match error {
                NodeError::Refused(RuntimeError::Conflict { .. } | RuntimeError::Busy { .. }) | NodeError::Launcher { .. } => {
                    Started::Retry(error)
                }
                error => {
                    // Whether the shim began is not known.
                    self.look_anew();
                    self.look_after_failure().await;
                    Started::Failed(error.into())
                }
            };
        }
        crash_point!("reconcile.start.shim");
        let outcome = self.shared.node().run(&self.uid, container).await;
        crash_point!("reconcile.start.run");
        match outcome {
            Ok((Attachment { report, notices }, started)) => {
                self.observed = Some(Observed::Live(report));
                self.notices = Some(notices);
                match started {
                    Ok(report) => {
                        if let Some(observed) = &mut self.observed {
                            observed.learn_report(report);
                        }
                        Started::Running
                    }
                    Err(error) => Started::Failed(error.into()),
                }
            }
            Err(error) => {
                self.look_anew();
                self.look_after_failure().await;
                Started::Failed(error.into())
            }
        }
    }

    /// A failed start is written down together with what it left, so that the next plan clears it.
    async fn look_after_failure(&mut self) {
        if let Ok((observed, notices)) = super::observe::look(self.shared.node(), &self.uid).await {
            self.observed = Some(observed);
            self.notices = notices;
        }
    }

    async fn set_paused(&mut self, record: &ContainerRecord, name: ContainerName, paused: bool) -> Outcome {
        let container = name.clone();
        let request = if paused { ShimRequest::Pause { container } } else { ShimRequest::Resume { container } };
        let outcome = self.shared.node().shim_done(&self.uid, request, "pause").await;
        match (outcome, &mut self.observed) {
            (Ok(()), Some(observed)) => {
                observed.learn_paused(&name, paused);
                Outcome::Changed
            }
            (Err(NodeError::Refused(error)), _) if matches!(record.wish.desired, crate::store::Desired::Running { .. }) => {
                match self.give_up(record, NodeError::Refused(error).into()) {
                    Ok(()) => Outcome::Changed,
                    Err(error) => Outcome::Failed(error.into()),
                }
            }
            (outcome, _) => self.known_or_look(outcome),
        }
    }

    async fn update(&mut self, record: &ContainerRecord, name: ContainerName) -> Outcome {
        let facts = match self.shared.facts().await {
            Ok(facts) => facts,
            Err(error) => return Outcome::Failed(error.into()),
        };
        let resources = convert::resources(&record.spec.resources, convert::counts_swap(&facts));
        let request = ShimRequest::Update { container: name, resources };
        match self.shared.node().shim_done(&self.uid, request, "update").await {
            Ok(()) => {
                self.applied = Some(record.meta.generation);
                Outcome::Changed
            }
            Err(error @ NodeError::Refused(_)) => {
                self.applied = Some(record.meta.generation);
                let event = NewEvent::new(self.shared.clock().now(), record.reference(), "LimitsRefused", error.to_string()).warning();
                if let Err(error) = self.shared.store.record_event(event).await {
                    tracing::warn!(container = %self.uid, %error, "cannot write down an event");
                }
                self.refuse_limits(&error.into());
                Outcome::Changed
            }
            Err(error) => self.known_or_look(Err(error)),
        }
    }

    async fn stop_pod(&mut self) -> Outcome {
        match self.shared.node().stop_pod(&self.uid).await {
            Ok(()) => {
                crash_point!("reconcile.stopped");
                self.observed = Some(Observed::NoShim);
                self.notices = None;
                Outcome::Done
            }
            Err(NodeError::NoShim { .. } | NodeError::ShimGone { .. }) => {
                self.look_anew();
                Outcome::Changed
            }
            Err(error) => Outcome::Failed(error.into()),
        }
    }

    async fn clean(&mut self, data: bool) -> Outcome {
        match self.shared.node().clean(&self.uid, data).await {
            Ok(()) => {
                crash_point!("reconcile.cleaned");
                self.observed = Some(Observed::NoShim);
                Outcome::Done
            }
            Err(NodeError::Refused(RuntimeError::Conflict { .. })) => {
                self.look_anew();
                Outcome::Failed(ActionError::Node(NodeError::ShimGone { pod: self.uid.clone() }))
            }
            Err(error) => Outcome::Failed(error.into()),
        }
    }

    async fn remove(&mut self, record: &ContainerRecord, volumes: bool) -> Outcome {
        if volumes {
            self.remove_volumes(record).await;
        }
        let event = NewEvent::new(self.shared.clock().now(), record.reference(), "Deleted", "Container removed");
        let mut pending = match self.shared.store.remove_container(&self.uid, vec![event.clone()]) {
            Ok(pending) => pending,
            Err(error) => return Outcome::Failed(error.into()),
        };
        // The wish is durable and nothing is left but the row, which nobody sees any more: a start after a crash removes that as well. With
        // volumes something is left: they go once the row cannot come back.
        if !volumes {
            self.farewell();
        }
        while let Err(error) = pending.durable().await {
            tracing::error!(container = %self.uid, %error, "a removed container's row is still in the database");
            if self.shared.is_stopping() {
                break;
            }
            self.pause_after_failure().await;
            match self.shared.store.remove_container(&self.uid, vec![event.clone()]) {
                Ok(again) => pending = again,
                Err(_) => break,
            }
        }
        crash_point!("reconcile.removed");
        Outcome::Gone
    }

    /// Its own, before its row, by which they are found again after a crash. One that another container mounts by its name stays.
    async fn remove_volumes(&self, record: &ContainerRecord) {
        for name in record.status.volumes.values() {
            if let Err(error) = self.shared.remove_volume(name, Some(&self.uid)).await {
                tracing::info!(container = %self.uid, volume = name, %error, "volume stays");
            }
        }
    }
}
