//! One request to the API over the unix socket.

use std::path::PathBuf;

use axum::body::Body;
use axum::http::{Method, Request, header};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::http::error::Problem;

/// Where the server is.
#[derive(Debug, Clone, clap::Args)]
pub struct ClientArgs {
    /// The unix socket [default: RUN_DIR/berth.sock]
    #[arg(long, env = "BERTH_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The server's run dir
    #[arg(long, env = "BERTH_RUN_DIR", default_value = "/run/berth", value_name = "DIR")]
    run_dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot reach berth at {path} (is `berth serve` running, and are you root?)")]
    Connect { path: PathBuf, source: std::io::Error },
    #[error("cannot start")]
    Start { source: std::io::Error },
    #[error("cannot read {path}")]
    ReadFile { path: PathBuf, source: std::io::Error },
    #[error("the request is not well formed")]
    Build { source: axum::http::Error },
    #[error("the connection to berth failed")]
    Send { source: hyper::Error },
    #[error("berth did not answer with JSON")]
    Answer { source: serde_json::Error },
    #[error("{} ({})", .0.detail, .0.code.as_str())]
    Refused(Box<Problem>),
}

impl ClientArgs {
    fn path(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.run_dir.join("berth.sock"))
    }

    /// Sends `body` and reads the answer as JSON; a problem document becomes an error.
    pub(super) async fn call(&self, method: Method, target: &str, content_type: Option<&str>, body: Body) -> Result<Value, ClientError> {
        let path = self.path();
        let stream = tokio::net::UnixStream::connect(&path).await.map_err(|source| ClientError::Connect { path, source })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|source| ClientError::Send { source })?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(target).header(header::HOST, "localhost");
        if let Some(kind) = content_type {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let request = request.body(body).map_err(|source| ClientError::Build { source })?;
        let response = sender.send_request(request).await.map_err(|source| ClientError::Send { source })?;
        let status = response.status();
        let bytes = response.into_body().collect().await.map_err(|source| ClientError::Send { source })?.to_bytes();
        drop(sender);
        let _ = connection.await;
        if status.is_success() {
            return if bytes.is_empty() {
                Ok(Value::Null)
            } else {
                serde_json::from_slice(&bytes).map_err(|source| ClientError::Answer { source })
            };
        }
        let problem = serde_json::from_slice(&bytes).map_err(|source| ClientError::Answer { source })?;
        Err(ClientError::Refused(Box::new(problem)))
    }
}

/// Runs one command's calls to their end.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|source| ClientError::Start { source })?;
    runtime.block_on(work)
}
