//! One request to the API over the unix socket.

use std::io;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::config::{Config, ConfigError, ServeArgs};
use crate::http::error::Problem;

/// Where the server is.
#[derive(Debug, Clone, clap::Args)]
pub struct ClientArgs {
    /// The unix socket [default: RUN_DIR/berth.sock]
    #[arg(long, env = "BERTH_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The server's run dir [default: /run/berth]
    #[arg(long, env = "BERTH_RUN_DIR", value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// The server's configuration file [default: /etc/berth/berth.toml where it exists]
    #[arg(long, env = "BERTH_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot reach berth at {path} (is `berth serve` running, and are you root?)")]
    Connect { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot start")]
    Start { source: std::io::Error },
    #[error("cannot write {path}")]
    WriteFile { path: PathBuf, source: std::io::Error },
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
    /// What `berth serve` would be told, as far as it says where things are.
    pub(super) fn places(&self, data_dir: Option<&Path>) -> Result<Config, ConfigError> {
        Config::resolve(ServeArgs {
            data_dir: data_dir.map(Path::to_owned),
            run_dir: self.run_dir.clone(),
            socket: self.socket.clone(),
            config: self.config.clone(),
            ..ServeArgs::default()
        })
    }

    async fn send(
        &self,
        method: Method,
        target: &str,
        content_type: Option<&str>,
        body: Body,
    ) -> Result<(Response<Incoming>, Connection), ClientError> {
        let path = self.places(None)?.socket;
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
        Ok((response, connection))
    }

    /// Sends `body` and reads the answer as JSON; a problem document becomes an error.
    pub(super) async fn call(&self, method: Method, target: &str, content_type: Option<&str>, body: Body) -> Result<Value, ClientError> {
        let (response, connection) = self.send(method, target, content_type, body).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await.map_err(|source| ClientError::Send { source })?.to_bytes();
        let _ = connection.await;
        if !status.is_success() {
            return Err(refusal(&bytes));
        }
        if bytes.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&bytes).map_err(|source| ClientError::Answer { source }) }
    }

    /// The answer's bytes into a new file, which is there only when all of them came; `-` is standard output.
    pub(super) async fn download(&self, target: &str, path: &Path) -> Result<(), ClientError> {
        let write = |source| ClientError::WriteFile { path: path.to_owned(), source };
        if path == Path::new("-") {
            return self.fetch(target, async || Ok(tokio::io::stdout()), write).await.map(drop);
        }
        let mut made = false;
        let create = async || {
            let file = tokio::fs::File::create_new(path).await?;
            made = true;
            Ok(file)
        };
        let outcome = match self.fetch(target, create, write).await {
            Ok(file) => file.sync_all().await.map_err(write),
            Err(error) => Err(error),
        };
        if outcome.is_err() && made {
            let _ = tokio::fs::remove_file(path).await;
        }
        outcome
    }

    /// Opens where the answer goes once it is known to be a good one.
    async fn fetch<W: AsyncWrite + Unpin>(
        &self,
        target: &str,
        open: impl AsyncFnOnce() -> io::Result<W>,
        write: impl Fn(io::Error) -> ClientError,
    ) -> Result<W, ClientError> {
        let (mut response, connection) = self.send(Method::GET, target, None, Body::empty()).await?;
        if !response.status().is_success() {
            let bytes = response.into_body().collect().await.map_err(|source| ClientError::Send { source })?.to_bytes();
            return Err(refusal(&bytes));
        }
        let mut to = open().await.map_err(&write)?;
        while let Some(frame) = response.body_mut().frame().await {
            let frame = frame.map_err(|source| ClientError::Send { source })?;
            if let Some(data) = frame.data_ref() {
                to.write_all(data).await.map_err(&write)?;
            }
        }
        to.flush().await.map_err(write)?;
        drop(response);
        let _ = connection.await;
        Ok(to)
    }
}

type Connection = tokio::task::JoinHandle<Result<(), hyper::Error>>;

fn refusal(bytes: &[u8]) -> ClientError {
    match serde_json::from_slice(bytes) {
        Ok(problem) => ClientError::Refused(Box::new(problem)),
        Err(source) => ClientError::Answer { source },
    }
}

/// One thread is enough for one command.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, ClientError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|source| ClientError::Start { source })
}

/// Runs one command's calls to their end.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    runtime()?.block_on(work)
}
