//! What is looked at every few seconds, as lines of a CSV file.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;

use crate::FILES;
use crate::process::Sidecar;
use crate::support::http;
use crate::support::openbao::OpenBao;
use crate::support::postgres::Postgres;

const HEAD: &str = "seconds,rss_kib,peak_kib,anon_kib,pss_kib,cpu_ms,fds,threads,volume_entries,volume_kib,log_kib,rounds,\
                    not_fresh,tokens,leases,database_users,server";
/// The audit log is emptied when it is longer, in bytes.
const LONGEST_AUDIT: u64 = 64 << 20;

pub(crate) struct Samples {
    file: File,
    begun: Instant,
    audit: PathBuf,
    read: u64,
    rounds: u64,
}

impl Samples {
    pub(crate) fn new(path: &Path, bao: &OpenBao) -> anyhow::Result<Self> {
        let mut file = File::create(path).with_context(|| path.display().to_string())?;
        writeln!(file, "{HEAD}")?;
        Ok(Self {
            file,
            begun: Instant::now(),
            audit: bao.directory().join("audit.log"),
            read: 0,
            rounds: 0,
        })
    }

    /// How often the sidecar has read its first secret, by the server's audit log.
    pub(crate) fn rounds(&mut self) -> anyhow::Result<u64> {
        let mut file = File::options().read(true).write(true).open(&self.audit)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        // What comes after the last line end is read next time.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        self.read += whole as u64;
        for line in text[..whole].split(|byte| *byte == b'\n') {
            let line: Value = serde_json::from_slice(line).unwrap_or_default();
            let request = &line["request"];
            let is_read = line["type"] == "response" && request["operation"] == "read";
            self.rounds += u64::from(is_read && request["path"] == crate::engines::path("raw-0"));
        }
        if self.read > LONGEST_AUDIT {
            file.set_len(0)?;
            self.read = 0;
        }
        Ok(self.rounds)
    }

    /// Adds a line. Fails when the sidecar has ended.
    pub(crate) fn take(
        &mut self,
        sidecar: &Sidecar,
        bao: &OpenBao,
        postgres: &Postgres,
        server: &str,
    ) -> anyhow::Result<()> {
        let used = sidecar.used().context("the sidecar has ended")?;
        let proc = Path::new("/proc").join(sidecar.id().to_string());
        let status = fs::read_to_string(proc.join("status"))?;
        let rollup = fs::read_to_string(proc.join("smaps_rollup"))?;
        let entries = |below: &str| -> anyhow::Result<usize> { Ok(fs::read_dir(proc.join(below))?.count()) };
        let volume = volume(&sidecar.folder().join(FILES).join(".."))?;
        let log = fs::metadata(sidecar.folder().join("log"))?.len();
        let not_fresh = sidecar.not_fresh(crate::engines::files().len())?;
        let held = match server {
            "up" => Held::by(bao, postgres),
            _ => Held::default(),
        };
        let number = |count: Option<usize>| count.map_or(String::new(), |count| count.to_string());
        let rounds = self.rounds()?;
        writeln!(
            self.file,
            "{},{},{},{},{},{},{},{},{},{},{},{rounds},{not_fresh},{},{},{},{server}",
            self.begun.elapsed().as_secs(),
            used.rss_kib,
            used.peak_kib,
            field(&status, "RssAnon:")?,
            field(&rollup, "Pss:")?,
            used.cpu.as_millis(),
            entries("fd")?,
            entries("task")?,
            volume.0,
            volume.1 / 1024,
            log / 1024,
            number(held.tokens),
            number(held.leases),
            number(held.users),
        )?;
        Ok(self.file.flush()?)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// A number of a file like `/proc/PID/status`.
fn field(text: &str, name: &str) -> anyhow::Result<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .context(name.to_owned())?;
    Ok(line.split_whitespace().next().context(line.to_owned())?.parse()?)
}

/// How many files, folders and links are below a folder, and the files' bytes. What is taken away meanwhile does not count.
fn volume(folder: &Path) -> anyhow::Result<(usize, u64)> {
    let (mut entries, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder)?.flatten() {
        let Ok(kind) = entry.metadata() else { continue };
        entries += 1;
        if kind.is_dir() {
            let below = volume(&entry.path()).unwrap_or_default();
            entries += below.0;
            bytes += below.1;
        } else {
            bytes += kind.len();
        }
    }
    Ok((entries, bytes))
}

/// What the sidecar holds at the server. `None` where the server did not say.
#[derive(Default)]
struct Held {
    tokens: Option<usize>,
    leases: Option<usize>,
    users: Option<usize>,
}

impl Held {
    fn by(bao: &OpenBao, postgres: &Postgres) -> Self {
        let list = |path: &str| {
            let headers = [("X-Vault-Token", "root")];
            let (status, text) = http::call(bao.http_port, "LIST", &format!("/v1/{path}"), &headers, "").ok()?;
            let answer: Value = serde_json::from_str(&text).unwrap_or_default();
            match status {
                200 => Some(answer["data"]["keys"].as_array().map_or(0, Vec::len)),
                404 => Some(0),
                _ => None,
            }
        };
        let leases = ["renewed", "short"].map(|role| list(&format!("sys/leases/lookup/database/creds/{role}")));
        let users = postgres.admin("select count(*) from pg_roles where rolname like 'v-%'");
        Self {
            // Those of the server itself are there at all times.
            tokens: list("auth/token/accessors"),
            leases: leases[0].zip(leases[1]).map(|(renewed, short)| renewed + short),
            users: users.parse().ok(),
        }
    }
}
