//! The event log: the newest in memory, the rest on disk, all of them in order and never twice.

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::Row;
use tokio::sync::broadcast;

use super::Store;
use super::error::StoreError;
use super::statement::Piece;
use crate::model::Event;
use crate::model::event::NewEvent;

/// An event and its JSON text.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRecord {
    pub event: Event,
    pub json: Box<str>,
}

impl EventRecord {
    pub(super) fn new(event: Event) -> Result<Self, StoreError> {
        let json = serde_json::to_string(&event).map_err(StoreError::encode("event"))?;
        Ok(EventRecord { event, json: json.into() })
    }

    fn parse(sequence: i64, json: String) -> Result<Self, StoreError> {
        let event = serde_json::from_str(&json).map_err(|source| StoreError::Decode {
            what: "event",
            key: sequence.to_string(),
            source: Arc::new(source),
        })?;
        Ok(EventRecord { event, json: json.into() })
    }

    pub(super) fn insert(&self) -> Piece {
        let object = &self.event.involved_object;
        Piece::new(
            "INSERT INTO events (sequence, time, kind, name, uid, reason, document) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                self.event.sequence.into(),
                self.event.time.to_string().into(),
                object.kind.as_str().into(),
                object.name.as_str().into(),
                object.uid.as_str().into(),
                self.event.reason.as_str().into(),
                self.json.as_ref().into(),
            ],
        )
    }
}

/// Which events; absent fields match all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// `Container`, `Image`, …; case does not matter.
    pub kind: Option<String>,
    /// The object's name or uid.
    pub name: Option<String>,
    pub reason: Option<String>,
    /// Only events at or after this time.
    pub not_before: Option<Timestamp>,
}

impl EventFilter {
    pub fn matches(&self, event: &Event) -> bool {
        let object = &event.involved_object;
        self.kind.as_ref().is_none_or(|kind| kind.eq_ignore_ascii_case(&object.kind))
            && self.name.as_ref().is_none_or(|name| *name == object.name || *name == object.uid)
            && self.reason.as_ref().is_none_or(|reason| *reason == event.reason)
            && self.not_before.is_none_or(|time| event.time >= time)
    }
}

impl Store {
    /// At most `limit` matching events with a sequence number above `since`, oldest first.
    ///
    /// Who caused an event and then asks finds it: what was staged before is waited for. The newest are answered from memory; only a reader
    /// that goes further back opens the database, read-only and for this one look.
    pub async fn events_since(&self, since: u64, filter: &EventFilter, limit: usize) -> Result<Vec<Arc<EventRecord>>, StoreError> {
        self.inner.writer.settled().await;
        let from_memory = self.inner.publisher.recent(|recent| {
            let complete = recent.front().is_none_or(|oldest| oldest.event.sequence <= since.saturating_add(1))
                || self.all_events_in_memory(recent.len());
            let wanted = |event: &&Arc<EventRecord>| event.event.sequence > since && filter.matches(&event.event);
            complete.then(|| recent.iter().filter(wanted).take(limit).cloned().collect())
        });
        match from_memory {
            Some(events) => Ok(events),
            None => self.events_on_disk(since, filter, limit).await,
        }
    }

    /// Before the ring has ever been full, nothing older than its oldest entry exists.
    fn all_events_in_memory(&self, in_ring: usize) -> bool {
        in_ring < super::publish::Publisher::RECENT_EVENTS
    }

    pub(super) async fn events_on_disk(&self, since: u64, filter: &EventFilter, limit: usize) -> Result<Vec<Arc<EventRecord>>, StoreError> {
        let mut connection = self.open_reader().await?;
        let mut found = Vec::new();
        let mut after = i64::try_from(since).unwrap_or(i64::MAX);
        loop {
            let rows = sqlx::query("SELECT sequence, document FROM events WHERE sequence > ? ORDER BY sequence LIMIT 1000")
                .bind(after)
                .fetch_all(&mut connection)
                .await
                .map_err(StoreError::read("events"))?;
            for row in &rows {
                after = row.get(0);
                let record = EventRecord::parse(after, row.get(1))?;
                if filter.matches(&record.event) {
                    found.push(Arc::new(record));
                }
                if found.len() == limit {
                    return Ok(found);
                }
            }
            if rows.len() < 1000 {
                return Ok(found);
            }
        }
    }

    /// Every event from now on, as it becomes durable. A follower that falls too far behind gets `Lagged` and asks [`Self::events_since`].
    pub fn follow_events(&self) -> broadcast::Receiver<Arc<EventRecord>> {
        self.inner.publisher.follow()
    }

    /// Events that belong to no change of a resource.
    pub async fn record_event(&self, event: NewEvent) -> Result<(), StoreError> {
        self.inner.writer.write(|stage| stage.event(event))?.durable().await
    }

    pub(super) async fn load_recent_events(connection: &mut sqlx::SqliteConnection) -> Result<Vec<Arc<EventRecord>>, StoreError> {
        let limit = i64::try_from(super::publish::Publisher::RECENT_EVENTS).unwrap_or(i64::MAX);
        let rows = sqlx::query("SELECT sequence, document FROM events ORDER BY sequence DESC LIMIT ?")
            .bind(limit)
            .fetch_all(connection)
            .await
            .map_err(StoreError::read("events"))?;
        rows.iter().rev().map(|row| EventRecord::parse(row.get(0), row.get(1)).map(Arc::new)).collect()
    }
}
