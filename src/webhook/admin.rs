//! The admin listener: probes and metrics. The listener has a separate thread, because decisions may keep all of the webhook's
//! threads busy.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::SystemTime;

use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use tokio::sync::watch;

use super::connection::{self, ADMIN_TIMES, ConnectionTable, HttpAnswer, OpenConnection, Responder};
use super::limits::Limits;
use super::metrics::{ConnectionMetrics, Metrics};
use super::mutate::plain;
use super::tls::ServingCertificate;

/// The state that probes and metrics show.
pub(super) struct Admin {
    pub(super) metrics: Arc<Metrics>,
    pub(super) certificate: Arc<ServingCertificate>,
    pub(super) now: fn() -> SystemTime,
    pub(super) stopping: Arc<AtomicBool>,
}

/// Starts a thread that serves until `ended` is true.
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
    // These connections are not in the metrics: the program that reads the metrics uses one of them.
    let table = ConnectionTable::new(limits.admin_connections, ADMIN_TIMES, ConnectionMetrics::default());
    std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        runtime.block_on(connection::serve(listener, table, None, admin, ended));
    })
}

impl Responder for Arc<Admin> {
    async fn answer(&self, connection: Arc<OpenConnection>, request: Request<Incoming>) -> HttpAnswer {
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
            Some(not_after) if not_after <= (self.now)() => unready("the serving certificate has expired\n"),
            Some(_) => (StatusCode::OK, "ok\n"),
        }
    }

    fn show_metrics(&self, connection: &Arc<OpenConnection>) -> HttpAnswer {
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpStream};
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn healthz_answers_while_every_worker_is_busy() {
        const WORKERS: usize = 2;
        let workers = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .enable_all()
            .build()
            .unwrap();
        let listener = workers.block_on(async { connection::listen((Ipv4Addr::LOCALHOST, 0).into()) });
        let listener = listener.unwrap().into_std().unwrap();
        let address = listener.local_addr().unwrap();
        let admin = Arc::new(Admin {
            metrics: Arc::new(Metrics::new()),
            certificate: Arc::default(),
            now: SystemTime::now,
            stopping: Arc::default(),
        });
        let (end, ended) = watch::channel(false);
        let thread = start(listener, admin, Limits::raise(), ended).unwrap();
        // A decision never waits, so each decision occupies one thread.
        let (begun, over) = (Arc::new(Barrier::new(WORKERS + 1)), Arc::new(Barrier::new(WORKERS + 1)));
        for _ in 0..WORKERS {
            let (begun, over) = (begun.clone(), over.clone());
            workers.spawn(async move {
                begun.wait();
                over.wait();
            });
        }
        begun.wait();
        for (path, expected) in [
            ("/healthz", "200 OK"),
            ("/metrics", "200 OK"),
            ("/readyz", "503"),
            ("/x", "404"),
        ] {
            let mut client = TcpStream::connect(address).unwrap();
            write!(client, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{path}: {answer}");
        }
        over.wait();
        end.send(true).unwrap();
        thread.join().unwrap();
    }
}
