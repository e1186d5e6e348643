//! The form that makes a container, with each fault beside the field it is about.

use askama::Template;

use super::form::CreateForm;
use crate::frame::Frame;

#[derive(Debug, Template)]
#[template(path = "containers/new.html")]
pub struct Create {
    pub frame: Frame,
    pub form: CreateForm,
    /// To choose from.
    pub images: Vec<String>,
    /// Containers whose namespaces may be joined.
    pub joinable: Vec<String>,
}
