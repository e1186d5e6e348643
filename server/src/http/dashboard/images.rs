//! `GET` and `POST /images`, `GET /images/{reference}`, `POST /images/{reference}/delete`.

use std::io;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use futures_util::StreamExt;
use jiff::Timestamp;
use multer::{Field, Multipart};
use tokio_util::io::StreamReader;
use web::pages::{CreateForm, ImagePage, ImageRow, Images, Paging};

use super::convert;
use super::create::faults;
use super::form::{self, Fields};
use super::visit::{Visit, html, with_flash};
use super::volumes::{PAGE, WantedPage};
use crate::http::auth::{Caller, Role};
use crate::http::error::{ApiError, ApiResult, ErrorCode};
use crate::http::state::{App, AppState};
use crate::image::{ImportRequest, LoadRequest};
use crate::model::Image;
use crate::model::image::ImageConfig;
use crate::model::name::Reference;

/// Of the fields before the file, each.
const MAX_FIELD_BYTES: usize = 64 << 10;

pub(super) async fn page(State(state): State<AppState>, visit: Visit, Query(wanted): Query<WantedPage>) -> ApiResult<Html<String>> {
    html(&listed(&state, visit, CreateForm::default(), &wanted.token))
}

pub(super) async fn one(State(state): State<AppState>, Path(reference): Path<String>, visit: Visit) -> ApiResult<Html<String>> {
    let record = state.store.image(&reference)?;
    let image = state.store.image_model(&record);
    let status = &image.status;
    let config = &status.config;
    let with_uid = |name: &String| {
        let uid = state.store.container(name).map(|record| record.meta.uid.clone()).unwrap_or_default();
        (name.clone(), uid)
    };
    html(&ImagePage {
        layers: status.layers.iter().map(|layer| (layer.diff_id.clone(), layer.size)).collect(),
        origin: status.origin.clone(),
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        env: config
            .env
            .iter()
            .map(|line| line.split_once('=').unwrap_or((line, "")))
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        user: config.user.clone(),
        working_dir: config.working_dir.clone(),
        stop_signal: config.stop_signal.clone(),
        ports: config.exposed_ports.keys().cloned().collect(),
        volumes: config.volumes.keys().cloned().collect(),
        labels: convert::pairs(&config.labels),
        used_by: status.used_by.iter().map(with_uid).collect(),
        image: row(&image, visit.now),
        frame: visit.calls([format!("/api/v1/images/{}", status.id)]),
    })
}

pub(super) async fn delete(State(state): State<AppState>, caller: Caller, Path(reference): Path<String>) -> ApiResult<Redirect> {
    caller.require(Role::Admin)?;
    let name = state.store.image(&reference)?.id.chars().take(12).collect::<String>();
    state.images.delete(&reference, false).await?;
    Ok(Redirect::to(&with_flash("/images", "image-deleted", &name)))
}

/// An upload as browsers send one (RFC 7578): the fields, then the file, which is unpacked as it comes.
pub(super) async fn upload(
    State(state): State<AppState>,
    caller: Caller,
    visit: Visit,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    caller.require(Role::Admin)?;
    let mut fields = Fields::new();
    match take(&state, &headers, body, &mut fields).await {
        Ok(id) => {
            let name = id.chars().take(12).collect::<String>();
            Ok(Redirect::to(&with_flash(&web::routes::image(&id), "image-made", &name)).into_response())
        }
        Err(error) => {
            let mut form = CreateForm { errors: faults(&error), values: fields };
            // What has no place of its own is about the file.
            for fault in form.errors.iter_mut().filter(|fault| !fault.path.starts_with('/')) {
                fault.path = "/body".to_owned();
            }
            Ok((error.code().status(), html(&listed(&state, visit, form, ""))?).into_response())
        }
    }
}

