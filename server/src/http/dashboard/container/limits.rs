//! What was asked for beside what the kernel states.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use runtime::status::{CgroupView, Stats};
use serde_json::{Map, Value, json};
use web::format;
use web::pages::{CreateForm, Gauge, Limit, Limits, Pressure, Setting};

use super::Look;
use crate::http::containers::patch::patch_container;
use crate::http::containers::views;
use crate::http::dashboard::ask::patiently;
use crate::http::dashboard::form::{self, Fields};
use crate::http::dashboard::visit::{html, with_flash};
use crate::http::error::ApiResult;
use crate::http::extract::json::FieldValidation;
use crate::http::extract::{ApiPath, IfMatch, MergePatch};
use crate::model::container::Resources;

/// Resource, the files of both cgroup versions that state its limit.
const FILES: &[(&str, &[&str])] = &[
    ("memory", &["memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.max", "memory.peak"]),
    ("swap", &["memory.memsw.limit_in_bytes", "memory.swap.max"]),
    ("cpu", &["cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.max"]),
    ("shares", &["cpu.shares", "cpu.weight"]),
    ("cpuset", &["cpuset.cpus", "cpuset.cpus.effective"]),
    ("pids", &["pids.max"]),
    (
        "io",
        &[
            "blkio.throttle.read_bps_device",
            "blkio.throttle.write_bps_device",
            "blkio.throttle.read_iops_device",
            "blkio.throttle.write_iops_device",
            "io.max",
        ],
    ),
];

/// The limits that the form changes: its fields, and their names in the spec.
const FIELDS: [&str; 6] = ["memory", "memorySwap", "cpu", "cpuShares", "cpuset", "pids"];

/// `POST /containers/{name}/limits`: the merge patch that a client would send.
pub(super) async fn change(look: Look, fields: Fields) -> ApiResult<Response> {
    let name = look.record.meta.name.clone();
    let (resources, mut unread) = form::resources(&fields);
    if unread.is_empty() {
        let patch = match json!({"spec": {"resources": resources}}) {
            Value::Object(patch) => patch,
            _ => Map::new(),
        };
        let patch = MergePatch { patch, validation: FieldValidation::Strict };
        match patch_container(State(look.state.clone()), ApiPath(name.clone()), IfMatch::Any, patch).await {
            Ok(_) => {
                let page = format!("{}/limits", web::routes::container(&name, &look.record.meta.uid));
                return Ok(Redirect::to(&with_flash(&page, "limits", &name)).into_response());
            }
            Err(error) if error.errors().is_empty() => return Err(error),
            Err(error) => unread = error.errors().to_vec(),
        }
    }
    let errors = unread.into_iter().map(|fault| web::pages::FieldError { path: fault.path, message: fault.message }).collect();
    let form = CreateForm { values: fields, errors };
    Ok((StatusCode::UNPROCESSABLE_ENTITY, shown(look, Some(form)).await?).into_response())
}

pub(super) async fn page(look: Look) -> ApiResult<Html<String>> {
    shown(look, None).await
}

/// With the form as it was typed, or with what is asked for now.
async fn shown(look: Look, form: Option<CreateForm>) -> ApiResult<Html<String>> {
    let view = if look.runs() { patiently(views::cgroup::view(&look.state, &look.record)).await? } else { CgroupView::default() };
    let stats = look.stats().await.unwrap_or_default();
    let resources = &look.record.spec.resources;
    // The spec as its author wrote it: `64Mi` and not its bytes.
    let written: Value = serde_json::from_str(&look.record.spec_json).unwrap_or_default();
    let rows = FILES.iter().map(|(resource, files)| Limit {
        resource,
        asked: asked(&written["resources"], resource),
        kernel: settings(&view, files),
        usage: usage(resource, resources, &stats),
    });
    let live = look.runs();
    let form = form.unwrap_or_else(|| {
        let present = |field: &str| text(&written["resources"][field]).map(|value| (field.to_owned(), value));
        CreateForm { values: FIELDS.iter().filter_map(|field| present(field)).collect(), errors: Vec::new() }
    });
    html(&Limits {
        rows: rows.filter(|row| row.asked.is_some() || row.kernel.iter().any(|setting| !setting.value.is_empty())).collect(),
        pressure: pressure(&stats),
        effects: effects(&stats),
        form,
        live,
        frame: {
            let calls = [look.api(""), look.api("/cgroup"), look.api("/stats")];
            look.visit.calls(calls)
        },
        head: look.head,
    })
}

fn asked(resources: &Value, resource: &str) -> Option<String> {
    let value = match resource {
        "swap" => &resources["memorySwap"],
        "shares" => &resources["cpuShares"],
        other => &resources[other],
    };
    text(value)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn settings(view: &CgroupView, files: &[&str]) -> Vec<Setting> {
    let all = files.iter().flat_map(|file| view.controllers.iter().filter_map(|controller| controller.files.get_key_value(*file)));
    all.map(|(file, value)| Setting { file: file.clone(), value: value.trim().to_owned() }).collect()
}

fn usage(resource: &str, asked: &Resources, stats: &Stats) -> Gauge {
    match resource {
        "memory" => Gauge::bytes(stats.memory.working_set_bytes.or(stats.memory.usage_bytes), asked.memory.map(|bytes| bytes.0)),
        "swap" => Gauge::bytes(stats.memory.swap_bytes, asked.memory_swap.map(|bytes| bytes.0)),
        "cpu" => Gauge::cores(None, asked.cpu.map(|cpu| cpu.millis as f64 / 1000.0)),
        "pids" => Gauge::count(stats.pids.current, asked.pids),
        _ => Gauge::default(),
    }
}

fn pressure(stats: &Stats) -> Vec<Pressure> {
    let row = |(resource, pressure): (&String, &runtime::status::Pressure)| Pressure {
        resource: resource.clone(),
        some_avg10: pressure.some_avg10,
        some_avg60: pressure.some_avg60,
        some_avg300: pressure.some_avg300,
        full_avg10: pressure.full_avg10,
    };
    stats.pressure.iter().map(row).collect()
}

/// Only what this kernel counts.
fn effects(stats: &Stats) -> Vec<(&'static str, String)> {
    let throttled = stats.cpu.throttled_periods.map(|throttled| {
        let periods = stats.cpu.periods.map(|periods| format!(" / {}", format::grouped(periods))).unwrap_or_default();
        format!("{}{periods}", format::grouped(throttled))
    });
    [
        ("effect.oom", stats.memory.oom_kills.map(format::grouped)),
        ("effect.failcnt", stats.memory.fail_count.map(format::grouped)),
        ("effect.throttled", throttled),
        ("effect.throttled.time", stats.cpu.throttled_nanos.map(format::nanos)),
        ("effect.pids.refused", stats.pids.refused.map(format::grouped)),
    ]
    .into_iter()
    .filter_map(|(key, value)| value.map(|value| (key, value)))
    .collect()
}
