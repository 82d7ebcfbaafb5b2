//! A new well-behaved client's time to its answer, while others hold connections and do nothing with them.

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::load::Target;
use crate::pods;
use crate::server::{Files, Kind, Server, cores, pin};
use crate::table::{Table, quantile};
use crate::versions::Version;

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Calls of the new client at most, one after the other, each on a connection of its own.
    calls: usize,
    /// Connections of those that do nothing.
    held: usize,
}

pub(crate) const FULL: Effort = Effort {
    calls: 300,
    held: 1_100,
};
pub(crate) const QUICK: Effort = Effort { calls: 20, held: 60 };

/// What an API server waits for an answer.
const CALL: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);
/// So long at most for a row: where nobody is answered, each call takes its 5 s.
const ROW: Duration = Duration::from_secs(30);

/// The soft limit of open files that a server starts with. The hard limit is this process's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OpenFiles {
    Few,
    Many,
}

/// Measures everything and prints the table.
pub(crate) fn measure(versions: &[Version], effort: Effort) -> anyhow::Result<()> {
    raise_own_files()?;
    pin(cores()?.1)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let text = runtime.block_on(run(versions, effort))?;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

async fn run(versions: &[Version], effort: Effort) -> anyhow::Result<String> {
    let files = Files::new()?;
    let review = pods::review(&pods::runner_pod(0)?)?;
    let podkey = Server::start(Kind::Podkey(&versions[0]), &files, &[])?;
    let target = Target::new(podkey.address, &files.authority, &review)?;
    let (answer, _) = podkey.first_answer(&target).await?;
    std::fs::write(files.path("answer"), &answer)?;
    podkey.stop()?;

    let mut table = Table::new(&[
        "a new client's time to its answer, ms",
        "p50",
        "p99",
        "longest",
        "refused or later than 5 s",
    ]);
    for kind in Kind::all(versions) {
        let name = kind.name();
        for (held, open_files, what) in [
            (0, OpenFiles::Many, "alone".to_owned()),
            (effort.held, OpenFiles::Many, format!("{} others hold on", effort.held)),
            (
                effort.held,
                OpenFiles::Few,
                format!("{} others hold on, soft limit of 1,024 files", effort.held),
            ),
        ] {
            let (millis, refused) = besieged(kind, &files, &review, held, open_files, effort.calls).await?;
            let middle = |share| {
                if millis.is_empty() {
                    "none".to_owned()
                } else {
                    format!("{:.1}", quantile(millis.iter().copied(), share))
                }
            };
            table.row(&[
                format!("{name}, {what}"),
                middle(0.5),
                middle(0.99),
                middle(1.0),
                format!("{refused} of {}", refused + millis.len()),
            ]);
        }
    }
    Ok(format!(
        "{} calls, or as many as fit into {} s; each on a connection of its own: TCP, TLS 1.3, a review of {} bytes, its answer. The others hold \
         connections from ten addresses: a third idle after the handshake, a third with a body that does not come, a third half \
         open. A connection that the server ends is opened again a second later.\n{}",
        effort.calls,
        ROW.as_secs(),
        review.len(),
        table.text()
    ))
}

/// The times of those calls that were answered, and how many were not.
async fn besieged(
    kind: Kind<'_>,
    files: &Files,
    review: &[u8],
    held: usize,
    open_files: OpenFiles,
    calls: usize,
) -> anyhow::Result<(Vec<f64>, usize)> {
    let before: &[OsString] = &match open_files {
        OpenFiles::Few => ["sh", "-c", "ulimit -S -n 1024 && exec \"$@\"", "sh"]
            .map(OsString::from)
            .to_vec(),
        OpenFiles::Many => Vec::new(),
    };
    let server = Server::start(kind, files, before)?;
    let target = Target::new(server.address, &files.authority, review)?;
    server.first_answer(&target).await?;

    // Dropped at the end, and with it all that they hold.
    let mut others = JoinSet::new();
    for index in 0..held {
        let target = target.clone();
        others.spawn(async move {
            loop {
                // However it ends, it is opened again.
                let _ = hold(&target, index).await;
                sleep(Duration::from_secs(1)).await;
            }
        });
        // Not all handshakes at once: what is measured is what is held.
        sleep(Duration::from_millis(1)).await;
    }
    if held > 0 {
        sleep(Duration::from_secs(1)).await;
    }
    let (mut millis, mut refused) = (Vec::with_capacity(calls), 0);
    let row = Instant::now();
    while millis.len() + refused < calls && row.elapsed() < ROW {
        let begin = Instant::now();
        let call = async { target.connect().await?.exchange().await.map(|_| ()) };
        match timeout(CALL, call).await {
            Ok(Ok(())) => millis.push(begin.elapsed().as_secs_f64() * 1e3),
            _ => refused += 1,
        }
        sleep(PAUSE).await;
    }
    drop(others);
    server.stop()?;
    Ok((millis, refused))
}

/// Opens a connection and does nothing with it, until the server ends it.
async fn hold(target: &Target, index: usize) -> anyhow::Result<()> {
    let from = format!("127.1.0.{}:0", 1 + index % 10).parse()?;
    let tcp = connect_from(from, target.address()).await?;
    match index % 3 {
        0 => until_closed(tcp).await,
        1 => until_closed(target.handshake(tcp).await?).await,
        _ => {
            let mut stream = target.handshake(tcp).await?;
            let head = "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 8000000\r\n\r\n{";
            stream.write_all(head.as_bytes()).await?;
            stream.flush().await?;
            until_closed(stream).await
        }
    }
}

async fn until_closed(mut stream: impl AsyncRead + Unpin) -> anyhow::Result<()> {
    let mut bytes = [0; 64];
    while stream.read(&mut bytes).await? > 0 {}
    Ok(())
}

async fn connect_from(from: SocketAddr, to: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(from)?;
    Ok(socket.connect(to).await?)
}

/// Each connection is a file on both ends; the servers inherit the limit.
fn raise_own_files() -> anyhow::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = Some(maximum.unwrap_or(1 << 16));
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).context("the limit of open files")
}
