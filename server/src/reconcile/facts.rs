//! What was observed, into the status: each start and each end once, with its event, and what the restart policy makes of an end.

use jiff::{SignedDuration, Timestamp};
use runtime::status::{ContainerReport, ContainerState, Exit};

use super::backoff;
use super::observe::Observed;
use super::plan::{Look, Plan, StartFailed};
use crate::model::container::RestartPolicyName;
use crate::model::event::NewEvent;
use crate::model::{ContainerStatus, Phase, signal};
use crate::store::Desired;

/// How a program ended, from whatever source.
struct End {
    attempt: u32,
    code: i32,
    signal: Option<i32>,
    reason: &'static str,
    message: Option<String>,
    oom_killed: bool,
    memory_peak: Option<u64>,
    started_at: Option<Timestamp>,
    finished_at: Timestamp,
    /// The program never ran.
    failed_start: bool,
}

pub(super) fn write_down(look: &Look<'_>, plan: &mut Plan) {
    let report = look.observed.container(&look.record.meta.name);
    if let Some(report) = report {
        write_oom_kills(look, plan, report);
    }
    if let Some(failed) = look.failure.filter(|failed| plan.progress.recorded < Some(failed.attempt)) {
        return write_failed_start(look, plan, failed);
    }
    match (look.observed, report.map(|report| (report, &report.state))) {
        (Observed::Live(_), Some((report, ContainerState::Running { .. }))) => write_running(look, plan, report),
        (_, Some((report, ContainerState::Stopped { exit }))) if plan.progress.recorded < Some(report.attempt) => {
            if plan.progress.noted < Some(report.attempt) && exit.failure.is_none() {
                note_start(look, plan, report.attempt, exit.started_at.unwrap_or(exit.finished_at), None);
            }
            write_end(look, plan, end_of(report.attempt, exit));
        }
        // It ran when it was last seen, and nobody saw it end.
        (Observed::NoShim | Observed::ShimLost { .. }, _) if plan.progress.noted > plan.progress.recorded => {
            let end = lost(look, plan);
            write_end(look, plan, end);
        }
        _ => {}
    }
}

fn write_oom_kills(look: &Look<'_>, plan: &mut Plan, report: &ContainerReport) {
    let known = if plan.progress.noted < Some(report.attempt) { 0 } else { plan.status.oom_kills };
    if report.oom_kills > known {
        let message = format!("The kernel ended a process for want of memory: {} so far", report.oom_kills);
        plan.events.push(event(look, "OOMKill", message).warning().with("oomKills", report.oom_kills));
    }
    plan.status.oom_kills = report.oom_kills;
}

fn write_failed_start(look: &Look<'_>, plan: &mut Plan, failed: &StartFailed) {
    plan.progress.attempts = plan.progress.attempts.max(failed.attempt + 1);
    if plan.status.phase == Phase::Restarting {
        plan.status.restart_count += 1;
    }
    let end = End {
        attempt: failed.attempt,
        code: failed.exit_code,
        signal: None,
        reason: "StartError",
        message: Some(failed.message.clone()),
        oom_killed: false,
        memory_peak: None,
        started_at: None,
        finished_at: look.now,
        failed_start: true,
    };
    write_end(look, plan, end);
}

fn event(look: &Look<'_>, reason: &'static str, message: impl Into<String>) -> NewEvent {
    NewEvent::new(look.now, look.record.reference(), reason, message)
}

/// A new attempt is known to have begun.
fn note_start(look: &Look<'_>, plan: &mut Plan, attempt: u32, at: Timestamp, pid: Option<i32>) {
    let message = pid.map_or_else(|| "Started".to_owned(), |pid| format!("Started with pid {pid}"));
    plan.events.push(NewEvent { time: at, ..event(look, "Started", message).with("attempt", attempt) });
    let asked_for = plan.progress.served < look.record.wish.serial;
    plan.progress.attempts = plan.progress.attempts.max(attempt + 1);
    plan.progress.noted = Some(attempt);
    plan.progress.signalled_at = None;
    plan.progress.killed_at = None;
    if asked_for {
        plan.progress.delay_ms = 0;
        plan.status.restart_count = 0;
    } else if plan.status.phase == Phase::Restarting {
        plan.status.restart_count += 1;
    }
    if let Desired::Running { .. } = look.record.wish.desired {
        plan.progress.served = look.record.wish.serial;
    }
}

fn write_running(look: &Look<'_>, plan: &mut Plan, report: &ContainerReport) {
    let ContainerState::Running { pid, started_at, paused } = &report.state else { return };
    if plan.progress.noted < Some(report.attempt) {
        note_start(look, plan, report.attempt, *started_at, Some(*pid));
        // The limits that it was started with.
        plan.status.observed_generation = look.applied.unwrap_or(plan.status.observed_generation);
    } else if *paused != (plan.status.phase == Phase::Paused) {
        plan.events.push(if *paused {
            event(look, "Paused", "All processes are frozen")
        } else {
            event(look, "Unpaused", "All processes go on")
        });
    }
    plan.status = ContainerStatus {
        phase: if *paused { Phase::Paused } else { Phase::Running },
        pid: Some(*pid),
        started_at: Some(*started_at),
        finished_at: None,
        exit_code: None,
        signal: None,
        oom_killed: false,
        memory_peak: None,
        reason: None,
        message: None,
        next_restart_at: None,
        conditions: report.conditions.clone(),
        ..std::mem::take(&mut plan.status)
    };
}

