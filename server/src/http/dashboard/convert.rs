//! From the model's words to the pages': values that more than one page shows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use web::Frame;
use web::format::Moment;
use web::pages::{Badge, Can, EventRow, Head, State};

use crate::model::event::Severity;
use crate::model::name::Reference;
use crate::model::{Event, Phase};
use crate::store::ContainerRecord;

pub(super) fn moment(time: Timestamp, now: Timestamp) -> Moment {
    Moment::new(time.to_string(), now.duration_since(time).as_secs())
}

pub(super) fn state(phase: Phase) -> State {
    match phase {
        Phase::Created => State::Created,
        Phase::Running => State::Running,
        Phase::Paused => State::Paused,
        Phase::Exited => State::Exited,
        Phase::Restarting => State::Restarting,
        Phase::Dead => State::Dead,
    }
}

pub(super) fn phase(state: State) -> Phase {
    match state {
        State::Created => Phase::Created,
        State::Running => Phase::Running,
        State::Paused => Phase::Paused,
        State::Exited => Phase::Exited,
        State::Restarting => Phase::Restarting,
        State::Dead => Phase::Dead,
    }
}

pub(super) fn badge(record: &ContainerRecord) -> Badge {
    Badge {
        state: state(record.status.phase),
        exit_code: record.status.exit_code,
        reason: record.status.reason.clone(),
        deleting: record.meta.deletion_timestamp.is_some(),
    }
}

/// The image as its user wrote it, in the short form where it is a reference.
pub(super) fn image_name(text: &str) -> String {
    text.parse::<Reference>().map_or_else(|_| text.to_owned(), |reference| reference.familiar())
}

pub(super) fn head(record: &ContainerRecord, frame: &Frame, now: Timestamp, ask_delete: bool) -> Head {
    let status = &record.status;
    let badge = badge(record);
    Head {
        name: record.meta.name.clone(),
        uid: record.meta.uid.clone(),
        can: Can::in_state(badge.state, frame.can_change(), badge.deleting),
        image: image_name(&record.spec.image),
        pid: status.pid.filter(|_| badge.state.is_up()),
        pid_inside: None,
        started: status.started_at.map(|time| moment(time, now)),
        finished: status.finished_at.map(|time| moment(time, now)),
        created: moment(record.meta.creation_timestamp, now),
        restarts: status.restart_count,
        next_restart: status.next_restart_at.map(|time| moment(time, now)),
        health: status.health.clone(),
        ask_delete,
        badge,
    }
}

pub(super) fn pairs(map: &BTreeMap<String, String>) -> Vec<(String, String)> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub(super) fn event(event: &Event, now: Timestamp) -> EventRow {
    EventRow {
        sequence: event.sequence,
        time: moment(event.time, now),
        warning: event.severity == Severity::Warning,
        kind: event.involved_object.kind.clone(),
        name: event.involved_object.name.clone(),
        uid: event.involved_object.uid.clone(),
        reason: event.reason.clone(),
        message: event.message.clone(),
        actor: event.attributes.get("actor").cloned(),
    }
}
