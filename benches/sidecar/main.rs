//! Measures `podkey-agent sidecar` beside `bao agent` with the same work: what it takes while it has nothing to do and while
//! it reads, and how soon a change is in the file. Then 500 of it at one server. `benches/run` calls it; `benches/README.md`
//! says how each number is made.

#[path = "../bao_agent.rs"]
mod bao_agent;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../table.rs"]
mod table;

mod process;
mod storm;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use process::{Sidecar, Used};
use serde_json::{Value, json};
use support::jwt::Claims;
use support::openbao::{ACCOUNT, JWT_MOUNT, NAMESPACE, OpenBao, binary};
use table::{Table, aim, no_aim, quantile};

const ROLE: &str = "actions";
const TOKEN: &str = "podkey/token/token";
/// Where podkey's agent shows a relative file; the others write there too.
const FILES: &str = "podkey/volume/files";
/// The shortest interval that podkey takes.
const INTERVAL: Duration = Duration::from_secs(5);
/// No round comes while it is measured.
const IDLE: Duration = Duration::from_secs(24 * 3600);
/// As many as a plan may have.
const MANY: usize = 64;
const AIM_MIB: f64 = 12.0;

/// How much is measured.
struct Effort {
    /// Before anything is: all have logged in and read once.
    warm_up: Duration,
    watched: Duration,
    changes: usize,
    storm: storm::Effort,
}

const FULL: Effort = Effort {
    warm_up: Duration::from_secs(20),
    watched: Duration::from_secs(90),
    changes: 20,
    storm: storm::FULL,
};
const QUICK: Effort = Effort {
    warm_up: Duration::from_secs(3),
    watched: Duration::from_secs(6),
    changes: 2,
    storm: storm::QUICK,
};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (agent, effort) = match args[..] {
        [agent] => (agent, FULL),
        [agent, "--quick"] => (agent, QUICK),
        // `cargo test --benches` and `cargo bench` without arguments measure nothing.
        [] | ["--bench" | "--test", ..] => {
            return Ok(writeln!(std::io::stderr(), "benches/run calls this with arguments")?);
        }
        _ => bail!("unknown arguments: {args:?}"),
    };
    let bench = Bench::new(agent)?;
    let mut text = bench.beside_bao_agent(&effort)?;
    text += &storm::measure(&bench, &effort.storm)?;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    Podkey,
    BaoAgent,
}

const PROGRAMS: [Program; 2] = [Program::Podkey, Program::BaoAgent];

/// The server, and the folder that the programs run in.
struct Bench {
    bao: OpenBao,
    agent: PathBuf,
    folder: tempfile::TempDir,
}

fn secret(number: usize) -> String {
    format!("arc-runners/data/app-{number}")
}

fn file(number: usize) -> String {
    format!("app-{number}")
}

impl Bench {
    fn new(agent: &str) -> anyhow::Result<Self> {
        let bench = Self {
            bao: OpenBao::with_scenario_1(),
            agent: fs::canonicalize(agent)?,
            folder: tempfile::tempdir()?,
        };
        for number in 0..MANY {
            bench.put(number, &format!("s3cret-of-app-{number}-before"));
        }
        Ok(bench)
    }

    fn put(&self, number: usize, value: &str) {
        self.bao.write(&secret(number), &json!({"data": {"value": value}}));
    }

    fn plan(&self, secrets: usize, interval: Duration) -> Value {
        let files = (0..secrets).map(|number| {
            json!({"secret": secret(number), "key": "value", "format": "raw", "file": file(number), "mode": "0400"})
        });
        json!({
            "version": 1, "budget": "5m", "files": files.collect::<Vec<_>>(),
            "connection": {"name": "default", "address": self.bao.address(), "ca": self.bao.ca.pem()},
            "login": {"method": "jwt", "mount": JWT_MOUNT, "role": ROLE},
            "refresh": {"interval": humantime::format_duration(interval).to_string()},
        })
    }

