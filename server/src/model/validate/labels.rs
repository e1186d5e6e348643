//! Labels and annotations, by the rules of Kubernetes (`apimachinery/pkg/util/validation`).

use std::collections::BTreeMap;

use super::{Faults, escape, shortened};
use crate::model::name::is_dns_label;

/// Bytes of all keys and values of the annotations, as in Kubernetes.
const MAX_ANNOTATIONS: usize = 256 << 10;
const MAX_LABELS: usize = 256;

pub fn check_labels(path: &str, labels: &BTreeMap<String, String>, faults: &mut Faults) {
    if labels.len() > MAX_LABELS {
        faults.add(path, format!("has {} labels; the most is {MAX_LABELS}", labels.len()));
    }
    for (key, value) in labels {
        if let Err(message) = check_key(key) {
            faults.add(format!("{path}/{}", escape(key)), format!("the key {:?} {message}", shortened(key)));
        }
        if let Err(message) = check_value(value) {
            faults.add(format!("{path}/{}", escape(key)), format!("the value {:?} {message}", shortened(value)));
        }
    }
}

pub fn check_annotations(path: &str, annotations: &BTreeMap<String, String>, faults: &mut Faults) {
    for key in annotations.keys() {
        if let Err(message) = check_key(key) {
            faults.add(format!("{path}/{}", escape(key)), format!("the key {:?} {message}", shortened(key)));
        }
    }
    let size: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > MAX_ANNOTATIONS {
        faults.add(path, format!("are {size} bytes together; the most is {MAX_ANNOTATIONS}"));
    }
}

/// `[prefix/]name`: an optional DNS subdomain, and a name of at most 63 characters.
pub fn check_key(key: &str) -> Result<(), &'static str> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if name.is_empty() || !is_qualified(name) {
        return Err(
            "must be a name of at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends, and optionally a DNS prefix and '/'",
        );
    }
    if prefix.is_some_and(|prefix| prefix.len() > 253 || !prefix.split('.').all(is_dns_label)) {
        return Err("must have a DNS subdomain (RFC 1123) of at most 253 characters before the '/'");
    }
    Ok(())
}

/// Empty, or as a key's name.
pub fn check_value(value: &str) -> Result<(), &'static str> {
    if value.is_empty() || is_qualified(value) {
        return Ok(());
    }
    Err("must be at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends")
}

fn is_qualified(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |b: &u8| b.is_ascii_alphanumeric();
    bytes.len() <= 63
        && bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|b| edge(b) || matches!(b, b'-' | b'_' | b'.'))
}
