//! Measures `podkey-agent sidecar` beside `bao agent` with the same work: what it takes while it has nothing to do and while
//! it reads, and how soon a change is in the file. Then 500 of it at one server. `benches/run` calls it; `benches/README.md`
//! says how each number is made.

#[path = "../bao_agent.rs"]
mod bao_agent;
#[path = "../cpu.rs"]
mod cpu;
#[path = "../plans.rs"]
mod plans;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../table.rs"]
mod table;
#[path = "../versions.rs"]
mod versions;
#[path = "../volumes.rs"]
mod volumes;

mod process;
mod storm;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use process::{Sidecar, Used};
use serde_json::json;
use support::jwt::Claims;
use support::openbao::{ACCOUNT, NAMESPACE, OpenBao, binary};
use table::{Aim, Table, aim, beside, number, quantile, with_aims};
use versions::{Arguments, Version};

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
    let Some(arguments) = Arguments::read()? else {
        return Ok(());
    };
    ensure!(arguments.words.is_empty(), "unknown arguments: {:?}", arguments.words);
    let effort = if arguments.is_quick { QUICK } else { FULL };
    let bench = Bench::new(arguments.versions)?;
    let mut text = bench.beside_bao_agent(&effort)?;
    text += &storm::measure(&bench, &effort.storm)?;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

#[derive(Clone, Copy)]
enum Program<'a> {
    Podkey(&'a Version),
    BaoAgent,
}

impl Program<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Podkey(version) => &version.name,
            Self::BaoAgent => "bao agent",
        }
    }
}

/// The server, and the folder that the programs run in.
struct Bench {
    bao: OpenBao,
    versions: Vec<Version>,
    folder: tempfile::TempDir,
}

fn secret(number: usize) -> String {
    format!("arc-runners/data/app-{number}")
}

fn file(number: usize) -> String {
    format!("app-{number}")
}

impl Bench {
    fn new(versions: Vec<Version>) -> anyhow::Result<Self> {
        let bench = Self {
            bao: OpenBao::with_scenario_1(),
            versions,
            folder: volumes::folder()?,
        };
        for number in 0..MANY {
            bench.put(number, &format!("s3cret-of-app-{number}-before"));
        }
        Ok(bench)
    }

    fn put(&self, number: usize, value: &str) {
        self.bao.write(&secret(number), &json!({"data": {"value": value}}));
    }

