//! `POST /api/v1/images/import`.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::StreamExt;
use serde::Deserialize;
use tokio_util::io::StreamReader;
use utoipa::IntoParams;

use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::ApiQuery;
use crate::http::extract::json::require_media_type;
use crate::http::list;
use crate::http::state::AppState;
use crate::image::ImportRequest;
use crate::model::Image;
use crate::model::image::{Healthcheck, ImageConfig, Present};
use crate::model::name::Reference;

/// How an upload may begin and go on: with a pause of at most so long.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// Media types of a tar, packed or not.
pub const TARS: &[&str] =
    &["application/x-tar", "application/tar", "application/gzip", "application/x-gzip", "application/zstd", "application/octet-stream"];

#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct ImportParams {
    /// What it is to be called.
    #[param(example = "busybox:latest")]
    reference: Option<String>,
    /// What runs when a container names no `command`: a JSON array, or one word.
    #[param(example = "[\"sh\"]")]
    command: Option<String>,
    /// Comes before `command`: a JSON array, or one word.
    entrypoint: Option<String>,
    /// `NAME=value`: a JSON array, or one of them.
    env: Option<String>,
    /// `uid`, `uid:gid`, `name` or `name:group`.
    user: Option<String>,
    /// An absolute path.
    working_dir: Option<String>,
    /// Labels: a JSON object, or one `key=value`.
    label: Option<String>,
    stop_signal: Option<String>,
    /// Ports that it serves (`80/tcp`), for people: a JSON array, or one of them.
    expose: Option<String>,
    /// Paths that get a volume of their own: a JSON array, or one of them.
    volume: Option<String>,
    /// How to see whether it is well: a JSON object in Docker's form (`{"Test": ["CMD", "true"], "Interval": 30000000000}`), or a line for its shell.
    healthcheck: Option<String>,
    /// As in the OCI image specification (`amd64`); this machine's when absent.
    architecture: Option<String>,
}

/// Make an image of a root file system.
///
/// The body is a tar, plain or packed with gzip or zstd. It is unpacked as it comes, by a process that can reach only its own folder; what is
/// truncated, or has an entry that would lead outside, is refused with that entry's name and leaves nothing.
#[utoipa::path(post, path = "/api/v1/images/import", operation_id = "importImage", tag = "images", security(("token" = ["admin"])),
    params(ImportParams),
    request_body(content((String = "application/x-tar"), (String = "application/gzip"), (String = "application/zstd"), (String = "application/octet-stream"))),
    responses((status = 201, description = "Made", body = Image, headers(("Location" = String, description = "Its address")))))]
pub async fn import_image(
    State(state): State<AppState>,
    headers: HeaderMap,
    ApiQuery(params): ApiQuery<ImportParams>,
    body: Body,
) -> ApiResult<Response> {
    require_media_type(&headers, TARS)?;
    let request = request(params)?;
    let name = request.reference.as_ref().map(Reference::familiar);
    let chunks = body.into_data_stream().map(|chunk| chunk.map_err(io::Error::other));
    let chunks = tokio_stream::StreamExt::timeout(chunks, STALLED_AFTER).map(|chunk| match chunk {
        Ok(chunk) => chunk,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the upload stalled")),
    });
    let (image, _) = state.images.import(request, Box::new(StreamReader::new(Box::pin(chunks)))).await?;
    let place = name.unwrap_or_else(|| image.id.clone());
    let place: String = form_urlencoded::byte_serialize(place.as_bytes()).collect();
    // `:` needs no escape in a path, and people read it.
    let location = format!("/api/v1/images/{}", place.replace("%3A", ":"));
    Ok(list::created(location, &list::json(&state.store.image_model(&image))?, &image.version.to_string()))
}

