//! The two listeners, what they answer, and how they stop.

use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::limit::{Limited, Newest};
use super::metrics::{AdmissionResult, Metrics};
use super::review;
use super::tls::{self, ByItself, Certificate, CertificateError, CertificateFiles, Cluster, ClusterError, Upkeep};
use crate::inject::Config;

/// What `podkey serve` is told on its command line.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the API server reaches `/mutate`.
    pub listen: SocketAddr,
    /// Where probes and Prometheus reach `/healthz`, `/readyz` and `/metrics`.
    pub admin_listen: SocketAddr,
    /// Where the serving certificate comes from.
    pub tls: Tls,
    /// How long new requests are served after SIGTERM: the API server goes on using open connections, and endpoints
    /// take their time to disappear.
    pub grace: Duration,
    /// What time it is, by the clock that certificates go by.
    pub now: fn() -> SystemTime,
}

/// Where the serving certificate comes from.
#[derive(Debug, Clone)]
pub enum Tls {
    /// From files that somebody else keeps. The API server is never called.
    Files {
        /// PEM, the leaf first.
        certificate: PathBuf,
        /// PEM.
        key: PathBuf,
        /// How often the two are read again.
        poll: Duration,
    },
    /// From podkey itself.
    ByItself(ByItself),
}

/// Why the server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No usable certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// No way to the API server.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// An address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system refused something else.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The API server accepts objects up to 3 MiB, and a review of an update carries two.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// So much of a body is read at once. What is beyond it comes out of a pool that all requests share, and waits for its turn
/// there: whoever opens many connections and sends much on each cannot fill the memory.
const SMALL_BODY_BYTES: usize = 16 * 1024;
const POOL_BYTES: usize = 48 * 1024 * 1024;
/// Connections at a time, and as many again that still shake hands; each takes about 20 KiB. API servers need a handful, and
/// each of them at most as many as it has changes under way (`--max-mutating-requests-inflight`: 200).
const MAX_CONNECTIONS: usize = 1024;
/// The same on the admin's side, where the newest ones stay. The kubelet and Prometheus need a handful.
const MAX_ADMIN_CONNECTIONS: usize = 256;
/// The webhook's `timeoutSeconds` in our manifests: an answer that takes longer reaches nobody.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// hyper counts idle time between requests as time for the next header, and closing an idle connection just as the API
/// server writes to it fails an admission. The API server closes its own after 90 s, so ours must stay open longer.
const HEADER_TIMEOUT: Duration = Duration::from_secs(120);
/// Neither the kubelet nor Prometheus minds a connection that is closed between two requests.
const ADMIN_HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// After the grace time: how long requests that are under way may still take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

struct Shared {
    config: Config,
    metrics: Arc<Metrics>,
    certificate: Arc<Certificate>,
    now: fn() -> SystemTime,
    /// One permit for each byte.
    pool: Arc<Semaphore>,
    stopping: AtomicBool,
}

