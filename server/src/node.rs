//! The way down: what reconcile and http ask of the launcher and of the shims.
//!
//! ```text
//! reconcile, http --> trait Node --> SocketNode --one connection a request--> launcher (root)
//!                         |              \-------one connection a sandbox---> shim (root): requests by number, events in between
//!                         |               \------one connection a session---> shim
//!                         +--> FakeNode, in tests
//! ```
//!
//! It decides nothing and remembers nothing but open connections. A new verb of the runtime needs no change here.

pub mod convert;
mod copy;
mod error;
mod frame;
mod session;
mod shim;
mod socket;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use runtime::config::{ContainerConfig, ExecConfig, PodConfig};
use runtime::examination::Examination;
use runtime::id::{ContainerName, LayerId, PodId, StagingId, VolumeId};
use runtime::protocol::{DiskUsage, ExportedLayer, LauncherAnswer, LauncherRequest, LoadedImage, ShimAnswer, ShimEvent, ShimRequest};
use runtime::status::{ContainerReport, HostFacts, PodReport, RunDirEntry};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

pub use copy::{CopiedOut, TarPieces};
pub use error::NodeError;
pub use session::{Attached, Output, Session, SessionInput};
pub use socket::SocketNode;

pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, NodeError>> + Send + 'a>>;
/// The tar of a layer, or an archive of images: plain, gzip or zstd.
pub type LayerBody = Box<dyn AsyncRead + Send + Unpin>;

/// What a sandbox says without being asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    Event(Box<ShimEvent>),
    /// The connection ended: the shim is dead, or the sandbox was stopped.
    Gone,
}

/// A watched sandbox.
#[derive(Debug)]
pub struct Attachment {
    pub report: PodReport,
    pub notices: mpsc::UnboundedReceiver<Notice>,
}

/// How much a layer or an archive may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportLimits {
    pub staging: StagingId,
    pub max_bytes: u64,
    pub max_entries: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedLayer {
    pub layer: LayerId,
    /// Bytes unpacked.
    pub size: u64,
    pub entries: u64,
    /// `sha256:…` of the bytes as they came in.
    pub compressed_digest: String,
}

/// The images of an archive, their layers unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedArchive {
    pub images: Vec<LoadedImage>,
    /// What was left out (device nodes, attributes), a line a kind.
    pub notes: Vec<String>,
}

/// The few ways to reach the runtime; the verbs are methods of `dyn Node`.
pub trait Node: fmt::Debug + Send + Sync {
    fn launcher(&self, request: LauncherRequest) -> Answer<'_, LauncherAnswer>;

    /// Sends a layer; its bytes follow the request.
    fn import_layer(&self, limits: ImportLimits, body: LayerBody) -> Answer<'_, ImportedLayer>;

    /// Sends an archive of images; its bytes follow the request. `platform` as in [`LauncherRequest::LoadArchive`].
    fn load_archive(&self, limits: ImportLimits, platform: Option<String>, body: LayerBody) -> Answer<'_, LoadedArchive>;
    /// Asks for a tar out of a container's files: `CopyOut`.
    fn copy_out(&self, request: LauncherRequest) -> Answer<'_, CopiedOut>;
    /// Layers as tars: what they are, and then the tars one after the other, those that are alike once.
    fn export_layers(&self, layers: Vec<LayerId>) -> Answer<'_, (Vec<ExportedLayer>, TarPieces)>;

    /// Sends a request that a body follows, and waits for its answer: `CopyIn`.
    fn upload(&self, request: LauncherRequest, body: LayerBody) -> Answer<'_, LauncherAnswer>;

    /// Asks a sandbox's shim, over the connection that is open, or a new one.
    fn shim<'a>(&'a self, pod: &'a PodId, request: ShimRequest) -> Answer<'a, ShimAnswer>;

    /// Watches a sandbox, and asks `then` in the same breath: the shim answers them in order, and no time is lost between them.
    fn attach<'a>(&'a self, pod: &'a PodId, then: Vec<ShimRequest>) -> Answer<'a, (Attachment, Vec<Result<ShimAnswer, NodeError>>)>;

    /// Starts a process in a running container; done when its execve(2) has succeeded. Dropping the session kills it.
    fn exec<'a>(&'a self, pod: &'a PodId, container: &'a ContainerName, config: ExecConfig) -> Answer<'a, Session>;

    /// Speaks to the first process of a running container.
    fn converse<'a>(&'a self, pod: &'a PodId, container: &'a ContainerName) -> Answer<'a, (Session, Attached)>;
}

