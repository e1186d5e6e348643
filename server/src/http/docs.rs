//! `/docs`: the OpenAPI document as a page. Plain HTML and one style sheet: no script, nothing from elsewhere.

use std::fmt::Write;

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde_json::Value;
use utoipa::openapi::OpenApi;

use super::auth::access::{self, Access};
use super::state::AppState;

/// This API as a page to read.
#[utoipa::path(get, path = "/docs", operation_id = "getDocs", tag = "system", security(("token" = ["viewer"])),
    responses((status = 200, description = "The page", body = String, content_type = "text/html")))]
pub async fn docs(State(state): State<AppState>) -> Response {
    Html(state.documents.page.clone()).into_response()
}

/// The style sheet: public, as the login page needs it too.
pub async fn style() -> Response {
    let head = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=3600")];
    (head, include_str!("docs.css")).into_response()
}

/// Text as HTML, also inside a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}

/// The whole page. The document is our own, and every text of it is escaped all the same.
pub fn page(document: &OpenApi) -> String {
    let value = serde_json::to_value(document).unwrap_or_default();
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Berth API</title><link rel=\"icon\" type=\"image/svg+xml\" href=\"{}\">\
         <link rel=\"stylesheet\" href=\"/docs/style.css\"></head><body><main>",
        web::assets::path("icon.svg")
    );
    let info = &value["info"];
    let _ = write!(html, "<h1>{} <small>{}</small></h1>", text(&info["title"]), text(&info["version"]));
    paragraphs(&mut html, &info["description"]);
    html.push_str("<nav><a href=\"/\">Dashboard</a><a href=\"/openapi.json\">openapi.json</a><a href=\"/openapi.yaml\">openapi.yaml</a>");
    let tags = value["tags"].as_array().cloned().unwrap_or_default();
    for tag in &tags {
        let _ = write!(html, "<a href=\"#{0}\">{0}</a>", text(&tag["name"]));
    }
    html.push_str("</nav>");
    for tag in &tags {
        let _ = write!(html, "<h2 id=\"{0}\">{0}</h2>", text(&tag["name"]));
        paragraphs(&mut html, &tag["description"]);
        for (path, item) in &document.paths.paths {
            for (method, operation) in access::methods(item) {
                if operation.tags.as_ref().is_some_and(|tags| tags.first().map(String::as_str) == tag["name"].as_str()) {
                    let access = operation.security.as_deref().and_then(access::declared);
                    let operation = serde_json::to_value(operation).unwrap_or_default();
                    write_operation(&mut html, method.as_str(), path, &operation, access);
                }
            }
        }
    }
    html.push_str("<h2 id=\"schemas\">Schemas</h2>");
    for (name, schema) in value["components"]["schemas"].as_object().into_iter().flatten() {
        write_schema(&mut html, name, schema);
    }
    html.push_str("</main></body></html>");
    html
}

fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn paragraphs(html: &mut String, value: &Value) {
    for paragraph in value.as_str().unwrap_or_default().split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        let _ = write!(html, "<p>{}</p>", inline(paragraph));
    }
}

/// The one piece of Markdown that the descriptions use: `code`.
fn inline(text: &str) -> String {
    let parts = escape(text);
    let pieces: Vec<&str> = parts.split('`').collect();
    // An odd number of marks is text.
    if pieces.len().is_multiple_of(2) {
        return parts;
    }
    pieces.iter().enumerate().map(|(i, piece)| if i % 2 == 1 { format!("<code>{piece}</code>") } else { (*piece).to_owned() }).collect()
}

