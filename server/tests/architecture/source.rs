//! Source files as the rules look at them: comments and literals blanked, line numbers kept.
//!
//! Not a parser. It knows enough of Rust's lexical structure (nested comments, raw strings, characters and lifetimes) to tell code from words
//! about code.

use std::fs;
use std::path::{Path, PathBuf};

/// One Rust file.
pub(crate) struct Source {
    /// From the repository's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Without comments and the contents of literals.
    pub(crate) code: String,
    /// Without comments.
    uncommented: String,
}

impl Source {
    pub(crate) fn read(file: &Path) -> Source {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Source::parse(relative(file), text)
    }

    pub(crate) fn parse(path: String, text: String) -> Source {
        let code = blank(&text, true);
        let uncommented = blank(&text, false);
        Source { path, text, code, uncommented }
    }

    /// The code up to the tests, which stand last in a file; nothing of a file that is tests altogether.
    pub(crate) fn code_without_tests(&self) -> &str {
        self.before_tests(&self.code)
    }

    /// The same with literals.
    pub(crate) fn text_without_tests(&self) -> &str {
        self.before_tests(&self.uncommented)
    }

    fn before_tests<'a>(&self, text: &'a str) -> &'a str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        if name == "tests.rs" || name.ends_with("_tests.rs") || self.path.contains("/tests/") {
            return "";
        }
        let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
        &text[..end]
    }
}

pub(crate) fn root() -> PathBuf {
    let server = Path::new(env!("CARGO_MANIFEST_DIR"));
    server.parent().map_or_else(|| server.to_owned(), Path::to_owned)
}

pub(crate) fn relative(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).to_string_lossy().into_owned()
}

/// Every Rust file of the three crates, not of their test folders.
pub(crate) fn sources() -> Vec<Source> {
    let folders = ["server/src", "runtime/src", "web/src"];
    folders.iter().flat_map(|folder| files(&root().join(folder), &["rs"])).map(|file| Source::read(&file)).collect()
}

/// Files below `folder` with one of these extensions (an empty one: none at all), without what is built, fetched or git's.
pub(crate) fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_symlink() || ["target", ".git", "node_modules", ".cache", ".hypothesis"].contains(&name.as_ref()) {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path, extensions));
        } else if extensions.contains(&path.extension().unwrap_or_default().to_string_lossy().as_ref()) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Numbers of the lines where `word` stands as a whole word or path.
pub(crate) fn lines_with<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    code.lines().enumerate().filter_map(move |(number, line)| {
        let whole = line.match_indices(word).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + word.len()..].chars().next();
            !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
        });
        whole.then_some(number + 1)
    })
}

/// Replaces comments, and where asked also what literals contain, by spaces.
fn blank(text: &str, literals: bool) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out: Vec<char> = Vec::with_capacity(chars.len());
    let mut at = 0;
    while at < chars.len() {
        let (end, is_comment) = match token(&chars, at) {
            Token::Comment(end) => (end, true),
            Token::Literal(end) => (end, false),
            Token::Other => {
                out.push(chars[at]);
                at += 1;
                continue;
            }
        };
        let hide = is_comment || literals;
        out.extend(chars[at..end].iter().map(|&c| if hide && c != '\n' { ' ' } else { c }));
        at = end;
    }
    out.into_iter().collect()
}

/// What starts at a place, and where it ends.
enum Token {
    Comment(usize),
    Literal(usize),
    Other,
}

fn token(chars: &[char], at: usize) -> Token {
    let next = |offset: usize| chars.get(at + offset).copied().unwrap_or('\0');
    let named = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match (chars[at], next(1)) {
        ('/', '/') => Token::Comment((at..chars.len()).find(|&i| chars[i] == '\n').unwrap_or(chars.len())),
        ('/', '*') => Token::Comment(end_of_block_comment(chars, at)),
        ('"', _) => Token::Literal(end_of_string(chars, at)),
        ('r', '"' | '#') if !named => raw_string(chars, at),
        // A character, not a lifetime: it closes after one character or an escape.
        ('\'', '\\') => Token::Literal((at + 3..chars.len()).find(|&i| chars[i] == '\'').map_or(chars.len(), |i| i + 1)),
        ('\'', _) if next(2) == '\'' => Token::Literal(at + 3),
        _ => Token::Other,
    }
}

fn end_of_block_comment(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

fn raw_string(chars: &[char], start: usize) -> Token {
    let hashes = chars[start + 1..].iter().take_while(|&&c| c == '#').count();
    if chars.get(start + 1 + hashes) != Some(&'"') {
        return Token::Other;
    }
    let mut closing = vec!['"'];
    closing.extend(std::iter::repeat_n('#', hashes));
    let body = start + 2 + hashes;
    let end = (body..chars.len()).find(|&i| chars[i..].starts_with(&closing)).map_or(chars.len(), |i| i + closing.len());
    Token::Literal(end)
}
