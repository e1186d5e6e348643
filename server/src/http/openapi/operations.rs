//! What is true of every operation, found out from how it is declared: the errors that its layers and extractors can answer with, the
//! parameters that they read, the headers that they set.
//!
//! ```text
//! every one               400 401 403 414 421 429 431 500 503    X-Request-Id
//! `{…}` in its path       404 409
//! a body                  408 413 415 422                        fieldValidation, Warning (JSON alone)
//! parameters              422
//! POST                    409 422                                Idempotency-Key, Idempotent-Replayed
//! `If-Match`              412
//! answers a resource      304 (GET)                              ETag, If-None-Match, Location (201)
//! asks the runtime        504
//! ```

use axum::http::{Method, StatusCode};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Components, OpenApi, Ref, RefOr, Required, Response};

use super::schemas::resolve;
use crate::http::error::{ErrorCode, Problem};
use crate::http::layers::replay;

const PROBLEM: &str = "application/problem+json";
/// A list of tags in quotes, or `*` (RFC 9110 section 13.1.1).
const ENTITY_TAGS: &str = r#"^(\*|(W/)?"[!#-+\--~]*"(, ?(W/)?"[!#-+\--~]*")*)$"#;
const ALWAYS: [u16; 9] = [400, 401, 403, 414, 421, 429, 431, 500, 503];

/// Every operation, to be changed.
pub(super) fn all(document: &mut OpenApi) -> impl Iterator<Item = (&str, Method, &mut Operation)> {
    document
        .paths
        .paths
        .iter_mut()
        .flat_map(|(path, item)| methods(item).map(move |(method, operation)| (path.as_str(), method, operation)))
}

fn methods(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let each = [
        (Method::GET, &mut item.get),
        (Method::PUT, &mut item.put),
        (Method::POST, &mut item.post),
        (Method::DELETE, &mut item.delete),
        (Method::PATCH, &mut item.patch),
    ];
    each.into_iter().filter_map(|(method, operation)| operation.as_mut().map(|operation| (method, operation)))
}

/// Bytes, and not text.
pub(super) fn is_archive(kind: &str) -> bool {
    matches!(kind, "application/octet-stream" | "application/gzip" | "application/zstd") || kind.ends_with("tar")
}

pub(super) fn complete(document: &mut OpenApi) {
    let mut components = document.components.take().unwrap_or_default();
    add_shared(&mut components);
    for (path, method, operation) in all(document) {
        complete_operation(operation, path, &method, &components);
    }
    let used = serde_json::to_string(&document.paths).unwrap_or_default();
    components.responses.retain(|name, _| used.contains(&format!("\"#/components/responses/{name}\"")));
    document.components = Some(components);
}

fn complete_operation(operation: &mut Operation, path: &str, method: &Method, components: &Components) {
    let mut statuses = ALWAYS.to_vec();
    let post = *method == Method::POST;
    if let Some(security) = &mut operation.security
        && matches!(super::access::declared(security), Some(super::access::Access::Needs(_)))
    {
        security.push(SecurityRequirement::new("session", Vec::<String>::new()));
    }
    if path.contains('{') {
        statuses.extend([404, 409]);
    }
    // A parameter that is not known, if nothing else.
    if path.starts_with("/api/v1/") || operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty()) {
        statuses.push(422);
    }
    if asks_runtime(path, method) {
        statuses.push(504);
    }
    if let Some(parameter) = own_parameter(operation, "If-Match") {
        let tags = ObjectBuilder::new().schema_type(Type::String).pattern(Some(ENTITY_TAGS)).examples([serde_json::json!("\"42\"")]);
        parameter.schema = Some(tags.build().into());
        statuses.push(412);
    }
    if operation.request_body.is_some() {
        statuses.extend([408, 413, 415, 422]);
    }
    let reads_json = has_json_body(operation);
    if reads_json {
        add_parameter(operation, "FieldValidation");
    }
    let replays = post && !replay::SECRET.contains(&path);
    if post {
        statuses.extend([409, 422]);
    }
    if replays {
        add_parameter(operation, "IdempotencyKey");
    }
    // Of lists that are made anew for each answer the version is the container's.
    let versioned = answers_a_resource(operation, components) && !path.ends_with("/execs") && !path.ends_with("/changes");
    if versioned && *method == Method::GET {
        add_parameter(operation, "IfNoneMatch");
        let unchanged = || RefOr::T(ResponseBuilder::new().description("It has not changed since `If-None-Match`").build());
        operation.responses.responses.entry("304".to_owned()).or_insert_with(unchanged);
    }
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if status.starts_with(['4', '5']) {
            response.content.insert(PROBLEM.to_owned(), RefOr::T(problem_content(status)));
            continue;
        }
        add_header(response, "X-Request-Id", "RequestId");
        let done = status.starts_with('2');
        let rules = [
            ("ETag", "ETag", versioned && status != "204"),
            ("Location", "Location", status == "201"),
            ("Warning", "Warning", reads_json && done),
            ("Idempotent-Replayed", "IdempotentReplayed", replays && done),
        ];
        rules.into_iter().filter(|(_, _, applies)| *applies).for_each(|(name, component, _)| add_header(response, name, component));
    }
    for status in statuses {
        let name = response_name(StatusCode::from_u16(status).unwrap_or_default());
        let reference = || RefOr::Ref(Ref::new(format!("#/components/responses/{name}")));
        operation.responses.responses.entry(status.to_string()).or_insert_with(reference);
    }
}

