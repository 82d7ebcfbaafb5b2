//! The tokens that a login takes: the pod's service-account token, or the one that GitHub gives a job.

use std::borrow::Cow;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::{Kind, VaultError, clean};
use crate::plan::Role;
use crate::secret::Secret;

/// Real ones have about a thousand bytes.
const MAX_TOKEN: usize = 64 * 1024;

/// A signed token that says who we are. Shows nothing of itself.
#[derive(Debug)]
pub(crate) struct Jwt(Secret);

/// When a token was made and when it ends, by its own claims, in seconds since 1970. Nobody has checked the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Expiry {
    pub(super) exp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) iat: Option<u64>,
}

impl Expiry {
    /// How long the token is still good by the local clock, and its whole life. None where the local clock says that the token
    /// has ended: whoever took it knows better.
    pub(crate) fn left(self, now: SystemTime) -> Option<(Duration, Duration)> {
        let end = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.exp))?;
        let left = end.duration_since(now).ok().filter(|left| !left.is_zero())?;
        let life = self
            .iat
            .and_then(|iat| self.exp.checked_sub(iat))
            .map(Duration::from_secs);
        // A local clock that is behind must not make a token older than it can become.
        Some((life.map_or(left, |life| left.min(life)), life.unwrap_or(left)))
    }
}

/// Whether the service-account token in this file ends later than another one. The kubelet replaces the file in time.
pub(crate) fn is_later(file: &Path, than: Expiry) -> bool {
    let expiry = Jwt::read(file).ok().and_then(|token| token.expiry());
    expiry.is_some_and(|expiry| expiry.exp > than.exp)
}

/// What to log in with.
pub(crate) enum Credential<'a> {
    /// The projected service-account token as the kubelet wrote it, read anew for each try.
    File(&'a Path),
    /// This one.
    Token(&'a Jwt),
}

/// Why there is no token (yet).
pub(super) struct NoToken(pub(super) VaultError);

impl Jwt {
    /// The service-account token in this file.
    pub(super) fn read(file: &Path) -> Result<Self, NoToken> {
        let shown = file.display();
        let no = |message: String| {
            NoToken(VaultError::new(
                Kind::Setup,
                message,
                "is the volume podkey-token mounted in this container, with a serviceAccountToken projection that this user may read?",
            ))
        };
        let bytes = read_at_most(file, MAX_TOKEN).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => no(format!("there is no service-account token at {shown}")),
            _ => no(format!("the service-account token {shown} cannot be read: {error}")),
        })?;
        let end = bytes
            .iter()
            .rposition(|b| !b.is_ascii_whitespace())
            .map_or(0, |last| last + 1);
        if end == 0 {
            return Err(no(format!("the service-account token {shown} is empty")));
        }
        if bytes.len() > MAX_TOKEN {
            return Err(no(format!("the service-account token {shown} is longer than 64 KiB")));
        }
        if let Some(at) = bytes[..end].iter().position(|b| !b.is_ascii_graphic()) {
            return Err(no(format!(
                "the service-account token {shown} is no token: byte {} is none that a token has",
                at + 1
            )));
        }
        Ok(Self(Secret::from(bytes[..end].to_vec())))
    }

    /// A token that came in an answer, if it can be one.
    pub(super) fn given(bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        let fits = (1..=MAX_TOKEN).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
        fits.then(|| Self(bytes.into()))
    }

    /// A claim that is a text. Nobody has checked the signature: good for messages, and for what the server checks again.
    pub(crate) fn claim(&self, name: &str) -> Option<String> {
        match self.payload::<serde_json::Value>()?.get_mut(name)?.take() {
            serde_json::Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The token itself.
    pub(super) fn secret(&self) -> &Secret {
        &self.0
    }

    /// Whom the token speaks for, in words for a message; never the token.
    pub(super) fn identity(&self) -> String {
        let Some(claims) = self.payload::<Claims>() else {
            return "a token that is no JWT".to_owned();
        };
        let mut words = match claims
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
        let audiences: Vec<String> = claims.aud.list().iter().map(|aud| clean(aud, 128)).collect();
        words.push_str(&format!(" with audience {}", audiences.join(", ")));
        if let Some(late) = self.expired(SystemTime::now()) {
            words.push_str(&format!(", expired by the local clock {late} ago"));
        }
        words
    }

    /// How long ago the token expired, if it did.
    pub(super) fn expired(&self, now: SystemTime) -> Option<humantime::FormattedDuration> {
        let exp =
            SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(self.payload::<Claims>()?.exp?).ok()?)?;
        let late = now.duration_since(exp).ok()?;
        Some(humantime::format_duration(Duration::from_secs(late.as_secs())))
    }

    /// When the token ends, where it says so.
    pub(super) fn expiry(&self) -> Option<Expiry> {
        let claims = self.payload::<Claims>()?;
        let seconds = |claim: Option<f64>| Some(Duration::try_from_secs_f64(claim?).ok()?.as_secs());
        Some(Expiry {
            exp: seconds(claims.exp)?,
            iat: seconds(claims.iat),
        })
    }

    fn payload<T: for<'a> Deserialize<'a>>(&self) -> Option<T> {
        let payload = self.0.expose().split(|b| *b == b'.').nth(1)?;
        let json = Zeroizing::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?);
        serde_json::from_slice(&json).ok()
    }

    /// The body of the login request, the same for both methods. Wiped when the request is done with it.
    pub(super) fn login_body(&self, role: &Role) -> Result<Bytes, VaultError> {
        // The error's text could hold the token.
        let cannot = || VaultError::new(Kind::Setup, "the login request cannot be made", "");
        // Checked to be ASCII when it was read.
        let jwt = std::str::from_utf8(self.0.expose()).map_err(|_| cannot())?;
        let role = role.as_str();
        // Neither has a character that takes more than one to escape: a buffer that never grows leaves no copy behind.
        let mut body = Zeroizing::new(Vec::with_capacity(2 * (role.len() + jwt.len()) + 32));
        serde_json::to_writer(&mut *body, &LoginBody { role, jwt }).map_err(|_| cannot())?;
        Ok(Bytes::from_owner(body))
    }
}

