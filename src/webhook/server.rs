//! Puts the webhook together: certificate, listeners, and how they stop.

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
use super::connection;
use super::limits::{DRAIN_TIMEOUT, Limits};
use super::metrics::Metrics;
use super::mutate::Mutate;
use super::places::{Places, TIMES};
use super::shutdown::Stop;
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
    let limits = Limits::raise();
    let stop = Stop::install()?;
    let listener = listen(options.listen)?;
    let admin_listener = listen(options.admin_listen)?;
    let (listen, admin_listen) = (listener.local_addr()?, admin_listener.local_addr()?);

    let tls = TlsAcceptor::from(Arc::new(tls::server_config(certificate.clone())?));
    let stopping = Arc::new(AtomicBool::new(false));
    let (connection_count, certificate_expires) = (config.connections.len(), certificate.not_after());
    let admin = Arc::new(Admin {
        metrics: metrics.clone(),
        certificate,
        now: options.now,
        stopping: stopping.clone(),
    });
    let (end_admin, admin_ended) = watch::channel(false);
    let admin = admin::start(admin_listener.into_std()?, admin, limits, admin_ended)?;

    let places = Places::new(
        limits.connections,
        TIMES,
        metrics.connections.clone(),
        metrics.connection_cuts.clone(),
    );
    let mutate = Mutate::new(config, metrics, stopping.clone());
    let (drain, draining) = watch::channel(false);
    let server = tokio::spawn(connection::serve(listener, places.clone(), Some(tls), mutate, draining));
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
    stop.wait().await;
    // Whoever comes after this replica may have another CA in the `caBundle`, and must not see it taken out.
    upkeep.abort();
    stopping.store(true, Ordering::Relaxed);
    tracing::info!(grace = %humantime::format_duration(options.grace), "stopping: not ready any more, serving on for the grace time");
    tokio::time::sleep(options.grace).await;
    let _ = drain.send(true);
    let served = server.await;
    places.drain(DRAIN_TIMEOUT).await;
    let _ = end_admin.send(true);
    // It waits for nobody.
    let _ = tokio::task::spawn_blocking(move || admin.join()).await;
    tracing::info!("stopped");
    served.map_err(|join| ServeError::Io(std::io::Error::other(join)))
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

fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    connection::listen(address).map_err(|source| ServeError::Listen { address, source })
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
