//! The dashboard: the model turned into what the `web` crate's pages show, and forms turned into calls of the API's own functions.
//!
//! ```text
//! GET  /containers/web/limits -> visit (who, which language) -> store, shim -> convert -> web::pages::Limits -> HTML
//! POST /containers/web/stop   -> the function behind POST /api/v1/…/stop    -> 303 to the page one came from
//! any error                   -> ApiError -> problem document -> problem    -> the same as a page
//! ```
//!
//! There is no rule here that the API does not have: a form is read into the JSON that a client would have sent, and what comes back as a
//! problem document is shown beside the fields. Pages work without scripts; scripts only look again.

mod actions;
mod ask;
mod container;
mod convert;
mod create;
mod events;
mod files;
mod form;
mod images;
mod list;
pub mod login;
#[cfg(test)]
mod pages_tests;
mod preferences;
pub mod problem;
mod system;
mod visit;
mod volumes;

use axum::Router;
use axum::response::Redirect;
use axum::routing::{get, post};

use super::state::AppState;

pub use visit::Visit;

/// Every page and form that needs a caller. The layer above lets viewers look and operators send forms, see `auth::access::page_layer`.
pub fn dashboard_routes() -> Router<AppState> {
    Router::new()
        .route("/", get(|| async { Redirect::to("/containers") }))
        .route("/containers", get(list::page))
        .route("/containers/new", get(create::show).post(create::submit))
        .route("/containers/{name}", get(container::overview))
        .route("/containers/{name}/{part}", get(container::part).post(container::changed))
        .route("/images", get(images::page).post(images::upload))
        .route("/images/{reference}", get(images::one))
        .route("/images/{reference}/delete", post(images::delete))
        .route("/volumes", get(volumes::page).post(volumes::create))
        .route("/volumes/{name}/delete", post(volumes::delete))
        .route("/events", get(events::page))
        .route("/system", get(system::page))
}

/// What is there before anyone has logged in: styles and scripts, and the choice of language and colours.
pub fn open_routes() -> Router<AppState> {
    Router::new().route("/assets/{file}", get(files::asset)).route("/preferences", post(preferences::set))
}

/// Only a path of ours: `//host` and `/\host` are other sites to a browser.
pub fn own_path(path: Option<&str>) -> Option<&str> {
    path.filter(|path| {
        let mut bytes = path.bytes();
        bytes.next() == Some(b'/') && !matches!(bytes.next(), Some(b'/' | b'\\')) && path.bytes().all(|b| b.is_ascii_graphic())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages() {
        assert_eq!(own_path(Some("/containers/web?tail=5")), Some("/containers/web?tail=5"));
        for bad in ["//evil.example", "/\\evil.example", "http://evil.example", "", "x", "/a\r\nSet-Cookie: x", "/\u{e9}"] {
            assert_eq!(own_path(Some(bad)), None, "{bad:?}");
        }
    }
}