#[derive(Serialize)]
struct LoginBody<'a> {
    role: &'a str,
    jwt: &'a str,
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

/// One byte more than the limit tells that there is more.
fn read_at_most(file: &Path, limit: usize) -> std::io::Result<Zeroizing<Vec<u8>>> {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::OFlags;

    let mut bytes = Zeroizing::new(Vec::with_capacity(2048));
    // A pipe in its place would keep us waiting past every budget.
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(file)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> Jwt {
        let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(payload);
        Jwt(Secret::from(format!("e30.{payload}.canary").into_bytes()))
    }

    #[test]
    fn the_login_body_is_json_whatever_the_role_is_called() {
        let role = r#"a "role" \ $(X)"#;
        let body = token("{}").login_body(&role.parse().unwrap()).map_err(|_| ()).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body, serde_json::json!({"role": role, "jwt": "e30.e30.canary"}));
    }

    #[test]
    fn a_token_says_when_it_ends_or_does_not() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let left = |payload: &str, now: u64| {
            let (left, life) = token(payload).expiry()?.left(at(now))?;
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
    fn only_a_file_with_a_later_token_is_worth_another_login() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let than = Expiry { exp: 1600, iat: None };
        assert!(!is_later(&file, than), "no file");
        for (payload, later) in [
            (r#"{"exp":1600}"#, false),
            (r#"{"exp":1599}"#, false),
            (r#"{"exp":1601}"#, true),
            ("{}", false),
        ] {
            std::fs::write(&file, token(payload).secret().expose()).unwrap();
            assert_eq!(is_later(&file, than), later, "{payload}");
        }
        std::fs::write(&file, "no token at all").unwrap();
        assert!(!is_later(&file, than));
    }

    #[test]
    fn whom_a_token_speaks_for_is_told_without_the_token() {
        for (payload, words) in [
            (
                r#"{"sub":"system:serviceaccount:arc:runner","aud":["vault","x"],"exp":99999999999}"#,
                "service account runner in namespace arc with audience vault, x",
            ),
            (
                r#"{"sub":"repo:a/b","aud":"gh\nx"}"#,
                "subject repo:a/b with audience gh x",
            ),
            ("{}", "subject  with audience "),
            ("no json", "a token that is no JWT"),
            (r#"{"exp":1e300}"#, "subject  with audience "),
        ] {
            assert_eq!(token(payload).identity(), words);
        }
        assert!(token(r#"{"exp":1}"#).identity().contains("expired by the local clock"));
        assert_eq!(Jwt(Secret::from(b"x.y".to_vec())).identity(), "a token that is no JWT");
    }
}
