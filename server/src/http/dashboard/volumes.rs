//! `GET` and `POST /volumes`, `POST /volumes/{name}/delete`.

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use web::pages::{CreateForm, Paging, VolumeRow, Volumes};

use super::convert;
use super::create::faults;
use super::form::{self, Fields};
use super::visit::{Visit, html, with_flash};
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::json::{FieldValidation, parse_value};
use crate::http::extract::{ApiPath, IfMatch};
use crate::http::state::{App, AppState};
use crate::http::volumes::{create as api_create, delete as api_delete};
use crate::store::ListQuery;

/// Rows of a page of a list.
pub(super) const PAGE: usize = 50;

/// Which page of a list: what the last one gave as `continue`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WantedPage {
    #[serde(rename = "continue")]
    pub(super) token: String,
}

pub(super) async fn page(State(state): State<AppState>, visit: Visit, Query(wanted): Query<WantedPage>) -> ApiResult<Html<String>> {
    html(&listed(&state, visit, CreateForm::default(), wanted)?)
}

pub(super) async fn create(State(state): State<AppState>, visit: Visit, Form(fields): Form<Fields>) -> ApiResult<Response> {
    match made(&state, &fields).await {
        Ok(name) => Ok(Redirect::to(&with_flash("/volumes", "volume-created", &name)).into_response()),
        Err(error) => {
            let form = CreateForm { errors: faults(&error), values: fields };
            Ok((error.code().status(), html(&listed(&state, visit, form, WantedPage::default())?)?).into_response())
        }
    }
}

/// Its name, which may be one that was made for it.
async fn made(state: &App, fields: &Fields) -> ApiResult<String> {
    let (request, unread) = form::volume(fields);
    if !unread.is_empty() {
        return Err(ApiError::invalid(unread));
    }
    let input = parse_value(&request, FieldValidation::Strict)?;
    Ok(api_create::create(state, input).await?.meta.name.clone())
}

pub(super) async fn delete(State(state): State<AppState>, Path(name): Path<String>) -> ApiResult<Redirect> {
    api_delete::delete_volume(State(state), ApiPath(name.clone()), IfMatch::Any).await?;
    Ok(Redirect::to(&with_flash("/volumes", "volume-deleted", &name)))
}

fn listed(state: &App, visit: Visit, form: CreateForm, wanted: WantedPage) -> ApiResult<Volumes> {
    let token = Some(wanted.token).filter(|token| !token.is_empty());
    let later_page = token.is_some();
    let volumes = state.store.list_volumes(&ListQuery { limit: Some(PAGE), continue_token: token, ..ListQuery::default() })?;
    let next = Some(volumes.meta.continue_token.as_str()).filter(|token| !token.is_empty());
    let paging = Paging::new("/volumes", next, later_page, volumes.meta.remaining_item_count);
    let now = visit.now;
    let rows = volumes.items.iter().map(|record| state.store.volume_model(record)).map(|volume| VolumeRow {
        name: volume.metadata.name,
        created: convert::moment(volume.metadata.creation_timestamp, now),
        labels: convert::pairs(&volume.metadata.labels),
        used_by: volume.status.used_by,
    });
    Ok(Volumes { rows: rows.collect(), paging, frame: visit.calls([format!("/api/v1/volumes?limit={PAGE}")]), form })
}
