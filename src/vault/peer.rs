//! The other end of a connection: straight or through a proxy, TLS or not, HTTP/1.1 over it, and bodies received with limits.
//! Knows nothing of what is said.

use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

use super::error::{TlsFailure, TransportError};
use super::proxy::Proxy;
use super::{dial, trust};

const HANDSHAKE: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(10);

/// Where to connect to, and how.
pub(super) struct Peer {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    proxy: Option<Proxy>,
}

impl Peer {
    pub(super) fn new(host: &str, port: u16, tls: Option<(TlsConnector, ServerName<'static>)>) -> Self {
        Self {
            host: host.to_owned(),
            port,
            tls,
            proxy: None,
        }
    }

    /// The same through a proxy.
    pub(super) fn through(self, proxy: Option<Proxy>) -> Self {
        Self { proxy, ..self }
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Connects, and is ready to send.
    pub(super) async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, TransportError> {
        let stream = self.reach().await?;
        let Some((connector, name)) = &self.tls else {
            return handshake_http(stream).await;
        };
        match handshake_tls(connector, name, stream).await {
            Ok(stream) => handshake_http(stream).await,
            Err(TransportError::Tls(TlsFailure::NothingInCommon)) => Err(self.look(name).await),
            Err(error) => Err(error),
        }
    }

    async fn reach(&self) -> Result<TcpStream, TransportError> {
        match &self.proxy {
            None => dial::dial(&self.host, self.port).await,
            Some(proxy) => timeout(HANDSHAKE, proxy.tunnel(&self.host, self.port))
                .await
                .map_err(|_| TransportError::TimedOut("the proxy's answer", HANDSHAKE))?,
        }
    }

    /// Why a server has nothing in common with podkey: its certificate tells, and only one more handshake shows that. Nothing is
    /// sent over it.
    async fn look(&self, name: &ServerName<'static>) -> TransportError {
        let nothing = TransportError::Tls(TlsFailure::NothingInCommon);
        let (Some(onlooker), Ok(stream)) = (trust::onlooker(), self.reach().await) else {
            return nothing;
        };
        match handshake_tls(&onlooker, name, stream).await {
            Err(seen @ TransportError::Tls(_)) => seen,
            _ => nothing,
        }
    }
}

async fn handshake_tls(
    connector: &TlsConnector,
    name: &ServerName<'static>,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, TransportError> {
    timeout(HANDSHAKE, connector.connect(name.clone(), stream))
        .await
        .map_err(|_| TransportError::TimedOut("the TLS handshake", HANDSHAKE))?
        .map_err(|error| trust::handshake_error(&error))
}

async fn handshake_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, TransportError> {
    let (sender, connection) = http1::Builder::new()
        // Holds the head of an answer; bodies pass through it.
        .max_buf_size(64 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| from_hyper(&error))?;
    tokio::spawn(async move {
        // Its errors reach us through the request that they spoil.
        let _ = connection.await;
    });
    Ok(sender)
}

/// Takes a whole body of at most `limit` bytes.
pub(super) async fn receive(mut body: Incoming, limit: usize) -> Result<Zeroizing<Vec<u8>>, TransportError> {
    let too_large = || TransportError::TooLarge("4 MiB");
    let announced = body.size_hint().exact().unwrap_or(0);
    if announced > limit as u64 {
        return Err(too_large());
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(announced as usize));
    loop {
        let frame = match timeout(IDLE, body.frame()).await {
            Err(_) => return Err(TransportError::TimedOut("a pause within the answer", IDLE)),
            Ok(None) => return Ok(bytes),
            Ok(Some(Err(error))) => return Err(from_hyper(&error)),
            Ok(Some(Ok(frame))) => frame,
        };
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > limit {
                return Err(too_large());
            }
            make_room(&mut bytes, data.len(), limit);
            bytes.extend_from_slice(data);
        }
    }
}

/// Makes room for so many bytes more, in few steps where nobody has announced how many there will be. A buffer that doubles leaves
/// wiped blocks of each size behind, together as large as itself.
fn make_room(bytes: &mut Vec<u8>, more: usize, limit: usize) {
    const FIRST: usize = 64 * 1024;
    const STEP: usize = 8;
    let needed = bytes.len() + more;
    if needed > bytes.capacity() {
        let room = (bytes.capacity() * STEP).max(FIRST).min(limit).max(needed);
        bytes.reserve_exact(room - bytes.len());
    }
}

/// What an error of hyper's means.
pub(super) fn from_hyper(error: &hyper::Error) -> TransportError {
    if error.is_parse() {
        return TransportError::NotHttp;
    }
    // hyper's texts name what it was doing and hold nothing of what was sent.
    let source = std::error::Error::source(error);
    match source.and_then(|source| source.downcast_ref::<io::Error>()) {
        Some(io) if io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => trust::handshake_error(io),
        Some(io) => TransportError::Cut(io.kind().to_string()),
        None => TransportError::Cut(error.to_string()),
    }
}
