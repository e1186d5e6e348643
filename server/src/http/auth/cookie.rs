//! The session cookie. See RFC 6265.

use axum::http::{HeaderMap, HeaderValue, header};

/// Cookies know no ports: the name has it, so that instances on one host do not log one another out.
pub fn name(port: u16) -> String {
    format!("berth-session-{port}")
}

/// The value of a cookie that the browser sent.
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(';'))
        .find_map(|pair| pair.trim().split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
}

/// `Set-Cookie`; `max_age` in seconds, 0 deletes. Out of scripts' reach, and never sent along by pages of other sites. Not `Secure`: there is
/// no TLS on loopback, and some browsers would drop it.
pub fn set(name: &str, value: &str, max_age: u64) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_cookie_is_found() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; berth-session-77=no; berth-session-7=yes"));
        assert_eq!(find(&headers, &name(7)), Some("yes"));
        assert_eq!(find(&headers, &name(8)), None);
    }
}
