//! A runtime in memory, for tests: it keeps sandboxes, plays small programs, and fails when it is told to.
//!
//! The program is chosen by its name: `true` and `false` end at once, `missing` cannot be started (127), `stubborn` ignores every signal but
//! SIGKILL; everything else runs until it is signalled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runtime::config::{ContainerConfig, ExecConfig, PodConfig, Resources};
use runtime::error::{RuntimeError, SetupError};
use runtime::examination::{Descriptors, Examination, FileSystem, Inventory, RunDirFound};
use runtime::id::{ContainerName, LayerId, PodId, VolumeId};
use runtime::protocol::{DiskUsage, ExportedLayer, LauncherAnswer, LauncherRequest, LoadedImage, ShimAnswer, ShimEvent, ShimRequest};
use runtime::status::{CgroupView, ContainerReport, ContainerState, ControllerView, Exit, HostFacts, PodReport, RunDirEntry};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::model::signal::SIGKILL;
use crate::node::{
    Answer, Attached, Attachment, CopiedOut, ImportLimits, ImportedLayer, LayerBody, LoadedArchive, Node, NodeError, Notice, Output,
    Session, TarPieces,
};

/// Clones share one machine.
#[derive(Debug, Clone)]
pub struct FakeNode(Arc<Mutex<Machine>>);

