//! Which namespaces are new, the host's, or another container's.

use super::{Faults, shortened};
use crate::model::container::{ContainerSpec, Namespaces};
use crate::model::name::{DNS_LABEL_RULE, is_dns_label};

/// A namespace field, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceWish {
    /// New; `network: none` is a new one with only `lo`.
    Private,
    Host,
    /// That of the container with this name or uid.
    Container(String),
}

impl NamespaceWish {
    /// Reads one field; `kind` is its name in [`Namespaces`]. The error is for people.
    pub fn parse(kind: &str, text: &str) -> Result<Self, String> {
        if let Some(target) = text.strip_prefix("container:") {
            if matches!(kind, "cgroup" | "user") {
                return Err("cannot be another container's: it is \"private\" or \"host\" (a joining container shares the other's user namespace by itself)".to_owned());
            }
            if !is_dns_label(target) {
                return Err(format!("the container's name {:?} {DNS_LABEL_RULE}", shortened(target)));
            }
            return Ok(NamespaceWish::Container(target.to_owned()));
        }
        match (kind, text) {
            (_, "host") => Ok(NamespaceWish::Host),
            (_, "private") | ("network", "none") | ("ipc" | "pid" | "uts" | "network", "shareable") => Ok(NamespaceWish::Private),
            ("network", "bridge") => {
                Err("\"bridge\" is not available yet: this version has \"none\", \"host\" and \"container:<name>\"".to_owned())
            }
            ("network", other) => {
                Err(format!("there is no network {:?}: this version has \"none\", \"host\" and \"container:<name>\"", shortened(other)))
            }
            ("cgroup" | "user", other) => Err(format!("{:?} must be \"private\" or \"host\"", shortened(other))),
            (_, other) => Err(format!("{:?} must be \"private\", \"shareable\", \"host\" or \"container:<name>\"", shortened(other))),
        }
    }
}

/// Field names and values, in the order of the documentation.
fn fields(namespaces: &Namespaces) -> [(&'static str, &str); 6] {
    [
        ("network", &namespaces.network),
        ("pid", &namespaces.pid),
        ("ipc", &namespaces.ipc),
        ("uts", &namespaces.uts),
        ("cgroup", &namespaces.cgroup),
        ("user", &namespaces.user),
    ]
}

/// The container whose namespaces this one joins, if any. A valid spec names at most one.
pub fn joined_container(namespaces: &Namespaces) -> Option<&str> {
    fields(namespaces).into_iter().find_map(|(_, value)| value.strip_prefix("container:"))
}

pub(super) fn check(spec: &ContainerSpec, faults: &mut Faults) {
    let target = joined_container(&spec.namespaces);
    for (field, value) in fields(&spec.namespaces) {
        let path = format!("/spec/namespaces/{field}");
        match NamespaceWish::parse(field, value) {
            Err(message) => faults.add(path, message),
            // One target has one user namespace; a process cannot be root in two.
            Ok(NamespaceWish::Container(name)) if Some(name.as_str()) != target => {
                faults.add(
                    path,
                    format!("joins {name:?}, but another field joins {:?}: one container joins one other", target.unwrap_or_default()),
                );
            }
            Ok(_) => {}
        }
    }
    if spec.namespaces.uts != "private" && spec.namespaces.uts != "shareable" {
        for (field, given) in [("hostname", spec.hostname.is_some()), ("domainname", spec.domainname.is_some())] {
            if given {
                faults.add(
                    format!("/spec/{field}"),
                    format!(
                        "cannot be set with namespaces.uts {:?}: the name is not this container's own",
                        shortened(&spec.namespaces.uts)
                    ),
                );
            }
        }
    }
    let shared_ipc = spec.namespaces.ipc == "host" || spec.namespaces.ipc.starts_with("container:");
    if spec.shm_size.is_some() && shared_ipc {
        faults.add(
            "/spec/shmSize",
            format!("cannot be set with namespaces.ipc {:?}: /dev/shm is not this container's own", shortened(&spec.namespaces.ipc)),
        );
    }
}
