//! Berth's control plane: an HTTP API and a dashboard over a store of wishes, and a loop that makes the wishes true.
//!
//! ```text
//! http --- wish ---> store (SQLite) --- wake ---> reconcile --- actions ---> node --> runtime (root)
//!   ^                   ^------------- status --------+
//!   +-- pages by web
//! ```
//!
//! Nothing here has root: `serve` starts the privileged launcher and drops to an unprivileged user before a port is open.

#![forbid(unsafe_code)]

pub mod backup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crash;
pub mod doctor;
pub mod fake_node;
pub mod http;
pub mod image;
pub mod model;
pub mod node;
pub mod reconcile;
pub mod serve;
pub mod store;
pub mod usage;