/// The id of the image that was made.
async fn take(state: &App, headers: &HeaderMap, body: Body, fields: &mut Fields) -> ApiResult<String> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(kind).map_err(malformed)?;
    let mut parts = Multipart::new(body.into_data_stream(), boundary);
    while let Some(part) = parts.next_field().await.map_err(malformed)? {
        let name = part.name().unwrap_or_default().to_owned();
        if name != "file" {
            fields.insert(name, text(part).await?);
            continue;
        }
        // A browser sends the field also where no file was chosen.
        if part.file_name().is_none_or(str::is_empty) {
            break;
        }
        return import(state, fields, part).await;
    }
    Err(ApiError::field("/body", "choose a file"))
}

async fn import(state: &App, fields: &Fields, file: Field<'static>) -> ApiResult<String> {
    let given = |field: &str| fields.get(field).map(|text| text.trim()).filter(|text| !text.is_empty());
    let reference = given("reference").map(str::parse::<Reference>).transpose();
    let reference = reference.map_err(|error| ApiError::field("/query/reference", error.to_string()))?;
    if reference.as_ref().is_some_and(|reference| reference.digest.is_some()) {
        return Err(ApiError::field("/query/reference", "must not have a digest: that is what the import finds out"));
    }
    let chunks = file.map(|chunk| chunk.map_err(io::Error::other));
    let body = Box::new(StreamReader::new(Box::pin(chunks)));
    if given("format") == Some("archive") {
        let loaded = state.images.load(LoadRequest { reference, ..LoadRequest::default() }, body).await?;
        return Ok(loaded.images.first().map(|(image, _)| image.id.clone()).unwrap_or_default());
    }
    let cmd = given("imageCommand").map(form::words).transpose().map_err(|message| ApiError::field("/query/command", message))?;
    let config = ImageConfig { cmd: cmd.unwrap_or_default(), ..ImageConfig::default() };
    let request = ImportRequest { reference, config, ..ImportRequest::default() };
    let (image, _) = state.images.import(request, body).await?;
    Ok(image.id.clone())
}

async fn text(mut part: Field<'static>) -> ApiResult<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = part.chunk().await.map_err(malformed)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_FIELD_BYTES {
            return Err(ApiError::new(ErrorCode::TooLarge, format!("a field of the form is larger than {MAX_FIELD_BYTES} bytes")));
        }
    }
    String::from_utf8(bytes).map_err(|_| ApiError::new(ErrorCode::MalformedRequest, "a field of the form is not UTF-8"))
}

fn malformed(error: multer::Error) -> ApiError {
    ApiError::new(ErrorCode::MalformedRequest, format!("the upload cannot be read: {error}"))
}

/// The newest first; `after` is the id of the last one that the page before showed.
fn listed(state: &App, visit: Visit, form: CreateForm, after: &str) -> Images {
    let images: Vec<Image> = state.store.images().iter().map(|record| state.store.image_model(record)).collect();
    // Layers that images share are on the disk once.
    let layers: std::collections::BTreeMap<_, _> =
        images.iter().flat_map(|image| &image.status.layers).map(|layer| (&layer.diff_id, layer.size)).collect();
    let now = visit.now;
    // One that is gone meanwhile: from the beginning.
    let from = images.iter().position(|image| image.status.id == after).map_or(0, |last| last + 1);
    let shown = &images[from..(from + PAGE).min(images.len())];
    let remaining = images.len() - from - shown.len();
    let next = shown.last().filter(|_| remaining > 0).map(|last| last.status.id.as_str());
    Images {
        count: images.len() as u64,
        total_bytes: layers.values().sum(),
        paging: Paging::new("/images", next, from > 0, remaining as u64),
        rows: shown.iter().map(|image| row(image, now)).collect(),
        frame: visit.calls(["/api/v1/images".to_owned()]),
        form,
    }
}

fn row(image: &Image, now: Timestamp) -> ImageRow {
    let status = &image.status;
    ImageRow {
        references: image.spec.references.iter().map(|reference| convert::image_name(reference)).collect(),
        digest: status.id.clone(),
        size: status.size,
        layers: status.layers.len(),
        platform: format!("{}/{}", status.os, status.architecture),
        created: Some(convert::moment(image.metadata.creation_timestamp, now)),
        command: status.config.entrypoint.iter().chain(&status.config.cmd).cloned().collect(),
        used_by: status.used_by.len() as u64,
    }
}