/// Serves until SIGTERM or SIGINT, then drains. `Ok` after a drain; a second signal ends the process at once.
pub async fn serve(mut config: Config, options: Options) -> Result<(), ServeError> {
    let certificate = Arc::new(Certificate::default());
    let metrics = Arc::new(Metrics::new());
    let upkeep: Pin<Box<dyn Future<Output = ()> + Send>> = match options.tls {
        Tls::Files {
            certificate: path,
            key,
            poll,
        } => {
            learn_version(&mut config, Cluster::of_this_pod().as_ref(), options.now).await;
            let mut files = CertificateFiles::new(path.clone(), key.clone());
            if let Some(served) = files.load((options.now)())? {
                certificate.serve(served, &metrics);
            }
            let (certificate, metrics) = (certificate.clone(), metrics.clone());
            let mut loaded = Some(files);
            Box::pin(tls::without_end(metrics.clone(), move || {
                let files = loaded.take();
                let files = files.unwrap_or_else(|| CertificateFiles::new(path.clone(), key.clone()));
                tls::poll(files, poll, options.now, certificate.clone(), metrics.clone())
            }))
        }
        Tls::ByItself(names) => {
            let cluster = Arc::new(Cluster::connect(names.clone()).await?);
            learn_version(&mut config, Some(&cluster), options.now).await;
            let (certificate, metrics) = (certificate.clone(), metrics.clone());
            Box::pin(tls::without_end(metrics.clone(), move || {
                let upkeep = Upkeep::new(names.clone(), certificate.clone(), metrics.clone());
                tls::keep(upkeep, cluster.clone(), options.now)
            }))
        }
    };
    let acceptor = RustlsConfig::from_config(Arc::new(tls::server_config(certificate.clone())?));
    let shared = Arc::new(Shared {
        config,
        metrics,
        certificate,
        now: options.now,
        pool: Arc::new(Semaphore::new(POOL_BYTES)),
        stopping: AtomicBool::new(false),
    });
    let stop = Stop::install()?;

    let listener = bind(options.listen)?;
    let admin_listener = bind(options.admin_listen)?;
    let (listen, admin_listen) = (listener.local_addr()?, admin_listener.local_addr()?);

    let handle = Handle::new();
    let acceptor = RustlsAcceptor::new(acceptor)
        .handshake_timeout(HANDSHAKE_TIMEOUT)
        .acceptor(NoDelayAcceptor::new());
    let acceptor = Limited::new(acceptor, MAX_CONNECTIONS);
    let mut server = axum_server::from_tcp(listener)?
        .acceptor(acceptor)
        .handle(handle.clone())
        .http1_only();
    limit(server.http_builder(), HEADER_TIMEOUT);
    let mutate = Router::new().route("/mutate", post(mutate)).with_state(shared.clone());
    let server = tokio::spawn(server.serve(mutate.into_make_service()));

    let admin_handle = Handle::new();
    let mut admin_server = axum_server::from_tcp(admin_listener)?
        .acceptor(Newest::new(MAX_ADMIN_CONNECTIONS))
        .handle(admin_handle.clone())
        .http1_only();
    limit(admin_server.http_builder(), ADMIN_HEADER_TIMEOUT);
    let admin = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(show_metrics))
        .with_state(shared.clone());
    let admin_server = tokio::spawn(admin_server.serve(admin.into_make_service()));
    let upkeep = tokio::spawn(upkeep);

    tracing::info!(
        version = crate::VERSION,
        %listen,
        %admin_listen,
        connections = shared.config.connections.len(),
        certificate_expires = shared.certificate.not_after().map(|expiry| tracing::field::display(humantime::format_rfc3339_seconds(expiry))),
        "serving"
    );
    stop.wait().await;
    // Whoever comes after this replica may have another CA in the `caBundle`, and must not see it taken out.
    upkeep.abort();
    shared.stopping.store(true, Ordering::Relaxed);
    tracing::info!(grace = %humantime::format_duration(options.grace), "stopping: not ready any more, serving on for the grace time");
    tokio::time::sleep(options.grace).await;
    handle.graceful_shutdown(Some(DRAIN_TIMEOUT));
    let served = server.await;
    admin_handle.graceful_shutdown(Some(Duration::ZERO));
    let _ = admin_server.await;
    tracing::info!("stopped");
    match served {
        Ok(result) => Ok(result?),
        Err(join) => Err(ServeError::Io(std::io::Error::other(join))),
    }
}

