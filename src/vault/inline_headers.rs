//! The headers of inline authentication: the login's path, and each parameter of the login as a JSON object in base64url.

use ::http::header::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::body::Bytes;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::http::{Jwt, TransportError};
use crate::plan::Login;
use crate::secret::Secret;

const PATH: HeaderName = HeaderName::from_static("x-vault-inline-auth-path");
const ROLE: HeaderName = HeaderName::from_static("x-vault-inline-auth-parameter-role");
const JWT: HeaderName = HeaderName::from_static("x-vault-inline-auth-parameter-jwt");
/// The server sets this header in its answer where the login failed, and not the read.
pub(super) const LOGIN_FAILED: HeaderName = HeaderName::from_static("x-vault-inline-auth-failed");

/// The login that goes along with a request.
pub(super) struct InlineHeaders {
    path: HeaderValue,
    role: HeaderValue,
    jwt: HeaderValue,
}

impl InlineHeaders {
    pub(super) fn new(login: &Login, jwt: &Jwt) -> Result<Self, TransportError> {
        const CANNOT: TransportError = TransportError::Request("its login makes no valid header");
        // A JWT is ASCII.
        let jwt = std::str::from_utf8(jwt.secret().expose()).map_err(|_| CANNOT)?;
        Ok(Self {
            path: HeaderValue::try_from(format!("auth/{}/login", login.mount)).map_err(|_| CANNOT)?,
            role: parameter("role", login.role.as_str()).ok_or(CANNOT)?,
            jwt: parameter("jwt", jwt).ok_or(CANNOT)?,
        })
    }

    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        headers.insert(PATH, self.path.clone());
        headers.insert(ROLE, self.role.clone());
        headers.insert(JWT, self.jwt.clone());
    }

    /// The JWT as the header spells it: no message may hold this spelling either.
    pub(super) fn confidential(&self) -> Secret {
        Secret::from(self.jwt.as_bytes().to_vec())
    }
}

/// A parameter of the login. No buffer grows, and so leaves no copy of the token behind; each is wiped when the request is done.
fn parameter(key: &str, value: &str) -> Option<HeaderValue> {
    #[derive(Serialize)]
    struct Parameter<'a> {
        key: &'a str,
        value: &'a str,
    }
    // No character of a JWT or a role becomes more than six in JSON.
    let mut json = Zeroizing::new(Vec::with_capacity(6 * value.len() + 64));
    serde_json::to_writer(&mut *json, &Parameter { key, value }).ok()?;
    let mut text = Zeroizing::new(vec![0; json.len().div_ceil(3) * 4]);
    let length = URL_SAFE_NO_PAD.encode_slice(&*json, &mut text).ok()?;
    text.truncate(length);
    let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::AuthMethod;

    #[test]
    fn a_parameter_is_a_json_object_in_base64url_without_padding_and_debug_does_not_show_it() {
        let login = Login {
            method: AuthMethod::Jwt,
            mount: "my-cluster/oidc".parse().unwrap(),
            role: r#"a "role" \ $(X)"#.parse().unwrap(),
            inline: true,
        };
        let jwt = Jwt::new(Zeroizing::new(b"e30.e30.canary".to_vec())).unwrap();
        let mut headers = HeaderMap::new();
        InlineHeaders::new(&login, &jwt)
            .map_err(|_| ())
            .unwrap()
            .add_to(&mut headers);
        assert_eq!(headers["x-vault-inline-auth-path"], "auth/my-cluster/oidc/login");
        for (name, key, value) in [("role", "role", r#"a "role" \ $(X)"#), ("jwt", "jwt", "e30.e30.canary")] {
            let header = &headers[format!("x-vault-inline-auth-parameter-{name}")];
            let json: serde_json::Value =
                serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header.as_bytes()).unwrap()).unwrap();
            assert_eq!(json, serde_json::json!({"key": key, "value": value}));
            assert_eq!(format!("{header:?}"), "Sensitive");
        }
    }
}
