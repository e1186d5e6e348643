//! `/api/v1/tokens`: who may call, and as what.

pub mod create;
pub mod delete;
pub mod list;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::state::AppState;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list::list_tokens, create::create_token)).routes(routes!(list::get_token, delete::delete_token))
}
