//! The real thing: unix sockets in the run directory.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runtime::config::ExecConfig;
use runtime::id::{ContainerName, LayerId, PodId};
use runtime::protocol::{
    ExportedLayer, LauncherAnswer, LauncherRequest, OLDEST_SHIM_PROTOCOL, PROTOCOL_VERSION, ShimAnswer, ShimRequest, encode,
};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::copy::{CopiedOut, TarPieces};
use super::error::NodeError;
use super::session::{Attached, Session};
use super::shim::ShimConnection;
use super::{Answer, Attachment, ImportLimits, ImportedLayer, LayerBody, LoadedArchive, Node, frame};

/// Longer than any step of the runtime: its own deadlines (10 s for a cgroup to empty) come first.
const DEADLINE: Duration = Duration::from_secs(60);
/// A layer is unpacked for as long as its bytes come; this is for the rest of it after the last byte.
const IMPORT_DEADLINE: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub struct SocketNode {
    launcher: PathBuf,
    pods: PathBuf,
    connections: Mutex<HashMap<PodId, Arc<ShimConnection>>>,
}

impl SocketNode {
    /// `run_dir` as the launcher was given it.
    pub fn new(run_dir: &Path) -> Self {
        SocketNode { launcher: run_dir.join("launch.sock"), pods: run_dir.join("pods"), connections: Mutex::default() }
    }

    fn shim_socket(&self, pod: &PodId) -> PathBuf {
        self.pods.join(pod.as_str()).join("shim.sock")
    }

    async fn connect_launcher(&self) -> Result<UnixStream, NodeError> {
        let failed = |source| NodeError::Launcher { socket: self.launcher.clone(), source: Arc::new(source) };
        UnixStream::connect(&self.launcher).await.map_err(failed)
    }

    async fn ask_launcher(&self, request: LauncherRequest) -> Result<LauncherAnswer, NodeError> {
        if let LauncherRequest::StartShim { config } = &request {
            self.forget(&config.id);
        }
        launcher_answer(&mut self.asked(request).await?).await
    }

    async fn send_layer(&self, limits: ImportLimits, body: LayerBody) -> Result<ImportedLayer, NodeError> {
        let request =
            LauncherRequest::ImportLayer { staging: limits.staging, max_bytes: limits.max_bytes, max_entries: limits.max_entries };
        let (broken, answer) = self.send_body(request, body).await?;
        let imported = match answer {
            Ok(LauncherAnswer::LayerImported { layer, size, entries, compressed_digest, .. }) => {
                Ok(ImportedLayer { layer, size, entries, compressed_digest })
            }
            Ok(_) => Err(NodeError::unexpected("importLayer")),
            Err(error) => Err(error),
        };
        match broken {
            Some(source) => Err(NodeError::Body { source: Arc::new(source), layers: imported.into_iter().map(|i| i.layer).collect() }),
            None => imported,
        }
    }

    async fn send_archive(&self, limits: ImportLimits, platform: Option<String>, body: LayerBody) -> Result<LoadedArchive, NodeError> {
        let ImportLimits { staging, max_bytes, max_entries } = limits;
        let (broken, answer) = self.send_body(LauncherRequest::LoadArchive { staging, max_bytes, max_entries, platform }, body).await?;
        let loaded = match answer {
            Ok(LauncherAnswer::ArchiveLoaded { images, notes }) => Ok(LoadedArchive { images, notes }),
            Ok(_) => Err(NodeError::unexpected("loadArchive")),
            Err(error) => Err(error),
        };
        match broken {
            Some(source) => {
                let images = loaded.into_iter().flat_map(|loaded| loaded.images);
                let layers = images.flat_map(|image| image.layers).map(|layer| layer.layer).collect();
                Err(NodeError::Body { source: Arc::new(source), layers })
            }
            None => loaded,
        }
    }

    async fn send_upload(&self, request: LauncherRequest, body: LayerBody) -> Result<LauncherAnswer, NodeError> {
        match self.send_body(request, body).await? {
            (Some(source), _) => Err(NodeError::Body { source: Arc::new(source), layers: Vec::new() }),
            (None, answer) => answer,
        }
    }

