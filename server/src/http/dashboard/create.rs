//! `GET` and `POST /containers/new`.

use axum::Form;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde_json::Value;
use web::pages::{Create, CreateForm, FIELDS, FieldError as PageFault, Preview};

use super::actions;
use super::convert;
use super::form::{self, Fields};
use super::visit::{Visit, html, with_flash};
use crate::http::auth::Caller;
use crate::http::containers::create::{ContainerInput, create};
use crate::http::error::{ApiError, ApiResult, ErrorCode, FieldError};
use crate::http::extract::json::{FieldValidation, parse_value};
use crate::http::input::MetadataInput;
use crate::http::state::{App, AppState};
use crate::model::Phase;
use crate::store::ListQuery;

/// Names offered to join; more would not be read.
const JOINABLE: usize = 50;
/// Volumes shown as examples of what to write.
const VOLUMES: usize = 8;

/// A link may bring values along: `?image=busybox`.
pub(super) async fn show(State(state): State<AppState>, visit: Visit, Query(given): Query<Fields>) -> ApiResult<Html<String>> {
    let mut form = CreateForm::fresh();
    form.values.extend(given.into_iter().filter(|(field, _)| FIELDS.iter().any(|(known, _)| known == field)));
    html(&page(&state, visit, form))
}

pub(super) async fn submit(State(state): State<AppState>, caller: Caller, visit: Visit, Form(fields): Form<Fields>) -> ApiResult<Response> {
    if fields.contains_key("preview") {
        return preview(&state, visit, fields);
    }
    let start_it = fields.contains_key("start");
    let name = match made(&state, &caller, &fields).await {
        Ok(name) => name,
        Err(error) => {
            let form = CreateForm { errors: faults(&error), values: fields };
            return Ok((error.code().status(), html(&page(&state, visit, form))?).into_response());
        }
    };
    let done = if start_it { actions::start(&state, &name).await? } else { "created" };
    Ok(Redirect::to(&with_flash(&format!("/containers/{name}"), done, &name)).into_response())
}

/// The form as it was, with the request that it stands for. Nothing is made.
fn preview(state: &App, visit: Visit, fields: Fields) -> ApiResult<Response> {
    let (request, unread) = form::container(&fields);
    let readable = unread.is_empty();
    let errors = unread.into_iter().map(|fault| PageFault { path: fault.path, message: fault.message }).collect();
    let mut page = page(state, visit, CreateForm { values: fields, errors });
    if readable {
        let laid_out = serde_json::to_string_pretty(&request).map_err(|error| ApiError::internal(error.to_string()))?;
        page.preview = Some(Preview::new(&page.frame, laid_out, &request.to_string()));
    }
    let status = if readable { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    Ok((status, html(&page)?).into_response())
}

/// Through the API's own door: its parsing, its rules, its store.
async fn made(state: &App, caller: &Caller, fields: &Fields) -> ApiResult<String> {
    let (request, unread) = form::container(fields);
    if !unread.is_empty() {
        return Err(ApiError::invalid(unread));
    }
    let spec = request.get("spec").map(Value::to_string).unwrap_or_default();
    let input: ContainerInput = parse_value(&request, FieldValidation::Strict).map_err(|error| with_metadata_faults(error, &request))?;
    Ok(create(state, caller, input, spec).await?.meta.name.clone())
}

/// A spec that cannot be read hides what the rules would say of the name and the labels; a person wants to hear it all at once.
fn with_metadata_faults(error: ApiError, request: &Value) -> ApiError {
    let metadata = request.get("metadata").cloned().unwrap_or_default();
    let mut faults = serde_json::from_value::<MetadataInput>(metadata).map(|metadata| metadata.faults()).unwrap_or_default();
    if faults.is_empty() || error.errors().is_empty() {
        return error;
    }
    faults.extend_from_slice(error.errors());
    ApiError::invalid(faults)
}

/// Each with a place: what names none is about the name where it is taken, else about all of it.
pub(super) fn faults(error: &ApiError) -> Vec<PageFault> {
    let fault = |error: &FieldError| PageFault { path: error.path.clone(), message: error.message.clone() };
    match (error.errors(), error.code()) {
        ([], ErrorCode::AlreadyExists) => vec![PageFault { path: "/metadata/name".to_owned(), message: error.detail().to_owned() }],
        ([], code) => vec![PageFault { path: code.title().to_owned(), message: error.detail().to_owned() }],
        (errors, _) => errors.iter().map(fault).collect(),
    }
}

fn page(state: &App, visit: Visit, form: CreateForm) -> Create {
    let images = state.store.images();
    let running = ListQuery { phase: Some(Phase::Running), limit: Some(JOINABLE), ..ListQuery::default() };
    let volumes = state.store.list_volumes(&ListQuery { limit: Some(VOLUMES), ..ListQuery::default() });
    let joinable = state.store.list_containers(&running).map(|page| page.items).unwrap_or_default();
    Create {
        images: images.iter().flat_map(|image| &image.references).map(|reference| convert::image_name(reference)).collect(),
        joinable: joinable.iter().map(|record| record.meta.name.clone()).collect(),
        volumes: volumes.map(|page| page.items.iter().map(|record| record.meta.name.clone()).collect()).unwrap_or_default(),
        frame: visit.frame,
        form,
        preview: None,
    }
}
