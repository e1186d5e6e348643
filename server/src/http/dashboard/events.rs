//! `GET /events`, and the events of one container.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Html;
use serde::Deserialize;
use web::pages::Events;

use super::convert;
use super::visit::{Visit, html};
use crate::http::error::ApiResult;
use crate::http::state::{App, AppState};
use crate::store::{EventFilter, EventRecord};

const PAGE: usize = 100;
/// How many numbers are looked through at first. They count events and versions alike, so a page of events is spread over more of them.
const WINDOW: u64 = 4_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    kind: String,
    name: String,
    reason: String,
    before: Option<u64>,
}

pub(super) async fn page(State(state): State<AppState>, visit: Visit, Query(wanted): Query<Wanted>) -> ApiResult<Html<String>> {
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let (kind, name, reason) = (given(&wanted.kind), given(&wanted.name), given(&wanted.reason));
    let filter = EventFilter { kind, name, reason, not_before: None };
    let (events, older) = newest(&state, &filter, wanted.before, PAGE).await?;
    let now = visit.now;
    html(&Events {
        rows: events.iter().map(|record| convert::event(&record.event, now)).collect(),
        kind: wanted.kind,
        name: wanted.name,
        reason: wanted.reason,
        older: older.then(|| events.last().map(|record| record.event.sequence)).flatten(),
        frame: visit.calls(["/api/v1/events".to_owned()]),
    })
}

/// The newest matching events before `before`, newest first, and whether there are older ones. The log reads forwards: a window at its end
/// is widened until it holds enough.
pub(super) async fn newest(
    state: &App,
    filter: &EventFilter,
    before: Option<u64>,
    count: usize,
) -> ApiResult<(Vec<Arc<EventRecord>>, bool)> {
    let end = before.unwrap_or_else(|| state.store.resource_version().saturating_add(1));
    let mut window = WINDOW;
    loop {
        let since = end.saturating_sub(window);
        let mut events = state.store.events_since(since, filter, usize::MAX).await?;
        events.retain(|record| record.event.sequence < end);
        if events.len() > count || since == 0 {
            let more = events.len() > count;
            return Ok((events.into_iter().rev().take(count).collect(), more));
        }
        window = window.saturating_mul(8);
    }
}
