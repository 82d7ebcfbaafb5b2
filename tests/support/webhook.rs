//! The webhook's real binary, serving with a certificate of our own, and a small HTTP/1.1 client that speaks to it byte by byte.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use super::ca::{Ca, Leaf};

pub const CONFIG: &str = "
agent: {image: registry.example.com/podkey:1.0.0, imagePullPolicy: IfNotPresent}
connections:
  default:
    address: https://vault.vault.svc:8200
    auth: {mount: my-cluster/arc-runners, role: secret-role}
    allow:
    - {namespaces: [arc-runners], secrets: ['arc-runners/data/**']}
";

/// A client's TLS settings, for a webhook with a certificate of this authority.
pub fn client_config(ca: &Ca, alpn: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// The name that the webhook's certificate is for.
pub const NAME: &str = "localhost";

/// A running webhook. Killed when dropped.
pub struct Webhook {
    pub ca: Ca,
    pub folder: tempfile::TempDir,
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    /// The log line that says so.
    pub serving: Value,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// The open end of the pipe that nobody reads any more.
    unread: Option<Lines<BufReader<ChildStderr>>>,
}

/// Who reads the program's log after the line `serving`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogReader {
    /// The test: see [`Webhook::log`].
    Test,
    /// Nobody: the pipe gets full.
    Nobody,
}

impl Webhook {
    pub fn start() -> Self {
        Self::start_with(&["--grace", "0s"])
    }

    pub fn start_with(args: &[&str]) -> Self {
        Self::start_with_config(CONFIG, args)
    }

    pub fn start_with_config(config: &str, args: &[&str]) -> Self {
        Self::start_as(config, LogReader::Test, |folder| {
            let mut command = command(folder);
            command.args(args);
            command
        })
    }

    /// Starts after a shell command that changes the process's limits, such as `ulimit -S -n 64`.
    pub fn start_after(limits: &str) -> Self {
        Self::start_as(CONFIG, LogReader::Test, |folder| {
            let podkey = command(folder);
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("{limits} && exec \"$@\""), "sh"]);
            shell.arg(podkey.get_program()).args(podkey.get_args());
            shell.args(["--grace", "0s"]);
            shell
        })
    }

    /// Starts the command that is made for a folder: [`command_of`], perhaps below another command.
    pub fn start_as(config: &str, reader: LogReader, command: impl FnOnce(&Path) -> Command) -> Self {
        let ca = Ca::new("podkey webhook test CA");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.yaml"), config).unwrap();
        swap_certificate(folder.path(), &ca.leaf(&[NAME]));
        let mut child = command(folder.path()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let serving: Value = loop {
            let line: Value = serde_json::from_str(&lines.next().expect("a log line").unwrap()).unwrap();
            if line["message"] == "serving" {
                break line;
            }
        };
        let log = Arc::new(Mutex::new(Vec::new()));
        let sink = log.clone();
        let unread = match reader {
            LogReader::Nobody => Some(lines),
            LogReader::Test => {
                std::thread::spawn(move || {
                    for line in lines.map_while(Result::ok) {
                        sink.lock().unwrap().push(line);
                    }
                });
                None
            }
        };
        let address = |field: &str| serving[field].as_str().unwrap().parse().unwrap();
        Self {
            ca,
            folder,
            listen: address("listen"),
            admin: address("admin_listen"),
            serving: serving.clone(),
            child,
            log,
            unread,
        }
    }

    pub fn connect(&self) -> Connection {
        self.try_connect(&["http/1.1"]).unwrap()
    }

    pub fn try_connect(&self, alpn: &[&str]) -> std::io::Result<Connection> {
        self.shake_hands(TcpStream::connect(self.listen)?, alpn)
    }

    /// Connects from another address of this machine, such as 127.0.0.2.
    pub fn connect_from(&self, address: &str) -> Connection {
        let tcp = tcp_from(address, self.listen).unwrap();
        self.shake_hands(tcp, &["http/1.1"]).unwrap()
    }

    fn shake_hands(&self, tcp: TcpStream, alpn: &[&str]) -> std::io::Result<Connection> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(Duration::from_secs(30)))?;
        let name = ServerName::try_from(NAME).unwrap();
        let client = ClientConnection::new(client_config(&self.ca, alpn), name).unwrap();
        let mut connection = Connection {
            stream: BufReader::new(StreamOwned::new(client, tcp)),
        };
        let stream = connection.stream.get_mut();
        stream.conn.complete_io(&mut stream.sock)?;
        Ok(connection)
    }

    /// Posts a body to `/mutate` on a connection of its own.
    pub fn post(&self, body: &[u8]) -> Reply {
        self.connect().post(body)
    }

    pub fn admin_get(&self, path: &str) -> Reply {
        let tcp = TcpStream::connect(self.admin).unwrap();
        let mut stream = BufReader::new(tcp);
        write!(
            stream.get_mut(),
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        read_reply(&mut stream).unwrap()
    }

    /// The value of a metric with these very labels.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.admin_get("/metrics").text();
        let line = text
            .lines()
            .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}"))
            .rsplit(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits until a log line contains a text.
    pub fn wait_for_log(&self, text: &str) {
        eventually(text, || self.log().iter().any(|line| line.contains(text)));
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// How the program ended; none while it runs.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Soft and hard limit of open files.
    pub fn open_files_limit(&self) -> (String, String) {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.child.id())).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        let mut words = line.unwrap().split_whitespace().map(str::to_owned);
        (words.next().unwrap(), words.next().unwrap())
    }

    /// Peak resident memory in KiB.
    pub fn peak_memory(&self) -> u64 {
        self.try_peak_memory().expect("a program that runs")
    }

    /// The same; none once the program has ended.
    pub fn try_peak_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            super::plain::assert_for_people("the webhook's log", &self.log().join("\n"));
        }
    }
}

