//! From a request to a WebSocket: is it an upgrade, and does it speak a subprotocol of ours.

use axum::extract::FromRequestParts;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::response::Response;

use super::channel::Subprotocol;
use crate::http::error::{ApiError, ApiResult, ErrorCode};

/// A message, and a frame, of a client may be this long.
const MAX_MESSAGE: usize = 1 << 20;
/// What is read from the socket at once.
const READ_BUFFER: usize = 16 << 10;

/// A request that asks for a WebSocket, and has not been answered yet.
#[derive(Debug)]
pub struct Upgrade {
    upgrade: WebSocketUpgrade,
    pub version: Subprotocol,
}

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state).await.map_err(|rejection| {
            let why = rejection.body_text();
            ApiError::new(
                ErrorCode::UpgradeRequired,
                format!("this is a WebSocket over HTTP/1.1 (RFC 6455): {}", why.trim_end_matches('.')),
            )
        })?;
        let offered = |version: &Subprotocol| upgrade.requested_protocols().any(|offered| *offered == version.as_str());
        let Some(version) = Subprotocol::ALL.into_iter().find(offered) else {
            let known = Subprotocol::ALL.map(Subprotocol::as_str).join(" or ");
            return Err(ApiError::field("/header/Sec-WebSocket-Protocol", format!("must offer {known}")));
        };
        Ok(Upgrade { upgrade, version })
    }
}

impl Upgrade {
    /// 101, and `run` once the socket is there. When that never comes to be, `run` is dropped with all that it holds.
    pub fn accept<F: Future<Output = ()> + Send + 'static>(self, run: impl FnOnce(WebSocket) -> F + Send + 'static) -> Response {
        self.upgrade
            .protocols([self.version.as_str()])
            .max_message_size(MAX_MESSAGE)
            .max_frame_size(MAX_MESSAGE)
            .read_buffer_size(READ_BUFFER)
            .on_failed_upgrade(|error| tracing::debug!(%error, "the client went before its session began"))
            .on_upgrade(run)
    }
}
