//! `/api/v1/volumes`: named folders that outlive containers.

pub mod create;
pub mod delete;
pub mod list;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::state::AppState;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list::list_volumes, create::create_volume)).routes(routes!(list::get_volume, delete::delete_volume))
}
