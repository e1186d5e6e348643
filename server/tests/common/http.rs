//! A small blocking HTTP/1.1 client for tests: one connection a request, over the unix socket or TCP.
//!
//! Written by hand on purpose: it sends what a test says, right or wrong (a second Host, a body without its type), and shares no code with the
//! server that it judges.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::host::ample;

/// Longer than any answer should take, shorter than a developer's patience.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// Who is called, and the headers that every request carries.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: Address,
    headers: Vec<(String, String)>,
}

impl Client {
    pub(crate) fn new(address: Address) -> Self {
        Client { address, headers: Vec::new() }
    }

    /// Every later request carries this header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// For other protocols over the same sockets.
    pub(crate) fn parts(&self) -> (&Address, &[(String, String)]) {
        (&self.address, &self.headers)
    }

    pub(crate) fn get(&self, path: &str) -> Request {
        self.request("GET", path)
    }

    pub(crate) fn post(&self, path: &str) -> Request {
        self.request("POST", path)
    }

    pub(crate) fn delete(&self, path: &str) -> Request {
        self.request("DELETE", path)
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        Request {
            address: self.address.clone(),
            method: method.to_owned(),
            path: path.to_owned(),
            headers: self.headers.clone(),
            body: None,
            patience: ample(PATIENCE),
        }
    }
}

/// A request that is being put together.
#[derive(Debug)]
pub(crate) struct Request {
    address: Address,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    patience: Duration,
}

impl Request {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.bytes("application/json", body.to_string().into_bytes())
    }

    /// An empty type sends no Content-Type.
    pub(crate) fn bytes(mut self, content_type: &str, body: Vec<u8>) -> Self {
        if !content_type.is_empty() {
            self.headers.push(("Content-Type".to_owned(), content_type.to_owned()));
        }
        self.body = Some(body);
        self
    }

    pub(crate) fn patience(mut self, patience: Duration) -> Self {
        self.patience = ample(patience);
        self
    }

    /// Sends it and reads the whole answer.
    pub(crate) fn send(self) -> Response {
        let what = format!("{} {}", self.method, self.path);
        self.try_send().unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    pub(crate) fn try_send(self) -> io::Result<Response> {
        self.open()?.rest()
    }

    /// Sends it and leaves the answer's body to be read as it comes.
    pub(crate) fn open(self) -> io::Result<Stream> {
        let what = format!("{} {}", self.method, self.path);
        let (reader, mut writer): (Box<dyn Read + Send>, Box<dyn Write + Send>) = match &self.address {
            Address::Unix(path) => {
                let socket = UnixStream::connect(path)?;
                socket.set_read_timeout(Some(self.patience))?;
                (Box::new(socket.try_clone()?), Box::new(socket))
            }
            Address::Tcp(address) => {
                let socket = TcpStream::connect_timeout(address, self.patience)?;
                socket.set_read_timeout(Some(self.patience))?;
                (Box::new(socket.try_clone()?), Box::new(socket))
            }
        };
        writer.write_all(self.head().as_bytes())?;
        // A server may refuse a body before it has read it: its answer counts, not the broken pipe.
        let sent = writer.write_all(self.body.as_deref().unwrap_or_default());
        let mut reader = BufReader::new(reader);
        let head = match (read_head(&mut reader), sent) {
            (Ok(head), _) => head,
            (Err(error), Ok(())) | (Err(_), Err(error)) => return Err(error),
        };
        Ok(head.into_stream(what, reader, writer))
    }

    fn head(&self) -> String {
        let has = |name: &str| self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        if !has("Host") {
            let host = match &self.address {
                Address::Unix(_) => "localhost".to_owned(),
                Address::Tcp(address) => address.to_string(),
            };
            // `write!` to a String cannot fail.
            let _ = write!(head, "Host: {host}\r\n");
        }
        if !has("Content-Length") && (self.body.is_some() || self.method == "POST") {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.as_ref().map_or(0, Vec::len));
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head + "Connection: close\r\n\r\n"
    }
}

