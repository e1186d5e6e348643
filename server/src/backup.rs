//! A backup: one file from which an instance comes back.
//!
//! ```text
//! FILE = zstd( tar: manifest.json   what it is, and the database's digest
//!                   berth.db        a consistent copy of the database
//!                   volumes/ layers/ pods/   when asked for, as they are in the data folder: ids, attributes, links, device nodes
//!                   end.json        so that a tar which was cut short is no backup )
//! ```
//!
//! Anybody can look into it with `tar --zstd -tvf FILE`. GNU tar does the packing and unpacking of files: it knows every attribute, and every
//! Debian has it. The whole file is read and checked, to the checksum at the end of the zstd frame, before anything is made of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, Stdio};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::store::hex;

const FORMAT: &str = "berth-backup";
const VERSION: u32 = 1;
const MANIFEST: &str = "manifest.json";
const DATABASE: &str = "berth.db";
const END: &str = "end.json";
const MAX_MANIFEST: u64 = 1 << 20;

/// What can be in a backup beside the database: its name, and its folder below the data folder.
pub const PARTS: [(&str, &str); 3] = [("volumes", "volumes"), ("images", "layers"), ("containers", "pods")];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub format: String,
    pub format_version: u32,
    pub berth_version: String,
    /// The database's.
    pub schema: i64,
    pub instance: String,
    pub created_at: Timestamp,
    /// `state`, and those of [`PARTS`] that were asked for.
    pub contains: Vec<String>,
    /// `sha256` of `berth.db`, hexadecimal.
    pub database_sha256: String,
}

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{call} {path}")]
    Io { call: &'static str, path: PathBuf, source: io::Error },
    #[error("tar failed ({status}): {said}")]
    Tar { status: std::process::ExitStatus, said: String },
    #[error("{path} is damaged or cut short")]
    Damaged { path: PathBuf, source: io::Error },
    #[error("{path} is not a backup: {why}")]
    NotABackup { path: PathBuf, why: String },
    #[error("{path} has the backup format {found}, and this Berth knows {VERSION}: restore it with a newer one")]
    NewerFormat { path: PathBuf, found: u32 },
}

fn at(call: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::Io { call, path: path.to_owned(), source }
}

impl Manifest {
    /// Of a database that lies at `database`.
    pub fn new(database: &Path, schema: i64, instance: &str, created_at: Timestamp, parts: &[&str]) -> Result<Self, BackupError> {
        let file = File::open(database).map_err(at("open", database))?;
        Ok(Manifest {
            format: FORMAT.to_owned(),
            format_version: VERSION,
            berth_version: env!("CARGO_PKG_VERSION").to_owned(),
            schema,
            instance: instance.to_owned(),
            created_at,
            contains: std::iter::once("state").chain(parts.iter().copied()).map(str::to_owned).collect(),
            database_sha256: digest(file).map_err(at("read", database))?,
        })
    }

    fn folders(&self) -> Vec<&'static str> {
        PARTS.iter().filter(|(part, _)| self.contains.iter().any(|one| one == part)).map(|(_, folder)| *folder).collect()
    }
}

fn digest(mut reader: impl Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            length => hasher.update(&buffer[..length]),
        }
    }
}

/// Packs `stage/berth.db` and the manifest's folders of `data` into `target`, which must not exist; a failure leaves nothing there. Answers
/// what changed while it was read.
pub fn write(target: &Path, manifest: &Manifest, stage: &Path, data: &Path) -> Result<Option<String>, BackupError> {
    if target.exists() {
        return Err(at("create", target)(io::ErrorKind::AlreadyExists.into()));
    }
    let text = serde_json::to_vec_pretty(manifest).map_err(|error| at("write", target)(error.into()))?;
    for (name, content) in [(MANIFEST, text.as_slice()), (END, b"{}\n".as_slice())] {
        let path = stage.join(name);
        std::fs::write(&path, content).map_err(at("write", &path))?;
    }
    let draft = target.with_added_extension("part");
    let outcome = pack(&draft, manifest, stage, data).and_then(|changed| {
        std::fs::rename(&draft, target).map_err(at("rename", target))?;
        Ok(changed)
    });
    if outcome.is_err() {
        let _ = std::fs::remove_file(&draft);
    }
    outcome
}

fn pack(draft: &Path, manifest: &Manifest, stage: &Path, data: &Path) -> Result<Option<String>, BackupError> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(draft).map_err(at("create", draft))?;
    let mut tar = tar();
    tar.args(["--create", "--format=posix", "--sparse", "--one-file-system"]);
    // Anchored: a user's own file may be called like this.
    tar.args(["--anchored", "--no-wildcards-match-slash"]);
    for half_made in ["layers/.*", "volumes/.*", "pods/.*", "pods/*/work/*"] {
        tar.arg(format!("--exclude={half_made}"));
    }
    tar.arg("-C").arg(stage).args([MANIFEST, DATABASE, "-C"]).arg(data);
    tar.args(manifest.folders().iter().filter(|folder| data.join(folder).is_dir()));
    tar.arg("-C").arg(stage).arg(END);
    let mut child = tar.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(at("run", Path::new("tar")))?;
    let said = listen(&mut child);
    let copied = (|| {
        let mut encoder = zstd::Encoder::new(&mut file, 3)?;
        encoder.include_checksum(true)?;
        io::copy(&mut child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?, &mut encoder)?;
        encoder.finish()?.sync_all()
    })();
    let status = child.wait().map_err(at("wait for", Path::new("tar")))?;
    let said = said.join().unwrap_or_default();
    copied.map_err(at("write", draft))?;
    // 1: a file changed while it was read.
    match status.code() {
        Some(0) => Ok(None),
        Some(1) => Ok(Some(said)),
        _ => Err(BackupError::Tar { status, said }),
    }
}

