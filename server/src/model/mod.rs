//! What the user speaks: resources as they come in and go out, in the words of Kubernetes and of design/api's contract.
//!
//! Every resource is `{kind, metadata, spec, status}`. `spec` is what the user asked for and is stored unchanged; `status` is what was
//! observed. No I/O here, and no knowledge of HTTP, SQL or the runtime.

pub mod container;
pub mod event;
pub mod image;
pub mod meta;
pub mod name;
pub mod quantity;
pub mod selector;
pub mod signal;
pub mod token;
pub mod validate;
pub mod volume;

pub use container::{Container, ContainerSpec, ContainerStatus, Phase};
pub use event::Event;
pub use image::Image;
pub use meta::{ListMeta, ObjectMeta};
pub use token::{Role, Token};
pub use volume::Volume;
