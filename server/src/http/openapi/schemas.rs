//! What `utoipa` makes of our types, put as generators of clients understand it best: a type is told once and referred to, lists are called
//! after what they list, integers have a format that every language has.

use std::collections::BTreeMap;

use utoipa::Number;
use utoipa::openapi::content::Content;
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::schema::{AdditionalProperties, ArrayItems, KnownFormat, Object, Schema, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{OpenApi, Ref, RefOr, Required};

use super::operations;

type Schemas = BTreeMap<String, RefOr<Schema>>;

const PREFIX: &str = "#/components/schemas/";

/// The name behind a reference to a schema.
pub(super) fn name_of(reference: &str) -> Option<&str> {
    reference.strip_prefix(PREFIX)
}

/// The schema itself.
pub(super) fn resolve<'a>(schemas: &'a Schemas, schema: &'a RefOr<Schema>) -> Option<&'a Schema> {
    match schema {
        RefOr::T(schema) => Some(schema),
        RefOr::Ref(reference) => match schemas.get(name_of(&reference.ref_location)?)? {
            RefOr::T(schema) => Some(schema),
            RefOr::Ref(_) => None,
        },
    }
}

/// Every schema of the document, made good.
pub(super) fn tidy(document: &mut OpenApi) {
    let mut schemas = std::mem::take(&mut document.components.get_or_insert_default().schemas);
    let named: Vec<(String, RefOr<Schema>)> =
        schemas.iter().filter(|(_, schema)| has_properties(schema)).map(|(name, schema)| (name.clone(), schema.clone())).collect();
    for (name, schema) in &mut schemas {
        for_each_inside(schema, &mut |inner| {
            if let Some((known, _)) = named.iter().find(|(known, schema)| known != name && schema == inner) {
                *inner = RefOr::Ref(Ref::from_schema_name(known));
            }
        });
    }
    let mut change = |schema: &mut RefOr<Schema>| {
        portable_integers(schema);
        if let RefOr::Ref(reference) = schema
            && let Some(name) = name_of(&reference.ref_location).and_then(collection_name)
        {
            reference.ref_location = format!("{PREFIX}{name}");
        }
    };
    for schema in schemas.values_mut() {
        for_each(schema, &mut change);
    }
    for_each_of_operations(document, &mut change);
    let renamed = schemas.into_iter().map(|(name, schema)| (collection_name(&name).unwrap_or(name), schema));
    document.components.get_or_insert_default().schemas = renamed.collect();
}

/// `List_Container` is how `utoipa` writes a generic type: `ContainerList`, as Kubernetes calls it.
fn collection_name(name: &str) -> Option<String> {
    let (generic, of) = name.split_once('_')?;
    match generic {
        "List" => Some(format!("{of}List")),
        // As much of it as one answer holds.
        "Items" | "Part" => Some(format!("{of}Items")),
        _ => None,
    }
}

fn has_properties(schema: &RefOr<Schema>) -> bool {
    matches!(schema, RefOr::T(Schema::Object(object)) if !object.properties.is_empty())
}

/// Few languages have unsigned integers: a wider signed type with a bound holds the same. (64 bits stay 64 bits: nothing here reaches 2^63,
/// but for "unlimited".)
fn portable_integers(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::Object(object)) = schema else { return };
    let (format, maximum) = match &object.format {
        Some(SchemaFormat::KnownFormat(KnownFormat::UInt64)) => (KnownFormat::Int64, None),
        Some(SchemaFormat::KnownFormat(KnownFormat::UInt32)) => (KnownFormat::Int64, Some(Number::Int(u32::MAX as isize))),
        Some(SchemaFormat::KnownFormat(KnownFormat::UInt16)) => (KnownFormat::Int32, Some(Number::Int(u16::MAX as isize))),
        Some(SchemaFormat::KnownFormat(KnownFormat::UInt8)) => (KnownFormat::Int32, Some(Number::Int(u8::MAX as isize))),
        None if is_integer(object) => (KnownFormat::Int64, None),
        _ => return,
    };
    object.format = Some(SchemaFormat::KnownFormat(format));
    if object.maximum.is_none() {
        object.maximum = maximum;
    }
    object.minimum.get_or_insert(Number::Int(0));
}

