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
        ("mount", Errno::EINVAL) if error.subject.contains("overlay") => {
            "overlayfs of this kernel takes no idmapped layers (they came with Linux 5.19), or not this file system; set namespaces.user to \"host\", or use another file system or kernel".to_owned()
        }
        ("open", Errno::ENOENT) => "no such file or directory on the host".to_owned(),
        _ => error.source.desc().to_owned(),
    };
    RuntimeError::Setup(SetupError::explained(stage, error, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_old_kernel_cannot_names_the_field() {
        for error in [
            SysError::new("mount", "overlay (mount overlay lowerdir=0)", Errno::EINVAL),
            SysError::new("mount_setattr", "MOUNT_ATTR_IDMAP /srv", Errno::EINVAL),
        ] {
            let RuntimeError::Setup(error) = mount_failure("rootfs", &error) else { panic!("not a stage's") };
            assert!(error.detail.contains("namespaces.user"), "{error}");
        }
    }
}
