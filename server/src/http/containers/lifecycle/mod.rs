//! What a container can be told to do. Each records a wish, and answers when it is carried out, or why not.

pub mod delete;
pub mod kill;
pub mod pause;
pub mod start;
pub mod stop;
pub mod wait;

use serde::{Deserialize, Deserializer};

use crate::http::error::{ApiError, FieldError};
use crate::model::signal;
use crate::store::Stop;

/// A body without members.
#[derive(Debug, Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
pub struct Nothing {}

/// How to end what runs.
#[derive(Debug, Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StopInput {
    /// Seconds until SIGKILL; the spec's when absent. 0 kills at once.
    #[serde(default)]
    #[schema(example = 10)]
    pub grace_period_seconds: Option<u64>,
    /// The spec's stop signal when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "SIGTERM")]
    pub signal: Option<Signal>,
}

impl From<StopInput> for Stop {
    fn from(input: StopInput) -> Self {
        Stop { signal: input.signal.map(|signal| signal.0), grace_seconds: input.grace_period_seconds }
    }
}

/// A name (`SIGTERM`, `term`) or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(pub i32);

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Signal;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a signal's name or number")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Signal, E> {
                signal::parse(text).map(Signal).map_err(E::custom)
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Signal, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Signal, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The longest grace: a year, far from any overflow.
const MAX_GRACE: u64 = 365 * 86_400;

pub(in crate::http) fn check_grace(path: &str, seconds: Option<u64>) -> Result<(), ApiError> {
    match seconds {
        Some(seconds) if seconds > MAX_GRACE => Err(ApiError::invalid(vec![FieldError::new(path, format!("must be at most {MAX_GRACE}"))])),
        _ => Ok(()),
    }
}