    fn plan(&self, version: &Version, secrets: usize, interval: Duration) -> anyhow::Result<String> {
        let files = (0..secrets).map(|number| {
            json!({"secret": secret(number), "key": "value", "format": "raw", "file": file(number), "mode": "0400"})
        });
        let annotations = json!({
            "podkey.dev/files": json!(files.collect::<Vec<_>>()).to_string(),
            "podkey.dev/refresh": humantime::format_duration(interval).to_string(),
        });
        let login = (&*self.bao.address(), &plans::jwt_login());
        plans::plan(version, &self.bao, login, &annotations)
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
            Program::Podkey(version) => {
                let env = [("PODKEY_PLAN", self.plan(version, secrets, interval)?)];
                process::run(&version.agent, &["init", "--root", "."], &env, folder.path())?;
                Sidecar::start(&version.agent, &["sidecar", "--root", "."], &env, folder)
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
        let programs: Vec<Program<'_>> = self
            .versions
            .iter()
            .map(Program::Podkey)
            .chain([Program::BaoAgent])
            .collect();
        let all_of = |secrets: usize, interval: Duration| -> anyhow::Result<Vec<Sidecar>> {
            programs
                .iter()
                .map(|program| self.start(*program, secrets, interval))
                .collect()
        };
        // All of them beside each other, so that what else the machine does hits all.
        let (idle, one, many) = (all_of(1, IDLE)?, all_of(1, INTERVAL)?, all_of(MANY, INTERVAL)?);
        for (sidecars, secrets) in [(&idle, 1), (&one, 1), (&many, MANY)] {
            for sidecar in sidecars {
                for number in 0..secrets {
                    sidecar.shows(&file(number), &format!("s3cret-of-app-{number}-before"))?;
                }
            }
        }
        std::thread::sleep(effort.warm_up);
        let now = || -> anyhow::Result<Vec<[Used; 3]>> {
            (0..programs.len())
                .map(|index| Ok([idle[index].used()?, one[index].used()?, many[index].used()?]))
                .collect()
        };
        let before = now()?;
        let begun = Instant::now();
        std::thread::sleep(effort.watched);
        let after = now()?;
        let watched = begun.elapsed();
        let all: Vec<Vec<Watched>> = before
            .iter()
            .zip(&after)
            .map(|(before, after)| vec![Watched::new(before, after, watched)])
            .collect();
        let latencies = self.latencies(&one, effort.changes)?;
        let names: Vec<&str> = programs.iter().map(Program::name).collect();
        Ok(format!(
            "Both log in by jwt over TLS. Each number of the first table is of processes that ran beside each other for {:.0} s, \
             and then were watched for {:.0} s.\n{}\n{} changes at any time, all read every 5 s.\n{}\n",
            effort.warm_up.as_secs_f64(),
            watched.as_secs_f64(),
            watched_table(&names, &all),
            effort.changes,
            latency_table(&names, &latencies),
        ))
    }

    /// How long each took to have a change in its file, in seconds.
    fn latencies(&self, sidecars: &[Sidecar], changes: usize) -> anyhow::Result<Vec<Vec<f64>>> {
        let mut all: Vec<Vec<f64>> = sidecars.iter().map(|_| Vec::new()).collect();
        for change in 0..changes {
            // At any part of the interval, of either.
            std::thread::sleep(INTERVAL.mul_f64(2.0 * fastrand::f64()));
            let value = format!("s3cret-of-app-0-{change}");
            self.put(0, &value);
            let begun = Instant::now();
            let mut took = vec![None; sidecars.len()];
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

/// What one program's three sidecars took: without a round, with one secret, and with many.
struct Watched {
    one_mib: f64,
    many_mib: f64,
    many_peak_mib: f64,
    one_cpu_s_an_hour: f64,
    many_cpu_s_an_hour: f64,
    idle_cpu_ms_a_minute: f64,
    idle_woken_a_minute: f64,
}

impl Watched {
    fn new(before: &[Used; 3], after: &[Used; 3], watched: Duration) -> Self {
        let watched = watched.as_secs_f64();
        let cpu_share = |index: usize| (after[index].cpu - before[index].cpu).as_secs_f64() / watched;
        let [_, one, many] = after;
        Self {
            one_mib: one.rss_kib / 1024.0,
            many_mib: many.rss_kib / 1024.0,
            many_peak_mib: many.peak_kib / 1024.0,
            one_cpu_s_an_hour: 3600.0 * cpu_share(1),
            many_cpu_s_an_hour: 3600.0 * cpu_share(2),
            idle_cpu_ms_a_minute: 60e3 * cpu_share(0),
            idle_woken_a_minute: 60.0 * (after[0].switches - before[0].switches) as f64 / watched,
        }
    }
}

fn watched_table(names: &[&str], all: &[Vec<Watched>]) -> String {
    const MEMORY: &[Aim] = &[Aim::AtMost(AIM_MIB, " MiB")];
    let rows = [
        number("memory, 1 secret, MiB", 1, |w: &Watched| w.one_mib),
        with_aims("memory, 64 secrets, MiB", 1, |w| w.many_mib, MEMORY),
        with_aims("highest memory, 64 secrets, MiB", 1, |w| w.many_peak_mib, MEMORY),
        number("CPU s an hour, 1 secret read every 5 s", 2, |w| w.one_cpu_s_an_hour),
        number("CPU s an hour, 64 secrets read every 5 s", 2, |w| w.many_cpu_s_an_hour),
        number("CPU ms a minute without a round", 2, |w| w.idle_cpu_ms_a_minute),
        number("times it is woken in a minute without a round", 0, |w| {
            w.idle_woken_a_minute
        }),
    ];
    beside("", names, all, &rows)
}

fn latency_table(names: &[&str], latencies: &[Vec<f64>]) -> String {
    let mut head = vec!["from the change in the server to the file, s"];
    head.extend(names);
    let mut table = Table::new(&head);
    let mut row = |name: &str, of: &dyn Fn(&[f64]) -> f64| {
        let numbers = latencies.iter().map(|all| format!("{:.2}", of(all)));
        table.row(&[name.to_owned()].into_iter().chain(numbers).collect::<Vec<_>>());
    };
    row("mean", &|all| all.iter().sum::<f64>() / all.len() as f64);
    for (name, share) in [("shortest", 0.0), ("p50", 0.5), ("p95", 0.95), ("longest", 1.0)] {
        row(name, &|all| quantile(all.iter().copied(), share));
    }
    table.text()
}
