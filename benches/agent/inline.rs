//! Inline authentication beside login, read and revocation: what a pod with one file costs the server and waits for, what is
//! left of it in the server, and what would be left if the server took no time at all.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::bench::{Bench, Program, SECRET, Sum, field};
use crate::cpu;
use crate::plans::jwt_login;
use crate::support::openbao::{MOUNT, OpenBao};
use crate::table::{Aim, Row, Table, beside, number, with_aims};
use crate::versions::Version;

/// How much is measured.
struct Effort {
    turns: usize,
    /// Pods in a turn, one after the other; `bao agent`: one.
    pods: usize,
    at_once: usize,
    rounds: usize,
}

const FULL: Effort = Effort {
    turns: 50,
    pods: 20,
    at_once: 200,
    rounds: 5,
};
const QUICK: Effort = Effort {
    turns: 2,
    pods: 2,
    at_once: 10,
    rounds: 1,
};

/// The server finishes what it does after an answer.
const SETTLE: Duration = Duration::from_millis(50);

/// A program, the process that it asks, and the pods that it serves in a turn.
struct Contestant {
    program: Program,
    server: u32,
    pods: usize,
    left: Left,
}

impl Contestant {
    fn new(program: Program, server: u32, effort: &Effort) -> Self {
        // `bao agent` takes twenty times as long.
        let pods = if program.name == "bao agent" { 1 } else { effort.pods };
        let left = Left::default();
        Self {
            program,
            server,
            pods,
            left,
        }
    }
}

/// What all pods of a program left, and how many they were.
#[derive(Default, Clone, Copy)]
struct Left {
    pods: usize,
    /// In the audit log.
    operations: usize,
    tokens: usize,
    /// How far raft's index went.
    written: u64,
}

/// A turn: of pods one after the other a pod's mean, in milliseconds; of pods at once all together, in seconds.
struct Turn {
    there: f64,
    ended: f64,
    agent_cpu: f64,
    server_cpu: f64,
}

impl Turn {
    /// `sums` has a sum for each time that programs were started.
    fn new(sums: &[Sum], server: Duration, unit_ms: f64) -> Self {
        let mean = |of: fn(&Sum) -> f64| sums.iter().map(of).sum::<f64>() / (sums.len() as f64 * unit_ms);
        Self {
            there: mean(|sum| sum.there),
            ended: mean(|sum| sum.ended),
            agent_cpu: mean(|sum| sum.cpu_ms),
            server_cpu: server.as_secs_f64() * 1e3 / (sums.len() as f64 * unit_ms),
        }
    }
}

pub(crate) fn measure(measure: &str, null: &str, versions: &[Version], is_quick: bool) -> anyhow::Result<String> {
    let effort = if is_quick { QUICK } else { FULL };
    let jwt = jwt_login();
    let kubernetes = json!({"method": "kubernetes", "mount": MOUNT, "role": "actions-vault"});
    let mut text = format!(
        "Pods of one file of 4 KiB, TLS. One after the other: {} turns of {} pods (`bao agent`: one), the median of a pod's mean.\n",
        effort.turns, effort.pods
    );
    let in_memory = Bench::new(measure, OpenBao::with_scenario_1())?;
    text += &section("jwt, in memory", &in_memory, &jwt, Some(null), versions, &effort)?.0;
    text += &section(
        "kubernetes, in memory",
        &in_memory,
        &kubernetes,
        None,
        versions,
        &effort,
    )?
    .0;
    drop(in_memory);
    let on_raft = Bench::new(measure, OpenBao::on_raft().set_up_scenario_1())?;
    let (section, contestants) = section("jwt, raft with fsync", &on_raft, &jwt, None, versions, &effort)?;
    text += &section;
    text += &requests(&on_raft, &contestants, &effort)?;
    Ok(text)
}