#[derive(Debug)]
struct Machine {
    clock: Arc<dyn Clock>,
    sandboxes: BTreeMap<PodId, Sandbox>,
    /// Folders of sandboxes, volumes and layers.
    data: BTreeSet<PodId>,
    volumes: BTreeSet<VolumeId>,
    layers: BTreeMap<LayerId, u64>,
    /// Each verb that was asked, with its sandbox.
    calls: Vec<(&'static str, Option<PodId>)>,
    /// The next call of a verb fails so, in order.
    failures: VecDeque<(&'static str, NodeError)>,
    next_pid: i32,
}

#[derive(Debug)]
struct Sandbox {
    config: PodConfig,
    alive: bool,
    containers: Vec<Container>,
    watchers: Vec<mpsc::UnboundedSender<Notice>>,
}

#[derive(Debug)]
struct Container {
    config: ContainerConfig,
    report: ContainerReport,
}

impl FakeNode {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        FakeNode(Arc::new(Mutex::new(Machine {
            clock,
            sandboxes: BTreeMap::new(),
            data: BTreeSet::new(),
            volumes: BTreeSet::new(),
            layers: BTreeMap::new(),
            calls: Vec::new(),
            failures: VecDeque::new(),
            next_pid: 100,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next call of `verb` fails.
    pub fn fail_next(&self, verb: &'static str, error: NodeError) {
        self.lock().failures.push_back((verb, error));
    }

    /// The running program of a sandbox ends by itself.
    pub fn exit(&self, pod: &PodId, code: i32) {
        self.lock().end(pod, code, None, false);
    }

    /// The kernel's OOM killer ends the running program.
    pub fn oom_kill(&self, pod: &PodId) {
        self.lock().end(pod, 128 + SIGKILL, Some(SIGKILL), true);
    }

    /// The kernel's OOM killer ends a child of the program.
    pub fn oom_kill_child(&self, pod: &PodId) {
        let mut machine = self.lock();
        let Some(sandbox) = machine.sandboxes.get_mut(pod) else { return };
        if let Some(container) = sandbox.containers.first_mut() {
            container.report.oom_kills += 1;
            let event = ShimEvent::OomKill { container: container.config.name.clone(), oom_kills: container.report.oom_kills };
            sandbox.tell(event);
        }
    }

    /// The shim of a sandbox dies, and its containers with it; its last state stays in the run dir.
    pub fn kill_shim(&self, pod: &PodId) {
        if let Some(sandbox) = self.lock().sandboxes.get_mut(pod) {
            sandbox.alive = false;
            sandbox.hang_up();
        }
    }

    /// The machine is restarted: run dirs are gone, data stays.
    pub fn reboot(&self) {
        self.lock().sandboxes.clear();
    }

    /// All connections end, as when the control plane restarts.
    pub fn hang_up(&self) {
        self.lock().sandboxes.values_mut().for_each(|sandbox| sandbox.watchers.clear());
    }

    /// How often a verb was asked.
    pub fn count(&self, verb: &str) -> usize {
        self.lock().calls.iter().filter(|(called, _)| *called == verb).count()
    }

    /// The verbs asked of one sandbox, in order.
    pub fn calls(&self, pod: &PodId) -> Vec<&'static str> {
        self.lock().calls.iter().filter(|(_, of)| of.as_ref() == Some(pod)).map(|(verb, _)| *verb).collect()
    }

    /// Sandboxes with a living shim.
    pub fn alive(&self) -> Vec<PodId> {
        self.lock().sandboxes.iter().filter(|(_, sandbox)| sandbox.alive).map(|(pod, _)| pod.clone()).collect()
    }

    /// True when nothing of any sandbox is left: no shim, no run dir, no files.
    pub fn is_empty(&self) -> bool {
        let machine = self.lock();
        machine.sandboxes.is_empty() && machine.data.is_empty()
    }

    pub fn layers(&self) -> Vec<LayerId> {
        self.lock().layers.keys().cloned().collect()
    }

    pub fn volumes(&self) -> usize {
        self.lock().volumes.len()
    }

    /// What a sandbox was asked to be.
    pub fn pod_config(&self, pod: &PodId) -> Option<PodConfig> {
        self.lock().sandboxes.get(pod).map(|sandbox| sandbox.config.clone())
    }

    /// What the container of a sandbox was asked to be, with limits as last updated.
    pub fn container_config(&self, pod: &PodId) -> Option<ContainerConfig> {
        self.lock().sandboxes.get(pod)?.containers.first().map(|container| container.config.clone())
    }
}

impl Sandbox {
    fn tell(&mut self, event: ShimEvent) {
        self.watchers.retain(|watcher| watcher.send(Notice::Event(Box::new(event.clone()))).is_ok());
    }

    fn hang_up(&mut self) {
        for watcher in self.watchers.drain(..) {
            let _ = watcher.send(Notice::Gone);
        }
    }

    fn report(&self, pod: &PodId) -> PodReport {
        PodReport {
            id: pod.clone(),
            shim_pid: 50,
            protocol: runtime::protocol::PROTOCOL_VERSION,
            containers: self.containers.iter().map(|c| c.report.clone()).collect(),
        }
    }

    fn container(&mut self, name: &ContainerName) -> Result<&mut Container, RuntimeError> {
        let what = format!("container {name}");
        self.containers.iter_mut().find(|c| c.config.name == *name).ok_or(RuntimeError::NotFound { what })
    }
}

fn missing(program: &str) -> RuntimeError {
    RuntimeError::Setup(SetupError {
        stage: "exec".to_owned(),
        call: "execve".to_owned(),
        subject: program.to_owned(),
        errno: 2,
        errno_name: "ENOENT".to_owned(),
        detail: "no such program".to_owned(),
    })
}

impl Machine {
    fn call(&mut self, verb: &'static str, pod: Option<&PodId>) -> Result<(), NodeError> {
        self.calls.push((verb, pod.cloned()));
        match self.failures.iter().position(|(failing, _)| *failing == verb) {
            Some(index) => self.failures.remove(index).map_or(Ok(()), |(_, error)| Err(error)),
            None => Ok(()),
        }
    }

    fn end(&mut self, pod: &PodId, code: i32, signal: Option<i32>, oom_killed: bool) {
        let now = self.clock.now();
        let Some(sandbox) = self.sandboxes.get_mut(pod).filter(|sandbox| sandbox.alive) else { return };
        let Some(container) = sandbox.containers.first_mut() else { return };
        let ContainerState::Running { started_at, .. } = container.report.state else { return };
        container.report.oom_kills += u64::from(oom_killed);
        let exit =
            Exit { code, signal, oom_killed, memory_peak: Some(1 << 20), started_at: Some(started_at), finished_at: now, failure: None };
        container.report.state = ContainerState::Stopped { exit: exit.clone() };
        let (name, oom_kills) = (container.config.name.clone(), container.report.oom_kills);
        let event = ShimEvent::Exited { container: container.config.name.clone(), attempt: container.config.attempt, exit };
        if oom_killed {
            sandbox.tell(ShimEvent::OomKill { container: name, oom_kills });
        }
        sandbox.tell(event);
    }

    fn launcher(&mut self, request: LauncherRequest) -> Result<LauncherAnswer, NodeError> {
        match request {
            LauncherRequest::Facts => {
                self.call("facts", None)?;
                Ok(LauncherAnswer::Facts { facts: facts() })
            }
            LauncherRequest::StartShim { config } => {
                let pod = config.id.clone();
                self.call("startShim", Some(&pod))?;
                if self.sandboxes.contains_key(&pod) {
                    let message = format!("the sandbox {pod} has a run dir already");
                    return Err(NodeError::Refused(RuntimeError::Conflict { message }));
                }
                self.data.insert(pod.clone());
                self.sandboxes.insert(pod, Sandbox { config: *config, alive: true, containers: Vec::new(), watchers: Vec::new() });
                Ok(LauncherAnswer::ShimStarted { shim_pid: 50 })
            }
            LauncherRequest::Clean { pod, data } => {
                self.call("clean", Some(&pod))?;
                if self.sandboxes.get(&pod).is_some_and(|sandbox| sandbox.alive) {
                    let message = format!("the sandbox {pod} has a living shim");
                    return Err(NodeError::Refused(RuntimeError::Conflict { message }));
                }
                self.sandboxes.remove(&pod);
                if data {
                    self.data.remove(&pod);
                }
                Ok(LauncherAnswer::Done)
            }
            LauncherRequest::List => {
                self.call("list", None)?;
                let entry = |(pod, sandbox): (&PodId, &Sandbox)| RunDirEntry {
                    pod: pod.clone(),
                    alive: sandbox.alive,
                    last: Some(sandbox.report(pod)),
                };
                Ok(LauncherAnswer::List { entries: self.sandboxes.iter().map(entry).collect() })
            }
            LauncherRequest::Examine => {
                self.call("examine", None)?;
                Ok(LauncherAnswer::Examined { examination: Box::new(self.examination()) })
            }
            LauncherRequest::RemoveLayer { layer } => {
                self.call("removeLayer", None)?;
                self.layers.remove(&layer);
                Ok(LauncherAnswer::Done)
            }
            LauncherRequest::CreateVolume { volume } => {
                self.call("createVolume", None)?;
                self.volumes.insert(volume);
                Ok(LauncherAnswer::Done)
            }
            LauncherRequest::RemoveVolume { volume } => {
                self.call("removeVolume", None)?;
                self.volumes.remove(&volume);
                Ok(LauncherAnswer::Done)
            }
            LauncherRequest::DiskUsage => {
                self.call("diskUsage", None)?;
                let layer =
                    |(id, bytes): (&LayerId, &u64)| DiskUsage { kind: "layer".to_owned(), id: id.to_string(), bytes: *bytes, inodes: 1 };
                Ok(LauncherAnswer::DiskUsage { items: self.layers.iter().map(layer).collect() })
            }
            _ => Err(NodeError::Unexpected { verb: "launcher" }),
        }
    }

    /// The time, when it runs.
    fn running(&mut self, pod: &PodId, container: &ContainerName, verb: &'static str) -> Result<jiff::Timestamp, NodeError> {
        self.call(verb, Some(pod))?;
        let state = self.living(pod)?.container(container).map(|c| c.report.state.clone());
        match state {
            Ok(ContainerState::Running { .. }) => Ok(self.clock.now()),
            _ => Err(NodeError::Refused(RuntimeError::Conflict { message: format!("container {container} is not running") })),
        }
    }

    fn living(&mut self, pod: &PodId) -> Result<&mut Sandbox, NodeError> {
        self.sandboxes.get_mut(pod).filter(|sandbox| sandbox.alive).ok_or(NodeError::NoShim { pod: pod.clone() })
    }

    fn shim(&mut self, pod: &PodId, request: ShimRequest) -> Result<ShimAnswer, NodeError> {
        let verb = match &request {
            ShimRequest::Watch => "watch",
            ShimRequest::State => "state",
            ShimRequest::Create { .. } => "create",
            ShimRequest::Start { .. } => "start",
            ShimRequest::Kill { .. } => "kill",
            ShimRequest::Pause { .. } => "pause",
            ShimRequest::Resume { .. } => "resume",
            ShimRequest::Update { .. } => "update",
            ShimRequest::StopPod => "stopPod",
            _ => "other",
        };
        self.living(pod)?;
        self.call(verb, Some(pod))?;
        let answer = match request {
            ShimRequest::Watch | ShimRequest::State => Ok(ShimAnswer::State { report: self.living(pod)?.report(pod) }),
            ShimRequest::Create { config } => self.create(pod, *config),
            ShimRequest::Start { container } => self.start(pod, &container),
            ShimRequest::Kill { container, signal, .. } => self.kill(pod, &container, signal),
            ShimRequest::Pause { container } => self.freeze(pod, &container, true),
            ShimRequest::Resume { container } => self.freeze(pod, &container, false),
            ShimRequest::Update { container, resources } => self.update(pod, &container, resources),
            ShimRequest::StopPod => {
                let mut sandbox = self.sandboxes.remove(pod);
                sandbox.iter_mut().for_each(Sandbox::hang_up);
                Ok(ShimAnswer::Done)
            }
            // What a kernel would say, in as few words as a page needs.
            ShimRequest::Stats { .. } => Ok(ShimAnswer::Stats { stats: Box::default() }),
            ShimRequest::Cgroup { .. } => {
                let files = [("pids.max".to_owned(), "32".to_owned())].into();
                let controllers = vec![ControllerView { controller: "pids".to_owned(), path: "/sys/fs/cgroup/pids/x".to_owned(), files }];
                Ok(ShimAnswer::Cgroup { view: CgroupView { version: "v1".to_owned(), controllers } })
            }
            ShimRequest::Processes { .. } => Ok(ShimAnswer::Processes { processes: Vec::new(), remaining: 0 }),
            ShimRequest::Namespaces { .. } => Ok(ShimAnswer::Namespaces { namespaces: Vec::new() }),
            ShimRequest::Explain { .. } => Ok(ShimAnswer::Explain { operations: Vec::new() }),
            ShimRequest::Execs { .. } => Ok(ShimAnswer::Execs { execs: Vec::new() }),
            _ => {
                Err(RuntimeError::Unsupported { feature: "this verb".to_owned(), path: String::new(), message: "it is a fake".to_owned() })
            }
        };
        answer.map_err(NodeError::Refused)
    }

    fn create(&mut self, pod: &PodId, config: ContainerConfig) -> Result<ShimAnswer, RuntimeError> {
        let Some(sandbox) = self.sandboxes.get_mut(pod) else { return Err(RuntimeError::NotFound { what: pod.to_string() }) };
        let report = ContainerReport {
            name: config.name.clone(),
            attempt: config.attempt,
            state: ContainerState::Created { pid: self.next_pid },
            oom_kills: 0,
            conditions: Vec::new(),
        };
        sandbox.containers.push(Container { config, report: report.clone() });
        Ok(ShimAnswer::Created { report })
    }

    fn start(&mut self, pod: &PodId, name: &ContainerName) -> Result<ShimAnswer, RuntimeError> {
        let now = self.clock.now();
        self.next_pid += 1;
        let pid = self.next_pid;
        let Some(sandbox) = self.sandboxes.get_mut(pod) else { return Err(RuntimeError::NotFound { what: pod.to_string() }) };
        let container = sandbox.container(name)?;
        let program = container.config.process.argv.first().cloned().unwrap_or_default();
        if program == "missing" {
            return Err(missing(&program));
        }
        container.report.state = ContainerState::Running { pid, started_at: now, paused: false };
        let report = container.report.clone();
        match program.as_str() {
            "true" => self.end(pod, 0, None, false),
            "false" => self.end(pod, 1, None, false),
            _ => {}
        }
        Ok(ShimAnswer::Started { report })
    }

    fn kill(&mut self, pod: &PodId, name: &ContainerName, signal: i32) -> Result<ShimAnswer, RuntimeError> {
        let Some(sandbox) = self.sandboxes.get_mut(pod) else { return Err(RuntimeError::NotFound { what: pod.to_string() }) };
        let container = sandbox.container(name)?;
        let ContainerState::Running { paused, .. } = container.report.state else {
            return Err(RuntimeError::Conflict { message: format!("container {name} is not running") });
        };
        let stubborn = container.config.process.argv.first().is_some_and(|program| program == "stubborn");
        let heard = signal == SIGKILL || !(stubborn || paused);
        // SIGHUP and the like are handled by the program.
        if heard && matches!(signal, 2 | 3 | 9 | 15) {
            self.end(pod, 128 + signal, Some(signal), false);
        }
        Ok(ShimAnswer::Done)
    }

    fn freeze(&mut self, pod: &PodId, name: &ContainerName, freeze: bool) -> Result<ShimAnswer, RuntimeError> {
        let Some(sandbox) = self.sandboxes.get_mut(pod) else { return Err(RuntimeError::NotFound { what: pod.to_string() }) };
        match &mut sandbox.container(name)?.report.state {
            ContainerState::Running { paused, .. } => {
                *paused = freeze;
                Ok(ShimAnswer::Done)
            }
            _ => Err(RuntimeError::Conflict { message: format!("container {name} is not running") }),
        }
    }

    fn update(&mut self, pod: &PodId, name: &ContainerName, resources: Resources) -> Result<ShimAnswer, RuntimeError> {
        let Some(sandbox) = self.sandboxes.get_mut(pod) else { return Err(RuntimeError::NotFound { what: pod.to_string() }) };
        sandbox.container(name)?.config.resources = resources;
        Ok(ShimAnswer::Done)
    }
}

impl Machine {
    fn examination(&self) -> Examination {
        Examination {
            facts: facts(),
            storage: FileSystem { kind: "ext4".to_owned(), total_bytes: 1 << 40, free_bytes: 1 << 39, total_inodes: 0, free_inodes: 0 },
            descriptors: Descriptors { soft: 65_536, hard: 65_536, open: 10, most: 100_000 },
            clock_synchronised: Some(true),
            tools: BTreeMap::new(),
            inventory: Inventory {
                run_dirs: self.sandboxes.iter().map(|(pod, one)| RunDirFound { pod: pod.clone(), alive: one.alive }).collect(),
                pods: self.data.iter().cloned().collect(),
                layers: self.layers.keys().map(ToString::to_string).collect(),
                volumes: self.volumes.iter().map(ToString::to_string).collect(),
                ..Inventory::default()
            },
        }
    }
}

fn facts() -> HostFacts {
    HostFacts {
        kernel: "6.1.0".to_owned(),
        architecture: "x86_64".to_owned(),
        hostname: "fake".to_owned(),
        boot_id: "00000000-0000-0000-0000-000000000000".to_owned(),
        cpus: 2,
        memory_bytes: 4 << 30,
        cgroup_mode: "v2".to_owned(),
        controllers: ["cpu", "io", "memory", "pids"].map(str::to_owned).into(),
        features: [("swap-accounting".to_owned(), "available".to_owned())].into(),
        runtime_version: "0.0.0".to_owned(),
        protocol: runtime::protocol::PROTOCOL_VERSION,
    }
}

impl Node for FakeNode {
    fn launcher(&self, request: LauncherRequest) -> Answer<'_, LauncherAnswer> {
        let answer = self.lock().launcher(request);
        Box::pin(async move { answer })
    }

    /// The layer's id is the digest of the bytes as they come. Bytes that begin with `bad` are refused.
    fn import_layer(&self, _limits: ImportLimits, mut body: LayerBody) -> Answer<'_, ImportedLayer> {
        Box::pin(async move {
            self.lock().call("importLayer", None)?;
            let mut bytes = Vec::new();
            let broken = body.read_to_end(&mut bytes).await.err();
            if bytes.starts_with(b"bad") {
                let message = "is not a tar".to_owned();
                return Err(NodeError::Refused(RuntimeError::BadArchive { entry: "../x".to_owned(), message }));
            }
            let digest = crate::store::hex(&Sha256::digest(&bytes));
            let layer: LayerId = digest.parse().map_err(|_| NodeError::Unexpected { verb: "importLayer" })?;
            let size = bytes.len() as u64;
            self.lock().layers.insert(layer.clone(), size);
            match broken {
                Some(source) => Err(NodeError::Body { source: Arc::new(source), layers: vec![layer] }),
                None => Ok(ImportedLayer { layer, size, entries: 1, compressed_digest: format!("sha256:{digest}") }),
            }
        })
    }

    /// The body is the answer's images as JSON; anything else is refused.
    fn load_archive(&self, _limits: ImportLimits, _platform: Option<String>, mut body: LayerBody) -> Answer<'_, LoadedArchive> {
        Box::pin(async move {
            self.lock().call("loadArchive", None)?;
            let mut bytes = Vec::new();
            let broken = body.read_to_end(&mut bytes).await.err();
            let Ok(images) = serde_json::from_slice::<Vec<LoadedImage>>(&bytes) else {
                let message = "no image in it".to_owned();
                return Err(NodeError::Refused(RuntimeError::BadArchive { entry: "index.json".to_owned(), message }));
            };
            let layers: Vec<_> = images.iter().flat_map(|image| &image.layers).cloned().collect();
            self.lock().layers.extend(layers.iter().map(|layer| (layer.layer.clone(), layer.size)));
            match broken {
                Some(source) => {
                    let layers = layers.into_iter().map(|layer| layer.layer).collect();
                    Err(NodeError::Body { source: Arc::new(source), layers })
                }
                None => Ok(LoadedArchive { images, notes: Vec::new() }),
            }
        })
    }

    /// There are no files here.
    fn copy_out(&self, _request: LauncherRequest) -> Answer<'_, CopiedOut> {
        let error = self.lock().call("copyOut", None).err();
        Box::pin(async move { Err(error.unwrap_or(NodeError::Unexpected { verb: "copyOut" })) })
    }

    fn export_layers(&self, _layers: Vec<LayerId>) -> Answer<'_, (Vec<ExportedLayer>, TarPieces)> {
        let error = self.lock().call("exportLayers", None).err();
        Box::pin(async move { Err(error.unwrap_or(NodeError::Unexpected { verb: "exportLayers" })) })
    }