    /// A request and the bytes that follow it; why the body ended early, if it did, and what the worker answered.
    async fn send_body(
        &self,
        request: LauncherRequest,
        mut body: LayerBody,
    ) -> Result<(Option<io::Error>, Result<LauncherAnswer, NodeError>), NodeError> {
        let (mut read, mut write) = self.connect_launcher().await?.into_split();
        write.write_all(&encode(&request).map_err(NodeError::io("the launcher"))?).await.map_err(NodeError::io("the launcher"))?;
        let sending = async {
            let mut broken = None;
            let mut buffer = vec![0; 64 << 10];
            loop {
                use tokio::io::AsyncReadExt;
                match body.read(&mut buffer).await {
                    Ok(0) => break,
                    // The worker hung up: its answer says why.
                    Ok(n) if write.write_all(&buffer[..n]).await.is_err() => break,
                    Ok(_) => {}
                    Err(error) => {
                        broken = Some(error);
                        break;
                    }
                }
            }
            let _ = write.shutdown().await;
            broken
        };
        let receiving = launcher_answer(&mut read);
        tokio::pin!(sending, receiving);
        // An answer before the last byte is a refusal: the rest need not be sent.
        tokio::select! {
            answer = &mut receiving => Ok((None, answer)),
            broken = &mut sending => {
                let answer = timeout(IMPORT_DEADLINE, &mut receiving).await;
                let late = NodeError::Deadline { peer: "the import worker", within: IMPORT_DEADLINE };
                Ok((broken, answer.unwrap_or(Err(late))))
            }
        }
    }

    async fn ask_copy_out(&self, request: LauncherRequest) -> Result<CopiedOut, NodeError> {
        CopiedOut::open(self.asked(request).await?).await
    }

    /// Layers may be of any size, and a worker reads them all before it answers: whoever waits decides how long.
    async fn ask_layers(&self, layers: Vec<LayerId>) -> Result<(Vec<ExportedLayer>, TarPieces), NodeError> {
        TarPieces::of_layers(self.asked(LauncherRequest::ExportLayers { layers }).await?).await
    }

    /// The connection, with the request sent.
    async fn asked(&self, request: LauncherRequest) -> Result<UnixStream, NodeError> {
        let mut stream = self.connect_launcher().await?;
        let bytes = encode(&request).map_err(NodeError::io("the launcher"))?;
        stream.write_all(&bytes).await.map_err(NodeError::io("the launcher"))?;
        Ok(stream)
    }

    fn known(&self, pod: &PodId) -> Option<Arc<ShimConnection>> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = connections.get(pod)?;
        if connection.is_gone() {
            connections.remove(pod);
            return None;
        }
        Some(Arc::clone(connection))
    }

    /// What follows is another shim's life: the old connection may not know yet that it has ended.
    fn forget(&self, pod: &PodId) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).remove(pod);
    }

    async fn connection(&self, pod: &PodId) -> Result<Arc<ShimConnection>, NodeError> {
        if let Some(connection) = self.known(pod) {
            return Ok(connection);
        }
        let connection = ShimConnection::open(pod, &self.shim_socket(pod)).await?;
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of sandboxes that are gone: each is looked at when the next one comes.
        connections.retain(|_, connection| !connection.is_gone());
        Ok(Arc::clone(connections.entry(pod.clone()).or_insert(connection)))
    }

    async fn ask_shim(&self, pod: &PodId, request: ShimRequest) -> Result<ShimAnswer, NodeError> {
        let connection = self.connection(pod).await?;
        let last = request == ShimRequest::StopPod;
        let mut answers = connection.ask(vec![request]).await?;
        let answer = answers.pop().ok_or(NodeError::unexpected("shim"))?;
        let answer = connection.answered(answer).await;
        if last && answer.is_ok() {
            self.forget(pod);
        }
        answer
    }

    async fn watch(&self, pod: &PodId, then: Vec<ShimRequest>) -> Result<(Attachment, Vec<Result<ShimAnswer, NodeError>>), NodeError> {
        let connection = self.connection(pod).await?;
        // Before the question: what happens between the report and the first event must not be lost.
        let notices = connection.notices();
        let requests = std::iter::once(ShimRequest::Watch).chain(then).collect();
        let mut receivers = connection.ask(requests).await?.into_iter();
        let watch = receivers.next().ok_or(NodeError::unexpected("watch"))?;
        let ShimAnswer::State { report } = connection.answered(watch).await? else { return Err(NodeError::unexpected("watch")) };
        check_version(pod, report.protocol)?;
        let mut answers = Vec::with_capacity(receivers.len());
        for receiver in receivers {
            answers.push(connection.answered(receiver).await);
        }
        Ok((Attachment { report, notices }, answers))
    }
}

/// Shims outlive an upgrade, and a downgrade: each is asked before it is given orders that it could take for others.
fn check_version(pod: &PodId, theirs: u32) -> Result<(), NodeError> {
    if (OLDEST_SHIM_PROTOCOL..=PROTOCOL_VERSION).contains(&theirs) {
        return Ok(());
    }
    Err(NodeError::Version { peer: format!("the shim of sandbox {pod}"), theirs })
}

