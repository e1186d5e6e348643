//! `POST /containers/{name}/{verb}`: the buttons. Each is the handler of the API's own route; what it answers becomes a way back.

use axum::extract::State;
use axum::response::Redirect;
use serde_json::json;

use super::form::Fields;
use super::own_path;
use super::visit::with_flash;
use crate::http::containers::lifecycle::{Nothing, StopInput, delete, kill, pause, start, stop};
use crate::http::error::{ApiError, ApiResult, ErrorCode};
use crate::http::extract::json::{FieldValidation, parse_value};
use crate::http::extract::{ApiPath, ApiQuery, IfMatch, OptionalJson, query};
use crate::http::state::AppState;

/// What a container can be told by a form.
pub(super) const VERBS: [&str; 7] = ["start", "stop", "restart", "pause", "unpause", "kill", "delete"];

pub(super) async fn act(state: &AppState, name: &str, verb: &str, fields: &Fields) -> ApiResult<Redirect> {
    let record = state.store.container(name)?;
    let name = record.meta.name.clone();
    let done = match carry_out(state, &name, verb, fields).await {
        // Its page tells the whole story of a start that failed.
        Err(error) if error.code() == ErrorCode::StartFailed => return Ok(Redirect::to(&web::routes::container(&name, &record.meta.uid))),
        outcome => outcome?,
    };
    let page = web::routes::container(&name, &record.meta.uid);
    let back = own_path(fields.get("return").map(String::as_str)).unwrap_or(&page);
    // With autoRemove it went when it ended: there is no page of it to come back to.
    let gone = state.store.container(&name).is_err() && back.starts_with(&page);
    Ok(Redirect::to(&with_flash(if gone { "/containers" } else { back }, done, &name)))
}

/// What was done, as the flash calls it.
async fn carry_out(state: &AppState, name: &str, verb: &str, fields: &Fields) -> ApiResult<&'static str> {
    let (state, path) = (State(state.clone()), ApiPath(name.to_owned()));
    let nothing = OptionalJson(Nothing {});
    match verb {
        "start" => start::start_container(state, path, nothing).await.map(|_| "started"),
        "stop" => stop::stop_container(state, path, OptionalJson(StopInput::default())).await.map(|_| "stopped"),
        "restart" => stop::restart_container(state, path, OptionalJson(StopInput::default())).await.map(|_| "restarted"),
        "pause" => pause::pause_container(state, path, nothing).await.map(|_| "paused"),
        "unpause" => pause::unpause_container(state, path, nothing).await.map(|_| "unpaused"),
        "kill" => {
            let signal = fields.get("signal").map_or("SIGKILL", String::as_str);
            let input = parse_value(&json!({"signal": signal}), FieldValidation::Strict)?;
            kill::kill_container(state, path, OptionalJson(input)).await.map(|_| "killed")
        }
        "delete" => {
            let force = if fields.contains_key("force") { "force=true" } else { "" };
            let params = query::parse(force)?;
            delete::delete_container(state, path, IfMatch::Any, ApiQuery(params)).await.map(|_| "deleted")
        }
        _ => Err(ApiError::new(ErrorCode::NoSuchRoute, format!("a container cannot {verb:?}"))),
    }
}

/// For the create form: a failed start is no failed creation, and is told on the container's page.
pub(super) async fn start(state: &AppState, name: &str) -> ApiResult<&'static str> {
    match carry_out(state, name, "start", &Fields::new()).await {
        Err(error) if error.code() == ErrorCode::StartFailed => Ok("created"),
        outcome => outcome,
    }
}
