//! Which extended attributes of an archive are kept: `user.*`, and file capabilities. See xattr(7), capabilities(7).

use super::member::Kind;

/// What becomes of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    /// With what the note says.
    LeaveOut(&'static str),
}

/// The kernel's limits: XATTR_NAME_MAX and XATTR_SIZE_MAX in limits.h.
const MOST_NAME: usize = 255;
const MOST_VALUE: usize = 64 << 10;

/// Fails when the attribute is damaged or beyond what the kernel takes.
pub(super) fn judge(name: &[u8], value: &[u8], kind: Kind) -> Result<Verdict, &'static str> {
    if name.len() > MOST_NAME || value.len() > MOST_VALUE || name.contains(&0) {
        return Err("an extended attribute's name or value is too long");
    }
    Ok(match name {
        b"security.capability" if kind != Kind::File => Verdict::LeaveOut("capabilities of what is no file left out"),
        b"security.capability" if is_capability(value) => Verdict::Keep,
        b"security.capability" => return Err("its security.capability is none that the kernel takes"),
        // An overlayfs mounted with `userxattr` takes these as orders: redirect, opaque, metacopy.
        _ if name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.") => Verdict::LeaveOut("overlay attribute left out"),
        _ if name.starts_with(b"user.") && name.len() > 5 => Verdict::Keep,
        // Access control lists, security labels, trusted.*: they name users and policies of another machine.
        _ => Verdict::LeaveOut("attribute that is neither user.* nor a file capability left out"),
    })
}

/// `vfs_cap_data` of revision 2, or revision 3 with a root id that a container can have. See linux/capability.h.
fn is_capability(value: &[u8]) -> bool {
    let word = |at: usize| value.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    match word(0).map(|magic| magic & 0xff00_0000) {
        Some(0x0200_0000) => value.len() == 20,
        Some(0x0300_0000) => value.len() == 24 && word(20).is_some_and(|root| root <= 65_535),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// cap_net_raw+ep, as setcap(8) writes it.
    const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn only_user_attributes_and_capabilities_of_files_are_kept() {
        let kept = |name: &str, value: &[u8], kind| judge(name.as_bytes(), value, kind) == Ok(Verdict::Keep);
        assert!(kept("user.comment", b"x", Kind::Directory));
        assert!(kept("security.capability", &NET_RAW, Kind::File));
        for name in ["user.overlay.redirect", "trusted.overlay.opaque", "trusted.x", "security.selinux", "system.posix_acl_access", "user."]
        {
            assert!(!kept(name, b"x", Kind::File), "{name}");
        }
        assert!(!kept("security.capability", &NET_RAW, Kind::Directory));
    }

    #[test]
    fn damaged_capabilities_and_endless_attributes_are_refused() {
        for value in [&b""[..], b"abc", &NET_RAW[..19], &[9; 20]] {
            assert!(judge(b"security.capability", value, Kind::File).is_err());
        }
        let with_root = |root: u32| [&[1, 0, 0, 3], &NET_RAW[4..], &root.to_le_bytes()].concat();
        assert!(judge(b"security.capability", &with_root(1000), Kind::File).is_ok());
        assert!(judge(b"security.capability", &with_root(100_000), Kind::File).is_err());
        assert!(judge(&[b'u'; 300], b"", Kind::File).is_err());
        assert!(judge(b"user.big", &[0; 65 << 10], Kind::File).is_err());
    }
}
