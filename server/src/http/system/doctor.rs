//! `GET /api/v1/system/doctor`.

use axum::Json;
use axum::extract::State;

use crate::doctor::{Owned, Report, diagnose};
use crate::http::error::ApiResult;
use crate::http::state::AppState;

/// Tries what this host can do, counts what is left over, and says what is not well and what to do about it.
///
/// Each call tries everything anew: it makes and removes namespaces, a mount and a cgroup. `berth doctor` shows the same.
#[utoipa::path(get, path = "/api/v1/system/doctor", operation_id = "getDoctor", tag = "system", security(("token" = ["operator"])),
    responses((status = 200, description = "Every check, and the worst verdict", body = Report)))]
pub async fn get_doctor(State(state): State<AppState>) -> ApiResult<Json<Report>> {
    // Looked at before and after: what comes or goes meanwhile is no leftover.
    let before = Owned::of(&state.store);
    let examination = state.node.examine().await?;
    let read = |path| async move { tokio::fs::read_to_string(path).await.unwrap_or_default() };
    let after = Owned::of(&state.store).beside(&read("/etc/subuid").await, &read("/etc/subgid").await);
    Ok(Json(diagnose(&examination, Some(&after.or(before)))))
}
