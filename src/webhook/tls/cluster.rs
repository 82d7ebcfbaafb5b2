//! The calls to the API server: two objects are read, and written where somebody has to; and what version it has.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kube::config::{Config, KubeConfigOptions};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::authority::CLOCK_ERROR;
use crate::inject::KubernetesVersion;
use crate::webhook::file;

/// For one call, from connecting to the answer's last byte.
const TIMEOUT: Duration = Duration::from_secs(10);
/// For Kubernetes' version, all tries together: nothing is served before.
const VERSION_TIMEOUT: Duration = Duration::from_secs(5);
const VERSION_PAUSE: Duration = Duration::from_millis(500);
/// The API server stores no object that is larger than half of this.
const MAX_ANSWER_BYTES: usize = 3 * 1024 * 1024;
/// So much of what the API server says about a refusal is worth reading.
const MAX_MESSAGE: usize = 400;

/// What `podkey serve` is told about making its own certificate.
#[derive(Debug, Clone, Default)]
pub struct ByItself {
    /// The Service by which the API server calls us.
    pub service: String,
    /// Where the Service and the Secret are.
    pub namespace: String,
    /// The Secret that holds the certificate authority.
    pub secret: String,
    /// The MutatingWebhookConfiguration whose `caBundle` we keep.
    pub webhook_configuration: String,
}

/// Why there is no way to the API server.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// `KUBECONFIG` names something that cannot be used.
    #[error("cannot use the kubeconfig that KUBECONFIG names")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// This is no pod with a service account's token.
    #[error(
        "to make its own certificate podkey must reach the API server, and this is no pod with a service account's token \
         (automountServiceAccountToken). Give it one, or KUBECONFIG, or certificates of yours with --tls-cert and --tls-key"
    )]
    NoPod(#[from] kube::config::InClusterError),
    /// The kubeconfig asks for more than we do.
    #[error(
        "the kubeconfig that KUBECONFIG names must have an https server with a certificate-authority, and a user with a token \
         or tokenFile: no client certificate, program, password, proxy or impersonation"
    )]
    Unsupported,
}

/// One call.
#[derive(Clone, PartialEq)]
pub(super) enum Request {
    ReadSecret,
    CreateSecret(Value),
    /// The Secret as it was read, with other data: refused where it has changed since.
    UpdateSecret(Value),
    ReadConfiguration,
    /// A JSON Patch.
    PatchConfiguration(Value),
    ReadVersion,
}

impl fmt::Debug for Request {
    /// Without what is written: in a Secret that is a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadSecret => "ReadSecret",
            Self::CreateSecret(_) => "CreateSecret",
            Self::UpdateSecret(_) => "UpdateSecret",
            Self::ReadConfiguration => "ReadConfiguration",
            Self::PatchConfiguration(_) => "PatchConfiguration",
            Self::ReadVersion => "ReadVersion",
        })
    }
}

/// The object, where there is one.
pub(super) type Answer = Result<Option<Value>, Failure>;

/// Why a call did not do what it should.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    /// For the operator, with what to do.
    pub(super) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Somebody else was faster.
    Conflict,
    /// No answer, or one that says to come back.
    Unreachable,
    /// A right is missing.
    Forbidden,
    /// Any other answer.
    Refused,
}

/// The way to the API server. Each call has a connection of its own, and reads token and CA anew where they are files, which
/// the kubelet renews. (kube's client is made for much more, is 2 MB, and logs an answer that it cannot parse: a Secret, say.)
pub(in crate::webhook) struct Cluster {
    server: Uri,
    name: ServerName<'static>,
    roots: Roots,
    token: Token,
    names: ByItself,
}

/// Who signs the API server's certificate.
enum Roots {
    Der(Vec<Vec<u8>>),
    File(PathBuf),
}

/// Who podkey is for the API server.
enum Token {
    Text(SecretString),
    File(PathBuf),
}

impl Cluster {
    /// By the file that `KUBECONFIG` names, else as the pod that this is.
    pub(in crate::webhook) async fn connect(names: ByItself) -> Result<Self, ClusterError> {
        // A ~/.kube/config that happens to be there is nobody's order to write into that cluster.
        let config = if std::env::var_os("KUBECONFIG").is_some() {
            Config::from_kubeconfig(&KubeConfigOptions::default()).await?
        } else {
            Config::incluster()?
        };
        Self::new(config, names).ok_or(ClusterError::Unsupported)
    }

