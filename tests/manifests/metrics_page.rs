//! docs/operate/metrics.md has a row for each metric that `podkey serve` shows, and no other row; its queries ask for what exists.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;

use super::metrics::{ONCE_THERE_IS_A_CA, complaints, exposed};
use super::rendered::{Manifests, root};
use super::support::webhook::Webhook;

/// The metrics' names as Prometheus stores them: a counter's ends with `_total`.
fn names() -> BTreeSet<String> {
    let config = Manifests::chart(json!({})).config();
    let webhook = Webhook::start_with_config(&config, &["--grace", "0s"]);
    let text = webhook.admin_get("/metrics").text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names = types.map(|line| match line.split_once(' ').unwrap() {
        (name, "counter") => format!("{name}_total"),
        (name, _) => name.to_owned(),
    });
    names.chain([ONCE_THERE_IS_A_CA.to_owned()]).collect()
}

fn page() -> String {
    fs::read_to_string(root().join("docs/operate/metrics.md")).unwrap()
}

#[test]
fn the_page_has_every_metric() {
    let page = page();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `podkey_"));
    let listed: BTreeSet<String> = rows
        .map(|row| format!("podkey_{}", row.split_once('`').unwrap().0))
        .collect();
    assert_eq!(listed, names(), "docs/operate/metrics.md, and what podkey serve shows");
}

#[test]
fn every_query_of_the_page_asks_for_metrics_that_exist() {
    let page = page();
    let (_, table) = page.split_once("| question | query |\n| --- | --- |\n").unwrap();
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 5, "{rows:?}");
    let exposed = exposed();
    for row in rows {
        // Words after the query name further values of its label.
        let (_, cell) = row.split_once(" | `").unwrap();
        let (query, _) = cell.split_once('`').unwrap();
        assert_eq!(complaints(query, &exposed), Vec::<String>::new(), "{query}");
    }
}