async fn launcher_answer(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<LauncherAnswer, NodeError> {
    match frame::read(stream).await.map_err(NodeError::io("the launcher"))? {
        Some(LauncherAnswer::Failed { error }) => Err(NodeError::Refused(error)),
        Some(answer) => Ok(answer),
        None => Err(NodeError::io("the launcher")(io::ErrorKind::UnexpectedEof.into())),
    }
}

async fn within<T>(peer: &'static str, work: impl Future<Output = Result<T, NodeError>>) -> Result<T, NodeError> {
    timeout(DEADLINE, work).await.unwrap_or(Err(NodeError::Deadline { peer, within: DEADLINE }))
}

impl Node for SocketNode {
    fn launcher(&self, request: LauncherRequest) -> Answer<'_, LauncherAnswer> {
        Box::pin(within("the launcher", self.ask_launcher(request)))
    }

    fn import_layer(&self, limits: ImportLimits, body: LayerBody) -> Answer<'_, ImportedLayer> {
        Box::pin(self.send_layer(limits, body))
    }

    fn load_archive(&self, limits: ImportLimits, platform: Option<String>, body: LayerBody) -> Answer<'_, LoadedArchive> {
        Box::pin(self.send_archive(limits, platform, body))
    }

    fn copy_out(&self, request: LauncherRequest) -> Answer<'_, CopiedOut> {
        Box::pin(within("the copying worker", self.ask_copy_out(request)))
    }

    fn export_layers(&self, layers: Vec<LayerId>) -> Answer<'_, (Vec<ExportedLayer>, TarPieces)> {
        Box::pin(self.ask_layers(layers))
    }

    fn upload(&self, request: LauncherRequest, body: LayerBody) -> Answer<'_, LauncherAnswer> {
        Box::pin(self.send_upload(request, body))
    }

    fn shim<'a>(&'a self, pod: &'a PodId, request: ShimRequest) -> Answer<'a, ShimAnswer> {
        Box::pin(within("the shim", self.ask_shim(pod, request)))
    }

    fn attach<'a>(&'a self, pod: &'a PodId, then: Vec<ShimRequest>) -> Answer<'a, (Attachment, Vec<Result<ShimAnswer, NodeError>>)> {
        Box::pin(within("the shim", self.watch(pod, then)))
    }

    fn exec<'a>(&'a self, pod: &'a PodId, container: &'a ContainerName, config: ExecConfig) -> Answer<'a, Session> {
        Box::pin(async move { within("the shim", Session::exec(pod, &self.shim_socket(pod), container, config)).await })
    }

    fn converse<'a>(&'a self, pod: &'a PodId, container: &'a ContainerName) -> Answer<'a, (Session, Attached)> {
        Box::pin(async move { within("the shim", Session::attach(pod, &self.shim_socket(pod), container)).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::protocol::{Numbered, ShimMessage};

    /// A shim that answers each request with a report which says that it speaks `protocol`; None leaves that out, as the first ones did.
    async fn watch_one_that_speaks(protocol: Option<u32>) -> Result<Attachment, NodeError> {
        let dir = tempfile::tempdir().unwrap();
        let pod: PodId = "00112233445566778899aabbccddeeff".parse().unwrap();
        let folder = dir.path().join("pods").join(pod.as_str());
        std::fs::create_dir_all(&folder).unwrap();
        let listener = tokio::net::UnixListener::bind(folder.join("shim.sock")).unwrap();
        let mut report = serde_json::json!({"id": pod, "shimPid": 7, "containers": []});
        if let Some(protocol) = protocol {
            report["protocol"] = protocol.into();
        }
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            while let Ok(Some(Numbered { id, body: _ })) = frame::read::<Numbered<ShimRequest>>(&mut stream).await {
                let body = ShimAnswer::State { report: serde_json::from_value(report.clone()).unwrap() };
                stream.write_all(&encode(&ShimMessage::Answer { id, body }).unwrap()).await.unwrap();
            }
        });
        let node = SocketNode::new(dir.path());
        (&node as &dyn Node).watch(&pod).await
    }

    #[tokio::test]
    async fn a_shim_of_another_protocol_is_left_alone_with_a_clear_word() {
        for fine in [None, Some(OLDEST_SHIM_PROTOCOL), Some(PROTOCOL_VERSION)] {
            watch_one_that_speaks(fine).await.unwrap_or_else(|error| panic!("{fine:?}: {error}"));
        }
        let error = watch_one_that_speaks(Some(PROTOCOL_VERSION + 1)).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, NodeError::Version { .. }) && text.contains(&format!("speaks version {}", PROTOCOL_VERSION + 1)), "{text}");
    }
}