/// A TCP connection from an address of this machine.
pub fn tcp_from(from: &str, to: SocketAddr) -> std::io::Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0))?;
        socket.connect(to).await?.into_std()
    })?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// `podkey serve` on free ports with the files in a folder.
pub fn command(folder: &Path) -> Command {
    command_of(&super::program("podkey"), folder)
}

/// The same of another build of the program.
pub fn command_of(program: &Path, folder: &Path) -> Command {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut command = Command::new(program);
    command.args([
        "serve",
        "--config",
        &file("config.yaml"),
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ]);
    command.args([
        "--tls-cert",
        &file("tls/tls.crt"),
        "--tls-key",
        &file("tls/tls.key"),
        "--tls-poll",
        "100ms",
    ]);
    command
}

/// Puts a pair of files where they are mounted, the way the kubelet does: a new directory, and one symlink swapped.
pub fn swap_certificate(folder: &Path, leaf: &Leaf) {
    let tls = folder.join("tls");
    std::fs::create_dir_all(&tls).unwrap();
    let generation = tempfile::Builder::new()
        .prefix("..gen")
        .tempdir_in(&tls)
        .unwrap()
        .keep();
    std::fs::write(generation.join("tls.crt"), &leaf.cert).unwrap();
    std::fs::write(generation.join("tls.key"), &leaf.key).unwrap();
    let link = |target: PathBuf, at: PathBuf| std::os::unix::fs::symlink(target, at).unwrap();
    link(generation.file_name().unwrap().into(), tls.join("..data_tmp"));
    std::fs::rename(tls.join("..data_tmp"), tls.join("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        if !tls.join(name).exists() {
            link(Path::new("..data").join(name), tls.join(name));
        }
    }
}

/// One TLS connection.
pub struct Connection {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<String>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn closes(&self) -> bool {
        self.headers
            .iter()
            .any(|header| header.eq_ignore_ascii_case("connection: close"))
    }
}

impl Connection {
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)?;
        self.stream.get_mut().flush()
    }

    /// Writes as much as is taken, which may be less than all.
    pub fn write_what_is_taken(&mut self, bytes: &[u8], longest: Duration) {
        let tcp = &self.stream.get_ref().sock;
        tcp.set_write_timeout(Some(longest)).unwrap();
        let _ = self.write(bytes);
    }

    /// Reads a single byte of an answer; 0 at its end.
    pub fn read_byte(&mut self) -> std::io::Result<usize> {
        self.stream.get_mut().read(&mut [0])
    }

    /// Whether the server has not ended it.
    pub fn is_open(&self) -> bool {
        let tcp = &self.stream.get_ref().sock;
        tcp.set_nonblocking(true).unwrap();
        let open = tcp
            .peek(&mut [0])
            .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        tcp.set_nonblocking(false).unwrap();
        open
    }

    pub fn read_reply(&mut self) -> std::io::Result<Reply> {
        read_reply(&mut self.stream)
    }

    pub fn request(&mut self, line: &str, headers: &str, body: &[u8]) -> Reply {
        let mut bytes = format!(
            "{line} HTTP/1.1\r\nHost: podkey\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        // A server that refuses a body early closes while we still write: the reply counts.
        let written = self.write(&bytes);
        self.read_reply()
            .unwrap_or_else(|error| panic!("no reply: {error} after {written:?}"))
    }

    pub fn post(&mut self, body: &[u8]) -> Reply {
        self.request("POST /mutate?timeout=5s", "Content-Type: application/json\r\n", body)
    }

    /// The certificate that the server showed.
    pub fn server_certificate(&self) -> CertificateDer<'static> {
        self.stream.get_ref().conn.peer_certificates().unwrap()[0]
            .clone()
            .into_owned()
    }
}

fn read_reply(stream: &mut impl BufRead) -> std::io::Result<Reply> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no status line: {line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            header => headers.push(header.to_owned()),
        }
    }
    let length = headers.iter().find_map(|header| {
        header
            .to_ascii_lowercase()
            .strip_prefix("content-length: ")?
            .parse()
            .ok()
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    Ok(Reply { status, headers, body })
}

/// Waits up to 20 s for something that takes its time.
pub fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !happened() {
        assert!(begin.elapsed() < Duration::from_secs(20), "did not happen: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
