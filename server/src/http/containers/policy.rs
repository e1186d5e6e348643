//! The fields of a spec that reach beyond the container's own walls: only an administrator may set them.
//!
//! Without this an operator would be root on the host by a bind mount of `/`. Asked at every place where a spec comes in.

use crate::http::auth::{Caller, Role};
use crate::http::error::{ApiError, ApiResult, ErrorCode, FieldError};
use crate::model::ContainerSpec;
use crate::model::container::{MountType, SeccompType};

/// 403 with each field that this caller may not set.
pub fn check(caller: &Caller, spec: &ContainerSpec) -> ApiResult<()> {
    if caller.role >= Role::Admin {
        return Ok(());
    }
    let errors: Vec<FieldError> = reaching_out(spec).into_iter().map(|path| FieldError::new(path, "needs the role admin")).collect();
    if errors.is_empty() { Ok(()) } else { Err(ApiError::fields(ErrorCode::Forbidden, errors)) }
}

fn reaching_out(spec: &ContainerSpec) -> Vec<String> {
    let mut found = Vec::new();
    let mut note = |set: bool, path: &str| {
        if set {
            found.push(format!("/spec/{path}"));
        }
    };
    let security = &spec.security;
    note(security.privileged, "security/privileged");
    note(!security.capabilities.add.is_empty(), "security/capabilities/add");
    note(security.seccomp.kind != SeccompType::Default, "security/seccomp/type");
    note(!spec.sysctls.is_empty(), "sysctls");
    note(spec.oom_score_adj.is_some_and(|score| score < 0), "oomScoreAdj");
    let namespaces = &spec.namespaces;
    for (name, mode) in [
        ("network", &namespaces.network),
        ("pid", &namespaces.pid),
        ("ipc", &namespaces.ipc),
        ("uts", &namespaces.uts),
        ("cgroup", &namespaces.cgroup),
        ("user", &namespaces.user),
    ] {
        note(mode == "host", &format!("namespaces/{name}"));
    }
    for (index, mount) in spec.mounts.iter().enumerate() {
        note(mount.kind == MountType::Bind, &format!("mounts/{index}"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_util::sync::CancellationToken;

    fn caller(role: Role) -> Caller {
        Caller { name: "x".to_owned(), role, revoked: CancellationToken::new() }
    }

    fn spec(json: serde_json::Value) -> ContainerSpec {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn an_operator_stays_inside() {
        check(&caller(Role::Operator), &spec(serde_json::json!({"image": "x", "resources": {"memory": "64Mi"}, "mounts": [{"type": "volume", "source": "v", "target": "/v"}]}))).unwrap();
        for (json, path) in [
            (serde_json::json!({"security": {"privileged": true}}), "/spec/security/privileged"),
            (serde_json::json!({"security": {"capabilities": {"add": ["SYS_ADMIN"]}}}), "/spec/security/capabilities/add"),
            (serde_json::json!({"security": {"seccomp": {"type": "unconfined"}}}), "/spec/security/seccomp/type"),
            (serde_json::json!({"security": {"seccomp": {"type": "custom", "profile": {}}}}), "/spec/security/seccomp/type"),
            (serde_json::json!({"namespaces": {"pid": "host"}}), "/spec/namespaces/pid"),
            (serde_json::json!({"namespaces": {"user": "host"}}), "/spec/namespaces/user"),
            (serde_json::json!({"mounts": [{"type": "bind", "source": "/", "target": "/host"}]}), "/spec/mounts/0"),
            (serde_json::json!({"sysctls": {"net.ipv4.ip_forward": "1"}}), "/spec/sysctls"),
            (serde_json::json!({"oomScoreAdj": -500}), "/spec/oomScoreAdj"),
        ] {
            let error = check(&caller(Role::Operator), &spec(json.clone())).unwrap_err();
            assert_eq!((error.code(), error.errors()[0].path.as_str()), (ErrorCode::Forbidden, path));
            check(&caller(Role::Admin), &spec(json)).unwrap();
        }
    }
}