/// One method at one server. With `null`, the program that answers at once, also what is left without a server's work.
fn section(
    title: &str,
    bench: &Bench,
    auth: &Value,
    null: Option<&str>,
    versions: &[Version],
    effort: &Effort,
) -> anyhow::Result<(String, Vec<Contestant>)> {
    let null = null.map(|program| Null::start(program, bench)).transpose()?;
    let mut contestants = contestants(bench, auth, null.as_ref(), versions, effort)?;
    let mut turns: Vec<Vec<Turn>> = contestants.iter().map(|_| Vec::new()).collect();
    for _ in 0..effort.turns {
        for (contestant, turns) in contestants.iter_mut().zip(&mut turns) {
            turns.push(one_after_the_other(bench, contestant)?);
        }
    }
    let names: Vec<&str> = contestants.iter().map(|one| one.program.name.as_str()).collect();
    let mut text = format!("\n### {title}\n");
    text += &beside("one after the other, a pod", &names, &turns, &rows("ms"));
    text += &left(&contestants);

    let mut rounds: Vec<Vec<Turn>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..effort.rounds {
        for (contestant, rounds) in contestants.iter().zip(&mut rounds) {
            // `bao agent` takes seconds of both cores for each round: one is enough.
            if round == 0 || contestant.pods > 1 {
                rounds.push(at_once(bench, contestant, effort.at_once)?);
            }
        }
    }
    let head = format!("{} at once, all together", effort.at_once);
    text += &beside(&head, &names, &rounds, &rows("s"));
    Ok((text, contestants))
}

/// The programs of a section; each has run once.
fn contestants(
    bench: &Bench,
    auth: &Value,
    null: Option<&Null>,
    versions: &[Version],
    effort: &Effort,
) -> anyhow::Result<Vec<Contestant>> {
    let server = bench.bao.pid();
    let address = bench.bao.address();
    let mut inline_auth = auth.clone();
    inline_auth["inline"] = json!(true);
    let mut programs = vec![
        bench.podkey("inline", &versions[0], (&address, &inline_auth), &field())?,
        bench.podkey("three requests", &versions[0], (&address, auth), &field())?,
    ];
    for version in &versions[1..] {
        programs.push(bench.podkey(&version.name, version, (&address, auth), &field())?);
    }
    if auth["method"] == "jwt" {
        programs.push(bench.bao_agent()?);
    }
    let contestants = programs
        .into_iter()
        .map(|program| Contestant::new(program, server, effort));
    let mut contestants: Vec<Contestant> = contestants.collect();
    if let Some(null) = null {
        let answered_at_once = (null.address.as_str(), &inline_auth);
        let program = bench.podkey("inline, answered at once", &versions[0], answered_at_once, &field())?;
        contestants.push(Contestant::new(program, null.process.id(), effort));
    }
    for contestant in &contestants {
        bench.run(&contestant.program, 1)?;
    }
    Ok(contestants)
}

fn rows(unit: &str) -> [Row<'static, Turn>; 4] {
    const WALL: &[Aim] = &[Aim::Ratio("three requests", 0.45)];
    const SERVER: &[Aim] = &[Aim::Ratio("three requests", 0.5)];
    let digits = if unit == "s" { 3 } else { 2 };
    [
        with_aims(
            &format!("wall until the file is there, {unit}"),
            digits,
            |turn: &Turn| turn.there,
            WALL,
        ),
        number(&format!("wall in all, {unit}"), digits, |turn| turn.ended),
        number(&format!("the agent's CPU, {unit}"), digits, |turn| turn.agent_cpu),
        with_aims(
            &format!("the server's CPU, {unit}"),
            digits,
            |turn| turn.server_cpu,
            SERVER,
        ),
    ]
}

/// What the server had between two turns. Asking costs the server CPU too: what it had used before it was asked, and after.
struct Moment {
    cpu_before: Duration,
    tokens: usize,
    index: u64,
    audited: u64,
    cpu_after: Duration,
}

impl Moment {
    fn now(bench: &Bench, server: u32) -> anyhow::Result<Self> {
        std::thread::sleep(SETTLE);
        let is_on_raft = bench.bao.directory().join("raft").is_dir();
        let cpu_before = cpu::of_process(server)?;
        let tokens = bench.bao.tokens();
        Ok(Self {
            cpu_before,
            tokens,
            index: if is_on_raft { bench.bao.raft_entries() } else { 0 },
            audited: fs::metadata(audit_log(bench))?.len(),
            cpu_after: cpu::of_process(server)?,
        })
    }
}

fn audit_log(bench: &Bench) -> PathBuf {
    bench.bao.directory().join("audit.log")
}

