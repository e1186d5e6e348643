//! References in paths: they have slashes, which a person writes as they are.

use axum::extract::Request;
use axum::http::{Method, Uri};

const IMAGES: &str = "/api/v1/images/";

/// Before a route is looked for: `/api/v1/images/registry:5000/a/b@sha256:…` is one reference, as `registry:5000%2Fa%2Fb@sha256:…` is.
/// A last part `archive` is the route of that name, except where something is deleted: that can only be an image.
pub async fn encode_slashes(mut request: Request) -> Request {
    let verb = if *request.method() == Method::DELETE { "" } else { "/archive" };
    if let Some(uri) = encoded(request.uri(), verb) {
        *request.uri_mut() = uri;
    }
    request
}

fn encoded(uri: &Uri, verb: &str) -> Option<Uri> {
    let rest = uri.path().strip_prefix(IMAGES)?;
    let (reference, verb) = match rest.strip_suffix(verb).filter(|reference| !verb.is_empty() && !reference.is_empty()) {
        Some(reference) => (reference, verb),
        None => (rest, ""),
    };
    if !reference.contains('/') {
        return None;
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("{IMAGES}{}{verb}{query}", reference.replace('/', "%2F")).try_into().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_become_one_part_of_the_path() {
        let path = |text: &str, verb: &str| {
            let uri: Uri = text.parse().unwrap();
            encoded(&uri, verb).unwrap_or(uri).to_string()
        };
        for (given, verb, wanted) in [
            ("/api/v1/images/busybox:1", "/archive", "/api/v1/images/busybox:1"),
            ("/api/v1/images/library/nginx:1.2?x=/y", "/archive", "/api/v1/images/library%2Fnginx:1.2?x=/y"),
            ("/api/v1/images/r:5000%2Fa/b@sha256:00", "/archive", "/api/v1/images/r:5000%2Fa%2Fb@sha256:00"),
            ("/api/v1/images/busybox/archive", "/archive", "/api/v1/images/busybox/archive"),
            ("/api/v1/images/a/b:c/archive?d", "/archive", "/api/v1/images/a%2Fb:c/archive?d"),
            ("/api/v1/images/library/archive", "", "/api/v1/images/library%2Farchive"),
            ("/api/v1/images//archive", "/archive", "/api/v1/images/%2Farchive"),
            ("/api/v1/imagesx/a/b", "", "/api/v1/imagesx/a/b"),
            ("/api/v1/volumes/a/b", "", "/api/v1/volumes/a/b"),
        ] {
            assert_eq!(path(given, verb), wanted, "{given}");
        }
    }
}
