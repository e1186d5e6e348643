//! `GET /containers`.

use axum::extract::{Query, State};
use axum::response::Html;
use jiff::Timestamp;
use serde::Deserialize;
use web::pages::{ContainerRow, Containers, Gauge, State as PageState};

use super::convert;
use super::visit::{Visit, html};
use crate::http::error::ApiResult;
use crate::http::state::AppState;
use crate::model::selector::Selector;
use crate::store::{ContainerRecord, ListQuery};

const PAGE: usize = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Wanted {
    label_selector: String,
    phase: String,
    #[serde(rename = "continue")]
    token: String,
}

pub(super) async fn page(State(state): State<AppState>, visit: Visit, Query(wanted): Query<Wanted>) -> ApiResult<Html<String>> {
    let phase = PageState::from_code(&wanted.phase);
    // A selector that is wrong is shown with its fault above the whole list.
    let (selector, selector_error) = match wanted.label_selector.parse::<Selector>() {
        Ok(selector) => (selector, None),
        Err(error) => (Selector::default(), Some(error.to_string())),
    };
    let query = ListQuery {
        selector,
        phase: phase.map(convert::phase),
        limit: Some(PAGE),
        continue_token: Some(wanted.token.clone()).filter(|token| !token.is_empty()),
    };
    let page = state.store.list_containers(&query)?;
    let now = visit.now;
    html(&Containers {
        rows: page.items.iter().map(|record| row(record, now)).collect(),
        selector: wanted.label_selector.trim().to_owned(),
        selector_error,
        phase,
        remaining: page.meta.remaining_item_count,
        next: Some(page.meta.continue_token).filter(|token| !token.is_empty()),
        later_page: query.continue_token.is_some(),
        has_images: !state.store.images().is_empty(),
        frame: visit.calls([format!("/api/v1/containers?limit={PAGE}")]),
    })
}

fn row(record: &ContainerRecord, now: Timestamp) -> ContainerRow {
    let (status, resources) = (&record.status, &record.spec.resources);
    let badge = convert::badge(record);
    let since = match badge.state {
        PageState::Running | PageState::Paused => status.started_at,
        PageState::Exited | PageState::Dead | PageState::Restarting => status.finished_at,
        PageState::Created => Some(record.meta.creation_timestamp),
    };
    ContainerRow {
        name: record.meta.name.clone(),
        uid: record.meta.uid.clone(),
        pid: status.pid.filter(|_| badge.state.is_up()),
        image: convert::image_name(&record.spec.image),
        since: since.map(|time| convert::moment(time, now)),
        restarts: status.restart_count,
        memory: Gauge::bytes(None, resources.memory.map(|bytes| bytes.0)),
        cpu: Gauge::cores(None, resources.cpu.map(|cpu| cpu.millis as f64 / 1000.0)),
        labels: convert::pairs(&record.meta.labels),
        badge,
    }
}
