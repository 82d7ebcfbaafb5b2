//! Accepts connections and serves each one: TLS, HTTP/1.1, one request after the other, until client or server ends the connection
//! or a time limit is over. Each connection has one task and one file descriptor.
//!
//! `open` is one connection, `table` has all connections of a listener, `victim` chooses the connection that makes room in a full
//! table.

mod open;
mod table;
#[cfg(test)]
mod tests;
mod victim;

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_rustls::TlsAcceptor;

use super::limits::{MAX_HEADER_BYTES, MAX_HEADERS, RECEIVE_BUFFER_BYTES, SEND_BUFFER_BYTES, TLS_BUFFER_BYTES};
use super::metrics::CutReason;
use crate::telemetry::LogThrottle;
use table::TableEntry;

pub(super) use open::{ADMIN_TIMES, OpenConnection, WEBHOOK_TIMES};
pub(super) use table::ConnectionTable;

/// The answer to one HTTP request.
pub(super) type HttpAnswer = Response<Full<Bytes>>;

/// Answers the requests of a listener.
pub(super) trait Responder: Clone + Send + 'static {
    fn answer(
        &self,
        connection: Arc<OpenConnection>,
        request: Request<Incoming>,
    ) -> impl Future<Output = HttpAnswer> + Send;
}

/// Connections that the kernel holds until podkey accepts them.
const BACKLOG: u32 = 1024;

/// Opens a listener whose connections have small buffers in the kernel.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Connections of an earlier process may still be closing.
    socket.set_reuseaddr(true)?;
    // Connections inherit these sizes from their listener. The kernel does not raise a size that a program has set.
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES as u32)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES as u32)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts and serves connections until draining begins. Open connections then end after their current request.
pub(super) async fn serve<R: Responder>(
    listener: TcpListener,
    table: Arc<ConnectionTable>,
    tls: Option<TlsAcceptor>,
    responder: R,
    draining: watch::Receiver<bool>,
) {
    let mut ended = pin!(begins(draining.clone()));
    let mut errors = AcceptErrors::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut ended => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                errors.handle(&error, &table).await;
                continue;
            }
        };
        let Some(entry) = table.enter(peer.ip()).await else {
            continue;
        };
        let (table, tls, responder) = (table.clone(), tls.clone(), responder.clone());
        let draining = draining.clone();
        tokio::spawn(async move {
            if let Some(reason) = serve_one(stream, &entry, tls, responder, draining).await {
                table.count_cut(reason);
            }
        });
    }
}

/// Waits until draining begins or the server has ended.
async fn begins(mut draining: watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await;
}

/// Handles the errors of accepting a connection.
struct AcceptErrors {
    throttle: LogThrottle<Instant>,
}

impl Default for AcceptErrors {
    fn default() -> Self {
        Self {
            throttle: LogThrottle::new(Self::LOG_PAUSE),
        }
    }
}

impl AcceptErrors {
    const PAUSE: Duration = Duration::from_millis(100);
    const LOG_PAUSE: Duration = Duration::from_secs(10);

    /// A client that closed its connection too early is not an error of podkey. If file descriptors or memory have run out, an
    /// immediate retry would only keep a core busy: an older connection makes room, and podkey waits a moment.
    async fn handle(&mut self, error: &io::Error, table: &ConnectionTable) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
        if matches!(
            error.kind(),
            ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
        ) {
            return;
        }
        if self.throttle.allows(Instant::now()) {
            tracing::warn!(%error, "cannot accept a connection: podkey retries");
        }
        table.make_room(None);
        sleep(Self::PAUSE).await;
    }
}

/// Serves one connection. Returns the reason if podkey cut the connection.
async fn serve_one<R: Responder>(
    stream: TcpStream,
    entry: &TableEntry,
    tls: Option<TlsAcceptor>,
    responder: R,
    draining: watch::Receiver<bool>,
) -> Option<CutReason> {
    let connection = &entry.connection;
    let _ = stream.set_nodelay(true);
    let life = async {
        match tls {
            None => serve_http(stream, connection.clone(), responder, draining).await,
            Some(tls) => {
                let limit = |tls: &mut rustls::ServerConnection| tls.set_buffer_limit(Some(TLS_BUFFER_BYTES));
                if let Ok(stream) = tls.accept_with(stream, limit).await {
                    serve_http(stream, connection.clone(), responder, draining).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = life => None,
        reason = connection.is_cut() => Some(reason),
        reason = Overdue::of(connection) => Some(reason),
    }
}

async fn serve_http<R: Responder>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    connection: Arc<OpenConnection>,
    responder: R,
    draining: watch::Receiver<bool>,
) {
    connection.shook_hands();
    let stream = Watched {
        stream,
        connection: connection.clone(),
    };
    let service = hyper::service::service_fn(move |request| {
        connection.request_began();
        let (responder, connection) = (responder.clone(), connection.clone());
        async move { Ok::<_, Infallible>(responder.answer(connection, request).await) }
    });
    // Only `Overdue` has deadlines: hyper would count idle time as time for the next header.
    let serving = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    // An error here is the client's: an incomplete request, or no HTTP.
    tokio::select! {
        biased;
        _ = &mut serving => return,
        () = begins(draining) => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

/// Ends when a connection's deadline is over.
///
/// A deadline moves with each request, nearly always to a later time. The timer therefore keeps the old deadline until that is
/// over, and each run of the connection's task compares the two.
struct Overdue<'a> {
    connection: &'a OpenConnection,
    sleep: Pin<Box<Sleep>>,
}

impl<'a> Overdue<'a> {
    fn of(connection: &'a OpenConnection) -> Self {
        let sleep = Box::pin(sleep_until(connection.deadline().0));
        Self { connection, sleep }
    }
}

impl Future for Overdue<'_> {
    type Output = CutReason;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<CutReason> {
        let (deadline, reason) = self.connection.deadline();
        if deadline < self.sleep.deadline() {
            self.sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(self.sleep.as_mut().poll(context));
            if deadline <= self.sleep.deadline() {
                return Poll::Ready(reason);
            }
            self.sleep.as_mut().reset(deadline);
        }
    }
}

/// A stream that reports its reads and writes to its connection.
struct Watched<T> {
    stream: T,
    connection: Arc<OpenConnection>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        if read > 0 {
            self.connection.received(read);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> Watched<T> {
    fn note(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(written)) = written {
            self.connection.sent(*written);
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.connection.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
