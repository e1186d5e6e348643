//! A client that goes away in the middle of a request: what it began comes to its end all the same.
//!
//! The server drops the handler of a connection that closes, wherever it waits. So each test drops it at the worst moment: when the first half
//! can be seen in the store, and before the handler is polled again.

use std::future::Future;
use std::time::Duration;

use axum::body::Body;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use runtime::error::RuntimeError;
use serde_json::json;

use super::{Call, Fixture};
use crate::model::Role;
use crate::node::NodeError;

/// Sends a request, and hangs up as soon as `begun`.
async fn hang_up_when(call: Call, begun: impl Fn() -> bool) {
    let mut request = Box::pin(call.open());
    let comes_to_it = async {
        while !begun() {
            assert!((&mut request).now_or_never().is_none(), "it was answered before it was hung up on");
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), comes_to_it).await.expect("it is never seen half-way");
}

/// Gives what goes on by itself the time that it needs.
async fn until<F: Future<Output = bool>>(what: &str, look: impl Fn() -> F) {
    let looks = async {
        while !look().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looks).await.unwrap_or_else(|_| panic!("{what}: never"));
}

#[tokio::test]
async fn a_patch_that_the_host_refuses_is_put_back() {
    let fixture = Fixture::with_image().await;
    let made = fixture.run("web").await;
    let refused = RuntimeError::Conflict { message: "below what is in use".to_owned() };
    fixture.node.fail_next("update", NodeError::Refused(refused));
    let path = "/api/v1/containers/web";
    let patch = json!({"metadata": {"labels": {"tier": "front"}}, "spec": {"resources": {"memory": "96Mi"}}});
    let record = || fixture.state.store.container("web").unwrap();
    hang_up_when(fixture.root("PATCH", path).patch(&patch), || !record().meta.labels.is_empty()).await;
    until("the patch is undone", async || record().meta.labels.is_empty()).await;
    assert_eq!(fixture.get(path).await["spec"], made["spec"]);
}

#[tokio::test]
async fn a_repetition_finds_the_answer_that_nobody_took() {
    let fixture = Fixture::with_image().await;
    let post = || {
        let body = json!({"metadata": {"name": "web"}, "spec": {"image": "busybox", "command": ["sleep"]}});
        fixture.root("POST", "/api/v1/containers").header("idempotency-key", "k").json(&body)
    };
    hang_up_when(post(), || fixture.state.store.container("web").is_ok()).await;
    until("the first is done", async || post().send().await.status == 201).await;
    assert_eq!(post().send().await.expect(201).header("idempotent-replayed"), Some("true"));
    assert_eq!(fixture.get("/api/v1/containers").await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_token_that_is_gone_has_no_stream() {
    let fixture = Fixture::new().await;
    let token = fixture.token("ci", Role::Viewer).await;
    let stream = fixture.tcp("GET", "/api/v1/events").header("accept", "text/event-stream").bearer(&token).open().await;
    assert_eq!(stream.status(), 200);
    let mut stream: Body = stream.into_body();
    hang_up_when(fixture.root("DELETE", "/api/v1/tokens/ci"), || fixture.state.store.token("ci").is_err()).await;
    let end = async { while let Some(Ok(_)) = stream.frame().await {} };
    tokio::time::timeout(Duration::from_secs(20), end).await.expect("its stream goes on");
}
