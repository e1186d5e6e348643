//! One connection, from accept to close.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::Peer;
use super::guarded::{Guarded, Stream};
use super::slots::Slot;

/// What may be buffered of a request's head. More than the 16 KiB that `layers::limits` lets pass, so that it can say so in a problem
/// document; beyond this the HTTP library answers 431 by itself.
const READ_BUFFER: usize = 64 << 10;

pub(super) async fn run(stream: Stream, peer: Peer, slot: Slot, app: Router, shutdown: CancellationToken) {
    let slot = Arc::new(slot);
    let evicted = slot.evicted.clone();
    let mut deadline = slot.deadline.subscribe();
    let service = {
        let slot = Arc::clone(&slot);
        hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let in_flight = InFlight::begin(Arc::clone(&slot), request.version() == axum::http::Version::HTTP_2);
            answer(app.clone(), request.map(Body::new), peer, in_flight)
        })
    };
    let builder = builder();
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(Guarded::new(stream, slot)), service));
    let mut draining = false;
    loop {
        let due = *deadline.borrow_and_update();
        tokio::select! {
            outcome = connection.as_mut() => {
                if let Err(error) = outcome {
                    tracing::debug!(%error, ?peer, "connection ended early");
                }
                return;
            }
            () = evicted.cancelled() => return,
            () = async { tokio::time::sleep_until(due.unwrap_or_else(tokio::time::Instant::now)).await }, if due.is_some() => return,
            changed = deadline.changed() => if changed.is_err() { return },
            () = shutdown.cancelled(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // The time for a head is kept by `Slot`, which covers silence and HTTP/2 as well.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(READ_BUFFER).max_headers(101);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .max_pending_accept_reset_streams(20)
        .max_header_list_size(16 << 10)
        .keep_alive_interval(std::time::Duration::from_secs(30))
        .keep_alive_timeout(std::time::Duration::from_secs(10));
    builder
}

async fn answer(app: Router, mut request: Request, peer: Peer, in_flight: InFlight) -> Result<Response, Infallible> {
    request.extensions_mut().insert(peer);
    let response = app.oneshot(request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        in_flight.for_good();
        return Ok(response);
    }
    Ok(response.map(|body| Body::new(Counted { body, _in_flight: in_flight })))
}

/// Counts a request from its head to the last byte of its answer.
struct InFlight(Option<Arc<Slot>>);

impl InFlight {
    fn begin(slot: Arc<Slot>, multiplexed: bool) -> Self {
        slot.begin(multiplexed);
        InFlight(Some(slot))
    }

    /// The connection is something else from here on: in use until it is closed, and never idle.
    fn for_good(mut self) {
        self.0 = None;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(slot) = &self.0 {
            slot.end();
        }
    }
}

/// A response's body that counts as in flight until it has been sent.
struct Counted {
    body: Body,
    _in_flight: InFlight,
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
