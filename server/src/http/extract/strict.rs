//! What serde lets pass and this API does not: the same key twice in one object, and nesting deeper than 64.
//!
//! One walk over the text that builds nothing, before it is read into a type: a proxy, a log or a second parser may take the other one of
//! two keys, so there must be no other one.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

const MAX_DEPTH: usize = 64;

/// Why a text is refused, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// JSON Pointer; empty when the place is unknown or the whole text.
    pub path: String,
    pub message: String,
}

/// Checks a whole text.
pub(super) fn check(text: &[u8]) -> Result<(), Fault> {
    let mut fault = None;
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let walk = Walk { place: &Place { above: None, step: Step::Root, depth: 0 }, fault: &mut fault };
    let result = walk.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    result.map_err(|error| fault.unwrap_or_else(|| Fault { path: String::new(), message: error.to_string() }))
}

/// Where the walk is: a list on the stack, turned into a pointer only when there is a fault.
struct Place<'a> {
    above: Option<&'a Place<'a>>,
    step: Step<'a>,
    depth: usize,
}

enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Place<'a> {
    fn inside(&'a self, step: Step<'a>) -> Place<'a> {
        Place { above: Some(self), step, depth: self.depth + 1 }
    }

    fn pointer(&self) -> String {
        let mut text = self.above.map(Place::pointer).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Key(key) => super::pointer::push_key(&mut text, key),
            Step::Index(index) => text.push_str(&format!("/{index}")),
        }
        text
    }
}

struct Walk<'a> {
    place: &'a Place<'a>,
    fault: &'a mut Option<Fault>,
}

impl Walk<'_> {
    fn refuse<E: serde::de::Error>(self, path: String, message: &str) -> E {
        *self.fault = Some(Fault { path, message: message.to_owned() });
        E::custom(message)
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.place.depth > MAX_DEPTH {
            // Not the whole pointer: it has 64 steps.
            return Err(self.refuse(String::new(), "more than 64 levels deep"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let place = self.place.inside(Step::Key(&key));
            if seen.contains(&key) {
                let path = place.pointer();
                return Err(self.refuse(path, "the key appears twice"));
            }
            map.next_value_seed(Walk { place: &place, fault: &mut *self.fault })?;
            seen.insert(key);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0.. {
            let place = self.place.inside(Step::Index(index));
            if seq.next_element_seed(Walk { place: &place, fault: &mut *self.fault })?.is_none() {
                return Ok(());
            }
        }
        Err(A::Error::custom("unending array"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_json_passes() {
        check(br#"{"a": [1, -2.5, "x", null, true, {"b": {}}], "c": {"a": 1}}"#).unwrap();
    }

    #[test]
    fn a_key_twice_is_refused_with_its_place() {
        let fault = check(br#"{"spec": [{}, {"a/b": 1, "a/b": 2}]}"#).unwrap_err();
        assert_eq!(fault, Fault { path: "/spec/1/a~1b".into(), message: "the key appears twice".into() });
        // The same key, written with an escape.
        assert!(check(br#"{"a": 1, "\u0061": 2}"#).is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let nest = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        check(nest(64).as_bytes()).unwrap();
        assert!(check(nest(66).as_bytes()).is_err());
        assert!(check(nest(100_000).as_bytes()).is_err());
        assert!(check("{\"a\":".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for bad in ["", "{", "{}x", "nul", "1e999", "\"\\ud800\"", "{\"a\":}", "\u{feff}{}"] {
            assert!(check(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(check(&[b'"', 0xff, b'"']).is_err());
        let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(check(&utf16).is_err());
    }
}
