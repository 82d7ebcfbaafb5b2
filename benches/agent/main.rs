//! Measures `podkey-agent init` beside `bao agent` and a small Go program, on one OpenBao server, with the same secret
//! and the same login. `benches/run` calls it; `benches/README.md` says how each number is made.

#[path = "../bao_agent.rs"]
mod bao_agent;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../table.rs"]
mod table;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use support::jwt::Claims;
use support::openbao::{ACCOUNT, JWT_MOUNT, NAMESPACE, OpenBao, binary};
use table::{Table, aim, median, no_aim};

const SECRET: &str = "arc-runners/data/kubeconfig/rancher-cluster";
const KEY: &str = "config";
const ROLE: &str = "actions";
/// Where podkey's agent writes a relative file; the others write there too.
const FILE: &str = "podkey/volume/files/kubeconfig";
const TOKEN: &str = "podkey/token/token";

/// How much is measured.
struct Effort {
    /// Runs of each program alone.
    alone: usize,
    /// How many at once, and so often; `bao agent` once only, at the first alone.
    at_once: &'static [usize],
    rounds: usize,
}

const FULL: Effort = Effort {
    alone: 30,
    at_once: &[50, 200],
    rounds: 5,
};
const QUICK: Effort = Effort {
    alone: 3,
    at_once: &[10],
    rounds: 1,
};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (measure, podkey, go, effort) = match args[..] {
        [measure, podkey, go] => (measure, podkey, go, FULL),
        [measure, podkey, go, "--quick"] => (measure, podkey, go, QUICK),
        // `cargo test --benches` and `cargo bench` without arguments measure nothing.
        [] | ["--bench" | "--test", ..] => {
            return Ok(writeln!(std::io::stderr(), "benches/run calls this with arguments")?);
        }
        _ => bail!("unknown arguments: {args:?}"),
    };
    let bench = Bench::new(measure)?;
    let programs = [bench.podkey(podkey)?, bench.go(go)?, bench.bao_agent()?];
    let template = bench.podkey_with_template(podkey)?;
    let text = bench.measure(&programs, &template, &effort)?;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// Makes the same file as podkey's `key` and `decode`.
fn template() -> String {
    format!("{{{{ with secret \"{SECRET}\" }}}}{{{{ .Data.data.{KEY} | base64Decode }}}}{{{{ end }}}}")
}

/// What a template costs: beside the same file without one, and beside `bao agent` with the same template.
fn template_table(field: &[Sum], template: &[Sum], bao: &[Sum]) -> String {
    let mut table = Table::new(&[
        "one file",
        "podkey, a field",
        "podkey, a template",
        "bao agent, the template",
        "template / field",
        "template / bao",
        "aim",
        "",
    ]);
    let mut row = |name: &str, of: fn(&Sum) -> f64, unit: f64, digits: usize, at_most: Option<f64>| {
        let [field, template, bao] = [field, template, bao].map(|sums| median(sums.iter().map(of)) / unit);
        let [its_aim, met] = match at_most {
            Some(more) => {
                let [_, met] = aim(template - field, more, "");
                [format!("≤ a field's + {more}"), met]
            }
            None => no_aim(),
        };
        table.row(&[
            name.to_owned(),
            format!("{field:.digits$}"),
            format!("{template:.digits$}"),
            format!("{bao:.digits$}"),
            format!("{:.2}", template / field),
            format!("{:.3}", template / bao),
            its_aim,
            met,
        ]);
    };
    row("wall until the file is there, ms", |sum| sum.there, 1.0, 1, None);
    row("CPU, ms", |sum| sum.cpu_ms, 1.0, 2, None);
    row("peak memory, MiB", |sum| sum.peak_kib, 1024.0, 2, Some(0.5));
    table.text()
}

/// One of the programs that are compared.
struct Program {
    name: &'static str,
    path: PathBuf,
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
}

/// One run, as `measure` reports it.
#[derive(Deserialize)]
struct Run {
    begun: f64,
    there: f64,
    ended: f64,
    cpu_ms: f64,
    peak_kib: f64,
    status: i32,
}

