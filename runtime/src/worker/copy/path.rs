//! A path inside a container, as a person writes it.

use crate::error::RuntimeError;

/// The longest path that the kernel takes in one call, without its NUL (PATH_MAX in limits.h).
const MOST_BYTES: usize = 4095;

/// Absolute or relative to the root, `.` and `..` worked out by their text alone, as Docker does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InnerPath {
    parts: Vec<Vec<u8>>,
    /// It ended in `/` or `/.`: what it names must be a folder, through a link if it is one.
    folder: bool,
}

impl InnerPath {
    pub(super) fn parse(text: &str) -> Result<Self, RuntimeError> {
        let refuse = |message: &str| Err(RuntimeError::Invalid { path: "/path".into(), message: message.into() });
        if text.is_empty() {
            return refuse("must not be empty");
        }
        if text.contains('\0') {
            return refuse("must not contain a NUL character");
        }
        if text.len() > MOST_BYTES {
            return refuse("must not be longer than 4095 bytes");
        }
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part.as_bytes().to_vec()),
            }
        }
        let folder = parts.is_empty() || text.ends_with('/') || text.ends_with("/.") || text.ends_with("/..");
        Ok(InnerPath { parts, folder })
    }

    pub(super) fn must_be_folder(&self) -> bool {
        self.folder
    }

    /// Without a first slash; empty for the root.
    pub(super) fn whole(&self) -> Vec<u8> {
        self.parts.join(&b'/')
    }

    /// The folder that it is in, and its name there; None for the root.
    pub(super) fn split(&self) -> Option<(Vec<u8>, &[u8])> {
        let (name, parents) = self.parts.split_last()?;
        Some((parents.join(&b'/'), name))
    }

    pub(super) fn display(&self) -> String {
        format!("/{}", String::from_utf8_lossy(&self.whole()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_worked_out_by_their_text() {
        for (text, whole, folder) in [
            ("/", "", true),
            ("etc/passwd", "etc/passwd", false),
            ("/etc//./passwd", "etc/passwd", false),
            ("/etc/", "etc", true),
            ("/etc/.", "etc", true),
            ("/../../etc", "etc", false),
            ("/a/b/..", "a", true),
            ("..", "", true),
        ] {
            let path = InnerPath::parse(text).unwrap();
            assert_eq!((path.whole(), path.must_be_folder()), (whole.as_bytes().to_vec(), folder), "{text}");
        }
        assert_eq!(InnerPath::parse("/a/b").unwrap().split(), Some((b"a".to_vec(), &b"b"[..])));
        assert_eq!(InnerPath::parse("/").unwrap().split(), None);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", "a\0b", &"a/".repeat(2048)] {
            assert!(matches!(InnerPath::parse(text), Err(RuntimeError::Invalid { path, .. }) if path == "/path"), "{text:?}");
        }
    }
}
