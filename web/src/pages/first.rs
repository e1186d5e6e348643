//! What to type when there is nothing yet: the two calls that make the first container.

use crate::frame::Frame;

/// A shell line with what it does, in words.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) what: &'static str,
    pub(super) command: String,
}

/// An image from a root file system.
pub(super) fn import(frame: &Frame) -> Step {
    let call = "--data-binary @rootfs.tar 'http://localhost/api/v1/images/import?reference=busybox:latest'";
    Step {
        what: frame.lang.t("first.import"),
        command: format!("curl --unix-socket {} -H 'Content-Type: application/x-tar' {call}", frame.socket),
    }
}

/// A container from it.
pub(super) fn create(frame: &Frame) -> Step {
    let body =
        r#"{"metadata":{"name":"hello"},"spec":{"image":"busybox:latest","command":["sh","-c","echo hello from pid $$; sleep 600"]}}"#;
    let json = "-H 'Content-Type: application/json'";
    Step {
        what: frame.lang.t("first.create"),
        command: format!(
            "curl --unix-socket {0} {json} http://localhost/api/v1/containers -d '{body}' && curl --unix-socket {0} -X POST http://localhost/api/v1/containers/hello/start",
            frame.socket
        ),
    }
}
