//! The pages of `docs/reference/`, made from what `podkey explain`, `--help` and the library's tables say. `PODKEY_UPDATE=1 cargo test
//! --test docs` writes them.

use std::fmt::Write as _;
use std::fs;

use podkey::{env, job, template};
use serde_json::Value;

use crate::{podkey, programs, root};

const FOLDER: &str = "docs/reference";
/// Below the first sentences of each page.
const MADE: &str =
    "<!-- Made from podkey's tables by `PODKEY_UPDATE=1 cargo test --test docs`: change the tables, not this page. -->";

/// Insists that the pages are current; or writes them, if the environment says so.
pub(crate) fn check() {
    let update = std::env::var_os("PODKEY_UPDATE").is_some();
    let mut old = Vec::new();
    let made = made();
    for (name, text) in &made {
        let path = root().join(FOLDER).join(name);
        if update {
            fs::create_dir_all(root().join(FOLDER)).unwrap();
            fs::write(&path, text).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != *text {
            old.push(format!(
                "{FOLDER}/{name} is not what the tables say: PODKEY_UPDATE=1 cargo test --test docs"
            ));
        }
    }
    for entry in fs::read_dir(root().join(FOLDER)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !made.iter().any(|(made, _)| *made == name) {
            old.push(format!("{FOLDER}/{name} is made from no table"));
        }
    }
    crate::insist(&old);
}

/// Each page: its name and its text.
fn made() -> Vec<(&'static str, String)> {
    let Value::Array(entries) = serde_json::from_str(&podkey(&["explain", "-o", "json"])).unwrap() else {
        panic!("podkey explain prints a list");
    };
    vec![
        ("annotations.md", annotations(&entries)),
        ("cli.md", programs::cli()),
        ("config.md", config(&entries)),
        ("exit-codes.md", programs::exit_codes(&entries)),
        ("files.md", files(&entries)),
        ("masking.md", masking()),
        ("reserved-variables.md", reserved_variables(&entries)),
        ("status-file.md", status_file(&entries)),
    ]
}

pub(crate) fn page(title: &str, about: &str) -> String {
    format!("# {title}\n\n{about}\n\n{MADE}\n")
}

pub(crate) fn text<'e>(entry: &'e Value, field: &str) -> &'e str {
    entry[field].as_str().unwrap_or_default()
}

/// The entries of a kind, which begins with these words.
fn of_kind<'e>(entries: &'e [Value], kind: &'e str) -> impl Iterator<Item = &'e Value> + Clone {
    let of_kind = entries
        .iter()
        .filter(move |entry| text(entry, "kind").starts_with(kind));
    assert!(of_kind.clone().count() > 1, "{kind}");
    of_kind
}

/// The entry with this name.
pub(crate) fn named<'e>(entries: &'e [Value], name: &str) -> &'e Value {
    entries
        .iter()
        .find(|entry| text(entry, "name") == name)
        .unwrap_or_else(|| panic!("{name}"))
}

/// A text in the cell of a table.
pub(crate) fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// A table of links to the headings below, which are the last parts of the names.
fn contents<'e>(entries: impl Iterator<Item = &'e Value>, heading: impl Fn(&Value) -> String, what: &str) -> String {
    let mut table = format!("\n| {what} | meaning |\n| --- | --- |\n");
    for entry in entries {
        let heading = heading(entry);
        let anchor = crate::page::slug(&heading);
        let _ = writeln!(table, "| [`{heading}`](#{anchor}) | {} |", cell(text(entry, "meaning")));
    }
    table
}

/// What a name means: a heading, a list of its facts, its words and an example.
fn explained(entry: &Value, heading: &str, level: usize) -> String {
    let mut section = format!("\n{} {heading}\n\n{}\n", "#".repeat(level), text(entry, "meaning"));
    if !text(entry, "details").is_empty() {
        let _ = write!(section, "\n{}\n", text(entry, "details"));
    }
    let value = match is_yes_or_no(entry) {
        true => "`true` or `false`",
        false => text(entry, "value"),
    };
    let written = written_as(entry, heading);
    let facts = [
        ("written as", written.as_str()),
        ("value", value),
        ("default", text(entry, "default")),
        ("for", text(entry, "for")),
        ("see", more(text(entry, "name"))),
    ];
    section.push('\n');
    for (name, fact) in facts {
        if !fact.is_empty() && (name, fact) != ("default", "none") {
            let _ = writeln!(section, "- {name}: {fact}");
        }
    }
    section.push_str(&words(entry));
    if !text(entry, "example").is_empty() {
        let _ = write!(section, "\n```yaml\n{}\n```\n", text(entry, "example").trim_end());
    }
    section
}

