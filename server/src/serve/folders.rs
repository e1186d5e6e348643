//! The folders, the lock and the instance's id, made by root before it drops.
//!
//! ```text
//! <data> 0711 root        <run> 0711 root; as two services 1771 root:berth
//!   instance 0644           berth.sock 0600 root; as two services berth's
//!   berth.lock 0600         launch.sock, and what the launcher makes
//!   db/ 0700 berth
//! ```
//!
//! As two services the unprivileged one makes its socket itself: it may add to the run folder, and the sticky bit keeps it from what is root's.
//! 0711: the unprivileged user passes through to what is its own and cannot list the rest.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rand::Rng;
use runtime::id::InstanceId;

use super::ServeError;
use super::privileges::Identity;
use crate::config::Config;

/// How the two halves are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    OneService,
    TwoServices,
}

/// Makes both folders and the database's. Refuses what somebody else could have prepared: a symlink, another owner, a folder that all may write.
pub(super) fn prepare(config: &Config, identity: Identity, services: Mode) -> Result<(), ServeError> {
    for folder in [&config.data_dir, &config.run_dir] {
        if let Some(parent) = folder.parent() {
            std::fs::create_dir_all(parent).map_err(|source| ServeError::Folder { path: parent.to_owned(), source })?;
        }
        make(folder, 0o711, 0)?;
        super::privileges::check_reachable(folder, identity)?;
    }
    if services == Mode::TwoServices {
        let io = |source| ServeError::Folder { path: config.run_dir.clone(), source };
        std::os::unix::fs::chown(&config.run_dir, Some(0), Some(identity.gid)).map_err(io)?;
        std::fs::set_permissions(&config.run_dir, PermissionsExt::from_mode(0o1771)).map_err(io)?;
    }
    let db = config.db_dir();
    make(&db, 0o700, identity.uid)?;
    std::os::unix::fs::chown(&db, Some(identity.uid), Some(identity.gid))
        .map_err(|source| ServeError::Folder { path: db.clone(), source })?;
    // Another user may serve today than yesterday.
    for entry in
        std::fs::read_dir(&db).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(|source| ServeError::Folder { path: db, source })?
    {
        let path = entry.path();
        std::os::unix::fs::lchown(&path, Some(identity.uid), Some(identity.gid)).map_err(|source| ServeError::Folder { path, source })?;
    }
    Ok(())
}

/// `owner` may own it already beside root.
fn make(folder: &Path, mode: u32, owner: u32) -> Result<(), ServeError> {
    let io = |source| ServeError::Folder { path: folder.to_owned(), source };
    match DirBuilder::new().mode(mode).create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(source) => return Err(io(source)),
    }
    let metadata = std::fs::symlink_metadata(folder).map_err(io)?;
    let refuse = |why| Err(ServeError::UnsafeFolder { path: folder.to_owned(), why });
    if !metadata.is_dir() {
        return refuse("it is not a folder");
    }
    if owner == 0 && metadata.uid() != 0 {
        return refuse("it does not belong to root");
    }
    if metadata.permissions().mode() & 0o002 != 0 {
        return refuse("everyone may write to it");
    }
    std::fs::set_permissions(folder, PermissionsExt::from_mode(mode)).map_err(io)
}

/// Removes a socket that a server left which ran as another user: the sticky bit would keep this one from it.
pub(super) fn clear_socket(path: &Path, owner: Identity) -> Result<(), ServeError> {
    use std::os::unix::fs::FileTypeExt;
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let dead = || std::os::unix::net::UnixStream::connect(path).is_err();
    if metadata.file_type().is_socket() && metadata.uid() != owner.uid && dead() {
        std::fs::remove_file(path).map_err(|source| ServeError::BindSocket { path: path.to_owned(), source })?;
    }
    Ok(())
}

/// Makes the lock's file for a service that cannot make it in a folder of root's, and does not take it.
pub(super) fn make_lock(config: &Config, owner: Identity) -> Result<(), ServeError> {
    let path = config.data_dir.join("berth.lock");
    let io = |source| ServeError::Lock { path: path.clone(), source };
    let file = lock_options().open(&path).map_err(io)?;
    std::os::unix::fs::fchown(&file, Some(owner.uid), Some(owner.gid)).map_err(io)
}

