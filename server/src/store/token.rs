//! API tokens: only the hash of a secret is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::Store;
use super::error::{Lookup, StoreError};
use super::memory::Change;
use super::statement::Piece;
use crate::model::event::{NewEvent, ObjectReference};
use crate::model::token::{TokenSpec, TokenStatus};
use crate::model::{ObjectMeta, Role, Token};

const KIND: &str = "token";

#[derive(Debug, Clone, PartialEq)]
pub struct TokenRecord {
    pub meta: ObjectMeta,
    pub role: Role,
    /// sha256 of the secret, hexadecimal.
    pub hash: String,
    pub last_used: Option<Timestamp>,
    pub version: u64,
}

impl TokenRecord {
    pub fn to_model(&self) -> Token {
        Token {
            kind: "Token".to_owned(),
            metadata: self.meta.clone(),
            spec: TokenSpec { role: self.role },
            status: TokenStatus { last_used_at: self.last_used },
        }
    }

    fn reference(&self) -> ObjectReference {
        ObjectReference { kind: "Token".to_owned(), name: self.meta.name.clone(), uid: self.meta.uid.clone() }
    }
}

/// What is kept of a secret. The secret is 256 random bits, so a plain hash is enough: there is nothing to guess.
pub fn hash_secret(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}

impl Store {
    /// By name, uid, or a unique beginning of the uid of 8 characters or more.
    pub fn token(&self, name: &str) -> Result<Arc<TokenRecord>, Lookup> {
        self.inner.writer.read(|tables| super::list::find(&tables.tokens, KIND, name, |record| &record.meta.uid))
    }

    /// In the order of names.
    pub fn tokens(&self) -> Vec<Arc<TokenRecord>> {
        self.inner.writer.read(|tables| tables.tokens.values().cloned().collect())
    }

    /// Whose secret has this hash. All are compared, in constant time each.
    pub fn token_by_hash(&self, hash: &str) -> Option<Arc<TokenRecord>> {
        use subtle::ConstantTimeEq;
        self.inner.writer.read(|tables| {
            let mut found = None;
            for record in tables.tokens.values() {
                if bool::from(record.hash.as_bytes().ct_eq(hash.as_bytes())) {
                    found = Some(Arc::clone(record));
                }
            }
            found
        })
    }

    /// # Errors
    /// `NameTaken`, and those of a commit.
    pub async fn create_token(&self, name: &str, role: Role, hash: String) -> Result<Arc<TokenRecord>, StoreError> {
        self.create_labelled_token(name, role, hash, BTreeMap::new(), BTreeMap::new()).await
    }

    /// # Errors
    /// As [`Store::create_token`].
    pub async fn create_labelled_token(
        &self,
        name: &str,
        role: Role,
        hash: String,
        labels: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
    ) -> Result<Arc<TokenRecord>, StoreError> {
        let now = self.now();
        let staged = self.inner.writer.write(|stage| {
            if stage.tables.tokens.contains_key(name) {
                return Err(StoreError::NameTaken { kind: KIND, name: name.to_owned() });
            }
            let version = stage.next_revision();
            let meta = ObjectMeta {
                name: name.to_owned(),
                uid: crate::model::name::new_uid(),
                labels,
                annotations,
                creation_timestamp: now,
                deletion_timestamp: None,
                resource_version: version.to_string(),
                generation: 1,
            };
            let record = Arc::new(TokenRecord { meta, role, hash, last_used: None, version });
            let piece = Piece::new(
                "INSERT INTO tokens (name, uid, role, hash, labels, annotations, created_at, resource_version) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    name.into(),
                    record.meta.uid.as_str().into(),
                    role_name(role).into(),
                    record.hash.as_str().into(),
                    super::list::text(&record.meta.labels, KIND)?.into(),
                    super::list::text(&record.meta.annotations, KIND)?.into(),
                    now.to_string().into(),
                    version.into(),
                ],
            );
            stage.put(Change::TokenPut(Arc::clone(&record)), piece);
            stage.event(NewEvent::new(now, record.reference(), "Created", format!("Token with role {}", role_name(role))))?;
            Ok(record)
        })?;
        staged.durable().await
    }

    /// # Errors
    /// `NotFound`, and those of a commit.
    pub async fn remove_token(&self, name: &str) -> Result<(), StoreError> {
        let now = self.now();
        let staged = self.inner.writer.write(|stage| {
            let record = stage.tables.tokens.get(name).cloned().ok_or_else(|| StoreError::NotFound { kind: KIND, key: name.to_owned() })?;
            let version = stage.next_revision();
            stage.put(
                Change::TokenRemoved { name: name.to_owned(), version },
                Piece::new("DELETE FROM tokens WHERE name = ?", [name.into()]),
            );
            stage.event(NewEvent::new(now, record.reference(), "Deleted", "Token removed"))
        })?;
        staged.durable().await
    }

    /// Notes that a token was used, at most once a minute, and waits for nothing.
    pub fn touch_token(&self, record: &TokenRecord) {
        let now = self.now();
        let recent = |last: Option<Timestamp>| last.is_some_and(|last| now.duration_since(last) < SignedDuration::from_mins(1));
        if recent(record.last_used) {
            return;
        }
        let staged = self.inner.writer.write(|stage| {
            let Some(current) =
                stage.tables.tokens.get(&record.meta.name).filter(|t| t.meta.uid == record.meta.uid && !recent(t.last_used))
            else {
                return Ok(());
            };
            let touched = TokenRecord { last_used: Some(now), ..TokenRecord::clone(current) };
            let piece =
                Piece::new("UPDATE tokens SET last_used_at = ? WHERE name = ?", [now.to_string().into(), record.meta.name.as_str().into()]);
            stage.put(Change::TokenPut(Arc::new(touched)), piece);
            Ok(())
        });
        if let Err(error) = staged {
            tracing::warn!(%error, token = record.meta.name, "cannot note the use of a token");
        }
    }
}
