//! The admin listener: probes and metrics, on a thread of its own, because the webhook's threads may all be deciding.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::SystemTime;

use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;

use super::connection::{self, Answer, Service};
use super::limits::Limits;
use super::metrics::Metrics;
use super::mutate::plain;
use super::places::{ADMIN_TIMES, Connection, Places};
use super::tls::Certificate;

/// What probes and metrics tell of.
pub(super) struct Admin {
    pub(super) metrics: Arc<Metrics>,
    pub(super) certificate: Arc<Certificate>,
    pub(super) now: fn() -> SystemTime,
    pub(super) stopping: Arc<AtomicBool>,
}

/// Serves until `ended` says so, on a thread of its own.
pub(super) fn start(
    listener: std::net::TcpListener,
    admin: Arc<Admin>,
    limits: Limits,
    ended: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    // Its connections are in no metric: whoever reads the metrics is one of them.
    let places = Places::new(
        limits.admin_connections,
        ADMIN_TIMES,
        Gauge::default(),
        Family::default(),
    );
    std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        runtime.block_on(connection::serve(listener, places, None, admin, ended));
    })
}

impl Service for Arc<Admin> {
    async fn answer(&self, connection: Arc<Connection>, request: Request<Incoming>) -> Answer {
        let method = request.method();
        let reads = method == Method::GET || method == Method::HEAD;
        match request.uri().path() {
            "/healthz" if reads => plain(&connection, StatusCode::OK, "ok\n"),
            "/readyz" if reads => {
                let (status, text) = self.readiness();
                plain(&connection, status, text)
            }
            "/metrics" if reads => self.show_metrics(&connection),
            "/healthz" | "/readyz" | "/metrics" => {
                let mut answer = plain(&connection, StatusCode::METHOD_NOT_ALLOWED, "");
                answer
                    .headers_mut()
                    .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
                answer
            }
            _ => plain(&connection, StatusCode::NOT_FOUND, ""),
        }
    }
}

impl Admin {
    fn readiness(&self) -> (StatusCode, &'static str) {
        let unready = |why| (StatusCode::SERVICE_UNAVAILABLE, why);
        match self.certificate.not_after() {
            _ if self.stopping.load(Ordering::Relaxed) => unready("stopping\n"),
            None => unready("there is no serving certificate yet\n"),
            Some(not_after) if not_after <= (self.now)() => unready("the serving certificate has run out\n"),
            Some(_) => (StatusCode::OK, "ok\n"),
        }
    }

    fn show_metrics(&self, connection: &Arc<Connection>) -> Answer {
        let Ok(text) = self.metrics.encode() else {
            return plain(connection, StatusCode::INTERNAL_SERVER_ERROR, "");
        };
        let mut answer = plain(connection, StatusCode::OK, text);
        answer.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
        );
        answer
    }
}
