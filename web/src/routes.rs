//! Where the pages' links and forms lead. The server's router is built from its own code; a test on each side holds it to this list.

/// What a browser may ask for with GET. `{…}` stands for one segment.
pub const PAGES: &[&str] = &[
    "/",
    "/login",
    "/containers",
    "/containers/new",
    "/containers/{name}",
    "/containers/{name}/limits",
    "/containers/{name}/namespaces",
    "/containers/{name}/processes",
    "/containers/{name}/cgroup",
    "/containers/{name}/explain",
    "/containers/{name}/logs",
    "/containers/{name}/terminal",
    "/containers/{name}/events",
    "/images",
    "/images/{reference}",
    "/volumes",
    "/events",
    "/system",
    "/docs",
    "/openapi.json",
    "/assets/{file}",
    // To be saved as a file.
    "/api/v1/containers/{name}/logs",
];

/// What a form may post to.
pub const ACTIONS: &[&str] = &[
    "/login",
    "/logout",
    "/preferences",
    "/containers/new",
    "/containers/{name}/start",
    "/containers/{name}/stop",
    "/containers/{name}/restart",
    "/containers/{name}/kill",
    "/containers/{name}/pause",
    "/containers/{name}/unpause",
    "/containers/{name}/limits",
    "/containers/{name}/exec",
    "/containers/{name}/delete",
    "/images",
    "/images/{reference}/delete",
    "/volumes",
    "/volumes/{name}/delete",
];

/// True when `path` (without its query) is one of `routes`.
pub fn known(routes: &[&str], path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    routes.iter().any(|route| {
        let (mut route, mut path) = (route.split('/'), path.split('/'));
        loop {
            match (route.next(), path.next()) {
                (None, None) => return true,
                (Some(hole), Some(part)) if hole.starts_with('{') && !part.is_empty() => {}
                (Some(fixed), Some(part)) if fixed == part => {}
                _ => return false,
            }
        }
    })
}

/// The page of a container. A container may be called `new`, which is also the name of the create form: that one is reached by its uid.
pub fn container(name: &str, uid: &str) -> String {
    let segment = if name == "new" { uid } else { name };
    format!("/containers/{}", encode(segment))
}

/// The page of an image, by its id: a reference may hold slashes.
pub fn image(id: &str) -> String {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    format!("/images/{}", encode(digits.get(..12).unwrap_or(digits)))
}

/// `text` as one part of a path or query (RFC 3986's unreserved characters stay as they are).
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_match_one_segment() {
        assert!(known(PAGES, "/containers/web/logs?tail=5"));
        assert!(known(PAGES, "/"));
        assert!(!known(PAGES, "/containers//logs"));
        assert!(!known(PAGES, "/containers/web/logs/more"));
        assert!(!known(ACTIONS, "/containers"));
    }

    #[test]
    fn a_container_called_new_is_reached_by_its_uid() {
        assert_eq!(container("new", "0123abcd"), "/containers/0123abcd");
        assert_eq!(container("a/b?", "x"), "/containers/a%2Fb%3F");
    }
}
