//! What is well with this host and this instance, what is not, what that means for a user, and what to do about it.
//!
//! ```text
//! Examination (facts, as root found them) ─┐
//! Owned (what the rows say there should be) ┴─> diagnose, a pure function ──> Report: checks, each with a verdict
//! ```
//!
//! It asks nobody and changes nothing. The API answers with it while Berth runs; `berth doctor` makes it itself where Berth does not.

mod host;
mod leftovers;
mod owned;
#[cfg(test)]
mod tests;

use runtime::examination::Examination;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use owned::{Owned, SubordinateIds};

/// How well something is; the later the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// Worth knowing; nothing is lost by it.
    Note,
    /// Something that users can ask for does not work, or something is left over.
    Degraded,
    /// Containers cannot be run as they are by default.
    Broken,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// `host`, `storage`, `service` or `leftovers`.
    pub area: String,
    #[schema(example = "user-namespaces")]
    pub name: String,
    pub verdict: Verdict,
    /// What was found.
    pub finding: String,
    /// What that means for a user, where it is not well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meaning: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Every check, and the worst verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Always `Doctor`.
    pub kind: String,
    pub verdict: Verdict,
    pub checks: Vec<Check>,
}

impl Report {
    pub fn new(checks: Vec<Check>) -> Self {
        let verdict = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok);
        Report { kind: "Doctor".to_owned(), verdict, checks }
    }

    /// The same with one more.
    #[must_use]
    pub fn with(self, check: Check) -> Self {
        let mut checks = self.checks;
        checks.insert(0, check);
        Report::new(checks)
    }
}

impl Check {
    pub fn ok(area: &str, name: &str, finding: impl Into<String>) -> Self {
        Check { area: area.to_owned(), name: name.to_owned(), verdict: Verdict::Ok, finding: finding.into(), meaning: None, remedy: None }
    }

    #[must_use]
    pub fn but(self, verdict: Verdict, meaning: &str, remedy: &str) -> Self {
        let said = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Check { verdict, meaning: said(meaning), remedy: said(remedy), ..self }
    }
}

/// Judges what was found. `owned` of None: no rows could be read, so nothing is called a leftover.
pub fn diagnose(examination: &Examination, owned: Option<&Owned>) -> Report {
    let mut checks = host::checks(examination);
    checks.extend(owned.map(|owned| leftovers::checks(&examination.inventory, owned)).unwrap_or_default());
    Report::new(checks)
}
