//! `GET /containers/{name}` and the ways of looking at it.

mod cgroup;
mod explain;
mod limits;
mod logs;
mod namespaces;
mod overview;
mod processes;
mod terminal;

use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use runtime::status::Stats;
use serde::Deserialize;
use web::pages::{self, Head, Tab};

use super::ask::patiently;
use super::form::Fields;
use super::visit::{Visit, html};
use super::{actions, convert, events};
use crate::http::auth::Caller;
use crate::http::containers::views::stats;
use crate::http::error::{ApiError, ApiResult, ErrorCode};
use crate::http::state::AppState;
use crate::store::{ContainerRecord, EventFilter};

/// Events shown of one container.
const EVENTS: usize = 200;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    /// `delete` opens that question.
    ask: String,
    q: String,
    stream: String,
    tail: String,
}

/// Someone looking at one container.
struct Look {
    state: AppState,
    record: Arc<ContainerRecord>,
    visit: Visit,
    head: Head,
}

impl Look {
    fn at(state: AppState, name: &str, visit: Visit, ask: &str) -> ApiResult<Look> {
        let record = state.store.container(name)?;
        let head = convert::head(&record, &visit.frame, visit.now, ask == "delete");
        Ok(Look { state, record, visit, head })
    }

    fn runs(&self) -> bool {
        self.head.badge.state.is_up()
    }

    fn api(&self, part: &str) -> String {
        format!("/api/v1/containers/{}{part}", self.record.meta.name)
    }

    async fn stats(&self) -> Option<Stats> {
        if self.runs() { patiently(stats::sample(&self.state, &self.record)).await.ok() } else { None }
    }
}

pub(super) async fn overview(
    State(state): State<AppState>,
    Path(name): Path<String>,
    visit: Visit,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Html<String>> {
    let look = Look::at(state, &name, visit, &wanted.ask)?;
    let stats = look.stats().await;
    html(&overview::page(look, stats.as_ref()))
}

pub(super) async fn part(
    State(state): State<AppState>,
    Path((name, part)): Path<(String, String)>,
    visit: Visit,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    // Where a form was sent to, asked for again: what it did is not repeated, its container is shown.
    if part == "exec" || actions::VERBS.contains(&part.as_str()) {
        let record = state.store.container(&name)?;
        let page = web::routes::container(&record.meta.name, &record.meta.uid);
        return Ok(Redirect::to(&if part == "exec" { format!("{page}/terminal") } else { page }).into_response());
    }
    let tab = Tab::from_segment(&part).filter(|tab| *tab != Tab::Overview);
    let tab = tab.ok_or_else(|| ApiError::new(ErrorCode::NoSuchRoute, format!("a container has no page {part:?}")))?;
    let look = Look::at(state, &name, visit, "")?;
    let page = match tab {
        Tab::Overview => html(&overview::page(look, None)),
        Tab::Limits => limits::page(look).await,
        Tab::Namespaces => namespaces::page(look).await,
        Tab::Processes => processes::page(look).await,
        Tab::Cgroup => cgroup::page(look).await,
        Tab::Explain => explain::page(look).await,
        Tab::Logs => logs::page(look, wanted).await,
        Tab::Events => happened(look).await,
        Tab::Terminal => terminal::page(look),
    };
    Ok(page?.into_response())
}

/// `POST /containers/{name}/{part}`: the limits, a command to be run, else a verb.
pub(super) async fn changed(
    State(state): State<AppState>,
    Path((name, part)): Path<(String, String)>,
    caller: Caller,
    visit: Visit,
    Form(fields): Form<Fields>,
) -> ApiResult<Response> {
    if part == "exec" {
        return terminal::execute(Look::at(state, &name, visit, "")?, caller, fields).await;
    }
    if Tab::from_segment(&part) == Some(Tab::Limits) {
        return limits::change(Look::at(state, &name, visit, "")?, fields).await;
    }
    actions::act(&state, &name, &part, &fields).await.map(IntoResponse::into_response)
}

async fn happened(look: Look) -> ApiResult<Html<String>> {
    let uid = look.record.meta.uid.clone();
    let filter = EventFilter { kind: Some("Container".to_owned()), name: Some(uid.clone()), ..EventFilter::default() };
    let (records, _) = events::newest(&look.state, &filter, None, EVENTS).await?;
    let now = look.visit.now;
    html(&pages::ContainerEvents {
        rows: records.iter().map(|record| convert::event(&record.event, now)).collect(),
        frame: look.visit.calls([format!("/api/v1/events?kind=Container&name={uid}")]),
        head: look.head,
    })
}