fn request(params: ImportParams) -> ApiResult<ImportRequest> {
    let reference = match params.reference.as_deref() {
        None => None,
        Some(text) => Some(text.parse::<Reference>().map_err(|error| ApiError::field("/query/reference", error.to_string()))?),
    };
    if reference.as_ref().is_some_and(|reference| reference.digest.is_some()) {
        return Err(ApiError::field("/query/reference", "must not have a digest: that is what the import finds out"));
    }
    let config = ImageConfig {
        cmd: words("/query/command", params.command)?,
        entrypoint: words("/query/entrypoint", params.entrypoint)?,
        env: words("/query/env", params.env)?,
        user: params.user.unwrap_or_default(),
        working_dir: params.working_dir.unwrap_or_default(),
        stop_signal: params.stop_signal.unwrap_or_default(),
        labels: labels(params.label)?,
        exposed_ports: words("/query/expose", params.expose)?.into_iter().map(|port| (port, Present {})).collect(),
        volumes: words("/query/volume", params.volume)?.into_iter().map(|path| (path, Present {})).collect(),
        healthcheck: params.healthcheck.map(healthcheck).transpose()?,
    };
    Ok(ImportRequest { reference, config, architecture: params.architecture.unwrap_or_default(), ..ImportRequest::default() })
}

/// A JSON array of texts, or a single one.
fn words(path: &str, text: Option<String>) -> ApiResult<Vec<String>> {
    match text {
        None => Ok(Vec::new()),
        Some(text) if text.trim_start().starts_with('[') => {
            serde_json::from_str(&text).map_err(|_| ApiError::field(path, "must be a JSON array of texts, or one word"))
        }
        Some(text) => Ok(vec![text]),
    }
}

fn labels(text: Option<String>) -> ApiResult<std::collections::BTreeMap<String, String>> {
    let Some(text) = text else { return Ok(Default::default()) };
    let refuse = || ApiError::field("/query/label", "must be a JSON object of texts, or one key=value");
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(&text).map_err(|_| refuse());
    }
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(refuse)?;
    Ok([(key.to_owned(), value.to_owned())].into())
}

fn healthcheck(text: String) -> ApiResult<Healthcheck> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(&text)
            .map_err(|error| ApiError::field("/query/healthcheck", format!("must be Docker's Healthcheck: {error}")));
    }
    Ok(Healthcheck { test: vec!["CMD-SHELL".to_owned(), text], ..Healthcheck::default() })
}

/// The parameter behind a place in an image's configuration.
pub fn query_path(path: &str) -> String {
    let names = [
        ("Env", "env"),
        ("Entrypoint", "entrypoint"),
        ("Cmd", "command"),
        ("User", "user"),
        ("WorkingDir", "workingDir"),
        ("StopSignal", "stopSignal"),
        ("ExposedPorts", "expose"),
        ("Volumes", "volume"),
        ("Healthcheck", "healthcheck"),
    ];
    let rest = path.strip_prefix("/config/").unwrap_or(path);
    match names.iter().find_map(|(field, name)| rest.strip_prefix(field).map(|rest| format!("/query/{name}{rest}"))) {
        Some(path) => path,
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_come_in_the_query() {
        let params = ImportParams {
            reference: Some("busybox".into()),
            command: Some("[\"sh\", \"-c\"]".into()),
            entrypoint: Some("/init".into()),
            label: Some("a=b=c".into()),
            volume: Some("[\"/data\"]".into()),
            healthcheck: Some("{\"Test\": [\"CMD\", \"true\"], \"Retries\": 2}".into()),
            ..ImportParams::default()
        };
        let request = request(params).unwrap();
        assert_eq!(request.config.cmd, ["sh", "-c"]);
        assert_eq!(request.config.entrypoint, ["/init"]);
        assert_eq!(request.config.labels["a"], "b=c");
        assert!(request.config.volumes.contains_key("/data"));
        assert_eq!(request.config.healthcheck.map(|check| (check.test.len(), check.retries)), Some((2, 2)));
        assert_eq!(query_path("/config/Env/2"), "/query/env/2");
    }

    #[test]
    fn what_is_no_configuration_names_its_parameter() {
        for (params, path) in [
            (ImportParams { reference: Some(String::new()), ..ImportParams::default() }, "/query/reference"),
            (ImportParams { reference: Some("../x".into()), ..ImportParams::default() }, "/query/reference"),
            (ImportParams { reference: Some("sha256:zz".into()), ..ImportParams::default() }, "/query/reference"),
            (ImportParams { command: Some("[1]".into()), ..ImportParams::default() }, "/query/command"),
            (ImportParams { healthcheck: Some("{\"Test\": 7}".into()), ..ImportParams::default() }, "/query/healthcheck"),
            (ImportParams { label: Some("nothing".into()), ..ImportParams::default() }, "/query/label"),
        ] {
            assert_eq!(request(params).unwrap_err().errors()[0].path, path);
        }
    }
}
