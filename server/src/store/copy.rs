//! The database as a file that leaves its place: a snapshot while it is in use, a copy of one that is not, and one that came back.

use std::path::Path;
use std::sync::Arc;

use runtime::id::InstanceId;
use sqlx::{Connection, Row, SqliteConnection};

use super::container::{Desired, Stop};
use super::error::StoreError;
use super::{Store, open};
use crate::clock::Clock;
use crate::model::event::NewEvent;
use crate::model::{ContainerStatus, Phase};

/// What a restored database holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    pub instance: String,
    pub containers: usize,
    /// Uids.
    pub volumes: Vec<String>,
    pub tokens: usize,
    /// Names of the images, each with the digits of its layers.
    pub images: Vec<(String, Vec<String>)>,
}

impl Store {
    /// Writes a whole database of what is committed now to `target`, which must not exist. Writers go on meanwhile. See
    /// sqlite.org/lang_vacuum.html, "VACUUM INTO".
    pub async fn snapshot(&self, target: &Path) -> Result<(), StoreError> {
        let mut connection = self.open_reader().await?;
        vacuum_into(&mut connection, target).await
    }

    /// Where the database is: the one folder that the server may write to.
    pub fn folder(&self) -> &Path {
        self.inner.path.parent().unwrap_or(Path::new("."))
    }

    /// Digits of every layer that has a row, as the runtime names their folders.
    pub fn layer_ids(&self) -> Vec<String> {
        self.inner.writer.read(|tables| tables.layers.keys().cloned().collect())
    }

    /// Uids of every volume, as the runtime names their folders.
    pub fn volume_ids(&self) -> Vec<String> {
        self.inner.writer.read(|tables| tables.volumes.values().map(|record| record.id.to_string()).collect())
    }
}

async fn vacuum_into(connection: &mut SqliteConnection, target: &Path) -> Result<(), StoreError> {
    let outcome = sqlx::query("VACUUM INTO ?").bind(target.display().to_string()).execute(connection).await;
    outcome.map(drop).map_err(StoreError::commit)
}

/// The newest schema that this version knows.
pub fn known_schema() -> i64 {
    open::MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// The schema's version of a database that nobody has open.
pub async fn schema_of(path: &Path) -> Result<i64, StoreError> {
    let mut connection = open::connect_reader(path).await?;
    let row = sqlx::query("SELECT max(version) FROM _sqlx_migrations").fetch_one(&mut connection).await;
    Ok(row.map_err(StoreError::read("the schema's version"))?.get::<Option<i64>, _>(0).unwrap_or(0))
}

/// A whole database of the one that a stopped, or crashed, server left in `folder`, at `target`. What is in `folder` stays as it is: not even
/// a lock file is made there, since whoever asks is root and the server is not.
pub async fn copy_of_stopped(folder: &Path, scratch: &Path, target: &Path) -> Result<(), StoreError> {
    let copy = scratch.join("copy.db");
    for (name, to) in [("berth.db", copy.clone()), ("berth.db-wal", scratch.join("copy.db-wal"))] {
        match tokio::fs::copy(folder.join(name), &to).await {
            Ok(_) => {}
            // After a clean end there is no log.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && name.ends_with("-wal") => {}
            Err(error) => return Err(StoreError::Open { path: folder.join(name), source: Arc::new(sqlx::Error::Io(error)) }),
        }
    }
    let mut connection = open::connect_as_it_is(&copy).await?;
    vacuum_into(&mut connection, target).await?;
    connection.close().await.map_err(StoreError::commit)
}

/// The `reason` of a container that ran when the backup was made.
pub const RESTORED: &str = "Restored";

/// Makes a database from a backup one of a machine on which nothing runs: what ran is stopped, and nobody is logged in. With `instance` it
/// becomes that instance's. Fails with `Newer` for one that a later version wrote.
pub async fn settle_restored(path: &Path, clock: Arc<dyn Clock>, instance: Option<&InstanceId>) -> Result<Restored, StoreError> {
    let mut connection = open::connect(path).await?;
    sqlx::query("DELETE FROM sessions").execute(&mut connection).await.map_err(StoreError::commit)?;
    if let Some(instance) = instance {
        let renamed = sqlx::query("UPDATE settings SET value = ? WHERE name = 'instance'").bind(instance.as_str());
        renamed.execute(&mut connection).await.map_err(StoreError::commit)?;
    }
    connection.close().await.map_err(StoreError::commit)?;
    let store = Store::open_as(path, Arc::clone(&clock), instance).await?;
    for record in store.all_containers() {
        let mut record = record;
        if matches!(record.wish.desired, Desired::Running { .. }) {
            record = store.set_desired(&record.uid, None, Desired::Stopped { stop: Stop::default() }).await?;
        }
        if !matches!(record.status.phase, Phase::Running | Phase::Paused | Phase::Restarting) {
            continue;
        }
        let status = ContainerStatus {
            phase: Phase::Exited,
            pid: None,
            finished_at: Some(clock.now()),
            exit_code: None,
            signal: None,
            reason: Some(RESTORED.to_owned()),
            message: Some("it ran when the backup was made".to_owned()),
            next_restart_at: None,
            ..ContainerStatus::clone(&record.status)
        };
        let mut progress = record.progress.clone();
        progress.served = record.wish.serial;
        progress.recorded = progress.noted;
        let event = NewEvent::new(clock.now(), record.reference(), "Restored", "Restored from a backup, stopped");
        store.set_status(&record.uid, status, progress, vec![event])?.durable().await?;
    }
    let digits = |layer: &crate::model::image::ImageLayer| layer.diff_id.trim_start_matches("sha256:").to_owned();
    let restored = Restored {
        instance: store.instance_id().to_string(),
        containers: store.all_containers().len(),
        volumes: store.volume_ids(),
        tokens: store.tokens().len(),
        images: store.images().iter().map(|image| (image.name(), image.layers.iter().map(digits).collect())).collect(),
    };
    store.close().await;
    Ok(restored)
}
