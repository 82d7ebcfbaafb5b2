//! The annotations of vault-k8s, HashiCorp's injector, and of openbao-k8s: parsed as they parse them, into the same
//! [`InjectionRequest`] that podkey's own annotations make. Where podkey does something else, the pod is refused or its author warned.

pub(crate) mod asked;
mod command;
mod draft;
mod go;
mod keys;
mod secrets;
mod translate;
mod value;
mod warnings;
mod written;

use std::collections::BTreeMap;

use self::asked::{RunAs, VaultK8sRequest};
use self::draft::VaultK8sDraft;
use self::value::TheirValue;
use self::written::Written;
use super::injection::InjectionRequest;
use super::requested::Requested;
use crate::inject::pod::{Annotations, TheirAnnotation};
use crate::inject::problem::Problems;
use crate::inject::words::vault_k8s::{Family, INJECT, INJECTED, STATUS};
use crate::plan::{Interval, MountLookup, OnFailure};

pub(crate) use self::keys::{KEYS, find};
pub use self::keys::{Suffix, Treatment, VaultK8sKey};
pub(crate) use self::translate::in_their_words;

/// The agent's own interval. <https://developer.hashicorp.com/vault/docs/agent-and-proxy/agent/template>
const INTERVAL: &str = "5m";

/// Whether the pod asks vault-k8s for an injection. A value that is no boolean asks, too, and so do more annotations than are kept: the
/// pod is refused for them.
pub(crate) fn asks(annotations: &Annotations<'_>) -> bool {
    match merged(annotations)
        .get(INJECT)
        .map(|annotation| annotation.value.as_deref())
    {
        None => annotations.too_many_theirs,
        Some(Ok(text)) => go::boolean(text) != Ok(false),
        Some(Err(_)) => true,
    }
}

/// The keys that mark a pod as injected, of each family that the pod has a key of, without those that mark it already.
pub(crate) fn marks_to_set(annotations: &Annotations<'_>) -> impl Iterator<Item = String> {
    let theirs = &annotations.theirs;
    let has = |family: &Family| theirs.iter().any(|annotation| annotation.family == *family);
    let is_mark =
        |annotation: &TheirAnnotation<'_>| annotation.name == STATUS && annotation.value.as_deref() == Ok(INJECTED);
    let is_marked = move |family: &Family| {
        theirs
            .iter()
            .any(|annotation| annotation.family == *family && is_mark(annotation))
    };
    let unmarked = Family::ALL
        .into_iter()
        .filter(has)
        .filter(move |family| !is_marked(family));
    unmarked.map(|family| family.key(STATUS))
}

/// The family of the key that asks for the injection.
pub(crate) fn family(annotations: &Annotations<'_>) -> Family {
    let merged = merged(annotations);
    merged.get(INJECT).map_or(Family::Hashicorp, |inject| inject.family)
}

/// The annotations by their keys without prefix. openbao-k8s takes a key of its own family before one of vault-k8s.
/// <https://github.com/openbao/openbao-k8s/blob/main/agent-inject/handler.go>
fn merged<'p, 'a>(annotations: &'p Annotations<'a>) -> BTreeMap<&'p str, &'p TheirAnnotation<'a>> {
    let mut merged: BTreeMap<&str, &TheirAnnotation<'_>> = BTreeMap::new();
    for annotation in &annotations.theirs {
        let kept = merged.entry(&annotation.name).or_insert(annotation);
        if kept.family < annotation.family {
            *kept = annotation;
        }
    }
    merged
}

/// Parses the annotations, and reports what is wrong with any of them.
pub(crate) fn parse(annotations: &Annotations<'_>, namespace: &str, problems: &mut Problems) -> InjectionRequest {
    let merged = merged(annotations);
    let family = family(annotations);
    if annotations.too_many_theirs {
        let most = annotations.theirs.len();
        problems.push(family.prefix(), format!("has more than {most} annotations"));
    }
    if ["kube-system", "kube-public"].contains(&namespace) {
        problems.push(
            family.key(INJECT),
            format!("cannot be used in the namespace {namespace}: remove it"),
        );
    }
    let mut draft = VaultK8sDraft::default();
    for annotation in merged.values() {
        parse_one(annotation, &mut draft, problems);
    }
    finish(draft, family, problems)
}

fn parse_one<'p>(annotation: &'p TheirAnnotation<'_>, draft: &mut VaultK8sDraft<'p>, problems: &mut Problems) {
    let Some((row, suffix)) = find(&annotation.name) else {
        draft.unknown.push(&annotation.name);
        return;
    };
    let written = Written {
        family: annotation.family,
        name: &annotation.name,
        text: annotation.value.as_deref().unwrap_or_default(),
    };
    match annotation.value {
        Err(_) => problems.push(written.key(), "is not a text: put the value in quotes"),
        Ok(_) => {
            let value = TheirValue {
                written,
                suffix,
                problems,
            };
            (row.parse)(value, draft);
        }
    }
}

fn finish(mut draft: VaultK8sDraft<'_>, family: Family, problems: &mut Problems) -> InjectionRequest {
    if !draft.pre_populate && draft.pre_populate_only {
        problems.push(
            family.key("agent-pre-populate-only"),
            "cannot be beside agent-pre-populate: \"false\", because nothing would write the files: remove one of the two",
        );
    }
    let on_change = secrets::actions(&draft, problems);
    let files = secrets::files(&mut draft, problems);
    let token_file = secrets::token_file(&draft, &files, problems);
    let role = match std::mem::take(&mut draft.role) {
        Requested::Absent => std::mem::take(&mut draft.config_role),
        role => role,
    };
    let role = match role {
        Requested::Absent => {
            problems.push(family.key("role"), "is missing: the Vault role to log in as");
            Requested::Invalid
        }
        role => role,
    };
    let is_refreshed = !draft.pre_populate_only;
    let usual = || INTERVAL.parse::<Interval>().ok();
    let interval = draft.interval.map(|(interval, _)| interval).or_else(usual);
    let warnings = warnings::warnings(&draft, is_refreshed || on_change.is_empty());
    InjectionRequest {
        role,
        auth_mount: draft.auth_mount.clone(),
        files,
        refresh: match is_refreshed {
            true => interval.into(),
            false => Requested::Absent,
        },
        // In an init container there is no process yet that could read a file again.
        on_change: if is_refreshed { on_change } else { Vec::new() },
        on_failure: Some(OnFailure::FailPod),
        job_hooks: Requested::Given(false),
        vault_k8s: Some(VaultK8sRequest {
            family,
            service: draft.service,
            namespace: draft.namespace,
            method: draft.method,
            containers: draft.containers,
            serves_init_containers: draft.pre_populate,
            run_as: match (draft.run_as_same_user, draft.run_as_user) {
                (true, _) => RunAs::FirstContainers,
                (false, Some(user)) => RunAs::User(user),
                (false, None) => RunAs::Podkeys,
            },
            // Without the init container vault-k8s does not look at the key.
            shares_processes: draft.pre_populate && draft.shares_processes == Some(true),
            warnings,
        }),
        token_file,
        mount_lookup: Some(MountLookup::default()),
        ..InjectionRequest::default()
    }
}

#[cfg(test)]
mod tests;
