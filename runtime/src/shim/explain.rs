//! Words for failures whose errno does not say enough.

use nix::errno::Errno;

use crate::error::{RuntimeError, SetupError, SysError};

/// A mount that the shim could not make.
pub(super) fn mount_failure(stage: &str, error: &SysError) -> RuntimeError {
    let detail = match (error.call, error.source) {
        ("mount_setattr", Errno::EINVAL) if error.subject.contains("IDMAP") => {
            "its file system cannot be idmapped on this kernel (mount_setattr(2)); set namespaces.user to \"host\", or use another file system".to_owned()
        }
        ("mount_setattr", Errno::EPERM) if error.subject.contains("IDMAP") => {
            "it is an idmapped mount already, and cannot be idmapped again (mount_setattr(2)); set namespaces.user to \"host\"".to_owned()
        }
        ("open", Errno::ENOENT) => "no such file or directory on the host".to_owned(),
        _ => error.source.desc().to_owned(),
    };
    RuntimeError::Setup(SetupError::explained(stage, error, detail))
}
