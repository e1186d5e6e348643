//! One connection to one sandbox's shim, shared by all who ask: answers find their request by number, events go to the watcher.
//!
//! ```text
//! requests --> (numbered) --> socket --> shim
//!    ^                          |
//!    +-- answer by number <-- reader task --> notices to the watchers; Gone at the end
//! ```

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runtime::id::PodId;
use runtime::protocol::{Numbered, ShimAnswer, ShimMessage, ShimRequest, encode};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::error::NodeError;
use super::{Notice, frame};

#[derive(Debug)]
pub(super) struct ShimConnection {
    pod: PodId,
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    next: AtomicU64,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<u64, oneshot::Sender<ShimAnswer>>,
    watchers: Vec<mpsc::UnboundedSender<Notice>>,
    gone: bool,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connects to a sandbox's socket. Nobody there is `NoShim`.
pub(super) async fn connect(pod: &PodId, socket: &Path) -> Result<UnixStream, NodeError> {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        NotFound | ConnectionRefused => NodeError::NoShim { pod: pod.clone() },
        _ => NodeError::io("the shim")(error),
    })
}

impl ShimConnection {
    pub(super) async fn open(pod: &PodId, socket: &Path) -> Result<Arc<Self>, NodeError> {
        let (read, write) = connect(pod, socket).await?.into_split();
        let state = Arc::new(Mutex::new(State::default()));
        tokio::spawn(receive(pod.clone(), read, Arc::clone(&state)));
        Ok(Arc::new(ShimConnection { pod: pod.clone(), writer: tokio::sync::Mutex::new(write), next: AtomicU64::new(1), state }))
    }

    pub(super) fn is_gone(&self) -> bool {
        lock(&self.state).gone
    }

    /// Everything that comes without being asked for, from here on.
    pub(super) fn notices(&self) -> mpsc::UnboundedReceiver<Notice> {
        let (tell, told) = mpsc::unbounded_channel();
        let mut state = lock(&self.state);
        if state.gone {
            let _ = tell.send(Notice::Gone);
        } else {
            state.watchers.push(tell);
        }
        told
    }

    /// Sends all in one write; each answer comes as it is given.
    pub(super) async fn ask(&self, requests: Vec<ShimRequest>) -> Result<Vec<oneshot::Receiver<ShimAnswer>>, NodeError> {
        let first = self.next.fetch_add(requests.len() as u64, Ordering::Relaxed);
        let mut bytes = Vec::new();
        let mut asked = 0;
        for body in requests {
            bytes.extend(encode(&Numbered { id: first + asked, body }).map_err(NodeError::io("the shim"))?);
            asked += 1;
        }
        // Before the bytes go out: the answer may be quicker than this task.
        let answers = self.expect(first..first + asked)?;
        self.writer.lock().await.write_all(&bytes).await.map_err(|_| NodeError::ShimGone { pod: self.pod.clone() })?;
        Ok(answers)
    }

    fn expect(&self, ids: std::ops::Range<u64>) -> Result<Vec<oneshot::Receiver<ShimAnswer>>, NodeError> {
        let mut state = lock(&self.state);
        if state.gone {
            return Err(NodeError::ShimGone { pod: self.pod.clone() });
        }
        let expect = |id| {
            let (tell, told) = oneshot::channel();
            state.waiting.insert(id, tell);
            told
        };
        Ok(ids.map(expect).collect())
    }

    /// An answer that says no is an error.
    pub(super) async fn answered(&self, answer: oneshot::Receiver<ShimAnswer>) -> Result<ShimAnswer, NodeError> {
        match answer.await {
            Ok(ShimAnswer::Failed { error }) => Err(NodeError::Refused(error)),
            Ok(answer) => Ok(answer),
            Err(_) => Err(NodeError::ShimGone { pod: self.pod.clone() }),
        }
    }
}

async fn receive(pod: PodId, read: OwnedReadHalf, state: Arc<Mutex<State>>) {
    let mut read = BufReader::with_capacity(4096, read);
    loop {
        match frame::read::<ShimMessage>(&mut read).await {
            Ok(Some(ShimMessage::Answer { id, body })) => {
                if let Some(waiting) = lock(&state).waiting.remove(&id) {
                    let _ = waiting.send(body);
                }
            }
            Ok(Some(ShimMessage::Event { body })) => {
                lock(&state).watchers.retain(|watcher| watcher.send(Notice::Event(Box::new(body.clone()))).is_ok());
            }
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%pod, %error, "the shim's connection broke");
                break;
            }
        }
    }
    let mut state = lock(&state);
    state.gone = true;
    // Those who wait learn of it by their sender's end.
    state.waiting.clear();
    for watcher in state.watchers.drain(..) {
        let _ = watcher.send(Notice::Gone);
    }
}