    /// As the pod that this is, for calls that name nothing of podkey's; none where it is no pod, or one without a token.
    pub(in crate::webhook) fn of_this_pod() -> Option<Self> {
        Self::new(Config::incluster().ok()?, ByItself::default())
    }

    /// `None` where the config has what we do not do, rather than doing something else.
    fn new(config: Config, names: ByItself) -> Option<Self> {
        let user = config.auth_info;
        let certificate = user.client_certificate.is_some() || user.client_certificate_data.is_some();
        let program = user.exec.is_some() || user.auth_provider.is_some();
        let refused = certificate || program || user.username.is_some() || user.impersonate.is_some();
        let https = config.cluster_url.scheme() == Some(&http::uri::Scheme::HTTPS);
        if refused || config.proxy_url.is_some() || config.accept_invalid_certs || !https {
            return None;
        }
        let host = config.cluster_url.host()?.trim_matches(['[', ']']).to_owned();
        Some(Self {
            name: ServerName::try_from(config.tls_server_name.unwrap_or(host)).ok()?,
            server: config.cluster_url,
            roots: match (config.root_cert_file, config.root_cert) {
                (Some(file), _) => Roots::File(file),
                (None, Some(der)) => Roots::Der(der),
                (None, None) => return None,
            },
            token: match (user.token_file, user.token) {
                (Some(file), _) => Token::File(file.into()),
                (None, Some(token)) => Token::Text(token),
                (None, None) => return None,
            },
            names,
        })
    }

    /// The version of Kubernetes: tried again until it is answered or [`VERSION_TIMEOUT`] is over.
    pub(in crate::webhook) async fn version(&self, now: fn() -> SystemTime) -> Result<KubernetesVersion, String> {
        let mut why = "no answer".to_owned();
        let answered = timeout(VERSION_TIMEOUT, async {
            loop {
                match self.call(Request::ReadVersion, now()).await {
                    Ok(answer) => break version(answer),
                    Err(failure) if failure.reason == Reason::Unreachable => why = failure.message,
                    Err(failure) => break Err(failure.message),
                }
                sleep(VERSION_PAUSE).await;
            }
        });
        answered.await.unwrap_or(Err(why))
    }

    /// `now` is what this replica's clock says, to hold against the API server's.
    pub(super) async fn call(&self, request: Request, now: SystemTime) -> Answer {
        let about = About::new(&request, &self.names);
        match timeout(TIMEOUT, self.answer(request, &about, now)).await {
            Ok(answer) => answer,
            Err(_) => Err(about.unreachable(&format!("no answer within {}", humantime::format_duration(TIMEOUT)))),
        }
    }