/// The same of many runs at once: until the last file was there, until the last ended, all CPU time, the highest peak.
#[derive(Default, Clone, Copy)]
struct Sum {
    there: f64,
    ended: f64,
    cpu_ms: f64,
    peak_kib: f64,
}

impl Sum {
    fn of(runs: &[Run]) -> Self {
        runs.iter().fold(Self::default(), |sum, run| Self {
            there: sum.there.max(run.there - runs[0].begun),
            ended: sum.ended.max(run.ended - runs[0].begun),
            cpu_ms: sum.cpu_ms + run.cpu_ms,
            peak_kib: sum.peak_kib.max(run.peak_kib),
        })
    }
}

/// The server, and the folder that the programs run in.
struct Bench {
    bao: OpenBao,
    measure: PathBuf,
    folder: tempfile::TempDir,
    content: String,
}

impl Bench {
    fn new(measure: &str) -> anyhow::Result<Self> {
        let bao = OpenBao::with_scenario_1();
        // A value of 4 KiB: a kubeconfig in base64, with a line break after every 76 characters.
        let mut content = String::from("apiVersion: v1\nkind: Config\n");
        while content.len() < 3032 {
            writeln!(
                content,
                "# line {} of a file that stands for a kubeconfig",
                content.len()
            )?;
        }
        content.truncate(3032);
        let mut value = String::new();
        for (index, letter) in STANDARD.encode(&content).chars().enumerate() {
            if index > 0 && index % 76 == 0 {
                value.push('\n');
            }
            value.push(letter);
        }
        value.push('\n');
        bao.write(SECRET, &json!({"data": {KEY: value}}));
        Ok(Self {
            bao,
            measure: fs::canonicalize(measure)?,
            folder: tempfile::tempdir()?,
            content,
        })
    }

    fn podkey(&self, path: &str) -> anyhow::Result<Program> {
        let file = json!({
            "secret": SECRET, "key": KEY, "decode": "base64", "format": "raw", "file": "kubeconfig", "mode": "0400",
        });
        self.podkey_with("podkey-agent init", path, &file)
    }

    /// The same file, made by the template that `bao agent` has.
    fn podkey_with_template(&self, path: &str) -> anyhow::Result<Program> {
        let file = json!({"template": template(), "file": "kubeconfig", "mode": "0400"});
        self.podkey_with("podkey-agent init with a template", path, &file)
    }

    fn podkey_with(&self, name: &'static str, path: &str, file: &Value) -> anyhow::Result<Program> {
        let plan = json!({
            "version": 1,
            "connection": {"name": "default", "address": self.bao.address(), "ca": self.bao.ca.pem()},
            "login": {"method": "jwt", "mount": JWT_MOUNT, "role": ROLE},
            "budget": "5m",
            "files": [file],
        });
        Ok(Program {
            name,
            path: fs::canonicalize(path)?,
            args: vec!["init".into(), "--root".into(), ".".into()],
            env: vec![("PODKEY_PLAN", plan.to_string())],
        })
    }

    fn go(&self, path: &str) -> anyhow::Result<Program> {
        let ca = self.bao.directory().join("ca.pem").display().to_string();
        let args = [&self.bao.address(), &ca, TOKEN, JWT_MOUNT, ROLE, SECRET, KEY, FILE];
        Ok(Program {
            name: "Go, the same requests",
            path: fs::canonicalize(path)?,
            args: args.map(str::to_owned).to_vec(),
            env: Vec::new(),
        })
    }

    fn bao_agent(&self) -> anyhow::Result<Program> {
        let config = self.folder.path().join("agent.hcl");
        let text = format!(
            r#"
            exit_after_auth = true
            {login}
            template {{
              contents = {template:?}
              destination = "{FILE}"
              perms = "0400"
            }}
            "#,
            login = bao_agent::login(&self.bao, TOKEN, ROLE),
            template = template(),
        );
        fs::write(&config, text)?;
        Ok(Program {
            name: "`bao agent`",
            path: binary(),
            args: vec!["agent".into(), format!("-config={}", config.display())],
            env: Vec::new(),
        })
    }

