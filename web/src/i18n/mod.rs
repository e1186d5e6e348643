//! The words of every page, in every language: one table, one file a language, the same keys in each.
//!
//! A catalogue is lines of `key = text`; `#` starts a comment. `{name}` in a text is filled by [`Lang::with`]. Texts are plain: they are
//! escaped like any other value, so a translation can never bring markup into a page. Tests check that the languages have the same keys and
//! the same holes, that every key that is asked for exists, and that none is left over.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::LazyLock;

/// A language that the dashboard speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Lang {
    #[default]
    En,
    Zh,
}

type Catalogue = HashMap<&'static str, &'static str>;

static EN: LazyLock<Catalogue> = LazyLock::new(|| parse(include_str!("en.txt")).collect());
static ZH: LazyLock<Catalogue> = LazyLock::new(|| parse(include_str!("zh.txt")).collect());

/// `key = text` lines in order.
pub(crate) fn parse(file: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    file.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = "))
        .map(|(key, text)| (key.trim(), text.trim()))
}

impl Lang {
    pub const ALL: [Lang; 2] = [Lang::En, Lang::Zh];

    /// The language tag of `<html lang>` (BCP 47).
    pub fn tag(self) -> &'static str {
        match self {
            Lang::En => "en",
            Lang::Zh => "zh-Hans",
        }
    }

    /// The short name used in the cookie and in forms.
    pub fn code(self) -> &'static str {
        match self {
            Lang::En => "en",
            Lang::Zh => "zh",
        }
    }

    /// What the language calls itself.
    pub fn own_name(self) -> &'static str {
        match self {
            Lang::En => "English",
            Lang::Zh => "中文",
        }
    }

    pub fn from_code(code: &str) -> Option<Lang> {
        Lang::ALL.into_iter().find(|lang| lang.code() == code)
    }

    /// The user's own choice first, then the browser's order of preference (RFC 9110, 12.5.4), then English.
    pub fn negotiate(chosen: Option<&str>, accept_language: Option<&str>) -> Lang {
        if let Some(lang) = chosen.and_then(Lang::from_code) {
            return lang;
        }
        let mut best = (Lang::default(), 0.0);
        for range in accept_language.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let primary = parts.next().unwrap_or_default().split('-').next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0));
            if let Some(lang) = Lang::from_code(&primary)
                && quality > best.1
            {
                best = (lang, quality);
            }
        }
        best.0
    }

    /// The text of `key`, if there is one.
    pub fn lookup(self, key: &str) -> Option<&'static str> {
        let catalogue = match self {
            Lang::En => &EN,
            Lang::Zh => &ZH,
        };
        catalogue.get(key).copied()
    }

    /// The text of `key`. A key that no catalogue knows shows itself, which a test forbids for every key in the source.
    pub fn t(self, key: &str) -> &str {
        self.lookup(key).unwrap_or(key)
    }

    /// The text of `key` with its holes filled.
    pub fn with(self, key: &str, holes: &[(&str, &dyn Display)]) -> String {
        let mut out = String::new();
        let mut rest = self.t(key);
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                rest = after;
                break;
            };
            match holes.iter().find(|(hole, _)| *hole == name) {
                Some((_, value)) => out.push_str(&value.to_string()),
                None => out.push_str(name),
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }

    /// `key.one` or `key.other` with `{count}` filled.
    pub fn count(self, key: &str, count: u64) -> String {
        let form = if count == 1 { "one" } else { "other" };
        self.with(&format!("{key}.{form}"), &[("count", &crate::format::grouped(count))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_wins_then_the_browser_then_english() {
        for (chosen, accept, lang) in [
            (None, None, Lang::En),
            (Some("zh"), Some("en"), Lang::Zh),
            (Some("xx"), Some("zh-CN,zh;q=0.9,en;q=0.8"), Lang::Zh),
            (None, Some("de, en;q=0.5, zh;q=0.7"), Lang::Zh),
            (None, Some("en-GB,en;q=0.9,zh;q=0.1"), Lang::En),
            (None, Some("zh;q=0, fr"), Lang::En),
            (None, Some(";;q=,,zh;q=<script>"), Lang::En),
        ] {
            assert_eq!(Lang::negotiate(chosen, accept), lang, "{chosen:?} {accept:?}");
        }
    }

    #[test]
    fn holes_are_filled_once_and_values_are_not_read_again() {
        assert_eq!(Lang::En.with("time.ago", &[("time", &"{time}")]), "{time} ago");
    }
}
