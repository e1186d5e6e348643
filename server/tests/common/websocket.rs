//! A WebSocket client for tests, with the channels of Kubernetes' subprotocol: over the unix socket or TCP, as a terminal program would be.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use super::host;
use super::http::{Address, Client};

/// As long as the HTTP client waits.
const PATIENCE: Duration = Duration::from_secs(30);

enum Wire {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Unix(stream) => stream.read(buffer),
            Wire::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Unix(stream) => stream.write(data),
            Wire::Tcp(stream) => stream.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    /// A channel and its bytes.
    Channel(u8, Vec<u8>),
    /// The server's close frame: its code and reason.
    Closed(u16, String),
}

/// A whole session.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// What came on channel 3.
    pub(crate) status: Option<Value>,
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl Ended {
    /// The exit code by the status, which must be there and be followed by an ordinary close.
    #[track_caller]
    pub(crate) fn exit_code(&self) -> i64 {
        assert_eq!(self.code, 1000, "{self:?}");
        let status = self.status.as_ref().unwrap_or_else(|| panic!("no status: {self:?}"));
        if status["status"] == "Success" {
            return 0;
        }
        assert_eq!(status["reason"], "NonZeroExitCode", "{status:#}");
        let causes = status["details"]["causes"].as_array().unwrap();
        let cause = causes.iter().find(|cause| cause["reason"] == "ExitCode").unwrap_or_else(|| panic!("no exit code: {status:#}"));
        cause["message"].as_str().unwrap().parse().unwrap()
    }
}

pub(crate) struct Socket {
    socket: WebSocket<Wire>,
    what: String,
    heard: Ended,
}

impl Client {
    /// Opens a session with the subprotocol `v5.channel.k8s.io`.
    #[track_caller]
    pub(crate) fn session(&self, path: &str) -> Socket {
        self.try_session(path, "v5.channel.k8s.io").unwrap_or_else(|status| panic!("{path}: refused with {status}"))
    }

    /// The status of the answer where it is not 101.
    pub(crate) fn try_session(&self, path: &str, subprotocol: &str) -> Result<Socket, u16> {
        let (address, headers) = self.parts();
        let (wire, host) = match address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).unwrap();
                stream.set_read_timeout(Some(host::ample(PATIENCE))).unwrap();
                (Wire::Unix(stream), "localhost".to_owned())
            }
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(host::ample(PATIENCE))).unwrap();
                (Wire::Tcp(stream), address.to_string())
            }
        };
        let mut request = format!("ws://{host}{path}").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_str(subprotocol).unwrap());
        for (name, value) in headers {
            let name: tungstenite::http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
        match tungstenite::client::client(request, wire) {
            Ok((socket, answer)) => {
                assert_eq!(answer.headers()["sec-websocket-protocol"], subprotocol, "{path}");
                Ok(Socket { socket, what: path.to_owned(), heard: Ended::default() })
            }
            Err(HandshakeError::Failure(Error::Http(answer))) => Err(answer.status().as_u16()),
            Err(error) => panic!("{path}: {error}"),
        }
    }
}

impl Socket {
    pub(crate) fn send(&mut self, channel: u8, bytes: &[u8]) {
        self.try_send(channel, bytes).unwrap_or_else(|error| panic!("{}: {error}", self.what));
    }

    pub(crate) fn try_send(&mut self, channel: u8, bytes: &[u8]) -> Result<(), Error> {
        let mut message = vec![channel];
        message.extend_from_slice(bytes);
        self.socket.send(Message::Binary(message.into()))
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        self.socket.send(Message::Text(text.into())).unwrap();
    }

    pub(crate) fn input(&mut self, text: &str) {
        self.send(0, text.as_bytes());
    }

    pub(crate) fn end_input(&mut self) {
        self.send(255, &[0]);
    }

    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        self.send(4, json!({"Width": columns, "Height": rows}).to_string().as_bytes());
    }

    /// The next message; pings are answered by the way.
    pub(crate) fn hear(&mut self) -> Heard {
        // A server that only pings keeps the socket's own deadline from ever coming.
        let deadline = Instant::now() + host::ample(PATIENCE);
        loop {
            assert!(Instant::now() < deadline, "{}: nothing but pings; heard {:?}", self.what, self.heard);
            match self.socket.read() {
                Ok(Message::Binary(bytes)) => {
                    let (channel, data) = bytes.split_first().expect("a message has a channel");
                    return Heard::Channel(*channel, data.to_vec());
                }
                Ok(Message::Close(frame)) => {
                    // The answer to it.
                    let _ = self.socket.flush();
                    let frame = frame.unwrap_or_else(|| panic!("{}: closed without a code", self.what));
                    return Heard::Closed(frame.code.into(), frame.reason.to_string());
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(other) => panic!("{}: {other:?}", self.what),
                Err(error) => panic!("{}: {error}; heard {:?}", self.what, self.heard),
            }
        }
    }

    /// Listens until standard output as a whole has this text; what it had until then.
    #[track_caller]
    pub(crate) fn until(&mut self, text: &str) -> String {
        let deadline = Instant::now() + host::ample(PATIENCE);
        while !self.heard.stdout.contains(text) {
            assert!(Instant::now() < deadline, "{}: {text:?} did not come; heard {:?}", self.what, self.heard);
            if self.note() {
                panic!("{}: it ended before {text:?}; heard {:?}", self.what, self.heard);
            }
        }
        self.heard.stdout.clone()
    }

    /// What came so far is forgotten.
    pub(crate) fn forget(&mut self) {
        self.heard = Ended::default();
    }

    /// Listens until the server closes.
    pub(crate) fn finish(mut self) -> Ended {
        while !self.note() {}
        self.heard
    }

    /// True when it is over.
    fn note(&mut self) -> bool {
        match self.hear() {
            Heard::Channel(1, bytes) => self.heard.stdout += &String::from_utf8_lossy(&bytes),
            Heard::Channel(2, bytes) => self.heard.stderr += &String::from_utf8_lossy(&bytes),
            Heard::Channel(3, bytes) => {
                assert!(self.heard.status.is_none(), "{}: a second status", self.what);
                self.heard.status = Some(serde_json::from_slice(&bytes).unwrap());
            }
            Heard::Channel(other, bytes) => panic!("{}: channel {other}: {bytes:?}", self.what),
            Heard::Closed(code, reason) => {
                (self.heard.code, self.heard.reason) = (code, reason);
                return true;
            }
        }
        false
    }

    /// Goes with a close frame, as a browser does.
    pub(crate) fn close(mut self) {
        self.socket.close(None).unwrap();
        // Until the server has answered.
        while self.socket.read().is_ok() {}
    }
}

/// A query of a command: `?command=…&command=…`.
pub(crate) fn command(parts: &[&str]) -> String {
    let mut query = String::from("?");
    for part in parts {
        let encoded: String = part
            .bytes()
            .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
            .collect();
        query += &format!("command={encoded}&");
    }
    query.trim_end_matches('&').to_owned()
}
