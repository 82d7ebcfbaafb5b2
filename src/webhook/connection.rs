//! Accepting connections, and the life of each: TLS, HTTP/1.1, one request after the other, until one of the two ends it or
//! its time is over. One task and one file descriptor for each.

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
use super::places::{Connection, Place, Places};

/// What every answer's body is.
pub(super) type Answer = Response<Full<Bytes>>;

/// Answers requests.
pub(super) trait Service: Clone + Send + 'static {
    /// Gives the answer to a request that came in on a connection.
    fn answer(&self, connection: Arc<Connection>, request: Request<Incoming>) -> impl Future<Output = Answer> + Send;
}

/// Connections that the kernel keeps for us until we accept them.
const BACKLOG: u32 = 1024;

/// Listens, with small buffers for each connection.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Connections of the process before may still be closing.
    socket.set_reuseaddr(true)?;
    // Connections get these from their listener; a size that was set does not grow.
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES as u32)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES as u32)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections and serves them, until `draining` says so. Connections that are open then end after the request that
/// is under way.
pub(super) async fn serve<S: Service>(
    listener: TcpListener,
    places: Arc<Places>,
    tls: Option<TlsAcceptor>,
    service: S,
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
                errors.handle(&error, &places).await;
                continue;
            }
        };
        let Some(place) = places.enter(peer.ip()).await else {
            continue;
        };
        let (places, tls, service) = (places.clone(), tls.clone(), service.clone());
        let draining = draining.clone();
        tokio::spawn(async move {
            if let Some(reason) = one(stream, &place, tls, service, draining).await {
                places.count_cut(reason);
            }
        });
    }
}

/// Waits until draining begins, or the server is gone.
async fn begins(mut draining: watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await;
}

/// What goes wrong with accepting.
#[derive(Default)]
struct AcceptErrors {
    logged: Option<Instant>,
}

impl AcceptErrors {
    const PAUSE: Duration = Duration::from_millis(100);
    const LOG_PAUSE: Duration = Duration::from_secs(10);

    /// A client that was gone too early is none of our business. Where files or memory have run out, trying again at once
    /// would only keep a core busy: an older connection makes room, and a moment passes.
    async fn handle(&mut self, error: &io::Error, places: &Places) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
        if matches!(
            error.kind(),
            ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
        ) {
            return;
        }
        if self.logged.is_none_or(|logged| logged.elapsed() >= Self::LOG_PAUSE) {
            tracing::warn!(%error, "cannot accept a connection: trying again");
            self.logged = Some(Instant::now());
        }
        places.make_room(None);
        sleep(Self::PAUSE).await;
    }
}

/// Serves one connection. Gives the reason where it was cut.
async fn one<S: Service>(
    stream: TcpStream,
    place: &Place,
    tls: Option<TlsAcceptor>,
    service: S,
    draining: watch::Receiver<bool>,
) -> Option<CutReason> {
    let connection = &place.connection;
    let _ = stream.set_nodelay(true);
    let life = async {
        match tls {
            None => http(stream, connection.clone(), service, draining).await,
            Some(tls) => {
                let limit = |tls: &mut rustls::ServerConnection| tls.set_buffer_limit(Some(TLS_BUFFER_BYTES));
                if let Ok(stream) = tls.accept_with(stream, limit).await {
                    http(stream, connection.clone(), service, draining).await;
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

async fn http<S: Service>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    connection: Arc<Connection>,
    service: S,
    draining: watch::Receiver<bool>,
) {
    connection.shook_hands();
    let stream = Watched {
        stream,
        connection: connection.clone(),
    };
    let service = hyper::service::service_fn(move |request| {
        connection.request_began();
        let (service, connection) = (service.clone(), connection.clone());
        async move { Ok::<_, Infallible>(service.answer(connection, request).await) }
    });
    // Our own deadlines are the only ones: hyper's would count idle time as time for the next header.
    let serving = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    // What it ends with is the client's affair: half a request, or no HTTP.
    tokio::select! {
        biased;
        _ = &mut serving => return,
        () = begins(draining) => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

/// Ends when a connection is later than it may be.
///
/// Deadlines move with each request. Nearly always they move away, and then there is nothing to do before the old one is
/// over; each time the connection's task runs, they are looked at.
struct Overdue<'a> {
    connection: &'a Connection,
    sleep: Pin<Box<Sleep>>,
}

impl<'a> Overdue<'a> {
    fn of(connection: &'a Connection) -> Self {
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

/// A stream whose reads and writes are entered in the table.
struct Watched<T> {
    stream: T,
    connection: Arc<Connection>,
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
