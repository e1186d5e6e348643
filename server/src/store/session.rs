//! Browser sessions: which token each stands for, and until when. Only the hash of a session's id is kept.
//!
//! No copy in memory: the HTTP side reads them once at its start, keeps its own, and writes both.

use jiff::Timestamp;
use sqlx::Row;

use super::Store;
use super::error::StoreError;
use super::statement::Piece;

/// A session as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// sha256 of the session's id, hexadecimal.
    pub hash: String,
    pub token_uid: String,
    pub expires_at: Timestamp,
}

impl Store {
    /// Every session that has not expired.
    pub async fn sessions(&self) -> Result<Vec<SessionRow>, StoreError> {
        let mut connection = self.open_reader().await?;
        let rows = sqlx::query("SELECT hash, token_uid, expires_at FROM sessions")
            .fetch_all(&mut connection)
            .await
            .map_err(StoreError::read("sessions"))?;
        let parse = |row: &sqlx::sqlite::SqliteRow| {
            let expires_at = row.get::<&str, _>(2).parse().ok().filter(|time: &Timestamp| *time > self.now())?;
            Some(SessionRow { hash: row.get(0), token_uid: row.get(1), expires_at })
        };
        Ok(rows.iter().filter_map(parse).collect())
    }

    /// Keeps a session, and forgets those that have expired.
    pub async fn put_session(&self, session: &SessionRow) -> Result<(), StoreError> {
        let (expired, kept) = (
            Piece::new("DELETE FROM sessions WHERE expires_at < ?", [self.now().to_string().into()]),
            Piece::new(
                "INSERT OR REPLACE INTO sessions (hash, token_uid, expires_at) VALUES (?, ?, ?)",
                [session.hash.as_str().into(), session.token_uid.as_str().into(), session.expires_at.to_string().into()],
            ),
        );
        self.change_sessions([expired, kept]).await
    }

    /// Ends one session.
    pub async fn remove_session(&self, hash: &str) -> Result<(), StoreError> {
        self.change_sessions([Piece::new("DELETE FROM sessions WHERE hash = ?", [hash.into()])]).await
    }

    /// Ends every session of a token.
    pub async fn remove_sessions_of(&self, token_uid: &str) -> Result<(), StoreError> {
        self.change_sessions([Piece::new("DELETE FROM sessions WHERE token_uid = ?", [token_uid.into()])]).await
    }

    async fn change_sessions(&self, pieces: impl IntoIterator<Item = Piece>) -> Result<(), StoreError> {
        let staged = self.inner.writer.write(|stage| {
            pieces.into_iter().for_each(|piece| stage.sql(piece));
            Ok(())
        })?;
        staged.durable().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use jiff::SignedDuration;
    use std::sync::Arc;

    #[tokio::test]
    async fn sessions_are_kept_until_they_expire_or_end() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let clock = ManualClock::at(now);
        let store = Store::open(&dir.path().join("db"), Arc::new(clock.clone())).await.unwrap();
        let session = |hash: &str, token: &str, seconds| SessionRow {
            hash: hash.to_owned(),
            token_uid: token.to_owned(),
            expires_at: now + SignedDuration::from_secs(seconds),
        };
        for one in [session("a", "t1", 100), session("b", "t1", 10), session("c", "t2", 100), session("d", "t3", 100)] {
            store.put_session(&one).await.unwrap();
        }
        clock.advance(std::time::Duration::from_secs(20));
        store.remove_session("c").await.unwrap();
        let mut left = store.sessions().await.unwrap();
        left.sort_by(|a, b| a.hash.cmp(&b.hash));
        assert_eq!(left, [session("a", "t1", 100), session("d", "t3", 100)]);
        store.remove_sessions_of("t1").await.unwrap();
        assert_eq!(store.sessions().await.unwrap(), [session("d", "t3", 100)]);
        store.close().await;
    }

    #[tokio::test]
    async fn the_instance_is_the_one_that_was_given() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let clock: Arc<dyn crate::clock::Clock> = Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH));
        let given = "0123abcd".parse().unwrap();
        let store = Store::open_as(&path, Arc::clone(&clock), Some(&given)).await.unwrap();
        assert_eq!(store.instance_id(), &given);
        store.close().await;
        let other = "ffffffff".parse().unwrap();
        assert!(matches!(Store::open_as(&path, clock, Some(&other)).await, Err(StoreError::Damaged { .. })));
    }
}
