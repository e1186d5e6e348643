//! The files of a container's cgroup.

use axum::response::Html;
use runtime::status::CgroupView;
use web::pages::{Cgroup, CgroupFile, Controller};

use super::Look;
use crate::http::containers::views;
use crate::http::dashboard::ask::patiently;
use crate::http::dashboard::visit::html;
use crate::http::error::ApiResult;

pub(super) async fn page(look: Look) -> ApiResult<Html<String>> {
    let view = if look.runs() { patiently(views::cgroup::view(&look.state, &look.record)).await? } else { CgroupView::default() };
    let files =
        |files: std::collections::BTreeMap<String, String>| files.into_iter().map(|(name, content)| CgroupFile { name, content }).collect();
    let controllers = view.controllers.into_iter().map(|controller| Controller {
        name: controller.controller,
        path: controller.path,
        files: files(controller.files),
    });
    html(&Cgroup {
        version: view.version,
        controllers: controllers.collect(),
        frame: {
            let calls = [look.api("/cgroup")];
            look.visit.calls(calls)
        },
        head: look.head,
    })
}