struct Head {
    status: u16,
    headers: Vec<(String, String)>,
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Head> {
    let status_line = read_line(reader)?;
    let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("not an HTTP answer: {status_line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Ok(Head { status, headers });
        }
        let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other(format!("not a header: {line:?}")))?;
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

impl Head {
    fn into_stream(self, what: String, reader: BufReader<Box<dyn Read + Send>>, writer: Box<dyn Write + Send>) -> Stream {
        let chunked = find(&self.headers, "transfer-encoding").is_some_and(|value| value.contains("chunked"));
        let length = find(&self.headers, "content-length").and_then(|value| value.parse().ok());
        let body: Box<dyn Read + Send> = match (chunked, length) {
            (true, _) => Box::new(Chunked { reader, left: 0, done: false }),
            (false, Some(length)) => Box::new(reader.take(length)),
            (false, None) if matches!(self.status, 204 | 304) => Box::new(io::empty()),
            (false, None) => Box::new(reader),
        };
        Stream { what, status: self.status, headers: self.headers, body: BufReader::new(body), _writer: writer }
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// The chunked transfer coding of RFC 9112, section 7.1.
struct Chunked {
    reader: BufReader<Box<dyn Read + Send>>,
    left: u64,
    done: bool,
}

impl Read for Chunked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.done {
            let line = read_line(&mut self.reader)?;
            let digits = line.split(';').next().unwrap_or_default();
            self.left = u64::from_str_radix(digits, 16).map_err(|_| io::Error::other(format!("not a chunk size: {line:?}")))?;
            if self.left == 0 {
                self.done = true;
                while !read_line(&mut self.reader)?.is_empty() {}
            }
        }
        if self.done {
            return Ok(0);
        }
        let n = (&mut self.reader).take(self.left).read(buffer)?;
        if n == 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= n as u64;
        if self.left == 0 {
            read_line(&mut self.reader)?;
        }
        Ok(n)
    }
}

/// An answer whose body is read as it comes; dropping it hangs up.
pub(crate) struct Stream {
    what: String,
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    body: BufReader<Box<dyn Read + Send>>,
    _writer: Box<dyn Write + Send>,
}

impl Stream {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// All that is still to come.
    pub(crate) fn rest(mut self) -> io::Result<Response> {
        let mut body = Vec::new();
        self.body.read_to_end(&mut body)?;
        Ok(Response { what: self.what, status: self.status, headers: self.headers, body })
    }

    /// The next line without its end; None when the server ended the body.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.body.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end_matches(['\n', '\r']).to_owned()),
            Err(error) => panic!("{}: the stream broke off: {error}", self.what),
        }
    }

    /// Reads lines until one satisfies the test, and returns it.
    pub(crate) fn line_where(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + ample(PATIENCE);
        let mut seen = Vec::new();
        while Instant::now() < deadline {
            match self.line() {
                Some(line) if wanted(&line) => return line,
                Some(line) => seen.push(line),
                None => panic!("{}: ended before the line that was waited for; seen: {seen:#?}", self.what),
            }
        }
        panic!("{}: the line that was waited for did not come; seen: {seen:#?}", self.what);
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    what: String,
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// As much of the body as a message bears.
    fn excerpt(&self) -> String {
        self.text().chars().take(1000).collect()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {}", self.what, self.text()))
    }

    /// Panics, with the answer, unless it has this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.what, self.excerpt());
        self
    }

    /// The problem document of an answer that must have this status (RFC 9457); its members are checked.
    #[track_caller]
    pub(crate) fn problem(self, status: u16) -> Value {
        let answer = self.expect(status);
        let content_type = answer.header("content-type").unwrap_or_default();
        assert!(content_type.starts_with("application/problem+json"), "{}: {content_type}: {}", answer.what, answer.text());
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{}: {problem:#}", answer.what);
        for member in ["type", "title", "detail", "code"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{}: no {member}: {problem:#}", answer.what);
        }
        let code = problem["code"].as_str().unwrap_or_default();
        assert_eq!(problem["type"], format!("urn:berth:error:{code}"), "{}", answer.what);
        problem
    }

    /// A 422 whose `errors` name the field at this JSON Pointer.
    #[track_caller]
    pub(crate) fn field_fault(self, pointer: &str) -> Value {
        let what = self.what.clone();
        let problem = self.problem(422);
        let paths: Vec<_> = problem["errors"].as_array().into_iter().flatten().filter_map(|fault| fault["path"].as_str()).collect();
        assert!(paths.contains(&pointer), "{what}: no fault names {pointer}: {problem:#}");
        problem
    }
}
