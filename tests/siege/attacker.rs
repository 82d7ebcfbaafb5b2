//! The attackers on the webhook's port. Their number, bytes and time are bounded, and all run on one thread.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::wire::{self, CHUNKED, Target, Tls, Window, exchange, head, hold};

/// One kind of attack. Each goes on until the server ends the connection, or ends and begins again.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// TCP, and nothing sent.
    HalfOpen,
    /// A ClientHello of 64 KiB, all but its last bytes.
    LongHello,
    /// A ClientHello that comes byte by byte.
    SlowHello,
    /// A handshake, and nothing sent.
    Idle,
    /// One valid review, and nothing more.
    Proven,
    /// A handshake, then the end.
    Handshake,
    /// A header line that does not end.
    LongHeader,
    /// A request line that does not end.
    LongTarget,
    /// 90 header lines of several KB each, and no end.
    ManyHeaders,
    /// Header lines of a few bytes, and no end.
    SmallHeaders,
    /// A header that comes byte by byte.
    SlowHeader,
    /// A body of the largest size is announced; none is sent.
    Announced,
    /// A body of the largest size, all but its last byte.
    Stalled,
    /// A body of the largest size without a length, all but its last byte.
    StalledChunks,
    /// A body in chunks, then trailer lines without end.
    LongTrailer,
    /// A body of the largest size for a path that is not served, and a body of a type that is not accepted.
    Unwanted,
    /// A body in chunks of one byte each, so many of them.
    TinyChunks(Body),
    /// The first half at once, then byte by byte.
    Slow(Body),
    /// The review is posted, and the answer read.
    Post(Body),
    /// The review is posted, and the answer not read.
    NeverRead(Body),
    /// The review is posted, and the answer read slowly.
    SlowRead(Body),
    /// The review is posted again and again, and no answer read.
    Pipelined(Body),
    /// The admin port: nothing sent.
    AdminIdle,
    /// The admin port: header lines without end.
    AdminHeaders,
    /// The admin port: a body is announced, sent in part.
    AdminBody,
    /// The admin port: metrics are asked for again and again, and no answer read.
    AdminPipelined,
}

pub(crate) type Body = Arc<[u8]>;

/// The addresses that attackers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sources {
    /// All from one address.
    One,
    /// From so many addresses.
    Many(u8),
    /// From the well-behaved client's address: both are behind one proxy.
    Neighbours,
}

/// So many connections at a time, each of one kind after the other.
pub(crate) struct Attack {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) connections: usize,
    pub(crate) sources: Sources,
    /// The pause before a connection that ended is opened again.
    pub(crate) pause: Duration,
    /// For a mixture: the order of the kinds is random.
    pub(crate) seed: Option<u64>,
    pub(crate) trust: Trust,
}

/// Whether an attacker first sends a valid review, so that the server treats it as proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    Unearned,
    Earned,
}

/// The attackers of one attack, on a thread of their own.
pub(crate) struct Attackers {
    pub(crate) opened: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Attack {
    pub(crate) fn of(kinds: impl Into<Vec<Kind>>, connections: usize) -> Self {
        Self {
            kinds: kinds.into(),
            connections,
            sources: Sources::One,
            pause: Duration::from_millis(500),
            seed: None,
            trust: Trust::Unearned,
        }
    }

    pub(crate) fn after_a_valid_review(mut self) -> Self {
        self.trust = Trust::Earned;
        self
    }

    pub(crate) fn from(mut self, sources: Sources) -> Self {
        self.sources = sources;
        self
    }

    pub(crate) fn begin(self, target: Target) -> Attackers {
        let (opened, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, stopped) = (opened.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let opening = Arc::new(Semaphore::new(32));
            for index in 0..self.connections {
                let attacker = Attacker {
                    target: target.clone(),
                    from: self.sources.address(index),
                    trust: self.trust,
                    opened: counter.clone(),
                    opening: opening.clone(),
                };
                let kinds = self.kinds.clone();
                let (pause, seed) = (self.pause, self.seed);
                runtime.spawn(async move {
                    let mut chance = seed.map(|seed| fastrand::Rng::with_seed(seed + index as u64));
                    for turn in index.. {
                        let pick = chance.as_mut().map_or(turn, |chance| chance.usize(..));
                        // After any end, the next attacker begins.
                        let _ = attacker.attack(&kinds[pick % kinds.len()]).await;
                        sleep(pause).await;
                    }
                });
            }
            runtime.block_on(async {
                while !stopped.load(Ordering::Relaxed) {
                    sleep(Duration::from_millis(20)).await;
                }
            });
        });
        Attackers { opened, stop, thread }
    }
}

