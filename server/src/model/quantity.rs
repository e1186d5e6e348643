//! Amounts as people write them: bytes and processor time, as JSON numbers or as Kubernetes quantities.
//!
//! The grammar is that of Kubernetes' `resource.Quantity`: a decimal number with a binary suffix (`Ki` … `Ei`), a decimal one (`m`, `k` … `E`)
//! or an exponent (`e6`). Arithmetic is exact: nothing passes through floating point.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Bytes (or bits, or bytes per second: the field says which). Accepted as a number or a quantity (`"64Mi"`, `"10M"`, `"1e6"`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// Processor time in thousandths of a core. Accepted as cores (`0.5`, `"2"`) or as a quantity (`"500m"`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpu {
    pub millis: u64,
}

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error(
        "{0:?} is not a quantity: write a number, or a number with one of Ki Mi Gi Ti Pi Ei, k M G T P E, m, or an exponent such as 1e6"
    )]
    Syntax(String),
    #[error("{0:?} is negative")]
    Negative(String),
    #[error("{0:?} is more than this field can hold")]
    TooLarge(String),
    #[error("{text:?} is in thousandths of a byte: write {} for {} mebibytes", format_args!("\"{number}Mi\""), number)]
    Thousandths { text: String, number: String },
    #[error("{0:?} is less than one byte")]
    BelowOne(String),
}

/// An exact decimal: `digits * 10^exponent * 2^shift`.
struct Parsed {
    digits: u128,
    exponent: i32,
    shift: u32,
}

impl FromStr for Bytes {
    type Err = QuantityError;

    /// Parts of a byte are rounded up, as Kubernetes does.
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        if let Some(number) = text.strip_suffix(['m', 'u', 'n']).filter(|n| n.bytes().all(|b| b.is_ascii_digit()) && !n.is_empty()) {
            return Err(QuantityError::Thousandths { text: text.to_owned(), number: number.to_owned() });
        }
        let parsed = parse(text)?;
        let small = parsed.digits > 0 && parsed.floor(0) == Some(0);
        if small {
            return Err(QuantityError::BelowOne(text.to_owned()));
        }
        parsed.ceil(0).map(Bytes).ok_or_else(|| QuantityError::TooLarge(text.to_owned()))
    }
}

impl FromStr for Cpu {
    type Err = QuantityError;

    /// Parts of a thousandth are rounded up, as Kubernetes does.
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        parse(text)?.ceil(3).map(|millis| Cpu { millis }).ok_or_else(|| QuantityError::TooLarge(text.to_owned()))
    }
}

fn parse(text: &str) -> Result<Parsed, QuantityError> {
    let syntax = || QuantityError::Syntax(text.chars().take(40).collect());
    if let Some(rest) = text.strip_prefix('-') {
        return Err(if rest.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            QuantityError::Negative(text.to_owned())
        } else {
            syntax()
        });
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return Err(syntax());
    }
    let (suffix_exponent, shift) = suffix_scale(suffix).ok_or_else(syntax)?;
    let fraction = fraction.trim_end_matches('0');
    let mut digits: u128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        digits = digits
            .checked_mul(10)
            .and_then(|d| d.checked_add(u128::from(digit - b'0')))
            .filter(|d| *d < 1 << 96)
            .ok_or_else(|| QuantityError::TooLarge(text.chars().take(40).collect()))?;
    }
    let places = i32::try_from(fraction.len()).map_err(|_| syntax())?;
    Ok(Parsed { digits, exponent: suffix_exponent - places, shift })
}

/// Powers of ten and of two.
fn suffix_scale(suffix: &str) -> Option<(i32, u32)> {
    Some(match suffix {
        "" => (0, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || digits.len() > 2 || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            (exponent.parse().ok()?, 0)
        }
    })
}

impl Parsed {
    /// `self * 10^places`, rounded up; None when it does not fit.
    fn ceil(&self, places: i32) -> Option<u64> {
        let (quotient, remainder) = self.scaled(places)?;
        u64::try_from(quotient.checked_add(u128::from(remainder))?).ok()
    }

    fn floor(&self, places: i32) -> Option<u64> {
        self.scaled(places).and_then(|(quotient, _)| u64::try_from(quotient).ok())
    }

    /// The whole part, and whether anything is left over.
    fn scaled(&self, places: i32) -> Option<(u128, bool)> {
        if self.digits == 0 {
            return Some((0, false));
        }
        // At most 2^96 * 2^60: done in two steps so that a fraction of a large unit stays exact.
        let exponent = self.exponent + places;
        if exponent >= 0 {
            let scale = 10_u128.checked_pow(exponent.unsigned_abs())?;
            let value = self.digits.checked_mul(scale)?;
            return Some((value.checked_mul(1 << self.shift)?, false));
        }
        let Some(divisor) = 10_u128.checked_pow(exponent.unsigned_abs()) else { return Some((0, true)) };
        let (quotient, rest) = (self.digits / divisor, self.digits % divisor);
        // rest < 10^38 may overflow when shifted by 60: then the number has more places than any unit can use.
        let shifted = rest.checked_mul(1 << self.shift)?;
        Some((quotient.checked_mul(1 << self.shift)?.checked_add(shifted / divisor)?, shifted % divisor != 0))
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl Serialize for Cpu {
    /// A quantity: thousandths are exact as text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.millis.is_multiple_of(1000) { write!(f, "{}", self.millis / 1000) } else { write!(f, "{}m", self.millis) }
    }
}

/// Reads a number or a text by way of the text form, so that both follow one rule.
struct QuantityVisitor<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = QuantityError>> Visitor<'_> for QuantityVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a quantity such as \"64Mi\" or \"500m\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        value.to_string().parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        value.to_string().parse().map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        // The shortest text that reads back as this number: what the user wrote.
        format!("{value}").parse().map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QuantityVisitor(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Cpu {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QuantityVisitor(std::marker::PhantomData))
    }
}

