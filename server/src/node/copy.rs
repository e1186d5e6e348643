//! Tars of a container's files and of layers, piece by piece: none is asked for before the one before it was taken, so a slow client slows the worker.

use std::io;
use std::sync::Arc;

use runtime::error::RuntimeError;
use runtime::protocol::{ExportedLayer, LauncherAnswer, PathStat};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::error::NodeError;
use super::frame;

/// The most bytes of a piece; what the worker sends is smaller.
const MAX_PIECE: usize = 1 << 20;

/// What is at a path, and the tar of it.
#[derive(Debug)]
pub struct CopiedOut {
    pub stat: PathStat,
    pub tar: TarPieces,
}

/// What comes after an answer. Dropping it ends the worker.
#[derive(Debug)]
pub struct TarPieces {
    /// None after the end.
    stream: Option<UnixStream>,
}

impl CopiedOut {
    /// `stream` is at the answer to a `CopyOut`.
    pub(super) async fn open(mut stream: UnixStream) -> Result<Self, NodeError> {
        match frame::read(&mut stream).await.map_err(NodeError::io("the copying worker"))? {
            Some(LauncherAnswer::PathFound { stat }) => Ok(CopiedOut { stat, tar: TarPieces { stream: Some(stream) } }),
            Some(LauncherAnswer::Failed { error }) => Err(NodeError::Refused(error)),
            Some(_) => Err(NodeError::unexpected("copyOut")),
            None => Err(broken()),
        }
    }
}

impl TarPieces {
    /// `stream` is at the answer to an `ExportLayers`.
    pub(super) async fn of_layers(mut stream: UnixStream) -> Result<(Vec<ExportedLayer>, Self), NodeError> {
        match frame::read(&mut stream).await.map_err(NodeError::io("the exporting worker"))? {
            Some(LauncherAnswer::LayersMeasured { layers }) => Ok((layers, TarPieces { stream: Some(stream) })),
            Some(LauncherAnswer::Failed { error }) => Err(NodeError::Refused(error)),
            Some(_) => Err(NodeError::unexpected("exportLayers")),
            None => Err(broken()),
        }
    }

    /// The next bytes; None at a good end, and after an error.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>, NodeError>> {
        let stream = self.stream.as_mut()?;
        let piece = read_piece(stream).await.transpose();
        if !matches!(piece, Some(Ok(_))) {
            self.stream = None;
        }
        piece
    }
}

async fn read_piece(stream: &mut UnixStream) -> Result<Option<Vec<u8>>, NodeError> {
    let io = |error: io::Error| NodeError::io("the copying worker")(error);
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.map_err(io)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_PIECE {
        return Err(NodeError::Refused(RuntimeError::Protocol { message: format!("a piece of {length} bytes is over {MAX_PIECE}") }));
    }
    if length > 0 {
        let mut piece = vec![0; length];
        stream.read_exact(&mut piece).await.map_err(io)?;
        return Ok(Some(piece));
    }
    match frame::read(stream).await.map_err(io)? {
        Some(LauncherAnswer::Done) => Ok(None),
        Some(LauncherAnswer::Failed { error }) => Err(NodeError::Refused(error)),
        Some(_) => Err(NodeError::unexpected("copyOut")),
        None => Err(broken()),
    }
}

/// The worker died.
fn broken() -> NodeError {
    NodeError::Io { peer: "the copying worker", source: Arc::new(io::ErrorKind::UnexpectedEof.into()) }
}