impl Attackers {
    /// Closes all connections.
    pub(crate) fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

impl Sources {
    fn address(self, index: usize) -> Ipv4Addr {
        match self {
            Self::One => Ipv4Addr::new(127, 1, 0, 1),
            Self::Many(count) => Ipv4Addr::new(127, 1, 1, 1 + (index % usize::from(count)) as u8),
            Self::Neighbours => Ipv4Addr::LOCALHOST,
        }
    }
}

struct Attacker {
    target: Target,
    from: Ipv4Addr,
    trust: Trust,
    opened: Arc<AtomicUsize>,
    /// So many attackers open a connection at a time: an attack must not only keep a core of the machine busy.
    opening: Arc<Semaphore>,
}

impl Attacker {
    async fn tcp(&self) -> io::Result<TcpStream> {
        let _turn = self.opening.acquire().await.map_err(io::Error::other)?;
        let stream = self.target.tcp(self.from, Window::Usual).await?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(stream)
    }

    async fn tls(&self, window: Window) -> io::Result<Tls> {
        let _turn = self.opening.acquire().await.map_err(io::Error::other)?;
        // A server that is full may let the connection wait: the other attackers must have their turn.
        let limit = Duration::from_secs(2);
        let mut stream = tokio::time::timeout(limit, self.target.tls(self.from, window)).await??;
        if self.trust == Trust::Earned {
            exchange(&mut stream, &crate::reviews::usual(0)).await?;
        }
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(stream)
    }

    async fn attack(&self, kind: &Kind) -> io::Result<()> {
        match kind {
            Kind::HalfOpen => hold(self.tcp().await?).await,
            Kind::LongHello | Kind::SlowHello => self.hello(matches!(kind, Kind::LongHello)).await,
            Kind::Idle => hold(self.tls(Window::Usual).await?).await,
            Kind::Proven => {
                let mut stream = self.tls(Window::Usual).await?;
                exchange(&mut stream, &crate::reviews::usual(0)).await?;
                hold(stream).await
            }
            Kind::Handshake => self.tls(Window::Usual).await.map(drop),
            Kind::LongHeader
            | Kind::LongTarget
            | Kind::ManyHeaders
            | Kind::SmallHeaders
            | Kind::SlowHeader
            | Kind::Announced => self.unfinished_header(kind).await,
            Kind::Stalled
            | Kind::StalledChunks
            | Kind::TinyChunks(_)
            | Kind::Slow(_)
            | Kind::LongTrailer
            | Kind::Unwanted => self.upload(kind).await,
            Kind::AdminIdle | Kind::AdminHeaders | Kind::AdminBody | Kind::AdminPipelined => self.admin(kind).await,
            Kind::Post(body) => {
                let mut stream = self.tls(Window::Usual).await?;
                loop {
                    exchange(&mut stream, body).await?;
                }
            }
            Kind::NeverRead(body) | Kind::SlowRead(body) | Kind::Pipelined(body) => self.no_reader(kind, body).await,
        }
    }

    async fn hello(&self, is_long: bool) -> io::Result<()> {
        const RECORD: usize = 16 * 1024;
        let mut stream = self.tcp().await?;
        // Handshake message 1, ClientHello, of 65,535 bytes; in records of type 22.
        let mut hello = vec![0x01, 0x00, 0xff, 0xff, 0x03, 0x03];
        hello.resize(65_500, 0);
        for record in hello.chunks(RECORD) {
            let length = (record.len() as u16).to_be_bytes();
            let bytes = [&[22, 3, 1, length[0], length[1]], record].concat();
            if is_long {
                stream.write_all(&bytes).await?;
            } else {
                trickle(&mut stream, &bytes).await?;
            }
        }
        hold(stream).await
    }

    async fn unfinished_header(&self, kind: &Kind) -> io::Result<()> {
        let mut stream = self.tls(Window::Usual).await?;
        let begin = "POST /mutate HTTP/1.1\r\nHost: podkey\r\n";
        let most = 1024 * 1024;
        match kind {
            Kind::LongTarget => stream.write_all(b"POST /mutate?").await?,
            Kind::LongHeader => stream.write_all(format!("{begin}X: ").as_bytes()).await?,
            _ => stream.write_all(begin.as_bytes()).await?,
        }
        match kind {
            Kind::ManyHeaders => {
                for n in 0..90 {
                    let line = format!("X-{n}: {}\r\n", "x".repeat(4_400));
                    stream.write_all(line.as_bytes()).await?;
                }
            }
            Kind::SmallHeaders => stream.write_all("a: b\r\n".repeat(most / 6).as_bytes()).await?,
            Kind::SlowHeader => trickle(&mut stream, &b"X-Y: z\r\n".repeat(1000)).await?,
            Kind::Announced => stream.write_all(&head(crate::reviews::LARGEST_BODY)).await?,
            _ => stream.write_all(&vec![b'x'; most]).await?,
        }
        stream.flush().await?;
        hold(stream).await
    }

