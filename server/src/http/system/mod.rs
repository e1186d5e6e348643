//! `/api/v1/system` and `/metrics`: the host, and what Berth has on it.

pub mod backup;
pub mod df;
pub mod doctor;
pub mod get;
pub mod metrics;
pub mod prune;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::state::AppState;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(get::get_system))
        .routes(routes!(metrics::get_metrics))
        .routes(routes!(df::get_disk_usage))
        .routes(routes!(prune::prune))
        .routes(routes!(doctor::get_doctor))
        .routes(routes!(backup::get_backup))
}
