//! How untrusted text becomes part of a page.
//!
//! Names, labels, log lines, kernel messages and image references all come from programs that may be hostile. [`Visible`] is the escaper of
//! every template (see `askama.toml`): it makes text harmless to HTML, in content and in attributes alike, and shows what would otherwise be
//! unseen: control characters by their names (`⟨ESC⟩`), characters that turn or hide text by their code points (`⟨U+202E⟩`).

use std::fmt;

use askama::filters::Escaper;

/// The escaper of all templates.
#[derive(Debug, Clone, Copy)]
pub struct Visible;

impl Escaper for Visible {
    fn write_escaped_str<W: fmt::Write>(&self, mut out: W, text: &str) -> fmt::Result {
        let mut clean = 0;
        for (at, c) in text.char_indices() {
            if is_plain(c) {
                continue;
            }
            out.write_str(&text[clean..at])?;
            write_char(&mut out, c)?;
            clean = at + c.len_utf8();
        }
        out.write_str(&text[clean..])
    }

    fn write_escaped_char<W: fmt::Write>(&self, mut out: W, c: char) -> fmt::Result {
        if is_plain(c) { out.write_char(c) } else { write_char(&mut out, c) }
    }
}

/// Goes into a page as it is. Line ends and tabs are the only control characters that do.
fn is_plain(c: char) -> bool {
    !matches!(c, '&' | '<' | '>' | '"' | '\'') && !is_unseen(c)
}

/// Control characters, and those of Unicode that reorder, join or hide text (UAX #9, UTR #36).
fn is_unseen(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' => {
            true
        }
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        _ => c.is_control(),
    }
}

/// The control characters by the names that ECMA-48 gives them. (Unicode has pictures of them, but few fonts do.)
const C0: [&str; 32] = [
    "NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "HT", "LF", "VT", "FF", "CR", "SO", "SI", "DLE", "DC1", "DC2", "DC3",
    "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US",
];

fn write_char(out: &mut impl fmt::Write, c: char) -> fmt::Result {
    match c {
        '&' => out.write_str("&amp;"),
        '<' => out.write_str("&lt;"),
        '>' => out.write_str("&gt;"),
        '"' => out.write_str("&quot;"),
        '\'' => out.write_str("&#39;"),
        '\u{7f}' => out.write_str("⟨DEL⟩"),
        other => match C0.get(other as usize) {
            Some(name) => write!(out, "⟨{name}⟩"),
            None => write!(out, "⟨U+{:04X}⟩", u32::from(other)),
        },
    }
}

/// `text` as it appears in a page: for the few places that build HTML without a template.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    // Writing to a String cannot fail.
    let _ = Visible.write_escaped_str(&mut out, text);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_harmless_in_content_and_attributes() {
        assert_eq!(escaped(r#"<a href="x" title='y'>&"#), "&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;");
    }

    #[test]
    fn what_cannot_be_seen_is_shown() {
        assert_eq!(escaped("a\u{1b}[31mb"), "a⟨ESC⟩[31mb");
        assert_eq!(escaped("\0\r\u{7f}"), "⟨NUL⟩⟨CR⟩⟨DEL⟩");
        assert_eq!(escaped("exe.\u{202e}gpj"), "exe.⟨U+202E⟩gpj");
        assert_eq!(escaped("\u{9b}31m\u{200b}\u{feff}"), "⟨U+009B⟩31m⟨U+200B⟩⟨U+FEFF⟩");
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for text in ["", "line one\n\tline two", "größe 容器 🐳", "a/b:c@sha256"] {
            assert_eq!(escaped(text), text);
        }
    }
}
