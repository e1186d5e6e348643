//! A process that somebody speaks to, on a connection of its own: a further one in a container, or the container's first. What is slow to be
//! read holds up nobody else.
//!
//! ```text
//! open --> first answer: it runs, or why not
//!   output <-- reader task <-- events by stream ... how it ended          (slow? then the shim stops taking: an exec waits, an attachment
//!   input  --> answered when the program took it, behind the output         misses some and is told how much)
//! ```
//!
//! Dropping the session of an exec kills that; an attached container does not notice.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use runtime::config::ExecConfig;
use runtime::id::{ContainerName, PodId};
use runtime::protocol::{Bytes, Numbered, ShimAnswer, ShimEvent, ShimMessage, ShimRequest, encode};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::error::NodeError;
use super::{frame, shim};

/// The number of the first request on its own connection, and so the name of the exec there.
const OPEN: u64 = 1;
/// Chunks of output that wait for a slow reader; then the shim stops taking more.
const BUFFER: usize = 16;
/// Of standard input at once: a frame to the shim is smaller than 1 MiB, base64 included.
const INPUT_CHUNK: usize = 64 << 10;
/// Input that is on its way without an answer, in bytes and in requests. The answers come behind the output, so that with none on its way who
/// reads slowly would also be slow to type, and Ctrl-C would be the last to arrive.
const UNANSWERED: (usize, usize) = (64 << 10, 256);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    /// So many bytes are missing here: an attachment was not read fast enough.
    Skipped(u64),
    /// The last one. `exit_code` as a shell gives it.
    Exited {
        exit_code: i32,
        signal: Option<i32>,
        timed_out: bool,
    },
}

/// A conversation with a running process.
#[derive(Debug)]
pub struct Session {
    output: mpsc::Receiver<Result<Output, NodeError>>,
    input: SessionInput,
    /// Holds the connection; None for a fake.
    reader: Option<JoinHandle<()>>,
}

/// Whose output began to be copied when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// All that came before is in the log, except
    pub at: Timestamp,
    /// the beginnings of lines that are not ended yet: stdout's, stderr's.
    pub unfinished: [Vec<u8>; 2],
}

/// What can be sent to the process.
#[derive(Debug, Clone)]
pub struct SessionInput(Arc<Sender>);

#[derive(Debug)]
struct Sender {
    pod: PodId,
    target: Target,
    /// None for a fake.
    writer: Option<tokio::sync::Mutex<OwnedWriteHalf>>,
    /// Held by who sends, so that senders do not mix.
    unanswered: tokio::sync::Mutex<Unanswered>,
    next: AtomicU64,
    waiting: Waiting,
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<ShimAnswer>>>>;

#[derive(Debug)]
enum Target {
    Exec,
    Container(ContainerName),
}

impl Target {
    fn input(&self, data: Bytes) -> ShimRequest {
        match self {
            Target::Exec => ShimRequest::ExecInput { exec: OPEN, data },
            Target::Container(container) => ShimRequest::Input { container: container.clone(), data },
        }
    }

    fn resize(&self, rows: u16, columns: u16) -> ShimRequest {
        match self {
            Target::Exec => ShimRequest::ExecResize { exec: OPEN, rows, columns },
            Target::Container(container) => ShimRequest::Resize { container: container.clone(), rows, columns },
        }
    }
}

impl SessionInput {
    /// Passes bytes on; done when the program has taken them, but for a few. An error when nobody reads them, or those before, any more.
    pub async fn send(&self, data: &[u8]) -> Result<(), NodeError> {
        let mut unanswered = self.0.unanswered.lock().await;
        for chunk in data.chunks(INPUT_CHUNK) {
            self.0.feed(&mut unanswered, Bytes(chunk.to_vec())).await?;
        }
        Ok(())
    }

    /// Closes the standard input.
    pub async fn close(&self) -> Result<(), NodeError> {
        self.0.feed(&mut *self.0.unanswered.lock().await, Bytes::default()).await
    }

