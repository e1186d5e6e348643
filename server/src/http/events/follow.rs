//! The event log as a stream that misses nothing and repeats nothing.

use std::sync::Arc;

use async_stream::stream;
use axum::response::sse;
use futures_util::Stream;
use tokio::sync::broadcast::error::RecvError;

use crate::store::{EventFilter, EventRecord, Store};

/// How many are read from the log at once.
const BATCH: usize = 500;

/// Every matching event after `from`, or from now on; ends when the log cannot be read.
pub(super) fn events(store: Store, filter: EventFilter, from: Option<u64>) -> impl Stream<Item = sse::Event> {
    stream! {
        // Listening before looking: what happens in between is seen twice, and told once.
        let mut live = store.follow_events();
        let mut last = from.unwrap_or_else(|| store.resource_version());
        let mut behind = from.is_some();
        loop {
            while behind {
                let Some(events) = read(&store, last, &filter).await else { return };
                behind = events.len() == BATCH;
                for event in events {
                    last = event.event.sequence;
                    yield to_sse(&event);
                }
            }
            match live.recv().await {
                Ok(event) if event.event.sequence > last => {
                    last = event.event.sequence;
                    if filter.matches(&event.event) {
                        yield to_sse(&event);
                    }
                }
                Ok(_) => {}
                // This reader was slow: what it missed is in the log.
                Err(RecvError::Lagged(_)) => behind = true,
                Err(RecvError::Closed) => return,
            }
        }
    }
}

async fn read(store: &Store, since: u64, filter: &EventFilter) -> Option<Vec<Arc<EventRecord>>> {
    match store.events_since(since, filter, BATCH).await {
        Ok(events) => Some(events),
        Err(error) => {
            tracing::error!(%error, "a follower's events cannot be read: its stream ends, it will come back with Last-Event-ID");
            None
        }
    }
}

fn to_sse(record: &EventRecord) -> sse::Event {
    sse::Event::default().id(record.event.sequence.to_string()).data(&record.json)
}