/// The page that has more about the name.
fn more(name: &str) -> &'static str {
    match name {
        "podkey.dev/connection" | "podkey.dev/role" | "podkey.dev/auth-mount" => "[the operator's config](config.md)",
        "podkey.dev/env" | "podkey.dev/job-env" | "files.env" | "files.format" => {
            "[reserved variables](reserved-variables.md)"
        }
        "podkey.dev/files" => "[fields of a file](files.md)",
        "podkey.dev/mask" => "[masking](masking.md)",
        "podkey.dev/refresh" | "files.when-gone" => "[the status file](status-file.md)",
        "files.template" => "[functions of templates](#functions-of-templates)",
        _ => "",
    }
}

/// The whole name, where the heading is a part of it.
fn written_as(entry: &Value, heading: &str) -> String {
    let name = text(entry, "name");
    match name.strip_prefix("podkey.dev/") {
        Some(bare) if bare == heading => format!("`{name}`"),
        _ => String::new(),
    }
}

/// Whether the words of the value mean yes and no.
fn is_yes_or_no(entry: &Value) -> bool {
    let words = entry["words"].as_array();
    words.is_some_and(|words| words.iter().any(|word| text(word, "meaning") == "yes"))
}

/// The words of a value, each with its meaning. Nothing, where there are two words that mean yes and no.
fn words(entry: &Value) -> String {
    let words = entry["words"].as_array().map(Vec::as_slice).unwrap_or_default();
    if words.is_empty() || is_yes_or_no(entry) {
        return String::new();
    }
    let mut table = "\n| value | meaning |\n| --- | --- |\n".to_owned();
    for word in words {
        let _ = writeln!(table, "| `{}` | {} |", text(word, "name"), cell(text(word, "meaning")));
    }
    table
}

fn annotations(entries: &[Value]) -> String {
    let mut page = page(
        "Annotations",
        "What a pod's author can write, for one annotation after the other. All keys begin with `podkey.dev/`. They go on the pod; for a \
         Deployment or a scale set of ARC, on the pod template. `podkey explain NAME` shows the same on the command line.",
    );
    let bare = |entry: &Value| text(entry, "name").replace("podkey.dev/", "");
    let all = of_kind(entries, "annotation of a pod");
    page.push_str(&contents(all.clone(), bare, "annotation"));
    page.push_str("\nThe fields of an entry of `files` are on [a page of their own](files.md).\n");
    for entry in all {
        page.push_str(&explained(entry, &bare(entry), 2));
    }
    let field = |entry: &Value| text(entry, "name").replace("job-policy.", "");
    let fields = of_kind(entries, "field of podkey.dev/job-policy");
    page.push_str(
        "\n## Fields of job-policy\n\nYAML fields of `podkey.dev/job-policy`, and of `job.policy` in a connection of the \
         [operator's config](config.md).\n",
    );
    page.push_str(&contents(fields.clone(), field, "field"));
    for entry in fields {
        page.push_str(&explained(entry, &field(entry), 3));
    }
    page
}

fn files(entries: &[Value]) -> String {
    let mut page = page(
        "Fields of a file",
        "The fields of an entry of [`podkey.dev/files`](annotations.md#files), and the functions of `template`. For authors of pods.",
    );
    let field = |entry: &Value| text(entry, "name").replace("files.", "");
    let is_of_jobs = |entry: &&Value| text(entry, "name") == "files.as";
    let fields = of_kind(entries, "field of an entry");
    // The table has the fields in the order in which they are parsed, where `as` is the first.
    let fields = fields
        .clone()
        .filter(move |entry| !is_of_jobs(entry))
        .chain(fields.filter(is_of_jobs));
    page.push_str(&contents(fields.clone(), field, "field"));
    for entry in fields {
        page.push_str(&explained(entry, &field(entry), 2));
    }
    page.push_str(
        "\n## Functions of templates\n\nThese functions print what Go's `text/template` and consul-template print, byte for byte:\n\n",
    );
    let functions: Vec<String> = template::function_names().map(|name| format!("`{name}`")).collect();
    let _ = writeln!(page, "{}", functions.join(" "));
    page.push_str(
        "\n## Functions that podkey refuses\n\nFunctions of consul-template and of Helm that podkey does not offer, and what to write \
         instead.\n\n| function | why | instead |\n| --- | --- | --- |\n",
    );
    for (names, why, instead) in template::refused_functions() {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(
            page,
            "| {} | {} | {} |",
            names.join(" "),
            cell(why),
            in_code(&cell(instead))
        );
    }
    page
}

