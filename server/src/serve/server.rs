//! The second phase: from descriptors to a server that answers, until a signal.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use runtime::id::InstanceId;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{ServeError, launcher};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::http::accept::{self, Limits, Listener, Slots};
use crate::http::auth::registry::Registry;
use crate::http::auth::secret::Secret;
use crate::http::router;
use crate::http::state::{App, AppState};
use crate::http::stream;
use crate::model::Role;
use crate::node::{NodeError, SocketNode};
use crate::store::Store;

/// How long the launcher may take to listen.
const LAUNCHER_WITHIN: Duration = Duration::from_secs(10);

/// After this it is not starting any more.
const SETTLED_AFTER: Duration = Duration::from_millis(500);
/// From the first signal to the end of requests (they have 10 s for themselves) and workers.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(15);
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// What either way of starting ends up with.
#[derive(Debug)]
pub(super) struct Prepared {
    pub config: Config,
    pub instance: InstanceId,
    pub listener: UnixListener,
    /// None when the launcher is a unit of its own.
    pub lifeline: Option<UnixStream>,
    /// Held until the process ends.
    pub lock: File,
}

/// Runs until SIGTERM or SIGINT.
pub(super) fn run(prepared: Prepared) -> Result<(), ServeError> {
    // Requests are short and the store answers from memory: more threads would only cost memory.
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 4);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("berth")
        .enable_all()
        .build()
        .map_err(|source| ServeError::Runtime { source })?;
    let outcome = runtime.block_on(serve(prepared));
    // What blocks in a thread of its own (a read of a log, say) is not waited for.
    runtime.shutdown_background();
    outcome
}

async fn serve(prepared: Prepared) -> Result<(), ServeError> {
    let Prepared { mut config, instance, listener, lifeline, lock } = prepared;
    let started = Instant::now();
    let mut signals = Signals::new()?;
    let tcp =
        tokio::net::TcpListener::bind(config.listen).await.map_err(|source| ServeError::BindTcp { address: config.listen, source })?;
    // Port 0 asks the kernel for any: links, cookies and the Host check need the one that it gave.
    config.listen = tcp.local_addr().map_err(|source| ServeError::BindTcp { address: config.listen, source })?;
    let unix =
        tokio::net::UnixListener::from_std(listener).map_err(|source| ServeError::BindSocket { path: config.socket.clone(), source })?;
    let store = Store::open_as(&config.db_dir().join("berth.db"), Arc::new(SystemClock), Some(&instance)).await?;
    let login = first_token(&store, &config).await?;
    let node = Arc::new(SocketNode::new(&config.run_dir));
    let state = App::new(config, store.clone(), node, Registry::load(store.clone()).await?, started);

    let shutdown = state.shutdown.clone();
    let slots = Slots::new(Limits::default());
    let app = router::app(Arc::clone(&state));
    let over_tcp = tokio::spawn(accept::serve(Listener::Tcp(tcp), app.clone(), Arc::clone(&slots), shutdown.clone()));
    let over_unix = tokio::spawn(accept::serve(Listener::Unix(unix), app, slots, shutdown.clone()));
    if let Some(lifeline) = lifeline {
        tokio::spawn(watch_launcher(lifeline, shutdown.clone()));
    }
    first_look(&state).await?;
    say_ready(&state, login.as_deref());
    tokio::spawn(async {
        tokio::time::sleep(SETTLED_AFTER).await;
        // Most of what starting touches is not needed again: routes, the API's document, migrations.
        runtime::sys::process::give_text_back();
    });

    signals.wait().await;
    tracing::info!("shutting down: containers go on running");
    runtime::notify::notify("STOPPING=1");
    shutdown.cancel();
    let drained = async {
        for listener in [over_tcp, over_unix] {
            if let Err(error) = listener.await {
                tracing::error!(%error, "a listener ended badly");
            }
        }
        // Sessions are no longer connections of a listener: each says goodbye to its client first.
        stream::all_ended(&state.streams, Limits::default().drain).await;
        state.reconciler.shutdown().await;
    };
    // Whoever is impatient is obeyed: what was answered is on disk already.
    tokio::select! {
        () = drained => {}
        () = signals.wait() => tracing::warn!("a second signal: requests under way are cut off"),
        () = tokio::time::sleep(SHUTDOWN_WITHIN) => tracing::warn!("requests or workers under way are cut off: they did not finish in time"),
    }
    if tokio::time::timeout(CLOSE_WITHIN, store.close()).await.is_err() {
        tracing::error!("the store did not close in time: its log is taken up at the next start");
    }
    drop(lock);
    Ok(())
}

/// The link that logs a browser in, when there is no token yet: made, stored as a hash, shown this once.
async fn first_token(store: &Store, config: &Config) -> Result<Option<String>, ServeError> {
    if config.no_auth_on_loopback || !store.tokens().is_empty() {
        return Ok(None);
    }
    // See "Automatic environment variables" in systemd.exec(5). A journal is kept, and more people read it than root.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        tracing::info!("there is no token yet: `berth token create`, as root, makes one and prints a login link");
        return Ok(None);
    }
    let secret = Secret::token();
    store.create_token("first", Role::Admin, secret.hash().to_hex()).await?;
    Ok(Some(crate::http::login::link(config.listen, &secret)))
}

/// Waits until the launcher listens (it was started a moment ago), then looks at everything there is.
async fn first_look(state: &AppState) -> Result<(), ServeError> {
    let give_up = Instant::now() + LAUNCHER_WITHIN;
    let mut pause = Duration::from_millis(1);
    loop {
        match state.facts().await {
            Ok(facts) if facts.protocol == runtime::protocol::PROTOCOL_VERSION => break,
            Ok(facts) => return Err(ServeError::LauncherVersion { version: facts.runtime_version.clone(), theirs: facts.protocol }),
            Err(NodeError::Launcher { .. }) if Instant::now() < give_up => {
                // It makes its socket when it is ready, and no event of the file system says that somebody listens there.
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(50));
            }
            Err(source) => return Err(ServeError::Launcher { source }),
        }
    }
    state.reconciler.sweep().await.map_err(|source| ServeError::Launcher { source })?;
    // Nobody waits for this: what a crash left of an import is in nobody's way.
    let images = state.images.clone();
    tokio::spawn(async move {
        if let Err(error) = images.sweep().await {
            tracing::warn!(%error, "what interrupted imports left stays until the next start");
        }
    });
    Ok(())
}

/// To whoever started us: people read standard output, systemd its socket.
fn say_ready(state: &AppState, login: Option<&str>) {
    let (listen, socket) = (state.config.listen, state.config.socket.display());
    let mut text = login.map(|link| format!("berth: log in once at {link} (not shown again)\n")).unwrap_or_default();
    text.push_str(&format!("berth ready: http://{listen} unix:{socket}\n"));
    // A closed standard output is no reason not to serve.
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    runtime::notify::notify("READY=1");
}

/// Without the launcher nothing new can be started; what runs goes on, and this process goes on showing it.
async fn watch_launcher(lifeline: UnixStream, shutdown: CancellationToken) {
    let gone = launcher::gone(lifeline).await;
    if !shutdown.is_cancelled() {
        tracing::error!(error = ?gone.err(), "the launcher is gone: containers run on, new ones cannot be started; restart berth");
    }
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, ServeError> {
        let listen = |kind| signal(kind).map_err(|source| ServeError::Signals { source });
        Ok(Signals { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
