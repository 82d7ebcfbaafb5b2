//! One HTTP/1.1 request to a server that podkey does not trust yet: connect, check the TLS certificate, send, receive, within
//! a deadline and with limits. Follows no redirect, and reads no environment variable. Knows nothing of the server's API.
//!
//! Two users: `vault`, and [`id_token`], which asks GitHub for the ID token of a job.

mod certificate;
mod dial;
mod encode;
mod error;
mod exchange;
#[cfg(all(any(test, feature = "fuzzing"), feature = "webhook"))]
pub(crate) mod fuzzing;
mod handshake;
mod id_token;
mod jwt;
mod peer;
mod proxy;
mod redact;
mod retry;
mod trust;
mod verify;

pub(crate) use self::certificate::SUPPORTED;
pub(crate) use self::encode::encode_path;
pub(crate) use self::error::{TlsError, TransportError, size};
pub(crate) use self::exchange::{Exchange, HttpResponse, KeptConnection, ResponseHead, USER_AGENT};
pub(crate) use self::id_token::{IdTokenError, IdTokenErrorKind, IdTokenSource, REQUEST_TOKEN_ENV, REQUEST_URL_ENV};
pub(crate) use self::jwt::{Jwt, JwtLifetime, MAX_JWT};
pub(crate) use self::peer::Peer;
pub(crate) use self::proxy::ProxyVariables;
pub(crate) use self::redact::{clean, redact};
pub(crate) use self::retry::{Deadline, Pause, RetryDecision, RetryError, RetryWindow, Tries};
pub(crate) use self::trust::{TrustError, trust_ca};
