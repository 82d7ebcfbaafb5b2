//! The time for a pod of 3 MB that is mostly one list, for each list and map of Kubernetes' Pod, on one thread: the pod is
//! read, decided about, and a refusal is written, as the webhook does it. The work itself is held by `tests/bounds.rs`.

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use podkey::inject::{Config, Decision, Pod, decide};
use serde_json::{Value, json};

use crate::lists::{self, Texts};
use crate::pods::{self, NAMESPACE};
use crate::table::{Table, median};

/// About what the API server takes.
const BYTES: usize = 3_000_000;
/// What should suffice for each of them.
const AIM_MS: f64 = 100.0;

/// Measures, and prints the slowest of all lists, and how many were within the aim.
pub(crate) fn measure(is_quick: bool) -> anyhow::Result<()> {
    let config = pods::config()?;
    let mut measured = Vec::new();
    for list in lists::all() {
        for texts in [Texts::Short, Texts::Deep, Texts::Long, Texts::Same] {
            let bytes = if is_quick { BYTES / 100 } else { BYTES };
            let pod = asking(lists::pod_of(&list, bytes, texts)).to_string();
            let (ms, answer) = milliseconds(&pod, &config, if is_quick { 1 } else { 5 });
            measured.push((ms, list.clone(), texts, pod.len(), answer));
        }
    }
    measured.sort_by(|(a, ..), (b, ..)| b.total_cmp(a));
    let within = measured.iter().filter(|(ms, ..)| *ms <= AIM_MS).count();
    let mut table = Table::new(&["the list", "texts", "pod, bytes", "answer", "ms"]);
    for (ms, list, texts, bytes, answer) in measured.iter().take(20) {
        table.row(&[
            format!("`{list}`"),
            format!("{texts:?}").to_lowercase(),
            bytes.to_string(),
            (*answer).to_owned(),
            format!("{ms:.1}"),
        ]);
    }
    let mut out = std::io::stdout();
    out.write_all(table.text().as_bytes())?;
    Ok(writeln!(
        out,
        "\nThe 20 slowest of {}; {within} of them are answered within {AIM_MS} ms.",
        measured.len()
    )?)
}

/// The pod, as one that asks for as much as a pod may: 64 files of their own mounts, with variables.
fn asking(mut pod: Value) -> Value {
    let files: String = (0..64)
        .map(|n| format!("- {{secret: arc-runners/data/x, key: k, file: /d/{n}, env: FILE_{n}}}\n"))
        .collect();
    let annotations = &mut pod["metadata"]["annotations"];
    if annotations.is_null() {
        *annotations = json!({});
    }
    annotations["podkey.dev/files"] = files.into();
    annotations["podkey.dev/job-hooks"] = "true".into();
    pod["spec"]["containers"][0]["name"] = "runner".into();
    pod
}

fn milliseconds(pod: &str, config: &Config, times: usize) -> (f64, &'static str) {
    let mut answer = "unreadable";
    let taken: Vec<f64> = (0..times)
        .map(|_| {
            let begin = Instant::now();
            answer = match Pod::parse(black_box(pod)) {
                Err(_) => "unreadable",
                Ok(pod) => match decide(&pod, NAMESPACE, config) {
                    Decision::Deny(problems) => {
                        black_box(problems.to_string());
                        "denied"
                    }
                    Decision::Inject(..) => "injected",
                    Decision::Ignore(_) => "ignored",
                },
            };
            begin.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    (median(taken), answer)
}
