//! `GET` and `POST /volumes`, `POST /volumes/{name}/delete`.

use axum::Form;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde_json::json;
use web::pages::{CreateForm, VolumeRow, Volumes};

use super::convert;
use super::create::faults;
use super::form::Fields;
use super::visit::{Visit, html, with_flash};
use crate::http::error::ApiResult;
use crate::http::extract::json::{FieldValidation, parse_value};
use crate::http::extract::{ApiJson, ApiPath};
use crate::http::state::{App, AppState};
use crate::http::volumes::{create as api_create, delete as api_delete};
use crate::store::ListQuery;

pub(super) async fn page(State(state): State<AppState>, visit: Visit) -> ApiResult<Html<String>> {
    html(&listed(&state, visit, CreateForm::default())?)
}

pub(super) async fn create(State(state): State<AppState>, visit: Visit, Form(fields): Form<Fields>) -> ApiResult<Response> {
    let name = fields.get("name").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    let metadata = name.as_ref().map_or_else(|| json!({}), |name| json!({"name": name}));
    let input = parse_value(&json!({"metadata": metadata}), FieldValidation::Strict)?;
    match api_create::create_volume(State(state.clone()), ApiJson(input)).await {
        Ok(_) => Ok(Redirect::to(&with_flash("/volumes", "volume-created", &name.unwrap_or_default())).into_response()),
        Err(error) => {
            let form = CreateForm { errors: faults(&error), values: fields };
            Ok((error.code().status(), html(&listed(&state, visit, form)?)?).into_response())
        }
    }
}

pub(super) async fn delete(State(state): State<AppState>, Path(name): Path<String>) -> ApiResult<Redirect> {
    api_delete::delete_volume(State(state), ApiPath(name.clone())).await?;
    Ok(Redirect::to(&with_flash("/volumes", "volume-deleted", &name)))
}

fn listed(state: &App, visit: Visit, form: CreateForm) -> ApiResult<Volumes> {
    let volumes = state.store.list_volumes(&ListQuery::default())?;
    let now = visit.now;
    let rows = volumes.items.iter().map(|record| state.store.volume_model(record)).map(|volume| VolumeRow {
        name: volume.metadata.name,
        created: convert::moment(volume.metadata.creation_timestamp, now),
        labels: convert::pairs(&volume.metadata.labels),
        used_by: volume.status.used_by,
    });
    Ok(Volumes { rows: rows.collect(), frame: visit.calls(["/api/v1/volumes".to_owned()]), form })
}