    /// Sets the size of the terminal, in characters; done when the shim is asked to. Where there is no terminal nothing happens.
    pub async fn resize(&self, rows: u16, columns: u16) -> Result<(), NodeError> {
        self.0.pass(&mut *self.0.unanswered.lock().await, None, self.0.target.resize(rows, columns)).await
    }
}

/// Input that the program has not taken yet, as far as is known here.
#[derive(Debug, Default)]
struct Unanswered {
    /// Each with its bytes; none for what is not input, whose refusal is not the input's.
    requests: VecDeque<(Option<usize>, oneshot::Receiver<ShimAnswer>)>,
    bytes: usize,
}

impl Sender {
    async fn feed(&self, unanswered: &mut Unanswered, data: Bytes) -> Result<(), NodeError> {
        self.pass(unanswered, Some(data.0.len()), self.target.input(data)).await
    }

    async fn pass(&self, unanswered: &mut Unanswered, length: Option<usize>, request: ShimRequest) -> Result<(), NodeError> {
        loop {
            let full = unanswered.bytes + length.unwrap_or(0) > UNANSWERED.0 || unanswered.requests.len() >= UNANSWERED.1;
            let Some((of, answer)) = unanswered.requests.front_mut() else { break };
            let told = match answer.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) if !full => break,
                Err(oneshot::error::TryRecvError::Empty) => answer.await.ok(),
                told => told.ok(),
            };
            let of = *of;
            unanswered.bytes -= of.unwrap_or(0);
            unanswered.requests.pop_front();
            match told {
                Some(ShimAnswer::Failed { error }) if of.is_some() => return Err(NodeError::Refused(error)),
                Some(_) => {}
                None => return Err(self.gone()),
            }
        }
        let answer = self.ask(request).await?;
        unanswered.bytes += answer.as_ref().and(length).unwrap_or(0);
        unanswered.requests.extend(answer.map(|answer| (length, answer)));
        Ok(())
    }

    /// Where the answer will come; none from a fake.
    async fn ask(&self, body: ShimRequest) -> Result<Option<oneshot::Receiver<ShimAnswer>>, NodeError> {
        let Some(writer) = &self.writer else { return Ok(None) };
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let bytes = encode(&Numbered { id, body }).map_err(NodeError::io("the shim"))?;
        let (tell, told) = oneshot::channel();
        // Before the bytes go out: the answer may be quicker than this task.
        lock(&self.waiting).insert(id, tell);
        writer.lock().await.write_all(&bytes).await.map_err(|_| self.gone())?;
        Ok(Some(told))
    }

    fn gone(&self) -> NodeError {
        NodeError::ShimGone { pod: self.pod.clone() }
    }
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<ShimAnswer>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    /// Starts a process; done when its execve(2) has succeeded.
    pub(super) async fn exec(pod: &PodId, socket: &Path, container: &ContainerName, config: ExecConfig) -> Result<Self, NodeError> {
        let request = ShimRequest::Exec { container: container.clone(), config: Box::new(config) };
        let opened = open(pod, socket, request).await?;
        match opened.first {
            ShimMessage::Event { body: ShimEvent::ExecStarted { .. } } => Ok(Session::run(opened.connection, pod, Target::Exec)),
            _ => Err(NodeError::unexpected("exec")),
        }
    }

    /// From here on, what the container writes.
    pub(super) async fn attach(pod: &PodId, socket: &Path, container: &ContainerName) -> Result<(Self, Attached), NodeError> {
        let opened = open(pod, socket, ShimRequest::Attach { container: container.clone() }).await?;
        match opened.first {
            ShimMessage::Answer { body: ShimAnswer::Attached { at, unfinished }, .. } => {
                let session = Session::run(opened.connection, pod, Target::Container(container.clone()));
                Ok((session, Attached { at, unfinished: unfinished.map(|rest| rest.0) }))
            }
            _ => Err(NodeError::unexpected("attach")),
        }
    }

    fn run((read, write): Connection, pod: &PodId, target: Target) -> Self {
        let (tell, output) = mpsc::channel(BUFFER);
        let waiting = Waiting::default();
        let reader = tokio::spawn(receive(read, pod.clone(), tell, Arc::clone(&waiting)));
        Session { output, input: SessionInput::new(pod, target, Some(write), waiting), reader: Some(reader) }
    }

    /// For tests: what comes out is what is sent into the channel.
    pub fn fake(output: mpsc::Receiver<Result<Output, NodeError>>, pod: &PodId) -> Self {
        Session { output, input: SessionInput::new(pod, Target::Exec, None, Waiting::default()), reader: None }
    }

    /// The next piece of output, or how it ended; None after that.
    ///
    /// # Errors
    /// `ShimGone`.
    pub async fn next(&mut self) -> Option<Result<Output, NodeError>> {
        self.output.recv().await
    }

    pub fn input(&self) -> SessionInput {
        self.input.clone()
    }
}

