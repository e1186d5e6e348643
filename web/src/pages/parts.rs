//! Values that several pages show the same way. Their markup is in `templates/ui.html`.

use crate::format;
use crate::frame::Frame;
use crate::i18n::Lang;

/// A container's phase, in the words of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Created,
    Running,
    Paused,
    Exited,
    Restarting,
    Dead,
}

impl State {
    pub const ALL: [State; 6] = [State::Running, State::Created, State::Paused, State::Restarting, State::Exited, State::Dead];

    /// As the API writes it, for queries.
    pub fn code(self) -> &'static str {
        match self {
            State::Created => "Created",
            State::Running => "Running",
            State::Paused => "Paused",
            State::Exited => "Exited",
            State::Restarting => "Restarting",
            State::Dead => "Dead",
        }
    }

    pub fn from_code(code: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.code() == code)
    }

    pub fn word(self, lang: Lang) -> &'static str {
        match self {
            State::Created => lang.t("state.created"),
            State::Running => lang.t("state.running"),
            State::Paused => lang.t("state.paused"),
            State::Exited => lang.t("state.exited"),
            State::Restarting => lang.t("state.restarting"),
            State::Dead => lang.t("state.dead"),
        }
    }

    pub fn is_up(self) -> bool {
        matches!(self, State::Running | State::Paused)
    }
}

/// A state with what makes it good or bad.
#[derive(Debug, Clone)]
pub struct Badge {
    pub state: State,
    /// The exit code of what has ended.
    pub exit_code: Option<i32>,
    /// `OOMKilled`, `StartError`, …
    pub reason: Option<String>,
    /// Being deleted.
    pub deleting: bool,
}

impl Badge {
    /// The class that colours it. Colour is never the only sign: the word stands beside it.
    pub fn class(&self) -> &'static str {
        match self.state {
            _ if self.deleting => "warn",
            State::Running => "good",
            State::Created if self.cause().is_some() => "bad",
            State::Created => "idle",
            State::Paused | State::Restarting => "warn",
            State::Exited if self.exit_code.unwrap_or(0) == 0 && self.reason.as_deref().is_none_or(|reason| reason == "Completed") => {
                "idle"
            }
            State::Exited | State::Dead => "bad",
        }
    }

    pub fn word(&self, frame: &Frame) -> String {
        if self.deleting {
            return frame.t("state.deleting").to_owned();
        }
        let word = self.state.word(frame.lang);
        match (self.state, self.exit_code) {
            (State::Exited | State::Dead, Some(code)) => format!("{word} {code}"),
            _ => word.to_owned(),
        }
    }

    /// A reason that says more than the state does.
    pub fn cause(&self) -> Option<&str> {
        self.reason.as_deref().filter(|reason| !matches!(*reason, "Completed" | "Error" | "Running" | "Created" | ""))
    }
}

/// Something used of something allowed.
#[derive(Debug, Clone, Default)]
pub struct Gauge {
    pub used: Option<f64>,
    /// None: no limit.
    pub limit: Option<f64>,
    /// How both are written.
    pub used_text: String,
    pub limit_text: String,
}

impl Gauge {
    pub fn bytes(used: Option<u64>, limit: Option<u64>) -> Self {
        let text = |value: Option<u64>| value.map(format::bytes).unwrap_or_default();
        Gauge { used: used.map(|v| v as f64), limit: limit.map(|v| v as f64), used_text: text(used), limit_text: text(limit) }
    }

    /// Processors.
    pub fn cores(used: Option<f64>, limit: Option<f64>) -> Self {
        let text = |value: Option<f64>| value.map(format::cores).unwrap_or_default();
        Gauge { used, limit, used_text: text(used), limit_text: text(limit) }
    }

    pub fn count(used: Option<u64>, limit: Option<u64>) -> Self {
        let text = |value: Option<u64>| value.map(format::grouped).unwrap_or_default();
        Gauge { used: used.map(|v| v as f64), limit: limit.map(|v| v as f64), used_text: text(used), limit_text: text(limit) }
    }

    pub fn is_known(&self) -> bool {
        self.used.is_some() || self.limit.is_some()
    }

    /// Percent of the limit with one decimal, for the width of the bar.
    pub fn percent(&self) -> Option<String> {
        format::percent(self.used?, self.limit?).map(|percent| format!("{percent:.1}"))
    }

    /// From four fifths on it is worth a look; from 95 percent on it is trouble.
    pub fn class(&self) -> &'static str {
        match self.used.zip(self.limit).and_then(|(used, limit)| format::percent(used, limit)) {
            Some(95.0..) => "bad",
            Some(80.0..) => "warn",
            _ => "good",
        }
    }

    /// For those who hear the bar.
    pub fn label(&self, frame: &Frame) -> String {
        match self.percent() {
            Some(percent) => frame.lang.with("gauge.of", &[("used", &self.used_text), ("limit", &self.limit_text), ("percent", &percent)]),
            None => self.used_text.clone(),
        }
    }
}

/// Where the other pages of a list are.
#[derive(Debug, Clone, Default)]
pub struct Paging {
    pub first: String,
    pub next: Option<String>,
    /// This is not the first one.
    pub later_page: bool,
    /// More than what was shown up to here.
    pub remaining: u64,
}

impl Paging {
    /// Of the list at `path`, whose next page begins after `token`.
    pub fn new(path: &str, token: Option<&str>, later_page: bool, remaining: u64) -> Self {
        let next = token.map(|token| format!("{path}?continue={}", crate::routes::encode(token)));
        Paging { first: path.to_owned(), next, later_page, remaining }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_without_a_limit_has_no_bar() {
        assert_eq!(Gauge::bytes(Some(5), None).percent(), None);
        assert_eq!(Gauge::bytes(Some(5), Some(0)).percent(), None);
        let gauge = Gauge::bytes(Some(9_998_336), Some(10_000_000));
        assert_eq!((gauge.percent().as_deref(), gauge.class()), (Some("100.0"), "bad"));
    }

    #[test]
    fn a_badge_is_bad_only_where_something_went_wrong() {
        let badge =
            |state, exit_code, reason: Option<&str>| Badge { state, exit_code, reason: reason.map(Into::into), deleting: false }.class();
        assert_eq!(badge(State::Exited, Some(0), Some("Completed")), "idle");
        assert_eq!(badge(State::Exited, Some(137), Some("OOMKilled")), "bad");
        assert_eq!(badge(State::Exited, None, Some("StartError")), "bad");
        assert_eq!(badge(State::Created, Some(127), Some("StartError")), "bad");
        assert_eq!(badge(State::Created, None, None), "idle");
        assert_eq!(badge(State::Running, None, None), "good");
    }
}
