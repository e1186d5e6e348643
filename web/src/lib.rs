//! Berth's dashboard: a struct goes in, HTML comes out.
//!
//! One struct a page (`pages`), one template a struct (`templates/`), one table of words a language (`i18n`). The server turns its model into
//! these structs and sends what [`Page::html`] gives; the words here are those of a person who looks, not those of the API.
//!
//! What this crate is not: it does no I/O, reads no clock, and knows neither HTTP nor the model. A time comes in as a [`format::Moment`] with
//! its age already reckoned, so that the same struct always gives the same page.
//!
//! ```text
//!  model, runtime ──(server: http/dashboard)──► pages::* ──(askama)──► String
//!                                               i18n  ──┘   assets ──► /assets/<name>.<hash>.<ext>
//! ```
//!
//! Three rules keep a page safe, and tests hold them: every value passes through [`text::Visible`], no page carries a script or a style of
//! its own (so that the content security policy can forbid them), and every form and link leads to a route of [`routes`].
#![forbid(unsafe_code)]

pub mod ansi;
pub mod assets;
pub mod format;
pub mod frame;
pub mod i18n;
pub mod pages;
pub mod routes;
pub mod text;

pub use frame::{ApiCall, Flash, Frame, Theme, Who};
pub use i18n::Lang;
pub use pages::Page;
