//! `berth backup FILE` and `berth restore FILE`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::http::Method;
use rand::Rng;
use runtime::id::InstanceId;

use super::client::{ClientArgs, ClientError, runtime};
use super::stopped::{self, StoppedError};
use crate::backup::{self, BackupError, Manifest};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConfigError};
use crate::store::{self, Restored, StoreError};

#[derive(Debug, clap::Args)]
pub struct BackupArgs {
    /// The file to make; it must not exist
    file: PathBuf,
    /// The files in volumes too
    #[arg(long)]
    with_volumes: bool,
    /// The unpacked images too
    #[arg(long)]
    with_images: bool,
    /// What containers wrote into their root file systems, and their logs, too
    #[arg(long)]
    with_containers: bool,
    /// The data folder, where berth does not run [default: /var/lib/berth]
    #[arg(long, env = "BERTH_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// The backup
    file: PathBuf,
    /// Become another instance: for a copy on the machine on which the first one still has containers
    #[arg(long)]
    new_instance: bool,
    /// The data folder to make; it must be empty [default: /var/lib/berth]
    #[arg(long, env = "BERTH_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, thiserror::Error)]
pub enum BackupCommandError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Stopped(#[from] StoppedError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("cannot use the database")]
    Store(#[from] StoreError),
    #[error("{path} is not empty: restore makes a new instance and overwrites nothing (stop berth and move the old folder away)")]
    NotEmpty { path: PathBuf },
    #[error("{path}: its schema is {found}, and this Berth knows {known}: restore it with the version that made it, or a newer one")]
    NewerSchema { path: PathBuf, found: i64, known: i64 },
    #[error("instance {instance} has {sandboxes} containers' cgroups on this machine: stop and delete them, or use --new-instance")]
    Alive { instance: String, sandboxes: usize },
    #[error("there is nothing to back up in {path}")]
    Nothing { path: PathBuf },
    #[error("{call} {path}")]
    Io { call: &'static str, path: PathBuf, source: std::io::Error },
}

fn at(call: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> BackupCommandError {
    move |source| BackupCommandError::Io { call, path: path.to_owned(), source }
}

pub fn backup(args: &BackupArgs) -> Result<(), BackupCommandError> {
    let asked = [("volumes", args.with_volumes), ("images", args.with_images), ("containers", args.with_containers)];
    let parts: Vec<&str> = asked.iter().filter(|(_, asked)| *asked).map(|(part, _)| *part).collect();
    if !parts.is_empty() {
        // Their files are root's.
        stopped::need_root()?;
    }
    let config = args.client.places(args.data_dir.as_deref())?;
    let stage = stopped::scratch()?;
    let database = stage.path().join("berth.db");
    let source = runtime()?.block_on(fetch(args, &config, stage.path(), &database))?;
    let schema = runtime()?.block_on(store::schema_of(&database))?;
    let manifest = Manifest::new(&database, schema, &source.instance, SystemClock.now(), &parts)?;
    if let Some(changed) = backup::write(&args.file, &manifest, stage.path(), &source.data_dir)? {
        eprintln!("Changed while they were read, and perhaps half old, half new (stop or pause what writes to them):\n{changed}");
    }
    let size = std::fs::metadata(&args.file).map_or(0, |file| file.len());
    println!("{} ({size} bytes): {}", args.file.display(), manifest.contains.join(", "));
    let left: Vec<&str> = asked.iter().filter(|(_, asked)| !asked).map(|(part, _)| *part).collect();
    if !left.is_empty() {
        eprintln!("Not in it: the files of {} (--with-{}).", left.join(", "), left.join(", --with-"));
    }
    Ok(())
}

struct Source {
    instance: String,
    data_dir: PathBuf,
}

/// The database to `target`: from the server where it runs, else from its files.
async fn fetch(args: &BackupArgs, config: &Config, scratch: &Path, target: &Path) -> Result<Source, BackupCommandError> {
    match args.client.call(Method::GET, "/api/v1/system", None, Body::empty()).await {
        Ok(system) => {
            args.client.download("/api/v1/system/backup", target).await?;
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            Ok(Source { instance: text(&system["instance"]), data_dir: text(&system["storage"]["dataDir"]).into() })
        }
        Err(ClientError::Connect { .. }) => {
            stopped::need_root()?;
            stopped::refuse_where_it_runs(config)?;
            let nothing = || BackupCommandError::Nothing { path: config.data_dir.clone() };
            let instance = stopped::instance(config).ok_or_else(nothing)?;
            if !config.db_dir().join("berth.db").exists() {
                return Err(nothing());
            }
            store::copy_of_stopped(&config.db_dir(), scratch, target).await?;
            Ok(Source { instance, data_dir: config.data_dir.clone() })
        }
        Err(error) => Err(error.into()),
    }
}

pub fn restore(args: &RestoreArgs) -> Result<(), BackupCommandError> {
    stopped::need_root()?;
    let config = args.client.places(args.data_dir.as_deref())?;
    let data = &config.data_dir;
    // Whole and sound before anything is made.
    let manifest = backup::verify(&args.file)?;
    if manifest.schema > store::known_schema() {
        return Err(BackupCommandError::NewerSchema { path: args.file.clone(), found: manifest.schema, known: store::known_schema() });
    }
    let new_instance = args.new_instance.then(|| format!("{:08x}", rand::rng().next_u32())).and_then(|text| text.parse().ok());
    if new_instance.is_none() {
        let sandboxes = stopped::examine(&config, Some(&manifest.instance))?.inventory.cgroups.len();
        if sandboxes > 0 {
            return Err(BackupCommandError::Alive { instance: manifest.instance, sandboxes });
        }
    }
    let made = !data.exists();
    if made {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o711).create(data).map_err(at("mkdir", data))?;
    } else if std::fs::read_dir(data).map_err(at("opendir", data))?.next().is_some() {
        return Err(BackupCommandError::NotEmpty { path: data.clone() });
    }
    let outcome = fill(data, &args.file, new_instance.as_ref());
    if outcome.is_err() {
        undo(data, made);
    }
    let restored = outcome?;
    tell(&config, &manifest, &restored);
    Ok(())
}

/// Everything is made beside its place and moved there last; the instance's id, without which no server starts, at the very end.
fn fill(data: &Path, file: &Path, new_instance: Option<&InstanceId>) -> Result<Restored, BackupCommandError> {
    let stage = data.join(".restore");
    std::fs::create_dir(&stage).map_err(at("mkdir", &stage))?;
    backup::unpack(file, &stage)?;
    let restored = runtime()?.block_on(store::settle_restored(&stage.join("berth.db"), Arc::new(SystemClock), new_instance))?;
    let db = data.join("db");
    std::fs::create_dir(&db).map_err(at("mkdir", &db))?;
    let moved = |from: PathBuf, to: PathBuf| std::fs::rename(&from, &to).map_err(at("rename", &to));
    for (_, folder) in backup::PARTS {
        if stage.join(folder).is_dir() {
            moved(stage.join(folder), data.join(folder))?;
        }
    }
    for volume in &restored.volumes {
        // One whose files were not in the backup is there, and empty.
        make_private(&data.join("volumes"))?;
        make_private(&data.join("volumes").join(volume))?;
        let files = data.join("volumes").join(volume).join("_data");
        match std::fs::create_dir(&files) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(at("mkdir", &files)(error)),
            _ => {}
        }
    }
    moved(stage.join("berth.db"), db.join("berth.db"))?;
    std::fs::remove_dir_all(&stage).map_err(at("rmdir", &stage))?;
    let instance = data.join("instance");
    std::fs::write(&instance, format!("{}\n", restored.instance)).map_err(at("write", &instance))?;
    Ok(restored)
}

fn make_private(folder: &Path) -> Result<(), BackupCommandError> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(at("mkdir", folder)(error)),
        _ => Ok(()),
    }
}

