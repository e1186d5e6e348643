//! Examples for every request and answer, put together from what the types say about their fields; a handler's own example comes first.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::openapi::content::Content;
use utoipa::openapi::schema::{AdditionalProperties, ArrayItems, KnownFormat, Object, Schema, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{OpenApi, RefOr};

use super::operations::{self, is_archive};
use super::schemas::resolve;

type Schemas = BTreeMap<String, RefOr<Schema>>;

/// Deeper than any type of ours goes.
const MAX_DEPTH: usize = 12;
const TIME: &str = "2026-01-31T09:30:00.5Z";

/// Gives an example to every content that has none.
pub(super) fn fill(document: &mut OpenApi) {
    let schemas = document.components.as_ref().map(|components| components.schemas.clone()).unwrap_or_default();
    for (_, _, operation) in operations::all(document) {
        if let Some(RefOr::T(body)) = &mut operation.request_body {
            body.content.iter_mut().for_each(|(kind, content)| give(kind, content, &schemas));
        }
        for response in operation.responses.responses.values_mut() {
            if let RefOr::T(response) = response {
                response.content.iter_mut().for_each(|(kind, content)| give(kind, content, &schemas));
            }
        }
    }
}

fn give(kind: &str, content: &mut RefOr<Content>, schemas: &Schemas) {
    let RefOr::T(content) = content else { return };
    if content.example.is_some() || !content.examples.is_empty() || is_archive(kind) {
        return;
    }
    content.example = match kind {
        "text/plain" => Some(json!("hello\n")),
        "text/event-stream" => Some(json!("id: 42\ndata: {}\n\n")),
        "text/html" => Some(json!("<!doctype html>…")),
        _ => content.schema.as_ref().and_then(|schema| of(schema, schemas, 0)),
    };
}

/// An example of a schema: its own, or one made of its parts. None for what may be anything.
fn of(schema: &RefOr<Schema>, schemas: &Schemas, depth: usize) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    match resolve(schemas, schema)? {
        Schema::Object(object) => of_object(object, schemas, depth),
        Schema::Array(array) => match (&array.example, &array.items) {
            (Some(example), _) => Some(example.clone()),
            (None, ArrayItems::RefOrSchema(items)) => Some(Value::Array(of(items, schemas, depth + 1).into_iter().collect())),
            (None, ArrayItems::False) => Some(json!([])),
        },
        Schema::OneOf(one) => first(one.example.as_ref(), &one.examples, &one.items, schemas, depth),
        Schema::AnyOf(any) => first(any.example.as_ref(), &any.examples, &any.items, schemas, depth),
        Schema::AllOf(all) => {
            let parts = all.items.iter().filter_map(|item| of(item, schemas, depth + 1));
            let fields = parts.filter_map(|part| if let Value::Object(fields) = part { Some(fields) } else { None });
            Some(all.example.clone().unwrap_or_else(|| Value::Object(fields.flatten().collect())))
        }
        _ => None,
    }
}

fn first(own: Option<&Value>, several: &[Value], items: &[RefOr<Schema>], schemas: &Schemas, depth: usize) -> Option<Value> {
    own.or(several.first()).cloned().or_else(|| items.iter().find_map(|item| of(item, schemas, depth + 1).filter(|value| !value.is_null())))
}

fn of_object(object: &Object, schemas: &Schemas, depth: usize) -> Option<Value> {
    if let Some(own) = object.example.as_ref().or(object.examples.first()) {
        return Some(own.clone());
    }
    if let Some(value) = object.enum_values.as_ref().and_then(|values| values.first()) {
        return Some(value.clone());
    }
    let kind = match &object.schema_type {
        SchemaType::Type(one) => one.clone(),
        SchemaType::Array(several) => several.iter().find(|one| **one != Type::Null)?.clone(),
        SchemaType::AnyValue => return None,
    };
    Some(match kind {
        Type::Object => Value::Object(fields(object, schemas, depth)),
        Type::Array => json!([]),
        Type::Boolean => object.default.clone().filter(|value| !value.is_null()).unwrap_or(json!(false)),
        Type::Integer => json!(match object.minimum {
            Some(utoipa::Number::Int(least)) => least.max(1),
            _ => 1,
        }),
        Type::Number => json!(0.5),
        Type::String if matches!(object.format, Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))) => json!(TIME),
        Type::String => json!(quoted(object.description.as_deref().unwrap_or_default()).unwrap_or("text")),
        Type::Null => Value::Null,
    })
}

/// The first `value` that a description names.
fn quoted(description: &str) -> Option<&str> {
    description.split('`').nth(1)
}

/// The fields that are always there, and those that say themselves what they look like.
fn fields(object: &Object, schemas: &Schemas, depth: usize) -> Map<String, Value> {
    let shown = |name: &str, schema: &RefOr<Schema>| object.required.iter().any(|one| one == name) || has_own(schema);
    let mut fields: Map<String, Value> = object
        .properties
        .iter()
        .filter(|(name, schema)| shown(name, schema))
        .filter_map(|(name, schema)| Some((name.clone(), of(schema, schemas, depth + 1)?)))
        .collect();
    if let (true, Some(AdditionalProperties::RefOr(values))) = (object.properties.is_empty(), object.additional_properties.as_deref())
        && let Some(value) = of(values, schemas, depth + 1).filter(|value| value.is_object())
    {
        fields.insert("name".to_owned(), value);
    }
    fields
}

fn has_own(schema: &RefOr<Schema>) -> bool {
    match schema {
        RefOr::T(Schema::Object(object)) => object.example.is_some(),
        RefOr::T(Schema::Array(array)) => array.example.is_some(),
        _ => false,
    }
}
