//! Someone looking at a page: who, in which language and light, and what they have just done.

use std::convert::Infallible;
use std::sync::LazyLock;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, Uri, header};
use axum::response::Html;
use jiff::Timestamp;
use web::{ApiCall, Flash, Frame, Lang, Page, Theme, Who};

use crate::http::auth::{Identified, cookie};
use crate::http::error::{ApiError, ApiResult};
use crate::http::state::{App, AppState};
use crate::model::name::is_dns_label;

pub(super) const LANG_COOKIE: &str = "berth-lang";
pub(super) const THEME_COOKIE: &str = "berth-theme";

/// This machine's name; it does not change while anyone looks at it.
static HOSTNAME: LazyLock<String> =
    LazyLock::new(|| std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned());

/// What the frame around a page needs to know.
#[derive(Debug)]
pub struct Visit {
    pub(super) frame: Frame,
    pub(super) now: Timestamp,
}

impl FromRequestParts<AppState> for Visit {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        Ok(Visit::new(state, &parts.uri, &parts.headers, &parts.extensions))
    }
}

impl Visit {
    pub(super) fn of(state: &App, request: &Request) -> Self {
        Visit::new(state, request.uri(), request.headers(), request.extensions())
    }

    fn new(state: &App, uri: &Uri, headers: &HeaderMap, extensions: &Extensions) -> Self {
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let lang = Lang::negotiate(cookie::find(headers, LANG_COOKIE), accepted);
        let caller = extensions.get::<Identified>().and_then(|identified| identified.0.as_ref());
        let (here, flash) = without_flash(uri, lang);
        let frame = Frame {
            lang,
            theme: cookie::find(headers, THEME_COOKIE).and_then(Theme::from_code).unwrap_or_default(),
            host: HOSTNAME.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            who: caller.map(|caller| Who { name: caller.name.clone(), role: caller.role.as_str().to_owned() }),
            flash,
            here,
            socket: state.config.socket.display().to_string(),
            calls: Vec::new(),
        };
        Visit { frame, now: state.store.clock().now() }
    }

    /// The frame with the API calls that give the same facts.
    pub(super) fn calls(mut self, paths: impl IntoIterator<Item = String>) -> Frame {
        self.frame.calls = paths.into_iter().map(ApiCall::get).collect();
        self.frame
    }
}

/// The page's own address, without what a redirect added to it, and what that said.
fn without_flash(uri: &Uri, lang: Lang) -> (String, Option<Flash>) {
    let (mut done, mut name) = (None, String::new());
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (key, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        match key.as_ref() {
            "done" => done = Some(value.into_owned()),
            "of" => name = value.into_owned(),
            // A question stands once; a reader who comes back did not ask it.
            "ask" => {}
            // The token of a login link goes nowhere else.
            "token" => {}
            _ => drop(query.append_pair(&key, &value)),
        }
    }
    let query = query.finish();
    let here = if query.is_empty() { uri.path().to_owned() } else { format!("{}?{query}", uri.path()) };
    // Anybody can make such a link: a name is all that it may bring along.
    let flash = done.filter(|_| name.is_empty() || is_dns_label(&name)).and_then(|code| Flash::done(lang, &code, &name));
    (here, flash)
}

/// `here` with a word about what was done there.
pub(super) fn with_flash(path: &str, done: &str, name: &str) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}done={done}&of={}", web::routes::encode(name))
}

pub(super) fn html(page: &impl Page) -> ApiResult<Html<String>> {
    page.html().map(Html).map_err(|error| ApiError::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flash_is_read_once_and_says_only_what_we_say() {
        let (here, flash) = without_flash(&"/containers?phase=Running&done=started&of=web".parse().unwrap(), Lang::En);
        assert_eq!((here.as_str(), flash.unwrap().text.as_str()), ("/containers?phase=Running", "web was started."));
        assert!(without_flash(&"/containers?done=started&of=Call%20me".parse().unwrap(), Lang::En).1.is_none());
        assert!(without_flash(&"/containers?done=owned&of=web".parse().unwrap(), Lang::En).1.is_none());
        assert_eq!(without_flash(&"/login?token=berth_x".parse().unwrap(), Lang::En).0, "/login");
        assert_eq!(with_flash("/containers?phase=Running", "stopped", "web"), "/containers?phase=Running&done=stopped&of=web");
    }
}
