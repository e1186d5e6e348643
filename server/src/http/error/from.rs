//! From the errors of the rooms below to the one that the API answers with.

use runtime::error::{RuntimeError, SetupError};

use super::{ApiError, ErrorCode, FailedOperation, FieldError};
use crate::image::ImageError;
use crate::model::validate::Fault;
use crate::node::NodeError;
use crate::reconcile::{ActionError, ChangeError, StartError};
use crate::store::{BadToken, Lookup, StoreError};

impl From<Fault> for FieldError {
    fn from(fault: Fault) -> Self {
        FieldError { path: fault.path, message: fault.message }
    }
}

impl From<Lookup> for ApiError {
    fn from(error: Lookup) -> Self {
        let code = match error {
            Lookup::NotFound { .. } => ErrorCode::NotFound,
            Lookup::Ambiguous { .. } => ErrorCode::AmbiguousName,
        };
        ApiError::new(code, error.to_string())
    }
}

impl From<BadToken> for ApiError {
    fn from(error: BadToken) -> Self {
        ApiError::field("/query/continue", error.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::NotFound { .. } => ErrorCode::NotFound,
            StoreError::NameTaken { .. } => ErrorCode::AlreadyExists,
            StoreError::Stale { .. } => ErrorCode::StaleVersion,
            StoreError::InUse { .. } => ErrorCode::InUse,
            StoreError::BeingDeleted { .. } => ErrorCode::WrongState,
            StoreError::NoUidRange { .. } => ErrorCode::Exhausted,
            StoreError::Busy { .. } => return ApiError::new(ErrorCode::Busy, error.to_string()).retry_after(1),
            StoreError::Full { .. } | StoreError::ReadOnly { .. } => {
                // The operator must know; the path and SQLite's words stay in the log.
                return ApiError::new(ErrorCode::Busy, error.to_string()).retry_after(30).caused_by(error);
            }
            StoreError::Closed => return ApiError::new(ErrorCode::Draining, "the store is closed").retry_after(2),
            StoreError::Open { .. }
            | StoreError::Newer { .. }
            | StoreError::Migrate { .. }
            | StoreError::Damaged { .. }
            | StoreError::Read { .. }
            | StoreError::Decode { .. }
            | StoreError::Encode { .. }
            | StoreError::Commit { .. } => return ApiError::internal(error),
        };
        ApiError::new(code, error.to_string())
    }
}

impl From<SetupError> for FailedOperation {
    fn from(error: SetupError) -> Self {
        FailedOperation { stage: error.stage, call: error.call, subject: error.subject, errno: error.errno_name }
    }
}

impl From<NodeError> for ApiError {
    fn from(error: NodeError) -> Self {
        let text = error.to_string();
        match error {
            NodeError::Refused(refused) => refused.into(),
            NodeError::NoShim { .. } => ApiError::new(ErrorCode::WrongState, "the container is not running"),
            NodeError::Body { .. } => ApiError::new(ErrorCode::MalformedRequest, text),
            NodeError::Deadline { .. } => ApiError::new(ErrorCode::DeadlineExceeded, text),
            // Paths and ids stay here.
            NodeError::Launcher { .. } => {
                ApiError::new(ErrorCode::RuntimeUnavailable, "the launcher does not answer").retry_after(1).caused_by(error)
            }
            NodeError::ShimGone { .. } => {
                ApiError::new(ErrorCode::RuntimeUnavailable, "the container's supervisor went away").retry_after(1).caused_by(error)
            }
            NodeError::Version { .. } => ApiError::new(ErrorCode::RuntimeUnavailable, text),
            NodeError::Io { .. } => ApiError::new(ErrorCode::RuntimeUnavailable, text).retry_after(1).caused_by(error),
            NodeError::Unexpected { .. } => ApiError::internal(error),
        }
    }
}

