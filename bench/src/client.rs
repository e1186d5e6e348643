//! One keep-alive connection to the unix socket, as a client library has it.

use std::path::Path;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use crate::Fault;

/// What a container must look like to be compared with the bare floor: no network, default security, logs.
pub(crate) fn container(name: &str, command: &[&str]) -> Value {
    json!({"metadata": {"name": name}, "spec": {"image": "busybox:latest", "command": command, "namespaces": {"network": "none"}}})
}

#[derive(Debug)]
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    pub(crate) async fn connect(socket: &Path) -> Result<Client, Fault> {
        let stream = UnixStream::connect(socket).await.map_err(|error| format!("connect {}: {error}", socket.display()))?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the sender.
        tokio::spawn(connection);
        Ok(Client { sender })
    }

    async fn send(&mut self, method: Method, path: &str, content_type: &str, body: Vec<u8>) -> Result<Bytes, Fault> {
        self.sender.ready().await?;
        let request = Request::builder().method(&method).uri(path).header("Host", "localhost").header("Content-Type", content_type);
        let answer = self.sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status.is_success() { Ok(body) } else { Err(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&body)).into()) }
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

    pub(crate) async fn import(&mut self, reference: &str, tar: Vec<u8>) -> Result<(), Fault> {
        self.send(Method::POST, &format!("/api/v1/images/import?reference={reference}"), "application/x-tar", tar).await?;
        Ok(())
    }
}