/// The text with the actions of a template as code.
fn in_code(text: &str) -> String {
    text.replace("{{", "`{{").replace("}}", "}}`")
}

fn config(entries: &[Value]) -> String {
    let mut page = page(
        "The operator's config",
        "Each key of the config, which `podkey serve --config FILE` reads. In the values of the Helm chart, the same keys are below `config`. \
         With an unknown key podkey does not start, and the message names the line.",
    );
    let name = |entry: &Value| text(entry, "name").to_owned();
    let all = of_kind(entries, "key of the operator's config");
    page.push_str(&contents(all.clone(), name, "key"));
    page.push_str("\nThe fields of `connections.NAME.job.policy` are those of [`podkey.dev/job-policy`](annotations.md#fields-of-job-policy).\n");
    for entry in all {
        page.push_str(&explained(entry, &name(entry), 2));
    }
    page
}

fn status_file(entries: &[Value]) -> String {
    let mut page = page(
        "The status file",
        "`/podkey/secrets/.status.json` says of each file in a pod with [`refresh`](annotations.md#refresh) whether it is fresh. For apps, probes and \
         people; it has no secret. `podkey status` shows it for a whole namespace.",
    );
    page.push_str("\n```sh\nkubectl exec POD -- cat /podkey/secrets/.status.json\n```\n");
    let all = of_kind(entries, "field of /podkey/secrets/.status.json");
    let example = all.clone().map(|entry| text(entry, "example")).next().unwrap();
    let _ = write!(page, "\n```json\n{}\n```\n", example.trim_end());
    const OF_FILE: &str = "status.files.NAME.";
    for (heading, prefix) in [("Fields", "status."), ("Fields of each file", OF_FILE)] {
        let _ = write!(page, "\n## {heading}\n\n| field | meaning |\n| --- | --- |\n");
        for entry in all
            .clone()
            .filter(|entry| text(entry, "name").starts_with(OF_FILE) == (prefix == OF_FILE))
        {
            let field = text(entry, "name").replace(prefix, "");
            let _ = writeln!(page, "| `{field}` | {} |", cell(text(entry, "meaning")));
        }
    }
    let _ = write!(
        page,
        "\n## States\n\nThe best state comes first.\n{}",
        words(named(entries, "status.state"))
    );
    page
}

fn masking() -> String {
    let mut page = page(
        "Masking",
        "Which texts the log of a job hides, by the value of [`podkey.dev/mask`](annotations.md#mask). For authors of runner pods, and for whoever \
         judges what a log may show.",
    );
    let _ = write!(page, "\n{}", job::masks::RULES);
    page.push_str("\n## Limits\n\nWhat is beyond a limit is not masked, and the log says so.\n\n| limit of `smart` | at most |\n| --- | --- |\n");
    for (what, most) in job::masks::LIMITS {
        let _ = writeln!(page, "| {what} | {most} |");
    }
    let words: Vec<String> = job::masks::COMMON.iter().map(|word| format!("`{word}`")).collect();
    let _ = write!(
        page,
        "\n## Common words\n\n`smart` never hides these words, in upper or lower case:\n\n{}\n",
        words.join(" ")
    );
    page
}

fn reserved_variables(entries: &[Value]) -> String {
    let mut page = page(
        "Reserved variables",
        "Names that `podkey.dev/env`, `podkey.dev/job-env` and `env` of a file cannot give to a variable. For authors of pods.",
    );
    let entry = named(entries, "reserved-variables");
    let _ = write!(
        page,
        "\n## Names that no annotation sets\n\n{}\n\n{}\n",
        text(entry, "meaning"),
        text(entry, "details")
    );
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for word in entry["words"].as_array().unwrap() {
        let (name, reason) = (text(word, "name"), text(word, "meaning"));
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(name),
            None => reasons.push((reason, vec![name])),
        }
    }
    page.push_str("\n`*` stands for any rest.\n\n| names | each of them |\n| --- | --- |\n");
    for (reason, names) in reasons {
        let _ = writeln!(page, "| {} | {reason} |", in_backquotes(&names));
    }
    let entry = named(entries, "wildcard-variables");
    let _ = write!(
        page,
        "\n## Names from a secret\n\n{}\n\n{}\n",
        text(entry, "meaning"),
        text(entry, "details")
    );
    page.push_str("\nThese rules hold, the first that fits:\n");
    for (title, names) in env::WILDCARD_RULES {
        let _ = write!(page, "\n**{title}**:\n\n{}\n", in_backquotes(names));
    }
    page
}

fn in_backquotes(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(" ")
}
