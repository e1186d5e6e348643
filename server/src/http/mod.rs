//! The face of Berth: an HTTP API under `/api/v1`, and the dashboard.
//!
//! ```text
//! accept (sockets, bounds) -> layers (id, limits, who calls) -> router -> access (the route's role) -> a handler
//!     handler: extract (typed values) -> a wish into the store, or a question to it or to a container's shim -> answer, or error
//! ```
//!
//! A handler that changes something records a wish and wakes the reconciler; it never drives a container itself. A resource is a folder, an
//! action a file in it: description, handler, its own types. Errors become answers in `error` and nowhere else.

pub mod accept;
pub mod auth;
pub mod containers;
pub mod context;
pub mod dashboard;
pub mod docs;
pub mod error;
pub mod events;
pub mod extract;
pub mod health;
pub mod images;
pub mod input;
pub mod layers;
pub mod list;
pub mod log_watch;
pub mod login;
pub mod metrics;
pub mod openapi;
pub mod router;
pub mod state;
pub mod stream;
pub mod system;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod volumes;
pub mod websocket;

pub use state::{App, AppState};
