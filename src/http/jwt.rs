//! A JSON Web Token that proves who podkey is: a pod's service-account token, or the ID token of a GitHub job (RFC 7519).
//! Nobody here has checked the signature: the claims serve messages and schedules, and the server checks them again.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::redact::clean;
use crate::secret::Secret;

/// The longest token, in bytes. Real tokens have about a thousand.
pub(crate) const MAX_JWT: usize = 64 * 1024;

/// The claims of a job's token by which roles tell jobs apart.
/// <https://docs.github.com/en/actions/reference/security/oidc>
const GITHUB_CLAIMS: [&str; 5] = [
    "repository",
    "repository_id",
    "repository_owner_id",
    "ref",
    "environment",
];

/// A token: visible ASCII characters only. `Debug` does not show them.
#[derive(Debug, Clone)]
pub(crate) struct Jwt(Secret);

/// When a token was issued and when it expires, by its own claims, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JwtLifetime {
    pub(crate) exp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) iat: Option<u64>,
}

impl JwtLifetime {
    /// How long the token is still valid by the local clock, and its whole life. None where the token has expired by the local
    /// clock. A server that accepts such a token has the better clock.
    pub(crate) fn left(self, now: SystemTime) -> Option<(Duration, Duration)> {
        let end = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.exp))?;
        let left = end.duration_since(now).ok().filter(|left| !left.is_zero())?;
        let life = self
            .iat
            .and_then(|iat| self.exp.checked_sub(iat))
            .map(Duration::from_secs);
        // With a local clock that is behind, `left` would be longer than the whole life.
        Some((life.map_or(left, |life| left.min(life)), life.unwrap_or(left)))
    }
}

impl Jwt {
    /// Takes bytes that can be a token. None where their length or a character says that they cannot.
    pub(crate) fn new(bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        let fits = (1..=MAX_JWT).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
        fits.then(|| Self(bytes.into()))
    }

