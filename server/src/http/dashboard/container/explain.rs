//! The kernel operations that made a container.

use axum::response::Html;
use web::pages::{Explain, Operation};

use super::Look;
use crate::http::containers::views;
use crate::http::dashboard::ask::patiently;
use crate::http::dashboard::visit::html;
use crate::http::error::ApiResult;

pub(super) async fn page(look: Look) -> ApiResult<Html<String>> {
    let operations = patiently(views::explain::view(&look.state, &look.record)).await?;
    let operations = operations.into_iter().map(|operation| Operation {
        // What is no errno's name is what the call returned.
        failed: operation.result.starts_with('E') && operation.result.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()),
        stage: operation.stage,
        actor: operation.actor,
        call: operation.call,
        arguments: operation.arguments,
        duration_nanos: operation.duration_nanos,
        result: operation.result,
        shell: operation.shell,
    });
    html(&Explain {
        operations: operations.collect(),
        frame: {
            let calls = [look.api("/explain")];
            look.visit.calls(calls)
        },
        head: look.head,
    })
}
