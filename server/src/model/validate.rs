//! Every rule that a request can break, by noun. Faults are collected, not thrown: the user sees all of them at once.
//!
//! Pure: what depends on this machine comes in as [`HostLimits`], what depends on other resources (does the image exist, is the name free) is
//! asked where it is used. The runtime checks again what it is sent; these rules are stricter or equal, and their paths are the user's.

pub mod labels;
mod mounts;
mod namespaces;
mod process;
mod resources;
mod security;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::container::{ContainerSpec, RestartPolicyName};
use super::name::{DNS_LABEL_RULE, is_dns_label};

pub(crate) use mounts::{image_volumes, parse_mode};
pub use namespaces::{NamespaceWish, joined_container};
pub use process::check_user;
pub(crate) use security::capability;

/// A rule that a request breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// JSON Pointer (RFC 6901) into the request.
    #[schema(example = "/spec/resources/memory")]
    pub path: String,
    #[schema(example = "must be at least 6291456 bytes (6 MiB), and is 1000")]
    pub message: String,
}

/// What a spec is measured against. None where it is not known: then the rule is left to the runtime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostLimits {
    pub cpus: Option<u32>,
    pub memory_bytes: Option<u64>,
}

/// The rules of `metadata`, for any resource that a user names.
pub fn metadata(name: Option<&str>, labels: &BTreeMap<String, String>, annotations: &BTreeMap<String, String>) -> Vec<Fault> {
    let mut faults = Faults::default();
    if let Some(name) = name.filter(|name| !is_dns_label(name)) {
        faults.add("/metadata/name", format!("{:?} {DNS_LABEL_RULE}", shortened(name)));
    }
    labels::check_labels("/metadata/labels", labels, &mut faults);
    labels::check_annotations("/metadata/annotations", annotations, &mut faults);
    faults.0
}

/// The rules of a container's spec.
pub fn container(spec: &ContainerSpec, host: &HostLimits) -> Vec<Fault> {
    let mut faults = Faults::default();
    process::check(spec, &mut faults);
    restart_policy(spec, &mut faults);
    if !spec.ports.is_empty() {
        faults.add("/spec/ports", "publishing ports needs a bridge network, which this version does not have: use network \"host\"");
    }
    mounts::check(spec, &mut faults);
    namespaces::check(spec, &mut faults);
    resources::check(&spec.resources, host, &mut faults);
    security::check(spec, &mut faults);
    faults.0
}

/// Whether a container's spec may become `new`: only the restart policy and the limits change while it lives.
pub fn container_change(old: &ContainerSpec, new: &ContainerSpec, host: &HostLimits) -> Vec<Fault> {
    let mut faults = Faults::default();
    let changeable = |spec: &ContainerSpec| ContainerSpec {
        restart_policy: Default::default(),
        resources: Default::default(),
        stop_timeout_seconds: None,
        ..spec.clone()
    };
    let (before, after) = (serde_json::to_value(changeable(old)), serde_json::to_value(changeable(new)));
    if let (Ok(serde_json::Value::Object(before)), Ok(serde_json::Value::Object(after))) = (before, after) {
        let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for key in keys.into_iter().filter(|key| before.get(*key) != after.get(*key)) {
            let message = "cannot be changed once the container exists: only restartPolicy, resources and stopTimeoutSeconds can";
            faults.add(format!("/spec/{}", escape(key)), message);
        }
    }
    faults.0.extend(container(new, host));
    faults.0
}

fn restart_policy(spec: &ContainerSpec, faults: &mut Faults) {
    let policy = &spec.restart_policy;
    if policy.maximum_retry_count.is_some() && policy.name != RestartPolicyName::OnFailure {
        faults.add("/spec/restartPolicy/maximumRetryCount", "is only for the policy \"on-failure\"");
    }
    if spec.auto_remove && policy.name != RestartPolicyName::No {
        faults.add("/spec/autoRemove", "cannot be true with a restart policy other than \"no\"");
    }
}

/// Faults as they are found.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Fault { path: path.into(), message: message.into() });
    }

    pub fn into_vec(self) -> Vec<Fault> {
        self.0
    }
}

/// A key as a part of a JSON Pointer (RFC 6901 section 3).
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Enough of a text to recognise it in a message.
fn shortened(text: &str) -> String {
    if text.chars().count() <= 80 {
        return text.to_owned();
    }
    text.chars().take(79).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
