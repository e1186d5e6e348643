//! A log as the bytes that were written, up to a moment: what came before an attached client.

use async_stream::stream;
use futures_util::Stream;
use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::files;
use super::record::LogStream;
use crate::http::state::App;
use crate::store::ContainerRecord;
use runtime::shim::log::parse_record;

/// Records of one stream that follow each other are put together up to this size.
const CHUNK: usize = 32 << 10;

/// Everything that was written before `until`, oldest first. What cannot be read is left out and logged.
pub fn until(state: &App, record: &ContainerRecord, until: Timestamp) -> impl Stream<Item = (LogStream, Vec<u8>)> + use<> {
    let folder = super::folder(state, record);
    stream! {
        let attempts = files::attempts(&folder).await.unwrap_or_else(|error| {
            tracing::warn!(%error, folder = %folder.display(), "a log's folder cannot be read");
            Vec::new()
        });
        for attempt in attempts {
            for file in files::open(&folder, attempt).await.unwrap_or_default() {
                let mut lines = BufReader::new(file.file);
                let mut line = Vec::new();
                let mut chunk: Option<(LogStream, Vec<u8>)> = None;
                while lines.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
                    if let Some(record) = parse_record(&line).filter(|record| record.timestamp < until) {
                        let kind = LogStream::from(record.stream);
                        if chunk.as_ref().is_some_and(|(before, bytes)| *before != kind || bytes.len() > CHUNK)
                            && let Some(full) = chunk.take()
                        {
                            yield full;
                        }
                        let (_, bytes) = chunk.get_or_insert_with(|| (kind, Vec::new()));
                        bytes.extend_from_slice(record.text);
                        if !record.partial {
                            bytes.push(b'\n');
                        }
                    }
                    line.clear();
                }
                if let Some(rest) = chunk {
                    yield rest;
                }
            }
        }
    }
}