fn is_integer(object: &Object) -> bool {
    match &object.schema_type {
        SchemaType::Type(one) => *one == Type::Integer,
        SchemaType::Array(several) => several.contains(&Type::Integer),
        SchemaType::AnyValue => false,
    }
}

/// A schema and all that it is made of, innermost first.
fn for_each(schema: &mut RefOr<Schema>, change: &mut impl FnMut(&mut RefOr<Schema>)) {
    for_each_inside(schema, change);
    change(schema);
}

fn for_each_inside(schema: &mut RefOr<Schema>, change: &mut impl FnMut(&mut RefOr<Schema>)) {
    let RefOr::T(schema) = schema else { return };
    match schema {
        Schema::Array(array) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                for_each(items, change);
            }
        }
        Schema::Object(object) => {
            for property in object.properties.values_mut() {
                for_each(property, change);
            }
            if let Some(AdditionalProperties::RefOr(values)) = object.additional_properties.as_deref_mut() {
                for_each(values, change);
            }
        }
        Schema::OneOf(one) => one.items.iter_mut().for_each(|item| for_each(item, change)),
        Schema::AllOf(all) => all.items.iter_mut().for_each(|item| for_each(item, change)),
        Schema::AnyOf(any) => any.items.iter_mut().for_each(|item| for_each(item, change)),
        _ => {}
    }
}

fn for_each_of_operations(document: &mut OpenApi, change: &mut impl FnMut(&mut RefOr<Schema>)) {
    for (_, _, operation) in operations::all(document) {
        for parameter in operation.parameters.iter_mut().flatten() {
            if let RefOr::T(parameter) = parameter
                && let Some(schema) = &mut parameter.schema
            {
                for_each(schema, change);
                without_null(schema);
            }
        }
        let mut in_content = |kind: &str, content: &mut RefOr<Content>| {
            if let RefOr::T(content) = content
                && let Some(schema) = &mut content.schema
            {
                for_each(schema, change);
                as_bytes(kind, schema);
            }
        };
        if let Some(RefOr::T(body)) = &mut operation.request_body {
            body.content.iter_mut().for_each(|(kind, content)| in_content(kind, content));
            left_out(body);
        }
        for response in operation.responses.responses.values_mut() {
            if let RefOr::T(response) = response {
                response.content.iter_mut().for_each(|(kind, content)| in_content(kind, content));
            }
        }
    }
}

/// A body of `Option<T>` may be left out too.
fn left_out(body: &mut RequestBody) {
    let schemas = body.content.values().filter_map(|content| if let RefOr::T(content) = content { content.schema.as_ref() } else { None });
    if schemas.into_iter().any(|schema| or_null(schema).is_some()) {
        body.required = Some(Required::False);
    }
}

/// What else than `null` it may be.
fn or_null(schema: &RefOr<Schema>) -> Option<&RefOr<Schema>> {
    let RefOr::T(Schema::OneOf(one)) = schema else { return None };
    match one.items.as_slice() {
        [something, RefOr::T(Schema::Object(null))] if null.schema_type == SchemaType::Type(Type::Null) => Some(something),
        _ => None,
    }
}

/// A parameter is a text: it cannot be `null`.
fn without_null(schema: &mut RefOr<Schema>) {
    if let Some(something) = or_null(schema).cloned() {
        *schema = something;
    }
    if let RefOr::T(Schema::Object(object)) = schema
        && let SchemaType::Array(kinds) = &object.schema_type
        && let Some(kind) = kinds.iter().find(|kind| **kind != Type::Null)
    {
        object.schema_type = SchemaType::Type(kind.clone());
    }
}

/// Archives are bytes and no texts: generators take them from files.
fn as_bytes(kind: &str, schema: &mut RefOr<Schema>) {
    if let RefOr::T(Schema::Object(object)) = schema
        && operations::is_archive(kind)
    {
        object.schema_type = SchemaType::Type(Type::String);
        object.format = Some(SchemaFormat::KnownFormat(KnownFormat::Binary));
    }
}
