//! `GET /api/v1/containers/{name}/stats`.

use std::time::Duration;

use async_stream::stream;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response, sse};
use runtime::protocol::{ShimAnswer, ShimRequest};
use runtime::status::Stats;

use super::schema::StatsView;
use crate::http::auth::Caller;
use crate::http::error::ApiResult;
use crate::http::extract::ApiPath;
use crate::http::list;
use crate::http::state::{App, AppState};
use crate::http::stream::{self, StreamSlot};
use crate::store::ContainerRecord;

/// Between two samples of a stream.
const EVERY: Duration = Duration::from_secs(1);

/// What a container uses: CPU, memory, I/O, network, processes, pressure.
///
/// One sample; with `Accept: text/event-stream` one a second until it ends. Figures are the kernel's own; what this host does not state is null.
#[utoipa::path(get, path = "/api/v1/containers/{name}/stats", operation_id = "getContainerStats", tag = "containers", security(("token" = ["viewer"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more")),
    responses((status = 200, description = "The figures", content((StatsView = "application/json"), (String = "text/event-stream"))), (status = 409, description = "It does not run")))]
pub async fn get_container_stats(
    State(state): State<AppState>,
    caller: Caller,
    ApiPath(name): ApiPath<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let record = state.store.container(&name)?;
    let first = sample(&state, &record).await?;
    if !stream::accepts(&headers, "text/event-stream") {
        return Ok(Json(first).into_response());
    }
    let slot = StreamSlot::take(&state, &caller)?;
    Ok(slot.sse(stream! {
        let mut sample_now = Some(first);
        while let Some(stats) = sample_now {
            if let Ok(text) = list::json(&stats) {
                yield sse::Event::default().id(stats.timestamp.to_string()).data(text);
            }
            tokio::time::sleep(EVERY).await;
            // The newest record: it may have ended meanwhile, which ends the stream.
            let now = state.store.container_by_uid(&record.uid);
            sample_now = match now {
                Some(now) => sample(&state, &now).await.ok(),
                None => None,
            };
        }
    }))
}

/// One sample, from the shim.
pub async fn sample(state: &App, record: &ContainerRecord) -> ApiResult<Stats> {
    match super::ask(state, record, |container| ShimRequest::Stats { container }).await? {
        ShimAnswer::Stats { stats } => Ok(*stats),
        other => Err(super::unexpected(&other)),
    }
}
