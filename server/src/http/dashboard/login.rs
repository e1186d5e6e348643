//! The login page: the way in for browsers. What a token opens is `http::login`'s.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use web::pages::{Login, Refused};

use super::visit::{Visit, html};

pub fn page(visit: Visit, status: StatusCode, refused: Option<Refused>, next: &str) -> Response {
    let mut frame = visit.frame;
    // Whoever is asked to log in is nobody yet.
    frame.who = None;
    match html(&Login { frame, refused, next: next.to_owned() }) {
        Ok(page) => (status, page).into_response(),
        Err(error) => error.into_response(),
    }
}
