//! The heart, and pure: wish × observation × time → facts to write down, actions to take, and when to look again.
//!
//! ```text
//!            +-- Created --start--> Running <--pause/unpause--> Paused
//!            |      ^ failed          |
//!            |      | start           | exit, written down (facts.rs)
//!            v      |                 v
//!         deleted <----- Exited <--- policy? ---> Restarting (next_restart_at) --start--> Running
//! ```
//!
//! Level-triggered: the same look always gives the same plan, however it came to be; a met wish plans nothing. Facts are written before
//! anything is destroyed that they were read from.

use jiff::{SignedDuration, Timestamp};
use runtime::status::ContainerState;

use super::facts;
use super::observe::Observed;
use crate::model::event::NewEvent;
use crate::model::{ContainerStatus, Phase, signal};
use crate::store::{ContainerRecord, Desired, Progress, RESTORED, Stop};

/// Seconds between the stop signal and SIGKILL when nobody says otherwise; Docker's.
pub(super) const DEFAULT_GRACE: u64 = 10;
/// SIGKILL is not ignored, but it may be sent to a process in the middle of a system call that cannot be interrupted.
const KILL_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// Everything that a plan is made from.
#[derive(Debug)]
pub(super) struct Look<'a> {
    pub(super) record: &'a ContainerRecord,
    pub(super) observed: &'a Observed,
    /// The last start did not succeed.
    pub(super) failure: Option<&'a StartFailed>,
    /// The generation whose limits are in force, or were refused.
    pub(super) applied: Option<u64>,
    /// Of the spec, or else of the image.
    pub(super) stop_signal: i32,
    pub(super) now: Timestamp,
}

/// A start that ended before the program ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StartFailed {
    pub(super) attempt: u32,
    /// 127 no such program, 126 not executable, 125 a failure of ours.
    pub(super) exit_code: i32,
    pub(super) message: String,
}

/// One step towards the wish. Each may be done twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Shim, sandbox, container and program in one go.
    Start {
        attempt: u32,
    },
    Signal {
        signal: i32,
        all: bool,
    },
    Pause,
    Resume,
    /// Brings the limits in force to those of the spec.
    Update,
    /// Ends a living shim and undoes its sandbox.
    StopPod,
    /// Clears what a dead shim left, with `data` also the files.
    Clean {
        data: bool,
    },
    /// The row; with `volumes` first the volumes that were made for it alone.
    Remove {
        volumes: bool,
    },
}

impl Action {
    /// What it destroys was read for the facts: they must be durable first.
    pub(super) fn destroys(&self) -> bool {
        matches!(self, Action::StopPod | Action::Clean { .. } | Action::Remove { .. })
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) status: ContainerStatus,
    pub(super) progress: Progress,
    pub(super) events: Vec<NewEvent>,
    pub(super) actions: Vec<Action>,
    pub(super) look_again: Option<Timestamp>,
}

/// What the program is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Running { paused: bool },
    Ended,
}

pub(super) fn plan(look: &Look<'_>) -> Plan {
    let mut plan = Plan {
        status: ContainerStatus::clone(&look.record.status),
        progress: look.record.progress.clone(),
        events: Vec::new(),
        actions: Vec::new(),
        look_again: None,
    };
    facts::write_down(look, &mut plan);
    let program = match (look.observed, look.observed.container(&look.record.meta.name).map(|c| &c.state)) {
        (Observed::Live(_), Some(ContainerState::Running { paused, .. })) => Program::Running { paused: *paused },
        _ => Program::Ended,
    };
    if program == Program::Ended {
        // A start takes the newest limits.
        plan.status.observed_generation = look.record.meta.generation;
    }
    match &look.record.wish.desired {
        Desired::Created => ended(look, &mut plan, program, &Stop::default()),
        Desired::Running { paused, restart } => running(look, &mut plan, program, *paused, restart.as_ref()),
        Desired::Stopped { stop } => ended(look, &mut plan, program, stop),
        Desired::Deleted { stop, volumes } => deleted(look, &mut plan, program, stop, *volumes),
    }
    plan
}

fn is_new(look: &Look<'_>, plan: &Plan) -> bool {
    plan.progress.served < look.record.wish.serial
}

fn serve(look: &Look<'_>, plan: &mut Plan) {
    plan.progress.served = look.record.wish.serial;
}

fn running(look: &Look<'_>, plan: &mut Plan, program: Program, pause: bool, restart: Option<&Stop>) {
    match (program, restart) {
        (Program::Running { paused }, Some(stop)) if is_new(look, plan) => end_program(look, plan, paused, stop),
        (Program::Running { paused }, _) => keep_running(look, plan, paused, pause),
        (Program::Ended, _) if is_new(look, plan) => start(look, plan),
        (Program::Ended, _) if plan.status.phase == Phase::Restarting => match plan.status.next_restart_at {
            Some(at) if at > look.now => {
                clear(look, plan);
                plan.look_again = Some(at);
            }
            _ => start(look, plan),
        },
        (Program::Ended, _) if look.record.spec.auto_remove && plan.progress.attempts > 0 => delete_now(look, plan, true),
        (Program::Ended, _) => clear(look, plan),
    }
}

