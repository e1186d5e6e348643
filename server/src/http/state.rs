//! What every handler can reach.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use axum::body::Bytes;
use jiff::Timestamp;
use runtime::status::HostFacts;
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;

use super::auth::access::AccessTable;
use super::auth::registry::Registry;
use super::auth::site::Site;
use super::auth::throttle::Throttle;
use super::health::Readiness;
use super::log_watch::LogWatch;
use super::metrics::Metrics;
use crate::config::Config;
use crate::image::ImageService;
use crate::model::validate::HostLimits;
use crate::node::{Node, NodeError};
use crate::reconcile::Reconciler;
use crate::store::Store;
use crate::usage::Usage;

/// Cheap to clone; one a server.
pub type AppState = Arc<App>;

#[derive(Debug)]
pub struct App {
    pub config: Config,
    /// The user that this process runs as: its own calls over the unix socket are trusted.
    pub own_uid: u32,
    pub store: Store,
    pub node: Arc<dyn Node>,
    pub reconciler: Reconciler,
    pub images: ImageService,
    pub usage: Usage,
    facts: OnceCell<Arc<HostFacts>>,
    pub registry: Registry,
    pub site: Site,
    pub throttle: Throttle,
    pub access: AccessTable,
    pub documents: Documents,
    pub metrics: Metrics,
    pub readiness: Readiness,
    pub streams: Arc<Semaphore>,
    pub log_watch: Arc<LogWatch>,
    pub started: Instant,
    /// The same by the wall clock.
    pub started_at: Timestamp,
    /// Cancelled when the server stops: no new requests, and streams end.
    pub shutdown: CancellationToken,
}

impl App {
    pub fn new(config: Config, store: Store, node: Arc<dyn Node>, registry: Registry, started: Instant) -> AppState {
        let document = super::router::declarations();
        Arc::new(App {
            own_uid: rustix::process::geteuid().as_raw(),
            registry,
            site: Site::new(config.listen),
            throttle: Throttle::new(started),
            access: AccessTable::from_document(&document),
            documents: Documents::default(),
            metrics: Metrics::default(),
            readiness: Readiness::default(),
            streams: super::stream::room(),
            log_watch: Arc::default(),
            started,
            started_at: store.clock().now(),
            shutdown: CancellationToken::new(),
            reconciler: Reconciler::new(store.clone(), Arc::clone(&node)),
            images: ImageService::new(store.clone(), Arc::clone(&node)),
            usage: Usage::new(Arc::clone(&node), Arc::clone(store.clock())),
            facts: OnceCell::new(),
            store,
            node,
            config,
        })
    }

    /// What the host is. It does not change while we run: asked for once.
    pub async fn facts(&self) -> Result<Arc<HostFacts>, NodeError> {
        self.facts.get_or_try_init(|| async { self.node.facts().await.map(Arc::new) }).await.cloned()
    }

    /// What a spec is measured against, as far as it is known already.
    pub fn host_limits(&self) -> HostLimits {
        let facts = self.facts.get();
        HostLimits { cpus: facts.map(|facts| facts.cpus), memory_bytes: facts.map(|facts| facts.memory_bytes) }
    }
}

/// The API's description in its three forms. Most servers are never asked for it: each is made when it first is.
#[derive(Debug)]
pub struct Documents {
    pub json: Lazy,
    pub yaml: Lazy,
    pub page: Lazy,
}

type Lazy = LazyLock<Bytes>;

impl Default for Documents {
    fn default() -> Self {
        // Our own document, made by the tests as well: it can be written in all of them.
        Documents {
            json: LazyLock::new(|| super::router::document().to_json().unwrap_or_default().into()),
            yaml: LazyLock::new(|| super::router::document().to_yaml().unwrap_or_default().into()),
            page: LazyLock::new(|| super::docs::page(&super::router::document()).into()),
        }
    }
}
