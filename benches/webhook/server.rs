//! A server process of its own: pinned to a core, watched from outside, ended when dropped.

use std::ffi::OsString;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustls::pki_types::CertificateDer;

use crate::cpu;
use crate::load::Target;
use crate::pods::CONFIG;
use crate::versions::Version;

/// The server's core and the generator's: the first and the last of those that this process may use at its start.
pub(crate) fn cores() -> anyhow::Result<(usize, usize)> {
    static CORES: OnceLock<(usize, usize)> = OnceLock::new();
    if let Some(cores) = CORES.get() {
        return Ok(*cores);
    }
    let set = sched_getaffinity(None)?;
    let mut ours = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
    let first = ours.next().context("no core")?;
    let cores = (first, ours.next_back().unwrap_or(first));
    Ok(*CORES.get_or_init(|| cores))
}

/// Keeps this thread, and what it starts from now on, on one core.
pub(crate) fn pin(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// What both servers are given: a folder with a config, a P-256 certificate and its key.
pub(crate) struct Files {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) authority: CertificateDer<'static>,
}

impl Files {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        // rcgen's default key is ECDSA on P-256.
        let key = rcgen::KeyPair::generate()?;
        let mut params = rcgen::CertificateParams::new(Vec::new())?;
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key)?.der().clone();
        let issuer = rcgen::Issuer::new(params, key);
        let leaf_key = rcgen::KeyPair::generate()?;
        let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&leaf_key, &issuer)?;
        std::fs::write(folder.path().join("tls.crt"), leaf.pem())?;
        std::fs::write(folder.path().join("tls.key"), leaf_key.serialize_pem())?;
        std::fs::write(folder.path().join("config.yaml"), CONFIG)?;
        Ok(Self { folder, authority })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Which server.
#[derive(Clone, Copy)]
pub(crate) enum Kind<'a> {
    /// `podkey serve`.
    Podkey(&'a Version),
    Null,
}

/// The null handler's name in the tables.
pub(crate) const NULL: &str = "null handler";

impl<'a> Kind<'a> {
    /// Each version, and the null handler.
    pub(crate) fn all(versions: &'a [Version]) -> Vec<Self> {
        versions.iter().map(Self::Podkey).chain([Self::Null]).collect()
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Podkey(version) => &version.name,
            Self::Null => NULL,
        }
    }
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    spawned: Instant,
}

impl Server {
    /// Starts it on the server's core, with some program (valgrind) before it.
    pub(crate) fn start(kind: Kind<'_>, files: &Files, before: &[OsString]) -> anyhow::Result<Self> {
        let (server_core, generator_core) = cores()?;
        let (address, admin) = (free_address()?, free_address()?);
        let path = |name: &str| files.path(name).into_os_string();
        let mut words: Vec<OsString> = before.to_vec();
        match kind {
            Kind::Podkey(version) => {
                words.extend([
                    version.podkey.clone().into(),
                    "serve".into(),
                    "--config".into(),
                    path("config.yaml"),
                ]);
                words.extend(["--listen".into(), address.to_string().into()]);
                words.extend(["--admin-listen".into(), admin.to_string().into()]);
                words.extend([
                    "--tls-cert".into(),
                    path("tls.crt"),
                    "--tls-key".into(),
                    path("tls.key"),
                ]);
                words.extend(["--grace".into(), "0s".into()]);
            }
            Kind::Null => {
                words.extend([
                    std::env::current_exe()?.into(),
                    "null".into(),
                    address.to_string().into(),
                ]);
                words.extend([path("tls.crt"), path("tls.key"), path("answer")]);
            }
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_remove("PODKEY_LOG").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        // A child runs on the core of the thread that starts it.
        pin(server_core)?;
        let spawned = Instant::now();
        let child = command.spawn();
        pin(generator_core)?;
        let mut child = child.with_context(|| format!("cannot start {}", words[0].display()))?;
        // Its log goes into a pipe, as in a cluster, and is read and thrown away.
        if let Some(mut log) = child.stderr.take() {
            std::thread::spawn(move || {
                let mut bytes = vec![0; 64 * 1024];
                while log.read(&mut bytes).is_ok_and(|read| read > 0) {}
            });
        }
        Ok(Self {
            child,
            address,
            spawned,
        })
    }

    /// Waits for the first answer. Returns its body, and how long it took since the process was started.
    pub(crate) async fn first_answer(&self, target: &Target) -> anyhow::Result<(Vec<u8>, Duration)> {
        loop {
            if let Ok(mut connection) = target.connect().await {
                let body = connection.exchange().await?.to_vec();
                return Ok((body, self.spawned.elapsed()));
            }
            ensure!(
                self.spawned.elapsed() < Duration::from_secs(60),
                "the server does not answer"
            );
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(file)
    }

    /// CPU time of all its threads, in seconds, as the scheduler counts it.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        Ok(cpu::of_process(self.child.id())?.as_secs_f64())
    }

    /// Resident memory now and at its highest, in MiB.
    pub(crate) fn memory(&self) -> anyhow::Result<(f64, f64)> {
        let status = std::fs::read_to_string(self.proc("status"))?;
        let field = |name: &str| -> anyhow::Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()).context("status")?;
            Ok(kib.parse::<f64>()? / 1024.0)
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }

    /// Asks it to end, and waits.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
