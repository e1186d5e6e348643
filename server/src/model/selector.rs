//! Label selectors in Kubernetes' syntax: `app=web,tier in (front,back),!legacy`.
//!
//! Requirements are joined by commas and all must hold. As in Kubernetes, `!=` and `notin` also hold where the label is absent.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::validate::labels::{check_key, check_value};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In { key: String, values: Vec<String> },
    NotIn { key: String, values: Vec<String> },
    Exists { key: String },
    Absent { key: String },
}

/// Where a selector stops making sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label selector, character {position}: {message}")]
pub struct SelectorError {
    pub position: usize,
    pub message: String,
}

impl Selector {
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In { key, values } => labels.get(key).is_some_and(|value| values.contains(value)),
            Requirement::NotIn { key, values } => labels.get(key).is_none_or(|value| !values.contains(value)),
            Requirement::Exists { key } => labels.contains_key(key),
            Requirement::Absent { key } => !labels.contains_key(key),
        })
    }

    /// True when everything matches.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut reader = Reader { text, position: 0 };
        let mut requirements = Vec::new();
        reader.blanks();
        if reader.rest().is_empty() {
            return Ok(Selector::default());
        }
        loop {
            requirements.push(reader.requirement()?);
            reader.blanks();
            if reader.rest().is_empty() {
                return Ok(Selector(requirements));
            }
            if !reader.take(",") {
                return Err(reader.error("expected ',' or the end"));
            }
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn error(&self, message: impl Into<String>) -> SelectorError {
        SelectorError { position: self.position, message: message.into() }
    }

    fn blanks(&mut self) {
        self.position = self.text.len() - self.rest().trim_start_matches([' ', '\t']).len();
    }

    fn take(&mut self, token: &str) -> bool {
        self.blanks();
        let found = self.rest().starts_with(token);
        if found {
            self.position += token.len();
        }
        found
    }

    /// Letters, digits and what keys and values may contain beside them; may be empty.
    fn word(&mut self) -> &'a str {
        self.blanks();
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))).unwrap_or(rest.len());
        self.position += end;
        &rest[..end]
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        let start = {
            self.blanks();
            self.position
        };
        let key = self.word();
        check_key(key).map_err(|message| SelectorError { position: start, message: format!("key {key:?} {message}") })?;
        Ok(key.to_owned())
    }

    fn value(&mut self) -> Result<String, SelectorError> {
        let start = {
            self.blanks();
            self.position
        };
        let value = self.word();
        check_value(value).map_err(|message| SelectorError { position: start, message: format!("value {value:?} {message}") })?;
        Ok(value.to_owned())
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        if self.take("!") {
            return Ok(Requirement::Absent { key: self.key()? });
        }
        let key = self.key()?;
        if self.take("!=") {
            return Ok(Requirement::NotIn { key, values: vec![self.value()?] });
        }
        if self.take("==") || self.take("=") {
            return Ok(Requirement::In { key, values: vec![self.value()?] });
        }
        let before = self.position;
        match self.word() {
            "in" => Ok(Requirement::In { key, values: self.set()? }),
            "notin" => Ok(Requirement::NotIn { key, values: self.set()? }),
            "" => Ok(Requirement::Exists { key }),
            _ => {
                self.position = before;
                Err(self.error("expected '=', '==', '!=', 'in', 'notin', ',' or the end"))
            }
        }
    }

    /// `(a,b)`; an empty text is a value too.
    fn set(&mut self) -> Result<Vec<String>, SelectorError> {
        if !self.take("(") {
            return Err(self.error("expected '('"));
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value()?);
            if self.take(")") {
                return Ok(values);
            }
            if !self.take(",") {
                return Err(self.error("expected ',' or ')'"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_syntax_of_kubernetes() {
        let web = labels(&[("app", "web"), ("tier", "front"), ("example.com/x", "")]);
        for (selector, wanted) in [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            (" app = web ", true),
            ("app=db", false),
            ("app!=db", true),
            ("app!=web", false),
            ("gone!=x", true),
            ("app in (web, db)", true),
            ("app in (db)", false),
            ("app notin (db)", true),
            ("gone notin (x)", true),
            ("app notin (web,db)", false),
            ("app", true),
            ("gone", false),
            ("!gone", true),
            ("! app", false),
            ("example.com/x", true),
            ("example.com/x=", true),
            ("example.com/x in (,y)", true),
            ("app=web,tier in (front),!gone", true),
            ("app=web,tier=back", false),
            ("in=x", false),
        ] {
            assert_eq!(selector.parse::<Selector>().unwrap().matches(&web), wanted, "{selector:?}");
        }
    }

    #[test]
    fn faults_name_the_place() {
        for (selector, position) in
            [("app=web,", 8), ("=x", 0), ("app in web", 7), ("app in (a", 9), ("a b", 2), ("app=a=b", 5), ("-x", 0), ("a=ü", 2)]
        {
            assert_eq!(selector.parse::<Selector>().unwrap_err().position, position, "{selector:?}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text: String) {
            let _ = text.parse::<Selector>();
        }

        #[test]
        fn equality_and_its_opposite_never_agree(value in "[a-z]{0,3}", other in "[a-z]{0,3}") {
            let set = labels(&[("k", &value)]);
            let is = format!("k={other}").parse::<Selector>().unwrap().matches(&set);
            let is_not = format!("k!={other}").parse::<Selector>().unwrap().matches(&set);
            prop_assert_ne!(is, is_not);
        }
    }
}
