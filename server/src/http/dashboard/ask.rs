//! What only the runtime knows, asked by the API's own functions. A page waits a moment and no longer: a container that is stuck shows its
//! page with an error, and not never.

use std::time::Duration;

use crate::http::error::{ApiError, ApiResult, ErrorCode};

const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn patiently<T>(answer: impl Future<Output = ApiResult<T>>) -> ApiResult<T> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ApiError::new(ErrorCode::DeadlineExceeded, format!("there was no answer within {} s", PATIENCE.as_secs()))),
    }
}
