//! From records of a log file to what the caller asked for: text, lines of JSON, or server-sent events.

use base64::Engine;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use runtime::shim::log::{Record, Stream, parse_record};

/// Pieces of one line are put together up to this size; longer ones come as several records.
const MAX_LINE: usize = 1 << 20;

/// A line of a container's log.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LogLine {
    /// When it was written: RFC 3339, UTC.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    pub stream: LogStream,
    /// Without its line end; what is not UTF-8 is replaced.
    pub text: String,
    /// The bytes (base64), where `text` cannot hold them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
    /// The line goes on in the stream's next record: it was too long, or is not ended yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    Stdout,
    Stderr,
}

impl From<&Record<'_>> for LogLine {
    fn from(record: &Record<'_>) -> Self {
        LogLine::new(record.timestamp, record.stream, record.text.to_vec(), record.partial)
    }
}

impl LogLine {
    fn new(time: Timestamp, stream: Stream, bytes: Vec<u8>, partial: bool) -> Self {
        let (text, bytes) = match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let encoded = base64::engine::general_purpose::STANDARD.encode(error.as_bytes());
                (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(encoded))
            }
        };
        LogLine { time, stream: stream.into(), text, bytes, partial }
    }
}

impl From<Stream> for LogStream {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Stdout => LogStream::Stdout,
            Stream::Stderr => LogStream::Stderr,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text { timestamps: bool },
    Ndjson,
    Sse,
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Format::Text { .. } => "text/plain; charset=utf-8",
            Format::Ndjson => "application/x-ndjson",
            Format::Sse => "text/event-stream",
        }
    }
}

/// Which records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wanted {
    pub(super) stream: Option<LogStream>,
    /// At or after this time.
    pub(super) since: Option<Timestamp>,
    /// After this time: where a broken stream is resumed.
    pub(super) after: Option<Timestamp>,
}

impl Wanted {
    pub(super) fn takes(&self, record: &Record<'_>) -> bool {
        self.may_begin(record) && self.is_new(record)
    }

    /// A piece of a line from before `after` may be the beginning of one that ends after it.
    fn may_begin(&self, record: &Record<'_>) -> bool {
        self.stream.is_none_or(|stream| stream == record.stream.into()) && self.since.is_none_or(|since| record.timestamp >= since)
    }

    fn is_new(&self, record: &Record<'_>) -> bool {
        self.after.is_none_or(|after| record.timestamp > after)
    }
}

/// Keeps what belongs together between chunks.
#[derive(Debug)]
pub(super) struct Encoder {
    format: Format,
    wanted: Wanted,
    /// Pieces of lines that are not ended: stdout's, stderr's.
    pieces: [Vec<u8>; 2],
    /// Text: the last record of this stream was a piece, so that the next one goes on where it ended.
    in_line: [bool; 2],
    /// When the newest record was written.
    newest: Option<Timestamp>,
}

impl Encoder {
    pub(super) fn new(format: Format, wanted: Wanted) -> Self {
        Encoder { format, wanted, pieces: [Vec::new(), Vec::new()], in_line: [false; 2], newest: None }
    }

