//! JSON Pointers (RFC 6901) from the paths that serde's helpers keep.

/// Appends one object key, escaped.
pub(super) fn push_key(pointer: &mut String, key: &str) {
    pointer.push('/');
    for c in key.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}

/// The place where a value did not fit its type.
pub(super) fn from_error_path(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("/{index}")),
            Segment::Map { key } => push_key(&mut text, key),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    text
}

/// The place of a field that no type knows.
pub(super) fn from_ignored_path(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}/{index}", from_ignored_path(parent)),
        Path::Map { parent, key } => {
            let mut text = from_ignored_path(parent);
            push_key(&mut text, key);
            text
        }
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => from_ignored_path(parent),
    }
}

/// serde_json's message without the line and column (the pointer says it better), and the missing field as part of the path.
pub(super) fn fault(mut path: String, message: &str) -> crate::http::error::FieldError {
    let message = message.rfind(" at line ").map_or(message, |end| &message[..end]);
    match message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        Some(field) => {
            push_key(&mut path, field);
            crate::http::error::FieldError::new(path, "is missing")
        }
        None => crate::http::error::FieldError::new(path, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_field_is_named_by_the_path() {
        let error = fault("/spec".into(), "missing field `image` at line 1 column 9");
        assert_eq!((error.path.as_str(), error.message.as_str()), ("/spec/image", "is missing"));
    }
}