    /// Takes the body, and knows nothing of it.
    fn upload(&self, _request: LauncherRequest, mut body: LayerBody) -> Answer<'_, LauncherAnswer> {
        Box::pin(async move {
            self.lock().call("upload", None)?;
            let bytes = tokio::io::copy(&mut body, &mut tokio::io::sink()).await;
            let bytes = bytes.map_err(|source| NodeError::Body { source: Arc::new(source), layers: Vec::new() })?;
            Ok(LauncherAnswer::Copied { entries: 0, bytes })
        })
    }

    fn shim<'a>(&'a self, pod: &'a PodId, request: ShimRequest) -> Answer<'a, ShimAnswer> {
        let answer = self.lock().shim(pod, request);
        Box::pin(async move { answer })
    }

    fn attach<'a>(&'a self, pod: &'a PodId, then: Vec<ShimRequest>) -> Answer<'a, (Attachment, Vec<Result<ShimAnswer, NodeError>>)> {
        let mut machine = self.lock();
        let outcome = machine.shim(pod, ShimRequest::Watch).and_then(|answer| {
            let ShimAnswer::State { report } = answer else { return Err(NodeError::Unexpected { verb: "watch" }) };
            let (tell, notices) = mpsc::unbounded_channel();
            machine.living(pod)?.watchers.push(tell);
            let answers = then.into_iter().map(|request| machine.shim(pod, request)).collect();
            Ok((Attachment { report, notices }, answers))
        });
        drop(machine);
        Box::pin(async move { outcome })
    }

    /// `echo` prints its arguments, `false` ends with 1, `missing` does not start.
    fn exec<'a>(&'a self, pod: &'a PodId, container: &'a ContainerName, config: ExecConfig) -> Answer<'a, Session> {
        Box::pin(async move {
            self.lock().running(pod, container, "exec")?;
            let (tell, output) = mpsc::channel(4);
            let program = config.argv.first().cloned().unwrap_or_default();
            let first = match program.as_str() {
                "missing" => return Err(NodeError::Refused(missing(&program))),
                "echo" => Output::Stdout(format!("{}\n", config.argv[1..].join(" ")).into_bytes()),
                _ => Output::Stdout(Vec::new()),
            };
            let _ = tell.send(Ok(first)).await;
            let _ = tell.send(Ok(Output::Exited { exit_code: i32::from(program == "false"), signal: None, timed_out: false })).await;
            Ok(Session::fake(output, pod))
        })
    }

    /// It says nothing, and never ends.
    fn converse<'a>(&'a self, pod: &'a PodId, container: &'a ContainerName) -> Answer<'a, (Session, Attached)> {
        Box::pin(async move {
            let now = self.lock().running(pod, container, "converse")?;
            let (tell, output) = mpsc::channel(1);
            tokio::spawn(async move { tell.closed().await });
            Ok((Session::fake(output, pod), Attached { at: now, unfinished: [Vec::new(), Vec::new()] }))
        })
    }
}
