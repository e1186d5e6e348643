//! Just enough of an HTML reader to hold our own pages to rules: elements with their attributes, in order, and whether they nest.

use std::collections::BTreeMap;

#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// Text up to the next tag.
    pub(crate) text: String,
}

impl Element {
    pub(crate) fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute).map(String::as_str)
    }
}

const VOID: &[&str] = &["meta", "link", "input", "br", "hr", "img", "option"];
/// Drawn shapes, which we always close in their own tag.
const SHAPES: &[&str] = &["path", "rect"];

/// Every element of `html`; panics with the place where elements do not nest or a tag is malformed.
pub(crate) fn read(html: &str) -> Vec<Element> {
    let mut elements = Vec::new();
    let mut open: Vec<String> = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        let context: String = rest.chars().take(120).collect();
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix("!doctype html>") {
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix('/') {
            let (name, after) = after.split_once('>').unwrap_or_else(|| panic!("no end of tag: {context}"));
            let top = open.pop();
            // An option may be closed or not.
            assert!(top.as_deref() == Some(name), "</{name}> closes {top:?}: {context}");
            rest = after;
            continue;
        }
        let (element, closed, after) = tag(rest, &context);
        rest = after;
        let name = element.name.clone();
        let text_end = rest.find('<').unwrap_or(rest.len());
        let closes_later = rest[text_end..].starts_with(&format!("</{name}>"));
        if !closed && (!VOID.contains(&name.as_str()) || (name == "option" && closes_later)) {
            open.push(name);
        }
        elements.push(Element { text: rest[..text_end].to_owned(), ..element });
    }
    assert!(open.is_empty(), "left open: {open:?}");
    elements
}

/// One start tag: the element, whether it closes itself, and what follows.
fn tag<'a>(text: &'a str, context: &str) -> (Element, bool, &'a str) {
    let name_end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or_else(|| panic!("no end of tag: {context}"));
    let name = text[..name_end].to_owned();
    assert!(!name.is_empty(), "a bare < in the page: {context}");
    let mut attributes = BTreeMap::new();
    let mut rest = &text[name_end..];
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("/>") {
            assert!(SHAPES.contains(&name.as_str()), "<{name}/>: {context}");
            return (Element { name, attributes, text: String::new() }, true, after);
        }
        if let Some(after) = rest.strip_prefix('>') {
            return (Element { name, attributes, text: String::new() }, false, after);
        }
        let key_end = rest.find(['=', '>', ' ', '/']).unwrap_or_else(|| panic!("no end of tag: {context}"));
        let key = rest[..key_end].to_owned();
        rest = &rest[key_end..];
        let mut value = String::new();
        if let Some(after) = rest.strip_prefix("=\"") {
            let (inner, after) = after.split_once('"').unwrap_or_else(|| panic!("no end of {key}: {context}"));
            value = inner.to_owned();
            rest = after;
        }
        assert!(!key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "attribute {key:?}: {context}");
        assert!(attributes.insert(key.clone(), value).is_none(), "{key} twice: {context}");
    }
}
