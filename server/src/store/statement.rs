//! SQL as pieces: each change brings its statement and values, and a commit is all pieces of a batch in one text.
//!
//! Why one text: sqlx runs SQLite on a thread of its own, and each call costs a trip there and back. `BEGIN …; COMMIT` in one call costs one
//! trip for a whole batch, and sqlx keeps it prepared, since the same few combinations come again and again.

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Executor, SqliteConnection};

#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// One statement with its values in order. The text is always a literal: no value is ever part of it.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) sql: &'static str,
    pub(super) values: Vec<Value>,
}

impl Piece {
    pub(super) fn new(sql: &'static str, values: impl IntoIterator<Item = Value>) -> Self {
        Piece { sql, values: values.into_iter().collect() }
    }
}

/// More pieces than this are not kept prepared: such a combination hardly comes again.
const KEEP_PREPARED: usize = 8;

/// All pieces in one transaction: all of them happen, or none.
pub(super) async fn commit(connection: &mut SqliteConnection, pieces: Vec<Piece>) -> Result<(), sqlx::Error> {
    let mut text = String::with_capacity(64 + pieces.iter().map(|piece| piece.sql.len() + 1).sum::<usize>());
    text.push_str("BEGIN IMMEDIATE;");
    let keep = pieces.len() <= KEEP_PREPARED;
    let mut arguments = SqliteArguments::default();
    for piece in pieces {
        text.push_str(piece.sql);
        text.push(';');
        for value in piece.values {
            match value {
                Value::Null => arguments.add(None::<i64>),
                Value::Integer(number) => arguments.add(number),
                Value::Text(text) => arguments.add(text),
                Value::Blob(bytes) => arguments.add(bytes),
            }
            .map_err(sqlx::Error::Encode)?;
        }
    }
    text.push_str("COMMIT");
    let outcome = connection.execute(sqlx::query_with(AssertSqlSafe(text), arguments).persistent(keep)).await;
    if let Err(error) = outcome {
        // Fails when SQLite has rolled back by itself, as it does when the disk is full.
        let _ = connection.execute("ROLLBACK").await;
        return Err(error);
    }
    Ok(())
}
