//! Opening the database: settings, checks, migrations, and the copy into memory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runtime::id::InstanceId;
use serde::de::DeserializeOwned;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

use super::container::{ContainerRecord, LoadedContainer};
use super::error::StoreError;
use super::idempotency::KeyEntry;
use super::image::ImageRecord;
use super::memory::{Change, Tables};
use super::token::TokenRecord;
use super::uid_range;
use super::volume::VolumeRecord;
use crate::model::image::OciImage;
use crate::model::{ObjectMeta, Role};

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).foreign_keys(true).busy_timeout(Duration::from_secs(5)).disable_statement_logging()
}

/// The one connection that writes. WAL and FULL: a commit that was answered survives a power cut.
pub(super) async fn connect(path: &Path) -> Result<SqliteConnection, StoreError> {
    let failed = |source| StoreError::Open { path: path.to_owned(), source: Arc::new(source) };
    let writer = options(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // 2 MiB: the copy in memory answers the reads, so SQLite's own cache only has to hold the upper pages of its trees.
        .pragma("cache_size", "-2048")
        .pragma("wal_autocheckpoint", "1000")
        .pragma("journal_size_limit", "16777216");
    let mut connection = writer.connect().await.map_err(failed)?;
    check(path, &mut connection).await?;
    migrate(path, &mut connection).await?;
    Ok(connection)
}

/// A further connection that cannot write, for one look at what is not kept in memory.
pub(super) async fn connect_reader(path: &Path) -> Result<SqliteConnection, StoreError> {
    let failed = |source| StoreError::Open { path: path.to_owned(), source: Arc::new(source) };
    options(path).read_only(true).pragma("cache_size", "-256").connect().await.map_err(failed)
}

/// One that is left at the schema that it has.
pub(super) async fn connect_as_it_is(path: &Path) -> Result<SqliteConnection, StoreError> {
    let failed = |source| StoreError::Open { path: path.to_owned(), source: Arc::new(source) };
    let mut connection = options(path).connect().await.map_err(failed)?;
    check(path, &mut connection).await?;
    Ok(connection)
}

async fn check(path: &Path, connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let rows = sqlx::query("PRAGMA quick_check(10)").fetch_all(connection).await;
    let damaged = |detail: String| StoreError::Damaged { path: path.to_owned(), detail };
    let rows = rows.map_err(|error| damaged(error.to_string()))?;
    let faults: Vec<String> = rows.iter().map(|row| row.get::<String, _>(0)).filter(|line| line != "ok").collect();
    if faults.is_empty() { Ok(()) } else { Err(damaged(faults.join("; "))) }
}

/// Forward only. A database of a newer version is left alone.
async fn migrate(path: &Path, connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    let table: Option<SqliteRow> = sqlx::query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'")
        .fetch_optional(&mut *connection)
        .await
        .map_err(StoreError::read("the schema's version"))?;
    if table.is_some() {
        let found: Option<i64> = sqlx::query("SELECT max(version) FROM _sqlx_migrations")
            .fetch_one(&mut *connection)
            .await
            .map_err(StoreError::read("the schema's version"))?
            .get(0);
        if let Some(found) = found.filter(|found| *found > known) {
            return Err(StoreError::Newer { path: path.to_owned(), found, known });
        }
    }
    MIGRATIONS.run(connection).await.map_err(|source| StoreError::Migrate { path: path.to_owned(), source: Arc::new(source) })
}

/// The instance's id: `given` by who prepared the data folder, else made at the first open. Kernel names bear it, so it never changes.
pub(super) async fn instance_id(connection: &mut SqliteConnection, given: Option<&InstanceId>) -> Result<InstanceId, StoreError> {
    // The last digits of a UUID are random, its first ones are the time.
    let fresh = given.map_or_else(|| crate::model::name::new_uid()[24..].to_owned(), |id| id.as_str().to_owned());
    sqlx::query("INSERT INTO settings (name, value) VALUES ('instance', ?) ON CONFLICT (name) DO NOTHING")
        .bind(fresh)
        .execute(&mut *connection)
        .await
        .map_err(StoreError::commit)?;
    let text = setting(connection, "instance").await?.unwrap_or_default();
    if let Some(given) = given.filter(|given| given.as_str() != text) {
        let detail = format!("it belongs to instance {text}, and this data folder to {given}");
        return Err(StoreError::Damaged { path: "settings.instance".into(), detail });
    }
    text.parse().map_err(|_| StoreError::Damaged { path: "settings.instance".into(), detail: format!("{text:?} is not an instance id") })
}

async fn setting(connection: &mut SqliteConnection, name: &str) -> Result<Option<String>, StoreError> {
    let row = sqlx::query("SELECT value FROM settings WHERE name = ?")
        .bind(name)
        .fetch_optional(connection)
        .await
        .map_err(StoreError::read("a setting"))?;
    Ok(row.map(|row| row.get(0)))
}

/// Imports that nobody finished.
pub(super) async fn intents(connection: &mut SqliteConnection) -> Result<Vec<String>, StoreError> {
    let rows =
        sqlx::query("SELECT id FROM intents WHERE kind = 'import'").fetch_all(connection).await.map_err(StoreError::read("intents"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Every table into memory.
pub(super) async fn load(connection: &mut SqliteConnection, instance: &InstanceId) -> Result<Tables, StoreError> {
    let mut tables = Tables { next_slot: uid_range::start_of(instance.as_str()), ..Tables::default() };
    if let Some(slot) = setting(connection, "next_slot").await?.and_then(|text| text.parse().ok()) {
        tables.next_slot = slot;
    }
    for row in rows(connection, "SELECT * FROM images", "images").await? {
        tables.apply(&Change::ImagePut(Arc::new(image(&row)?)));
    }
    for row in rows(connection, "SELECT diff_id, size FROM layers", "layers").await? {
        tables.apply(&Change::LayerPut { diff_id: row.get(0), size: number(&row, "size") });
    }
    for row in rows(connection, "SELECT * FROM containers", "containers").await? {
        tables.apply(&Change::ContainerAdded(Arc::new(container(&row)?)));
    }
    for row in rows(connection, "SELECT * FROM volumes", "volumes").await? {
        tables.apply(&Change::VolumePut(Arc::new(volume(&row)?)));
    }
    for row in rows(connection, "SELECT * FROM tokens", "tokens").await? {
        tables.apply(&Change::TokenPut(Arc::new(token(&row)?)));
    }
    for row in rows(connection, "SELECT key, request_hash, created_at FROM idempotency_keys", "idempotency keys").await? {
        let entry = KeyEntry { request_hash: row.get("request_hash"), created: time(&row, "created_at")? };
        tables.apply(&Change::KeyPut { key: row.get("key"), entry: Arc::new(entry) });
    }
    // What was promised may have been shown; what was stored is below it.
    let promised = setting(connection, "revision").await?.and_then(|text| text.parse().ok()).unwrap_or(0);
    tables.revision = tables.revision.max(promised);
    Ok(tables)
}

async fn rows(connection: &mut SqliteConnection, sql: &'static str, what: &'static str) -> Result<Vec<SqliteRow>, StoreError> {
    sqlx::query(sql).fetch_all(connection).await.map_err(StoreError::read(what))
}

fn number(row: &SqliteRow, column: &str) -> u64 {
    u64::try_from(row.get::<i64, _>(column)).unwrap_or(0)
}

fn document<T: DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<T, StoreError> {
    let text: &str = row.get(column);
    serde_json::from_str(text).map_err(|source| StoreError::Decode {
        what: column,
        key: row.try_get::<String, _>(0).unwrap_or_default(),
        source: Arc::new(source),
    })
}

fn time(row: &SqliteRow, column: &'static str) -> Result<Timestamp, StoreError> {
    let text: &str = row.get(column);
    text.parse().map_err(|_| damaged(column, text))
}

fn damaged(column: &str, text: &str) -> StoreError {
    StoreError::Damaged { path: column.into(), detail: format!("{text:?} is not what this column holds") }
}

fn container(row: &SqliteRow) -> Result<ContainerRecord, StoreError> {
    let uid: String = row.get("uid");
    let deletion = row.get::<Option<&str>, _>("deletion_timestamp").map(|_| time(row, "deletion_timestamp")).transpose()?;
    Ok(ContainerRecord::loaded(LoadedContainer {
        uid: uid.parse().map_err(|_| damaged("uid", &uid))?,
        meta: ObjectMeta {
            name: row.get("name"),
            uid,
            labels: document(row, "labels")?,
            annotations: document(row, "annotations")?,
            creation_timestamp: time(row, "created_at")?,
            deletion_timestamp: deletion,
            resource_version: number(row, "resource_version").to_string(),
            generation: number(row, "generation"),
        },
        spec: document(row, "spec")?,
        spec_json: row.get("spec"),
        image: row.get("image"),
        uid_slot: row.get::<Option<u16>, _>("uid_slot"),
        wish: document(row, "desired")?,
        status: document(row, "status")?,
        progress: document(row, "progress")?,
    }))
}

fn image(row: &SqliteRow) -> Result<ImageRecord, StoreError> {
    let config_json: String = row.get("config");
    Ok(ImageRecord {
        id: row.get("id"),
        references: document(row, "reference_names")?,
        layers: document(row, "layers")?,
        oci: document::<OciImage>(row, "config")?,
        config_json: config_json.into(),
        manifest_digest: row.get("manifest_digest"),
        origin: row.get("origin"),
        created: time(row, "created_at")?,
        generation: number(row, "generation"),
        version: number(row, "resource_version"),
    })
}

fn volume(row: &SqliteRow) -> Result<VolumeRecord, StoreError> {
    let uid: String = row.get("uid");
    let version = number(row, "resource_version");
    let meta = ObjectMeta {
        name: row.get("name"),
        uid: uid.clone(),
        labels: document(row, "labels")?,
        annotations: document(row, "annotations")?,
        creation_timestamp: time(row, "created_at")?,
        deletion_timestamp: None,
        resource_version: version.to_string(),
        generation: 1,
    };
    Ok(VolumeRecord { id: uid.parse().map_err(|_| damaged("uid", &uid))?, meta, version })
}

fn token(row: &SqliteRow) -> Result<TokenRecord, StoreError> {
    let role = match row.get::<&str, _>("role") {
        "viewer" => Role::Viewer,
        "operator" => Role::Operator,
        "admin" => Role::Admin,
        other => return Err(damaged("role", other)),
    };
    let version = number(row, "resource_version");
    let meta = ObjectMeta {
        name: row.get("name"),
        uid: row.get("uid"),
        labels: document(row, "labels")?,
        annotations: document(row, "annotations")?,
        creation_timestamp: time(row, "created_at")?,
        deletion_timestamp: None,
        resource_version: version.to_string(),
        generation: 1,
    };
    let last_used = row.get::<Option<&str>, _>("last_used_at").map(|_| time(row, "last_used_at")).transpose()?;
    Ok(TokenRecord { meta, role, hash: row.get("hash"), last_used, version })
}

/// Leaves a small log behind, for a quick next start.
pub(super) async fn checkpoint(path: &Path) -> Result<(), StoreError> {
    let mut connection = options(path).connect().await.map_err(StoreError::read("the log"))?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.map_err(StoreError::commit)?;
    connection.close().await.map_err(StoreError::commit)
}