    /// Runs a program so many times at once. Every run must succeed and deliver the file.
    fn run(&self, program: &Program, count: usize) -> anyhow::Result<Vec<Run>> {
        let folder = tempfile::tempdir_in(self.folder.path())?;
        let token = self.bao.cluster.sign(&Claims::new(NAMESPACE, ACCOUNT, "vault"));
        let own = |index: usize| folder.path().join(index.to_string());
        for index in 0..count {
            for below in ["podkey/token", "podkey/volume", "dev"] {
                fs::create_dir_all(own(index).join(below))?;
            }
            fs::write(own(index).join(TOKEN), &token)?;
        }
        let output = Command::new(&self.measure)
            .arg(count.to_string())
            .arg(folder.path())
            .arg(FILE)
            .arg(&program.path)
            .args(&program.args)
            .env_clear()
            .env("HOME", folder.path())
            .env("PATH", "/usr/bin:/bin")
            .envs(program.env.iter().map(|(name, value)| (name, value)))
            .output()?;
        let log = || fs::read_to_string(own(0).join("log")).unwrap_or_default();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{}: {said}{}", program.name, log());
        let runs: Vec<Run> = String::from_utf8(output.stdout)?
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        for (index, run) in runs.iter().enumerate() {
            ensure!(run.status == 0, "{} exits {}: {}", program.name, run.status, log());
            let delivered = fs::read_to_string(own(index).join(FILE)).with_context(log)?;
            ensure!(delivered == self.content, "{} delivered something else", program.name);
        }
        // The server goes on with revoked tokens for a moment.
        std::thread::sleep(Duration::from_millis(5));
        Ok(runs)
    }

    /// The requests of one run, and the connections they came over, by the server's audit log.
    fn requests(&self, program: &Program) -> anyhow::Result<(String, usize)> {
        let before = self.bao.audit().len();
        self.run(program, 1)?;
        std::thread::sleep(Duration::from_millis(300));
        let entries = self.bao.audit().split_off(before);
        let requests: Vec<&Value> = entries
            .iter()
            .filter(|entry| entry["type"] == "request")
            .map(|entry| &entry["request"])
            .collect();
        let ports: BTreeSet<String> = requests
            .iter()
            .map(|request| request["remote_port"].to_string())
            .collect();
        let what: Vec<&str> = requests
            .iter()
            .map(|request| {
                let path = request["path"].as_str().unwrap_or_default();
                path.rsplit('/').next().unwrap_or_default()
            })
            .collect();
        Ok((format!("{} ({})", requests.len(), what.join(", ")), ports.len()))
    }

