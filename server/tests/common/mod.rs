//! What the acceptance tests stand on.
//!
//! ```text
//! Scope: one test's containers ---- Berth: a started `berth serve` in a temp dir ---- http: a client of its own
//!    |  deletes and counts at the end      |  kill9, launch, terminate; sweeps up when dropped
//!    +----------------- ledger: what is on this machine of ours (host: /proc, /sys) --+
//! ```
//!
//! Not a library for production: it panics where a test should fail.

pub(crate) mod archive;
pub(crate) mod berth;
pub(crate) mod host;
pub(crate) mod http;
pub(crate) mod image;
pub(crate) mod ledger;
pub(crate) mod scope;
pub(crate) mod websocket;

pub(crate) use berth::Berth;
pub(crate) use scope::{Container, Scope};