fn end_of(attempt: u32, exit: &Exit) -> End {
    let failed = exit.failure.as_ref();
    let reason = match exit {
        Exit { failure: Some(_), .. } => "StartError",
        Exit { oom_killed: true, .. } => "OOMKilled",
        Exit { code: 0, .. } => "Completed",
        _ => "Error",
    };
    End {
        attempt,
        code: exit.code,
        signal: exit.signal,
        reason,
        message: failed.map(ToString::to_string),
        oom_killed: exit.oom_killed,
        memory_peak: exit.memory_peak,
        started_at: exit.started_at,
        finished_at: exit.finished_at,
        failed_start: failed.is_some(),
    }
}

/// The processes of a shim that dies are killed with it; so they are by the end of the machine.
fn lost(look: &Look<'_>, plan: &Plan) -> End {
    let message = match look.observed {
        Observed::ShimLost { .. } => "The shim died, and the container with it",
        _ => "The machine was restarted, or the container was removed by hand",
    };
    End {
        attempt: plan.progress.noted.unwrap_or(0),
        code: 128 + signal::SIGKILL,
        signal: Some(signal::SIGKILL),
        reason: "ShimLost",
        message: Some(message.to_owned()),
        oom_killed: false,
        memory_peak: None,
        started_at: plan.status.started_at,
        finished_at: look.now,
        failed_start: false,
    }
}

fn write_end(look: &Look<'_>, plan: &mut Plan, end: End) {
    let never_ran = end.failed_start && plan.progress.noted.is_none();
    plan.progress.recorded = Some(end.attempt);
    let asked_for = plan.progress.served < look.record.wish.serial && plan.progress.signalled != Some(look.record.wish.serial);
    let restart_at = next_restart(look, plan, &end, asked_for);
    plan.events.push(end_event(look, &end));
    plan.status = ContainerStatus {
        phase: match restart_at {
            Some(_) => Phase::Restarting,
            None if never_ran => Phase::Created,
            None => Phase::Exited,
        },
        pid: None,
        started_at: if end.failed_start { plan.status.started_at } else { end.started_at },
        finished_at: if never_ran { None } else { Some(end.finished_at) },
        exit_code: Some(end.code),
        signal: end.signal.map(signal::name),
        oom_killed: end.oom_killed,
        memory_peak: end.memory_peak,
        reason: Some(end.reason.to_owned()),
        message: end.message,
        next_restart_at: restart_at,
        ..std::mem::take(&mut plan.status)
    };
    // A start that was asked for was tried: it is not tried again unasked.
    if end.failed_start && asked_for && matches!(look.record.wish.desired, Desired::Running { .. }) {
        plan.progress.served = look.record.wish.serial;
    }
}

fn end_event(look: &Look<'_>, end: &End) -> NewEvent {
    let (reason, message) = match (end, end.signal) {
        (End { failed_start: true, message, .. }, _) => ("StartFailed", message.clone().unwrap_or_default()),
        (End { reason: "ShimLost", message, .. }, _) => ("ShimLost", message.clone().unwrap_or_default()),
        (End { oom_killed: true, .. }, _) => ("Exited", "Killed by the kernel for want of memory".to_owned()),
        (_, Some(number)) => ("Exited", format!("Killed by {}", signal::name(number))),
        (_, None) => ("Exited", format!("Exit code {}", end.code)),
    };
    let event = event(look, reason, message).with("exitCode", end.code).with("attempt", end.attempt).with("reason", end.reason);
    let event = NewEvent { time: end.finished_at, ..event };
    if end.code == 0 { event } else { event.warning() }
}

/// When the restart policy starts it again. The policy has no say over a start or an end that the user asked for.
fn next_restart(look: &Look<'_>, plan: &mut Plan, end: &End, asked_for: bool) -> Option<Timestamp> {
    let wanted = matches!(look.record.wish.desired, Desired::Running { .. });
    let stopped_for_restart = plan.progress.served < look.record.wish.serial;
    if !wanted || stopped_for_restart || (end.failed_start && asked_for) || plan.progress.killed == Some(end.attempt) {
        return None;
    }
    let policy = &look.record.spec.restart_policy;
    let again = match policy.name {
        RestartPolicyName::No => false,
        RestartPolicyName::OnFailure => end.code != 0 && policy.maximum_retry_count.is_none_or(|most| plan.status.restart_count < most),
        RestartPolicyName::Always | RestartPolicyName::UnlessStopped => true,
    };
    if !again {
        return None;
    }
    let ran = end.started_at.filter(|_| !end.failed_start).map(|started| end.finished_at.duration_since(started));
    plan.progress.delay_ms = backoff::restart_delay(plan.progress.delay_ms, ran);
    let delay = SignedDuration::from_millis(i64::try_from(plan.progress.delay_ms).unwrap_or(i64::MAX));
    // From now, not from the end: after a long absence of the control plane all ends are long ago.
    Some(look.now.saturating_add(delay).unwrap_or(Timestamp::MAX))
}
