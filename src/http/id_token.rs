//! The ID token that GitHub's OIDC provider gives a job, to log in with: one GET, with limits, no redirect, through the runner's
//! proxy. <https://docs.github.com/en/actions/reference/security/oidc#methods-for-requesting-the-oidc-token>

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use ::http::header::{self, HeaderValue};
use ::http::uri::Authority;
use ::http::{Request, Uri};
use http_body_util::Full;
use hyper::body::Bytes;
use serde::Deserialize;
use tokio::time::timeout_at;
use zeroize::Zeroizing;

use super::encode::encode_query;
use super::error::{TlsError, TransportError, size};
use super::exchange::{Exchange, KeptConnection, ResponseHead, USER_AGENT};
use super::jwt::Jwt;
use super::peer::Peer;
use super::proxy::ProxyVariables;
use super::redact::{clean, redact};
use super::retry::{Deadline, Pause, RetryDecision, RetryError, RetryWindow, Tries};
use super::trust::{TrustError, trust_public};
use crate::secret::Secret;

/// The longest answer, in bytes. A token has about two thousand.
const MAX_ANSWER: usize = 64 * 1024;

/// The variables in which the runner gives the URL and its token.
pub(crate) const REQUEST_URL_ENV: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
pub(crate) const REQUEST_TOKEN_ENV: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

/// Where a job asks for its ID token. The runner gives its hooks these values if the job has the permission.
#[derive(Debug)]
pub(crate) struct IdTokenSource {
    /// The variable [`REQUEST_URL_ENV`].
    pub(crate) url: String,
    /// The variable [`REQUEST_TOKEN_ENV`].
    pub(crate) bearer: Secret,
    /// The runner's proxy.
    pub(crate) proxy: ProxyVariables,
}

/// The kind of failure; the agent makes its exit code of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdTokenErrorKind {
    /// The runner's variables are wrong.
    Setup,
    /// Something between the runner and GitHub has answered.
    NotGitHub,
    /// GitHub cannot be reached, or cannot answer now.
    Unavailable,
    /// GitHub refuses a token to this job.
    Denied,
    /// The server's certificate is not trusted, or there are no authorities to verify it by.
    Trust,
}

/// Why there is no ID token, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct IdTokenError {
    pub(crate) kind: IdTokenErrorKind,
    /// What happened, lower case, no final dot.
    pub(crate) message: String,
    /// What to do. May be empty.
    pub(crate) hint: String,
}

impl IdTokenError {
    fn new(kind: IdTokenErrorKind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: hint.into(),
        }
    }

    fn no_token(kind: IdTokenErrorKind, why: impl std::fmt::Display, hint: &str) -> Self {
        Self::new(kind, format!("GitHub gave no ID token: {why}"), hint)
    }
}

impl RetryError for IdTokenError {
    fn is_same_kind(&self, other: &Self) -> bool {
        self.kind == other.kind
    }

    fn message(&self) -> &str {
        &self.message
    }

    fn with_retry_after(self, _: Option<Duration>) -> Self {
        self
    }

    fn no_answer(message: String, hint: &str) -> Self {
        Self::new(IdTokenErrorKind::Unavailable, message, hint)
    }
}

impl From<TrustError> for IdTokenError {
    fn from(error: TrustError) -> Self {
        let hint = match error {
            TrustError::NoBundle | TrustError::UnreadableBundle(..) => "install ca-certificates in the runner's image",
            TrustError::Certificates(_) => "the bundle must hold PEM certificates of authorities",
            TrustError::Library => "this is a fault of podkey: please report it",
            TrustError::Name(_) => "",
        };
        Self::new(IdTokenErrorKind::Trust, error.to_string(), hint)
    }
}

/// The URL is the runner's: the message says what is wrong with it, and does not quote it.
fn bad_url(what: &str) -> IdTokenError {
    IdTokenError::new(
        IdTokenErrorKind::Setup,
        format!("{REQUEST_URL_ENV} {what}"),
        "the runner sets this variable to the value that GitHub gave it: does anything but GitHub's runner run this hook?",
    )
}

/// A try that brought no token.
enum IdTokenFailure {
    /// No whole answer.
    Transport(TransportError),
    /// An answer that is no success, with GitHub's own message, if there is one.
    Refused(ResponseHead, Option<String>),
    /// A success without a token, and why.
    Malformed(&'static str, ResponseHead),
}

impl IdTokenSource {
    /// Asks for a token for this audience, or for GitHub's default audience. The connection trusts the public authorities of
    /// the bundle below `root`.
    pub(crate) async fn request(
        &self,
        audience: Option<&str>,
        deadline: Deadline,
        root: &Path,
    ) -> Result<Jwt, IdTokenError> {
        let uri: Uri = self.url.parse().map_err(|_| bad_url("is not a URL"))?;
        let server = https_authority(&uri)?;
        let peer = self.peer(server, root)?;
        let request = self.build(&uri, server, audience)?;
        let mut tries = Tries::new(deadline, "the request for GitHub's ID token".to_owned());
        loop {
            let failure = match timeout_at(deadline.end(), self.try_once(&peer, &request)).await {
                Err(_) => return Err(tries.out_of_time()),
                Ok(Ok(token)) => return Ok(token),
                Ok(Err(failure)) => failure,
            };
            tries.pause(classify(&failure)).await?;
        }
    }

