//! Starts and stops the parts of the webhook: certificate, listeners, upkeep.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::admin::{self, Admin};
use super::connection::{self, ConnectionTable, WEBHOOK_TIMES};
use super::known_cluster::KnownCluster;
use super::limits::{DRAIN_TIMEOUT, Limits};
use super::metrics::Metrics;
use super::mutate::Mutate;
use super::shutdown::StopSignals;
use super::tls::{self, CertificateError, CertificateFiles, SelfManaged, ServingCertificate, Upkeep};
use crate::cluster::{Cluster, ClusterError};
use crate::inject::Config;

/// The command line of `podkey serve`.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The address at which the API server calls `/mutate`.
    pub listen: SocketAddr,
    /// The address at which probes and Prometheus call `/healthz`, `/readyz` and `/metrics`.
    pub admin_listen: SocketAddr,
    /// Where the serving certificate comes from.
    pub tls: Tls,
    /// How long podkey serves new requests after SIGTERM: the API server continues to use open connections, and Kubernetes removes
    /// endpoints with a delay.
    pub grace: Duration,
    /// The clock for the validity of certificates.
    pub now: fn() -> SystemTime,
}

/// Where the serving certificate comes from.
#[derive(Debug, Clone)]
pub enum Tls {
    /// From files that another program keeps. podkey calls the API server only to learn what the cluster can do, if the pod has a
    /// service account's token.
    Files {
        /// PEM, the leaf first.
        certificate: PathBuf,
        /// PEM.
        key: PathBuf,
        /// How often podkey reads the files again.
        poll: Duration,
    },
    /// From podkey itself.
    SelfManaged(SelfManaged),
}

/// Why the server did not start, or why it ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No usable certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// podkey cannot reach the API server.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The address is in use, or the host does not have it.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// Another error of the system.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Serves until SIGTERM or SIGINT, then drains. `Ok` after a drain; a second signal ends the process at once.
pub async fn serve(config: Config, options: ServeOptions) -> Result<(), ServeError> {
    let certificate = Arc::new(ServingCertificate::default());
    let metrics = Arc::new(Metrics::new());
    let now = options.now;
    let connection_count = config.connections.len();
    let warnings: Vec<_> = config.warnings().collect();
    let (upkeep, known) = match options.tls {
        Tls::Files {
            certificate: path,
            key,
            poll,
        } => {
            // With certificates from files, podkey need not have a token.
            let cluster = Cluster::of_this_pod(now).map(Arc::new);
            let known = KnownCluster::learn(config, cluster).await;
            let files = move || CertificateFiles::new(path.clone(), key.clone());
            (
                keep_files(files, poll, now, certificate.clone(), metrics.clone())?,
                known,
            )
        }
        Tls::SelfManaged(names) => {
            let cluster = Arc::new(Cluster::connect(now).await?);
            let known = KnownCluster::learn(config, Some(cluster.clone())).await;
            let upkeep = keep_self_managed(names, cluster, now, certificate.clone(), metrics.clone());
            (upkeep, known)
        }
    };
    let limits = Limits::raise();
    let signals = StopSignals::install()?;
    let listener = listen(options.listen)?;
    let admin_listener = listen(options.admin_listen)?;
    let (listen, admin_listen) = (listener.local_addr()?, admin_listener.local_addr()?);

    let tls = TlsAcceptor::from(Arc::new(tls::server_config(certificate.clone())?));
    let stopping = Arc::new(AtomicBool::new(false));
    let certificate_expires = certificate.not_after();
    let admin = Arc::new(Admin {
        metrics: metrics.clone(),
        certificate,
        now,
        stopping: stopping.clone(),
    });
    let (end_admin, admin_ended) = watch::channel(false);
    let admin = admin::start(admin_listener.into_std()?, admin, limits, admin_ended)?;

    let table = ConnectionTable::new(limits.connections, WEBHOOK_TIMES, metrics.connections.clone());
    let mutate = Mutate::new(known.config(), metrics, stopping.clone());
    let (drain, draining) = watch::channel(false);
    let server = tokio::spawn(connection::serve(listener, table.clone(), Some(tls), mutate, draining));
    let upkeep = tokio::spawn(upkeep);
    let looking = tokio::spawn(known.keep_looking());

    tracing::info!(
        version = crate::VERSION,
        commit = crate::COMMIT,
        %listen,
        %admin_listen,
        connections = connection_count,
        open_files = limits.open_files,
        most_clients = limits.connections,
        certificate_expires = certificate_expires.map(|expiry| tracing::field::display(humantime::format_rfc3339_seconds(expiry))),
        "serving"
    );
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    signals.wait().await;
    // A newer replica may put another CA into the `caBundle`, and this replica must not remove that CA.
    upkeep.abort();
    looking.abort();
    stopping.store(true, Ordering::Relaxed);
    tracing::info!(grace = %humantime::format_duration(options.grace), "stopping: podkey is not ready any more, and serves on for the grace time");
    tokio::time::sleep(options.grace).await;
    let _ = drain.send(true);
    let served = server.await;
    table.drain(DRAIN_TIMEOUT).await;
    let _ = end_admin.send(true);
    // The admin thread ends without a wait for clients.
    let _ = tokio::task::spawn_blocking(move || admin.join()).await;
    tracing::info!("stopped");
    served.map_err(|join| ServeError::Io(std::io::Error::other(join)))
}

/// A task that keeps the certificate and never ends.
type UpkeepTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Loads the certificate files for the first time, and returns the task that reads the files again and again.
fn keep_files(
    files: impl Fn() -> CertificateFiles + Send + 'static,
    poll: Duration,
    now: fn() -> SystemTime,
    certificate: Arc<ServingCertificate>,
    metrics: Arc<Metrics>,
) -> Result<UpkeepTask, ServeError> {
    let mut first = files();
    if let Some(pair) = first.load(now())? {
        certificate.serve(pair, &metrics);
    }
    let mut loaded = Some(first);
    Ok(Box::pin(tls::restarting(metrics.clone(), move || {
        let files = loaded.take().unwrap_or_else(&files);
        tls::poll_files(files, poll, now, certificate.clone(), metrics.clone())
    })))
}

/// Returns the task that keeps podkey's own certificate.
fn keep_self_managed(
    names: SelfManaged,
    cluster: Arc<Cluster>,
    now: fn() -> SystemTime,
    certificate: Arc<ServingCertificate>,
    metrics: Arc<Metrics>,
) -> UpkeepTask {
    Box::pin(tls::restarting(metrics.clone(), move || {
        let upkeep = Upkeep::new(names.clone(), certificate.clone(), metrics.clone());
        tls::keep_certificate(upkeep, cluster.clone(), now)
    }))
}

fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    connection::listen(address).map_err(|source| ServeError::Listen { address, source })
}
