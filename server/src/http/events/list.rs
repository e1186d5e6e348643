//! `GET /api/v1/events`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use super::follow;
use crate::http::auth::Caller;
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::ApiQuery;
use crate::http::list::{self, List};
use crate::http::state::AppState;
use crate::http::stream::{self, StreamSlot};
use crate::model::{Event, ListMeta};
use crate::store::EventFilter;

/// A page without `limit`.
const DEFAULT_LIMIT: usize = 1000;
const MAX_LIMIT: usize = 10_000;

#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct EventParams {
    /// Only events after this sequence number, or at or after this time (RFC 3339).
    #[param(example = "42")]
    since: Option<String>,
    /// Only about resources of this kind.
    #[param(example = "Container")]
    kind: Option<String>,
    /// Only about the resource of this name or uid.
    name: Option<String>,
    /// Only with this reason.
    #[param(example = "OOMKilled")]
    reason: Option<String>,
    /// Most items of a list's page; 1,000 when absent, 10,000 at most.
    limit: Option<u32>,
    /// `metadata.continue` of the page before.
    #[serde(rename = "continue")]
    #[param(rename = "continue")]
    continue_token: Option<String>,
}

/// What happened, oldest first.
///
/// With `Accept: text/event-stream` the answer follows the log: first what there is since `since` (or `Last-Event-ID`), then each event as it
/// happens, its sequence number as the id. Without either it begins now. The log is durable and keeps the newest 50,000 events:
/// who resumes from an older one goes on with the oldest that is kept. `remainingItemCount` of a list is 1 when there are more, however many.
#[utoipa::path(get, path = "/api/v1/events", operation_id = "listEvents", tag = "events", security(("token" = ["viewer"])),
    params(EventParams, ("Last-Event-ID" = Option<String>, Header, description = "Follow from after this sequence number")),
    responses((status = 200, description = "The events", content((List<Event> = "application/json"), (String = "text/event-stream")))))]
pub async fn list_events(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    ApiQuery(params): ApiQuery<EventParams>,
) -> ApiResult<Response> {
    let follows = stream::accepts(&headers, "text/event-stream");
    let (mut since, not_before) = since(params.since.as_deref(), "/query/since")?;
    if let Some(token) = params.continue_token.as_deref().filter(|token| !token.is_empty()) {
        since = token.parse().map_err(|_| ApiError::field("/query/continue", "is not from a list of events"))?;
    }
    let filter = EventFilter { kind: params.kind, name: params.name, reason: params.reason, not_before };
    if follows {
        let resumed = stream::last_event_id(&headers)
            .map(|id| id.parse().map_err(|_| ApiError::field("/header/Last-Event-ID", "is not a sequence number")));
        let from = match resumed.transpose()? {
            Some(id) => Some(id),
            None if params.since.is_some() => Some(since),
            None => None,
        };
        let slot = StreamSlot::take(&state, &caller)?;
        return Ok(slot.sse(follow::events(state.store.clone(), filter, from)));
    }
    let limit = params.limit.filter(|limit| *limit > 0).map_or(DEFAULT_LIMIT, |limit| limit as usize).min(MAX_LIMIT);
    // One more than asked for says whether there is another page.
    let mut events = state.store.events_since(since, &filter, limit + 1).await?;
    let more = events.len() > limit;
    events.truncate(limit);
    let continue_token = events.last().filter(|_| more).map(|last| last.event.sequence.to_string()).unwrap_or_default();
    let meta =
        ListMeta { continue_token, remaining_item_count: u64::from(more), resource_version: state.store.resource_version().to_string() };
    let items: Vec<_> = events.iter().map(|event| &*event.json).collect();
    Ok(list::respond(&headers, &items, &meta))
}

/// A sequence number, or a time.
fn since(text: Option<&str>, path: &str) -> ApiResult<(u64, Option<Timestamp>)> {
    match text.map(|text| (text.parse::<u64>(), text.parse::<Timestamp>())) {
        None => Ok((0, None)),
        Some((Ok(sequence), _)) => Ok((sequence, None)),
        Some((_, Ok(time))) => Ok((0, Some(time))),
        Some(_) => Err(ApiError::field(path, "must be a sequence number or a time (RFC 3339)")),
    }
}