fn undo(data: &Path, made: bool) {
    for entry in std::fs::read_dir(data).into_iter().flatten().flatten() {
        let path = entry.path();
        let _ = if path.is_dir() && !path.is_symlink() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
    }
    if made {
        let _ = std::fs::remove_dir(data);
    }
}

fn tell(config: &Config, manifest: &Manifest, restored: &Restored) {
    let Restored { instance, containers, volumes, tokens, images } = restored;
    println!("Restored instance {instance} of {} in {}:", manifest.created_at, config.data_dir.display());
    println!("{containers} containers (stopped), {} images, {} volumes, {tokens} tokens", images.len(), volumes.len());
    let lacks = |part: &str| !manifest.contains.iter().any(|one| one == part);
    let there = |layer: &String| config.data_dir.join("layers").join(layer).is_dir();
    let absent: Vec<&str> = images.iter().filter(|(_, layers)| !layers.iter().all(there)).map(|(name, _)| name.as_str()).collect();
    if !absent.is_empty() {
        println!("Load these images again before their containers are started: {}", absent.join(", "));
    }
    if lacks("volumes") && !volumes.is_empty() {
        println!("The files of the {} volumes were not in the backup: they are empty.", volumes.len());
    }
    if lacks("containers") && *containers > 0 {
        println!("What containers wrote into their own root file systems, and their logs, was not in the backup.");
    }
}
