//! The token that GitHub's OIDC provider gives a job, to log in with: one GET, with limits, no redirect, and the runner's proxy.
//! <https://docs.github.com/en/actions/reference/security/oidc#methods-for-requesting-the-oidc-token>

use std::path::Path;

use http::header::{self, HeaderValue};
use http::{Request, Uri};
use http_body_util::Full;
use hyper::body::Bytes;
use serde::Deserialize;
use tokio::time::{timeout, timeout_at};
use zeroize::Zeroizing;

use super::classify::{FailedTry, Patience, Pause, Verdict};
use super::error::{Head, Kind, Refusal, TlsFailure, TransportError, VaultError, clean};
use super::login::Jwt;
use super::peer::{Peer, from_hyper, receive};
use super::proxy::ProxyVariables;
use super::redact::redact;
use super::retry::{Deadline, Tries};
use super::transport::REQUEST;
use super::trust;
use crate::plan::Audience;
use crate::secret::Secret;

/// A token has about two thousand bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Where a job asks for its token, as the runner tells its hooks when the job has the permission.
#[derive(Debug)]
pub(crate) struct IdTokenSource {
    /// `ACTIONS_ID_TOKEN_REQUEST_URL`.
    pub url: String,
    /// `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
    pub bearer: Secret,
    /// The runner's proxy.
    pub proxy: ProxyVariables,
}

impl IdTokenSource {
    /// Asks for a token for this audience, or for GitHub's default one. GitHub is trusted by the public authorities of the
    /// bundle below `root`.
    pub(crate) async fn ask(
        &self,
        audience: Option<&Audience>,
        deadline: Deadline,
        root: &Path,
    ) -> Result<Jwt, VaultError> {
        let (peer, request) = self.prepare(audience, root)?;
        let mut tries = Tries::new(deadline, "the request for GitHub's ID token".to_owned());
        loop {
            let failure = match timeout_at(deadline.end(), timeout(REQUEST, self.once(&peer, &request))).await {
                Err(_) => return Err(tries.out_of_time()),
                Ok(Err(_)) => FailedTry::Transport(TransportError::TimedOut("the request", REQUEST)),
                Ok(Ok(Ok(token))) => return Ok(token),
                Ok(Ok(Err(failure))) => failure,
            };
            tries.pause(judge(&failure)).await?;
        }
    }

