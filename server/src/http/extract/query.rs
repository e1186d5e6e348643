//! Query and path parameters, with the place of every fault: `/query/<name>`.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use super::pointer;
use crate::http::error::{ApiError, ApiResult, ErrorCode, FieldError};

/// Read elsewhere, on every route that takes a body.
const COMMON: &[&str] = &["fieldValidation"];

/// The query string as a typed value. A parameter that is not known is an error: a typing mistake must not silently change what is asked.
#[derive(Debug, Clone, Copy)]
pub struct ApiQuery<T>(pub T);

/// Path parameters, percent-decoded.
#[derive(Debug, Clone, Copy)]
pub struct ApiPath<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        parse(parts.uri.query().unwrap_or_default()).map(ApiQuery)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for ApiPath<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(ApiPath(value)),
            Err(rejection) => Err(ApiError::new(ErrorCode::MalformedRequest, rejection.body_text())),
        }
    }
}

pub fn parse<T: DeserializeOwned>(query: &str) -> ApiResult<T> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let result = {
        let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        let mut note = |path: serde_ignored::Path<'_>| unknown.push(pointer::from_ignored_path(&path));
        let noting = serde_ignored::Deserializer::new(pairs, &mut note);
        T::deserialize(serde_path_to_error::Deserializer::new(noting, &mut track))
    };
    let value = result.map_err(|error| {
        let path = format!("/query{}", pointer::from_error_path(&track.path()));
        ApiError::invalid(vec![pointer::fault(path, &error.to_string())])
    })?;
    let errors: Vec<FieldError> = unknown
        .into_iter()
        .filter(|path| !COMMON.contains(&path.trim_start_matches('/')))
        .map(|path| FieldError::new(format!("/query{path}"), "is not a parameter here"))
        .collect();
    if errors.is_empty() { Ok(value) } else { Err(ApiError::invalid(errors)) }
}

/// `true`, `1` and the name alone, `false` and `0`: as Kubernetes writes flags and as Docker does.
pub fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "true" | "1" | "" => Ok(true),
        "false" | "0" => Ok(false),
        other => Err(D::Error::custom(format!("{other:?} is not true or false"))),
    }
}

/// As [`flag`], for one that may be left out.
pub fn maybe_flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    flag(deserializer).map(Some)
}

/// The values of those parameters that may come more than once, in order; and the query without them, for [`parse`].
pub fn split<const N: usize>(query: &str, names: [&str; N]) -> ([Vec<String>; N], String) {
    let mut values = [const { Vec::new() }; N];
    let mut rest = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match names.iter().position(|known| *known == name) {
            Some(index) => values[index].push(value.into_owned()),
            None => drop(rest.append_pair(&name, &value)),
        }
    }
    (values, rest.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_repeated_comes_apart() {
        let ([command, env], rest) = split("command=sh&tty&command=a+b%26c&env=A=1&user=x%3Dy", ["command", "env"]);
        assert_eq!((command, env), (vec!["sh".to_owned(), "a b&c".to_owned()], vec!["A=1".to_owned()]));
        assert_eq!(rest, "tty=&user=x%3Dy");
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", default)]
    struct Query {
        limit: Option<u32>,
        #[serde(deserialize_with = "flag")]
        follow: bool,
    }

    #[test]
    fn good_queries_are_read() {
        assert_eq!(parse::<Query>("").unwrap(), Query::default());
        assert_eq!(parse::<Query>("limit=5&follow").unwrap(), Query { limit: Some(5), follow: true });
        assert_eq!(parse::<Query>("follow=0&fieldValidation=Warn").unwrap(), Query::default());
    }

    #[test]
    fn every_fault_names_its_parameter() {
        for (query, path) in [
            ("limit=x", "/query/limit"),
            ("limit=-1", "/query/limit"),
            ("limit=4294967296", "/query/limit"),
            ("follow=maybe", "/query/follow"),
            ("tail=5", "/query/tail"),
        ] {
            let error = parse::<Query>(query).unwrap_err();
            assert_eq!(error.errors()[0].path, path, "{query}");
        }
        assert!(parse::<Query>("limit=1&limit=2").is_err());
    }
}
