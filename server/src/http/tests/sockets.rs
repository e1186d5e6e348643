//! The accept loop over real sockets: who is slow, who is silent, who is too many.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::super::accept::{self, Limits, Listener, Slots};
use super::*;

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:7777\r\n\r\n";

struct Server {
    fixture: Fixture,
    address: std::net::SocketAddr,
    slots: Arc<Slots>,
    task: JoinHandle<()>,
}

async fn serve(limits: Limits) -> Server {
    let fixture = Fixture::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let slots = Slots::new(limits);
    let task =
        tokio::spawn(accept::serve(Listener::Tcp(listener), fixture.app.clone(), Arc::clone(&slots), fixture.state.shutdown.clone()));
    Server { fixture, address, slots, task }
}

fn short() -> Limits {
    let ms = Duration::from_millis;
    Limits { connections: 8, per_address: 4, head: ms(200), idle: ms(400), write: ms(300), drain: Duration::from_secs(2) }
}

/// Reads one answer with a length; its status line.
async fn answer(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).await.unwrap(), 1, "{}", String::from_utf8_lossy(&text));
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    head.lines().next().unwrap().to_owned()
}

/// True when the peer closes within two seconds.
async fn is_closed(stream: &mut (impl AsyncReadExt + Unpin)) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn the_silent_and_the_slow_are_closed_and_others_are_served() {
    let server = serve(short()).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"GET /healthz HT").await.unwrap();
    let mut preface = TcpStream::connect(server.address).await.unwrap();
    preface.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    let mut good = TcpStream::connect(server.address).await.unwrap();
    good.write_all(REQUEST).await.unwrap();
    assert_eq!(answer(&mut good).await, "HTTP/1.1 200 OK");
    for stream in [&mut silent, &mut half, &mut preface] {
        assert!(is_closed(stream).await, "it is still open");
    }
    let waiting = tokio::time::Instant::now();
    assert!(is_closed(&mut good).await, "an idle connection is kept for ever");
    assert!(waiting.elapsed() > Duration::from_millis(50));
}

#[tokio::test]
async fn a_second_request_on_a_connection_has_its_own_time() {
    let server = serve(Limits { idle: Duration::from_secs(5), ..short() }).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..2 {
        stream.write_all(REQUEST).await.unwrap();
        assert_eq!(answer(&mut stream).await, "HTTP/1.1 200 OK");
        tokio::time::sleep(Duration::from_millis(250)).await; // longer than a head may take, shorter than a connection may rest
    }
    stream.write_all(b"GET /he").await.unwrap();
    assert!(is_closed(&mut stream).await, "a head may take for ever");
}

#[tokio::test]
async fn the_longest_idle_makes_room_for_the_next() {
    let server = serve(Limits { head: Duration::from_secs(10), idle: Duration::from_secs(10), ..short() }).await;
    let mut oldest = TcpStream::connect(server.address).await.unwrap();
    oldest.write_all(REQUEST).await.unwrap();
    answer(&mut oldest).await;
    let mut others = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        assert_eq!(answer(&mut stream).await, "HTTP/1.1 200 OK");
        others.push(stream);
    }
    assert!(is_closed(&mut oldest).await, "nobody made room");
    assert_eq!(server.slots.open(), 4);
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_off() {
    let fixture = Fixture::new().await;
    let endless = axum::Router::new().route(
        "/",
        axum::routing::get(|| async {
            Body::from_stream(futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0_u8; 64 << 10])))
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let slots = Slots::new(short());
    tokio::spawn(accept::serve(Listener::Tcp(listener), endless, Arc::clone(&slots), fixture.state.shutdown.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 16];
    stream.read_exact(&mut first).await.unwrap();
    let gone = async {
        while slots.open() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("it holds its connection for ever");
}

#[tokio::test]
async fn shutting_down_closes_the_idle_and_finishes_the_rest() {
    let server = serve(Limits { head: Duration::from_secs(10), idle: Duration::from_secs(10), ..short() }).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(REQUEST).await.unwrap();
    answer(&mut idle).await;
    server.fixture.state.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(2), server.task).await.expect("it ends").unwrap();
    assert!(is_closed(&mut idle).await);
    assert!(TcpStream::connect(server.address).await.is_err(), "it still listens");
}

#[tokio::test]
async fn the_unix_socket_knows_its_peer() {
    let fixture = Fixture::new().await;
    let path = fixture.folder.path().join("sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(accept::serve(Listener::Unix(listener), fixture.app.clone(), Slots::new(short()), fixture.state.shutdown.clone()));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    // Whoever runs this test is the user that runs the server.
    stream.write_all(b"GET /api/v1/tokens HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(answer(&mut stream).await, "HTTP/1.1 200 OK");
}
