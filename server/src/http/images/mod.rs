//! `/api/v1/images`: root file systems, and how to run what is in them.

pub mod archive;
pub mod delete;
pub mod import;
pub mod list;
pub mod load;
mod path;
pub mod upload;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::state::AppState;

pub use import::query_path;
pub use path::encode_slashes;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list::list_images))
        .routes(routes!(import::import_image))
        .routes(routes!(load::load_images))
        .routes(routes!(list::get_image, delete::delete_image))
        .routes(routes!(archive::get_image_archive))
}