/// How many operations the audit log has from this byte on. An inline read is two: its login, and the read.
fn operations_from(bench: &Bench, byte: u64) -> anyhow::Result<usize> {
    let mut log = File::open(audit_log(bench))?;
    log.seek(SeekFrom::Start(byte))?;
    let mut new = String::new();
    log.read_to_string(&mut new)?;
    Ok(new.matches(r#""type":"request""#).count())
}

/// The HTTP requests of a pod, by the server's own log, which has a line for each from now on.
fn requests(bench: &Bench, contestants: &[Contestant], effort: &Effort) -> anyhow::Result<String> {
    let folder = bench.bao.directory();
    let config = fs::read_to_string(folder.join("config.hcl"))?;
    fs::write(
        folder.join("config.hcl"),
        format!("{config}\nlog_requests_level = \"info\"\n"),
    )?;
    Command::new("kill")
        .args(["-HUP", &bench.bao.pid().to_string()])
        .status()?;
    let count = || -> anyhow::Result<usize> {
        std::thread::sleep(SETTLE);
        Ok(fs::read_to_string(folder.join("log"))?
            .matches("completed_request")
            .count())
    };
    let begun = Instant::now();
    while count()? == 0 {
        ensure!(begun.elapsed() < Duration::from_secs(10), "the server logs no requests");
        bench.bao.tokens();
    }
    let mut table = Table::new(&["by the server's log of HTTP requests", "pods", "requests"]);
    for contestant in contestants {
        let (before, pods) = (count()?, contestant.pods * effort.turns);
        for _ in 0..pods {
            bench.run(&contestant.program, 1)?;
        }
        let requests = count()? - before;
        table.row(&[contestant.program.name.clone(), pods.to_string(), requests.to_string()]);
    }
    Ok(table.text())
}

fn one_after_the_other(bench: &Bench, contestant: &mut Contestant) -> anyhow::Result<Turn> {
    let before = Moment::now(bench, contestant.server)?;
    let sums = (0..contestant.pods).map(|_| bench.run(&contestant.program, 1));
    let sums = sums.collect::<anyhow::Result<Vec<_>>>()?;
    let operations = operations_from(bench, before.audited)?;
    let after = Moment::now(bench, contestant.server)?;
    let left = &mut contestant.left;
    left.pods += contestant.pods;
    left.operations += operations;
    left.tokens += after.tokens.saturating_sub(before.tokens);
    left.written += after.index - before.index;
    Ok(Turn::new(&sums, after.cpu_before - before.cpu_after, 1.0))
}

fn at_once(bench: &Bench, contestant: &Contestant, pods: usize) -> anyhow::Result<Turn> {
    let before = Moment::now(bench, contestant.server)?;
    let sum = bench.run(&contestant.program, pods)?;
    let after = Moment::now(bench, contestant.server)?;
    Ok(Turn::new(&[sum], after.cpu_before - before.cpu_after, 1e3))
}

/// What is counted of all pods that came one after the other.
fn left(contestants: &[Contestant]) -> String {
    let mut table = Table::new(&[
        "",
        "pods",
        "operations in the audit log",
        "tokens left",
        "entries of raft's log",
    ]);
    for Contestant { program, left, .. } in contestants {
        table.row(&[
            program.name.clone(),
            left.pods.to_string(),
            left.operations.to_string(),
            left.tokens.to_string(),
            left.written.to_string(),
        ]);
    }
    table.text()
}

/// A server that answers each request with what OpenBao answers to the read, and does nothing else. Killed when dropped.
struct Null {
    process: Child,
    address: String,
}

impl Null {
    fn start(program: &str, bench: &Bench) -> anyhow::Result<Self> {
        let (status, answer) = bench.bao.call_in("", "GET", SECRET, &Value::Null);
        ensure!(status == 200, "no secret: {status} {answer}");
        let folder = bench.bao.directory();
        fs::write(folder.join("answer"), answer.to_string())?;
        let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = Command::new(program)
            .args(["null", &listen.to_string()])
            .args(["cert.pem", "key.pem", "answer"].map(|name| folder.join(name)))
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let null = Self {
            process,
            address: format!("https://{listen}"),
        };
        let begun = Instant::now();
        while TcpStream::connect(listen).is_err() {
            ensure!(
                begun.elapsed() < Duration::from_secs(10),
                "the null handler does not listen"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(null)
    }
}

impl Drop for Null {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
