//! The workflows: pinned actions, least rights, no text of strangers in commands. actionlint and zizmor (`make workflows`) check more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use super::{root, text};

/// Each workflow's name, text and parsed text.
fn workflows() -> Vec<(String, String, Value)> {
    let mut all: Vec<_> = fs::read_dir(root().join(".github/workflows"))
        .unwrap()
        .map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let text = text(&format!(".github/workflows/{name}"));
            let parsed = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, text, parsed)
        })
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(all.len() >= 3, "where are the workflows?");
    all
}

/// Each job of each workflow, with the name `FILE: JOB`.
fn jobs() -> Vec<(String, Value)> {
    workflows()
        .into_iter()
        .flat_map(|(file, _, workflow)| {
            let jobs = workflow["jobs"].as_object().unwrap().clone();
            jobs.into_iter()
                .map(move |(name, job)| (format!("{file}: {name}"), job))
        })
        .collect()
}

fn steps(job: &Value) -> &[Value] {
    job["steps"].as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn every_action_is_pinned_by_its_commit_and_names_its_version() {
    let mut pins: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, text, _) in workflows() {
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            let Some((_, used)) = line.split_once("uses: ") else {
                continue;
            };
            if used.starts_with("./") {
                continue;
            }
            let (action, pin) = used.split_once('@').unwrap_or_else(|| panic!("{file}: {used}"));
            let (hash, version) = pin
                .split_once(" # v")
                .unwrap_or_else(|| panic!("{file}: no version beside {used}"));
            assert!(
                hash.len() == 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{file}: {used}: not the whole hash of a commit"
            );
            assert_eq!(version.split('.').count(), 3, "{file}: {used}: which version?");
            pins.entry(action.to_owned()).or_default().insert(pin.to_owned());
        }
    }
    assert!(pins.len() >= 8, "{pins:?}");
    for (action, pins) in pins {
        assert_eq!(pins.len(), 1, "{action} is used in several versions: {pins:?}");
    }
}

#[test]
fn no_job_has_a_right_that_it_does_not_need() {
    let may_write: BTreeMap<&str, &[&str]> = BTreeMap::from([
        (
            "release.yaml: publish",
            ["contents", "packages", "id-token", "attestations", "artifact-metadata"].as_slice(),
        ),
        ("release.yaml: release", ["contents"].as_slice()),
        ("scorecard.yaml: scorecard", ["security-events", "id-token"].as_slice()),
    ]);
    for (file, _, workflow) in workflows() {
        assert_eq!(
            workflow["permissions"],
            serde_json::json!({}),
            "{file}: rights for all jobs"
        );
    }
    for (name, job) in jobs() {
        let rights = job["permissions"].as_object();
        let rights = rights.unwrap_or_else(|| panic!("{name}: no permissions"));
        for (right, level) in rights {
            let allowed = may_write
                .get(name.as_str())
                .is_some_and(|may| may.contains(&right.as_str()));
            assert!(level == "read" || allowed, "{name}: {right}: {level}");
        }
        assert!(
            job["timeout-minutes"].is_u64() || job["uses"].is_string(),
            "{name}: no timeout-minutes"
        );
    }
}

/// A job of release.yaml.
fn release_job(name: &str) -> Value {
    let name = format!("release.yaml: {name}");
    let job = jobs().into_iter().find(|(found, _)| *found == name);
    job.unwrap_or_else(|| panic!("no job {name}")).1
}

