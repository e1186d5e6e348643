//! Names in archives, made safe once: what is an [`EntryPath`] has no way up and no way out.

/// The longest path that the kernel takes in one call, without its NUL (PATH_MAX in limits.h).
const MOST_BYTES: usize = 4095;

/// A path below the layer's root: components joined by single slashes, none of them empty, `.` or `..`. Empty for the root itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryPath(Vec<u8>);

impl EntryPath {
    /// Takes `/a`, `./a` and `a//b/` as tar does, relative to the root; refuses `..`, NUL and what is too long.
    pub(super) fn parse(raw: &[u8]) -> Result<Self, &'static str> {
        if raw.is_empty() {
            return Err("a name is empty");
        }
        if raw.contains(&0) {
            return Err("a name contains a NUL byte");
        }
        let mut path = Vec::with_capacity(raw.len().min(MOST_BYTES));
        for component in raw.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err("a name contains \"..\""),
                _ => {}
            }
            if path.len() + 1 + component.len() > MOST_BYTES {
                return Err("a path is longer than 4095 bytes");
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(component);
        }
        Ok(EntryPath(path))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The folder that it is in (empty for the root) and its name there; None for the root itself.
    pub(super) fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.0.is_empty() {
            return None;
        }
        Some(match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&self.0[..slash], &self.0[slash + 1..]),
            None => (&[], &self.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_tar_takes_as_relative_to_the_root_is_taken() {
        for (raw, path) in [("a", "a"), ("/a", "a"), ("./a//b/", "a/b"), ("./././", ""), ("/", ""), ("...", "..."), ("a/..b", "a/..b")] {
            assert_eq!(EntryPath::parse(raw.as_bytes()).unwrap().as_bytes(), path.as_bytes(), "{raw:?}");
        }
    }

    #[test]
    fn ways_out_are_refused() {
        let long = "a/".repeat(3000);
        for raw in ["", "..", "../x", "a/../../x", "a/..", "/..", "a\0b", &long, &"b".repeat(64 << 10)] {
            assert!(EntryPath::parse(raw.as_bytes()).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn splits_into_folder_and_name() {
        let split = |raw: &str| EntryPath::parse(raw.as_bytes()).unwrap().split().map(|(a, b)| (a.to_vec(), b.to_vec()));
        assert_eq!(split("a/b/c"), Some((b"a/b".to_vec(), b"c".to_vec())));
        assert_eq!(split("a"), Some((Vec::new(), b"a".to_vec())));
        assert_eq!(split("./"), None);
    }

    proptest! {
        #[test]
        fn whatever_comes_stays_below_the_root(raw: Vec<u8>) {
            if let Ok(path) = EntryPath::parse(&raw) {
                prop_assert!(path.as_bytes().len() <= MOST_BYTES && !path.as_bytes().contains(&0));
                if !path.as_bytes().is_empty() {
                    for component in path.as_bytes().split(|&byte| byte == b'/') {
                        prop_assert!(!matches!(component, b"" | b"." | b".."));
                    }
                }
            }
        }
    }
}
