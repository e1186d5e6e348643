//! What can go wrong in the store, one variant an operation.

use std::path::PathBuf;
use std::sync::Arc;

/// An error of the database, shared by all writes of the transaction that it ended.
pub type Cause = Arc<sqlx::Error>;

#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("cannot open the database {}", path.display())]
    Open { path: PathBuf, source: Cause },
    #[error("the database {} was written by a newer Berth: its schema is {found}, and this one knows {known}", path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("cannot bring the database {} to this version's schema", path.display())]
    Migrate { path: PathBuf, source: Arc<sqlx::migrate::MigrateError> },
    #[error("the database {} is damaged: {detail}", path.display())]
    Damaged { path: PathBuf, detail: String },
    #[error("cannot read {what} from the database")]
    Read { what: &'static str, source: Cause },
    /// A row that this version cannot understand.
    #[error("the {what} {key:?} in the database cannot be read")]
    Decode { what: &'static str, key: String, source: Arc<serde_json::Error> },
    #[error("cannot write the {what} as JSON")]
    Encode { what: &'static str, source: Arc<serde_json::Error> },
    #[error("cannot commit: the disk is full")]
    Full { source: Cause },
    #[error("cannot commit: the database is read-only")]
    ReadOnly { source: Cause },
    #[error("cannot commit")]
    Commit { source: Cause },
    /// More writes wait than the queue holds; try again.
    #[error("the store is busy: {waiting} writes wait")]
    Busy { waiting: usize },
    #[error("the store is closed")]
    Closed,

    #[error("there is no {kind} {key:?}")]
    NotFound { kind: &'static str, key: String },
    #[error("a {kind} named {name:?} exists already")]
    NameTaken { kind: &'static str, name: String },
    #[error("the resource has changed: its version is {current}, not {given}")]
    Stale { given: String, current: String },
    #[error("the {kind} {name:?} is in use by {}", by.join(", "))]
    InUse { kind: &'static str, name: String, by: Vec<String> },
    #[error("the container {name:?} is being deleted")]
    BeingDeleted { name: String },
    #[error("all {total} ranges of 65,536 user ids are in use")]
    NoUidRange { total: u32 },
}

impl StoreError {
    /// Sorts what SQLite says by what a caller can do about it; see sqlite.org/rescode.html.
    pub(super) fn commit(error: sqlx::Error) -> Self {
        const SQLITE_READONLY: i32 = 8;
        const SQLITE_FULL: i32 = 13;
        let code = error.as_database_error().and_then(|e| e.code()).and_then(|code| code.parse::<i32>().ok());
        let source = Arc::new(error);
        match code.map(|extended| extended & 0xff) {
            Some(SQLITE_FULL) => StoreError::Full { source },
            Some(SQLITE_READONLY) => StoreError::ReadOnly { source },
            _ => StoreError::Commit { source },
        }
    }

    pub(super) fn encode(what: &'static str) -> impl FnOnce(serde_json::Error) -> Self {
        move |source| StoreError::Encode { what, source: Arc::new(source) }
    }

    pub(super) fn read(what: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| StoreError::Read { what, source: Arc::new(source) }
    }
}

/// Why a name, uid or prefix of a uid does not lead to one resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lookup {
    #[error("there is no {kind} {key:?}")]
    NotFound { kind: &'static str, key: String },
    #[error("{key:?} is the beginning of {matches} uids: give more of it")]
    Ambiguous { key: String, matches: usize },
}

/// A change that was refused by the store, or by the caller's own rules.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError<E> {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the change was refused")]
    Refused(E),
}
