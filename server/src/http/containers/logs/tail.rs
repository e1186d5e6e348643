//! Where the last lines begin: read backwards from the end, so that the cost is that of the lines and not of the log.

use std::io::{self, SeekFrom};
use std::path::Path;

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::files::{self, LogFile};
use super::record::Wanted;
use runtime::shim::log::parse_record;

const CHUNK: u64 = 64 << 10;

/// The files to read, oldest first, with the first one's position set to where the last `lines` wanted lines begin.
pub(super) async fn last(folder: &Path, attempts: &[u32], lines: u64, wanted: Wanted) -> io::Result<Vec<LogFile>> {
    let mut chosen: Vec<LogFile> = Vec::new();
    let mut counter = Counter { left: lines, wanted, ended: [true; 2] };
    for &attempt in attempts.iter().rev() {
        for mut file in files::open(folder, attempt).await?.into_iter().rev() {
            let start = counter.search(&mut file.file).await?;
            file.file.seek(SeekFrom::Start(start.unwrap_or(0))).await?;
            chosen.push(file);
            if start.is_some() {
                chosen.reverse();
                return Ok(chosen);
            }
        }
    }
    chosen.reverse();
    Ok(chosen)
}

struct Counter {
    left: u64,
    wanted: Wanted,
    /// Going backwards: the next record of this stream is the last of its line.
    ended: [bool; 2],
}

impl Counter {
    /// The offset after which everything is wanted; None when the whole file is.
    async fn search(&mut self, file: &mut File) -> io::Result<Option<u64>> {
        let mut position = file.metadata().await?.len();
        // What has been read from `position` on and begins in the middle of a line.
        let mut rest: Vec<u8> = Vec::new();
        while position > 0 {
            let from = position.saturating_sub(CHUNK);
            let mut chunk = vec![0; usize::try_from(position - from).unwrap_or(0)];
            file.seek(SeekFrom::Start(from)).await?;
            file.read_exact(&mut chunk).await?;
            chunk.extend_from_slice(&rest);
            // The first line begins earlier, unless the file does.
            let whole_from = if from == 0 { 0 } else { chunk.iter().position(|&byte| byte == b'\n').map_or(chunk.len(), |at| at + 1) };
            if let Some(offset) = self.backwards(&chunk[whole_from..]) {
                return Ok(Some(from + (whole_from + offset) as u64));
            }
            chunk.truncate(whole_from);
            rest = chunk;
            position = from;
        }
        Ok(None)
    }

    /// Counts lines from the end of whole records. The offset behind the first record that is too many.
    fn backwards(&mut self, text: &[u8]) -> Option<usize> {
        let mut end = text.len();
        while end > 0 {
            let start = text[..end - 1].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            if let Some(record) = parse_record(&text[start..end]).filter(|record| self.wanted.takes(record)) {
                // The end of a line, or a piece after which nothing came.
                let ended = &mut self.ended[record.stream as usize];
                if !record.partial || *ended {
                    if self.left == 0 {
                        return Some(end);
                    }
                    self.left -= 1;
                }
                *ended = false;
            }
            end = start;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    async fn tail(dir: &Path, lines: u64) -> String {
        let attempts = files::attempts(dir).await.unwrap();
        let mut text = String::new();
        for mut file in last(dir, &attempts, lines, Wanted::default()).await.unwrap() {
            file.file.read_to_string(&mut text).await.unwrap();
        }
        text
    }

    #[tokio::test]
    async fn the_last_lines_over_files_chunks_and_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let mut number = 0;
        for name in ["0.log.1", "0.log", "1.log"] {
            let mut text = String::new();
            for _ in 0..2000 {
                let filler = "x".repeat(number % 90);
                if number % 7 == 0 {
                    let _ = writeln!(text, "2026-11-23T20:51:04.1Z stdout P {number} ");
                }
                let _ = writeln!(text, "2026-11-23T20:51:04.1Z stdout F {number} {filler}");
                number += 1;
            }
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        for lines in [0, 1, 2, 700, 1999, 2000, 2001, 4500, 6000, 9999] {
            let text = tail(dir.path(), lines).await;
            let ends = text.lines().filter(|line| line.contains(" F ")).count();
            assert_eq!(ends as u64, lines.min(6000), "{lines}");
            if lines > 0 {
                let first = 6000 - lines.min(6000);
                let wanted = if first % 7 == 0 { " P " } else { " F " };
                assert!(text.lines().next().unwrap().contains(&format!("{wanted}{first} ")), "{lines}: {}", text.lines().next().unwrap());
            }
        }
    }

    #[tokio::test]
    async fn a_last_line_without_an_end_counts() {
        let dir = tempfile::tempdir().unwrap();
        let log = "2026-11-23T20:51:04.1Z stdout F one\n2026-11-23T20:51:04.1Z stdout P two\n";
        std::fs::write(dir.path().join("0.log"), log).unwrap();
        assert_eq!(tail(dir.path(), 1).await, "2026-11-23T20:51:04.1Z stdout P two\n");
        assert_eq!(tail(dir.path(), 2).await, log);
    }
}
