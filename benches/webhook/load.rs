//! The load generator: an HTTP/1.1 client over TLS that speaks as the API server does, on one thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustls::crypto::ring::cipher_suite;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pods;

/// Where to send what.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    request: Arc<[u8]>,
    /// Where the names are that differ from request to request.
    names: Arc<[usize]>,
    /// The requests so far, of all connections.
    sent: Arc<AtomicU32>,
}

impl Target {
    pub(crate) fn new(address: SocketAddr, authority: &CertificateDer<'static>, body: &[u8]) -> anyhow::Result<Self> {
        let mut provider = rustls::crypto::ring::default_provider();
        // The suite that Go's client and server agree on; resumption is off, as it is in the API server.
        provider
            .cipher_suites
            .sort_by_key(|suite| *suite != cipher_suite::TLS13_AES_128_GCM_SHA256);
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone())?;
        let mut tls = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.resumption = rustls::client::Resumption::disabled();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut target = Self {
            address,
            tls: Arc::new(tls),
            request: Arc::default(),
            names: Arc::default(),
            sent: Arc::default(),
        };
        target.send(body, &pods::NAMES);
        Ok(target)
    }

    /// Changes the body. In each request, other characters stand where the body has one of these names.
    pub(crate) fn send(&mut self, body: &[u8], names: &[&str]) {
        let mut request = format!(
            "POST /mutate?timeout=5s HTTP/1.1\r\nHost: podkey.podkey-system.svc:443\r\nUser-Agent: kube-apiserver-admission\r\n\
             Content-Length: {}\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        let places = request.windows(pods::NAME_BYTES).enumerate();
        let places = places.filter(|(_, part)| names.iter().any(|name| name.as_bytes() == *part));
        self.names = places.map(|(place, _)| place).collect();
        self.request = request.into();
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn handshake(&self, tcp: TcpStream) -> anyhow::Result<TlsStream<TcpStream>> {
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        Ok(TlsConnector::from(self.tls.clone()).connect(name, tcp).await?)
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = self.handshake(TcpStream::connect(self.address).await?).await?;
        Ok(Connection {
            stream,
            request: self.request.to_vec(),
            names: self.names.clone(),
            sent: self.sent.clone(),
            buffer: vec![0; 64 * 1024],
        })
    }

    pub(crate) async fn connections(&self, count: usize) -> anyhow::Result<Vec<Connection>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            let mut connection = self.connect().await?;
            connection.exchange().await?;
            connections.push(connection);
        }
        Ok(connections)
    }

    /// So many connections, each for one request, some at once: the time for all, and each one's latency.
    pub(crate) async fn fresh(&self, total: usize, at_once: usize) -> anyhow::Result<(Duration, Vec<f64>)> {
        let begin = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for index in 0..at_once {
            let target = self.clone();
            let count = share(total, at_once, index);
            tasks.spawn(async move {
                let mut micros = Vec::with_capacity(count);
                for _ in 0..count {
                    let begin = Instant::now();
                    target.connect().await?.exchange().await?;
                    micros.push(begin.elapsed().as_secs_f64() * 1e6);
                }
                anyhow::Ok(micros)
            });
        }
        let mut micros = Vec::with_capacity(total);
        while let Some(done) = tasks.join_next().await {
            micros.extend(done??);
        }
        Ok((begin.elapsed(), micros))
    }
}

fn share(total: usize, parts: usize, index: usize) -> usize {
    total / parts + usize::from(index < total % parts)
}

/// Sends so many requests over open connections: the time for all, and each one's latency in microseconds.
pub(crate) async fn drive(connections: Vec<Connection>, total: usize) -> anyhow::Result<(Duration, Vec<f64>)> {
    let parts = connections.len();
    let begin = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for (index, mut connection) in connections.into_iter().enumerate() {
        let count = share(total, parts, index);
        tasks.spawn(async move {
            let mut micros = Vec::with_capacity(count);
            for _ in 0..count {
                let begin = Instant::now();
                connection.exchange().await?;
                micros.push(begin.elapsed().as_secs_f64() * 1e6);
            }
            anyhow::Ok(micros)
        });
    }
    let mut micros = Vec::with_capacity(total);
    while let Some(done) = tasks.join_next().await {
        micros.extend(done??);
    }
    Ok((begin.elapsed(), micros))
}

/// An open connection.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    request: Vec<u8>,
    names: Arc<[usize]>,
    sent: Arc<AtomicU32>,
    buffer: Vec<u8>,
}

impl Connection {
    /// One request and its whole answer, which must be a 200. Returns the answer's body.
    pub(crate) async fn exchange(&mut self) -> anyhow::Result<&[u8]> {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let name = format!("{number:0width$x}", width = pods::NAME_BYTES);
        for place in self.names.iter() {
            self.request[*place..place + pods::NAME_BYTES].copy_from_slice(name.as_bytes());
        }
        self.stream.write_all(&self.request).await?;
        self.stream.flush().await?;
        let mut filled = 0;
        let (start, end) = loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(read > 0, "the answer broke off");
            filled += read;
            let Some(head) = self.buffer[..filled].windows(4).position(|end| end == b"\r\n\r\n") else {
                continue;
            };
            let end = head + 4 + content_length(&self.buffer[..head])?;
            if end > self.buffer.len() {
                bail!("an answer of {end} bytes");
            }
            if filled >= end {
                break (head + 4, end);
            }
        };
        ensure!(
            self.buffer.starts_with(b"HTTP/1.1 200"),
            "no 200: {}",
            String::from_utf8_lossy(&self.buffer[..end])
        );
        Ok(&self.buffer[start..end])
    }
}

fn content_length(head: &[u8]) -> anyhow::Result<usize> {
    let head = std::str::from_utf8(head)?;
    head.lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
        .context("an answer without content-length")
}