/// Asks the API server for Kubernetes' version, unless the operator told it. Once, at the start: a cluster only gets newer,
/// and one that is too old for `refresh` is told so by the time that somebody asks for it.
async fn learn_version(config: &mut Config, cluster: Option<&Cluster>, now: fn() -> SystemTime) {
    if let Some(version) = config.kubernetes_version {
        tracing::info!(%version, "kubernetes' version, as the config has it");
        return;
    }
    const TAKEN: &str =
        "taken as 1.29 or later, which podkey.dev/refresh needs; the config's kubernetesVersion tells it";
    match cluster {
        // Where certificates come from files podkey may well have no token.
        None => tracing::info!("kubernetes' version is not known: {TAKEN}"),
        Some(cluster) => match cluster.version(now).await {
            Ok(version) => {
                tracing::info!(%version, "kubernetes' version");
                config.kubernetes_version = Some(version);
            }
            Err(error) => tracing::warn!(error, "kubernetes' version is not known: {TAKEN}"),
        },
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|source| ServeError::Listen { address, source })
}

fn limit(
    builder: &mut hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>,
    header_timeout: Duration,
) {
    builder
        .http1()
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(header_timeout);
}

/// The signals that end the server.
struct Stop {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl Stop {
    /// As the process may be PID 1, for which the kernel has no default action, this comes before anything is served.
    fn install() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    async fn signal(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }

    /// Returns at the first signal. The second ends the process.
    async fn wait(mut self) {
        self.signal().await;
        tokio::spawn(async move {
            self.signal().await;
            tracing::warn!("second signal: stopping at once");
            std::process::exit(143);
        });
    }
}

/// `POST /mutate`.
async fn mutate(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let started = Instant::now();
    shared.metrics.in_flight.inc();
    let mut response = match timeout(REQUEST_TIMEOUT, read_body(&shared, request)).await {
        Ok(Ok(body)) => shared.answer(&body.bytes),
        Ok(Err(refusal)) => shared.refuse(refusal, started),
        Err(_) => shared.refuse(Refusal(StatusCode::REQUEST_TIMEOUT, "the body took too long"), started),
    };
    shared.metrics.in_flight.dec();
    if shared.stopping.load(Ordering::Relaxed) {
        // Moves the API server's open connections to the other replicas while we are still here.
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A request that gets an HTTP error rather than an AdmissionReview.
struct Refusal(StatusCode, &'static str);

/// A request's body, and its part of the pool for as long as it is there.
struct Read {
    bytes: Vec<u8>,
    _pooled: Option<OwnedSemaphorePermit>,
}

async fn read_body(shared: &Shared, request: Request) -> Result<Read, Refusal> {
    use http_body_util::BodyExt;
    if !is_json(request.headers()) {
        return Err(Refusal(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be application/json",
        ));
    }
    const TOO_LARGE: Refusal = Refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 8 MiB");
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut body = request.into_body();
    if announced.is_some_and(|length| length > MAX_BODY_BYTES) {
        discard(&mut body).await;
        return Err(TOO_LARGE);
    }
    let mut bytes = Vec::with_capacity(announced.unwrap_or(0).min(SMALL_BODY_BYTES));
    let mut pooled: Option<OwnedSemaphorePermit> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal(StatusCode::BAD_REQUEST, "the body broke off"))?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > MAX_BODY_BYTES {
            drop((std::mem::take(&mut bytes), pooled.take()));
            discard(&mut body).await;
            return Err(TOO_LARGE);
        }
        let beyond = (bytes.len() + data.len()).saturating_sub(SMALL_BODY_BYTES.max(bytes.len()));
        if let Ok(beyond @ 1..) = u32::try_from(beyond) {
            // Closed it never is.
            let permit = shared.pool.clone().acquire_many_owned(beyond).await.ok();
            match (&mut pooled, permit) {
                (Some(pooled), Some(permit)) => pooled.merge(permit),
                (pooled, permit) => *pooled = permit,
            }
        }
        bytes.extend_from_slice(data);
    }
    if bytes.is_empty() {
        return Err(Refusal(StatusCode::BAD_REQUEST, "the body is empty"));
    }
    Ok(Read { bytes, _pooled: pooled })
}

/// Reads on without keeping anything, for a while: a client that is cut off while it still writes sees a broken connection
/// rather than the reason.
async fn discard(body: &mut Body) {
    use http_body_util::BodyExt;
    const MOST_BYTES: usize = 128 * 1024 * 1024;
    const LONGEST: Duration = Duration::from_secs(2);
    let _ = timeout(LONGEST, async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, |data| data.len());
            if bytes > MOST_BYTES {
                return;
            }
        }
    })
    .await;
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .eq_ignore_ascii_case("application/json")
}