    async fn upload(&self, kind: &Kind) -> io::Result<()> {
        let most = crate::reviews::LARGEST_BODY;
        let mut stream = self.tls(Window::Usual).await?;
        let piece = [b' '; 0x10000];
        match kind {
            Kind::Stalled => {
                stream.write_all(&head(most)).await?;
                for _ in 1..most / piece.len() {
                    stream.write_all(&piece).await?;
                }
                stream.write_all(&piece[1..]).await?;
            }
            Kind::TinyChunks(body) => {
                stream.write_all(CHUNKED).await?;
                for part in body.chunks(1024) {
                    let chunks: Vec<u8> = part
                        .iter()
                        .flat_map(|byte| [b'1', b'\r', b'\n', *byte, b'\r', b'\n'])
                        .collect();
                    stream.write_all(&chunks).await?;
                }
                stream.write_all(b"0\r\n\r\n").await?;
                stream.flush().await?;
                wire::read_answer(&mut stream).await?;
            }
            Kind::Slow(body) => {
                stream.write_all(&head(body.len())).await?;
                let (first, rest) = body.split_at(body.len() / 2);
                stream.write_all(first).await?;
                trickle(&mut stream, rest).await?;
            }
            Kind::LongTrailer => {
                stream.write_all(CHUNKED).await?;
                stream.write_all(b"1\r\n{\r\n0\r\n").await?;
                stream.write_all(&b"x: y\r\n".repeat(170_000)).await?;
            }
            Kind::Unwanted => {
                let from = String::from_utf8_lossy(&head(most)).into_owned();
                let head = match self.from.octets()[3] % 2 {
                    0 => from.replace("/mutate", "/nowhere"),
                    _ => from.replace("application/json\r\nAccept-E", "text/plain\r\nAccept-E"),
                };
                stream.write_all(head.as_bytes()).await?;
                for _ in 1..most / piece.len() {
                    stream.write_all(&piece).await?;
                }
            }
            _ => {
                stream.write_all(CHUNKED).await?;
                for _ in 1..most / piece.len() {
                    stream.write_all(b"10000\r\n").await?;
                    stream.write_all(&piece).await?;
                    stream.write_all(b"\r\n").await?;
                }
            }
        }
        stream.flush().await?;
        hold(stream).await
    }

    async fn admin(&self, kind: &Kind) -> io::Result<()> {
        let mut stream = {
            let _turn = self.opening.acquire().await.map_err(io::Error::other)?;
            self.target.admin(self.from).await?
        };
        self.opened.fetch_add(1, Ordering::Relaxed);
        match kind {
            Kind::AdminHeaders => {
                stream.write_all(b"GET /metrics HTTP/1.1\r\n").await?;
                for n in 0..90 {
                    let line = format!("X-{n}: {}\r\n", "x".repeat(4_400));
                    stream.write_all(line.as_bytes()).await?;
                }
            }
            Kind::AdminBody => {
                stream.write_all(&head(crate::reviews::LARGEST_BODY)).await?;
                stream.write_all(&[b' '; 0x100000]).await?;
            }
            Kind::AdminPipelined => {
                let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
                stream.write_all(&request.repeat(20_000)).await?;
                unread(&stream).await?;
            }
            _ => {}
        }
        hold(stream).await
    }

    async fn no_reader(&self, kind: &Kind, body: &[u8]) -> io::Result<()> {
        let mut stream = self.tls(Window::Least).await?;
        let request = [&head(body.len()), body].concat();
        let times = if matches!(kind, Kind::Pipelined(_)) { 200 } else { 1 };
        for _ in 0..times {
            stream.write_all(&request).await?;
            stream.flush().await?;
        }
        if matches!(kind, Kind::SlowRead(_)) {
            let mut byte = [0];
            while stream.read(&mut byte).await? > 0 {
                sleep(Duration::from_millis(250)).await;
            }
            return Ok(());
        }
        unread(stream.get_ref().0).await
    }
}

/// Reads nothing from the socket: only its state shows that the server has cut the connection.
async fn unread(stream: &TcpStream) -> io::Result<()> {
    loop {
        sleep(Duration::from_millis(500)).await;
        let state = stream.ready(Interest::READABLE | Interest::ERROR).await?;
        if state.is_read_closed() || state.is_error() {
            return Ok(());
        }
    }
}

/// Ten bytes a second, each in a record of its own.
async fn trickle(stream: &mut (impl tokio::io::AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte]).await?;
        stream.flush().await?;
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
