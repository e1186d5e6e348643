//! `GET /api/v1/containers/{name}/logs`: read from the files that the shim writes, without asking it.

mod files;
mod history;
mod reader;
mod record;
mod tail;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use files::LogFile;
pub use history::until;
use record::{Encoder, Format, Wanted};
pub use record::{LogLine, LogStream};

use crate::http::auth::Caller;
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::query::flag;
use crate::http::extract::{ApiPath, ApiQuery};
use crate::http::state::{App, AppState};
use crate::http::stream::{self, StreamSlot};
use crate::store::ContainerRecord;

#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct LogParams {
    /// Go on until the container has ended.
    #[serde(deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    follow: bool,
    /// Only so many lines from the end.
    tail_lines: Option<u64>,
    /// Only what was written at or after this time (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    since_time: Option<Timestamp>,
    /// Begin each line of text with its time.
    #[serde(deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    timestamps: bool,
    /// Only this one; both when absent.
    stream: Option<LogStream>,
}

/// What the container has written, all starts together, oldest first.
///
/// Plain text by default, as the program wrote it; `Accept: application/x-ndjson` gives one JSON object a line, `text/event-stream` the same as
/// events whose id (a time) can be sent back as `Last-Event-ID`.
#[utoipa::path(get, path = "/api/v1/containers/{name}/logs", operation_id = "getContainerLogs", tag = "containers", security(("token" = ["viewer"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more"), LogParams,
        ("Last-Event-ID" = Option<String>, Header, description = "Go on after this event")),
    responses((status = 200, description = "The log", content((String = "text/plain"), (LogLine = "application/x-ndjson"), (String = "text/event-stream")))))]
pub async fn get_container_logs(
    State(state): State<AppState>,
    caller: Caller,
    ApiPath(name): ApiPath<String>,
    headers: HeaderMap,
    ApiQuery(params): ApiQuery<LogParams>,
) -> ApiResult<Response> {
    if params.tail_lines.is_some_and(|lines| i64::try_from(lines).is_err()) {
        return Err(ApiError::field("/query/tailLines", format!("must be at most {}", i64::MAX)));
    }
    let record = state.store.container(&name)?;
    let format = if stream::accepts(&headers, "text/event-stream") {
        Format::Sse
    } else if stream::accepts(&headers, "application/x-ndjson") {
        Format::Ndjson
    } else {
        Format::Text { timestamps: params.timestamps }
    };
    let resumed = stream::last_event_id(&headers).map(str::parse).transpose();
    let after = resumed.map_err(|_| ApiError::field("/header/Last-Event-ID", "is not the id of an event of this stream"))?;
    let wanted = Wanted { stream: params.stream, since: params.since_time, after };
    let slot = StreamSlot::take(&state, &caller)?;
    let folder = folder(&state, &record);
    let (files, attempts) = beginning(&folder, params.tail_lines, wanted).await.map_err(ApiError::internal)?;
    let source = reader::Source { folder, files, attempts };
    let encoder = Encoder::new(format, wanted);
    if params.follow {
        let growth = reader::Growth { watch: state.store.watch_container(&record.uid), log_watch: Arc::clone(&state.log_watch) };
        return Ok(slot.bytes(format.content_type(), reader::follow(source, growth, encoder, format)));
    }
    Ok(slot.bytes(format.content_type(), reader::once(source, encoder)))
}

/// The last lines of a container's log, oldest first: for pages.
pub async fn last_lines(state: &App, record: &ContainerRecord, lines: u64) -> io::Result<Vec<LogLine>> {
    let (files, _) = beginning(&folder(state, record), Some(lines), Wanted::default()).await?;
    reader::lines(files).await
}

fn folder(state: &App, record: &ContainerRecord) -> PathBuf {
    // The name has passed the rules of a label, and the uid is ours: neither can lead elsewhere.
    state.config.data_dir.join("pods").join(record.uid.as_str()).join("logs").join(&record.meta.name)
}

/// Where the reading begins: the first files, and the attempts after them (opened when it is their turn: there may be thousands).
async fn beginning(folder: &Path, tail_lines: Option<u64>, wanted: Wanted) -> io::Result<(VecDeque<LogFile>, VecDeque<u32>)> {
    let mut attempts = VecDeque::from(files::attempts(folder).await?);
    if let Some(lines) = tail_lines {
        let files = tail::last(folder, attempts.make_contiguous(), lines, wanted).await?;
        return Ok((files.into(), VecDeque::new()));
    }
    let files = match attempts.pop_front() {
        Some(first) => files::open(folder, first).await?,
        None => Vec::new(),
    };
    Ok((files.into(), attempts))
}
