//! The well-behaved client during an attack: an API server and a kubelet.
//!
//! **What the client may expect.** An API server makes one call for a review, with a timeout of 5 s. Where it has no open
//! connection, it opens one. It never retries. So every call must be answered at once: on new connections, and on a connection
//! that stays open. No exception is allowed. The answer must have the bytes of the answer before the attack. A probe of `/healthz` comes from the kubelet, on a new connection.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::wire::{self, Target, Window};

/// `timeoutSeconds` of the chart's webhook.
const CALL: Duration = Duration::from_secs(5);
const ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A review and the answer that was right before the attack.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) review: Vec<u8>,
    pub(crate) answer: Vec<u8>,
}

/// How the calls of one kind went.
#[derive(Default)]
pub(crate) struct Calls {
    pub(crate) answered: usize,
    pub(crate) longest: Duration,
    pub(crate) failures: Vec<String>,
}

/// How all calls went.
pub(crate) struct Report {
    /// A new connection for each review.
    pub(crate) fresh: Calls,
    /// One connection for all reviews.
    pub(crate) kept: Calls,
    /// `/healthz`, a new connection each time.
    pub(crate) probes: Calls,
}

/// A thread that makes calls until it is stopped.
pub(crate) struct Neighbour {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Report>,
}

impl Neighbour {
    /// Begins to call. `calls` take turns on new connections; the connection that stays open repeats the first.
    pub(crate) fn begin(target: Target, admin: SocketAddr, calls: Vec<Call>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let going = || !stopped.load(Ordering::Relaxed);
                let (fresh, kept, probes) = tokio::join!(
                    fresh(&target, &calls, going),
                    kept(&target, &calls[0], going),
                    probes(admin, going)
                );
                Report { fresh, kept, probes }
            })
        });
        Self { stop, thread }
    }

    pub(crate) fn end(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Calls {
    /// Makes one call and measures its time from the beginning.
    async fn make(&mut self, call: impl Future<Output = std::io::Result<()>>) {
        let begin = Instant::now();
        let failure = match timeout(CALL, call).await {
            Ok(Ok(())) => {
                self.answered += 1;
                self.longest = self.longest.max(begin.elapsed());
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        self.failures
            .push(format!("{failure}, after {:.1} s", begin.elapsed().as_secs_f64()));
    }
}

async fn fresh(target: &Target, calls: &[Call], going: impl Fn() -> bool) -> Calls {
    let mut made = Calls::default();
    let mut turns = calls.iter().cycle();
    while let Some(call) = turns.next().filter(|_| going()) {
        made.make(async {
            let mut stream = target.tls(ADDRESS, Window::Usual).await?;
            call.check(wire::exchange(&mut stream, &call.review).await?)
        })
        .await;
        sleep(Duration::from_millis(50)).await;
    }
    made
}

async fn kept(target: &Target, call: &Call, going: impl Fn() -> bool) -> Calls {
    let mut made = Calls::default();
    let mut open = None;
    while going() {
        let stream = &mut open;
        let failed = made.failures.len();
        made.make(async {
            if stream.is_none() {
                *stream = Some(target.tls(ADDRESS, Window::Usual).await?);
            }
            let Some(stream) = stream else { return Ok(()) };
            call.check(wire::exchange(stream, &call.review).await?)
        })
        .await;
        if made.failures.len() > failed {
            open = None;
        }
        sleep(Duration::from_millis(100)).await;
    }
    made
}

async fn probes(admin: SocketAddr, going: impl Fn() -> bool) -> Calls {
    let mut made = Calls::default();
    while going() {
        made.make(async {
            // The kubelet acts on the third failure in a row: among 64 connections of 64 addresses, the probe's may be the one that
            // makes room for the next.
            for _ in 0..2 {
                if probe(admin).await.is_ok() {
                    return Ok(());
                }
            }
            probe(admin).await
        })
        .await;
        sleep(Duration::from_millis(100)).await;
    }
    made
}

async fn probe(admin: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(admin).await?;
    let request = b"GET /healthz HTTP/1.1\r\nHost: podkey\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await?;
    match wire::read_answer(&mut stream).await? {
        (200, _) => Ok(()),
        (status, _) => Err(std::io::Error::other(format!("status {status}"))),
    }
}

impl Call {
    fn check(&self, (status, answer): (u16, Vec<u8>)) -> std::io::Result<()> {
        if status == 200 && answer == self.answer {
            return Ok(());
        }
        let start = String::from_utf8_lossy(&answer[..answer.len().min(300)]).into_owned();
        Err(std::io::Error::other(format!("wrong answer: {status} {start}")))
    }
}
