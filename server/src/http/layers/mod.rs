//! What every request passes through, outermost first.
//!
//! ```text
//! request   an id, a log line, figures, headers of the answer, panics become 500
//! limits    sizes of head and target, 503 while draining
//! auth      is it addressed to us, who sent it                              (http/auth)
//! -- routing --
//! access    may that caller do this: the role that the route declares       (http/auth)
//! replay    `Idempotency-Key`
//! handler
//! ```

pub mod headers;
pub mod limits;
pub mod replay;
pub mod request;
