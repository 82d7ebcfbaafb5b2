//! The operator's allow rules, applied to the plan of a pod. The plan then says which forms of its paths the rule allows.

use crate::inject::check::policy;
use crate::inject::config::ConnectionConfig;
use crate::inject::parts::plan::PodPlan;
use crate::inject::pod::Pod;
use crate::inject::problem::{Problems, quoted};
use crate::inject::words::keys::CONNECTION;
use crate::plan::MountLookup;

pub(super) fn check(
    pod: &Pod<'_>,
    namespace: &str,
    connection: &ConnectionConfig,
    plan: &mut PodPlan<'_>,
    problems: &mut Problems,
) {
    let Some(rules) = &connection.allow else { return };
    let no_rule = match policy::check(rules, pod, namespace, plan) {
        Ok(rule) => {
            let allowed = plan.mount_lookup.is_some().then(|| rule.readable_forms(plan)).flatten();
            plan.mount_lookup = plan.mount_lookup.take().map(|_| MountLookup { allowed });
            return;
        }
        Err(no_rule) => no_rule,
    };
    problems.keep_for_operator(no_rule);
    let access = match plan.written_paths().next().is_some() {
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