    async fn answer(&self, request: Request, about: &About, now: SystemTime) -> Answer {
        let (method, content_type, body) = match &request {
            Request::ReadSecret | Request::ReadConfiguration | Request::ReadVersion => (Method::GET, None, None),
            Request::CreateSecret(secret) => (Method::POST, Some("application/json"), Some(secret)),
            Request::UpdateSecret(secret) => (Method::PUT, Some("application/json"), Some(secret)),
            Request::PatchConfiguration(patch) => (Method::PATCH, Some("application/json-patch+json"), Some(patch)),
        };
        let mut builder = http::Request::builder()
            .method(method)
            .uri(format!("{}{}", self.server.path().trim_end_matches('/'), about.uri))
            .header(
                header::HOST,
                self.server.authority().map_or("", http::uri::Authority::as_str),
            )
            .header(header::USER_AGENT, concat!("podkey/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "application/json");
        if let Some(content_type) = content_type {
            builder = builder.header(header::CONTENT_TYPE, content_type);
        }
        let local = |error: io::Error| about.refused(&error.to_string());
        builder = builder.header(header::AUTHORIZATION, self.token.header().map_err(local)?);
        let body = body.map_or_else(Bytes::new, |value| value.to_string().into());
        let http_request = builder
            .body(Full::new(body))
            .map_err(|error| about.refused(&error.to_string()))?;
        let connector = self.roots.connector().map_err(local)?;
        let sent = self.send(connector, http_request).await;
        let (response, _driver) = sent.map_err(|error| about.unreachable(&error.to_string()))?;
        let (head, body) = response.into_parts();
        let collected = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        let bytes = collected
            .map_err(|_| about.unreachable("the answer broke off or has no end"))?
            .to_bytes();
        about.understand(&request, now, head.status, &head.headers, &bytes)
    }
}

impl Cluster {
    async fn send(
        &self,
        connector: TlsConnector,
        request: http::Request<Full<Bytes>>,
    ) -> io::Result<(http::Response<Incoming>, JoinSet<hyper::Result<()>>)> {
        let host = self.server.host().unwrap_or_default().trim_matches(['[', ']']);
        let tcp = TcpStream::connect((host, self.server.port_u16().unwrap_or(443))).await?;
        let tls = connector.connect(self.name.clone(), tcp).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await.map_err(io::Error::other)?;
        // Ends when it is dropped: with the answer's last byte, or with a call that has taken too long.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        Ok((response, driver))
    }
}

impl Roots {
    fn connector(&self) -> io::Result<TlsConnector> {
        let mut roots = RootCertStore::empty();
        match self {
            Self::Der(certificates) => {
                roots.add_parsable_certificates(certificates.iter().map(|der| CertificateDer::from(der.as_slice())));
            }
            Self::File(path) => {
                let pem = read(path, "the API server's CA")?;
                roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

impl Token {
    fn header(&self) -> io::Result<HeaderValue> {
        let text = match self {
            Self::Text(token) => Zeroizing::new(format!("Bearer {}", token.expose_secret())),
            Self::File(path) => {
                let token = read(path, "the service account's token")?;
                Zeroizing::new(format!("Bearer {}", String::from_utf8_lossy(&token).trim()))
            }
        };
        let mut value =
            HeaderValue::from_str(&text).map_err(|_| io::Error::other("the service account's token is no token"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn read(path: &Path, what: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    let bytes = file::read(path);
    bytes
        .map(Zeroizing::new)
        .map_err(|error| io::Error::other(format!("cannot read {what} from {}: {error}", path.display())))
}

/// What `/version` says (<https://pkg.go.dev/k8s.io/apimachinery/pkg/version#Info>).
fn version(answer: Option<Value>) -> Result<KubernetesVersion, String> {
    let answer = answer.unwrap_or_default();
    let text = answer["gitVersion"].as_str().unwrap_or_default();
    text.parse().map_err(|why| {
        let text: String = text.chars().take(64).collect();
        format!("the API server's answer {text:?} {why}")
    })
}

/// What time it is by the clock of whoever answers.
fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()
}

fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|error| error.duration())
}

/// The API server's account of a failure.
#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    message: String,
}

/// What a call is about, for its address and for messages.
struct About {
    uri: String,
    verb: &'static str,
    object: String,
    /// The rule that allows it.
    rule: String,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.object)
    }
}

impl About {
    fn new(request: &Request, names: &ByItself) -> Self {
        let ByItself {
            namespace,
            secret,
            webhook_configuration: configuration,
            ..
        } = names;
        let verb = match request {
            Request::ReadSecret | Request::ReadConfiguration | Request::ReadVersion => "get",
            Request::CreateSecret(_) => "create",
            Request::UpdateSecret(_) => "update",
            Request::PatchConfiguration(_) => "patch",
        };
        let secrets = format!("/api/v1/namespaces/{namespace}/secrets");
        let configurations = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
        let uri = match request {
            Request::ReadSecret => format!("{secrets}/{secret}"),
            Request::CreateSecret(_) => format!("{secrets}?fieldManager=podkey"),
            Request::UpdateSecret(_) => format!("{secrets}/{secret}?fieldManager=podkey"),
            Request::ReadConfiguration => format!("{configurations}/{configuration}"),
            Request::PatchConfiguration(_) => format!("{configurations}/{configuration}?fieldManager=podkey"),
            Request::ReadVersion => "/version".to_owned(),
        };
        let (object, rule) = match request {
            Request::CreateSecret(_) => (
                format!("the Secret {namespace}/{secret}"),
                format!("a Role in the namespace {namespace} with the verb create on secrets (without resourceNames)"),
            ),
            Request::ReadSecret | Request::UpdateSecret(_) => (
                format!("the Secret {namespace}/{secret}"),
                format!(
                    "a Role in the namespace {namespace} with the verb {verb} on secrets, resourceNames [{secret}]"
                ),
            ),
            Request::ReadConfiguration | Request::PatchConfiguration(_) => (
                format!("the MutatingWebhookConfiguration {configuration}"),
                format!(
                    "a ClusterRole with the verb {verb} on mutatingwebhookconfigurations.admissionregistration.k8s.io, \
                     resourceNames [{configuration}]"
                ),
            ),
            Request::ReadVersion => (
                "Kubernetes' version".to_owned(),
                "the ClusterRole system:public-info-viewer, which every cluster has,".to_owned(),
            ),
        };
        Self {
            uri,
            verb,
            object,
            rule,
        }
    }

    /// What an answer says. Not kube's way of reading it: that logs what it cannot parse, and it might be a Secret.
    fn understand(
        &self,
        request: &Request,
        now: SystemTime,
        status: StatusCode,
        headers: &HeaderMap,
        bytes: &[u8],
    ) -> Answer {
        // Whoever judges the shared CA by a clock that is further off replaces it again and again, and takes out of the
        // caBundle what others are served by.
        if let Some(theirs) = date(headers).filter(|theirs| apart(*theirs, now) > CLOCK_ERROR) {
            return Err(self.refused(&format!(
                "the clock here says {}, the API server's {}. Set the clock of this pod's node right",
                humantime::format_rfc3339_seconds(now),
                humantime::format_rfc3339_seconds(theirs)
            )));
        }
        if status.is_success() {
            let object: Map<_, _> =
                serde_json::from_slice(bytes).map_err(|_| self.refused("the answer is no JSON object"))?;
            return Ok(Some(object.into()));
        }
        let said = serde_json::from_slice::<Status>(bytes).unwrap_or_default().message;
        let said: String = said.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect();
        match (status, request) {
            (StatusCode::NOT_FOUND, Request::ReadSecret | Request::ReadConfiguration) => Ok(None),
            // It was there a moment ago.
            (StatusCode::NOT_FOUND, Request::UpdateSecret(_) | Request::PatchConfiguration(_)) => Err(self.conflict()),
            (StatusCode::CONFLICT, _) => Err(self.conflict()),
            (StatusCode::FORBIDDEN, _) => Err(self.forbidden(&said)),
            (StatusCode::UNAUTHORIZED, _) => Err(Failure {
                reason: Reason::Forbidden,
                message: format!("cannot {self}: the API server does not accept podkey's service-account token (401)"),
            }),
            (StatusCode::TOO_MANY_REQUESTS, _) => Err(self.unreachable("429 too many requests")),
            _ if status.is_server_error() => Err(self.unreachable(&format!("{status}: {said}"))),
            _ => Err(self.refused(&format!("{status}: {said}"))),
        }
    }

    fn conflict(&self) -> Failure {
        Failure {
            reason: Reason::Conflict,
            message: format!("somebody else was faster to change {}", self.object),
        }
    }

    fn unreachable(&self, cause: &str) -> Failure {
        Failure {
            reason: Reason::Unreachable,
            message: format!("cannot {self}: {cause}"),
        }
    }

    fn forbidden(&self, said: &str) -> Failure {
        Failure {
            reason: Reason::Forbidden,
            message: format!(
                "may not {self} (403): bind {} to podkey's service account, as its chart and manifests do. The API server says: \
                 {said}",
                self.rule
            ),
        }
    }

    fn refused(&self, said: &str) -> Failure {
        Failure {
            reason: Reason::Refused,
            message: format!("cannot {self}: {said}"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// An API server that gives these answers (status line's end, body) to one call each.
    pub(in crate::webhook) async fn answering(answers: &'static [(&'static str, &'static str)]) -> Cluster {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let der = certified.cert.der().clone();
        let key = rustls_pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![der.clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            for (status, body) in answers {
                let (tcp, _) = listener.accept().await.unwrap();
                let mut tls = acceptor.accept(tcp).await.unwrap();
                let mut request = vec![0; 4096];
                let length = tls.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..length]).to_ascii_lowercase();
                assert!(request.starts_with("get /version http/1.1\r\n"), "{request}");
                assert!(request.contains("\r\nauthorization: bearer t\r\n"), "{request}");
                let length = body.len();
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
                tls.write_all(answer.as_bytes()).await.unwrap();
                tls.shutdown().await.unwrap();
            }
        });
        Cluster {
            server: format!("https://localhost:{port}").parse().unwrap(),
            name: ServerName::try_from("localhost").unwrap(),
            roots: Roots::Der(vec![der.to_vec()]),
            token: Token::Text("t".into()),
            names: ByItself::default(),
        }
    }

    #[tokio::test]
    async fn the_version_is_what_the_api_server_says() {
        const OK: &str = r#"{"major":"1","minor":"33+","gitVersion":"v1.33.5+k3s1"}"#;
        let version = async |answers| answering(answers).await.version(SystemTime::now).await;
        assert_eq!(version(&[("200 OK", OK)]).await.unwrap().to_string(), "1.33");
        let second = version(&[("503 Service Unavailable", "starting"), ("200 OK", OK)]).await;
        assert_eq!(second.unwrap().to_string(), "1.33", "not tried again");
        for (answers, why) in [
            (
                &[("403 Forbidden", r#"{"message":"no"}"#)][..],
                "system:public-info-viewer",
            ),
            (
                &[("401 Unauthorized", "{}")],
                "does not accept podkey's service-account token",
            ),
            (&[("200 OK", "[]")], "no JSON object"),
            (&[("200 OK", "{}")], "\"\" is not a version of Kubernetes"),
            (
                &[("200 OK", r#"{"gitVersion":"new"}"#)],
                "\"new\" is not a version of Kubernetes",
            ),
        ] {
            let error = version(answers).await.unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_does_not_answer_holds_nothing_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut cluster = answering(&[]).await;
        let port = listener.local_addr().unwrap().port();
        cluster.server = format!("https://localhost:{port}").parse().unwrap();
        let started = tokio::time::Instant::now();
        cluster.version(SystemTime::now).await.unwrap_err();
        assert!(started.elapsed() <= VERSION_TIMEOUT + VERSION_PAUSE);
    }

    const DAY: Duration = Duration::from_secs(86400);

    /// What is made of this answer to reading the Secret, given at this time, by a clock that says `now`.
    fn understood(body: &str, date: SystemTime, now: SystemTime) -> Answer {
        let names = ByItself {
            service: "podkey".to_owned(),
            namespace: "podkey".to_owned(),
            secret: "podkey-ca".to_owned(),
            webhook_configuration: "podkey".to_owned(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, httpdate::fmt_http_date(date).parse().unwrap());
        let about = About::new(&Request::ReadSecret, &names);
        about.understand(&Request::ReadSecret, now, StatusCode::OK, &headers, body.as_bytes())
    }

    #[test]
    fn an_answer_that_is_no_object_is_refused() {
        let now = SystemTime::now();
        for answer in ["", "[]", "null", "7", "\"x\"", "{"] {
            let failure = understood(answer, now, now).unwrap_err();
            assert_eq!(failure.reason, Reason::Refused, "{answer}");
            assert!(failure.message.ends_with("the answer is no JSON object"), "{answer}");
        }
        assert_eq!(understood("{}", now, now), Ok(Some(json!({}))));
    }

    #[test]
    fn a_clock_that_is_months_off_judges_nothing() {
        let now = SystemTime::now();
        for near in [now - 44 * DAY, now + 44 * DAY] {
            assert!(understood("{}", now, near).is_ok());
        }
        for far in [now - 46 * DAY, now + 46 * DAY, SystemTime::UNIX_EPOCH] {
            let failure = understood("{}", now, far).unwrap_err();
            assert_eq!(failure.reason, Reason::Refused);
            assert!(failure.message.contains("Set the clock"), "{}", failure.message);
        }
    }

    #[test]
    fn what_is_written_is_in_no_debug_output() {
        let secret = json!({"data": {"tls.key": "a2V5"}});
        for request in [Request::CreateSecret(secret.clone()), Request::UpdateSecret(secret)] {
            assert!(!format!("{request:?}").contains("a2V5"));
        }
    }
}
