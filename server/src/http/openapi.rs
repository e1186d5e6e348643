//! The API's own description, made from the handlers: OpenAPI 3.1.
//!
//! `routes!` puts a handler into the router and into the document at once, so neither can have what the other lacks. What is true of every
//! operation (which errors, which security schemes, `fieldValidation`, `Idempotency-Key`) is added here and not written forty times.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi as _;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, Ref, RefOr, Required, schema};

use super::auth::access::{self, Access};
use super::error::{ErrorCode, Problem};
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

/// Adds to each operation what is true of all.
pub fn complete(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(
        access::SCHEME,
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("An API token, `berth_…`. The roles that an operation lists are the least that it needs; `viewer` < `operator` < `admin`."))
                .build(),
        ),
    );
    let cookie = ApiKeyValue::with_description("berth-session-7777", "Set by `/login`; the name ends with the port. For browsers.");
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    for status in STATUSES {
        components.responses.insert(response_name(*status), RefOr::T(problem_response(*status)));
    }
    for (path, item) in &mut document.paths.paths {
        let parts =
            [(false, &mut item.get), (true, &mut item.post), (false, &mut item.put), (false, &mut item.patch), (false, &mut item.delete)];
        for (post, operation) in parts {
            if let Some(operation) = operation {
                complete_operation(operation, path, post);
            }
        }
    }
}

/// Statuses that need no words of their own at the handlers.
const STATUSES: &[StatusCode] = &[
    StatusCode::BAD_REQUEST,
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::NOT_FOUND,
    StatusCode::CONFLICT,
    StatusCode::PRECONDITION_FAILED,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    StatusCode::MISDIRECTED_REQUEST,
    StatusCode::UNPROCESSABLE_ENTITY,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];

fn response_name(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or_default().split([' ', '-']).collect()
}

fn problem_response(status: StatusCode) -> utoipa::openapi::Response {
    let codes: Vec<String> = ErrorCode::ALL
        .iter()
        .filter(|code| code.status() == status)
        .map(|code| format!("`{}`: {}.", code.as_str(), code.title()))
        .collect();
    ResponseBuilder::new().description(codes.join(" ")).content("application/problem+json", problem_content()).build()
}

fn problem_content() -> utoipa::openapi::Content {
    ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build()
}

fn complete_operation(operation: &mut Operation, path: &str, post: bool) {
    let access = operation.security.as_deref().and_then(access::declared);
    let mut statuses = vec![400, 421, 500, 503];
    if let Some(Access::Needs(_)) = access {
        statuses.extend([401, 403, 429]);
        if let Some(security) = &mut operation.security {
            security.push(SecurityRequirement::new("session", Vec::<String>::new()));
        }
    }
    if path.contains('{') {
        statuses.push(404);
    }
    let has_body = operation.request_body.is_some();
    if has_body {
        statuses.extend([413, 415, 422]);
        let modes = schema::ObjectBuilder::new()
            .schema_type(schema::Type::String)
            .enum_values(Some(["Strict", "Warn", "Ignore"]))
            .default(Some("Strict".into()));
        let text = "What to do with fields that are not known: refuse, accept with a `Warning` header for each, or accept.";
        parameters(operation).push(parameter("fieldValidation", ParameterIn::Query, text, modes.build()));
    }
    if operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty()) {
        statuses.push(422);
    }
    if post {
        let text = "The first answer to this key is replayed for 24 hours: a request whose answer was lost can be repeated safely.";
        let key = schema::ObjectBuilder::new().schema_type(schema::Type::String).max_length(Some(255)).build();
        parameters(operation).push(parameter("Idempotency-Key", ParameterIn::Header, text, key));
        statuses.extend([409, 422]);
    }
    // Errors that a handler describes in its own words.
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && status.starts_with(['4', '5'])
        {
            response.content.insert("application/problem+json".to_owned(), RefOr::T(problem_content()));
        }
    }
    for status in statuses {
        let Ok(code) = StatusCode::from_u16(status) else { continue };
        let reference = || RefOr::Ref(Ref::new(format!("#/components/responses/{}", response_name(code))));
        operation.responses.responses.entry(status.to_string()).or_insert_with(reference);
    }
}

fn parameters(operation: &mut Operation) -> &mut Vec<RefOr<Parameter>> {
    operation.parameters.get_or_insert_default()
}

fn parameter(name: &str, place: ParameterIn, description: &str, schema: schema::Object) -> RefOr<Parameter> {
    let parameter = ParameterBuilder::new().name(name).parameter_in(place).required(Required::False).description(Some(description));
    RefOr::T(parameter.schema(Some(schema)).build())
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
    responses((status = 200, description = "The document", body = String, content_type = "application/yaml")))]
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
