//! Newtypes for the names that become paths, cgroups and keys.
//!
//! Every path and every kernel name is built from these, never from what a user typed: a value that exists has been checked.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not an identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {value:?} is not valid: {rule}")]
pub struct InvalidId {
    kind: &'static str,
    value: String,
    rule: &'static str,
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text itself: safe as one path component.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    let value = text.chars().take(80).collect();
                    Err(InvalidId { kind: $kind, value, rule: $rule })
                }
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// An RFC 1123 label: lower case letters, digits and inner hyphens, 1 to 63 of them.
pub fn is_dns_label(text: &str) -> bool {
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    matches!(bytes.len(), 1..=63) && edge(bytes[0]) && edge(bytes[bytes.len() - 1]) && bytes.iter().all(|&b| edge(b) || b == b'-')
}

identifier!(
    /// One installation of Berth on this machine: 8 hexadecimal digits in every kernel name it makes.
    InstanceId, "instance id", "8 lower-case hexadecimal digits", |t| is_hex(t, 8)
);
identifier!(
    /// A sandbox: the uid of the pod or container that it runs, 32 hexadecimal digits.
    PodId, "pod id", "32 lower-case hexadecimal digits", |t| is_hex(t, 32)
);
identifier!(
    /// An unpacked layer: the sha256 of its uncompressed tar (the OCI image specification's DiffID), 64 hexadecimal digits.
    LayerId, "layer id", "64 lower-case hexadecimal digits", |t| is_hex(t, 64)
);
identifier!(
    /// One use of a worker's staging folder, 32 hexadecimal digits.
    StagingId, "staging id", "32 lower-case hexadecimal digits", |t| is_hex(t, 32)
);
identifier!(
    /// A named volume: the volume's uid, 32 hexadecimal digits.
    VolumeId, "volume id", "32 lower-case hexadecimal digits", |t| is_hex(t, 32)
);
identifier!(
    /// A further process in a container, 32 hexadecimal digits.
    ExecId, "exec id", "32 lower-case hexadecimal digits", |t| is_hex(t, 32)
);
identifier!(
    /// A container's name inside its pod: an RFC 1123 label.
    ContainerName, "container name", "an RFC 1123 label (a-z, 0-9, '-', 1 to 63 characters)", is_dns_label
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_paths_are_refused() {
        for bad in ["", ".", "..", "-rf", "a/b", "a\0", "A", "a_b", "ab-", &"a".repeat(64), "é"] {
            assert!(bad.parse::<ContainerName>().is_err(), "{bad:?}");
        }
        for good in ["a", "a1", "web-1", &"a".repeat(63)] {
            assert!(good.parse::<ContainerName>().is_ok(), "{good:?}");
        }
    }

    #[test]
    fn ids_are_fixed_length_lower_hex() {
        assert!("0123456789abcdef0123456789abcdef".parse::<PodId>().is_ok());
        assert!("0123456789ABCDEF0123456789abcdef".parse::<PodId>().is_err());
        assert!("0123".parse::<PodId>().is_err());
        assert!(serde_json::from_str::<PodId>("\"../../etc/passwd\"").is_err());
    }
}
