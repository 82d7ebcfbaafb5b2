//! The calls to the API server: two objects are read, and written where somebody has to.

use std::error::Error as _;
use std::fmt;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt};
use kube::config::{Config, KubeConfigOptions};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::timeout;
use tower::{BoxError, ServiceBuilder};

use super::authority::CLOCK_ERROR;
use super::upkeep::ByItself;

/// For one call, from connecting to the answer's last byte.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The API server stores no object that is larger than half of this.
const MAX_ANSWER_BYTES: usize = 3 * 1024 * 1024;
/// So much of what the API server says about a refusal is worth reading.
const MAX_MESSAGE: usize = 400;

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
    /// The client cannot be built.
    #[error("cannot set up the way to the API server")]
    Client(#[from] kube::Error),
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

/// The way to the API server.
pub(in crate::webhook) struct Cluster {
    client: kube::Client,
    names: ByItself,
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
        Ok(Self {
            client: client(&config)?,
            names,
        })
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
            Request::ReadSecret | Request::ReadConfiguration => (Method::GET, None, None),
            Request::CreateSecret(secret) => (Method::POST, Some("application/json"), Some(secret)),
            Request::UpdateSecret(secret) => (Method::PUT, Some("application/json"), Some(secret)),
            Request::PatchConfiguration(patch) => (Method::PATCH, Some("application/json-patch+json"), Some(patch)),
        };
        let mut builder = http::Request::builder().method(method).uri(&about.uri);
        if let Some(content_type) = content_type {
            builder = builder.header(header::CONTENT_TYPE, content_type);
        }
        let body = body.map_or_else(Body::empty, |value| Body::from(value.to_string().into_bytes()));
        let http_request = builder.body(body).map_err(|error| about.refused(&error.to_string()))?;
        // Not the client's own way of reading answers: it logs what it cannot parse, and that might be a Secret.
        let response = self
            .client
            .send(http_request)
            .await
            .map_err(|error| about.unreachable(&chain(&error)))?;
        // Whoever judges the shared CA by a clock that is further off replaces it again and again, and takes out of the
        // caBundle what others are served by.
        if let Some(theirs) = date(response.headers()).filter(|theirs| apart(*theirs, now) > CLOCK_ERROR) {
            return Err(about.refused(&format!(
                "the clock here says {}, the API server's {}. Set the clock of this pod's node right",
                humantime::format_rfc3339_seconds(now),
                humantime::format_rfc3339_seconds(theirs)
            )));
        }
        let status = response.status();
        let collected = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let bytes = collected
            .map_err(|_| about.unreachable("the answer broke off or has no end"))?
            .to_bytes();
        if status.is_success() {
            let object: Map<_, _> =
                serde_json::from_slice(&bytes).map_err(|_| about.refused("the answer is no JSON object"))?;
            return Ok(Some(object.into()));
        }
        let said = serde_json::from_slice::<Status>(&bytes).unwrap_or_default().message;
        let said: String = said.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect();
        match (status, &request) {
            (StatusCode::NOT_FOUND, Request::ReadSecret | Request::ReadConfiguration) => Ok(None),
            // It was there a moment ago.
            (StatusCode::NOT_FOUND, Request::UpdateSecret(_) | Request::PatchConfiguration(_)) => Err(about.conflict()),
            (StatusCode::CONFLICT, _) => Err(about.conflict()),
            (StatusCode::FORBIDDEN, _) => Err(about.forbidden(&said)),
            (StatusCode::UNAUTHORIZED, _) => Err(Failure {
                reason: Reason::Forbidden,
                message: format!("cannot {about}: the API server does not accept podkey's service-account token (401)"),
            }),
            (StatusCode::TOO_MANY_REQUESTS, _) => Err(about.unreachable("429 too many requests")),
            _ if status.is_server_error() => Err(about.unreachable(&format!("{status}: {said}"))),
            _ => Err(about.refused(&format!("{status}: {said}"))),
        }
    }
}

/// What time it is by the clock of whoever answers.
fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()
}

fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|error| error.duration())
}

/// kube's own stack but for its log, which has a line for each failure, and its retries, which are ours to make.
fn client(config: &Config) -> Result<kube::Client, ClusterError> {
    // kube asks for the process's provider, and there is to be no doubt about which that is.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = HttpClient::builder(TokioExecutor::new()).build(config.rustls_https_connector()?);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(kube::Client::new(service, config.default_namespace.clone()))
}

/// The API server's account of a failure.
#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    message: String,
}

fn chain(error: &kube::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text.chars().take(MAX_MESSAGE).collect()
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
            Request::ReadSecret | Request::ReadConfiguration => "get",
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
        };
        Self {
            uri,
            verb,
            object,
            rule,
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
mod tests {
    use std::convert::Infallible;

    use serde_json::json;

    use super::*;

    const DAY: Duration = Duration::from_secs(86400);

    /// A way to an API server that always answers this, at this time.
    fn cluster(body: &'static str, date: SystemTime) -> Cluster {
        let service = tower::service_fn(move |_: http::Request<Body>| async move {
            let response = http::Response::builder().header("date", httpdate::fmt_http_date(date));
            Ok::<_, Infallible>(response.body(Body::from(body.as_bytes().to_vec())).unwrap())
        });
        let names = ByItself {
            service: "podkey".to_owned(),
            namespace: "podkey".to_owned(),
            secret: "podkey-ca".to_owned(),
            webhook_configuration: "podkey".to_owned(),
        };
        Cluster {
            client: kube::Client::new(service, "podkey"),
            names,
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_no_object_is_refused() {
        let now = SystemTime::now();
        for answer in ["", "[]", "null", "7", "\"x\"", "{"] {
            let failure = cluster(answer, now).call(Request::ReadSecret, now).await.unwrap_err();
            assert_eq!(failure.reason, Reason::Refused, "{answer}");
            assert!(failure.message.ends_with("the answer is no JSON object"), "{answer}");
        }
        let answer = cluster("{}", now).call(Request::ReadSecret, now).await;
        assert_eq!(answer, Ok(Some(json!({}))));
    }

    #[tokio::test]
    async fn a_clock_that_is_months_off_judges_nothing() {
        let now = SystemTime::now();
        let cluster = cluster("{}", now);
        for near in [now - 44 * DAY, now + 44 * DAY] {
            assert!(cluster.call(Request::ReadSecret, near).await.is_ok());
        }
        for far in [now - 46 * DAY, now + 46 * DAY, SystemTime::UNIX_EPOCH] {
            let failure = cluster.call(Request::ReadSecret, far).await.unwrap_err();
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
