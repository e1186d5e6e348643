//! One session, from the 101 to the close: what the client says goes to the process, what the process says to the client.
//!
//! ```text
//! inward   socket --> input: waits while the program does not read        } whichever ends first
//! outward  output, pings --> socket: waits while the client does not read }  ends the session
//! slot     the server stops, the token is deleted                         }
//! then     status, close frame, and the socket stays until the client has closed it too
//! ```
//!
//! Each direction waits by itself, so that a client can type into a flood. Nothing grows meanwhile: what is not taken stays where it is, and
//! the runtime decides what that means (an exec waits; an attachment misses some of the output, and is told so).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::stream::{BoxStream, SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::channel::{self, Fault, STDERR, STDOUT, Said, Subprotocol};
use crate::http::stream::{Over, StreamSlot};
use crate::node::{NodeError, Output, Session, SessionInput};

/// Between two pings: proxies give up on what is silent for a minute.
const PING_EVERY: Duration = Duration::from_secs(15);
/// A client from which nothing comes for so long, not even the answer to a ping, is gone.
const SILENT_FOR: Duration = Duration::from_secs(45);
/// For the client to read the rest and to close, too. Closing before it does would make the kernel throw away what it has not read yet.
const LINGER: Duration = Duration::from_secs(30);
/// For the program to take what a client sent that has gone.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// [`LINGER`] when the server stops.
const LINGER_AT_THE_END: Duration = Duration::from_secs(2);

/// Close codes of RFC 6455, section 7.4.1.
mod code {
    pub(super) const NORMAL: u16 = 1000;
    pub(super) const GOING_AWAY: u16 = 1001;
    pub(super) const PROTOCOL: u16 = 1002;
    pub(super) const POLICY: u16 = 1008;
    pub(super) const INTERNAL: u16 = 1011;
}

/// Which streams the client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// Both kinds of output are one.
    pub tty: bool,
}

/// Everything that a session is made of.
pub struct Conversation {
    pub session: Session,
    pub version: Subprotocol,
    pub wants: Wants,
    /// Output from before, with its channel.
    pub history: BoxStream<'static, (u8, Vec<u8>)>,
    pub slot: StreamSlot,
}

impl std::fmt::Debug for Conversation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conversation").field("version", &self.version).field("wants", &self.wants).finish_non_exhaustive()
    }
}

/// Why a session is over.
enum Ending {
    Exited {
        exit_code: i32,
        signal: Option<i32>,
    },
    /// The shim is gone.
    Broken(NodeError),
    /// The client went, or closed.
    Gone,
    Faulty(Fault),
    Over(Over),
}

type Sink = SplitSink<WebSocket, Message>;

impl Conversation {
    /// Holds it to its end. The process of an exec ends with it at the latest.
    pub async fn hold(self, socket: WebSocket) {
        let Conversation { mut session, version, wants, history, slot } = self;
        let (mut sink, mut stream) = socket.split();
        let pulse = Pulse::new();
        let input = session.input();
        let ending = {
            let inward = inward(&mut stream, &input, version, wants, &pulse);
            tokio::pin!(inward);
            tokio::select! {
                ending = outward(&mut sink, &mut session, wants, history, &pulse) => {
                    if matches!(ending, Ending::Gone) {
                        // What it said before it went is here already, and was meant.
                        let _ = timeout(LAST_WORDS, &mut inward).await;
                    }
                    ending
                }
                ending = &mut inward => ending,
                over = slot.over() => Ending::Over(over),
            }
        };
        // Before the client is waited for: its process is of no use to anybody any more. Both hold the connection that keeps it.
        drop((session, input));
        let linger = if matches!(ending, Ending::Over(Over::Stopping)) { LINGER_AT_THE_END } else { LINGER };
        let closing = async {
            if say_goodbye(&mut sink, ending).await.is_ok() {
                while let Some(Ok(_)) = stream.next().await {}
            }
        };
        tokio::select! {
            _ = timeout(linger, closing) => {}
            () = slot.stopped_for(LINGER_AT_THE_END) => {}
        }
    }
}

/// When the client was last heard.
struct Pulse(Mutex<Option<Instant>>);

impl Pulse {
    fn new() -> Self {
        Pulse(Mutex::new(Some(Instant::now())))
    }

    /// None while nobody listens: its silence says nothing then.
    fn set(&self, heard: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = heard;
    }

    fn is_dead(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|heard| heard.elapsed() > SILENT_FOR)
    }
}

