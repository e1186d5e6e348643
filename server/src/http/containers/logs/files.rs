//! A container's log files in the order in which they were written, however often they are turned over meanwhile.
//!
//! ```text
//! <data>/pods/<uid>/logs/<name>/0.log.2  0.log.1  0.log   1.log.1  1.log   <- newest
//!                               ------ first start ----   --- second ---
//! ```
//!
//! Files are opened newest first: a file that is renamed in between is then met twice (and known by its inode) but never missed.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::fs::File;

/// One file, open.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) attempt: u32,
    pub(super) inode: u64,
    pub(super) file: File,
}

/// The attempts that have a log, oldest first. None of them where there is no folder: the container was never started.
pub(super) async fn attempts(folder: &Path) -> io::Result<Vec<u32>> {
    let mut entries = match tokio::fs::read_dir(folder).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = std::collections::BTreeSet::new();
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name();
        found.extend(name.to_str().and_then(|name| name.split_once(".log")).and_then(|(attempt, _)| attempt.parse::<u32>().ok()));
    }
    Ok(found.into_iter().collect())
}

/// Every file of one attempt, oldest first.
pub(super) async fn open(folder: &Path, attempt: u32) -> io::Result<Vec<LogFile>> {
    let mut files: Vec<LogFile> = Vec::new();
    for age in 0.. {
        let Some(file) = open_one(&path(folder, attempt, age), attempt).await? else {
            // Between two renames the newest name is free for a moment.
            if age == 0 { continue } else { break }
        };
        if files.iter().all(|known| known.inode != file.inode) {
            files.push(file);
        }
    }
    files.reverse();
    Ok(files)
}

/// What came after the file with this inode, oldest first; nothing while that is still the newest. All of the attempt's files when
/// it has been thrown away already.
pub(super) async fn after(folder: &Path, attempt: u32, inode: u64) -> io::Result<Vec<LogFile>> {
    // The common case costs one stat(2).
    match tokio::fs::metadata(path(folder, attempt, 0)).await {
        Ok(metadata) if metadata.ino() == inode => return Ok(Vec::new()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    let mut files = open(folder, attempt).await?;
    let known = files.iter().position(|file| file.inode == inode);
    Ok(files.split_off(known.map_or(0, |position| position + 1)))
}

fn path(folder: &Path, attempt: u32, age: u32) -> PathBuf {
    folder.join(if age == 0 { format!("{attempt}.log") } else { format!("{attempt}.log.{age}") })
}

async fn open_one(path: &Path, attempt: u32) -> io::Result<Option<LogFile>> {
    match File::open(path).await {
        Ok(file) => {
            let inode = file.metadata().await?.ino();
            Ok(Some(LogFile { attempt, inode, file }))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str) {
        std::fs::write(dir.join(name), name).unwrap();
    }

    #[tokio::test]
    async fn files_come_in_the_order_of_writing() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["0.log", "10.log", "2.log", "2.log.1", "2.log.2", "other", "x.log"] {
            write(dir.path(), name);
        }
        assert_eq!(attempts(dir.path()).await.unwrap(), [0, 2, 10]);
        let files = open(dir.path(), 2).await.unwrap();
        let inode = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().ino();
        let inodes: Vec<u64> = files.iter().map(|file| file.inode).collect();
        assert_eq!(inodes, [inode("2.log.2"), inode("2.log.1"), inode("2.log")]);
        assert!(attempts(&dir.path().join("none")).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_file_that_was_turned_over_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "0.log");
        let inode = std::fs::metadata(dir.path().join("0.log")).unwrap().ino();
        assert!(after(dir.path(), 0, inode).await.unwrap().is_empty());
        std::fs::rename(dir.path().join("0.log"), dir.path().join("0.log.2")).unwrap();
        assert!(after(dir.path(), 0, inode).await.unwrap().is_empty(), "between two renames nothing is newer");
        write(dir.path(), "0.log.1");
        write(dir.path(), "0.log");
        assert_eq!(after(dir.path(), 0, inode).await.unwrap().len(), 2);
        std::fs::remove_file(dir.path().join("0.log.2")).unwrap();
        assert_eq!(after(dir.path(), 0, inode).await.unwrap().len(), 2, "what has been thrown away is skipped");
    }
}