impl Shared {
    fn answer(&self, body: &[u8]) -> Response {
        let started = Instant::now();
        // A panic is our fault and this request's end; the others go on.
        let answer = catch_unwind(AssertUnwindSafe(|| review::answer(body, &self.config)));
        match answer {
            Ok(Ok(answer)) => {
                let duration = started.elapsed();
                self.metrics.admission(answer.result, duration);
                let (log, decision) = (&answer.log, answer.result.as_str());
                let asker = log.asker.as_ref();
                tracing::info!(
                    uid = log.uid,
                    namespace = log.namespace,
                    name = log.name,
                    decision,
                    problems = log.problems,
                    rules = log.rules,
                    connection = asker.map(|asker| asker.connection.as_str()),
                    role = asker.map(|asker| asker.role.as_str()),
                    service_account = asker.map(|asker| asker.service_account.as_str()),
                    owner = asker.map(|asker| asker.owner.as_str()),
                    duration_us = duration.as_micros() as u64,
                    "admission"
                );
                let mut response = Response::new(Body::from(answer.body));
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "no admission request");
                self.metrics.admission(AdmissionResult::Invalid, started.elapsed());
                (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response()
            }
            Err(_) => {
                self.metrics.panics.inc();
                self.metrics.admission(AdmissionResult::Invalid, started.elapsed());
                tracing::error!("a request made podkey panic: please report it");
                (StatusCode::INTERNAL_SERVER_ERROR, "podkey failed on this request\n").into_response()
            }
        }
    }

    fn refuse(&self, Refusal(status, message): Refusal, started: Instant) -> Response {
        tracing::warn!(status = status.as_u16(), error = message, "no admission request");
        self.metrics.admission(AdmissionResult::Invalid, started.elapsed());
        (status, format!("{message}\n")).into_response()
    }
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let unready = |why: &'static str| (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    match shared.certificate.not_after() {
        _ if shared.stopping.load(Ordering::Relaxed) => unready("stopping\n"),
        None => unready("there is no serving certificate yet\n"),
        Some(not_after) if not_after <= (shared.now)() => unready("the serving certificate has run out\n"),
        Some(_) => "ok\n".into_response(),
    }
}

async fn show_metrics(State(shared): State<Arc<Shared>>) -> Response {
    match shared.metrics.encode() {
        Ok(text) => (
            [(
                header::CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            text,
        )
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_config_s_version_of_kubernetes_comes_before_the_api_server_s() {
        let learnt = async |text: &str, cluster: Option<Cluster>| {
            let text = format!("{text}agent: {{image: i}}\nconnections: {{d: {{address: 'https://v'}}}}");
            let mut config = Config::parse(&text, |_| Err(String::new())).unwrap();
            learn_version(&mut config, cluster.as_ref(), SystemTime::now).await;
            config.kubernetes_version.map(|version| version.to_string())
        };
        let answering = async || Some(tls::answering(&[("200 OK", r#"{"gitVersion":"v1.33.5"}"#)]).await);
        assert_eq!(learnt("", answering().await).await.as_deref(), Some("1.33"));
        assert_eq!(
            learnt("kubernetesVersion: '1.28'\n", answering().await)
                .await
                .as_deref(),
            Some("1.28")
        );
        assert_eq!(learnt("", None).await, None);
        let forbidding = tls::answering(&[("403 Forbidden", "{}")]).await;
        assert_eq!(learnt("", Some(forbidding)).await, None);
    }
}