fn write_operation(html: &mut String, method: &str, path: &str, operation: &Value, access: Option<Access>) {
    let id = text(&operation["operationId"]);
    let _ = write!(
        html,
        "<details id=\"{id}\"><summary><b>{method}</b> <code>{}</code> {}</summary><div>",
        escape(path),
        text(&operation["summary"])
    );
    paragraphs(html, &operation["description"]);
    let needs = match access {
        Some(Access::Needs(role)) => format!("role <code>{}</code>", role.as_str()),
        Some(Access::Public) => "no credentials".to_owned(),
        None => "role <code>admin</code>".to_owned(),
    };
    let _ = write!(html, "<p>Needs {needs}. Operation <code>{id}</code>.</p>");
    if let Some(parameters) = operation["parameters"].as_array().filter(|parameters| !parameters.is_empty()) {
        html.push_str("<h4>Parameters</h4><table>");
        for parameter in parameters {
            let row = (
                text(&parameter["name"]),
                text(&parameter["in"]),
                type_of(&parameter["schema"]),
                inline(parameter["description"].as_str().unwrap_or_default()),
            );
            let _ = write!(html, "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>", row.0, row.1, row.2, row.3);
        }
        html.push_str("</table>");
    }
    for (kind, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
        let _ = write!(html, "<h4>Body</h4><p><code>{}</code> {}</p>", escape(kind), type_of(&content["schema"]));
        example(html, &content["example"]);
    }
    html.push_str("<h4>Answers</h4><table>");
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        // Errors that every operation shares are references by name.
        let words = match response["$ref"].as_str() {
            Some(reference) => format!("problem: {}", escape(reference.rsplit('/').next().unwrap_or_default())),
            None => inline(response["description"].as_str().unwrap_or_default()),
        };
        let kinds: Vec<String> = response["content"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(kind, content)| format!("<code>{}</code> {}", escape(kind), type_of(&content["schema"])))
            .collect();
        let _ = write!(html, "<tr><td>{}</td><td>{words}</td><td>{}</td></tr>", escape(status), kinds.join("<br>"));
    }
    html.push_str("</table></div></details>");
}

fn example(html: &mut String, value: &Value) {
    if !value.is_null() {
        let _ = write!(html, "<pre>{}</pre>", escape(&serde_json::to_string_pretty(value).unwrap_or_default()));
    }
}

/// A schema in a few words, with a link where it has a name.
fn type_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        return format!("<a href=\"#schema-{0}\">{0}</a>", escape(name));
    }
    if let Some(alternatives) = ["oneOf", "anyOf", "allOf"].iter().find_map(|key| schema[key].as_array()) {
        return alternatives.iter().map(type_of).collect::<Vec<_>>().join(" | ");
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(|value| format!("<code>{}</code>", escape(&value.to_string()))).collect::<Vec<_>>().join(" | ");
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" | "),
        kind => kind.as_str().unwrap_or_default().to_owned(),
    };
    match kind.as_str() {
        "array" => format!("array of {}", type_of(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => format!("map of {}", type_of(&schema["additionalProperties"])),
        kind => escape(kind),
    }
}

fn write_schema(html: &mut String, name: &str, schema: &Value) {
    let _ = write!(html, "<details id=\"schema-{0}\"><summary><code>{0}</code></summary><div>", escape(name));
    paragraphs(html, &schema["description"]);
    match schema["properties"].as_object() {
        Some(properties) => {
            html.push_str("<table>");
            for (field, property) in properties {
                let words = inline(property["description"].as_str().unwrap_or_default());
                let _ = write!(html, "<tr><td><code>{}</code></td><td>{}</td><td>{words}</td></tr>", escape(field), type_of(property));
            }
            html.push_str("</table>");
        }
        None => {
            let _ = write!(html, "<p>{}</p>", type_of(schema));
        }
    }
    html.push_str("</div></details>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = page(&super::super::router::document());
        assert!(page.contains("getVersion") && page.contains("schema-Problem"));
        for outside in ["http://", "https://", "<script", "style=", "onclick"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("<a href='x'>&\""), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
        assert_eq!(inline("a `<b>` c"), "a <code>&lt;b&gt;</code> c");
        assert_eq!(inline("a ` b"), "a ` b");
    }
}
