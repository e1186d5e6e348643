//! From a request to typed values: bodies, queries, paths, preconditions. Every refusal names the place of the fault.

pub mod json;
pub mod patch;
mod pointer;
pub mod precondition;
pub mod query;
mod strict;

pub use json::{ApiJson, FieldValidation, OptionalJson};
pub use patch::MergePatch;
pub use precondition::IfMatch;
pub use query::{ApiPath, ApiQuery};
