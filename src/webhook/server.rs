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
use super::limits::{DRAIN_TIMEOUT, Limits};
use super::metrics::Metrics;
use super::mutate::Mutate;
use super::shutdown::StopSignals;
use super::tls::{self, CertificateError, CertificateFiles, SelfManaged, ServingCertificate, Upkeep};
use crate::cluster::{Cluster, ClusterError};
use crate::inject::{Config, KubernetesVersion};

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
    /// From files that another program keeps. podkey calls the API server only for Kubernetes' version, if the pod has a service
    /// account's token.
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
pub async fn serve(mut config: Config, options: ServeOptions) -> Result<(), ServeError> {
    let certificate = Arc::new(ServingCertificate::default());
    let metrics = Arc::new(Metrics::new());
    let now = options.now;
    let upkeep = match options.tls {
        Tls::Files {
            certificate: path,
            key,
            poll,
        } => {
            learn_version(&mut config, Cluster::of_this_pod(now).as_ref()).await;
            let files = move || CertificateFiles::new(path.clone(), key.clone());
            keep_files(files, poll, now, certificate.clone(), metrics.clone())?
        }
        Tls::SelfManaged(names) => {
            let cluster = Cluster::connect(now).await?;
            learn_version(&mut config, Some(&cluster)).await;
            keep_self_managed(names, cluster, now, certificate.clone(), metrics.clone())
        }
    };
    let limits = Limits::raise();
    let signals = StopSignals::install()?;
    let listener = listen(options.listen)?;
    let admin_listener = listen(options.admin_listen)?;
    let (listen, admin_listen) = (listener.local_addr()?, admin_listener.local_addr()?);

    let tls = TlsAcceptor::from(Arc::new(tls::server_config(certificate.clone())?));
    let stopping = Arc::new(AtomicBool::new(false));
    let (connection_count, certificate_expires) = (config.connections.len(), certificate.not_after());
    let admin = Arc::new(Admin {
        metrics: metrics.clone(),
        certificate,
        now,
        stopping: stopping.clone(),
    });
    let (end_admin, admin_ended) = watch::channel(false);
    let admin = admin::start(admin_listener.into_std()?, admin, limits, admin_ended)?;

    let table = ConnectionTable::new(limits.connections, WEBHOOK_TIMES, metrics.connections.clone());
    let mutate = Mutate::new(config, metrics, stopping.clone());
    let (drain, draining) = watch::channel(false);
    let server = tokio::spawn(connection::serve(listener, table.clone(), Some(tls), mutate, draining));
    let upkeep = tokio::spawn(upkeep);

    tracing::info!(
        version = crate::VERSION,
        %listen,
        %admin_listen,
        connections = connection_count,
        open_files = limits.open_files,
        most_clients = limits.connections,
        certificate_expires = certificate_expires.map(|expiry| tracing::field::display(humantime::format_rfc3339_seconds(expiry))),
        "serving"
    );
    signals.wait().await;
    // A newer replica may put another CA into the `caBundle`, and this replica must not remove that CA.
    upkeep.abort();
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
    cluster: Cluster,
    now: fn() -> SystemTime,
    certificate: Arc<ServingCertificate>,
    metrics: Arc<Metrics>,
) -> UpkeepTask {
    let cluster = Arc::new(cluster);
    Box::pin(tls::restarting(metrics.clone(), move || {
        let upkeep = Upkeep::new(names.clone(), certificate.clone(), metrics.clone());
        tls::keep_certificate(upkeep, cluster.clone(), now)
    }))
}

/// Reads Kubernetes' version from the API server, unless the config has the version. Once, at the start: a cluster's version only
/// rises, and podkey needs the version only to refuse `refresh` in a cluster that is too old.
async fn learn_version(config: &mut Config, cluster: Option<&Cluster>) {
    if let Some(version) = config.kubernetes_version {
        tracing::info!(%version, "kubernetes' version, from the config");
        return;
    }
    const ASSUMED: &str = "podkey assumes 1.29 or later, which podkey.dev/refresh needs. Set kubernetesVersion in the config if the version is older";
    // With certificates from files, podkey need not have a token.
    let Some(cluster) = cluster else {
        return tracing::info!("kubernetes' version is not known: {ASSUMED}");
    };
    let answer = cluster.version().await;
    match answer.and_then(|version| kubernetes_version(&version)) {
        Ok(version) => {
            tracing::info!(%version, "kubernetes' version");
            config.kubernetes_version = Some(version);
        }
        Err(error) => tracing::warn!(error, "kubernetes' version is not known: {ASSUMED}"),
    }
}

/// Parses the API server's `gitVersion`.
fn kubernetes_version(text: &str) -> Result<KubernetesVersion, String> {
    const MAX_QUOTED_CHARS: usize = 64;
    text.parse().map_err(|why| {
        let text: String = text.chars().take(MAX_QUOTED_CHARS).collect();
        format!("the API server's answer {text:?} {why}")
    })
}

fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    connection::listen(address).map_err(|source| ServeError::Listen { address, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::answering;

    #[test]
    fn a_text_that_is_not_a_version_is_quoted() {
        assert_eq!(kubernetes_version("v1.33.5+k3s1").unwrap().to_string(), "1.33");
        for text in ["", "new"] {
            let error = kubernetes_version(text).unwrap_err();
            assert!(
                error.contains(&format!("{text:?} is not a version of Kubernetes")),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn the_version_in_the_config_is_preferred_to_the_api_server_s() {
        let learnt = async |text: &str, cluster: Option<Cluster>| {
            let text = format!("{text}agent: {{image: i}}\nconnections: {{d: {{address: 'https://v'}}}}");
            let mut config = Config::parse(&text, |_| Err(String::new())).unwrap();
            learn_version(&mut config, cluster.as_ref()).await;
            config.kubernetes_version.map(|version| version.to_string())
        };
        let reporting = async || Some(answering(&[("200 OK", r#"{"gitVersion":"v1.33.5"}"#)]).await);
        assert_eq!(learnt("", reporting().await).await.as_deref(), Some("1.33"));
        assert_eq!(
            learnt("kubernetesVersion: '1.28'\n", reporting().await)
                .await
                .as_deref(),
            Some("1.28")
        );
        assert_eq!(learnt("", None).await, None);
        let forbidding = answering(&[("403 Forbidden", "{}")]).await;
        assert_eq!(learnt("", Some(forbidding)).await, None);
    }
}