    fn bao_agent_config(&self, secrets: usize, interval: Duration) -> anyhow::Result<String> {
        let mut text = bao_agent::login(&self.bao, TOKEN, ROLE);
        writeln!(
            text,
            r#"
            template_config {{
              static_secret_render_interval = "{}s"
            }}
            "#,
            interval.as_secs(),
        )?;
        for number in 0..secrets {
            writeln!(
                text,
                r#"
                template {{
                  contents = "{{{{ with secret \"{}\" }}}}{{{{ .Data.data.value }}}}{{{{ end }}}}"
                  destination = "{FILES}/{}"
                  perms = "0400"
                }}
                "#,
                secret(number),
                file(number),
            )?;
        }
        Ok(text)
    }

    /// A pod's volumes, with a token.
    fn pod(&self) -> anyhow::Result<tempfile::TempDir> {
        let folder = tempfile::tempdir_in(self.folder.path())?;
        for below in ["podkey/token", "podkey/volume", "podkey/handover", "dev"] {
            fs::create_dir_all(folder.path().join(below))?;
        }
        let token = self.bao.cluster.sign(&Claims::new(NAMESPACE, ACCOUNT, "vault"));
        fs::write(folder.path().join(TOKEN), token)?;
        Ok(folder)
    }

    /// Starts it, as in a pod: podkey's after its init.
    fn start(&self, program: Program, secrets: usize, interval: Duration) -> anyhow::Result<Sidecar> {
        let folder = self.pod()?;
        match program {
            Program::Podkey => {
                let env = [("PODKEY_PLAN", self.plan(secrets, interval).to_string())];
                process::run(&self.agent, &["init", "--root", "."], &env, folder.path())?;
                Sidecar::start(&self.agent, &["sidecar", "--root", "."], &env, folder)
            }
            Program::BaoAgent => {
                fs::write(
                    folder.path().join("agent.hcl"),
                    self.bao_agent_config(secrets, interval)?,
                )?;
                Sidecar::start(&binary(), &["agent", "-config=agent.hcl"], &[], folder)
            }
        }
    }

