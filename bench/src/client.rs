//! One keep-alive connection to a unix socket, as a client library has it. A server that ends it (Docker does after an exec) gets a new one.

use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::Fault;

#[derive(Debug)]
pub(crate) struct Client {
    socket: PathBuf,
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    pub(crate) async fn connect(socket: &Path) -> Result<Client, Fault> {
        let stream = UnixStream::connect(socket).await.map_err(|error| format!("connect {}: {error}", socket.display()))?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the sender.
        tokio::spawn(connection);
        Ok(Client { socket: socket.to_owned(), sender })
    }

    async fn send(&mut self, method: Method, path: &str, content_type: &str, body: Vec<u8>) -> Result<Bytes, Fault> {
        if self.sender.ready().await.is_err() {
            *self = Client::connect(&self.socket).await?;
        }
        let request = Request::builder().method(&method).uri(path).header("Host", "localhost").header("Content-Type", content_type);
        let answer = self.sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status.is_success() { Ok(body) } else { Err(format!("{method} {path}: {status} {}", reason(&body)).into()) }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Bytes, Fault> {
        self.send(Method::GET, path, "application/json", Vec::new()).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Result<Bytes, Fault> {
        self.send(Method::POST, path, "application/json", body.to_string().into_bytes()).await
    }

    pub(crate) async fn delete(&mut self, path: &str) -> Result<Bytes, Fault> {
        self.send(Method::DELETE, path, "application/json", Vec::new()).await
    }

    /// A tar as the body.
    pub(crate) async fn upload(&mut self, path: &str, tar: Vec<u8>) -> Result<Bytes, Fault> {
        self.send(Method::POST, path, "application/x-tar", tar).await
    }
}

/// Of an error's body the sentence: `detail` is Berth's word for it, `message` Docker's and podman's.
fn reason(body: &[u8]) -> String {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let sentence = parsed["detail"].as_str().or_else(|| parsed["message"].as_str());
    sentence.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned)
}