impl dyn Node + '_ {
    pub async fn facts(&self) -> Result<HostFacts, NodeError> {
        match self.launcher(LauncherRequest::Facts).await? {
            LauncherAnswer::Facts { facts } => Ok(facts),
            _ => Err(NodeError::unexpected("facts")),
        }
    }

    /// Returns the shim's pid, for display.
    pub async fn start_shim(&self, config: PodConfig) -> Result<i32, NodeError> {
        match self.launcher(LauncherRequest::StartShim { config: Box::new(config) }).await? {
            LauncherAnswer::ShimStarted { shim_pid } => Ok(shim_pid),
            _ => Err(NodeError::unexpected("startShim")),
        }
    }

    /// Clears what a dead shim left; with `data`, also the sandbox's writable layer and logs.
    pub async fn clean(&self, pod: &PodId, data: bool) -> Result<(), NodeError> {
        self.done(LauncherRequest::Clean { pod: pod.clone(), data }, "clean").await
    }

    pub async fn list(&self) -> Result<Vec<RunDirEntry>, NodeError> {
        match self.launcher(LauncherRequest::List).await? {
            LauncherAnswer::List { entries } => Ok(entries),
            _ => Err(NodeError::unexpected("list")),
        }
    }

    pub async fn remove_layer(&self, layer: LayerId) -> Result<(), NodeError> {
        self.done(LauncherRequest::RemoveLayer { layer }, "removeLayer").await
    }

    /// Making what is there already is no error.
    pub async fn create_volume(&self, volume: VolumeId) -> Result<(), NodeError> {
        self.done(LauncherRequest::CreateVolume { volume }, "createVolume").await
    }

    pub async fn remove_volume(&self, volume: VolumeId) -> Result<(), NodeError> {
        self.done(LauncherRequest::RemoveVolume { volume }, "removeVolume").await
    }

    pub async fn disk_usage(&self) -> Result<Vec<DiskUsage>, NodeError> {
        match self.launcher(LauncherRequest::DiskUsage).await? {
            LauncherAnswer::DiskUsage { items } => Ok(items),
            _ => Err(NodeError::unexpected("diskUsage")),
        }
    }

    /// Tries the host anew, and finds all that bears Berth's name.
    pub async fn examine(&self) -> Result<Examination, NodeError> {
        match self.launcher(LauncherRequest::Examine).await? {
            LauncherAnswer::Examined { examination } => Ok(*examination),
            _ => Err(NodeError::unexpected("examine")),
        }
    }

    async fn done(&self, request: LauncherRequest, verb: &'static str) -> Result<(), NodeError> {
        match self.launcher(request).await? {
            LauncherAnswer::Done => Ok(()),
            _ => Err(NodeError::unexpected(verb)),
        }
    }

    /// Watches a sandbox.
    pub async fn watch(&self, pod: &PodId) -> Result<Attachment, NodeError> {
        self.attach(pod, Vec::new()).await.map(|(attachment, _)| attachment)
    }

    /// Watches a sandbox, makes a container in it and starts that: done when execve(2) has succeeded.
    pub async fn run(&self, pod: &PodId, config: ContainerConfig) -> Result<(Attachment, Result<ContainerReport, NodeError>), NodeError> {
        let container = config.name.clone();
        let then = vec![ShimRequest::Create { config: Box::new(config) }, ShimRequest::Start { container }];
        let (attachment, answers) = self.attach(pod, then).await?;
        let mut answers = answers.into_iter();
        let created = answers.next().unwrap_or_else(|| Err(NodeError::unexpected("create")));
        let started = answers.next().unwrap_or_else(|| Err(NodeError::unexpected("start")));
        let report = match (created, started) {
            (Err(error), _) | (Ok(ShimAnswer::Created { .. }), Err(error)) => Err(error),
            (Ok(ShimAnswer::Created { .. }), Ok(ShimAnswer::Started { report })) => Ok(report),
            _ => Err(NodeError::unexpected("start")),
        };
        Ok((attachment, report))
    }

    /// To the container's first process, or with `all` to everything in its cgroup.
    pub async fn kill(&self, pod: &PodId, container: &ContainerName, signal: i32, all: bool) -> Result<(), NodeError> {
        self.shim_done(pod, ShimRequest::Kill { container: container.clone(), signal, all }, "kill").await
    }

    /// Kills everything in the sandbox, undoes it, and ends its shim.
    pub async fn stop_pod(&self, pod: &PodId) -> Result<(), NodeError> {
        self.shim_done(pod, ShimRequest::StopPod, "stopPod").await
    }

    /// For verbs that are answered with `Done`.
    pub async fn shim_done(&self, pod: &PodId, request: ShimRequest, verb: &'static str) -> Result<(), NodeError> {
        match self.shim(pod, request).await? {
            ShimAnswer::Done => Ok(()),
            _ => Err(NodeError::unexpected(verb)),
        }
    }
}
