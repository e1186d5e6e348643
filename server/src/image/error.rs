//! Why an image did not come, or did not go.

use crate::model::validate::Fault;
use crate::node::NodeError;
use crate::store::{Lookup, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error(transparent)]
    Lookup(#[from] Lookup),
    /// Rules that the request breaks, before a byte was read.
    #[error("the image's configuration breaks {} rules", .0.len())]
    Invalid(Vec<Fault>),
    /// The layer was refused, or the one who sent it stopped. Nothing of it is left.
    #[error(transparent)]
    Layer(#[from] NodeError),
    /// One of the archive's images cannot be what it says.
    #[error("the image {image}: {message}")]
    Unfit { image: String, message: String },
    #[error("a reference is for one image, and the archive has {0}")]
    Several(usize),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write the image's configuration")]
    Encode(#[source] serde_json::Error),
}