    fn beside_bao_agent(&self, effort: &Effort) -> anyhow::Result<String> {
        let both = |secrets: usize, interval: Duration| -> anyhow::Result<[Sidecar; 2]> {
            let [podkey, bao] = PROGRAMS.map(|program| self.start(program, secrets, interval));
            Ok([podkey?, bao?])
        };
        // All of them beside each other, so that what else the machine does hits all.
        let (idle, one, many) = (both(1, IDLE)?, both(1, INTERVAL)?, both(MANY, INTERVAL)?);
        for (sidecars, secrets) in [(&idle, 1), (&one, 1), (&many, MANY)] {
            for sidecar in sidecars {
                for number in 0..secrets {
                    sidecar.shows(&file(number), &format!("s3cret-of-app-{number}-before"))?;
                }
            }
        }
        std::thread::sleep(effort.warm_up);
        let now = |sidecars: &[Sidecar; 2]| -> anyhow::Result<[Used; 2]> {
            let [podkey, bao] = sidecars.each_ref().map(Sidecar::used);
            Ok([podkey?, bao?])
        };
        let all = [&idle, &one, &many];
        let before = [now(all[0])?, now(all[1])?, now(all[2])?];
        let begun = Instant::now();
        std::thread::sleep(effort.watched);
        let after = [now(all[0])?, now(all[1])?, now(all[2])?];
        let watched = begun.elapsed();
        let latencies = self.latencies(&one, effort.changes)?;

        let mut text = format!(
            "Both log in by jwt over TLS. Each number of the first table is of processes that ran beside each other for {:.0} s, \
             and then were watched for {:.0} s.\n",
            effort.warm_up.as_secs_f64(),
            watched.as_secs_f64()
        );
        let mut table = Table::new(&["", "podkey-agent sidecar", "bao agent", "podkey / bao", "aim", ""]);
        let mut row = |name: &str, [podkey, bao]: [f64; 2], digits: usize, [its_aim, met]: [String; 2]| {
            table.row(&[
                name.to_owned(),
                format!("{podkey:.digits$}"),
                format!("{bao:.digits$}"),
                format!("{:.3}", podkey / bao),
                its_aim,
                met,
            ]);
        };
        let memory = |index: usize| after[index].map(|used: Used| used.rss_kib / 1024.0);
        row("memory, 1 secret, MiB", memory(1), 1, no_aim());
        row(
            "memory, 64 secrets, MiB",
            memory(2),
            1,
            aim(memory(2)[0], AIM_MIB, " MiB"),
        );
        let peak = after[2].map(|used| used.peak_kib / 1024.0);
        row(
            "highest memory, 64 secrets, MiB",
            peak,
            1,
            aim(peak[0], AIM_MIB, " MiB"),
        );
        let cpu = |index: usize, time: Duration| {
            [0, 1].map(|program| {
                let used = after[index][program].cpu - before[index][program].cpu;
                used.as_secs_f64() * time.as_secs_f64() / watched.as_secs_f64()
            })
        };
        let hour = Duration::from_secs(3600);
        row("CPU s an hour, 1 secret read every 5 s", cpu(1, hour), 2, no_aim());
        row("CPU s an hour, 64 secrets read every 5 s", cpu(2, hour), 2, no_aim());
        let idle_ms = cpu(0, Duration::from_secs(60)).map(|seconds| seconds * 1e3);
        row("CPU ms a minute without a round", idle_ms, 2, no_aim());
        let woken = [0, 1].map(|program| {
            (after[0][program].switches - before[0][program].switches) as f64 * 60.0 / watched.as_secs_f64()
        });
        row("times it is woken in a minute without a round", woken, 0, no_aim());
        text += &table.text();

        let mut table = Table::new(&[
            "from the change in the server to the file, s",
            "podkey-agent sidecar",
            "bao agent",
            "podkey / bao",
        ]);
        let mean = latencies
            .each_ref()
            .map(|all| all.iter().sum::<f64>() / all.len() as f64);
        table.row(&[
            "mean".to_owned(),
            format!("{:.2}", mean[0]),
            format!("{:.2}", mean[1]),
            format!("{:.2}", mean[0] / mean[1]),
        ]);
        for (name, share) in [("shortest", 0.0), ("p50", 0.5), ("p95", 0.95), ("longest", 1.0)] {
            let cells = latencies.each_ref().map(|all| quantile(all.iter().copied(), share));
            table.row(&[
                name.to_owned(),
                format!("{:.2}", cells[0]),
                format!("{:.2}", cells[1]),
                String::new(),
            ]);
        }
        writeln!(
            text,
            "\n{} changes at any time, both read every 5 s.\n{}",
            effort.changes,
            table.text()
        )?;
        Ok(text)
    }

    /// How long each took to have a change in its file, in seconds.
    fn latencies(&self, sidecars: &[Sidecar; 2], changes: usize) -> anyhow::Result<[Vec<f64>; 2]> {
        let mut all: [Vec<f64>; 2] = Default::default();
        for change in 0..changes {
            // At any part of the interval, of either.
            std::thread::sleep(INTERVAL.mul_f64(2.0 * fastrand::f64()));
            let value = format!("s3cret-of-app-0-{change}");
            self.put(0, &value);
            let begun = Instant::now();
            let mut took = [None; 2];
            while took.contains(&None) {
                for (took, sidecar) in took.iter_mut().zip(sidecars) {
                    if took.is_none() && sidecar.content(&file(0)).as_deref() == Some(&value) {
                        *took = Some(begun.elapsed());
                    }
                }
                ensure!(
                    begun.elapsed() < 10 * INTERVAL,
                    "change {change} is not in the files: {took:?}"
                );
                std::thread::sleep(Duration::from_millis(2));
            }
            for (all, took) in all.iter_mut().zip(took) {
                all.push(took.context("seen")?.as_secs_f64());
            }
        }
        Ok(all)
    }
}
