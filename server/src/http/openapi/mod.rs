//! The API's own description, made from the handlers: OpenAPI 3.1.
//!
//! `routes!` puts a handler into the router and into the document at once, so neither can have what the other lacks. What is true of every
//! operation (which errors, which security schemes, `fieldValidation`, `Idempotency-Key`) is added here and not written forty times.

mod examples;
mod operations;
mod schemas;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::server::{ServerBuilder, ServerVariableBuilder};

use super::auth::access;
use super::error::Problem;
use super::state::AppState;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Berth",
        description = "Containers on one Linux machine, from first principles.\n\nOver TCP requests need `Authorization: Bearer berth_…` or a session cookie; over the unix socket root needs nothing. Errors are problem documents (RFC 9457)."
    ),
    tags(
        (name = "containers", description = "Programs in namespaces and a cgroup of their own."),
        (name = "images", description = "Root file systems and how to run what is in them."),
        (name = "volumes", description = "Folders that outlive containers."),
        (name = "events", description = "What happened, in order, durably."),
        (name = "tokens", description = "Who may call."),
        (name = "system", description = "The host, health, figures, and this document."),
    ),
    components(schemas(Problem)),
)]
struct Base;

/// The document without operations: the router adds them.
pub fn base() -> OpenApi {
    Base::openapi()
}

/// Adds what is true of all operations, and puts the types in the form that generated clients understand.
pub fn complete(document: &mut OpenApi) {
    add_servers(document);
    add_security(document);
    schemas::tidy(document);
    operations::complete(document);
    examples::fill(document);
}

fn add_servers(document: &mut OpenApi) {
    let port = ServerVariableBuilder::new().default_value("7777").description(Some("As `berth serve --listen` says"));
    let loopback = ServerBuilder::new()
        .url("http://127.0.0.1:{port}")
        .description(Some(
            "TCP on loopback. The unix socket, `/run/berth/berth.sock`, serves the same under any host name, and root needs no token there.",
        ))
        .parameter("port", port);
    document.servers = Some(vec![loopback.build()]);
}

fn add_security(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    let text = "An API token, `berth_…` (`berth token create`). The roles that an operation lists are the least that it needs; `viewer` < `operator` < `admin`.";
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(text)).build();
    components.add_security_scheme(access::SCHEME, SecurityScheme::Http(bearer));
    let cookie = ApiKeyValue::with_description("berth-session-7777", "Set by `/login`; the name ends with the port. For browsers.");
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
}

/// As `berth openapi` prints it and `openapi/berth.json` keeps it.
pub fn text() -> String {
    let mut text = super::router::document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// The OpenAPI document of this server as JSON.
#[utoipa::path(get, path = "/openapi.json", operation_id = "getOpenapiJson", tag = "system", security(("token" = ["viewer"])),
    responses((status = 200, description = "The document", body = Object, content_type = "application/json")))]
pub async fn json(State(state): State<AppState>, headers: HeaderMap) -> Response {
    serve(&headers, "application/json", &state.documents.json)
}

/// The OpenAPI document of this server as YAML.
#[utoipa::path(get, path = "/openapi.yaml", operation_id = "getOpenapiYaml", tag = "system", security(("token" = ["viewer"])),
    responses((status = 200, description = "The document", body = Object, content_type = "application/yaml")))]
pub async fn yaml(State(state): State<AppState>, headers: HeaderMap) -> Response {
    serve(&headers, "application/yaml", &state.documents.yaml)
}

fn serve(headers: &HeaderMap, kind: &'static str, text: &axum::body::Bytes) -> Response {
    let tag = concat!("openapi-", env!("CARGO_PKG_VERSION"));
    if super::extract::precondition::is_known(headers, tag) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let head = [(header::CONTENT_TYPE, HeaderValue::from_static(kind)), (header::ETAG, super::extract::precondition::etag(tag))];
    (head, text.clone()).into_response()
}

/// Compares a generated file with what it would be now; with `UPDATE_GENERATED=1` in the environment it is written instead.
#[cfg(test)]
pub(crate) fn generated_file_is_fresh(path: &str, wanted: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if std::env::var_os("UPDATE_GENERATED").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == wanted, "{path} is stale: run `UPDATE_GENERATED=1 cargo test -p server --lib fresh`");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_fresh() {
        generated_file_is_fresh("openapi/berth.json", &text());
    }

    #[test]
    fn every_operation_says_who_may_call_it_and_has_a_name_of_its_own() {
        let document = super::super::router::document();
        let mut names = std::collections::BTreeSet::new();
        for (path, item) in &document.paths.paths {
            for (method, operation) in access::methods(item) {
                assert!(operation.security.as_deref().and_then(access::declared).is_some(), "{method} {path} declares no role");
                let name = operation.operation_id.clone().unwrap_or_default();
                assert!(name.starts_with(|c: char| c.is_ascii_lowercase()) && names.insert(name.clone()), "{method} {path}: {name:?}");
                assert!(operation.summary.is_some() && operation.tags.is_some(), "{method} {path} has no summary or tag");
            }
        }
        assert!(names.len() > 3);
    }

    #[test]
    fn every_request_and_answer_has_an_example_and_every_parameter_a_description() {
        let document = serde_json::to_value(super::super::router::document()).unwrap();
        let mut examples = 0;
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let here = format!("{method} {path}");
                let answers = operation["responses"].as_object().into_iter().flatten().map(|(_, response)| response);
                for contents in answers.chain([&operation["requestBody"]]).filter_map(|one| one["content"].as_object()) {
                    for (kind, content) in contents.iter().filter(|(kind, _)| !operations::is_archive(kind)) {
                        // YAML is this document.
                        assert!(content.get("example").is_some() || kind == "application/yaml", "{here}: {kind} has no example");
                        examples += 1;
                    }
                }
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    assert!(parameter.get("$ref").is_some() || parameter["description"].is_string(), "{here}: {parameter}");
                }
                let statuses = operation["responses"].as_object().unwrap();
                assert!(["400", "401", "500", "503"].iter().all(|status| statuses.contains_key(*status)), "{here}");
            }
        }
        assert!(examples > 50, "only {examples}");
    }

    #[test]
    fn integers_are_of_a_kind_that_every_language_has() {
        let text = text();
        assert!(text.contains("\"int64\"") && !text.contains("uint") && !text.contains("u-int"));
        assert!(text.contains("\"binary\"") && text.contains("\"ContainerList\"") && !text.contains("List_"));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = serde_json::to_value(super::super::router::document()).unwrap();
        let mut open = vec![&document];
        while let Some(value) = open.pop() {
            match value {
                serde_json::Value::Object(fields) => {
                    if let Some(serde_json::Value::String(target)) = fields.get("$ref") {
                        let pointer = target.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
                    }
                    open.extend(fields.values());
                }
                serde_json::Value::Array(items) => open.extend(items),
                _ => {}
            }
        }
    }
}
