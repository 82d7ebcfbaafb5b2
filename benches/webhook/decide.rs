//! `decide` alone, as pods grow: nanoseconds, instructions (callgrind) and allocations (counted by `allocations`).

use std::hint::black_box;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use podkey::inject::{Config, Decision, Pod, decide};
use serde_json::Value;

use crate::pods::{self, NAMESPACE};
use crate::table::{Table, aim, median, no_aim};

const ENTRIES: [usize; 3] = [10, 100, 1_000];
/// What is measured: the names in `allocations` too.
const STEPS: [(&str, &str); 2] = [("decide", "decide"), ("parse", "parse the pod, decide")];

/// One step on one pod.
struct Step<'a> {
    json: &'a str,
    pod: Pod<'a>,
    config: &'a Config,
}

impl Step<'_> {
    fn once(&self, step: &str) -> anyhow::Result<()> {
        if step == "decide" {
            black_box(decide(black_box(&self.pod), NAMESPACE, self.config));
        } else {
            let pod = Pod::parse(black_box(self.json))?;
            black_box(decide(&pod, NAMESPACE, self.config));
        }
        Ok(())
    }
}

/// The pod with so many variables, or with files of this name.
fn pod_of(which: &str) -> anyhow::Result<Value> {
    match pods::CONTENTS.iter().find(|(name, _)| *name == which) {
        Some((_, files)) => pods::runner_pod_with(files),
        None => pods::runner_pod(which.parse()?),
    }
}

/// For callgrind: one step so many times.
pub(crate) fn repeat(which: &str, step: &str, times: usize) -> anyhow::Result<()> {
    let json = serde_json::to_string(&pod_of(which)?)?;
    let config = pods::config()?;
    let pod = Pod::parse(&json)?;
    let on = Step {
        json: &json,
        pod,
        config: &config,
    };
    (0..times).try_for_each(|_| on.once(step))
}

/// Measures, and prints the table. `allocations` is the program of that name.
pub(crate) fn measure(allocations: &str, is_quick: bool) -> anyhow::Result<()> {
    let counted = Command::new(allocations).output().context("cannot run allocations")?;
    ensure!(counted.status.success(), "allocations failed");
    let counted: Value = serde_json::from_slice(&counted.stdout)?;
    let mut table = Table::new(&[
        "env entries",
        "pod, bytes",
        "",
        "ns",
        "instructions",
        "allocations",
        "bytes allocated",
    ]);
    for entries in ENTRIES {
        let json = serde_json::to_string(&pods::runner_pod(entries)?)?;
        let config = pods::config()?;
        let on = Step {
            json: &json,
            pod: Pod::parse(&json)?,
            config: &config,
        };
        let decision = decide(&on.pod, NAMESPACE, on.config);
        ensure!(matches!(decision, Decision::Inject(..)), "not injected: {decision:?}");
        for (step, name) in STEPS {
            let instructions = match is_quick {
                true => "not counted".to_owned(),
                false => format!("{:.0}", instructions(&entries.to_string(), step)?),
            };
            let counted = &counted[entries.to_string()][step];
            table.row(&[
                entries.to_string(),
                json.len().to_string(),
                name.to_owned(),
                format!("{:.0}", nanoseconds(&on, step, is_quick)?),
                instructions,
                counted["allocations"].to_string(),
                counted["bytes"].to_string(),
            ]);
        }
    }
    let text = table.text() + &measure_contents(is_quick)?;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// The middle of many batches, each about a hundredth of a second.
fn nanoseconds(on: &Step<'_>, step: &str, is_quick: bool) -> anyhow::Result<f64> {
    let batch = |times: usize| -> anyhow::Result<f64> {
        let begin = Instant::now();
        (0..times).try_for_each(|_| on.once(step))?;
        Ok(begin.elapsed().as_nanos() as f64)
    };
    batch(100)?;
    let times = (1e7 / (batch(100)? / 100.0)).max(1.0) as usize;
    let batches = if is_quick { 3 } else { 51 };
    let batches = (0..batches).map(|_| batch(times)).collect::<Result<Vec<_>, _>>()?;
    Ok(median(batches) / times as f64)
}

/// The same pod with its file as a field of a secret, and as a template: what the template adds.
fn measure_contents(is_quick: bool) -> anyhow::Result<String> {
    let mut table = Table::new(&["the pod's file is", "", "instructions", "a field's", "aim", ""]);
    let mut of_field = [0.0; STEPS.len()];
    for (content, _) in pods::CONTENTS {
        for ((step, name), of_field) in STEPS.into_iter().zip(&mut of_field) {
            let json = serde_json::to_string(&pod_of(content)?)?;
            let decision = decide(&Pod::parse(&json)?, NAMESPACE, &pods::config()?);
            ensure!(matches!(decision, Decision::Inject(..)), "not injected: {decision:?}");
            if is_quick {
                continue;
            }
            let count = instructions(content, step)?;
            let is_field = *of_field == 0.0;
            if is_field {
                *of_field = count;
            }
            let [its_aim, met] = match is_field {
                true => no_aim(),
                false => aim(count / *of_field, 1.5, " ×"),
            };
            let ratio = format!("{:.2} ×", count / *of_field);
            table.row(&[
                content.to_owned(),
                name.to_owned(),
                format!("{count:.0}"),
                ratio,
                its_aim,
                met,
            ]);
        }
    }
    Ok(table.text())
}

fn instructions(which: &str, step: &str) -> anyhow::Result<f64> {
    const TIMES: usize = 1_000;
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("callgrind.out");
    let mut counts = Vec::new();
    for times in [100, 100 + TIMES] {
        let status = Command::new("valgrind")
            .args(["--tool=callgrind", &format!("--callgrind-out-file={}", out.display())])
            .arg(std::env::current_exe()?)
            .args(["decide-loop", which, step, &times.to_string()])
            .stderr(Stdio::null())
            .status()?;
        ensure!(status.success(), "callgrind failed");
        let out = std::fs::read_to_string(&out)?;
        let total = out
            .lines()
            .find_map(|line| line.strip_prefix("totals: "))
            .context("callgrind's totals")?;
        counts.push(total.trim().parse::<f64>()?);
    }
    Ok((counts[1] - counts[0]) / TIMES as f64)
}
