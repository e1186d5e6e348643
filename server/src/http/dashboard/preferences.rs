//! `POST /preferences`: language and colours, kept in cookies of the browser. Nothing secret, and no credentials needed.

use axum::Form;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use web::{Lang, Theme};

use super::own_path;
use super::visit::{LANG_COOKIE, THEME_COOKIE};
use crate::http::error::ApiResult;
use crate::http::state::AppState;

const YEAR_SECONDS: u32 = 365 * 24 * 3600;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Preferences {
    theme: Option<String>,
    lang: Option<String>,
    #[serde(rename = "return")]
    back: Option<String>,
}

pub(super) async fn set(State(state): State<AppState>, headers: HeaderMap, Form(form): Form<Preferences>) -> ApiResult<Response> {
    state.site.check_origin(&Method::POST, &headers, true)?;
    let theme = form.theme.as_deref().and_then(Theme::from_code).map(|theme| (THEME_COOKIE, theme.code()));
    let lang = form.lang.as_deref().and_then(Lang::from_code).map(|lang| (LANG_COOKIE, lang.code()));
    let mut response = Redirect::to(own_path(form.back.as_deref()).unwrap_or("/containers")).into_response();
    for (name, value) in theme.into_iter().chain(lang) {
        let cookie = format!("{name}={value}; Path=/; Max-Age={YEAR_SECONDS}; HttpOnly; SameSite=Strict");
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    Ok(response)
}