fn keep_running(look: &Look<'_>, plan: &mut Plan, paused: bool, pause: bool) {
    if is_new(look, plan) && paused != pause {
        plan.actions.push(if pause { Action::Pause } else { Action::Resume });
    } else {
        serve(look, plan);
    }
    apply_limits(look, plan);
}

/// Limits of a running program follow the spec; one that does not run gets them when it starts.
fn apply_limits(look: &Look<'_>, plan: &mut Plan) {
    let wanted = look.record.meta.generation;
    if look.applied == Some(wanted) {
        plan.status.observed_generation = wanted;
    } else if plan.status.observed_generation != wanted {
        plan.actions.push(Action::Update);
    }
}

/// A new sandbox each time, in an empty place.
fn start(look: &Look<'_>, plan: &mut Plan) {
    clear(look, plan);
    plan.actions.push(Action::Start { attempt: plan.progress.attempts });
}

/// Nothing is to run.
fn ended(look: &Look<'_>, plan: &mut Plan, program: Program, stop: &Stop) {
    match program {
        Program::Running { paused } => end_program(look, plan, paused, stop),
        Program::Ended => {
            if plan.status.phase == Phase::Restarting {
                plan.status.phase = Phase::Exited;
                plan.status.next_restart_at = None;
            }
            serve(look, plan);
            // What somebody has just brought back is not to go at once.
            let restored = plan.status.reason.as_deref() == Some(RESTORED);
            if look.record.spec.auto_remove && plan.progress.attempts > 0 && !restored {
                delete_now(look, plan, true);
            } else {
                clear(look, plan);
            }
        }
    }
}

fn deleted(look: &Look<'_>, plan: &mut Plan, program: Program, stop: &Stop, volumes: bool) {
    match program {
        Program::Running { paused } => end_program(look, plan, paused, stop),
        Program::Ended => delete_now(look, plan, volumes),
    }
}

fn delete_now(look: &Look<'_>, plan: &mut Plan, volumes: bool) {
    if matches!(look.observed, Observed::Live(_)) {
        plan.actions.push(Action::StopPod);
    }
    // What was never asked to run may have files as well: they can be copied into it.
    plan.actions.push(Action::Clean { data: true });
    plan.actions.push(Action::Remove { volumes });
}

/// Nothing of a sandbox is to be left but its files.
fn clear(look: &Look<'_>, plan: &mut Plan) {
    match look.observed {
        Observed::NoShim => {}
        Observed::ShimLost { .. } => plan.actions.push(Action::Clean { data: false }),
        Observed::Live(_) => plan.actions.push(Action::StopPod),
    }
}

/// The stop signal once for each wish, then SIGKILL to everything.
fn end_program(look: &Look<'_>, plan: &mut Plan, paused: bool, stop: &Stop) {
    let wish = look.record.wish.serial;
    let grace = stop.grace_seconds.or(look.record.spec.stop_timeout_seconds).unwrap_or(DEFAULT_GRACE);
    if plan.progress.signalled != Some(wish) {
        plan.progress.signalled = Some(wish);
        plan.progress.signalled_at = Some(look.now);
        plan.progress.killed_at = None;
        if grace > 0 {
            let signal = stop.signal.unwrap_or(look.stop_signal);
            let message = format!("Sent {}, SIGKILL after {grace} s", signal::name(signal));
            plan.events.push(NewEvent::new(look.now, look.record.reference(), "Stopping", message));
            plan.actions.push(Action::Signal { signal, all: false });
            // A frozen process hears nothing.
            if paused {
                plan.actions.push(Action::Resume);
            }
        }
    }
    let signalled = plan.progress.signalled_at.unwrap_or(look.now);
    let grace = SignedDuration::from_secs(i64::try_from(grace).unwrap_or(i64::MAX));
    let deadline = signalled.saturating_add(grace).unwrap_or(Timestamp::MAX);
    if look.now < deadline {
        plan.look_again = Some(deadline);
        return;
    }
    let again = plan.progress.killed_at.and_then(|at| at.checked_add(KILL_AGAIN).ok());
    match again.filter(|again| *again > look.now) {
        Some(again) => plan.look_again = Some(again),
        None => {
            if plan.progress.killed_at.is_none() {
                plan.events.push(NewEvent::new(look.now, look.record.reference(), "Killing", "Sent SIGKILL to all processes"));
            }
            plan.progress.killed_at = Some(look.now);
            plan.actions.push(Action::Signal { signal: signal::SIGKILL, all: true });
            if paused {
                plan.actions.push(Action::Resume);
            }
            plan.look_again = look.now.checked_add(KILL_AGAIN).ok();
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