/// With everything that a file can have: numeric ids, attributes (overlayfs marks what was deleted with them), lists of rights.
fn tar() -> Command {
    let mut tar = Command::new("tar");
    tar.args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls"]).env("LC_ALL", "C");
    tar
}

/// Its complaints, read aside so that it never waits.
fn listen(child: &mut Child) -> std::thread::JoinHandle<String> {
    let stderr = child.stderr.take();
    std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut stderr) = stderr {
            let _ = stderr.read_to_string(&mut text);
        }
        text.trim().to_owned()
    })
}

/// Reads all of `path` and checks it: whole, undamaged, of a format that is known, and with nothing in it that would land outside.
pub fn verify(path: &Path) -> Result<Manifest, BackupError> {
    let refuse = |why: String| BackupError::NotABackup { path: path.to_owned(), why };
    let damaged = |source| BackupError::Damaged { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(at("open", path))?;
    let mut magic = Vec::new();
    (&file).take(4).read_to_end(&mut magic).and_then(|_| file.rewind()).map_err(at("read", path))?;
    // RFC 8878, section 3.1.1.
    if !magic.is_empty() && magic != [0x28, 0xb5, 0x2f, 0xfd] {
        return Err(refuse("it is not a zstd file".to_owned()));
    }
    let mut archive = tar::Archive::new(zstd::Decoder::new(file).map_err(at("read", path))?);
    let mut manifest: Option<Manifest> = None;
    let (mut database, mut ended) = (false, false);
    let entries = archive.entries().map_err(damaged)?;
    for entry in entries {
        let mut entry = entry.map_err(damaged)?;
        let name = entry.path().map_err(damaged)?.into_owned();
        let Some(known) = &manifest else {
            if name != Path::new(MANIFEST) || entry.size() > MAX_MANIFEST {
                return Err(refuse(format!("it begins with {}, not with {MANIFEST}", name.display())));
            }
            manifest = Some(read_manifest(&mut entry, path)?);
            continue;
        };
        if name == Path::new(DATABASE) {
            let found = digest(&mut entry).map_err(damaged)?;
            if found != known.database_sha256 {
                return Err(damaged(io::Error::new(io::ErrorKind::InvalidData, "the database's digest is not the manifest's")));
            }
            database = true;
        } else if name == Path::new(END) {
            ended = true;
        } else {
            let inside = name.components().all(|part| matches!(part, Component::Normal(_)));
            let first = name.components().next().and_then(|part| part.as_os_str().to_str()).unwrap_or_default();
            if !inside || !known.folders().contains(&first) {
                return Err(refuse(format!("it has an entry {}", name.display())));
            }
        }
        io::copy(&mut entry, &mut io::sink()).map_err(damaged)?;
    }
    // To the checksum of the frame.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
    match manifest {
        Some(manifest) if database && ended => Ok(manifest),
        _ => Err(damaged(io::ErrorKind::UnexpectedEof.into())),
    }
}

fn read_manifest(entry: &mut impl Read, path: &Path) -> Result<Manifest, BackupError> {
    let refuse = |why: String| BackupError::NotABackup { path: path.to_owned(), why };
    let value: serde_json::Value = serde_json::from_reader(entry).map_err(|error| refuse(format!("{MANIFEST}: {error}")))?;
    if value["format"] != FORMAT {
        return Err(refuse(format!("{MANIFEST} is not Berth's")));
    }
    let version = value["formatVersion"].as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
    if version > VERSION {
        return Err(BackupError::NewerFormat { path: path.to_owned(), found: version });
    }
    serde_json::from_value(value).map_err(|error| refuse(format!("{MANIFEST}: {error}")))
}

/// Unpacks a backup that passed [`verify`] into `folder`.
pub fn unpack(path: &Path, folder: &Path) -> Result<(), BackupError> {
    let file = File::open(path).map_err(at("open", path))?;
    let mut tar = tar();
    tar.args(["--extract", "--same-owner", "--same-permissions", "-C"]).arg(folder);
    let mut child = tar.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(at("run", Path::new("tar")))?;
    let said = listen(&mut child);
    let copied = (|| {
        let mut input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        io::copy(&mut zstd::Decoder::new(file)?, &mut input)?;
        input.flush()
    })();
    let status = child.wait().map_err(at("wait for", Path::new("tar")))?;
    let said = said.join().unwrap_or_default();
    if !status.success() {
        return Err(BackupError::Tar { status, said });
    }
    copied.map_err(|source| BackupError::Damaged { path: path.to_owned(), source })
}

#[cfg(test)]
#[path = "backup_tests.rs"]
mod tests;
