//! The pages: one struct a template, its fields what the page shows.
//!
//! A template can reach its struct and nothing else, so the struct is the whole contract with the server. What needs a sentence is said by
//! a method here, in the language of the frame; the templates arrange.

mod container;
mod containers;
mod create;
mod error;
mod events;
mod first;
mod form;
mod images;
mod login;
mod parts;
mod system;
mod volumes;

pub use container::cgroup::{Cgroup, CgroupFile, Controller};
pub use container::events::ContainerEvents;
pub use container::explain::{Explain, Operation};
pub use container::limits::{Limit, Limits, Pressure, Setting};
pub use container::logs::{LogLine, LogStream, Logs};
pub use container::namespaces::{Namespace, Namespaces};
pub use container::overview::{End, MountRow, Overview, PortRow};
pub use container::processes::{Process, Processes};
pub use container::terminal::{Executed, Terminal};
pub use container::{Can, Head, Tab};
pub use containers::{ContainerRow, Containers};
pub use create::{Create, Preview};
pub use error::ErrorPage;
pub use events::{EventRow, Events};
pub use form::{CreateForm, FIELDS, FieldError};
pub use images::{ImagePage, ImageRow, Images};
pub use login::{Login, Refused};
pub use parts::{Badge, Gauge, Paging, State};
pub use system::{DiskShare, Feature, HostFact, System};
pub use volumes::{VolumeRow, Volumes};

/// Anything that can be sent to a browser.
pub trait Page {
    /// The whole document. Fails only where a value of the page fails to print itself.
    fn html(&self) -> Result<String, askama::Error>;
}

impl<T: askama::Template> Page for T {
    fn html(&self) -> Result<String, askama::Error> {
        self.render()
    }
}
