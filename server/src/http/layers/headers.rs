//! Headers that keep browsers from doing with an answer what nobody meant.

use axum::http::{HeaderValue, header};
use axum::response::Response;

/// No outside assets, no inline script or style, no frames, forms only to ourselves.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; \
     connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

const ALWAYS: &[(&str, &str)] = &[
    ("x-content-type-options", "nosniff"),
    // Not `no-referrer`: with it a browser sends our own forms with `Origin: null` (Fetch standard, "append a request Origin header"),
    // which `auth::site` refuses.
    ("referrer-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

const ON_PAGES: &[(&str, &str)] = &[
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
];

/// Adds what the handler did not set itself.
pub(super) fn secure(response: &mut Response) {
    let headers = response.headers_mut();
    let page = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let pages: &[_] = if page { ON_PAGES } else { &[] };
    for (name, value) in ALWAYS.iter().chain(pages) {
        headers.entry(*name).or_insert(HeaderValue::from_static(value));
    }
    // What is running here is nobody else's business: no cache keeps it, unless the handler knows that it is public (styles, scripts).
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