    /// One line of a log file. What is no record is left out: a torn last line is completed or cut off by its writer.
    pub(super) fn line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(record) = parse_record(line) else { return };
        self.newest = self.newest.max(Some(record.timestamp));
        match self.format {
            Format::Text { timestamps } if self.wanted.takes(&record) => self.text(&record, timestamps, out),
            Format::Ndjson | Format::Sse if self.wanted.may_begin(&record) => self.object(&record, out),
            _ => {}
        }
    }

    fn text(&mut self, record: &Record<'_>, timestamps: bool, out: &mut Vec<u8>) {
        let in_line = &mut self.in_line[record.stream as usize];
        if timestamps && !*in_line {
            out.extend_from_slice(format!("{:.9} ", record.timestamp).as_bytes());
        }
        out.extend_from_slice(record.text);
        *in_line = record.partial;
        if !record.partial {
            out.push(b'\n');
        }
    }

    fn object(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        let pieces = &mut self.pieces[record.stream as usize];
        pieces.extend_from_slice(record.text);
        if record.partial && pieces.len() < MAX_LINE {
            return;
        }
        let bytes = std::mem::take(pieces);
        if self.wanted.is_new(record) {
            self.put(record.timestamp, record.stream, bytes, record.partial, out);
        }
    }

    fn put(&self, time: Timestamp, stream: Stream, bytes: Vec<u8>, partial: bool, out: &mut Vec<u8>) {
        let line = LogLine::new(time, stream, bytes, partial);
        if self.format == Format::Sse {
            out.extend_from_slice(format!("id: {time:.9}\ndata: ").as_bytes());
        }
        // Texts only: this cannot fail.
        out.extend_from_slice(&serde_json::to_vec(&line).unwrap_or_default());
        out.extend_from_slice(if self.format == Format::Sse { b"\n\n" } else { b"\n" });
    }

    /// The log has ended: what is left of lines without an end.
    pub(super) fn finish(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        // Whoever goes on after a time that no record has, was told the rest before: here, the time is that of the telling.
        let told = self.wanted.after > self.newest;
        for stream in [Stream::Stdout, Stream::Stderr] {
            let bytes = std::mem::take(&mut self.pieces[stream as usize]);
            if !bytes.is_empty() && !told {
                self.put(now, stream, bytes, true, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[&str] = &[
        "2026-11-23T20:51:04.100000000Z stdout F one",
        "2026-11-23T20:51:04.200000000Z stderr F two",
        "torn",
        "2026-11-23T20:51:04.300000000Z stdout P a long ",
        "2026-11-23T20:51:04.400000000Z stdout F line",
    ];

    fn encode(format: Format, wanted: Wanted) -> String {
        let mut encoder = Encoder::new(format, wanted);
        let mut out = Vec::new();
        LOG.iter().for_each(|line| encoder.line(line.as_bytes(), &mut out));
        encoder.finish(Timestamp::UNIX_EPOCH, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_what_was_written() {
        let text = Format::Text { timestamps: false };
        assert_eq!(encode(text, Wanted::default()), "one\ntwo\na long line\n");
        assert_eq!(encode(text, Wanted { stream: Some(LogStream::Stderr), ..Wanted::default() }), "two\n");
        let since = "2026-11-23T20:51:04.2Z".parse().ok();
        assert_eq!(encode(text, Wanted { since, ..Wanted::default() }), "two\na long line\n");
        assert_eq!(encode(text, Wanted { after: since, ..Wanted::default() }), "a long line\n");
        let stamped = encode(Format::Text { timestamps: true }, Wanted::default());
        assert_eq!(stamped.lines().last().unwrap(), "2026-11-23T20:51:04.300000000Z a long line");
    }

    #[test]
    fn objects_are_whole_lines() {
        let lines = encode(Format::Ndjson, Wanted::default());
        let values: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(values.len(), 3);
        assert_eq!(values[1]["stream"], "stderr");
        assert_eq!(values[2]["text"], "a long line");
        let events = encode(Format::Sse, Wanted::default());
        assert!(events.starts_with("id: 2026-11-23T20:51:04.100000000Z\ndata: {"), "{events}");
        assert_eq!(events.matches("\n\n").count(), 3);
    }

    /// Who was cut off while a line of the other stream was being written, gets all of that line.
    #[test]
    fn a_line_that_began_before_the_break_is_whole_after_it() {
        let resumed = Wanted { after: "2026-11-23T20:51:04.2Z".parse().ok(), ..Wanted::default() };
        let mut encoder = Encoder::new(Format::Ndjson, resumed);
        let mut out = Vec::new();
        for line in [
            "2026-11-23T20:51:04.000000000Z stdout P told ",
            "2026-11-23T20:51:04.050000000Z stdout F already",
            "2026-11-23T20:51:04.100000000Z stdout P begun ",
            "2026-11-23T20:51:04.200000000Z stderr F the last that was told",
            "2026-11-23T20:51:04.300000000Z stdout F and ended",
        ] {
            encoder.line(line.as_bytes(), &mut out);
        }
        let values: Vec<serde_json::Value> =
            out.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        assert_eq!(values.iter().map(|value| value["text"].as_str().unwrap()).collect::<Vec<_>>(), ["begun and ended"]);
    }

    /// A line without an end is told once, however often its reader comes back.
    #[test]
    fn the_rest_is_told_once() {
        let rest = |after: Option<&str>| {
            let wanted = Wanted { after: after.map(|time| time.parse().unwrap()), ..Wanted::default() };
            let mut encoder = Encoder::new(Format::Sse, wanted);
            let mut out = Vec::new();
            encoder.line(b"2026-11-23T20:51:04.100000000Z stdout P without an end", &mut out);
            encoder.line(b"2026-11-23T20:51:04.200000000Z stderr F the last that was told", &mut out);
            encoder.finish("2026-11-23T20:51:05Z".parse().unwrap(), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(rest(None).matches("without an end").count(), 1);
        let resumed = rest(Some("2026-11-23T20:51:04.2Z"));
        assert!(resumed.starts_with("id: 2026-11-23T20:51:05.000000000Z\n") && resumed.contains("without an end"), "{resumed}");
        assert_eq!(rest(Some("2026-11-23T20:51:05Z")), "");
    }

    #[test]
    fn bytes_that_are_no_text_are_kept_too() {
        let mut encoder = Encoder::new(Format::Ndjson, Wanted::default());
        let mut out = Vec::new();
        encoder.line(b"2026-11-23T20:51:04.1Z stdout F \xff\x00", &mut out);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((value["text"].as_str(), value["bytes"].as_str()), (Some("\u{fffd}\0"), Some("/wA=")));
    }
}