fn lock_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// Takes the lock of the data folder; held until the file is closed, which the kernel does whatever way the process ends. See flock(2).
pub(super) fn lock(config: &Config, owner: Option<Identity>) -> Result<File, ServeError> {
    let path = config.data_dir.join("berth.lock");
    let io = |source| ServeError::Lock { path: path.clone(), source };
    let mut file = lock_options().open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = (&file).take(32).read_to_string(&mut holder);
            return Err(ServeError::Locked { data_dir: config.data_dir.clone(), holder: holder.trim().to_owned() });
        }
        Err(TryLockError::Error(source)) => return Err(io(source)),
    }
    // For the message above, and only for that: the lock, not the number, says who holds it.
    file.rewind().and_then(|()| file.set_len(0)).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io)?;
    if let Some(identity) = owner {
        std::os::unix::fs::fchown(&file, Some(identity.uid), Some(identity.gid)).map_err(io)?;
    }
    Ok(file)
}

/// Reads the instance's id, or makes one: whole and on disk before anything bears its name.
pub(super) fn instance(config: &Config, may_make: bool) -> Result<InstanceId, ServeError> {
    let path = config.data_dir.join("instance");
    let io = |source| ServeError::Instance { path: path.clone(), source };
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|source| io(std::io::Error::new(ErrorKind::InvalidData, source))),
        Err(error) if error.kind() == ErrorKind::NotFound && may_make => {
            let text = format!("{:08x}", rand::rng().next_u32());
            let draft = path.with_extension("new");
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&draft).map_err(io)?;
            writeln!(file, "{text}").map_err(io)?;
            // The umask of the start-up took the others' right to read: the number is no secret.
            file.set_permissions(PermissionsExt::from_mode(0o644)).and_then(|()| file.sync_all()).map_err(io)?;
            std::fs::rename(&draft, &path).and_then(|()| File::open(&config.data_dir)?.sync_all()).map_err(io)?;
            text.parse().map_err(|source| io(std::io::Error::new(ErrorKind::InvalidData, source)))
        }
        Err(source) => Err(io(source)),
    }
}

/// Binds the unix socket under umask 077, so that there is no moment at which others could connect. A socket left by a dead process is
/// replaced: the lock of the data folder says that it is dead, unless the path is some other service's, which is then refused.
pub(super) fn bind_socket(path: &Path) -> Result<UnixListener, ServeError> {
    use std::os::unix::fs::FileTypeExt;
    let io = |source| ServeError::BindSocket { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io(std::io::Error::new(ErrorKind::AddrInUse, "somebody listens there")));
            }
            std::fs::remove_file(path).map_err(io)?;
        }
        Ok(_) => return Err(io(std::io::Error::new(ErrorKind::AlreadyExists, "it exists and is not a socket"))),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(source) => return Err(io(source)),
    }
    let listener = UnixListener::bind(path).map_err(io)?;
    // Nobody executes a socket: 0700 is narrowed to what is promised, there is no moment at which it is wider.
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).map_err(io)?;
    listener.set_nonblocking(true).map_err(io)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServeArgs;

    fn config(dir: &Path) -> Config {
        let args = ServeArgs { data_dir: Some(dir.join("data")), run_dir: Some(dir.join("run")), ..ServeArgs::default() };
        Config::resolve(args).unwrap()
    }

    #[test]
    fn the_lock_is_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        std::fs::create_dir(&config.data_dir).unwrap();
        let held = lock(&config, None).unwrap();
        let Err(ServeError::Locked { holder, .. }) = lock(&config, None) else { panic!("a second lock was given") };
        assert_eq!(holder, std::process::id().to_string());
        drop(held);
        lock(&config, None).unwrap();
    }

    #[test]
    fn the_instance_stays_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        std::fs::create_dir(&config.data_dir).unwrap();
        assert!(matches!(instance(&config, false), Err(ServeError::Instance { .. })));
        let first = instance(&config, true).unwrap();
        assert_eq!(instance(&config, false).unwrap(), first);
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let living = bind_socket(&path).unwrap();
        assert!(matches!(bind_socket(&path), Err(ServeError::BindSocket { .. })));
        drop(living);
        bind_socket(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(bind_socket(&path), Err(ServeError::BindSocket { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_folder_that_others_prepared_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/tmp", &link).unwrap();
        assert!(matches!(make(&link, 0o711, 0), Err(ServeError::UnsafeFolder { .. })));
        let open = dir.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
        assert!(matches!(make(&open, 0o711, rustix::process::getuid().as_raw()), Err(ServeError::UnsafeFolder { .. })));
    }
}
