//! Whose secret is this: tokens from the store, browser sessions from memory (the store keeps a copy for the next start), and the ends of
//! both. A deleted token ends at once, open streams included.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::secret::{Secret, SecretHash};
use crate::store::{SessionRow, Store, StoreError, TokenRecord};

/// A token in force.
#[derive(Debug, Clone)]
pub struct Grant {
    pub token: Arc<TokenRecord>,
    /// Cancelled when the token is deleted.
    pub revoked: CancellationToken,
}

#[derive(Debug)]
pub struct Registry {
    store: Store,
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<SecretHash, Session>,
    /// Of each token that somebody has used, by uid.
    revocations: HashMap<String, CancellationToken>,
}

#[derive(Debug)]
struct Session {
    hash: SecretHash,
    token_uid: String,
    expires_at: Timestamp,
}

impl Registry {
    /// Reads the sessions that the last process left.
    pub async fn load(store: Store) -> Result<Self, StoreError> {
        let rows = store.sessions().await?;
        let sessions = rows.into_iter().filter_map(|row| {
            let hash = SecretHash::from_hex(&row.hash)?;
            Some((hash, Session { hash, token_uid: row.token_uid, expires_at: row.expires_at }))
        });
        let inner = Inner { sessions: sessions.collect(), revocations: HashMap::new() };
        Ok(Registry { store, inner: RwLock::new(inner) })
    }

    fn write<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn read<T>(&self, look: impl FnOnce(&Inner) -> T) -> T {
        look(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whose token this is.
    pub fn grant(&self, secret: &Secret) -> Option<Grant> {
        self.granted(self.store.token_by_hash(&secret.hash().to_hex())?)
    }

    /// The token that a session stands for.
    pub fn session(&self, secret: &Secret) -> Option<Grant> {
        let (hash, now) = (secret.hash(), self.store.clock().now());
        let uid = self.read(|inner| {
            let session = inner.sessions.get(&hash).filter(|session| session.hash.same(&hash) && session.expires_at > now)?;
            Some(session.token_uid.clone())
        })?;
        let token = self.store.tokens().into_iter().find(|token| token.meta.uid == uid)?;
        self.granted(token)
    }

    fn granted(&self, token: Arc<TokenRecord>) -> Option<Grant> {
        self.store.touch_token(&token);
        let known = self.read(|inner| inner.revocations.get(&token.meta.uid).cloned());
        if let Some(revoked) = known {
            return Some(Grant { token, revoked });
        }
        let revoked = self.write(|inner| inner.revocations.entry(token.meta.uid.clone()).or_default().clone());
        // It may have been deleted and revoked since it was found: then nobody would ever cancel what was made here.
        if self.store.token(&token.meta.name).is_ok_and(|now| now.meta.uid == token.meta.uid) {
            return Some(Grant { token, revoked });
        }
        self.write(|inner| inner.revocations.remove(&token.meta.uid));
        None
    }

    /// A session for a token, kept over restarts.
    pub async fn open_session(&self, token: &TokenRecord, expires_at: Timestamp) -> Result<Secret, StoreError> {
        let secret = Secret::session();
        let hash = secret.hash();
        let row = SessionRow { hash: hash.to_hex(), token_uid: token.meta.uid.clone(), expires_at };
        self.store.put_session(&row).await?;
        let now = self.store.clock().now();
        self.write(|inner| {
            inner.sessions.retain(|_, session| session.expires_at > now);
            inner.sessions.insert(hash, Session { hash, token_uid: row.token_uid, expires_at });
        });
        Ok(secret)
    }

    pub async fn close_session(&self, secret: &Secret) -> Result<(), StoreError> {
        self.write(|inner| inner.sessions.remove(&secret.hash()));
        self.store.remove_session(&secret.hash().to_hex()).await
    }

    /// Ends the sessions and the streams of a token that has been removed from the store.
    pub async fn revoke(&self, uid: &str) -> Result<(), StoreError> {
        self.write(|inner| {
            inner.sessions.retain(|_, session| session.token_uid != uid);
            if let Some(revoked) = inner.revocations.remove(uid) {
                revoked.cancel();
            }
        });
        self.store.remove_sessions_of(uid).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::model::Role;
    use jiff::SignedDuration;
    use std::time::Duration;

    #[tokio::test]
    async fn a_deleted_token_ends_with_its_sessions() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(Timestamp::from_second(1_800_000_000).unwrap());
        let store = Store::open(&dir.path().join("db"), Arc::new(clock.clone())).await.unwrap();
        let registry = Registry::load(store.clone()).await.unwrap();
        let token = Secret::token();
        store.create_token("laptop", Role::Operator, token.hash().to_hex()).await.unwrap();
        let grant = registry.grant(&token).unwrap();
        assert_eq!((grant.token.role, grant.token.meta.name.as_str()), (Role::Operator, "laptop"));
        assert!(registry.grant(&Secret::token()).is_none());

        let expires_at = store.clock().now() + SignedDuration::from_secs(60);
        let session = registry.open_session(&grant.token, expires_at).await.unwrap();
        assert!(Registry::load(store.clone()).await.unwrap().session(&session).is_some(), "it survives a restart");
        clock.advance(Duration::from_secs(60));
        assert!(registry.session(&session).is_none(), "an expired session is none");
        let session = registry.open_session(&grant.token, expires_at + SignedDuration::from_secs(60)).await.unwrap();
        assert!(registry.session(&session).is_some());

        store.remove_token("laptop").await.unwrap();
        registry.revoke(&grant.token.meta.uid).await.unwrap();
        assert!(grant.revoked.is_cancelled());
        assert!(registry.grant(&token).is_none());
        assert!(registry.session(&session).is_none());
        assert!(store.sessions().await.unwrap().is_empty());
        store.close().await;
    }
}
