//! `GET /metrics`.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use runtime::status::Stats;

use super::get::counts;
use crate::http::containers::views::stats::sample;
use crate::http::health::VERSION;
use crate::http::metrics::{label, single};
use crate::http::state::{App, AppState};
use crate::model::Phase;
use crate::store::ContainerRecord;

/// Shims asked at once.
const AT_ONCE: usize = 32;
/// One that does not answer is left out: a scrape must not hang on a container.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Figures for Prometheus: the API, counts, and each running container's cgroup.
#[utoipa::path(get, path = "/metrics", operation_id = "getMetrics", tag = "system", security(("token" = ["viewer"])),
    responses((status = 200, description = "The figures in Prometheus's text format", body = String, content_type = "text/plain")))]
pub async fn get_metrics(State(state): State<AppState>) -> Response {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "# HELP berth_build_info What was built.\n# TYPE berth_build_info gauge\nberth_build_info{{version=\"{}\"}} 1",
        VERSION.version
    );
    single(&mut text, "berth_uptime_seconds", "gauge", "Since this control plane started.", state.started.elapsed().as_secs());
    write_counts(&mut text, &state);
    state.metrics.write(&mut text);
    write_containers(&mut text, &samples(&state).await);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

fn write_counts(text: &mut String, state: &App) {
    let counts = counts(state);
    let _ = writeln!(text, "# HELP berth_containers Containers by phase.\n# TYPE berth_containers gauge");
    for (phase, count) in counts.containers {
        let _ = writeln!(text, "berth_containers{{phase=\"{phase}\"}} {count}");
    }
    single(text, "berth_images", "gauge", "Images on this machine.", counts.images);
    single(text, "berth_volumes", "gauge", "Named volumes.", counts.volumes);
    single(text, "berth_resource_version", "counter", "Changes of wishes and facts so far.", state.store.resource_version());
    let figures = state.reconciler.figures();
    single(text, "berth_reconcile_total", "counter", "Times that a container's wish was compared with the facts.", figures.passes);
    single(text, "berth_reconcile_errors_total", "counter", "Of these, those that have to be tried again.", figures.failures);
    single(text, "berth_reconcile_workers", "gauge", "Containers that are looked after.", figures.workers);
    let open = crate::http::stream::MAX_STREAMS - state.streams.available_permits();
    single(text, "berth_streams_open", "gauge", "Long answers under way.", open);
}

/// One sample of each container that runs.
async fn samples(state: &AppState) -> Vec<(Arc<ContainerRecord>, Stats)> {
    let running = state.store.all_containers().into_iter().filter(|record| matches!(record.status.phase, Phase::Running | Phase::Paused));
    let asked = running.map(|record| async move {
        let stats = tokio::time::timeout(ANSWER_WITHIN, sample(state, &record)).await.ok()?.ok()?;
        Some((record, stats))
    });
    stream::iter(asked).buffered(AT_ONCE).filter_map(std::future::ready).collect().await
}

/// A name, its kind, its help, and the figure in a sample.
type Family = (&'static str, &'static str, &'static str, fn(&Stats) -> Option<f64>);

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no integers: its figures are 64-bit floats")]
const FAMILIES: &[Family] = &[
    ("berth_container_cpu_seconds_total", "counter", "CPU time used.", |s| s.cpu.usage_nanos.map(|n| n as f64 / 1e9)),
    ("berth_container_cpu_throttled_seconds_total", "counter", "Time held back by the CPU limit.", |s| {
        s.cpu.throttled_nanos.map(|n| n as f64 / 1e9)
    }),
    ("berth_container_memory_usage_bytes", "gauge", "Memory charged.", |s| s.memory.usage_bytes.map(|n| n as f64)),
    ("berth_container_memory_working_set_bytes", "gauge", "Memory charged, less inactive file cache.", |s| {
        s.memory.working_set_bytes.map(|n| n as f64)
    }),
    ("berth_container_memory_limit_bytes", "gauge", "Memory limit.", |s| s.memory.limit_bytes.map(|n| n as f64)),
    ("berth_container_oom_kills_total", "counter", "Kills for want of memory.", |s| s.memory.oom_kills.map(|n| n as f64)),
    ("berth_container_pids", "gauge", "Processes and threads.", |s| s.pids.current.map(|n| n as f64)),
    ("berth_container_io_read_bytes_total", "counter", "Bytes read from devices.", |s| {
        Some(s.io.iter().map(|io| io.read_bytes).sum::<u64>() as f64)
    }),
    ("berth_container_io_write_bytes_total", "counter", "Bytes written to devices.", |s| {
        Some(s.io.iter().map(|io| io.write_bytes).sum::<u64>() as f64)
    }),
    ("berth_container_network_receive_bytes_total", "counter", "Bytes received.", |s| {
        Some(s.network.values().map(|n| n.rx_bytes).sum::<u64>() as f64)
    }),
    ("berth_container_network_transmit_bytes_total", "counter", "Bytes sent.", |s| {
        Some(s.network.values().map(|n| n.tx_bytes).sum::<u64>() as f64)
    }),
];

fn write_containers(text: &mut String, samples: &[(Arc<ContainerRecord>, Stats)]) {
    for (name, kind, help, figure) in FAMILIES {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (record, stats) in samples {
            if let Some(value) = figure(stats) {
                let _ = writeln!(text, "{name}{{name=\"{}\",uid=\"{}\"}} {value}", label(&record.meta.name), record.uid);
            }
        }
    }
}
