//! What `berth` does beside serving: a few calls to its own API over the unix socket. Everything else is `curl --unix-socket`.

mod client;
pub mod doctor;
pub mod image;
pub mod token;

pub use client::{ClientArgs, ClientError};
