//! The terminal's page, and one command at a time for those without scripts.

use axum::response::{Html, IntoResponse, Response};
use serde_json::json;
use web::pages::{CreateForm, Executed, FieldError, Terminal};

use super::Look;
use crate::http::auth::Caller;
use crate::http::containers::exec::run::{ExecAnswer, exec_to_the_end};
use crate::http::dashboard::create::faults;
use crate::http::dashboard::form::{self, Fields};
use crate::http::dashboard::visit::html;
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::json::{FieldValidation, parse_value};

/// A browser waits that long, and so does a person.
const SECONDS: u64 = 60;

pub(super) fn page(look: Look) -> ApiResult<Html<String>> {
    html(&shown(look, CreateForm::default(), None))
}

/// `POST /containers/{name}/exec`: to the end of it, as the API's own call.
pub(super) async fn execute(look: Look, caller: Caller, fields: Fields) -> ApiResult<Response> {
    let command = fields.get("command").map_or("", |text| text.trim()).to_owned();
    match run(&look, caller, &fields, &command).await {
        Ok(answer) => {
            let executed = Executed {
                command,
                exit_code: answer.exit_code,
                signal: answer.signal,
                stdout: answer.stdout,
                stderr: answer.stderr,
                truncated: answer.truncated,
                timed_out: answer.timed_out,
            };
            Ok(html(&shown(look, CreateForm { values: fields, errors: Vec::new() }, Some(executed)))?.into_response())
        }
        Err(error) => {
            // The form's fields are named by their places in a container's spec.
            let place = |fault: FieldError| FieldError { path: fault.path.replacen('/', "/spec/", 1), ..fault };
            let form = CreateForm { errors: faults(&error).into_iter().map(place).collect(), values: fields };
            Ok((error.code().status(), html(&shown(look, form, None))?).into_response())
        }
    }
}

async fn run(look: &Look, caller: Caller, fields: &Fields, command: &str) -> ApiResult<ExecAnswer> {
    let words = form::words(command).map_err(|message| ApiError::field("/command", message))?;
    let mut request = json!({"command": words, "timeoutSeconds": SECONDS});
    if let Some(user) = fields.get("user").map(|user| user.trim()).filter(|user| !user.is_empty()) {
        request["user"] = json!(user);
    }
    let input = parse_value(&request, FieldValidation::Strict)?;
    exec_to_the_end(&look.state, &caller, &look.record.meta.uid, &input).await
}

fn shown(look: Look, form: CreateForm, executed: Option<Executed>) -> Terminal {
    Terminal {
        tty: look.record.spec.tty,
        stdin: look.record.spec.stdin,
        form,
        executed,
        frame: {
            let calls = [look.api("")];
            look.visit.calls(calls)
        },
        head: look.head,
    }
}