    fn prepare(&self, audience: Option<&Audience>, root: &Path) -> Result<(Peer, Request<()>), VaultError> {
        // The URL is the runner's word; what is wrong with it is said, it is not shown.
        let bad = |what: &str| {
            VaultError::new(
                Kind::Setup,
                format!("ACTIONS_ID_TOKEN_REQUEST_URL {what}"),
                "the runner sets it, as GitHub told it to: is this hook run by anything but GitHub's runner?",
            )
        };
        let uri: Uri = self.url.parse().map_err(|_| bad("is no URL"))?;
        if uri.scheme_str() != Some("https") {
            return Err(bad("does not begin with https://"));
        }
        let authority = uri.authority().ok_or_else(|| bad("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("has a user in it"));
        }
        let (host, port) = (
            authority.host().trim_matches(['[', ']']),
            authority.port_u16().unwrap_or(443),
        );
        let mut target = uri.path_and_query().map_or("/", |rest| rest.as_str()).to_owned();
        if let Some(audience) = audience {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str("audience=");
            for byte in audience.as_str().bytes() {
                match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        target.push(char::from(byte));
                    }
                    _ => target.push_str(&format!("%{byte:02X}")),
                }
            }
        }
        let proxy = self.proxy.proxy_for(host, port).map_err(|why| {
            VaultError::new(
                Kind::Setup,
                format!("the runner's variable https_proxy {why}"),
                "correct it where the runner's proxy is configured, or name GitHub's host in no_proxy",
            )
        })?;
        let peer = Peer::new(host, port, Some(trust::public_connector(root, host)?)).through(proxy);
        let mut bearer = Zeroizing::new(b"Bearer ".to_vec());
        bearer.extend_from_slice(self.bearer.expose());
        let mut bearer = HeaderValue::from_bytes(&bearer).map_err(|_| {
            VaultError::new(
                Kind::Setup,
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN fits into no HTTP header",
                "",
            )
        })?;
        bearer.set_sensitive(true);
        let request = Request::get(target)
            .header(header::HOST, authority.as_str())
            .header(header::USER_AGENT, concat!("podkey/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "application/json; api-version=2.0")
            .header(header::AUTHORIZATION, bearer)
            .body(())
            .map_err(|_| bad("makes no valid request"))?;
        Ok((peer, request))
    }

    async fn once(&self, peer: &Peer, request: &Request<()>) -> Result<Jwt, FailedTry> {
        let failed = |error: &hyper::Error| FailedTry::Transport(from_hyper(error));
        let mut sender = peer.connect().await.map_err(FailedTry::Transport)?;
        let request = request.clone().map(|()| Full::new(Bytes::new()));
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let (parts, body) = response.into_parts();
        let body = receive(body, MAX_ANSWER).await;
        let content_type = parts.headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let head = Head {
            status: parts.status.as_u16(),
            content_type: clean(&redact(content_type, std::slice::from_ref(&self.bearer)), 80),
        };
        if !parts.status.is_success() {
            // GitHub's own words, where it has any.
            let words = body
                .ok()
                .and_then(|body| message(&body))
                .map(|text| redact(&text, std::slice::from_ref(&self.bearer)));
            return Err(FailedTry::Refused(Box::new(Refusal {
                head,
                from_vault: words.is_some(),
                errors: words.iter().map(|text| clean(text, 256)).collect(),
                ..Refusal::default()
            })));
        }
        let body = body.map_err(FailedTry::Transport)?;
        let Ok(answer) = serde_json::from_slice::<Answer>(&body) else {
            return Err(FailedTry::Nonsense("it is no JSON with a token", head));
        };
        let value = Zeroizing::new(answer.value.unwrap_or_default().into_bytes());
        Jwt::given(value).ok_or(FailedTry::Nonsense("its token is none", head))
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    value: Option<String>,
}

fn message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Error {
        message: String,
    }
    serde_json::from_slice::<Error>(body).ok().map(|error| error.message)
}

const BETWEEN: &str = "does something between the runner and GitHub, such as a proxy, answer for it?";

/// What is worth another try.
fn judge(failure: &FailedTry) -> Verdict {
    let fatal = |kind, message: String, hint: &str| Verdict::Fatal(VaultError::new(kind, message, hint));
    let again = |kind, message: String, hint: &str| {
        Verdict::Retry(Pause::Jitter, Patience::Budget, VaultError::new(kind, message, hint))
    };
    let no_token = |why: String| format!("GitHub gave no ID token: {why}");
    match failure {
        FailedTry::Nonsense(what, head) => fatal(
            Kind::NotVault,
            no_token(format!("the answer is not GitHub's: {head}, {what}")),
            BETWEEN,
        ),
        FailedTry::Refused(refusal) => match refusal.head.status {
            300..400 => fatal(
                Kind::NotVault,
                no_token(format!("redirect refused (status {})", refusal.head.status)),
                "podkey never takes a token elsewhere",
            ),
            408 | 429 | 500.. => again(
                Kind::Unavailable,
                no_token(refusal.words()),
                "see https://www.githubstatus.com, and run the job again",
            ),
            // GitHub says why, in JSON; only a token that it does not know it may refuse without.
            status if status != 401 && !refusal.from_vault => fatal(
                Kind::NotVault,
                no_token(format!("the answer is not GitHub's: {}", refusal.head)),
                BETWEEN,
            ),
            _ => fatal(
                Kind::Denied,
                no_token(refusal.words()),
                "the job's own right to ask may have ended: run it again",
            ),
        },
        FailedTry::Transport(error) => {
            const PROXY: &str = "does the runner need a proxy (githubConfig's `proxy` of the scale set), and does a NetworkPolicy let the runner's pod reach GitHub?";
            let why = match error {
                TransportError::TooLarge(_) => {
                    return fatal(
                        Kind::NotVault,
                        no_token("the answer is larger than 64 KiB".to_owned()),
                        "",
                    );
                }
                TransportError::Tls(TlsFailure::UnknownAuthority) => {
                    return fatal(
                        Kind::Trust,
                        no_token(
                            "its certificate is not signed by an authority of the runner image's bundle".to_owned(),
                        ),
                        "for a GitHub Enterprise Server or a proxy with an authority of its own: set githubServerTLS of the scale set, which puts it there",
                    );
                }
                TransportError::Tls(TlsFailure::Name { .. }) => {
                    return fatal(
                        Kind::Trust,
                        no_token("its certificate is for another name".to_owned()),
                        "",
                    );
                }
                TransportError::Tls(TlsFailure::Time(times)) => {
                    return fatal(Kind::Trust, no_token(times.clone()), "set the node's clock");
                }
                TransportError::Tls(TlsFailure::NotTls) => "it does not speak TLS".to_owned(),
                TransportError::Tls(TlsFailure::NothingInCommon) => {
                    "the server found nothing in common with podkey in the TLS handshake".to_owned()
                }
                TransportError::Tls(TlsFailure::Other { what, .. }) => {
                    return fatal(
                        Kind::Trust,
                        no_token(what.clone()),
                        "is the certificate that of GitHub, of a GitHub Enterprise Server (githubServerTLS of the scale set), or of a proxy?",
                    );
                }
                TransportError::NotHttp => "the answer is not HTTP".to_owned(),
                TransportError::Request(why) => (*why).to_owned(),
                TransportError::Resolve(why) => format!("the name does not resolve: {why}"),
                TransportError::Connect(why) => why.clone(),
                TransportError::Proxy(why) => format!("the proxy gives no way through: {why}"),
                TransportError::TimedOut(what, limit) => {
                    format!("{what} took longer than {}", humantime::format_duration(*limit))
                }
                TransportError::Cut(why) => format!("the connection ended before the answer did: {why}"),
            };
            again(Kind::Unavailable, no_token(why), PROXY)
        }
    }
}
