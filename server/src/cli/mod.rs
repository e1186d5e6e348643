//! What `berth` does beside serving: a few calls to its own API over the unix socket. Everything else is `curl --unix-socket`.

pub mod backup;
mod client;
pub mod config;
pub mod doctor;
pub mod image;
mod stopped;
pub mod token;

pub use client::{ClientArgs, ClientError};
