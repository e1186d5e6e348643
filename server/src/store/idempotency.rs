//! `Idempotency-Key`: the first answer to a request is replayed for 24 hours, and a second request under way is told to wait.
//!
//! Memory holds what decides (key, hash of the request, time); the answer itself is read back from disk when it is asked for again, which
//! is rare.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use sqlx::Row;

use super::Store;
use super::error::StoreError;
use super::memory::Change;
use super::statement::{Piece, Value};

/// How long an answer is kept.
pub(super) const KEEP_HOURS: i64 = 24;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyEntry {
    pub(super) request_hash: String,
    pub(super) created: Timestamp,
}

/// An answer as it went out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What to do with a request that carries a key.
#[derive(Debug)]
pub enum Replay {
    /// Do it, and `finish` the guard with the answer; dropping it forgets the key.
    First(KeyGuard),
    /// The same request was answered before.
    Answered(StoredAnswer),
    /// The same request is being done right now.
    UnderWay,
    /// The key was used for another request.
    OtherRequest,
}

/// Holds a key while its first request is under way.
#[derive(Debug)]
pub struct KeyGuard {
    store: Store,
    key: String,
    request_hash: String,
}

#[derive(Debug, Default)]
pub(super) struct KeysUnderWay(Mutex<BTreeSet<String>>);

impl KeysUnderWay {
    fn begin(&self, key: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned())
    }

    fn end(&self, key: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        self.store.inner.keys_under_way.end(&self.key);
    }
}

impl KeyGuard {
    /// Keeps the answer. Durable when it returns.
    pub async fn finish(self, answer: StoredAnswer) -> Result<(), StoreError> {
        let now = self.store.now();
        let headers = serde_json::to_string(&answer.headers).map_err(StoreError::encode("idempotency key"))?;
        let staged = self.store.inner.writer.write(|stage| {
            let expired = now - SignedDuration::from_hours(KEEP_HOURS);
            if stage.tables.keys.values().any(|entry| entry.created < expired) {
                let piece = Piece::new("DELETE FROM idempotency_keys WHERE created_at < ?", [expired.to_string().into()]);
                stage.put(Change::KeysExpired { before: expired }, piece);
            }
            let piece = Piece::new(
                "INSERT OR REPLACE INTO idempotency_keys (key, request_hash, status, headers, body, created_at) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    self.key.as_str().into(),
                    self.request_hash.as_str().into(),
                    Value::Integer(answer.status.into()),
                    headers.into(),
                    Value::Blob(answer.body),
                    now.to_string().into(),
                ],
            );
            let entry = Arc::new(KeyEntry { request_hash: self.request_hash.clone(), created: now });
            stage.put(Change::KeyPut { key: self.key.clone(), entry }, piece);
            Ok(())
        })?;
        staged.durable().await
    }
}

impl Store {
    /// `request_hash` is the sha256 of everything that makes two requests the same: caller, method, path, query and body.
    pub async fn idempotency(&self, key: &str, request_hash: &str) -> Result<Replay, StoreError> {
        if !self.inner.keys_under_way.begin(key) {
            return Ok(Replay::UnderWay);
        }
        let guard = KeyGuard { store: self.clone(), key: key.to_owned(), request_hash: request_hash.to_owned() };
        let expired = self.now() - SignedDuration::from_hours(KEEP_HOURS);
        let known = self.inner.writer.read(|tables| tables.keys.get(key).filter(|entry| entry.created >= expired).cloned());
        match known {
            None => Ok(Replay::First(guard)),
            Some(entry) if entry.request_hash != request_hash => Ok(Replay::OtherRequest),
            Some(_) => Ok(Replay::Answered(self.stored_answer(key).await?)),
        }
    }

    async fn stored_answer(&self, key: &str) -> Result<StoredAnswer, StoreError> {
        let mut connection = self.open_reader().await?;
        let row = sqlx::query("SELECT status, headers, body FROM idempotency_keys WHERE key = ?")
            .bind(key)
            .fetch_one(&mut connection)
            .await
            .map_err(StoreError::read("an idempotency key"))?;
        let headers = serde_json::from_str(row.get(1)).map_err(|source| StoreError::Decode {
            what: "idempotency key",
            key: key.to_owned(),
            source: Arc::new(source),
        })?;
        Ok(StoredAnswer { status: row.get::<u16, _>(0), headers, body: row.get(2) })
    }
}
