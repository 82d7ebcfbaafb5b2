//! Templates over KV version 1 and 2, rendered by `bao agent` and by podkey: the table, and random trees.

use std::collections::BTreeMap;
use std::rc::Rc;

use podkey::template::{SecretAnswer, SecretCall};

use crate::generate;
use crate::reference::{Case, Reference, difference, ours, table};

type Answers = BTreeMap<String, Rc<SecretAnswer>>;

/// podkey's answer to a template that `bao agent` renders, and that podkey refuses on purpose: the file would never be the same.
const REFUSED_ON_PURPOSE: [&str; 2] = ["a whole secret", "a whole certificate"];

/// Fills the server with what the templates read, and gives its answers.
fn fill(reference: &Reference) -> Answers {
    let awkward = include_str!("table/awkward.json");
    reference.request("POST", "sys/mounts/kv", r#"{"type":"kv","options":{"version":"2"}}"#);
    reference.request("POST", "sys/mounts/kv1", r#"{"type":"kv","options":{"version":"1"}}"#);
    reference.request("POST", "kv/data/app", &format!(r#"{{"data":{awkward}}}"#));
    let simple = r#"{"data":{"user":"u","password":"pw","host":"db.example.com"}}"#;
    reference.request("POST", "kv/data/simple", simple);
    reference.request("POST", "kv1/app", awkward);
    reference.request("POST", "kv1/num", include_str!("table/numbers.json"));
    ["kv/data/app", "kv/data/simple", "kv1/app", "kv1/num"]
        .iter()
        .map(|path| {
            let answer = SecretAnswer::from_answer(reference.request("GET", path, "").as_bytes()).unwrap();
            ((*path).to_owned(), Rc::new(answer))
        })
        .collect()
}

/// Renders with both: the bytes must be the same, and what fails here must fail there. Each template that fails costs an agent of
/// its own: at most `failing` of them are tried.
fn compare(reference: &Reference, answers: &Answers, cases: Vec<Case>, failing: usize) {
    let lookup = |call: &SecretCall| answers.get(&call.path).cloned();
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for case in cases {
        match ours(&case, &lookup) {
            Ok(bytes) => good.push((case, bytes)),
            Err(error) => bad.push((case, error)),
        }
    }
    assert!(good.len() > bad.len(), "{} render, {} fail", good.len(), bad.len());
    let mut problems = rendered(reference, &good);
    bad.retain(|(_, error)| !REFUSED_ON_PURPOSE.iter().any(|known| error.contains(known)));
    // A template that does not parse fails in both modes.
    bad.dedup_by(|(a, why), (b, known)| a.text == b.text && why == known);
    for (case, error) in bad.iter().take(failing) {
        if let Ok(theirs) = reference.render(std::slice::from_ref(case)) {
            let theirs = String::from_utf8_lossy(&theirs[0]).into_owned();
            problems.push(format!("{case:?}\n  bao renders {theirs:?}\n  podkey fails: {error}"));
        }
    }
    assert!(
        problems.is_empty(),
        "{} differ:\n{}",
        problems.len(),
        problems.join("\n\n")
    );
}

/// Where the files of `bao agent` are not ours. If one template fails there, the agents go on by halves until it is found.
fn rendered(reference: &Reference, good: &[(Case, Vec<u8>)]) -> Vec<String> {
    let cases: Vec<Case> = good.iter().map(|(case, _)| case.clone()).collect();
    match (reference.render(&cases), good) {
        (Ok(theirs), _) => good
            .iter()
            .zip(theirs)
            .filter(|((_, ours), theirs)| ours != theirs)
            .map(|((case, ours), theirs)| format!("{case:?}\n{}", difference(&theirs, ours)))
            .collect(),
        (Err(error), [(case, _)]) => vec![format!("{case:?}\n  podkey renders; bao fails: {error}")],
        (Err(_), _) => {
            let (first, second) = good.split_at(good.len() / 2);
            let mut problems = rendered(reference, first);
            problems.extend(rendered(reference, second));
            problems
        }
    }
}

#[test]
fn the_table_is_what_bao_agent_writes() {
    let reference = Reference::start();
    let answers = fill(&reference);
    let texts = [include_str!("table/templates.txt"), include_str!("table/subset.txt")];
    let cases: Vec<Case> = texts
        .into_iter()
        .flat_map(table)
        .flat_map(|(_, text)| {
            [false, true].map(|strict| Case {
                text: text.to_owned(),
                strict,
            })
        })
        .collect();
    compare(&reference, &answers, cases, usize::MAX);
}

/// `PODKEY_SEEDS=5000 cargo test --test templates random` takes more trees.
#[test]
fn random_trees_are_what_bao_agent_writes() {
    let reference = Reference::start();
    let answers = fill(&reference);
    let seeds = std::env::var("PODKEY_SEEDS").map_or(500, |seeds| seeds.parse().unwrap());
    let cases: Vec<Case> = (0..seeds)
        .map(|seed| Case {
            text: generate::template(1_000_003 + seed),
            strict: seed % 3 == 0,
        })
        .collect();
    compare(&reference, &answers, cases, 20);
}
