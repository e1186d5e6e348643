//! A value inside a JSON document together with its place, so that every fault can be pointed at (RFC 6901).

use serde_json::{Map, Value};

use crate::config::ConfigError;

/// A value and its JSON Pointer.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value, path: &str) -> Node<'a> {
        Node { value, path: path.to_owned() }
    }

    pub(super) fn fault(&self, message: impl Into<String>) -> ConfigError {
        ConfigError { path: self.path.clone(), message: message.into() }
    }

    /// An object with no other fields than these, and the free-text `comment`.
    pub(super) fn object(&self, fields: &[&str]) -> Result<Object<'a>, ConfigError> {
        let Value::Object(map) = self.value else { return Err(self.fault("must be an object")) };
        let unknown = |name: &&String| *name != "comment" && !fields.contains(&name.as_str());
        match map.keys().find(unknown) {
            Some(name) => Err(ConfigError { path: format!("{}/{}", self.path, escape(name)), message: "unknown field".to_owned() }),
            None => Ok(Object { map, path: self.path.clone() }),
        }
    }

    pub(super) fn items(&self) -> Result<Vec<Node<'a>>, ConfigError> {
        let Value::Array(items) = self.value else { return Err(self.fault("must be an array")) };
        let item = |(index, value)| Node { value, path: format!("{}/{index}", self.path) };
        Ok(items.iter().enumerate().map(item).collect())
    }

    pub(super) fn text(&self) -> Result<&'a str, ConfigError> {
        self.value.as_str().ok_or_else(|| self.fault("must be a text"))
    }

    /// A whole number from 0 to `most`.
    pub(super) fn number(&self, most: u64) -> Result<u64, ConfigError> {
        match self.value.as_u64() {
            Some(number) if number <= most => Ok(number),
            _ => Err(self.fault(format!("must be a whole number from 0 to {most}"))),
        }
    }
}

/// An object whose fields are all known.
#[derive(Debug)]
pub(super) struct Object<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Object<'a> {
    /// A field that is there; null counts as absent, as Go's JSON has it.
    pub(super) fn get(&self, name: &str) -> Option<Node<'a>> {
        let value = self.map.get(name).filter(|value| !value.is_null())?;
        Some(Node { value, path: format!("{}/{name}", self.path) })
    }

    pub(super) fn need(&self, name: &str) -> Result<Node<'a>, ConfigError> {
        let missing = || ConfigError { path: format!("{}/{name}", self.path), message: "is missing".to_owned() };
        self.get(name).ok_or_else(missing)
    }

    /// The items of an array; none when it is absent.
    pub(super) fn list(&self, name: &str) -> Result<Vec<Node<'a>>, ConfigError> {
        self.get(name).map_or(Ok(Vec::new()), |node| node.items())
    }
}

fn escape(name: &str) -> String {
    name.chars().take(80).collect::<String>().replace('~', "~0").replace('/', "~1")
}