impl From<ImageError> for ApiError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Lookup(error) => error.into(),
            // What the image is to be run with came in the query.
            ImageError::Invalid(faults) => ApiError::invalid(
                faults.into_iter().map(|fault| FieldError::new(crate::http::images::query_path(&fault.path), fault.message)).collect(),
            ),
            ImageError::Layer(error) => error.into(),
            error @ ImageError::Unfit { .. } => ApiError::new(ErrorCode::BadArchive, error.to_string()),
            error @ ImageError::Several(_) => ApiError::field("/query/reference", error.to_string()),
            ImageError::Store(error) => error.into(),
            error @ ImageError::Encode(_) => ApiError::internal(error),
        }
    }
}

impl From<StartError> for ApiError {
    fn from(error: StartError) -> Self {
        let text = format!("the container did not start: {error}");
        match error {
            StartError::Node(NodeError::Refused(RuntimeError::Setup(setup))) => {
                let detail = format!("the container did not start: {setup}");
                ApiError::new(ErrorCode::StartFailed, detail).with_operation(setup.into())
            }
            StartError::Node(error) => error.into(),
            StartError::Target { .. } => ApiError::new(ErrorCode::WrongState, text),
            StartError::Convert(_) | StartError::NoImage { .. } => ApiError::new(ErrorCode::StartFailed, text),
        }
    }
}

impl From<ActionError> for ApiError {
    fn from(error: ActionError) -> Self {
        let text = error.to_string();
        match error {
            ActionError::Store(error) => error.into(),
            ActionError::Lookup(error) => error.into(),
            ActionError::Start(error) => error.into(),
            ActionError::Node(error) => error.into(),
            ActionError::WrongState { .. } => ApiError::new(ErrorCode::WrongState, text),
            ActionError::Deadline { .. } => ApiError::new(ErrorCode::DeadlineExceeded, text),
            ActionError::ShuttingDown => ApiError::new(ErrorCode::Draining, text).retry_after(2),
        }
    }
}

impl From<ChangeError<ApiError>> for ApiError {
    fn from(error: ChangeError<ApiError>) -> Self {
        match error {
            ChangeError::Action(error) => error.into(),
            ChangeError::Refused(error) => error,
        }
    }
}

/// The runtime's places are those of its own configuration; where both have the same names, the user's are one level deeper.
fn users_path(path: &str) -> String {
    let same = ["/resources", "/security", "/rlimits", "/mounts", "/sysctls"].iter().any(|prefix| path.starts_with(prefix));
    if same { format!("/spec{path}") } else { path.to_owned() }
}

impl From<RuntimeError> for ApiError {
    fn from(error: RuntimeError) -> Self {
        match error {
            RuntimeError::Invalid { path, message } => ApiError::field(users_path(&path), message),
            RuntimeError::Setup(setup) => {
                let detail = format!("{}: {} {}: {}: {}", setup.stage, setup.call, setup.subject, setup.errno_name, setup.detail);
                ApiError::new(ErrorCode::OperationFailed, detail).with_operation(setup.into())
            }
            RuntimeError::NotFound { what } => ApiError::new(ErrorCode::NotFound, format!("{what} does not exist")),
            RuntimeError::Conflict { message } => ApiError::new(ErrorCode::WrongState, message),
            RuntimeError::Busy { message } => ApiError::new(ErrorCode::WrongState, message).retry_after(1),
            RuntimeError::Unsupported { feature, path, message } => {
                let detail = format!("this host has no {feature}: {message}");
                ApiError::new(ErrorCode::UnsupportedByHost, detail).with_errors(vec![FieldError::new(users_path(&path), message)])
            }
            RuntimeError::BadArchive { entry, message } => ApiError::new(ErrorCode::BadArchive, format!("entry {entry:?}: {message}")),
            error @ RuntimeError::Protocol { .. } => {
                ApiError::new(ErrorCode::RuntimeUnavailable, "the runtime and the control plane do not understand each other")
                    .caused_by(error)
            }
        }
    }
}
