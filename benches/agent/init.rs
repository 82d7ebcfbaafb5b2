//! `podkey-agent init` beside 0.1, a small Go program and `bao agent`: alone, with a template, and many at once.

use std::collections::BTreeSet;
use std::fs;

use crate::bench::{Bench, Program, Sum, field, of_template};
use crate::plans::jwt_login;
use crate::support::openbao::OpenBao;
use crate::table::{Aim, Table, beside, number, with_aims};
use crate::versions::Version;

/// How much is measured.
struct Effort {
    /// Runs of each program alone.
    alone: usize,
    /// How many at once, and so often; `bao agent` once only.
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

/// Measures everything. The first version is judged.
pub(crate) fn measure(measure: &str, go: &str, versions: &[Version], is_quick: bool) -> anyhow::Result<String> {
    let effort = if is_quick { QUICK } else { FULL };
    let bench = Bench::new(measure, OpenBao::with_scenario_1())?;
    let (address, auth) = (bench.bao.address(), jwt_login());
    let mut programs = Vec::new();
    for version in versions {
        programs.push(bench.podkey(&version.name, version, (&address, &auth), &field())?);
    }
    programs.extend([bench.go(go)?, bench.bao_agent()?]);
    let name = format!("{}, a template", versions[0].name);
    let template = bench.podkey(&name, &versions[0], (&address, &auth), &of_template())?;
    for program in programs.iter().chain([&template]) {
        bench.run(program, 1)?;
    }
    let mut alone: Vec<Vec<Sum>> = programs.iter().map(|_| Vec::new()).collect();
    let mut with_template = Vec::new();
    for _ in 0..effort.alone {
        with_template.push(bench.run(&template, 1)?);
        for (program, sums) in programs.iter().zip(&mut alone) {
            sums.push(bench.run(program, 1)?);
        }
    }
    let mut text = format!(
        "A secret of 4 KiB, TLS, jwt login; alone: the median of {} runs, turn and turn about.\n",
        effort.alone
    );
    text += &alone_table(&programs, &alone);
    text += &facts(&bench, &programs)?;
    let (bao, field) = (alone.pop().unwrap_or_default(), alone.swap_remove(0));
    text += &template_table(&[with_template, field, bao]);
    text += &at_once(&bench, &programs, &effort)?;
    Ok(text)
}

fn names(programs: &[Program]) -> Vec<&str> {
    programs.iter().map(|program| program.name.as_str()).collect()
}

fn alone_table(programs: &[Program], alone: &[Vec<Sum>]) -> String {
    const WALL: [Aim; 2] = [Aim::Ratio("Go", 0.75), Aim::Ratio("bao agent", 0.05)];
    const CPU: [Aim; 2] = [Aim::Ratio("Go", 0.45), Aim::Ratio("bao agent", 0.02)];
    let rows = [
        with_aims("wall until the file is there, ms", 1, |sum: &Sum| sum.there, &WALL),
        with_aims("wall in all, ms", 1, |sum| sum.ended, &WALL),
        with_aims("CPU, ms", 2, |sum| sum.cpu_ms, &CPU),
        with_aims(
            "peak memory, MiB",
            2,
            |sum| sum.peak_kib / 1024.0,
            &[Aim::AtMost(3.0, " MiB")],
        ),
    ];
    beside("alone", &names(programs), alone, &rows)
}

/// The size of each program; the requests of one run, and the connections they came over, by the server's audit log.
fn facts(bench: &Bench, programs: &[Program]) -> anyhow::Result<String> {
    let head = ["".into()].into_iter().chain(programs.iter().map(|p| p.name.clone()));
    let mut table = Table::new(
        &head
            .collect::<Vec<String>>()
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    let mut rows = ["binary, MB (aim of podkey: ≤ 3.5)", "requests", "connections"].map(|name| vec![name.to_owned()]);
    for program in programs {
        let before = bench.bao.audit().len();
        bench.run(program, 1)?;
        let requests = bench.requests_after(before);
        let ports: BTreeSet<String> = requests.iter().map(|r| r["remote_port"].to_string()).collect();
        let what: Vec<&str> = requests
            .iter()
            .map(|request| {
                let path = request["path"].as_str().unwrap_or_default();
                path.rsplit('/').next().unwrap_or_default()
            })
            .collect();
        rows[0].push(format!("{:.2}", fs::metadata(&program.path)?.len() as f64 / 1e6));
        rows[1].push(format!("{} ({})", requests.len(), what.join(", ")));
        rows[2].push(ports.len().to_string());
    }
    rows.iter().for_each(|row| table.row(row));
    Ok(table.text())
}

/// What a template costs: beside the same file without one, and beside `bao agent` with the same template.
fn template_table(turns: &[Vec<Sum>; 3]) -> String {
    let names = ["podkey, a template", "podkey, a field", "bao agent, the template"];
    let rows = [
        number("wall until the file is there, ms", 1, |sum: &Sum| sum.there),
        number("CPU, ms", 2, |sum| sum.cpu_ms),
        number("peak memory, MiB (aim: ≤ a field's + 0.5)", 2, |sum| {
            sum.peak_kib / 1024.0
        }),
    ];
    beside("one file", &names, turns, &rows)
}

fn at_once(bench: &Bench, programs: &[Program], effort: &Effort) -> anyhow::Result<String> {
    let mut text = String::new();
    for &count in effort.at_once {
        let mut turns: Vec<Vec<Sum>> = programs.iter().map(|_| Vec::new()).collect();
        for round in 0..effort.rounds {
            for (program, turns) in programs.iter().zip(&mut turns) {
                // `bao agent` takes seconds of both cores for each round: one is enough.
                if round == 0 || program.name != "bao agent" {
                    turns.push(bench.run(program, count)?);
                }
            }
        }
        let rows = [
            number("wall until all files are there, s", 2, |sum: &Sum| sum.there / 1e3),
            number("wall in all, s", 2, |sum| sum.ended / 1e3),
            number("CPU of all, s", 2, |sum| sum.cpu_ms / 1e3),
            number("highest peak memory, MiB", 1, |sum| sum.peak_kib / 1024.0),
        ];
        text += &beside(&format!("{count} at once"), &names(programs), &turns, &rows);
    }
    Ok(text)
}
