//! What a container's program has written.

use askama::Template;

use super::{Head, Tab};
use crate::ansi::{self, Segment};
use crate::frame::Frame;

#[derive(Debug, Template)]
#[template(path = "container/logs.html")]
pub struct Logs {
    pub frame: Frame,
    pub head: Head,
    pub lines: Vec<LogLine>,
    /// How many lines were asked for.
    pub tail: u64,
    /// None: both.
    pub stream: Option<LogStream>,
    /// What is searched for; empty shows all.
    pub search: String,
    /// There are older lines than those shown.
    pub more: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    Stdout,
    Stderr,
}

impl LogStream {
    pub fn code(self) -> &'static str {
        match self {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
        }
    }

    pub fn from_code(code: &str) -> Option<LogStream> {
        [LogStream::Stdout, LogStream::Stderr].into_iter().find(|stream| stream.code() == code)
    }
}

#[derive(Debug, Clone)]
pub struct LogLine {
    /// RFC 3339 with nanoseconds, as the log has it.
    pub time: String,
    pub stream: LogStream,
    pub text: String,
}

impl Logs {
    const TAB: Tab = Tab::Logs;
    const TAILS: [u64; 4] = [100, 500, 2000, 10_000];

    /// The usual numbers of lines, and the one that was asked for.
    fn tails(&self) -> Vec<u64> {
        let mut tails = Self::TAILS.to_vec();
        if !tails.contains(&self.tail) {
            tails.push(self.tail);
            tails.sort_unstable();
        }
        tails
    }

    /// The lines that are shown, each with its looks.
    fn shown(&self) -> Vec<(&LogLine, Vec<Segment>)> {
        let wanted = self.search.to_ascii_lowercase();
        self.lines
            .iter()
            .filter(|line| wanted.is_empty() || ansi::plain(&line.text).to_ascii_lowercase().contains(&wanted))
            .map(|line| (line, ansi::segments(&line.text, &self.search)))
            .collect()
    }

    fn is_stream(&self, code: &str) -> bool {
        self.stream.map_or("", LogStream::code) == code
    }

    /// All of it, as the API gives it.
    fn download_path(&self) -> String {
        let stream = self.stream.map(|stream| format!("&stream={}", stream.code())).unwrap_or_default();
        format!("{}/logs?timestamps=true{stream}", self.head.api())
    }

    /// Where the script follows the log.
    fn follow_path(&self) -> String {
        let stream = self.stream.map(|stream| format!("&stream={}", stream.code())).unwrap_or_default();
        format!("{}/logs?follow=true{stream}", self.head.api())
    }
}

impl LogLine {
    /// `20:46:05.123`.
    fn clock(&self) -> &str {
        self.time.get(11..23).or_else(|| self.time.get(11..19)).unwrap_or(&self.time)
    }
}
