//! The other end of a connection: direct or through a proxy, with TLS or without, HTTP/1.1 over it.

use std::io;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::dial::dial;
use super::error::{TlsError, TransportError};
use super::handshake::handshake_error;
use super::proxy::Proxy;
use super::trust::{self, TlsTarget};

/// How long a TLS handshake, or a proxy's answer, may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A server, and how to connect to it.
pub(crate) struct Peer {
    host: String,
    port: u16,
    tls: Option<TlsTarget>,
    proxy: Option<Proxy>,
}

impl Peer {
    /// A server that is reached directly. Without `tls` the connection is in clear text.
    pub(crate) fn new(host: &str, port: u16, tls: Option<TlsTarget>) -> Self {
        Self {
            host: host.to_owned(),
            port,
            tls,
            proxy: None,
        }
    }

    /// Connects through this proxy, if there is one.
    pub(super) fn through(self, proxy: Option<Proxy>) -> Self {
        Self { proxy, ..self }
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Opens a connection that is ready for a request.
    pub(super) async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, TransportError> {
        let stream = self.open_stream().await?;
        let Some((connector, name)) = &self.tls else {
            return handshake_http(stream).await;
        };
        match handshake_tls(connector, name, stream).await {
            Ok(stream) => handshake_http(stream).await,
            Err(TransportError::Tls(TlsError::NothingInCommon)) => Err(self.why_nothing_in_common(name).await),
            Err(error) => Err(error),
        }
    }

    async fn open_stream(&self) -> Result<TcpStream, TransportError> {
        match &self.proxy {
            None => dial(&self.host, self.port).await,
            Some(proxy) => timeout(HANDSHAKE, proxy.tunnel(&self.host, self.port))
                .await
                .map_err(|_| TransportError::TimedOut("the proxy's answer", HANDSHAKE))?,
        }
    }

    /// Why the server has nothing in common with podkey. The server's certificate may show the reason, and only a second
    /// handshake shows the certificate. No request is sent over that connection.
    async fn why_nothing_in_common(&self, name: &ServerName<'static>) -> TransportError {
        let unknown = TransportError::Tls(TlsError::NothingInCommon);
        let (Some(probe), Ok(stream)) = (trust::probe(), self.open_stream().await) else {
            return unknown;
        };
        match handshake_tls(&probe, name, stream).await {
            Err(reason @ TransportError::Tls(_)) => reason,
            _ => unknown,
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
        .map_err(|error| handshake_error(&error))
}

async fn handshake_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, TransportError> {
    let (sender, connection) = http1::Builder::new()
        // The head of an answer must fit into this buffer. A body passes through it.
        .max_buf_size(64 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| from_hyper(&error))?;
    tokio::spawn(async move {
        // The request that an error ends reports the error.
        let _ = connection.await;
    });
    Ok(sender)
}

/// What an error of hyper means.
pub(super) fn from_hyper(error: &hyper::Error) -> TransportError {
    if error.is_parse() {
        return TransportError::NotHttp;
    }
    // hyper's texts name what hyper was doing. They hold nothing of the request.
    let source = std::error::Error::source(error);
    match source.and_then(|source| source.downcast_ref::<io::Error>()) {
        Some(io) if io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => handshake_error(io),
        Some(io) => TransportError::Cut(io.kind().to_string()),
        None => TransportError::Cut(error.to_string()),
    }
}