    fn peer(&self, server: &Authority, root: &Path) -> Result<Peer, IdTokenError> {
        let host = server.host().trim_matches(['[', ']']);
        let port = server.port_u16().unwrap_or(443);
        let proxy = self.proxy.proxy_for(host, port).map_err(|why| {
            IdTokenError::new(
                IdTokenErrorKind::Setup,
                format!("the runner's variable https_proxy {why}"),
                "correct it where the runner's proxy is configured, or name GitHub's host in no_proxy",
            )
        })?;
        Ok(Peer::new(host, port, Some(trust_public(root, host)?)).through(proxy))
    }

    fn build(&self, uri: &Uri, server: &Authority, audience: Option<&str>) -> Result<Request<()>, IdTokenError> {
        let mut target = uri.path_and_query().map_or("/", |rest| rest.as_str()).to_owned();
        if let Some(audience) = audience {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str("audience=");
            target.extend(encode_query(audience));
        }
        let mut bearer = Zeroizing::new(b"Bearer ".to_vec());
        bearer.extend_from_slice(self.bearer.expose());
        let mut bearer = HeaderValue::from_bytes(&bearer).map_err(|_| {
            IdTokenError::new(
                IdTokenErrorKind::Setup,
                format!("{REQUEST_TOKEN_ENV} has characters that an HTTP header cannot have"),
                "",
            )
        })?;
        bearer.set_sensitive(true);
        Request::get(target)
            .header(header::HOST, server.as_str())
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "application/json; api-version=2.0")
            .header(header::AUTHORIZATION, bearer)
            .body(())
            .map_err(|_| bad_url("makes no valid request"))
    }

    async fn try_once(&self, peer: &Peer, request: &Request<()>) -> Result<Jwt, IdTokenFailure> {
        let how = Exchange {
            repeatable: true,
            sent: &Cell::default(),
            max_body: MAX_ANSWER,
            max_error_body: MAX_ANSWER,
        };
        let request = || Ok(request.clone().map(|()| Full::new(Bytes::new())));
        let response = peer
            .exchange(&mut KeptConnection::default(), &how, request)
            .await
            .map_err(IdTokenFailure::Transport)?;
        let confidential = std::slice::from_ref(&self.bearer);
        let head = response.head(confidential);
        if !response.is_success() {
            let message = github_message(&response.body).map(|text| clean(&redact(&text, confidential), 256));
            return Err(IdTokenFailure::Refused(head, message));
        }
        let Ok(answer) = serde_json::from_slice::<IdTokenAnswer>(&response.body) else {
            return Err(IdTokenFailure::Malformed("it is not JSON with a token", head));
        };
        let value = Zeroizing::new(answer.value.unwrap_or_default().into_bytes());
        Jwt::new(value).ok_or(IdTokenFailure::Malformed(
            "its token has a length or characters that no token has",
            head,
        ))
    }
}

/// Host and port of the URL, which must be one of https without a user.
fn https_authority(uri: &Uri) -> Result<&Authority, IdTokenError> {
    if uri.scheme_str() != Some("https") {
        return Err(bad_url("does not begin with https://"));
    }
    let authority = uri.authority().ok_or_else(|| bad_url("has no host"))?;
    match authority.as_str().contains('@') {
        true => Err(bad_url("has a user in it")),
        false => Ok(authority),
    }
}

#[derive(Deserialize)]
struct IdTokenAnswer {
    #[serde(default)]
    value: Option<String>,
}

/// GitHub's own words in a refusal.
fn github_message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct GitHubError {
        message: String,
    }
    let error: GitHubError = serde_json::from_slice(body).ok()?;
    Some(error.message)
}

/// A URL of the runner, and an answer of GitHub, for the fuzz target `http`. Law: no message has a control character.
#[cfg(all(any(test, feature = "fuzzing"), feature = "webhook"))]
pub(super) fn fuzzed(text: &str) {
    if let Ok(uri) = text.parse::<Uri>()
        && let Err(error) = https_authority(&uri)
    {
        assert!(!error.message.contains(char::is_control), "{error}");
    }
    let message = github_message(text.as_bytes()).map(|text| clean(&text, 256));
    let head = ResponseHead {
        status: 403,
        content_type: clean(text, 80),
    };
    if let RetryDecision::GiveUp(error) = refused(&head, message.as_deref()) {
        assert!(!error.message.contains(char::is_control), "{error}");
    }
    let _ = serde_json::from_str::<IdTokenAnswer>(text);
}

