//! The operator's allow rules, applied to the plan of a pod.

use crate::inject::check::policy;
use crate::inject::config::ConnectionConfig;
use crate::inject::parts::plan::PodPlan;
use crate::inject::pod::Pod;
use crate::inject::problem::{Problems, quoted};
use crate::inject::words::keys::CONNECTION;
use crate::plan::PlannedFile;

pub(super) fn check(
    pod: &Pod<'_>,
    namespace: &str,
    connection: &ConnectionConfig,
    plan: &PodPlan<'_>,
    problems: &mut Problems,
) {
    let Some(rules) = &connection.allow else { return };
    let Err(no_rule) = policy::check(rules, pod, namespace, plan) else {
        return;
    };
    problems.keep_for_operator(no_rule);
    let mut requests = plan.files.iter().flat_map(PlannedFile::requests);
    let access = match requests.any(|request| request.data.is_some()) {
        true => "read all of these secrets, and write those with data,",
        false => "read all of these secrets",
    };
    // Repeats what the caller knows already, and shows nothing of the rules: anyone who reaches the webhook may probe it.
    problems.push_for_operator(
        CONNECTION,
        format!(
            "no rule of the operator's for {} lets the service account {} of the namespace {} {access} with this role and auth \
             mount: ask the operator",
            quoted(&connection.server.name),
            quoted(pod.service_account()),
            quoted(namespace)
        ),
    );
}
