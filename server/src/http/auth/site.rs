//! Which names are ours, and which requests come from a page of another site.
//!
//! A page anywhere can make a browser on this machine send requests to 127.0.0.1. Two things keep it out: a `Host` that must be ours (a name
//! that its owner points at 127.0.0.1 is not: DNS rebinding), and for what changes something an `Origin` that must be ours.

use std::net::SocketAddr;

use axum::http::{HeaderMap, Method, Uri, header};

use crate::http::error::{ApiError, ApiResult, ErrorCode};

/// The authorities under which the TCP listener is reached.
#[derive(Debug, Clone, Default)]
pub struct Site {
    authorities: Vec<String>,
}

impl Site {
    /// Loopback's names with this port; without it, too, when it is HTTP's own.
    pub fn new(listen: SocketAddr) -> Self {
        let own = match listen {
            SocketAddr::V4(v4) => v4.ip().to_string(),
            SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
        };
        let mut authorities = Vec::new();
        let known = ["127.0.0.1", "localhost", "[::1]"];
        for host in known.into_iter().chain((!known.contains(&own.as_str())).then_some(own.as_str())) {
            authorities.push(format!("{host}:{}", listen.port()));
            if listen.port() == 80 {
                authorities.push(host.to_owned());
            }
        }
        Site { authorities }
    }

    fn is_ours(&self, authority: &str) -> bool {
        self.authorities.iter().any(|ours| ours.eq_ignore_ascii_case(authority))
    }

    /// 421 unless the request is addressed to us: exactly one `Host`, and the same authority in the target where it has one.
    pub fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> ApiResult<()> {
        let refuse = || Err(ApiError::new(ErrorCode::Misdirected, format!("expected one of: {}", self.authorities.join(", "))));
        let mut hosts = headers.get_all(header::HOST).iter();
        let named = match (hosts.next(), hosts.next()) {
            (Some(host), None) => match host.to_str() {
                Ok(text) => Some(text),
                Err(_) => return refuse(),
            },
            (None, _) => None,
            (Some(_), Some(_)) => return refuse(),
        };
        // HTTP/2's :authority and HTTP/1.1's absolute form are both in the URI.
        let targeted = uri.authority().map(|authority| authority.as_str());
        match (named, targeted) {
            (None, None) => refuse(),
            (named, targeted) if named.into_iter().chain(targeted).all(|name| self.is_ours(name)) => Ok(()),
            _ => refuse(),
        }
    }

    /// 403 for what a browser sends on behalf of another site. `ambient`: the browser adds the credentials by itself (a cookie), so a
    /// change must show where it comes from. Without it, a missing `Origin` is a program such as curl.
    pub fn check_origin(&self, method: &Method, headers: &HeaderMap, ambient: bool) -> ApiResult<()> {
        let refuse = |why: String| Err(ApiError::new(ErrorCode::CrossSite, why));
        // A WebSocket is a GET that browsers let any page send, and its answer any page read: nothing but this check is between them.
        let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) || headers.contains_key(header::UPGRADE);
        let fetch_site = headers.get("sec-fetch-site").map(|value| value.to_str().unwrap_or_default());
        let navigation = headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
        match fetch_site {
            None | Some("same-origin" | "none") => {}
            // A link on another page may lead here.
            Some(_) if !changes && navigation => {}
            Some(site) => return refuse(format!("Sec-Fetch-Site is {site:?}")),
        }
        let origin = headers.get(header::ORIGIN).map(|value| value.to_str().unwrap_or_default());
        match origin {
            Some(origin) if origin.strip_prefix("http://").is_some_and(|authority| self.is_ours(authority)) => Ok(()),
            Some(origin) if changes || origin != "null" => refuse(format!("Origin is {origin:?}")),
            None if changes && ambient && fetch_site.is_none() => {
                refuse("neither Origin nor Sec-Fetch-Site says where it comes from".to_owned())
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn site() -> Site {
        Site::new("127.0.0.1:7777".parse().unwrap())
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn only_our_names_are_served() {
        let check =
            |target: &str, pairs: &[(&'static str, &'static str)]| site().check_host(&target.parse().unwrap(), &headers(pairs)).is_ok();
        for host in ["127.0.0.1:7777", "localhost:7777", "LocalHost:7777", "[::1]:7777"] {
            assert!(check("/", &[("host", host)]), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:7777",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.1.evil:7777",
            "127.0.0.1:7777@evil",
            "",
            "user@127.0.0.1:7777",
        ] {
            assert!(!check("/", &[("host", host)]), "{host}");
        }
        assert!(!check("/", &[]));
        assert!(!check("/", &[("host", "127.0.0.1:7777"), ("host", "127.0.0.1:7777")]));
        assert!(check("http://127.0.0.1:7777/", &[]));
        assert!(!check("http://evil.example/", &[("host", "127.0.0.1:7777")]));
        assert!(!check("http://127.0.0.1:7777/", &[("host", "evil.example")]));
    }

    #[test]
    fn changes_from_elsewhere_are_refused() {
        let check = |method: Method, pairs: &[(&'static str, &'static str)], ambient| {
            site().check_origin(&method, &headers(pairs), ambient).is_ok()
        };
        let ours = ("origin", "http://127.0.0.1:7777");
        assert!(check(Method::POST, &[ours], true));
        assert!(check(Method::POST, &[("sec-fetch-site", "same-origin")], true));
        assert!(check(Method::POST, &[], false), "curl with a token");
        assert!(!check(Method::POST, &[], true), "a cookie without a proof of origin");
        for origin in ["null", "http://evil.example", "https://127.0.0.1:7777", "http://127.0.0.1:8080", "http://127.0.0.1:7777.evil"] {
            let pairs = &[("origin", origin)];
            assert!(!check(Method::POST, pairs, true), "{origin}");
            assert!(!check(Method::DELETE, pairs, false), "{origin}");
        }
        assert!(!check(Method::POST, &[ours, ("sec-fetch-site", "cross-site")], true));
        assert!(!check(Method::GET, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors")], true));
        assert!(check(Method::GET, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], true), "a link elsewhere");
        assert!(check(Method::GET, &[], true));
        let upgrade = ("upgrade", "websocket");
        assert!(check(Method::GET, &[upgrade, ours], true));
        assert!(check(Method::GET, &[upgrade], false), "a program with a token");
        assert!(!check(Method::GET, &[upgrade], true), "a cookie without a proof of origin");
        for origin in ["null", "http://evil.example", "http://127.0.0.1:8080"] {
            assert!(!check(Method::GET, &[upgrade, ("origin", origin)], true), "{origin}");
            assert!(!check(Method::GET, &[upgrade, ("origin", origin)], false), "{origin}");
        }
        assert!(!check(Method::GET, &[upgrade, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], true));
    }
}
