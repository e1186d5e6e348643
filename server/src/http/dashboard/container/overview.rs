//! What a container is, from its spec, its image and its status.

use runtime::status::Stats;
use web::format;
use web::pages::{End, Gauge, MountRow, Overview, PortRow, State};

use super::Look;
use crate::http::dashboard::convert::pairs;
use crate::model::container::{MountType, Namespaces, Protocol, RestartPolicyName};
use crate::model::{ContainerSpec, signal};
use crate::node::convert as down;
use crate::store::ContainerRecord;

pub(super) fn page(look: Look, stats: Option<&Stats>) -> Overview {
    let Look { state, record, visit, head } = look;
    let (spec, status) = (&record.spec, &record.status);
    let image = state.store.image_by_id(&record.image);
    // What the process gets is said by the same code that starts it; a spec that cannot be started shows what it says itself.
    let process = image.as_ref().and_then(|image| down::process(&record, &image.oci.config).ok());
    let env = process.iter().flat_map(|process| &process.env).filter_map(|line| line.split_once('='));
    let resources = &spec.resources;
    let memory = stats.map(|stats| stats.memory.working_set_bytes.or(stats.memory.usage_bytes));
    Overview {
        end: end(&record, head.badge.state),
        command: process.as_ref().map_or_else(|| spec.command.clone().unwrap_or_default(), |process| process.argv.clone()),
        working_dir: process.as_ref().map_or_else(|| "/".to_owned(), |process| process.cwd.clone()),
        user: process.as_ref().map(|process| process.user.clone()).filter(|user| !user.is_empty()).unwrap_or_else(|| "root".to_owned()),
        hostname: down::hostname(&record.meta, spec),
        image_digest: status.image_digest.clone().or_else(|| Some(format!("sha256:{}", record.image))),
        uid_base: record.uid_base(),
        isolation: isolation(&spec.namespaces),
        memory: Gauge::bytes(memory.flatten(), resources.memory.map(|bytes| bytes.0)),
        cpu: Gauge::cores(None, resources.cpu.map(|cpu| cpu.millis as f64 / 1000.0)),
        pids: Gauge::count(stats.and_then(|stats| stats.pids.current), resources.pids),
        figures: stats.map(figures).unwrap_or_default(),
        restart_policy: restart_policy(spec),
        stop_signal: signal::name(down::stop_signal(spec, image.as_deref())),
        stop_timeout: spec.stop_timeout_seconds.unwrap_or(10),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        mounts: mounts(spec),
        ports: ports(spec),
        labels: pairs(&record.meta.labels),
        conditions: status.conditions.clone(),
        frame: visit.calls([format!("/api/v1/containers/{}", record.meta.name)]),
        head,
    }
}

/// What moves is a rate, which one sample does not tell: the script fills it in.
fn figures(stats: &Stats) -> Vec<(&'static str, String)> {
    const UNKNOWN: &str = "–";
    let mut figures: Vec<_> = stats.memory.peak_bytes.map(|peak| ("figure.peak", format::bytes(peak))).into_iter().collect();
    figures.extend([("figure.read", UNKNOWN.to_owned()), ("figure.write", UNKNOWN.to_owned())]);
    for (resource, key) in [("cpu", "figure.pressure-cpu"), ("memory", "figure.pressure-memory"), ("io", "figure.pressure-io")] {
        figures.extend(stats.pressure.get(resource).map(|pressure| (key, format!("{:.1} %", pressure.some_avg10))));
    }
    figures
}

fn end(record: &ContainerRecord, state: State) -> Option<End> {
    let status = &record.status;
    let failed = status.reason.as_deref() == Some("StartError") && !state.is_up();
    let ended = failed || matches!(state, State::Exited | State::Dead | State::Restarting);
    (ended && (status.finished_at.is_some() || status.reason.is_some())).then(|| End {
        code: status.exit_code,
        signal: status.signal.clone(),
        oom_killed: status.oom_killed,
        oom_kills: status.oom_kills,
        memory_limit: record.spec.resources.memory.map(|bytes| bytes.0),
        memory_peak: status.memory_peak,
        reason: status.reason.clone(),
        message: status.message.clone().filter(|message| !message.is_empty()),
        ran: status.started_at.is_some() && status.reason.as_deref() != Some("StartError"),
    })
}

fn isolation(namespaces: &Namespaces) -> Vec<(String, String)> {
    [
        ("pid", namespaces.pid.as_str()),
        ("mnt", "private"),
        ("net", &namespaces.network),
        ("ipc", &namespaces.ipc),
        ("uts", &namespaces.uts),
        ("user", &namespaces.user),
        ("cgroup", &namespaces.cgroup),
    ]
    .map(|(kind, mode)| (kind.to_owned(), mode.to_owned()))
    .into()
}

fn restart_policy(spec: &ContainerSpec) -> String {
    let policy = &spec.restart_policy;
    let name = match policy.name {
        RestartPolicyName::No => "no",
        RestartPolicyName::OnFailure => "on-failure",
        RestartPolicyName::Always => "always",
        RestartPolicyName::UnlessStopped => "unless-stopped",
    };
    match policy.maximum_retry_count {
        Some(count) => format!("{name} ({count})"),
        None => name.to_owned(),
    }
}

fn mounts(spec: &ContainerSpec) -> Vec<MountRow> {
    let row = |mount: &crate::model::container::Mount| MountRow {
        kind: match mount.kind {
            MountType::Bind => "bind",
            MountType::Volume => "volume",
            MountType::Tmpfs => "tmpfs",
        }
        .to_owned(),
        source: mount.source.clone().unwrap_or_default(),
        target: mount.target.clone(),
        read_only: mount.read_only,
    };
    spec.mounts.iter().map(row).collect()
}

fn ports(spec: &ContainerSpec) -> Vec<PortRow> {
    let row = |port: &crate::model::container::Port| PortRow {
        host: format!("{}:{}", port.host_ip.as_deref().unwrap_or("127.0.0.1"), port.host_port.unwrap_or(port.container_port)),
        container: format!("{}/{}", port.container_port, if port.protocol == Protocol::Tcp { "TCP" } else { "UDP" }),
    };
    spec.ports.iter().map(row).collect()
}
