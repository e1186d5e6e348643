//! `/api/v1/events`: the durable log of what happened, as a list or as it happens.

mod follow;
pub mod list;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::state::AppState;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list::list_events))
}
