//! A log as a stream of bytes: what there is, and with `follow` what comes, until the container has ended and all of it is read.
//!
//! ```text
//! read --end of file--> has it ended? what is newer? --read again--> newer file | wait for inotify or the store | done
//! ```
//!
//! First looked, then read to the end, then acted on what was seen: whatever is written in between is read in the next round, so nothing is
//! lost and nothing comes twice.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_stream::stream;
use axum::body::Bytes;
use futures_util::Stream;
use tokio::io::AsyncReadExt;

use super::files::{self, LogFile};
use super::record::{Encoder, Format, LogLine};
use crate::clock::{Clock, SystemClock};
use crate::http::log_watch::{Changes, LogWatch};
use crate::model::Phase;
use crate::store::{ContainerWatch, Desired, Watched};
use runtime::shim::log::parse_record;

const CHUNK: usize = 64 << 10;
/// A comment after so much silence shows a reader of server-sent events that the connection is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What is read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) folder: PathBuf,
    /// Oldest first.
    pub(super) files: VecDeque<LogFile>,
    /// The attempts after them.
    pub(super) attempts: VecDeque<u32>,
}

/// How it is known that there is more, or that there will be none.
#[derive(Debug)]
pub(super) struct Growth {
    pub(super) watch: ContainerWatch,
    pub(super) log_watch: Arc<LogWatch>,
}

/// The log as it is now.
pub(super) fn once(mut source: Source, mut encoder: Encoder) -> impl Stream<Item = Bytes> {
    stream! {
        loop {
            while let Some(mut file) = source.files.pop_front() {
                let mut reader = Lines::default();
                while let Some(bytes) = reader.read(&mut file, &mut encoder).await {
                    yield bytes;
                }
            }
            let Some(attempt) = source.attempts.pop_front() else { break };
            source.files = files::open(&source.folder, attempt).await.unwrap_or_default().into();
        }
        let mut out = Vec::new();
        encoder.finish(SystemClock.now(), &mut out);
        yield Bytes::from(out);
    }
}

/// The log as it is and as it grows.
pub(super) fn follow(mut source: Source, mut growth: Growth, mut encoder: Encoder, format: Format) -> impl Stream<Item = Bytes> {
    stream! {
        let mut changes: Option<Changes> = None;
        let mut current = source.files.pop_front();
        let mut reader = Lines::default();
        loop {
            changes = changes.or_else(|| growth.log_watch.watch(&source.folder).ok());
            let over = is_over(&growth.watch.borrow_and_update());
            if source.files.is_empty() {
                source.files = newer(&source.folder, current.as_ref()).await;
            }
            if let Some(file) = &mut current {
                while let Some(bytes) = reader.read(file, &mut encoder).await {
                    yield bytes;
                }
            }
            if let Some(next) = source.files.pop_front() {
                current = Some(next);
                reader = Lines::default();
                continue;
            }
            if over {
                break;
            }
            let written = async {
                match &mut changes {
                    Some(changes) => changes.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = written => {}
                // Gone with the container: the next look says so.
                _ = growth.watch.changed() => {}
                () = tokio::time::sleep(KEEP_ALIVE), if format == Format::Sse => yield Bytes::from_static(b":\n\n"),
            }
        }
        let mut out = Vec::new();
        encoder.finish(SystemClock.now(), &mut out);
        yield Bytes::from(out);
    }
}

/// Nothing more will be written: it does not run, and nobody has asked for it to run.
fn is_over(seen: &Watched) -> bool {
    let Some(record) = seen.record.as_ref().filter(|_| !seen.removed) else { return true };
    let asked = matches!(record.wish.desired, Desired::Running { .. }) && record.progress.served < record.wish.serial;
    !asked && matches!(record.status.phase, Phase::Created | Phase::Exited | Phase::Dead)
}

/// What was begun after `current`; an error is as good as nothing, and the next look tries again.
async fn newer(folder: &std::path::Path, current: Option<&LogFile>) -> VecDeque<LogFile> {
    let look = async {
        if let Some(file) = current {
            let turned_over = files::after(folder, file.attempt, file.inode).await?;
            if !turned_over.is_empty() {
                return Ok(turned_over);
            }
        }
        let attempts = files::attempts(folder).await?;
        match attempts.into_iter().find(|attempt| current.is_none_or(|file| *attempt > file.attempt)) {
            Some(attempt) => files::open(folder, attempt).await,
            None => Ok(Vec::new()),
        }
    };
    look.await
        .unwrap_or_else(|error: std::io::Error| {
            tracing::warn!(%error, folder = %folder.display(), "a log's folder cannot be read");
            Vec::new()
        })
        .into()
}

/// Cuts a file's bytes into lines; what has no end yet waits for it.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// The next chunk, encoded; None at the end of the file, for now. May be empty, when nothing of a chunk is wanted.
    async fn read(&mut self, file: &mut LogFile, encoder: &mut Encoder) -> Option<Bytes> {
        self.rest.reserve(CHUNK);
        match file.file.read_buf(&mut self.rest).await {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "a log file cannot be read");
                return None;
            }
        }
        let mut out = Vec::with_capacity(self.rest.len());
        let mut start = 0;
        while let Some(length) = self.rest[start..].iter().position(|&byte| byte == b'\n') {
            encoder.line(&self.rest[start..start + length], &mut out);
            start += length + 1;
        }
        self.rest.drain(..start);
        Some(Bytes::from(out))
    }
}

/// Everything in these files as lines.
pub(super) async fn lines(files: VecDeque<LogFile>) -> std::io::Result<Vec<LogLine>> {
    let mut lines = Vec::new();
    for mut file in files {
        let mut text = Vec::new();
        file.file.read_to_end(&mut text).await?;
        for record in text.split(|&byte| byte == b'\n').filter_map(parse_record) {
            lines.push(LogLine::from(&record));
        }
    }
    Ok(lines)
}