/// All commands of a job, one after the other, without comments.
fn commands(job: &Value) -> String {
    let commands = steps(job).iter().filter_map(|step| step["run"].as_str());
    let lines = commands.flat_map(str::lines);
    lines
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A dependency that turned bad can run code where something is built: not where something can be published.
#[test]
fn the_jobs_that_publish_run_no_code_of_the_repository() {
    assert_eq!(
        release_job("publish")["environment"],
        "release",
        "a reviewer must have a say"
    );
    for job in ["publish", "release"] {
        for step in steps(&release_job(job)) {
            let step = step.to_string();
            for forbidden in ["actions/checkout", "make ", "cargo ", ".ci/", "docker build"] {
                assert!(!step.contains(forbidden), "{job}: {forbidden} in {step}");
            }
        }
    }
}

/// Without a shell's name, GitHub runs bash without pipefail: a command that fails before a `|` goes unseen.
#[test]
fn a_failed_command_before_a_pipe_fails_its_step() {
    for (file, _, workflow) in workflows() {
        let jobs = workflow["jobs"].as_object().unwrap();
        let mut commands = jobs.values().flat_map(steps).filter(|step| step["run"].is_string());
        if commands.clone().next().is_some() {
            assert_eq!(workflow["defaults"]["run"]["shell"], "bash", "{file}");
        }
        assert!(
            commands.all(|step| step.get("shell").is_none()),
            "{file}: a step with another shell"
        );
        assert!(
            jobs.values().all(|job| job.get("defaults").is_none()),
            "{file}: a job with another shell"
        );
    }
}

/// The release went public before anybody had verified it.
#[test]
fn a_release_is_a_draft_until_it_is_verified() {
    let needs = |job: &str| release_job(job)["needs"].to_string();
    assert!(commands(&release_job("publish")).contains("gh release create \"$GITHUB_REF_NAME\" --draft "));
    assert!(needs("verify").contains("\"publish\""));
    assert!(needs("release").contains("\"verify\""));
    for (name, job) in jobs() {
        let public = commands(&job).contains("--draft=false");
        assert_eq!(public, name == "release.yaml: release", "{name}");
    }
    // New packages are private: with credentials nobody would notice.
    assert!(commands(&release_job("verify")).contains("skopeo inspect --raw --no-creds "));
}

/// A second run pushed the chart with another digest below the same tag.
#[test]
fn a_tag_in_the_registry_is_not_pushed_again() {
    let push = commands(&release_job("publish"));
    for (check, pushed) in [
        ("if [[ ! -s pushed-image.json ]]; then", "skopeo copy "),
        ("if [[ ! -s pushed-chart.json ]]; then", "helm push "),
    ] {
        let (_, rest) = push.split_once(check).unwrap_or_else(|| panic!("{check}: {push}"));
        let (inside, _) = rest.split_once("\nfi\n").unwrap();
        assert!(inside.contains(pushed), "{inside}");
        assert_eq!(push.matches(pushed).count(), 1, "{pushed}");
    }
    for line in [
        "touch --date=\"@$TIME\" \"$chart_file\"",
        "test -n \"$image\"",
        "test -n \"$chart\"",
    ] {
        assert!(push.contains(line), "{line}");
    }
}

/// A tag can name any commit: also one that nobody reviewed.
#[test]
fn only_a_commit_of_main_is_released() {
    let version = release_job("version");
    assert!(commands(&version).contains("git merge-base --is-ancestor HEAD origin/main"));
    let checkout = &steps(&version)[0];
    assert_eq!(checkout["with"]["fetch-depth"], 0, "without history git cannot tell");
}

#[test]
fn no_workflow_runs_a_stranger_s_code_or_text_with_rights() {
    for (file, text, workflow) in workflows() {
        for trigger in ["pull_request_target", "workflow_run", "issue_comment"] {
            assert!(
                workflow["on"].get(trigger).is_none() && !text.contains(trigger),
                "{file}: {trigger}"
            );
        }
    }
    for (name, job) in jobs() {
        for step in steps(&job) {
            let command = step["run"].as_str().unwrap_or_default();
            assert!(!command.contains("${{"), "{name}: pass it as a variable: {command}");
            if step["uses"]
                .as_str()
                .is_some_and(|used| used.starts_with("actions/checkout@"))
            {
                assert_eq!(
                    step["with"]["persist-credentials"], false,
                    "{name}: the token stays in .git/config"
                );
            }
        }
    }
}

/// The step of `.ci/run` that each line runs: `step make NAME`.
#[test]
fn the_workflow_has_each_step_of_the_script() {
    let script = text(".ci/run");
    let targets: Vec<_> = script
        .lines()
        .filter_map(|line| line.split_once("step make ")?.1.split(' ').next())
        .collect();
    assert!(targets.len() >= 5, "{targets:?}");
    let commands: String = jobs()
        .into_iter()
        .filter(|(name, _)| name.starts_with("ci.yaml: "))
        .flat_map(|(_, job)| steps(&job).to_vec())
        .filter_map(|step| step["run"].as_str().map(|command| format!("{command}\n")))
        .collect();
    for target in targets {
        assert!(
            commands.contains(&format!("make {target}\n")),
            "ci.yaml does not run `make {target}`"
        );
    }
}
