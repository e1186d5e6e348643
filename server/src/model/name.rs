//! Names: of resources (RFC 1123 labels), and of images (references, normalised as Docker does).

use std::fmt;
use std::str::FromStr;

pub use runtime::id::is_dns_label;

/// What an RFC 1123 label is, in words for people.
pub const DNS_LABEL_RULE: &str =
    "must be 1 to 63 lower-case letters, digits or hyphens, and begin and end with a letter or a digit (RFC 1123 label)";

/// A name for a resource that came without one: what it is made from, and five characters that are never a word (no vowels).
pub fn generate(base: &str) -> String {
    const ALPHABET: &[u8; 28] = b"bcdfghjklmnpqrstvwxz01245678";
    let mut stem: String = base.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    stem.truncate(57);
    let stem = stem.trim_matches('-');
    let stem = if stem.is_empty() { "container" } else { stem };
    let mut random = rand::random::<u32>() as usize;
    let mut suffix = String::with_capacity(5);
    for _ in 0..5 {
        suffix.push(char::from(ALPHABET[random % ALPHABET.len()]));
        random /= ALPHABET.len();
    }
    format!("{stem}-{suffix}")
}

/// The stem of a generated name: the last part of an image's path, without tag and digest.
pub fn stem_of_image(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or_default();
    let last = name.rsplit('/').next().unwrap_or_default();
    last.split(':').next().unwrap_or_default()
}

/// A new uid: 32 random hexadecimal digits (UUID version 4, RFC 9562), so that eight of them are nearly always enough.
pub fn new_uid() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// An image's name: `[domain/]path[:tag][@digest]`, see the distribution project's reference grammar.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    pub domain: String,
    pub path: String,
    /// Absent only when there is a digest.
    pub tag: Option<String>,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("an image reference must not be empty")]
    Empty,
    #[error("the image reference is longer than 255 characters")]
    TooLong,
    #[error("{0:?} is not a repository name: lower-case letters and digits, parted by '.', '_', '__' or '-', in parts joined by '/'")]
    Path(String),
    #[error("{0:?} is not a registry's host name, with or without a port")]
    Domain(String),
    #[error("{0:?} is not a tag: at most 128 letters, digits, '_', '.' and '-', and it does not begin with '.' or '-'")]
    Tag(String),
    #[error("{0:?} is not a digest: sha256: and 64 lower-case hexadecimal digits")]
    Digest(String),
}

const DEFAULT_DOMAIN: &str = "docker.io";
const OFFICIAL_PREFIX: &str = "library/";

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() > 255 + 128 + 72 {
            return Err(ReferenceError::TooLong);
        }
        // An image's id is written like this: as a name it would stand for two things.
        if text.starts_with("sha256:") {
            return Err(check_digest(text).err().unwrap_or(ReferenceError::Path(text.to_owned())));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(check_digest(digest)?)),
            None => (text, None),
        };
        // A colon after the last slash parts name and tag; one before it belongs to a port.
        let (name, tag) = match rest.rfind(':').filter(|colon| !rest[*colon..].contains('/')) {
            Some(colon) => (&rest[..colon], Some(check_tag(&rest[colon + 1..])?)),
            None => (rest, None),
        };
        let (domain, path) = split_domain(name)?;
        if domain.len() + path.len() + 1 > 255 {
            return Err(ReferenceError::TooLong);
        }
        let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Reference { domain, path, tag, digest })
    }
}

fn split_domain(name: &str) -> Result<(String, String), ReferenceError> {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase()) => {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    };
    if path.is_empty() || !path.split('/').all(is_path_component) {
        return Err(ReferenceError::Path(path.chars().take(80).collect()));
    }
    if !is_domain(domain) {
        return Err(ReferenceError::Domain(domain.chars().take(80).collect()));
    }
    // `sha256:12…` is a part of an id, and never the tag of a repository that somebody called sha256.
    if name == "sha256" {
        return Err(ReferenceError::Digest(name.to_owned()));
    }
    let domain = if domain == "index.docker.io" { DEFAULT_DOMAIN } else { domain };
    let official = domain == DEFAULT_DOMAIN && !path.contains('/');
    let path = if official { format!("{OFFICIAL_PREFIX}{path}") } else { path.to_owned() };
    Ok((domain.to_owned(), path))
}

