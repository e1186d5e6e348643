//! What stands around every page: who looks, in which language and light, where they are, and what has just been done.

use std::fmt::Display;

use crate::assets;
use crate::format::{self, Moment};
use crate::i18n::Lang;

/// The frame of a page.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    pub lang: Lang,
    pub theme: Theme,
    /// This machine's name.
    pub host: String,
    /// Berth's version.
    pub version: String,
    /// None while nobody is signed in: then there is no navigation.
    pub who: Option<Who>,
    pub flash: Option<Flash>,
    /// Path and query of this page, to come back to.
    pub here: String,
    /// Path of the unix socket, for the calls that are shown.
    pub socket: String,
    /// The API calls that give the facts of this page.
    pub calls: Vec<ApiCall>,
}

/// Who is signed in.
#[derive(Debug, Clone)]
pub struct Who {
    /// The token's name.
    pub name: String,
    /// `viewer`, `operator` or `admin`.
    pub role: String,
}

/// Light, dark, or as the browser says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Theme {
    #[default]
    Auto,
    Light,
    Dark,
}

impl Theme {
    pub const ALL: [Theme; 3] = [Theme::Auto, Theme::Light, Theme::Dark];

    pub fn code(self) -> &'static str {
        match self {
            Theme::Auto => "auto",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    pub fn from_code(code: &str) -> Option<Theme> {
        Theme::ALL.into_iter().find(|theme| theme.code() == code)
    }
}

/// One line about what was just done, shown once above the page.
#[derive(Debug, Clone)]
pub struct Flash {
    pub good: bool,
    pub text: String,
}

impl Flash {
    /// From the codes that a redirect carries, `?done=started&name=web`; an unknown code says nothing.
    pub fn done(lang: Lang, code: &str, name: &str) -> Option<Flash> {
        const CODES: [&str; 14] = [
            "created",
            "started",
            "stopped",
            "restarted",
            "killed",
            "paused",
            "unpaused",
            "deleted",
            "limits",
            "image-made",
            "image-deleted",
            "volume-created",
            "volume-deleted",
            "signed-out",
        ];
        CODES.contains(&code).then(|| Flash { good: true, text: lang.with(&format!("flash.{code}"), &[("name", &name)]) })
    }
}

/// A call of the API, shown so that it can be repeated.
#[derive(Debug, Clone)]
pub struct ApiCall {
    pub method: &'static str,
    /// With `/api/v1` and query.
    pub path: String,
}

impl ApiCall {
    pub fn get(path: impl Into<String>) -> Self {
        ApiCall { method: "GET", path: path.into() }
    }
}

impl Frame {
    pub fn t<'k>(&self, key: &'k str) -> &'k str {
        self.lang.t(key)
    }

    /// A text with one hole.
    pub fn with(&self, key: &str, hole: &str, value: impl Display) -> String {
        self.lang.with(key, &[(hole, &value)])
    }

    pub fn count(&self, key: &str, count: usize) -> String {
        self.count_of(key, &(count as u64))
    }

    pub fn count_of(&self, key: &str, count: &u64) -> String {
        self.lang.count(key, *count)
    }

    pub fn theme_word(&self, theme: &Theme) -> &'static str {
        match theme {
            Theme::Auto => self.lang.t("theme.auto"),
            Theme::Light => self.lang.t("theme.light"),
            Theme::Dark => self.lang.t("theme.dark"),
        }
    }

    /// `9.54 MiB`.
    pub fn bytes(&self, bytes: &u64) -> String {
        format::bytes(*bytes)
    }

    /// `10,000,000 bytes`.
    pub fn exact(&self, bytes: &u64) -> String {
        self.with("bytes", "count", format::grouped(*bytes))
    }

    pub fn grouped(&self, number: &u64) -> String {
        format::grouped(*number)
    }

    pub fn ago(&self, moment: &Moment) -> String {
        moment.relative(self.lang)
    }

    pub fn asset(&self, name: &str) -> String {
        assets::path(name)
    }

    /// The page as a link to itself, without what a redirect added.
    pub fn path(&self) -> &str {
        self.here.split('?').next().unwrap_or_default()
    }

    /// In this part of the house?
    pub fn is_at(&self, root: &str) -> bool {
        self.path() == root || self.path().strip_prefix(root).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The call as a line for a shell of this machine. A path is quoted, for it may hold `&` and `?`.
    pub fn curl(&self, call: &ApiCall) -> String {
        let method = if call.method == "GET" { String::new() } else { format!(" -X {}", call.method) };
        format!("curl -s{method} --unix-socket {} '{}{}'", self.socket, "http://localhost", call.path.replace('\'', "%27"))
    }

    pub fn is_admin(&self) -> bool {
        self.who.as_ref().is_some_and(|who| who.role == "admin")
    }

    pub fn can_change(&self) -> bool {
        self.who.as_ref().is_some_and(|who| who.role != "viewer")
    }
}
