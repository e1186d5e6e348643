//! Who calls, and what they may do.
//!
//! ```text
//! unix socket --SO_PEERCRED: root, or our own user--------------------> admin
//! TCP --Host is ours--> Origin is ours --bearer token | session cookie--> role of the token
//!                                     \--neither----------------------> nobody   (admin with --no-auth-on-loopback)
//! ```
//!
//! What each route needs is declared at the route and stands in the OpenAPI document; `access` reads it from there, so that a route without
//! a declaration is closed and not open.

pub mod access;
pub mod authenticate;
pub mod cookie;
pub mod registry;
mod role;
pub mod secret;
pub mod site;
pub mod throttle;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio_util::sync::CancellationToken;

use super::error::{ApiError, ErrorCode};

pub use role::Role;

/// A caller whom we know.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The token's name, `root` over the unix socket, `loopback` without authentication.
    pub name: String,
    pub role: Role,
    /// Cancelled when the token is deleted: streams end then.
    pub revoked: CancellationToken,
}

impl Caller {
    fn local(name: &str) -> Self {
        Caller { name: name.to_owned(), role: Role::Admin, revoked: CancellationToken::new() }
    }

    /// 403 unless the caller has at least this role.
    pub fn require(&self, role: Role) -> Result<(), ApiError> {
        if self.role >= role {
            return Ok(());
        }
        let detail = format!("{:?} has the role {}, {} is needed", self.name, self.role.as_str(), role.as_str());
        Err(ApiError::new(ErrorCode::Forbidden, detail))
    }
}

impl From<registry::Grant> for Caller {
    fn from(grant: registry::Grant) -> Self {
        Caller { name: grant.token.meta.name.clone(), role: grant.token.role, revoked: grant.revoked }
    }
}

/// What `authenticate` found out about a request.
#[derive(Debug, Clone)]
pub struct Identified(pub Option<Caller>);

/// The caller of a route that `access` has let through.
impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let identified = parts.extensions.get::<Identified>().and_then(|identified| identified.0.clone());
        identified.ok_or_else(|| ApiError::new(ErrorCode::Unauthenticated, "no credentials were sent"))
    }
}
