//! Interactive sessions: a process' standard streams over a WebSocket, as Kubernetes' clients speak.
//!
//! ```text
//! GET + Upgrade --> upgrade (is it one? which subprotocol?) --> the handler opens the process --101--> session
//!     session:  socket --channel 0, 4, 255--> input of the process
//!               socket <--channel 1, 2------- output, pings; at the end channel 3 and a close frame
//! ```
//!
//! What is refused is refused before the 101, with a problem document; afterwards there are only close frames.

pub mod channel;
pub mod session;
pub mod upgrade;

pub use session::{Conversation, Wants};
pub use upgrade::Upgrade;
