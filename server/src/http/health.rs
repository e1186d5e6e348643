//! Is it there, can it work, what is it. No credentials: these say nothing about what runs here.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, ApiResult, ErrorCode};
use super::state::{App, AppState};

/// The process answers.
#[utoipa::path(get, path = "/healthz", operation_id = "getHealth", tag = "system", security(()),
    responses((status = 200, description = "It is alive", body = String, content_type = "text/plain", example = "ok")))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The store and the runtime answer.
#[utoipa::path(get, path = "/readyz", operation_id = "getReadiness", tag = "system", security(()),
    responses((status = 200, description = "It can do its work", body = String, content_type = "text/plain", example = "ok")))]
pub async fn readyz(State(state): State<AppState>) -> ApiResult<&'static str> {
    state.readiness.check(&state).await.map(|()| "ok\n")
}

/// Anybody may ask, and each look costs the launcher something: so it looks at most once a second.
#[derive(Debug, Default)]
pub struct Readiness(tokio::sync::Mutex<Option<Instant>>);

impl Readiness {
    async fn check(&self, state: &App) -> ApiResult<()> {
        let mut last = self.0.lock().await;
        if last.is_some_and(|last| last.elapsed() < KEEP) {
            return Ok(());
        }
        *last = None;
        match tokio::time::timeout(ANSWER_WITHIN, state.store.answers()).await {
            Ok(true) => {}
            Ok(false) | Err(_) => return Err(ApiError::new(ErrorCode::Busy, "the store does not answer").retry_after(1)),
        }
        match tokio::time::timeout(ANSWER_WITHIN, state.node.facts()).await {
            Ok(outcome) => outcome.map(drop).map_err(ApiError::from)?,
            Err(_) => return Err(ApiError::new(ErrorCode::RuntimeUnavailable, "the launcher does not answer in time").retry_after(1)),
        }
        *last = Some(Instant::now());
        Ok(())
    }
}

const KEEP: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What was built.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    #[schema(example = "0.1.0")]
    pub version: &'static str,
    /// The API that is served.
    #[schema(example = "v1")]
    pub api_version: &'static str,
    #[schema(example = "x86_64")]
    pub architecture: &'static str,
    /// `release` or `debug`.
    pub build: &'static str,
}

/// Build facts.
#[utoipa::path(get, path = "/version", operation_id = "getVersion", tag = "system", security(()),
    responses((status = 200, description = "Build facts", body = Version)))]
pub async fn version() -> Json<Version> {
    Json(VERSION)
}

pub const VERSION: Version = Version {
    version: env!("CARGO_PKG_VERSION"),
    api_version: "v1",
    architecture: std::env::consts::ARCH,
    build: if cfg!(debug_assertions) { "debug" } else { "release" },
};