/// A number or a text of the quantity grammar.
fn quantity_schema(description: &str, number: Type, examples: [serde_json::Value; 2]) -> RefOr<Schema> {
    let number = ObjectBuilder::new().schema_type(number).minimum(Some(0)).build();
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)(([KMGTPE]i)|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$"))
        .build();
    let schema = OneOfBuilder::new().item(number).item(text).description(Some(description)).examples(examples).build();
    RefOr::T(Schema::OneOf(schema))
}

impl PartialSchema for Bytes {
    fn schema() -> RefOr<Schema> {
        quantity_schema("A whole number, or a Kubernetes quantity.", Type::Integer, [67_108_864.into(), "64Mi".into()])
    }
}

impl ToSchema for Bytes {
    fn name() -> std::borrow::Cow<'static, str> {
        "Bytes".into()
    }
    fn schemas(_: &mut Vec<(String, RefOr<Schema>)>) {}
}

impl PartialSchema for Cpu {
    fn schema() -> RefOr<Schema> {
        quantity_schema("Cores, or a Kubernetes quantity.", Type::Number, [0.5.into(), "500m".into()])
    }
}

impl ToSchema for Cpu {
    fn name() -> std::borrow::Cow<'static, str> {
        "Cpu".into()
    }
    fn schemas(_: &mut Vec<(String, RefOr<Schema>)>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_as_people_write_them() {
        for (text, value) in [
            ("0", 0),
            ("64Mi", 64 << 20),
            ("10M", 10_000_000),
            ("1e6", 1_000_000),
            ("1E6", 1_000_000),
            ("12E", 12_000_000_000_000_000_000),
            ("1.5Gi", 3 << 29),
            (".5Ki", 512),
            ("1.", 1),
            ("+7", 7),
            ("1.1Ki", 1127),
            ("15Ei", 15 << 60),
            ("18446744073709551615", u64::MAX),
            ("1500e-1", 150),
            ("0.000000000000000000000000000000", 0),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(value)), "{text}");
        }
    }

    #[test]
    fn bytes_that_are_none() {
        for text in
            ["", " 1", "1 ", "Mi", ".", "1..2", "1.2.3", "64MB", "64mi", "0x10", "1e", "1e999", "NaN", "inf", "-", "--1", "١", "1Mi1"]
        {
            assert!(matches!(text.parse::<Bytes>(), Err(QuantityError::Syntax(_))), "{text:?}");
        }
        for text in ["-1", "-1Mi", "-.5"] {
            assert!(matches!(text.parse::<Bytes>(), Err(QuantityError::Negative(_))), "{text}");
        }
        for text in ["16Ei", "18446744073709551616", "1e20", "1e99", &"9".repeat(400)] {
            assert!(matches!(text.parse::<Bytes>(), Err(QuantityError::TooLarge(_))), "{text}");
        }
        assert!(matches!("0.5".parse::<Bytes>(), Err(QuantityError::BelowOne(_))));
        assert!("128m".parse::<Bytes>().unwrap_err().to_string().contains("128Mi"));
    }

    #[test]
    fn cpu_as_people_write_it() {
        for (text, millis) in [("500m", 500), ("0.5", 500), ("2", 2000), ("1e-1", 100), ("0.0001", 1), ("1k", 1_000_000)] {
            assert_eq!(text.parse(), Ok(Cpu { millis }), "{text}");
        }
        assert_eq!(serde_json::to_string(&Cpu { millis: 2500 }).unwrap(), "\"2500m\"");
        assert_eq!(serde_json::to_string(&Cpu { millis: 2000 }).unwrap(), "\"2\"");
    }

    #[test]
    fn json_numbers_follow_the_same_rules() {
        assert_eq!(serde_json::from_str::<Bytes>("1e6").unwrap(), Bytes(1_000_000));
        assert_eq!(serde_json::from_str::<Cpu>("0.3").unwrap(), Cpu { millis: 300 });
        for bad in ["-1", "-0.5", "true", "null", "[]", "1e300"] {
            assert!(serde_json::from_str::<Bytes>(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text: String) {
            let _ = text.parse::<Bytes>();
            let _ = text.parse::<Cpu>();
        }

        #[test]
        fn whole_numbers_come_back(value: u64) {
            prop_assert_eq!(value.to_string().parse(), Ok(Bytes(value)));
        }

        #[test]
        fn cpu_comes_back_from_json(millis in 0..u64::MAX / 1000) {
            let text = serde_json::to_string(&Cpu { millis }).unwrap();
            prop_assert_eq!(serde_json::from_str::<Cpu>(&text).unwrap(), Cpu { millis });
        }
    }
}
