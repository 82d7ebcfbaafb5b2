//! The connections of attackers and of the well-behaved client: TCP from a chosen address, TLS, and HTTP/1.1 written by hand.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::webhook::{NAME, Webhook, client_config};

pub(crate) type Tls = TlsStream<TcpStream>;

/// The webhook's address and TLS settings.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    admin: SocketAddr,
    tls: TlsConnector,
}

/// How many bytes a client's kernel accepts before the client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    Usual,
    /// As few as the kernel allows: the answer stays in the server's memory.
    Least,
}

impl Target {
    pub(crate) fn new(webhook: &Webhook) -> Self {
        let mut config = ClientConfig::clone(&client_config(&webhook.ca, &["http/1.1"]));
        // As in the API server: each connection makes a full handshake.
        config.resumption = Resumption::disabled();
        Self {
            address: webhook.listen,
            admin: webhook.admin,
            tls: TlsConnector::from(Arc::new(config)),
        }
    }

    /// A TCP connection from this address of 127.0.0.0/8.
    pub(crate) async fn tcp(&self, from: Ipv4Addr, window: Window) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if window == Window::Least {
            socket.set_recv_buffer_size(2048)?;
        }
        connect(socket, from, self.address).await
    }

    /// A connection to the admin port, with the smallest window.
    pub(crate) async fn admin(&self, from: Ipv4Addr) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(2048)?;
        connect(socket, from, self.admin).await
    }

    pub(crate) async fn tls(&self, from: Ipv4Addr, window: Window) -> io::Result<Tls> {
        let tcp = self.tcp(from, window).await?;
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        self.tls.connect(name, tcp).await
    }
}

async fn connect(socket: TcpSocket, from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The head of a request whose body has so many bytes.
pub(crate) fn head(length: usize) -> Vec<u8> {
    format!(
        "POST /mutate?timeout=5s HTTP/1.1\r\nHost: podkey.podkey.svc:443\r\nUser-Agent: kube-apiserver-admission\r\n\
         Content-Length: {length}\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\n\
         Accept-Encoding: gzip\r\n\r\n"
    )
    .into_bytes()
}

/// The head of a request whose body comes in chunks.
pub(crate) const CHUNKED: &[u8] =
    b"POST /mutate?timeout=5s HTTP/1.1\r\nHost: podkey\r\nContent-Type: application/json\r\n\
      Transfer-Encoding: chunked\r\n\r\n";

/// Posts a body and reads the whole answer: its status and its body.
pub(crate) async fn exchange(stream: &mut Tls, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    // A server that refuses a body early closes the connection while the client still writes: the answer counts.
    let written = async {
        stream.write_all(&head(body.len())).await?;
        stream.write_all(body).await?;
        stream.flush().await
    }
    .await;
    match read_answer(stream).await {
        Ok(answer) => Ok(answer),
        Err(error) => Err(written.err().unwrap_or(error)),
    }
}

pub(crate) async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u16, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let (Some(status), Some(length)) = (status, length) else {
        return Err(io::Error::other(format!("not an answer: {text:?}")));
    };
    while bytes.len() < head + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((status, bytes.split_off(head)))
}

/// Reads and throws away until the server closes.
pub(crate) async fn hold(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut bytes = [0; 4096];
    while stream.read(&mut bytes).await? > 0 {}
    Ok(())
}
