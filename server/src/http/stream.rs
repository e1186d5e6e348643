//! Long answers: server-sent events and lines of JSON, each with a bound and an end.
//!
//! A stream ends when the client goes, when the server stops, or when the token that opened it is deleted. A client that does not read is
//! cut off by the connection's write limit, and what it has not read waits where it came from (the event log, the log file), not here.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::auth::Caller;
use super::error::{ApiError, ApiResult, ErrorCode};
use super::state::AppState;

/// Streams of all callers together.
pub const MAX_STREAMS: usize = 512;

/// The right to stream: counted, and over when the server or the caller's token is.
#[derive(Debug)]
pub struct StreamSlot {
    state: AppState,
    caller: Caller,
    _permit: OwnedSemaphorePermit,
}

/// Why a stream has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The server stops.
    Stopping,
    /// The caller's token was deleted.
    Revoked,
}

impl StreamSlot {
    /// 503 when too many streams are open.
    pub fn take(state: &AppState, caller: &Caller) -> ApiResult<Self> {
        let permit = Arc::clone(&state.streams)
            .try_acquire_owned()
            .map_err(|_| ApiError::new(ErrorCode::Busy, format!("{MAX_STREAMS} streams are open already")).retry_after(5))?;
        Ok(StreamSlot { state: Arc::clone(state), caller: caller.clone(), _permit: permit })
    }

    /// Done when it is time to end.
    pub async fn over(&self) -> Over {
        tokio::select! {
            () = self.state.shutdown.cancelled() => Over::Stopping,
            () = self.caller.revoked.cancelled() => Over::Revoked,
        }
    }

    /// Done when the server has been stopping for so long.
    pub async fn stopped_for(&self, time: Duration) {
        self.state.shutdown.cancelled().await;
        tokio::time::sleep(time).await;
    }

    /// Ends `stream` when it is time to.
    fn bound<S: Stream>(self, stream: S) -> impl Stream<Item = S::Item> {
        stream.take_until(async move {
            // The whole of it, or the permit would be given back now.
            let slot = &self;
            slot.over().await;
        })
    }

    /// Returns when it is time to end.
    pub async fn ended(&self) {
        tokio::select! {
            () = self.state.shutdown.cancelled() => {}
            () = self.caller.revoked.cancelled() => {}
        }
    }

    /// Server-sent events, with a comment every 15 seconds of silence so that nobody in between gives up.
    pub fn sse(self, events: impl Stream<Item = Event> + Send + 'static) -> Response {
        let events = self.bound(events).map(Ok::<_, Infallible>);
        let mut response = Sse::new(events).keep_alive(KeepAlive::default()).into_response();
        // For proxies that would collect before they pass on.
        response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }

    /// Bytes that are good only whole. Ends with an error unless they are: an answer that is only shorter would look like a good one.
    pub fn whole<E>(self, what: &'static str, chunks: impl Stream<Item = Result<Vec<u8>, E>> + Send + 'static) -> Body
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        Body::from_stream(async_stream::stream! {
            let mut chunks = std::pin::pin!(chunks);
            loop {
                let next = tokio::select! {
                    next = chunks.next() => next,
                    _ = self.over() => {
                        yield Err(io::Error::other("the server stops, or the token was deleted"));
                        return;
                    }
                };
                match next {
                    Some(Ok(chunk)) => yield Ok(Bytes::from(chunk)),
                    Some(Err(error)) => {
                        tracing::info!(%error, "{what} ended early");
                        yield Err(io::Error::other(error));
                        return;
                    }
                    None => return,
                }
            }
        })
    }

    /// Chunks as they come.
    pub fn bytes(self, content_type: &'static str, chunks: impl Stream<Item = Bytes> + Send + 'static) -> Response {
        let body = Body::from_stream(self.bound(chunks).map(Ok::<_, Infallible>));
        ([(header::CONTENT_TYPE, content_type)], body).into_response()
    }
}

/// Room for [`MAX_STREAMS`].
pub fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_STREAMS))
}

/// Done when no stream is open any more, or after this time.
pub async fn all_ended(streams: &Semaphore, within: Duration) {
    let all = u32::try_from(MAX_STREAMS).unwrap_or(u32::MAX);
    if tokio::time::timeout(within, streams.acquire_many(all)).await.is_err() {
        tracing::warn!("streams are cut off: they did not end in time");
    }
}

/// Whether the caller asks for this media type by name; `*/*` is not asking.
pub fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .any(|item| item.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(kind))
}

/// The place to go on from, as a browser sends it after a broken connection.
pub fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("last-event-id")?.to_str().ok().filter(|text| !text.is_empty())
}
