//! What belongs to one request and every part of its handling may want: its id, and warnings for its answer.
//!
//! A task-local and not an extension: an error becomes a response deep inside an extractor, where no request is at hand, and must still
//! name the request that it answers.

use std::sync::{Arc, Mutex, PoisonError};

use axum::http::HeaderValue;

/// At most this many `Warning` headers: each is a header of the answer.
const MAX_WARNINGS: usize = 32;

#[derive(Debug)]
pub struct RequestContext {
    pub id: String,
    warnings: Mutex<Vec<String>>,
}

tokio::task_local! {
    static CURRENT: Arc<RequestContext>;
}

impl RequestContext {
    pub fn new(id: String) -> Arc<Self> {
        Arc::new(RequestContext { id, warnings: Mutex::default() })
    }

    /// Runs `work` as part of this request.
    pub async fn scope<F: Future>(self: Arc<Self>, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    pub fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs `work` to its end as a part of this request, whether or not its caller waits for it: who hangs up half-way leaves nothing half-done.
pub fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    match CURRENT.try_with(Arc::clone) {
        Ok(context) => tokio::spawn(context.scope(work)),
        Err(_) => tokio::spawn(work),
    }
}

/// The warnings so far, as they will be in the answer's head.
pub fn warning_headers() -> Vec<HeaderValue> {
    CURRENT.try_with(|context| context.warnings().iter().filter_map(|text| warning_header(text)).collect()).unwrap_or_default()
}

/// RFC 7234 section 5.5: 299 is a persistent warning, "-" no named agent. As Kubernetes does.
pub fn warning_header(warning: &str) -> Option<HeaderValue> {
    let text: String = warning.chars().filter(|c| !c.is_control()).flat_map(char::escape_default).collect();
    HeaderValue::from_str(&format!("299 - \"{text}\"")).ok()
}

/// The id of the request being handled; None outside of one.
pub fn request_id() -> Option<String> {
    CURRENT.try_with(|context| context.id.clone()).ok()
}

/// Something that the caller should know although the request succeeds: a `Warning` header of the answer.
pub fn warn(text: String) {
    let _ = CURRENT.try_with(|context| {
        let mut warnings = context.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.len() < MAX_WARNINGS {
            warnings.push(text);
        }
    });
}
