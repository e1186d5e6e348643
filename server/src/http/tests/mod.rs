//! The whole router in-process over a fake node: status, headers and bodies, without a socket and without root.

mod access;
mod bad_input;
mod collections;
mod containers;
mod contract;
mod documented;
mod hang_up;
mod logs;
mod sockets;
mod streams;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::accept::Peer;
use super::auth::registry::Registry;
use super::auth::secret::Secret;
use super::router;
use super::state::{App, AppState};
use crate::clock::SystemClock;
use crate::config::{Config, ServeArgs};
use crate::fake_node::FakeNode;
use crate::model::Role;
use crate::store::Store;

pub(super) const HOST: &str = "127.0.0.1:7777";

/// One server with a store of its own.
pub(super) struct Fixture {
    pub(super) folder: tempfile::TempDir,
    pub(super) node: FakeNode,
    pub(super) state: AppState,
    pub(super) app: Router,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) what: String,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Fixture {
    pub(super) async fn new() -> Self {
        Fixture::with(ServeArgs::default()).await
    }

    pub(super) async fn with(args: ServeArgs) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let args = ServeArgs { data_dir: Some(folder.path().join("data")), run_dir: Some(folder.path().join("run")), ..args };
        let config = Config::resolve(args).unwrap();
        let clock = Arc::new(SystemClock);
        let store = Store::open(&folder.path().join("db"), Arc::clone(&clock) as _).await.unwrap();
        let node = FakeNode::new(clock);
        let registry = Registry::load(store.clone()).await.unwrap();
        let state = App::new(config, store, Arc::new(node.clone()), registry, Instant::now());
        state.facts().await.unwrap();
        state.reconciler.sweep().await.unwrap();
        let app = router::app(Arc::clone(&state));
        Fixture { folder, node, state, app }
    }

    /// With an image to make containers of.
    pub(super) async fn with_image() -> Self {
        let fixture = Fixture::new().await;
        let imported = fixture
            .root("POST", "/api/v1/images/import?reference=busybox&command=sleep")
            .header("content-type", "application/x-tar")
            .body("tar")
            .send()
            .await;
        imported.expect(201);
        fixture
    }

    /// A request as root over the unix socket.
    pub(super) fn root(&self, method: &str, target: &str) -> Call {
        Call::new(self, Peer::Unix { uid: 0 }, method, target)
    }

    /// A request of a stranger over TCP.
    pub(super) fn tcp(&self, method: &str, target: &str) -> Call {
        Call::new(self, Peer::Tcp(([127, 0, 0, 1], 40_000).into()), method, target).header("host", HOST)
    }

    /// A token's secret.
    pub(super) async fn token(&self, name: &str, role: Role) -> String {
        let secret = Secret::token();
        self.state.store.create_token(name, role, secret.hash().to_hex()).await.unwrap();
        secret.reveal().to_owned()
    }

    pub(super) async fn create(&self, name: &str, spec: Value) -> Value {
        let mut body = json!({"metadata": {"name": name}, "spec": {"image": "busybox", "command": ["sleep"]}});
        body["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        self.root("POST", "/api/v1/containers").json(&body).send().await.expect(201).json()
    }

    /// Created and started.
    pub(super) async fn run(&self, name: &str) -> Value {
        let container = self.create(name, json!({})).await;
        self.root("POST", &format!("/api/v1/containers/{name}/start")).send().await.expect(204);
        container
    }

    pub(super) async fn get(&self, target: &str) -> Value {
        self.root("GET", target).send().await.expect(200).json()
    }
}

/// A request being put together.
pub(super) struct Call {
    app: Router,
    peer: Peer,
    request: axum::http::request::Builder,
    what: String,
    body: Body,
}

impl Call {
    fn new(fixture: &Fixture, peer: Peer, method: &str, target: &str) -> Self {
        let request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(target);
        Call { app: fixture.app.clone(), peer, request, what: format!("{method} {target}"), body: Body::empty() }
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub(super) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(super) fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub(super) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub(super) fn patch(self, body: &Value) -> Self {
        self.header("content-type", "application/merge-patch+json").body(body.to_string())
    }

    /// The head alone: the body goes on.
    pub(super) async fn open(self) -> axum::response::Response {
        let mut request = self.request.body(self.body).unwrap();
        request.extensions_mut().insert(self.peer);
        self.app.oneshot(request).await.unwrap()
    }

    pub(super) async fn send(self) -> Answer {
        let what = self.what.clone();
        let response = self.open().await;
        let (parts, body) = response.into_parts();
        documented::check(&what, parts.status, &parts.headers);
        let body = axum::body::to_bytes(body, 64 << 20).await.unwrap().to_vec();
        Answer { what, status: parts.status, headers: parts.headers, body }
    }
}

impl Answer {
    #[track_caller]
    pub(super) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}: {}", self.what, self.text());
        self
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {}", self.what, self.text()))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A problem document with this status and code, whole in every part.
    #[track_caller]
    pub(super) fn problem(self, status: u16, code: &str) -> Value {
        let answer = self.expect(status);
        assert_eq!(answer.header(header::CONTENT_TYPE.as_str()), Some("application/problem+json"), "{}", answer.what);
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{}: {problem:#}", answer.what);
        assert_eq!(problem["type"], format!("urn:berth:error:{code}"));
        assert_eq!(problem["status"], status);
        assert_eq!(problem["instance"].as_str(), answer.header("x-request-id"), "{}", answer.what);
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem:#}");
        problem
    }

    /// A 422 that names this place.
    #[track_caller]
    pub(super) fn fault(self, path: &str) -> Value {
        let what = self.what.clone();
        let answer = self.expect(422);
        let problem = answer.json();
        let paths: Vec<&str> = problem["errors"].as_array().into_iter().flatten().filter_map(|fault| fault["path"].as_str()).collect();
        assert!(paths.contains(&path), "{what}: nothing names {path}: {problem:#}");
        problem
    }
}