    /// A claim that is a text.
    pub(crate) fn claim(&self, name: &str) -> Option<String> {
        match self.payload::<serde_json::Value>()?.get_mut(name)?.take() {
            serde_json::Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Namespace, name and uid of the pod that the token is bound to, by the token's own claims. None: the token names no pod.
    /// <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens>
    pub(crate) fn bound_pod(&self) -> Option<[String; 3]> {
        let mut claims = self.payload::<serde_json::Value>()?;
        let mut text = |pointer| match claims.pointer_mut(pointer)?.take() {
            serde_json::Value::String(text) => Some(text),
            _ => None,
        };
        Some([
            text("/kubernetes.io/namespace")?,
            text("/kubernetes.io/pod/name")?,
            text("/kubernetes.io/pod/uid")?,
        ])
    }

    /// The token itself.
    pub(crate) fn secret(&self) -> &Secret {
        &self.0
    }

    /// Subject, audience and GitHub's claims about the job for a message, and whether the token has expired. Never the token.
    pub(crate) fn identity(&self) -> String {
        let Some(claims) = self.payload::<Claims>() else {
            return "a token that is not a JWT".to_owned();
        };
        let mut identity = match claims
            .sub
            .strip_prefix("system:serviceaccount:")
            .and_then(|rest| rest.split_once(':'))
        {
            Some((namespace, name)) => format!(
                "service account {} in namespace {}",
                clean(name, 128),
                clean(namespace, 128)
            ),
            None => format!("subject {}", clean(&claims.sub, 256)),
        };
        for name in GITHUB_CLAIMS {
            if let Some(claim) = self.claim(name) {
                identity.push_str(&format!(", {name} {}", clean(&claim, 128)));
            }
        }
        let audiences: Vec<String> = claims.aud.list().iter().map(|aud| clean(aud, 128)).collect();
        identity.push_str(&format!(" with audience {}", audiences.join(", ")));
        if let Some(at) = self.expired_at(SystemTime::now()) {
            identity.push_str(&format!(", expired by the local clock at {at}"));
        }
        identity
    }

    /// When the token expired: a time, so that a message about it does not change. None where it has not.
    pub(crate) fn expired_at(&self, now: SystemTime) -> Option<humantime::Rfc3339Timestamp> {
        let exp =
            SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(self.payload::<Claims>()?.exp?).ok()?)?;
        (exp <= now).then(|| humantime::format_rfc3339_seconds(exp))
    }

    /// When the token was issued and when it expires. None where it has no claim `exp`.
    pub(crate) fn lifetime(&self) -> Option<JwtLifetime> {
        let claims = self.payload::<Claims>()?;
        let seconds = |claim: Option<f64>| Some(Duration::try_from_secs_f64(claim?).ok()?.as_secs());
        Some(JwtLifetime {
            exp: seconds(claims.exp)?,
            iat: seconds(claims.iat),
        })
    }

    fn payload<T: for<'a> Deserialize<'a>>(&self) -> Option<T> {
        let payload = self.0.expose().split(|b| *b == b'.').nth(1)?;
        let json = Zeroizing::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?);
        serde_json::from_slice(&json).ok()
    }
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: String,
    #[serde(default)]
    aud: Audiences,
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default)]
    iat: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl Default for Audiences {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Audiences {
    fn list(&self) -> Cow<'_, [String]> {
        match self {
            Self::One(one) => Cow::Owned(vec![one.clone()]),
            Self::Many(many) => Cow::Borrowed(many),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> Jwt {
        let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(payload);
        Jwt(Secret::from(format!("e30.{payload}.canary").into_bytes()))
    }

    #[test]
    fn a_token_expires_by_its_claims_or_never() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let left = |payload: &str, now: u64| {
            let (left, life) = token(payload).lifetime()?.left(at(now))?;
            Some((left.as_secs(), life.as_secs()))
        };
        assert_eq!(left(r#"{"exp":1600,"iat":1000}"#, 1100), Some((500, 600)));
        assert_eq!(left(r#"{"exp":1600.9,"iat":1000.2}"#, 1100), Some((500, 600)));
        assert_eq!(left(r#"{"exp":1600}"#, 1100), Some((500, 500)));
        assert_eq!(
            left(r#"{"exp":1600,"iat":1000}"#, 7),
            Some((600, 600)),
            "a clock that is behind"
        );
        assert_eq!(left(r#"{"exp":1600,"iat":9000}"#, 1100), Some((500, 500)));
        for none in [
            "{}",
            "no json",
            r#"{"exp":1600}"#,
            r#"{"exp":-1}"#,
            r#"{"exp":1e300}"#,
            r#"{"exp":"1600"}"#,
            r#"{"exp":null}"#,
            r#"{"exp":1700,"exp":9000}"#,
        ] {
            assert_eq!(left(none, 1600), None, "{none}");
        }
    }

    #[test]
    fn an_identity_never_holds_the_token() {
        for (payload, identity) in [
            (
                r#"{"sub":"system:serviceaccount:arc:runner","aud":["podkey","x"],"exp":99999999999}"#,
                "service account runner in namespace arc with audience podkey, x",
            ),
            (
                r#"{"sub":"repo:a/b","aud":"gh\nx"}"#,
                "subject repo:a/b with audience gh x",
            ),
            (
                r#"{"sub":"repo:a@1/b@2:ref:refs/heads/m","aud":"v","repository":"a/b","repository_id":"2","repository_owner_id":"1","ref":"refs/heads/m"}"#,
                "subject repo:a@1/b@2:ref:refs/heads/m, repository a/b, repository_id 2, repository_owner_id 1, ref refs/heads/m with audience v",
            ),
            (
                r#"{"sub":"s","aud":"v","repository_id":2,"environment":"a\nb"}"#,
                "subject s, environment a b with audience v",
            ),
            ("{}", "subject  with audience "),
            ("no json", "a token that is not a JWT"),
            (r#"{"exp":1e300}"#, "subject  with audience "),
        ] {
            assert_eq!(token(payload).identity(), identity);
        }
        let long = "x".repeat(10_000);
        let claims = GITHUB_CLAIMS.map(|name| format!(r#","{name}":"{long}""#)).concat();
        let identity = token(&format!(r#"{{"sub":"{long}"{claims}}}"#)).identity();
        assert!(identity.len() < 1200, "{}", identity.len());
        assert!(token(r#"{"exp":1}"#).identity().contains("expired by the local clock"));
        assert_eq!(
            Jwt(Secret::from(b"x.y".to_vec())).identity(),
            "a token that is not a JWT"
        );
    }
}
