//! The alerts, tested by the real promtool: `alerts/*.yaml` has series, and which alerts fire. Each alert has a page.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::rendered::{Manifests, command, documents, root};

/// Each file of tests, and the mode whose rules it tests. The rules of cert-manager and of files are the same.
const TESTS: [(&str, &str); 2] = [("self.yaml", "self"), ("files.yaml", "files")];

/// The rule groups of the chart.
pub(crate) fn groups(mode: &str) -> Vec<Value> {
    let values = json!({"tls": {"mode": mode}, "metrics": {"prometheusRule": {"enabled": true}}});
    let manifests = Manifests::chart(values);
    manifests.one("PrometheusRule")["spec"]["groups"]
        .as_array()
        .unwrap()
        .clone()
}

/// The rules of all groups.
pub(crate) fn rules(mode: &str) -> Vec<Value> {
    let groups = groups(mode);
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone());
    rules.collect()
}

fn names(rules: &[Value]) -> BTreeSet<String> {
    let names = rules.iter().map(|rule| rule["alert"].as_str().unwrap().to_owned());
    names.collect()
}

fn promtool(args: &[&str], folder: &std::path::Path) -> (bool, String) {
    let output = command("promtool").args(args).current_dir(folder).output();
    let output = output.expect("promtool is missing: run `.ci/tools prometheus`, as `make test` does");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn text_of(file: &str) -> String {
    fs::read_to_string(root().join("tests/manifests/alerts").join(file)).unwrap()
}

/// Runs promtool with these tests and the rules of this mode.
fn tested(tests: &str, mode: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut groups = groups(mode);
    fs::write(folder.path().join("whole.json"), json!({"groups": groups}).to_string()).unwrap();
    let (is_valid, said) = promtool(&["check", "rules", "whole.json"], folder.path());
    assert!(is_valid, "{said}");
    // promtool compares the annotations, which are texts for people.
    for group in &mut groups {
        for rule in group["rules"].as_array_mut().unwrap() {
            rule.as_object_mut().unwrap().remove("annotations");
        }
    }
    fs::write(folder.path().join("rules.json"), json!({"groups": groups}).to_string()).unwrap();
    fs::write(folder.path().join("tests.yaml"), tests).unwrap();
    promtool(&["test", "rules", "tests.yaml"], folder.path())
}

#[test]
fn each_alert_fires_when_it_should_and_is_silent_while_everything_is_healthy() {
    for (file, mode) in TESTS {
        let (passed, said) = tested(&text_of(file), mode);
        assert!(passed, "{file}: {said}");
    }
}

#[test]
fn each_alert_has_a_test_that_fires_and_one_of_a_healthy_cluster() {
    let (mut fire, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for (file, _) in TESTS {
        let tests = documents(&root().join("tests/manifests/alerts").join(file));
        for test in tests[0]["tests"].as_array().unwrap() {
            for check in test["alert_rule_test"].as_array().unwrap() {
                let name = check["alertname"].as_str().unwrap().to_owned();
                match check["exp_alerts"].as_array() {
                    Some(_) => fire.insert(name),
                    None if test["name"] == "everything is healthy" => silent.insert(name),
                    None => false,
                };
            }
        }
    }
    let all = TESTS.iter().flat_map(|(_, mode)| names(&rules(mode))).collect();
    assert_eq!(fire, all);
    assert_eq!(silent, all);
}

#[test]
fn a_test_whose_alert_does_not_fire_is_seen() {
    let tests = text_of("files.yaml").replace("7776000x60", "0x60");
    let (passed, said) = tested(&tests, "files");
    assert!(!passed && said.contains("PodkeyCertificateRunsOut"), "{said}");
}

/// The alert would fire for ever where certificates live for some days.
#[test]
fn the_operator_says_how_long_before_its_end_a_certificate_is_late() {
    for (mode, hours, seconds) in [("self", 0, "86400"), ("files", 0, "604800"), ("files", 12, "43200")] {
        let rule = json!({"enabled": true, "certificateExpiresWithinHours": hours});
        let manifests = Manifests::chart(json!({"tls": {"mode": mode}, "metrics": {"prometheusRule": rule}}));
        let groups = manifests.one("PrometheusRule")["spec"]["groups"].to_string();
        let expected = format!("- time() < {seconds}\"");
        assert!(
            groups.contains(&expected),
            "{mode}, {hours} h: no {expected} in {groups}"
        );
    }
}

#[test]
fn each_alert_has_a_page_and_each_page_an_alert() {
    let pages = root().join("docs/operate/alerts");
    let index = fs::read_to_string(pages.join("README.md")).unwrap();
    let mut all = BTreeSet::from(["README".to_owned()]);
    for rule in TESTS.iter().flat_map(|(_, mode)| rules(mode)) {
        let name = rule["alert"].as_str().unwrap();
        all.insert(name.to_owned());
        let page = format!("https://github.com/podkey/podkey/blob/main/docs/operate/alerts/{name}.md");
        assert_eq!(rule["annotations"]["runbook_url"], page);
        let text =
            fs::read_to_string(pages.join(format!("{name}.md"))).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text.starts_with(&format!("# {name}\n")), "{name}");
        for heading in ["## Meaning", "## Impact", "## See", "## Do"] {
            assert!(text.contains(&format!("\n{heading}\n")), "{name}: no {heading}");
        }
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(
            index.contains(&format!("| [{name}]({name}.md) | {severity} |")),
            "{name} is not in the table"
        );
    }
    let found = fs::read_dir(&pages).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        path.file_stem().unwrap().to_str().unwrap().to_owned()
    });
    assert_eq!(found.collect::<BTreeSet<_>>(), all);
}
