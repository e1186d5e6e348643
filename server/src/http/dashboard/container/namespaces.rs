//! The namespaces of a container, and which other containers are in them.

use axum::response::Html;
use web::pages::{Namespace, Namespaces};

use super::Look;
use crate::http::containers::views;
use crate::http::dashboard::ask::patiently;
use crate::http::dashboard::visit::html;
use crate::http::error::ApiResult;

pub(super) async fn page(look: Look) -> ApiResult<Html<String>> {
    let views = if look.runs() { patiently(views::namespaces::view(&look.state, &look.record)).await? } else { Vec::new() };
    let with_uid = |name: String| {
        let uid = look.state.store.container(&name).map(|record| record.meta.uid.clone()).unwrap_or_default();
        (name, uid)
    };
    let rows = views.into_iter().map(|view| Namespace {
        shared_with: view.shared_with.into_iter().map(with_uid).collect(),
        kind: view.report.kind,
        inode: view.report.inode,
        path: view.report.path,
        host: view.report.host,
        processes: view.report.processes,
        pid: view.report.pid,
        command: view.report.command,
    });
    html(&Namespaces {
        rows: rows.collect(),
        frame: {
            let calls = [look.api("/namespaces")];
            look.visit.calls(calls)
        },
        head: look.head,
    })
}
