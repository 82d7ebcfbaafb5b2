//! The life of a secret, against the real server: what each change of the secret does to the files of a pod with refresh.
//! docs/guides/refresh.md has the same table.

use std::os::unix::fs::MetadataExt as _;

use serde_json::{Value, json};

use crate::deliver::bao;
use crate::support::agent::Agent;
use crate::support::openbao::OpenBao;

const SECRET: &str = "arc-runners/data/life/my-secret";

/// What is found in a file's place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Text(String),
    /// Empty, and closed to all.
    Closed,
    Nothing,
}

fn found(agent: &Agent, place: &str) -> Found {
    let path = agent.secrets().join(place);
    match (std::fs::metadata(&path), agent.text(place)) {
        (Ok(file), Some(text)) if text.is_empty() && file.mode() & 0o7777 == 0 => Found::Closed,
        (_, Some(text)) => Found::Text(text),
        (_, None) => Found::Nothing,
    }
}

fn whole(file: &str, when_gone: &str) -> Value {
    json!({"secret": SECRET, "format": "json", "file": file, "mode": "0440", "whenGone": when_gone})
}

fn each(directory: &str, when_gone: &str) -> Value {
    let file = format!("{directory}/{{{{ .SecretKey }}}}");
    json!({"secret": SECRET, "format": "raw", "file": file, "mode": "0440", "whenGone": when_gone})
}

fn pinned(file: &str, when_gone: &str) -> Value {
    let mut file = whole(file, when_gone);
    file["version"] = json!(1);
    file
}

/// A change of the secret, and what is then found in the places of [`PLACES`].
struct Step {
    what: &'static str,
    change: fn(&OpenBao),
    found: [&'static str; 10],
}

const PLACES: [&str; 10] = [
    "keep.json",
    "delete.json",
    "fail.json",
    "keep/foo",
    "keep/hoge",
    "delete/hoge",
    "fail/hoge",
    "pinned-keep.json",
    "pinned-delete.json",
    "env/HOGE",
];
const GONE: &str = "(nothing)";
const CLOSED: &str = "(closed)";

fn put(bao: &OpenBao, data: Value) {
    bao.write(SECRET, &json!({"data": data}));
}

const BAR: &str = r#"{"foo":"bar"}"#;
const BAZ: &str = r#"{"foo":"baz"}"#;
const BOTH: &str = r#"{"foo":"baz","hoge":"fuga"}"#;
const NEW: &str = r#"{"foo":"new"}"#;
const LAST: &str = r#"{"foo":"last"}"#;
const OTHER: &str = r#"{"foo":"other"}"#;

const LIFE: [Step; 9] = [
    Step {
        what: "put (version 1)",
        change: |bao| put(bao, json!({"foo": "bar"})),
        found: [BAR, BAR, BAR, "bar", GONE, GONE, GONE, BAR, BAR, GONE],
    },
    Step {
        what: "rotated (version 2)",
        change: |bao| put(bao, json!({"foo": "baz"})),
        found: [BAZ, BAZ, BAZ, "baz", GONE, GONE, GONE, BAR, BAR, GONE],
    },
    Step {
        what: "field added (version 3)",
        change: |bao| put(bao, json!({"foo": "baz", "hoge": "fuga"})),
        found: [BOTH, BOTH, BOTH, "baz", "fuga", "fuga", "fuga", BAR, BAR, "fuga"],
    },
    Step {
        what: "field removed (version 4)",
        change: |bao| put(bao, json!({"foo": "baz"})),
        found: [BAZ, BAZ, BAZ, "baz", "fuga", GONE, CLOSED, BAR, BAR, "fuga"],
    },
    Step {
        what: "deleted",
        change: |bao| bao.delete(SECRET),
        found: [BAZ, GONE, CLOSED, "baz", "fuga", GONE, CLOSED, BAR, BAR, "fuga"],
    },
    Step {
        what: "put again (version 5)",
        change: |bao| put(bao, json!({"foo": "new"})),
        found: [NEW, NEW, NEW, "new", "fuga", GONE, CLOSED, BAR, BAR, "fuga"],
    },
    Step {
        what: "destroyed",
        change: |bao| {
            bao.write("arc-runners/destroy/life/my-secret", &json!({"versions": [5, 1]}));
        },
        found: [NEW, GONE, CLOSED, "new", "fuga", GONE, CLOSED, BAR, GONE, "fuga"],
    },
    Step {
        what: "put again (version 6)",
        change: |bao| put(bao, json!({"foo": "last"})),
        found: [LAST, LAST, LAST, "last", "fuga", GONE, CLOSED, BAR, GONE, "fuga"],
    },
    Step {
        what: "deleted with all its versions, and put anew (version 1)",
        change: |bao| {
            bao.delete("arc-runners/metadata/life/my-secret");
            put(bao, json!({"foo": "other"}));
        },
        found: [OTHER, OTHER, OTHER, "other", "fuga", GONE, CLOSED, OTHER, OTHER, "fuga"],
    },
];

#[test]
fn every_change_of_a_secret_has_the_result_of_the_table() {
    let bao = bao();
    let [first, rest @ ..] = &LIFE;
    (first.change)(bao);
    let agent = Agent::for_bao(bao)
        .refresh("5s")
        .file(whole("keep.json", "keep"))
        .file(whole("delete.json", "delete"))
        .file(whole("fail.json", "fail"))
        .file(each("keep", "keep"))
        .file(each("delete", "delete"))
        .file(each("fail", "fail"))
        .file(pinned("pinned-keep.json", "keep"))
        .file(pinned("pinned-delete.json", "delete"))
        .with(
            "/env",
            json!([{"secret": SECRET, "select": {"upperCase": {"prefix": ""}}}]),
        )
        .with("/envMode", json!("0440"));
    agent.run().expect(0, &["delivered"]);
    let expect = |step: &Step| {
        let expected = step.found.map(|text| match text {
            GONE => Found::Nothing,
            CLOSED => Found::Closed,
            text => Found::Text(text.to_owned()),
        });
        let all = || PLACES.map(|place| found(&agent, place));
        agent.until(step.what, |_| all() == expected);
    };
    expect(first);
    let sidecar = agent.sidecar();
    for step in rest {
        (step.change)(bao);
        expect(step);
    }
    let log = sidecar.stop();
    let changes: Vec<_> = log
        .iter()
        .filter(|line| line["file"] == "keep.json" && line["message"] == "file changed")
        .map(|line| (line["old_version"].as_u64(), line["version"].as_u64()))
        .collect();
    assert_eq!(
        changes,
        [(1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 1)].map(|(old, new)| (Some(old), Some(new)))
    );
    let removed = log
        .iter()
        .filter(|line| line["message"] == "file removed: its secret is gone")
        .count();
    assert_eq!(
        removed, 6,
        "delete.json and delete/foo twice, delete/hoge, pinned-delete.json"
    );
}