/// `alpha-numeric [separator alpha-numeric]*`, where a separator is `.`, `_`, `__` or any number of `-`.
fn is_path_component(part: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    if !word(first) || !word(last) || !bytes.iter().all(|&b| word(b) || matches!(b, b'.' | b'_' | b'-')) {
        return false;
    }
    bytes.split(|&b| word(b)).filter(|run| !run.is_empty()).all(|run| matches!(run, b"." | b"_" | b"__") || run.iter().all(|&b| b == b'-'))
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = domain.split_once(':').map_or((domain, None), |(host, port)| (host, Some(port)));
    let label = |part: &str| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        edge(part.bytes().next()) && edge(part.bytes().last()) && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.split('.').all(label) && port.is_none_or(|port| port.parse::<u16>().is_ok() && !port.starts_with('+'))
}

fn check_tag(tag: &str) -> Result<String, ReferenceError> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let good =
        matches!(tag.len(), 1..=128) && tag.bytes().next().is_some_and(word) && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
    if good { Ok(tag.to_owned()) } else { Err(ReferenceError::Tag(tag.chars().take(140).collect())) }
}

fn check_digest(digest: &str) -> Result<String, ReferenceError> {
    let good =
        digest.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
    if good { Ok(digest.to_owned()) } else { Err(ReferenceError::Digest(digest.chars().take(100).collect())) }
}

impl Reference {
    /// As people say it: `busybox:latest` for `docker.io/library/busybox:latest`.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let short = full.strip_prefix("docker.io/").unwrap_or(&full);
        short.strip_prefix(OFFICIAL_PREFIX).unwrap_or(short).to_owned()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full(text: &str) -> Result<String, ReferenceError> {
        text.parse::<Reference>().map(|r| r.to_string())
    }

    #[test]
    fn references_are_normalised_as_docker_does() {
        let digest = format!("sha256:{}", "a1".repeat(32));
        for (given, wanted) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36"),
            ("me/app", "docker.io/me/app:latest"),
            ("docker.io/library/busybox:latest", "docker.io/library/busybox:latest"),
            ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
            ("localhost/x", "localhost/x:latest"),
            ("localhost:5000/x:v1", "localhost:5000/x:v1"),
            ("quay.io/a/b/c", "quay.io/a/b/c:latest"),
            ("a__b/c.d-e--f", "docker.io/a__b/c.d-e--f:latest"),
        ] {
            assert_eq!(full(given).as_deref(), Ok(wanted), "{given}");
        }
        assert_eq!(full(&format!("busybox@{digest}")), Ok(format!("docker.io/library/busybox@{digest}")));
        assert_eq!(full(&format!("busybox:x@{digest}")), Ok(format!("docker.io/library/busybox:x@{digest}")));
        assert_eq!("docker.io/library/busybox".parse::<Reference>().unwrap().familiar(), "busybox:latest");
        assert_eq!("localhost:5000/x".parse::<Reference>().unwrap().familiar(), "localhost:5000/x:latest");
    }

    #[test]
    fn references_that_are_none() {
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "Busybox",
            "a:",
            "a:b:c",
            "a@",
            "a@sha256:12",
            "a@md5:00",
            "a b",
            "a..b",
            "sha256:zz",
            "sha256",
            "a___b",
            "-a",
            "a-",
            "../../etc/passwd",
            "a\0",
            "host:99999/x",
            "ä",
            "a:-x",
            "a:.x",
            "https://a/b",
        ] {
            assert!(full(bad).is_err(), "{bad:?} gave {:?}", full(bad));
        }
        assert!(full(&"a".repeat(300)).is_err());
        assert!(full(&format!("a:{}", "x".repeat(129))).is_err());
    }

    #[test]
    fn generated_names_are_labels() {
        for base in ["busybox", "", "A_b.C", "--", &"x".repeat(200), "é"] {
            let name = generate(base);
            assert!(is_dns_label(&name), "{name}");
        }
        assert_eq!(stem_of_image("localhost:5000/me/app:v1@sha256:00"), "app");
    }

    proptest! {
        #[test]
        fn a_normalised_reference_is_its_own_normal_form(text in "[a-z0-9./:_@-]{1,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let again: Reference = reference.to_string().parse().unwrap();
                prop_assert_eq!(again, reference);
            }
        }

        #[test]
        fn garbage_never_panics(text: String) {
            let _ = text.parse::<Reference>();
            prop_assert!(is_dns_label(&generate(&text)));
        }
    }
}
