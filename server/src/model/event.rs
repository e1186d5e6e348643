//! What happened, in order: one durable record a fact.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One entry of the event log. The log is append-only and keeps the newest entries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Always `Event`.
    pub kind: String,
    /// Grows with each event; the `id` of a server-sent event and what `since` takes.
    pub sequence: u64,
    /// RFC 3339, UTC: when it happened, which is before it was written down.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    #[serde(rename = "type")]
    pub severity: Severity,
    pub involved_object: ObjectReference,
    /// CamelCase cause: `Created`, `Started`, `Exited`, `OOMKilled`, `Deleted`, …
    #[schema(example = "Started")]
    pub reason: String,
    /// For people.
    #[schema(example = "the container was started")]
    pub message: String,
    /// For programs: `exitCode`, `signal`, `attempt`, …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// Kubernetes' event types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Severity {
    #[default]
    Normal,
    Warning,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// `Container`, `Image`, `Volume`, …
    pub kind: String,
    #[schema(example = "web")]
    pub name: String,
    #[schema(example = "01936c8e6f7a7c319d2b5a8f0e4b1c77")]
    pub uid: String,
}

/// An event that has no sequence number yet.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    pub time: Timestamp,
    pub severity: Severity,
    pub involved_object: ObjectReference,
    pub reason: &'static str,
    pub message: String,
    pub attributes: BTreeMap<String, String>,
}

impl NewEvent {
    /// A normal event without attributes.
    pub fn new(time: Timestamp, involved_object: ObjectReference, reason: &'static str, message: impl Into<String>) -> Self {
        NewEvent { time, severity: Severity::Normal, involved_object, reason, message: message.into(), attributes: BTreeMap::new() }
    }

    #[must_use]
    pub fn warning(self) -> Self {
        NewEvent { severity: Severity::Warning, ..self }
    }

    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.attributes.insert(key.to_owned(), value.to_string());
        self
    }

    pub fn numbered(self, sequence: u64) -> Event {
        Event {
            kind: "Event".to_owned(),
            sequence,
            time: self.time,
            severity: self.severity,
            involved_object: self.involved_object,
            reason: self.reason.to_owned(),
            message: self.message,
            attributes: self.attributes,
        }
    }
}