const IN_BETWEEN: &str = "does something between the runner and GitHub, such as a proxy, answer for it?";

fn give_up(kind: IdTokenErrorKind, why: impl std::fmt::Display, hint: &str) -> RetryDecision<IdTokenError> {
    RetryDecision::GiveUp(IdTokenError::no_token(kind, why, hint))
}

fn unavailable(why: impl std::fmt::Display, hint: &str) -> RetryDecision<IdTokenError> {
    let error = IdTokenError::no_token(IdTokenErrorKind::Unavailable, why, hint);
    RetryDecision::Retry(Pause::Jitter, RetryWindow::Budget, error)
}

/// What is worth a retry.
fn classify(failure: &IdTokenFailure) -> RetryDecision<IdTokenError> {
    match failure {
        IdTokenFailure::Malformed(what, head) => give_up(
            IdTokenErrorKind::NotGitHub,
            format!("the answer is not GitHub's: {head}, {what}"),
            IN_BETWEEN,
        ),
        IdTokenFailure::Refused(head, message) => refused(head, message.as_deref()),
        IdTokenFailure::Transport(error) => transport(error),
    }
}

fn refused(head: &ResponseHead, message: Option<&str>) -> RetryDecision<IdTokenError> {
    let words = match message {
        Some(message) => format!("status {}: {message}", head.status),
        None => head.to_string(),
    };
    match head.status {
        300..400 => give_up(
            IdTokenErrorKind::NotGitHub,
            format!("redirect refused (status {})", head.status),
            "podkey never sends a token to another place",
        ),
        408 | 429 | 500.. => unavailable(words, "see https://www.githubstatus.com, and run the job again"),
        // GitHub says why, in JSON. Only a bearer token that GitHub does not know may be refused without a reason.
        status if status != 401 && message.is_none() => give_up(
            IdTokenErrorKind::NotGitHub,
            format!("the answer is not GitHub's: {head}"),
            IN_BETWEEN,
        ),
        _ => give_up(
            IdTokenErrorKind::Denied,
            words,
            "the job's own right to ask may have ended: run it again",
        ),
    }
}

const UNREACHABLE: &str = "does the runner need a proxy (githubConfig's `proxy` of the scale set), and does a NetworkPolicy let the runner's pod reach GitHub?";

fn transport(error: &TransportError) -> RetryDecision<IdTokenError> {
    let why = match error {
        TransportError::TooLarge(limit) => {
            let why = format!("the answer is larger than {}", size(*limit));
            return give_up(IdTokenErrorKind::NotGitHub, why, "");
        }
        TransportError::Tls(error) => return tls(error),
        TransportError::NotHttp => "the answer is not HTTP".to_owned(),
        TransportError::Request(why) => (*why).to_owned(),
        TransportError::Resolve(why) => format!("the name does not resolve: {why}"),
        TransportError::Connect(why) => why.clone(),
        TransportError::Proxy(why) => format!("the proxy opened no tunnel: {why}"),
        TransportError::TimedOut(what, limit) => {
            format!("{what} took longer than {}", humantime::format_duration(*limit))
        }
        TransportError::Cut(why) => format!("the connection ended before the answer did: {why}"),
    };
    unavailable(why, UNREACHABLE)
}

fn tls(error: &TlsError) -> RetryDecision<IdTokenError> {
    const WHOSE: &str = "is the certificate that of GitHub, of a GitHub Enterprise Server (githubServerTLS of the scale set), or of a proxy?";
    let trust = |why: String, hint: &str| give_up(IdTokenErrorKind::Trust, why, hint);
    match error {
        TlsError::UnknownAuthority => trust(
            "its certificate is not signed by an authority of the runner image's bundle".into(),
            "for a GitHub Enterprise Server or a proxy with an authority of its own: set githubServerTLS of the scale set, which puts it there",
        ),
        TlsError::Name { .. } => trust("its certificate is for another name".into(), ""),
        TlsError::Time(times) => trust(times.clone(), "set the node's clock"),
        TlsError::NotTls => unavailable("it does not speak TLS", UNREACHABLE),
        TlsError::NothingInCommon => unavailable(error, UNREACHABLE),
        TlsError::Version
        | TlsError::WantsClientCertificate
        | TlsError::UnrecognizedName
        | TlsError::Alert(_)
        | TlsError::Other { .. } => trust(error.to_string(), WHOSE),
    }
}