/// Whether the handler waits for the launcher or a shim, which have a deadline; the others answer from memory.
fn asks_runtime(path: &str, method: &Method) -> bool {
    let below_a_container = path.strip_prefix("/api/v1/containers/{name}/").is_some_and(|view| view != "logs");
    let changes = *method != Method::GET && !path.starts_with("/api/v1/tokens");
    below_a_container || changes || path.starts_with("/api/v1/system") || path == "/readyz"
}

/// One that the handler declares.
fn own_parameter<'a>(operation: &'a mut Operation, name: &str) -> Option<&'a mut Parameter> {
    operation.parameters.iter_mut().flatten().find_map(|parameter| match parameter {
        RefOr::T(parameter) if parameter.name == name => Some(parameter),
        _ => None,
    })
}

fn has_json_body(operation: &Operation) -> bool {
    matches!(&operation.request_body, Some(RefOr::T(body)) if body.content.keys().any(|kind| kind.ends_with("json")))
}

/// A resource, or a list of them: what has `metadata` has a version.
fn answers_a_resource(operation: &Operation, components: &Components) -> bool {
    let contents = operation.responses.responses.iter().filter(|(status, _)| status.starts_with('2')).filter_map(|(_, response)| {
        let RefOr::T(response) = response else { return None };
        match response.content.get("application/json") {
            Some(RefOr::T(content)) => content.schema.as_ref(),
            _ => None,
        }
    });
    contents.filter_map(|schema| resolve(&components.schemas, schema)).any(|schema| has_metadata(schema, components))
}

fn has_metadata(schema: &Schema, components: &Components) -> bool {
    match schema {
        Schema::Object(object) => object.properties.contains_key("metadata"),
        Schema::AllOf(all) => {
            all.items.iter().filter_map(|item| resolve(&components.schemas, item)).any(|item| has_metadata(item, components))
        }
        _ => false,
    }
}

fn add_parameter(operation: &mut Operation, name: &str) {
    operation.parameters.get_or_insert_default().push(RefOr::Ref(Ref::new(format!("#/components/parameters/{name}"))));
}

fn add_header(response: &mut Response, name: &str, component: &str) {
    let reference = RefOr::Ref(Ref::new(format!("#/components/headers/{component}")));
    response.headers.insert(name.to_owned(), reference);
}

/// What operations refer to.
fn add_shared(components: &mut Components) {
    let modes = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("What to do with fields that are not known."))
        .enum_values(Some(["Strict", "Warn", "Ignore"]))
        .default(Some("Strict".into()))
        .build();
    components.schemas.insert("FieldValidation".to_owned(), modes.into());
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let key = text().min_length(Some(1)).max_length(Some(255)).build();
    let parameters = [
        (
            "FieldValidation",
            "fieldValidation",
            ParameterIn::Query,
            "What to do with fields that are not known: refuse, accept with a `Warning` header for each, or accept.",
            RefOr::Ref(Ref::from_schema_name("FieldValidation")),
        ),
        (
            "IdempotencyKey",
            "Idempotency-Key",
            ParameterIn::Header,
            "The first answer to this key is replayed for 24 hours: a request whose answer was lost can be repeated safely.",
            key.into(),
        ),
        (
            "IfNoneMatch",
            "If-None-Match",
            ParameterIn::Header,
            "The `ETag` that was read before: 304 when it is still the same.",
            text().build().into(),
        ),
    ];
    for (component, name, place, description, schema) in parameters {
        let parameter = ParameterBuilder::new().name(name).parameter_in(place).required(Required::False).description(Some(description));
        components.parameters.insert(component.to_owned(), RefOr::T(parameter.schema(Some(schema)).build()));
    }
    let headers = [
        ("RequestId", Type::String, "Names this request in the log; a caller's own `X-Request-Id` is kept."),
        ("ETag", Type::String, "The version, in quotes: for `If-Match` and `If-None-Match`."),
        ("Location", Type::String, "The path of what was made."),
        ("Warning", Type::String, "With `fieldValidation=Warn`: one for each field that is not known."),
        ("IdempotentReplayed", Type::String, "`true` when this is the first answer to the same `Idempotency-Key`."),
        ("RetryAfter", Type::Integer, "Try again after so many seconds."),
        ("Authenticate", Type::String, "How to authenticate (RFC 9110)."),
    ];
    for (component, kind, description) in headers {
        let schema = ObjectBuilder::new().schema_type(kind).build();
        let header = HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build();
        components.headers.insert(component.to_owned(), RefOr::T(header));
    }
    let mut statuses: Vec<StatusCode> = ErrorCode::ALL.iter().map(|code| code.status()).collect();
    statuses.dedup();
    for status in statuses {
        components.responses.insert(response_name(status), RefOr::T(problem_response(status)));
    }
}

/// `NotFound`, `UnprocessableEntity`, …
fn response_name(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or_default().split([' ', '-']).collect()
}

fn problem_response(status: StatusCode) -> Response {
    let codes = ErrorCode::ALL.iter().filter(|code| code.status() == status);
    let words: Vec<String> = codes.map(|code| format!("`{}`: {}.", code.as_str(), code.title())).collect();
    let mut response = ResponseBuilder::new().description(words.join(" ")).content(PROBLEM, problem_content(status.as_str())).build();
    add_header(&mut response, "X-Request-Id", "RequestId");
    match status.as_u16() {
        401 => add_header(&mut response, "WWW-Authenticate", "Authenticate"),
        429 | 503 => add_header(&mut response, "Retry-After", "RetryAfter"),
        _ => {}
    }
    response
}

fn problem_content(status: &str) -> utoipa::openapi::Content {
    let code = ErrorCode::ALL.iter().find(|code| code.status().as_str() == status);
    let example = code.and_then(|code| serde_json::to_value(Problem::example(*code)).ok());
    ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).example(example).build()
}
