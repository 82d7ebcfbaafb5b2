//! One sidecar with 16 secrets of every kind for hours, as it ships, at a real OpenBao: values change all the time, credentials run
//! out, and the server is sealed, killed, stopped, slow and forgetful. What the sidecar takes is a line of a CSV file every ten
//! seconds; `benches/soak/chart` says whether it grows. `make soak` calls it.

#[path = "../cpu.rs"]
mod cpu;
#[path = "../plans.rs"]
mod plans;
#[path = "../sidecar/process.rs"]
mod process;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../versions.rs"]
mod versions;
#[path = "../volumes.rs"]
mod volumes;

mod engines;
mod sample;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use process::Sidecar;
use sample::Samples;
use serde_json::{Value, json};
use support::jwt::Claims;
use support::openbao::{ACCOUNT, MOUNT, NAMESPACE, OpenBao};
use support::postgres::Postgres;
use versions::Arguments;

/// Where podkey's agent shows a relative file.
const FILES: &str = "podkey/volume/files";
const TOKEN: &str = "podkey/token/token";
/// The shortest interval that podkey takes.
const REFRESH: &str = "5s";
const SAMPLED: Duration = Duration::from_secs(10);
/// The kubelet replaces a token when 80 % of its life are over.
const TOKEN_REPLACED: Duration = Duration::from_secs(480);
/// From the end of one disturbance to the next, at the most.
const CALM: Duration = Duration::from_secs(75);

fn main() -> anyhow::Result<()> {
    let Some(arguments) = Arguments::read()? else {
        return Ok(());
    };
    let [lasts, csv, seed] = arguments.words.as_slice() else {
        anyhow::bail!("arguments: NAME=FOLDER DURATION CSV SEED");
    };
    let lasts = humantime::parse_duration(lasts)?;
    let mut soak = Soak::new(&arguments, csv.into(), seed.parse()?)?;
    soak.run(lasts)
}

/// What is done to the server. A disturbance lasts some seconds.
#[derive(Clone, Copy, Debug)]
enum Disturbance {
    Sealed,
    Killed,
    /// It answers nothing, and its connections stay.
    Stopped,
    Quota,
    /// Every token of the sidecar's is revoked, and with it its leases.
    TokensRevoked,
    LeasesRevoked,
    SecretDeleted,
}

const DISTURBANCES: [Disturbance; 7] = [
    Disturbance::Sealed,
    Disturbance::Killed,
    Disturbance::Stopped,
    Disturbance::Quota,
    Disturbance::TokensRevoked,
    Disturbance::LeasesRevoked,
    Disturbance::SecretDeleted,
];

struct Soak {
    bao: OpenBao,
    postgres: Postgres,
    sidecar: Sidecar,
    random: fastrand::Rng,
    samples: Samples,
    token_made: Instant,
    sampled: Instant,
    /// How often each disturbance happened, in the order of [`DISTURBANCES`].
    done: [u32; DISTURBANCES.len()],
    changes: u64,
    _folder: tempfile::TempDir,
}

impl Soak {
    fn new(arguments: &Arguments, csv: PathBuf, seed: u64) -> anyhow::Result<Self> {
        let version = arguments.versions.first().context("no NAME=FOLDER")?;
        let (bao, postgres) = (OpenBao::on_raft(), Postgres::start());
        engines::set_up(&bao, &postgres);
        let folder = volumes::folder()?;
        let pod = tempfile::tempdir_in(folder.path())?;
        for below in ["podkey/token", "podkey/volume", "podkey/handover", "dev"] {
            fs::create_dir_all(pod.path().join(below))?;
        }
        let mut random = fastrand::Rng::with_seed(seed);
        for name in engines::CHANGED.iter().chain([&engines::GONE]) {
            bao.write(&engines::path(name), &secret(&mut random));
        }
        bao.write("plain/config", &json!({"value": "before"}));
        fs::write(pod.path().join(TOKEN), token(&bao))?;
        let login = json!({"method": "kubernetes", "mount": MOUNT, "role": "soak"});
        let plan = plans::plan(version, &bao, (&bao.address(), &login), &engines::annotations(REFRESH))?;
        let env = [("PODKEY_PLAN", plan)];
        process::run(&version.agent, &["init", "--root", "."], &env, pod.path())?;
        let sidecar = Sidecar::start(&version.agent, &["sidecar", "--root", "."], &env, pod)?;
        Ok(Self {
            samples: Samples::new(&csv, &bao)?,
            bao,
            postgres,
            sidecar,
            random,
            token_made: Instant::now(),
            sampled: Instant::now(),
            done: [0; DISTURBANCES.len()],
            changes: 0,
            _folder: folder,
        })
    }

    fn run(&mut self, lasts: Duration) -> anyhow::Result<()> {
        self.wait_until_fresh()?;
        while self.samples.elapsed() < lasts {
            let calm = CALM.mul_f64(self.random.f64());
            self.calm(calm.min(lasts.saturating_sub(self.samples.elapsed())))?;
            if self.samples.elapsed() >= lasts {
                break;
            }
            // Each once in every seven.
            let least = self.done.iter().min().copied().unwrap_or_default();
            let next: Vec<usize> = (0..DISTURBANCES.len()).filter(|at| self.done[*at] == least).collect();
            let at = next[self.random.usize(..next.len())];
            self.done[at] += 1;
            let away = Duration::from_secs(self.random.u64(2..30));
            say(&format!(
                "{} s: {:?} for {} s",
                self.samples.elapsed().as_secs(),
                DISTURBANCES[at],
                away.as_secs()
            ))?;
            self.disturb(DISTURBANCES[at], away)?;
        }
        self.end()
    }