impl SessionInput {
    fn new(pod: &PodId, target: Target, writer: Option<OwnedWriteHalf>, waiting: Waiting) -> Self {
        let (pod, writer, unanswered) = (pod.clone(), writer.map(tokio::sync::Mutex::new), tokio::sync::Mutex::default());
        SessionInput(Arc::new(Sender { pod, target, writer, unanswered, next: AtomicU64::new(OPEN + 1), waiting }))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

type Connection = (BufReader<OwnedReadHalf>, OwnedWriteHalf);

struct Opened {
    connection: Connection,
    first: ShimMessage,
}

/// Connects and asks. An answer that says no is an error.
async fn open(pod: &PodId, socket: &Path, request: ShimRequest) -> Result<Opened, NodeError> {
    let gone = || NodeError::ShimGone { pod: pod.clone() };
    let (read, mut write) = shim::connect(pod, socket).await?.into_split();
    let bytes = encode(&Numbered { id: OPEN, body: request }).map_err(NodeError::io("the shim"))?;
    write.write_all(&bytes).await.map_err(|_| gone())?;
    let mut read = BufReader::with_capacity(64 << 10, read);
    match frame::read::<ShimMessage>(&mut read).await.map_err(NodeError::io("the shim"))? {
        None => Err(gone()),
        Some(ShimMessage::Answer { body: ShimAnswer::Failed { error }, .. }) => Err(NodeError::Refused(error)),
        Some(first) => Ok(Opened { connection: (read, write), first }),
    }
}

async fn receive(mut read: BufReader<OwnedReadHalf>, pod: PodId, tell: mpsc::Sender<Result<Output, NodeError>>, waiting: Waiting) {
    'connection: loop {
        let message = match frame::read::<ShimMessage>(&mut read).await {
            Ok(Some(ShimMessage::Answer { id, body })) if id != OPEN => {
                if let Some(asker) = lock(&waiting).remove(&id) {
                    let _ = asker.send(body);
                }
                continue;
            }
            Ok(Some(message)) => message,
            Ok(None) => {
                let _ = tell.send(Err(NodeError::ShimGone { pod })).await;
                break;
            }
            Err(error) => {
                let _ = tell.send(Err(NodeError::io("the shim")(error))).await;
                break;
            }
        };
        for item in understand(message) {
            let last = !matches!(item, Ok(Output::Stdout(_) | Output::Stderr(_) | Output::Skipped(_)));
            if tell.send(item).await.is_err() || last {
                break 'connection;
            }
        }
    }
    // Those who wait learn of it by their sender's end.
    lock(&waiting).clear();
}

/// What a message says about the process; most often one thing.
fn understand(message: ShimMessage) -> impl Iterator<Item = Result<Output, NodeError>> {
    let piece = |stream: u8, data: Bytes| if stream == 2 { Output::Stderr(data.0) } else { Output::Stdout(data.0) };
    let (before, item) = match message {
        ShimMessage::Event { body: ShimEvent::ExecOutput { stream, data, .. } } => (None, Some(Ok(piece(stream, data)))),
        ShimMessage::Event { body: ShimEvent::Output { stream, data, skipped, .. } } => {
            ((skipped > 0).then_some(Ok(Output::Skipped(skipped))), Some(Ok(piece(stream, data))))
        }
        ShimMessage::Event { body: ShimEvent::Exited { exit, .. } } => {
            (None, Some(Ok(Output::Exited { exit_code: exit.code, signal: exit.signal, timed_out: false })))
        }
        ShimMessage::Event { .. } => (None, None),
        ShimMessage::Answer { body: ShimAnswer::ExecExited { exit_code, signal, timed_out }, .. } => {
            (None, Some(Ok(Output::Exited { exit_code, signal, timed_out })))
        }
        ShimMessage::Answer { body: ShimAnswer::Failed { error }, .. } => (None, Some(Err(NodeError::Refused(error)))),
        ShimMessage::Answer { .. } => (None, Some(Err(NodeError::unexpected("exec")))),
    };
    before.into_iter().chain(item)
}
