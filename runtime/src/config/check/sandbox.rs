//! The rules of a sandbox: names, addresses, namespaces that fit together.

use std::net::IpAddr;

use super::{ConfigError, IDS};
use crate::config::{HostAlias, IdMap, NamespaceMode, PodConfig};
use crate::security::sysctl;

/// The host's own accounts lie below; the first range of systemd's and of subuid(5) begin above.
const MIN_BASE: u32 = 65_536;
/// What utsname(7) holds of each name.
const MAX_HOSTNAME: usize = 64;
/// resolv.conf(5) takes three servers, /etc/hosts as many lines as there are; more than this is no configuration.
const MAX_LINES: usize = 256;

/// A sandbox's rules.
pub fn check_pod(pod: &PodConfig) -> Result<(), ConfigError> {
    if pod.name.len() > 253 || pod.name.chars().any(char::is_control) {
        return Err(ConfigError::at("/name", "must be at most 253 bytes without control characters"));
    }
    // A sandbox without a UTS namespace of its own does not set it.
    let given = pod.namespaces.uts == NamespaceMode::Private || !pod.hostname.is_empty();
    if given && !is_host_name(&pod.hostname, MAX_HOSTNAME) {
        return Err(ConfigError::at("/hostname", "must be RFC 1123 labels with dots between, 1 to 64 characters together"));
    }
    if pod.domainname.as_ref().is_some_and(|domain| !is_host_name(domain, MAX_HOSTNAME)) {
        return Err(ConfigError::at("/domainname", "must be RFC 1123 labels with dots between, 1 to 64 characters together"));
    }
    check_user_namespace(pod)?;
    check_joins(pod)?;
    check_resolver(pod)?;
    for (name, value) in &pod.sysctls {
        let path = || format!("/sysctls/{}", super::shorten(name).replace('~', "~0").replace('/', "~1"));
        sysctl::check(name, value, &pod.namespaces).map_err(|error| ConfigError::at(path(), error.to_string()))?;
    }
    Ok(())
}

/// Letters of either case, digits and inner hyphens, in labels of at most 63 with dots between (RFC 1123 section 2.1).
fn is_host_name(name: &str, most: usize) -> bool {
    let edge = |b: u8| b.is_ascii_alphanumeric();
    let label = |label: &str| {
        let bytes = label.as_bytes();
        matches!(bytes.len(), 1..=63) && edge(bytes[0]) && edge(bytes[bytes.len() - 1]) && bytes.iter().all(|&b| edge(b) || b == b'-')
    };
    name.len() <= most && name.split('.').all(label)
}

fn check_user_namespace(pod: &PodConfig) -> Result<(), ConfigError> {
    match (&pod.namespaces.user, pod.id_map) {
        (NamespaceMode::Private, Some(map)) => check_map(map),
        (NamespaceMode::Private, None) => Err(ConfigError::at("/idMap", "a private user namespace needs a range of ids")),
        (_, Some(_)) => Err(ConfigError::at("/idMap", "only a private user namespace has a range of its own")),
        (_, None) => Ok(()),
    }
}

fn check_map(map: IdMap) -> Result<(), ConfigError> {
    if map.size != IDS {
        return Err(ConfigError::at("/idMap/size", "must be 65536"));
    }
    // The last id of all, 4294967295, is the kernel's "no change": no range may hold it.
    let sound = map.base >= MIN_BASE && map.base.is_multiple_of(IDS) && map.base.checked_add(map.size).is_some();
    if !sound {
        return Err(ConfigError::at("/idMap/base", "must be a multiple of 65536, from 65536 to 4294836224"));
    }
    Ok(())
}

/// Rights over a namespace come from the user namespace that owns it: who joins one shares that, too, and can share one only.
fn check_joins(pod: &PodConfig) -> Result<(), ConfigError> {
    let namespaces = &pod.namespaces;
    let all = [
        ("network", &namespaces.network),
        ("pid", &namespaces.pid),
        ("ipc", &namespaces.ipc),
        ("uts", &namespaces.uts),
        ("cgroup", &namespaces.cgroup),
        ("user", &namespaces.user),
    ];
    let mut target = None;
    for (name, mode) in all {
        let NamespaceMode::Join { pod: other } = mode else { continue };
        let fault = |why: &str| Err(ConfigError::at(format!("/namespaces/{name}"), why));
        if name == "cgroup" {
            return fault("cannot be joined: private or host");
        }
        if *other == pod.id {
            return fault("a sandbox cannot join itself");
        }
        if *target.get_or_insert(other) != other {
            return fault("is another sandbox's than the first one that is joined: one sandbox joins one other");
        }
    }
    if target.is_some() && namespaces.user == NamespaceMode::Private {
        let why = "who joins a namespace shares its user namespace: join that, too, or take the host's";
        return Err(ConfigError::at("/namespaces/user", why));
    }
    Ok(())
}

/// What goes into /etc/resolv.conf and /etc/hosts: nothing that could begin another line.
fn check_resolver(pod: &PodConfig) -> Result<(), ConfigError> {
    let servers = pod.dns.as_deref().unwrap_or_default();
    for (path, count) in [("/dns", servers.len()), ("/hostAliases", pod.host_aliases.len())] {
        if count > MAX_LINES {
            return Err(ConfigError::at(path, format!("has {count} entries; the most is {MAX_LINES}")));
        }
    }
    for (index, address) in servers.iter().enumerate() {
        if address.parse::<IpAddr>().is_err() {
            return Err(ConfigError::at(format!("/dns/{index}"), "must be an IP address"));
        }
    }
    for (index, HostAlias { ip, hostnames }) in pod.host_aliases.iter().enumerate() {
        if ip.parse::<IpAddr>().is_err() {
            return Err(ConfigError::at(format!("/hostAliases/{index}/ip"), "must be an IP address"));
        }
        // Underscores are in no host name, and in many that people use.
        if hostnames.is_empty() || !hostnames.iter().all(|name| is_host_name(&name.replace('_', "x"), 253)) {
            return Err(ConfigError::at(format!("/hostAliases/{index}/hostnames"), "must be one or more host names"));
        }
    }
    Ok(())
}
