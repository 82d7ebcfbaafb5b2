//! A job of GitHub Actions that logs in itself: its right to an ID token, as far as its workflow says.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cli::doctor::finding::Findings;
use crate::plan::Plan;

const CHECK: &str = "vault-job";
/// The largest workflow that is read, in bytes. GitHub's own limit is lower.
const MAX_WORKFLOW_BYTES: u64 = 1024 * 1024;

/// Whether the workflows let their jobs have an ID token:
/// <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#permissions>.
pub(super) fn check_workflows(plan: &Plan, workflows: &[PathBuf], findings: &mut Findings) {
    let logs_in = plan.job.as_ref().is_some_and(|job| job.reads() && job.login.is_some());
    for workflow in workflows {
        let name = workflow.display();
        if !logs_in {
            findings.ok(
                CHECK,
                format!("{name}: the pod's jobs need no ID token, since podkey-init reads all secrets"),
            );
            continue;
        }
        match read(workflow) {
            Ok(text) => check_workflow(&name.to_string(), &text, findings),
            Err(why) => findings.unseen(CHECK, format!("the workflow {name}: {why}"), None),
        }
    }
}

/// Says what the doctor cannot see without a workflow.
pub(super) fn check(plan: &Plan, findings: &mut Findings) {
    let of_job = plan.job.iter().filter(|job| job.reads() && job.login.is_some());
    for job in of_job {
        let paths = job
            .files
            .iter()
            .flat_map(|file| file.requests())
            .map(|request| &request.secret);
        let paths = paths.chain(job.env.iter().map(|env| &env.secret));
        if let Some(path) = paths.into_iter().find(|path| path.as_path().as_str().contains('{')) {
            let message = format!("{}: only a job knows what its placeholders become", path.as_path());
            findings.unseen("vault-path", message, None);
        }
        let message = "the job's login: GitHub gives its token to the job alone";
        findings.unseen(CHECK, message, None);
    }
}

fn read(workflow: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(workflow).map_err(|error| error.to_string())?;
    if metadata.len() > MAX_WORKFLOW_BYTES {
        return Err("is too large for a workflow".to_owned());
    }
    std::fs::read_to_string(workflow).map_err(|error| error.to_string())
}

fn check_workflow(name: &str, text: &str, findings: &mut Findings) {
    let Ok(workflow) = serde_saphyr::from_str::<Value>(text) else {
        findings.unseen(CHECK, format!("the workflow {name} is not valid YAML"), None);
        return;
    };
    let Some(jobs) = workflow["jobs"].as_object() else {
        findings.unseen(CHECK, format!("the workflow {name} has no jobs"), None);
        return;
    };
    let of_workflow = workflow.get("permissions");
    let mut without = Vec::new();
    for (id, job) in jobs {
        // A job that calls another workflow runs on no runner itself.
        if job.get("uses").is_some() {
            continue;
        }
        if !allows(job.get("permissions").or(of_workflow)) {
            without.push(id.as_str());
        }
    }
    match without.is_empty() {
        true => findings.ok(CHECK, format!("{name}: each job has id-token: write")),
        false => {
            let message = format!(
                "{name}: GitHub gives no ID token to the jobs {}: their permissions lack id-token: write. Add it to `permissions` of each of these jobs; a job with `permissions` has no right that is not listed there, such as contents: read for a checkout",
                without.join(", ")
            );
            findings.fault(CHECK, message, None);
        }
    }
}

/// Without `permissions`, a job gets no ID token.
fn allows(permissions: Option<&Value>) -> bool {
    match permissions {
        Some(Value::String(all)) => all == "write-all",
        Some(permissions) => permissions["id-token"] == "write",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Level;

    fn level(workflow: &str) -> Level {
        let mut findings = Findings::default();
        check_workflow("ci.yml", workflow, &mut findings);
        findings.all()[0].level
    }

    #[test]
    fn a_job_gets_an_id_token_only_where_its_permissions_say_so() {
        assert_eq!(
            level("permissions: {id-token: write}\njobs: {a: {runs-on: x}}"),
            Level::Ok
        );
        assert_eq!(level("permissions: write-all\njobs: {a: {runs-on: x}}"), Level::Ok);
        assert_eq!(level("jobs: {a: {permissions: {id-token: write}}}"), Level::Ok);
        assert_eq!(level("jobs: {a: {uses: ./x.yml}}"), Level::Ok);
        // Without a word of permissions.
        assert_eq!(level("jobs: {a: {runs-on: x}}"), Level::Fault);
        // A job's own permissions replace the workflow's.
        assert_eq!(
            level("permissions: {id-token: write}\njobs: {a: {permissions: {contents: read}}}"),
            Level::Fault
        );
        assert_eq!(level("[1"), Level::Unseen);
        assert_eq!(level("a: b"), Level::Unseen);
    }
}