    fn measure(&self, programs: &[Program; 3], template: &Program, effort: &Effort) -> anyhow::Result<String> {
        for program in programs.iter().chain([template]) {
            self.run(program, 1)?;
        }
        let mut text = format!(
            "A secret of 4 KiB, TLS, jwt login; alone: the median of {} runs, turn and turn about.\n",
            effort.alone
        );
        let mut alone: [Vec<Sum>; 3] = Default::default();
        let mut with_template = Vec::new();
        for _ in 0..effort.alone {
            with_template.push(Sum::of(&self.run(template, 1)?));
            for (program, sums) in programs.iter().zip(&mut alone) {
                sums.push(Sum::of(&self.run(program, 1)?));
            }
        }
        let mut table = Table::new(&[
            "alone",
            "podkey-agent",
            "Go",
            "bao agent",
            "podkey / Go",
            "aim",
            "",
            "podkey / bao",
            "aim",
            "",
        ]);
        let mut row = |name: &str, of: fn(&Sum) -> f64, digits: usize, at_most: Option<(f64, f64)>| {
            let middle = alone.each_ref().map(|sums| median(sums.iter().map(of)));
            let ratio = |other: usize| median(alone[0].iter().zip(&alone[other]).map(|(a, b)| of(a) / of(b)));
            let (go, bao) = (ratio(1), ratio(2));
            let [go_aim, go_met] = at_most.map_or_else(no_aim, |(at_most, _)| aim(go, at_most, " ×"));
            let [bao_aim, bao_met] = at_most.map_or_else(no_aim, |(_, at_most)| aim(bao, at_most, " ×"));
            let [podkey_text, go_text, bao_text] = middle.map(|value| format!("{value:.digits$}"));
            table.row(&[
                name.to_owned(),
                podkey_text,
                go_text,
                bao_text,
                format!("{go:.2}"),
                go_aim,
                go_met,
                format!("{bao:.3}"),
                bao_aim,
                bao_met,
            ]);
        };
        row(
            "wall until the file is there, ms",
            |sum| sum.there,
            1,
            Some((0.75, 0.05)),
        );
        row("wall in all, ms", |sum| sum.ended, 1, Some((0.75, 0.05)));
        row("CPU, ms", |sum| sum.cpu_ms, 2, Some((0.45, 0.02)));
        row("peak memory, KiB", |sum| sum.peak_kib, 0, None);
        text += &table.text();

        let mut table = Table::new(&["", "podkey-agent", "Go", "bao agent", "aim", ""]);
        let peak = median(alone[0].iter().map(|sum| sum.peak_kib)) / 1024.0;
        let [its_aim, met] = aim(peak, 3.0, " MiB");
        let peaks = alone
            .each_ref()
            .map(|sums| format!("{:.2}", median(sums.iter().map(|sum| sum.peak_kib)) / 1024.0));
        let line = |name: &str, [podkey, go, bao]: [String; 3], [its_aim, met]: [String; 2]| {
            [name.to_owned(), podkey, go, bao, its_aim, met]
        };
        table.row(&line("peak memory, MiB", peaks, [its_aim, met]));
        let mut sizes = [0.0; 3];
        for (program, size) in programs.iter().zip(&mut sizes) {
            *size = fs::metadata(&program.path)?.len() as f64 / 1e6;
        }
        table.row(&line(
            "binary, MB",
            sizes.map(|size| format!("{size:.2}")),
            aim(sizes[0], 3.5, " MB"),
        ));
        let mut asked: [String; 3] = Default::default();
        let mut connections: [String; 3] = Default::default();
        for (index, program) in programs.iter().enumerate() {
            let (requests, ports) = self.requests(program)?;
            asked[index] = requests;
            connections[index] = ports.to_string();
        }
        table.row(&line("requests", asked, no_aim()));
        table.row(&line("connections", connections, no_aim()));
        text += &table.text();
        text += &template_table(&alone[0], &with_template, &alone[2]);

        let mut table = Table::new(&[
            "at once",
            "",
            "podkey-agent",
            "Go",
            "bao agent",
            "podkey / Go",
            "podkey / bao",
        ]);
        for &count in effort.at_once {
            let mut sums: [Vec<Sum>; 3] = Default::default();
            for round in 0..effort.rounds {
                for (index, program) in programs.iter().enumerate() {
                    // `bao agent` takes seconds of both cores for each round: one is enough.
                    if index < 2 || round == 0 {
                        sums[index].push(Sum::of(&self.run(program, count)?));
                    }
                }
            }
            let mut row = |name: &str, of: fn(&Sum) -> f64, unit: f64, digits: usize| {
                let middle = sums.each_ref().map(|sums| median(sums.iter().map(of)) / unit);
                let go = median(sums[0].iter().zip(&sums[1]).map(|(a, b)| of(a) / of(b)));
                table.row(&[
                    count.to_string(),
                    name.to_owned(),
                    format!("{:.digits$}", middle[0]),
                    format!("{:.digits$}", middle[1]),
                    format!("{:.digits$}", middle[2]),
                    format!("{go:.2}"),
                    format!("{:.3}", middle[0] / middle[2]),
                ]);
            };
            row("wall until all files are there, s", |sum| sum.there, 1e3, 2);
            row("wall in all, s", |sum| sum.ended, 1e3, 2);
            row("CPU of all, s", |sum| sum.cpu_ms, 1e3, 2);
            row("highest peak memory, MiB", |sum| sum.peak_kib, 1024.0, 1);
        }
        text += &table.text();
        Ok(text)
    }
}
