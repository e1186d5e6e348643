//! Colours in log lines: the SGR sequences of ECMA-48 (`ESC [ … m`) become classes, never markup or styles.
//!
//! Everything else that starts with ESC stays in the text, where the escaper makes it visible: a page is no terminal and obeys nothing.
//! `static/js/ansi.js` does the same for lines that arrive while a log is followed.

/// A piece of a line with one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub text: String,
    /// Class names, ready for the attribute: `fg-red bold`; empty for plain text.
    pub classes: String,
    /// Part of what was searched for.
    pub found: bool,
}

const COLOURS: [&str; 8] = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Look {
    colour: Option<&'static str>,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
}

impl Look {
    fn apply(&mut self, codes: &str) {
        let mut codes = codes.split(';');
        while let Some(code) = codes.next() {
            match code.parse::<u8>().unwrap_or(0) {
                0 => *self = Look::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 => self.underline = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                code @ (30..=37 | 90..=97) => self.colour = Some(COLOURS[usize::from(code % 10)]),
                39 => self.colour = None,
                // 256 and true colours carry their own arguments; a page keeps to its palette.
                38 | 48 => {
                    let arguments = if codes.next() == Some("5") { 1 } else { 3 };
                    codes.by_ref().take(arguments).for_each(drop);
                }
                _ => {}
            }
        }
    }

    fn classes(self) -> String {
        let mut classes = Vec::new();
        let colour = self.colour.map(|colour| format!("fg-{colour}"));
        classes.extend(colour.as_deref());
        for (on, class) in [(self.bold, "bold"), (self.dim, "dim"), (self.italic, "italic"), (self.underline, "underline")] {
            if on {
                classes.push(class);
            }
        }
        classes.join(" ")
    }
}

/// One line of a log, cut where its look changes and around each place where `wanted` is found (without regard to ASCII case).
pub fn segments(line: &str, wanted: &str) -> Vec<Segment> {
    let mut out = Vec::new();
    let mut look = Look::default();
    // A terminal ends its lines with it.
    let mut rest = line.strip_suffix('\r').unwrap_or(line);
    while !rest.is_empty() {
        let (plain, codes, after) = next_sgr(rest);
        push_found(&mut out, plain, look, wanted);
        if let Some(codes) = codes {
            look.apply(codes);
        }
        rest = after;
    }
    out
}

/// The line without its colours, as a search sees it.
pub fn plain(line: &str) -> String {
    segments(line, "").into_iter().map(|segment| segment.text).collect()
}

/// Text up to the next complete SGR sequence, its codes, and what follows.
fn next_sgr(text: &str) -> (&str, Option<&str>, &str) {
    let mut from = 0;
    while let Some(at) = text[from..].find("\u{1b}[").map(|at| from + at) {
        let body = &text[at + 2..];
        let length = body.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b';').count();
        if body.as_bytes().get(length) == Some(&b'm') {
            return (&text[..at], Some(&body[..length]), &body[length + 1..]);
        }
        from = at + 2;
    }
    (text, None, "")
}

fn push_found(out: &mut Vec<Segment>, text: &str, look: Look, wanted: &str) {
    let mut push = |text: &str, found| {
        if !text.is_empty() {
            out.push(Segment { text: text.to_owned(), classes: look.classes(), found });
        }
    };
    let (haystack, needle) = (text.to_ascii_lowercase(), wanted.to_ascii_lowercase());
    let mut from = 0;
    if !needle.is_empty() {
        while let Some(at) = haystack[from..].find(&needle).map(|at| from + at) {
            push(&text[from..at], false);
            push(&text[at..at + needle.len()], true);
            from = at + needle.len();
        }
    }
    push(&text[from..], false);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_terminals_line_is_not_shown() {
        assert_eq!(plain("50%\rdone\r"), "50%\rdone");
    }

    fn looks(line: &str, wanted: &str) -> Vec<(String, String, bool)> {
        segments(line, wanted).into_iter().map(|s| (s.text, s.classes, s.found)).collect()
    }

    #[test]
    fn colours_become_classes_and_end() {
        assert_eq!(
            looks("\u{1b}[1;31merror\u{1b}[0m: no", ""),
            [("error".into(), "fg-red bold".into(), false), (": no".into(), String::new(), false)]
        );
        assert_eq!(looks("\u{1b}[38;5;208mx\u{1b}[38;2;1;2;3my", "").len(), 2);
    }

    #[test]
    fn other_sequences_stay_to_be_seen() {
        assert_eq!(plain("\u{1b}]52;c;aGk=\u{7}\u{1b}[2Jx"), "\u{1b}]52;c;aGk=\u{7}\u{1b}[2Jx");
        assert_eq!(plain("\u{1b}[31"), "\u{1b}[31");
    }

    #[test]
    fn what_was_searched_for_is_marked() {
        assert_eq!(
            looks("GET /a GET", "get"),
            [("GET".into(), String::new(), true), (" /a ".into(), String::new(), false), ("GET".into(), String::new(), true)]
        );
        assert_eq!(looks("größe é", "é")[1], ("é".into(), String::new(), true));
    }
}
