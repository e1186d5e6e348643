//! What a container may do: one noun a file.
//!
//! Rules and data without effects: who may do what, which paths, which numbers, which program for the kernel. `shim::init`, `rootfs` and
//! `cgroup` apply them through `sys`; `config::check` refuses what they would not take.

pub mod capabilities;
pub mod devices;
pub mod masked;
#[cfg(test)]
mod page;
pub mod plan;
pub mod rlimit;
pub mod seccomp;
pub mod sysctl;
pub mod user;

pub use plan::{SecurityPlan, warm_up};
