//! Berth's privileged runtime: it asks the kernel for namespaces, cgroups and mounts, supervises what runs in them, and writes down each
//! thing that it asked for.
//!
//! ```text
//! berth (no root) --LauncherRequest--> launch (root, stateless) --fork--> shim (root, one a sandbox, one thread)
//!                 --ShimRequest------------------------------------------^   |  fork: stages of init, then execve
//! ```
//!
//! It knows nothing of HTTP, SQL or tokio. `unsafe` exists in `sys` alone.

#![deny(unsafe_code)]

pub mod cgroup;
pub mod config;
pub mod crash;
pub mod error;
pub mod examination;
pub mod id;
pub mod image;
pub mod launch;
pub mod notify;
pub mod protocol;
pub mod rootfs;
pub mod rundir;
pub mod security;
pub mod shim;
pub mod status;
#[expect(unsafe_code, reason = "the safe skin over the kernel: the one place where it is allowed")]
pub mod sys;
pub mod trace;
pub mod worker;