    /// Changes values, while the server is well.
    fn calm(&mut self, lasts: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < lasts {
            let name = engines::CHANGED[self.random.usize(..engines::CHANGED.len())];
            let value = secret(&mut self.random);
            // A server that was unsealed just now may have no leader for a moment.
            let (status, _) = self.bao.call_in("", "POST", &engines::path(name), &value);
            self.changes += u64::from(status == 200);
            self.wait(Duration::from_secs(1), "up")?;
        }
        Ok(())
    }

    /// Samples, and replaces the token as the kubelet does, while nothing is changed.
    fn wait(&mut self, lasts: Duration, server: &str) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < lasts {
            if self.token_made.elapsed() > TOKEN_REPLACED {
                let path = self.sidecar.folder().join(TOKEN);
                fs::write(path.with_extension("new"), token(&self.bao))?;
                fs::rename(path.with_extension("new"), path)?;
                self.token_made = Instant::now();
            }
            if self.sampled.elapsed() > SAMPLED {
                self.sampled += SAMPLED;
                self.samples.take(&self.sidecar, &self.bao, &self.postgres, server)?;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn disturb(&mut self, disturbance: Disturbance, lasts: Duration) -> anyhow::Result<()> {
        match disturbance {
            Disturbance::Sealed => {
                self.bao.write("sys/seal", &Value::Null);
                self.wait(lasts, "sealed")?;
                self.bao.unseal();
            }
            Disturbance::Killed => {
                self.bao.kill();
                self.wait(lasts, "killed")?;
                self.bao.start_again();
                self.bao.unseal();
            }
            Disturbance::Stopped => {
                signal("-STOP", self.bao.pid())?;
                self.wait(lasts, "stopped")?;
                signal("-CONT", self.bao.pid())?;
            }
            Disturbance::Quota => {
                let quota = "sys/quotas/rate-limit/soak";
                self.bao.write(quota, &json!({"rate": 1, "path": "app/"}));
                self.calm(lasts)?;
                self.bao.delete(quota);
            }
            Disturbance::TokensRevoked => self.revoke_tokens(),
            Disturbance::LeasesRevoked => {
                self.bao.write("sys/leases/revoke-prefix/database/creds", &json!({}));
            }
            Disturbance::SecretDeleted => {
                self.bao.delete(&engines::path(engines::GONE));
                self.calm(lasts)?;
                self.bao.write(&engines::path(engines::GONE), &secret(&mut self.random));
            }
        }
        Ok(())
    }

    /// Revokes every token that the login of the soak made.
    fn revoke_tokens(&self) {
        let (_, answer) = self.bao.call_in("", "LIST", "auth/token/accessors", &Value::Null);
        for accessor in answer["data"]["keys"].as_array().into_iter().flatten() {
            let body = json!({"accessor": accessor});
            let (_, found) = self.bao.call_in("", "POST", "auth/token/lookup-accessor", &body);
            if found["data"]["path"] == format!("auth/{MOUNT}/login") {
                self.bao.call_in("", "POST", "auth/token/revoke-accessor", &body);
            }
        }
    }

    fn wait_until_fresh(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let not_fresh = self.sidecar.not_fresh(engines::files().len());
            if matches!(not_fresh, Ok(0)) {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < Duration::from_secs(120),
                "not every file is fresh: {not_fresh:?}"
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// All is well again: every file gets the newest value, and the end leaves nothing at the server.
    fn end(&mut self) -> anyhow::Result<()> {
        let last = secret(&mut self.random);
        for name in engines::CHANGED.iter().chain([&engines::GONE]) {
            self.bao.write(&engines::path(name), &last);
        }
        let value = last["data"]["value"].as_str().context("a value")?.to_owned();
        for file in ["raw-0", "raw-1", "raw-2", engines::GONE] {
            self.sidecar.shows(file, &value)?;
        }
        self.wait_until_fresh()?;
        let rounds = self.samples.rounds()?;
        let took = self.samples.elapsed().as_secs();
        signal("-TERM", self.sidecar.id())?;
        let status = self.sidecar.ended()?;
        ensure!(status.success(), "the sidecar ended with {status}");
        let users = "select count(*) from pg_roles where rolname like 'v-%'";
        let begun = Instant::now();
        while self.postgres.admin(users) != "0" {
            ensure!(
                begun.elapsed() < Duration::from_secs(240),
                "users are left in the database"
            );
            std::thread::sleep(Duration::from_millis(200));
        }
        let done: Vec<String> = DISTURBANCES
            .iter()
            .zip(self.done)
            .map(|(what, often)| format!("{what:?} {often}"))
            .collect();
        say(&format!(
            "{took} s, {rounds} rounds, {} changes, disturbances: {}; every file current at the end; exit code 0; no database user left",
            self.changes,
            done.join(", ")
        ))
    }
}

fn say(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stderr(), "{line}")?)
}

/// A value of a length of its own.
fn secret(random: &mut fastrand::Rng) -> Value {
    let length = random.usize(12..2000);
    let value: String = std::iter::repeat_with(|| random.alphanumeric()).take(length).collect();
    json!({"data": {"value": value, "user": "app"}})
}

fn token(bao: &OpenBao) -> String {
    bao.cluster.sign(&Claims::new(NAMESPACE, ACCOUNT, "vault"))
}

fn signal(signal: &str, pid: u32) -> anyhow::Result<()> {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status()?;
    ensure!(sent.success(), "kill {signal} {pid}");
    Ok(())
}
