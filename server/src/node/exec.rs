//! A process in a running container, on a connection of its own: what is slow to be read holds up nobody else, and hanging up kills it.

use std::path::Path;
use std::sync::Arc;

use runtime::config::ExecConfig;
use runtime::id::{ContainerName, PodId};
use runtime::protocol::{Bytes, Numbered, ShimAnswer, ShimEvent, ShimMessage, ShimRequest, encode};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::error::NodeError;
use super::{frame, shim};

/// The number of the request on its own connection, and so the name of the exec.
const EXEC: u64 = 1;
/// Chunks of output that wait for a slow reader; then the shim stops taking more, and then the program waits.
const BUFFER: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOutput {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    /// The last one. `exit_code` as a shell gives it.
    Exited {
        exit_code: i32,
        signal: Option<i32>,
        timed_out: bool,
    },
}

/// A running exec.
#[derive(Debug)]
pub struct ExecSession {
    output: mpsc::Receiver<Result<ExecOutput, NodeError>>,
    input: ExecInput,
    /// Holds the connection; None for a fake.
    reader: Option<JoinHandle<()>>,
}

/// Standard input of an exec.
#[derive(Debug, Clone)]
pub struct ExecInput(Option<Arc<Mutex<OwnedWriteHalf>>>);

impl ExecInput {
    /// Passes bytes on; none at all closes the standard input.
    pub async fn send(&self, data: &[u8]) -> Result<(), NodeError> {
        let Some(writer) = &self.0 else { return Ok(()) };
        let request = Numbered { id: EXEC + 1, body: ShimRequest::ExecInput { exec: EXEC, data: Bytes(data.to_vec()) } };
        let bytes = encode(&request).map_err(NodeError::io("the shim"))?;
        writer.lock().await.write_all(&bytes).await.map_err(NodeError::io("the shim"))
    }
}

impl ExecSession {
    pub(super) async fn open(pod: &PodId, socket: &Path, container: &ContainerName, config: ExecConfig) -> Result<Self, NodeError> {
        let (read, mut write) = shim::connect(pod, socket).await?.into_split();
        let request = Numbered { id: EXEC, body: ShimRequest::Exec { container: container.clone(), config: Box::new(config) } };
        let bytes = encode(&request).map_err(NodeError::io("the shim"))?;
        write.write_all(&bytes).await.map_err(|_| NodeError::ShimGone { pod: pod.clone() })?;
        let (tell, output) = mpsc::channel(BUFFER);
        let pod = pod.clone();
        let reader = tokio::spawn(async move {
            let mut read = BufReader::with_capacity(64 << 10, read);
            loop {
                let item = match frame::read::<ShimMessage>(&mut read).await {
                    Ok(Some(message)) => understand(message),
                    Ok(None) => Some(Err(NodeError::ShimGone { pod: pod.clone() })),
                    Err(error) => Some(Err(NodeError::io("the shim")(error))),
                };
                let Some(item) = item else { continue };
                let last = !matches!(item, Ok(ExecOutput::Stdout(_) | ExecOutput::Stderr(_)));
                if tell.send(item).await.is_err() || last {
                    break;
                }
            }
        });
        Ok(ExecSession { output, input: ExecInput(Some(Arc::new(Mutex::new(write)))), reader: Some(reader) })
    }

    /// For tests: what comes out is what is sent into the channel.
    pub fn fake(output: mpsc::Receiver<Result<ExecOutput, NodeError>>) -> Self {
        ExecSession { output, input: ExecInput(None), reader: None }
    }

    /// The next piece of output, or how it ended; None after that.
    ///
    /// # Errors
    /// `Refused` when it could not be started or is not known; `ShimGone`.
    pub async fn next(&mut self) -> Option<Result<ExecOutput, NodeError>> {
        self.output.recv().await
    }

    pub fn input(&self) -> ExecInput {
        self.input.clone()
    }
}

impl Drop for ExecSession {
    fn drop(&mut self) {
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

/// None for the answers to standard input.
fn understand(message: ShimMessage) -> Option<Result<ExecOutput, NodeError>> {
    Some(match message {
        ShimMessage::Event { body: ShimEvent::ExecOutput { stream: 2, data, .. } } => Ok(ExecOutput::Stderr(data.0)),
        ShimMessage::Event { body: ShimEvent::ExecOutput { data, .. } } => Ok(ExecOutput::Stdout(data.0)),
        ShimMessage::Event { .. } => return None,
        ShimMessage::Answer { id, .. } if id != EXEC => return None,
        ShimMessage::Answer { body: ShimAnswer::ExecExited { exit_code, signal, timed_out }, .. } => {
            Ok(ExecOutput::Exited { exit_code, signal, timed_out })
        }
        ShimMessage::Answer { body: ShimAnswer::Failed { error }, .. } => Err(NodeError::Refused(error)),
        ShimMessage::Answer { .. } => Err(NodeError::unexpected("exec")),
    })
}
