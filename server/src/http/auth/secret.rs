//! Tokens and session ids: 256 random bits, shown once, of which only the SHA-256 is kept.
//!
//! Why no slow hash: nobody guesses 256 random bits, and a slow hash on each request would be a gift to whoever wants to keep us busy.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Scanners of leaked secrets find it by this.
const PREFIX: &str = "berth_";

/// A secret in clear: never logged, never stored, never compared.
pub struct Secret(String);

/// What is kept of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash(pub [u8; 32]);

impl Secret {
    /// A new token: `berth_` and 43 characters of base64url (RFC 4648 section 5).
    pub fn token() -> Self {
        Secret(format!("{PREFIX}{}", random_text()))
    }

    /// A new session id.
    pub fn session() -> Self {
        Secret(random_text())
    }

    /// What a caller sent. None when it cannot be one of ours, whatever it is.
    pub fn parse(text: &str) -> Option<Self> {
        let random = text.strip_prefix(PREFIX).unwrap_or(text);
        let plausible = random.len() == 43 && random.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        plausible.then(|| Secret(text.to_owned()))
    }

    pub fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.0.as_bytes()).into())
    }

    /// The text, to be shown this once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Not even by accident.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl SecretHash {
    /// Lower-case hexadecimal, as it is stored.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(SecretHash(bytes))
    }

    /// In a time that does not depend on where they differ.
    pub fn same(&self, other: &SecretHash) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

fn random_text() -> String {
    let mut bytes = [0_u8; 32];
    // ThreadRng is a CSPRNG seeded by getrandom(2).
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_recognised_by_its_hash_alone() {
        let token = Secret::token();
        assert_eq!(token.reveal().len(), 49);
        let again = Secret::parse(token.reveal()).unwrap();
        assert!(token.hash().same(&again.hash()));
        assert!(!token.hash().same(&Secret::token().hash()));
        assert_eq!(SecretHash::from_hex(&token.hash().to_hex()), Some(token.hash()));
        assert_eq!(format!("{token:?}"), "Secret(…)");
    }

    #[test]
    fn what_cannot_be_a_secret_is_none() {
        for text in ["", "berth_", "berth_short", &"a".repeat(44), &format!("berth_{}", "é".repeat(43))] {
            assert!(Secret::parse(text).is_none(), "{text}");
        }
        for text in ["", "zz", &"g".repeat(64), &"a".repeat(65)] {
            assert!(SecretHash::from_hex(text).is_none(), "{text}");
        }
    }
}
