//! The row of a pod.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::Value;

use super::init::{self, InitFacts};
use super::log::AgentLog;
use super::sidecar;
use super::text::clean;
use super::{Init, Row};
use crate::inject::vocabulary::{self, INIT_CONTAINER, INJECTED, PLAN, SIDECAR};
use crate::plan::PLAN_ENV;

/// What `podkey.dev/injected` says of the pod.
#[derive(PartialEq)]
enum Asked {
    /// The webhook injected the pod.
    Injected,
    /// The pod asks, and the webhook has not seen the pod.
    Missed,
    /// The pod asks for nothing.
    No,
}

/// The row of the pod. None: the pod asks for nothing, and was not named by the user. `log` is of the container that [`log_of`] names;
/// None where it was not read.
pub(in crate::cli::status) fn row(pod: &Pod, is_named: bool, log: Option<&AgentLog>) -> Option<Row> {
    let asked = asked(pod);
    if asked == Asked::No && !is_named {
        return None;
    }
    let meta = &pod.metadata;
    let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
    let created = meta.creation_timestamp.as_ref().map(|time| time.0);
    let mut row = Row::new(
        namespace.unwrap_or_default(),
        "Pod",
        name.unwrap_or_default(),
        Init::neutral("pending"),
    );
    (row.created, row.since) = (created, created);
    row.node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).map(clean);
    match asked {
        Asked::Injected => injected(&mut row, pod, log),
        Asked::Missed => {
            row.init = Init::bad("not-injected");
            row.why = Some(format!(
                "the webhook did not see the pod: `podkey doctor -n {} {}` finds out why",
                row.namespace, row.name
            ));
        }
        Asked::No => {
            row.init = Init::neutral("not-asked");
            row.why = Some("the pod has no annotation of podkey".to_owned());
        }
    }
    Some(row)
}

/// The container whose log the row needs: that of the sidecar tells how fresh the files are, and that of init why it still runs.
pub(in crate::cli::status) fn log_of(pod: &Pod) -> Option<&'static str> {
    let runs = |name: &&str| is_running(status(pod, name));
    [SIDECAR, INIT_CONTAINER]
        .into_iter()
        .find(runs)
        .filter(|_| asked(pod) == Asked::Injected)
}

fn is_running(status: Option<&ContainerStatus>) -> bool {
    status.is_some_and(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()))
}

fn asked(pod: &Pod) -> Asked {
    let Some(annotations) = &pod.metadata.annotations else {
        return Asked::No;
    };
    // An annotation may be copied from another pod: without anything of podkey's in the pod it says nothing.
    let has_part = container(pod, INIT_CONTAINER) || annotations.contains_key(PLAN);
    let asks = vocabulary::annotations()
        .filter(|key| key.scope != vocabulary::Scope::Information)
        .any(|key| annotations.contains_key(key.key));
    match annotations.contains_key(INJECTED) {
        true if has_part => Asked::Injected,
        _ if asks => Asked::Missed,
        _ => Asked::No,
    }
}

fn injected(row: &mut Row, pod: &Pod, log: Option<&AgentLog>) {
    row.planned_files = planned_files(pod);
    if container(pod, INIT_CONTAINER) {
        match status(pod, INIT_CONTAINER) {
            Some(found) => {
                let facts = init::facts(found);
                row.tries = Some(found.restart_count + 1);
                apply(row, facts);
                if is_running(Some(found)) {
                    row.why = log.and_then(|log| log.retry.clone()).or_else(|| row.why.take());
                }
            }
            None => row.why = unscheduled(pod),
        }
    } else {
        row.init = Init::neutral("hooks-alone");
    }
    if container(pod, SIDECAR) {
        // Of a failure that is left to the job, nothing is to be kept fresh.
        let nothing_to_refresh = row.init.code.is_some() && status(pod, INIT_CONTAINER).is_some_and(has_succeeded);
        if !nothing_to_refresh {
            let (sidecar, why) = sidecar::state(status(pod, SIDECAR), log);
            row.sidecar = sidecar;
            row.why = row.why.take().or(why);
        }
    }
    row.why = row.why.take().or_else(|| evicted(pod));
}

fn apply(row: &mut Row, facts: InitFacts) {
    row.init = facts.init;
    row.since = facts.since.or(row.created);
    row.why = facts.why;
    (row.delivered_files, row.delivered_variables) = facts.delivered.unzip();
}

fn has_succeeded(status: &ContainerStatus) -> bool {
    let end = status.state.as_ref().and_then(|state| state.terminated.as_ref());
    end.is_some_and(|end| end.exit_code == 0)
}

/// Why no node runs the pod.
fn unscheduled(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions.iter().find(|condition| condition.type_ == "PodScheduled")?;
    if scheduled.status == "True" {
        return None;
    }
    let reason = scheduled.reason.as_deref().unwrap_or_default();
    Some(clean(&format!("{reason}: {}", scheduled.message.as_deref()?)))
}

/// Why the kubelet ended the pod.
fn evicted(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let reason = status.reason.as_deref()?;
    Some(clean(&format!(
        "{reason}: {}",
        status.message.as_deref().unwrap_or_default()
    )))
}

/// How many files the plan of `podkey-init` names. Only counts: the plan may be of another release.
fn planned_files(pod: &Pod) -> Option<usize> {
    let containers = pod.spec.as_ref()?.init_containers.as_ref()?;
    let init = containers.iter().find(|container| container.name == INIT_CONTAINER)?;
    let plan = init.env.as_ref()?.iter().find(|env| env.name == PLAN_ENV)?;
    let plan: Value = serde_json::from_str(plan.value.as_deref()?).ok()?;
    Some(plan.get("files")?.as_array()?.len())
}

fn container(pod: &Pod, name: &str) -> bool {
    let containers = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref());
    containers.is_some_and(|containers| containers.iter().any(|container| container.name == name))
}

fn status<'p>(pod: &'p Pod, name: &str) -> Option<&'p ContainerStatus> {
    let statuses = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == name)
}
