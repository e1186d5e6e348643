//! The last lines of a container's log; a script follows it from there.

use axum::response::Html;
use web::pages::{LogLine, LogStream, Logs};

use super::{Look, Wanted};
use crate::http::containers::logs;
use crate::http::dashboard::visit::html;
use crate::http::error::{ApiError, ApiResult};

const DEFAULT_TAIL: u64 = 500;
const MAX_TAIL: u64 = 10_000;

pub(super) async fn page(look: Look, wanted: Wanted) -> ApiResult<Html<String>> {
    let tail = wanted.tail.parse().unwrap_or(DEFAULT_TAIL).clamp(1, MAX_TAIL);
    let stream = LogStream::from_code(&wanted.stream);
    let lines = logs::last_lines(&look.state, &look.record, tail).await.map_err(ApiError::internal)?;
    let more = lines.len() as u64 >= tail;
    let lines = lines.into_iter().map(line).filter(|line| stream.is_none_or(|stream| line.stream == stream));
    html(&Logs {
        lines: lines.collect(),
        tail,
        stream,
        search: wanted.q,
        more,
        frame: {
            let calls = [look.api(&format!("/logs?timestamps=true&tailLines={tail}"))];
            look.visit.calls(calls)
        },
        head: look.head,
    })
}

fn line(line: logs::LogLine) -> LogLine {
    LogLine {
        // Nanoseconds, always: the script compares these texts.
        time: format!("{:.9}", line.time),
        stream: match line.stream {
            logs::LogStream::Stdout => LogStream::Stdout,
            logs::LogStream::Stderr => LogStream::Stderr,
        },
        text: line.text,
    }
}