async fn inward(stream: &mut SplitStream<WebSocket>, input: &SessionInput, version: Subprotocol, wants: Wants, pulse: &Pulse) -> Ending {
    let mut open = wants.stdin;
    while let Some(message) = stream.next().await {
        pulse.set(Some(Instant::now()));
        let bytes = match message {
            Ok(Message::Binary(bytes)) => bytes,
            // Some clients write text where all of it is text.
            Ok(Message::Text(text)) => Bytes::from(text),
            Ok(Message::Ping(_) | Message::Pong(_)) => continue,
            Ok(Message::Close(_)) | Err(_) => return Ending::Gone,
        };
        match channel::decode(version, &bytes) {
            Ok(Said::Input(data)) if open => {
                pulse.set(None);
                // A program that closed its standard input, or has ended, is no error of the client's.
                open = input.send(&data).await.is_ok();
                pulse.set(Some(Instant::now()));
            }
            Ok(Said::EndOfInput) if open => {
                open = false;
                let _ = input.close().await;
            }
            Ok(Said::Resize { rows, columns }) if wants.tty => {
                let _ = input.resize(rows, columns).await;
            }
            Ok(_) => {}
            Err(fault) => return Ending::Faulty(fault),
        }
    }
    Ending::Gone
}

async fn outward(
    sink: &mut Sink,
    session: &mut Session,
    wants: Wants,
    mut history: BoxStream<'static, (u8, Vec<u8>)>,
    pulse: &Pulse,
) -> Ending {
    let wanted = |channel: u8| if channel == STDERR { wants.stderr } else { wants.stdout };
    // As Kubernetes does: it tells the client that the process runs.
    if wants.stdout && send(sink, STDOUT, &[]).await.is_err() {
        return Ending::Gone;
    }
    while let Some((channel, bytes)) = history.next().await {
        if wanted(channel) && send(sink, channel, &bytes).await.is_err() {
            return Ending::Gone;
        }
    }
    let mut pings = interval(PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (channel, bytes) = tokio::select! {
            output = session.next() => match output {
                Some(Ok(Output::Stdout(bytes))) => (STDOUT, bytes),
                Some(Ok(Output::Stderr(bytes))) => (STDERR, bytes),
                Some(Ok(Output::Skipped(bytes))) => (if wants.tty || !wants.stderr { STDOUT } else { STDERR }, gap(bytes)),
                Some(Ok(Output::Exited { exit_code, signal, .. })) => return Ending::Exited { exit_code, signal },
                Some(Err(error)) => return Ending::Broken(error),
                None => return Ending::Broken(NodeError::unexpected("session")),
            },
            _ = pings.tick() => {
                if pulse.is_dead() || sink.send(Message::Ping(Bytes::new())).await.is_err() {
                    return Ending::Gone;
                }
                continue;
            }
        };
        if wanted(channel) && send(sink, channel, &bytes).await.is_err() {
            return Ending::Gone;
        }
    }
}

async fn send(sink: &mut Sink, channel: u8, bytes: &[u8]) -> Result<(), axum::Error> {
    sink.send(Message::Binary(channel::encode(channel, bytes))).await
}

/// A line in the place of output that is missing: a gap that nobody sees is worse.
fn gap(bytes: u64) -> Vec<u8> {
    format!("\r\n[berth: {bytes} bytes of output are missing here, because they came faster than they were read; the log has them]\r\n")
        .into_bytes()
}

async fn say_goodbye(sink: &mut Sink, ending: Ending) -> Result<(), axum::Error> {
    let (status, code, reason) = match ending {
        Ending::Exited { exit_code, signal } => (Some(channel::exited(exit_code, signal)), code::NORMAL, String::new()),
        Ending::Broken(error) => {
            tracing::warn!(%error, "a session broke off");
            let why = "the container's supervisor went away";
            (Some(channel::failed(why)), code::INTERNAL, why.to_owned())
        }
        // Its own close is answered by the library, when there was one.
        Ending::Gone => {
            tracing::debug!("the client of a session went");
            return sink.close().await;
        }
        Ending::Faulty(fault) => (None, code::PROTOCOL, fault.to_string()),
        Ending::Over(Over::Revoked) => (None, code::POLICY, "the token was deleted".to_owned()),
        Ending::Over(Over::Stopping) => (None, code::GOING_AWAY, "the server is shutting down".to_owned()),
    };
    if let Some(status) = status {
        sink.send(Message::Binary(status)).await?;
    }
    sink.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await
}
