//! The decision about a pod: its steps, from the pod to the patch.

use crate::inject::check;
use crate::inject::config::Config;
use crate::inject::parts::plan::WholeRequest;
use crate::inject::patch::{self, PodPatch};
use crate::inject::pod::{Annotations, Pod, size};
use crate::inject::problem::{Problems, Warnings};
use crate::inject::request::{InjectionRequest, annotations, vault_k8s};
use crate::inject::survey::Survey;
use crate::inject::words::keys::PREFIX;
use crate::inject::words::vault_k8s::{INJECT, THEIR_CONTAINERS};

/// What to do with a pod.
#[derive(Debug)]
pub enum Decision {
    /// Leave the pod alone: it asks for nothing, or a patch does not reach it.
    Ignore(Warnings),
    /// Patch the pod. The patch is empty if the pod is injected already.
    Inject(PodPatch, Warnings),
    /// Refuse the pod.
    Deny(Problems),
}

/// Whose annotations ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AskedBy {
    Podkeys,
    VaultK8s,
    Both,
}

/// Decides about a pod. `namespace` is the request's: a pod that is about to be created may not name its own.
pub fn decide(pod: &Pod<'_>, namespace: &str, config: &Config) -> Decision {
    let (asked, by) = match asked(pod, config) {
        Ok(asked) => asked,
        Err(warnings) => return Decision::Ignore(warnings),
    };
    let mut problems = Problems::default();
    // To compare all lists of such a pod with each other would take seconds.
    if let Some((place, why)) = size::exceeded(pod) {
        problems.push(place, why);
        return Decision::Deny(problems);
    }
    let request = match by {
        AskedBy::Podkeys => annotations::parse(asked, &mut problems),
        AskedBy::VaultK8s => vault_k8s::parse(asked, namespace, &mut problems),
        AskedBy::Both => {
            problems.push(
                format!("{PREFIX} and {}", vault_k8s::family(asked).key(INJECT)),
                "are both in this pod, and each would deliver secrets: keep the annotations of one of the two",
            );
            return Decision::Deny(problems);
        }
    };
    if let Some(warnings) = nothing_asked(&request, &problems) {
        return Decision::Ignore(warnings);
    }
    let denied = |mut problems: Problems| {
        if let Some(theirs) = &request.vault_k8s {
            vault_k8s::in_their_words(&mut problems, theirs.family);
        }
        Decision::Deny(problems)
    };
    let whole = WholeRequest::of(&request, &problems);
    let survey = Survey::of(pod, &request, config);
    let Some(injection) = check::check(&survey, &request, whole, namespace, config, &mut problems) else {
        return denied(problems);
    };
    match patch::build(&survey, &injection, config, asked, &request) {
        Ok(patch) => Decision::Inject(patch, injection.warnings),
        // Nothing that podkey serialises can fail. If it ever does, the pod must not start without its secrets.
        Err(error) => {
            problems.push_for_operator("podkey", format!("cannot write the patch: {error}"));
            denied(problems)
        }
    }
}

/// The annotations of a pod that asks for secrets, and whose they are. The error: the pod is left alone, with these warnings.
fn asked<'p, 'a>(pod: &'p Pod<'a>, config: &Config) -> Result<(&'p Annotations<'a>, AskedBy), Warnings> {
    let asked = pod.metadata.annotations.as_ref().ok_or_else(Warnings::new)?;
    let theirs = config.reads_vault_k8s() && vault_k8s::asks(asked);
    let by = match (annotations::asks(asked), theirs) {
        (false, false) => return Err(Warnings::new()),
        (true, false) => AskedBy::Podkeys,
        (false, true) => AskedBy::VaultK8s,
        (true, true) => AskedBy::Both,
    };
    if asked.is_mirror {
        return Err(vec![
            "podkey leaves mirror pods alone: a static pod gets no secrets".to_owned(),
        ]);
    }
    // Their mark alone may be copied from a template. Their containers are what they add.
    let mut containers = pod.all_containers();
    if by == AskedBy::VaultK8s && containers.any(|container| THEIR_CONTAINERS.contains(&&*container.name)) {
        return Err(vec![
            "podkey leaves this pod alone: vault-k8s or openbao-k8s has injected it".to_owned(),
        ]);
    }
    Ok((asked, by))
}

/// For a pod that vault-k8s would inject without a secret: the warnings, and podkey has nothing to do.
fn nothing_asked(request: &InjectionRequest, problems: &Problems) -> Option<Warnings> {
    let theirs = request.vault_k8s.as_ref()?;
    if !request.files.is_empty() || request.token_file.is_some() || !problems.is_empty() {
        return None;
    }
    let nothing = format!("podkey: the pod has {INJECT} and names no secret, so podkey adds nothing");
    Some([nothing].into_iter().chain(theirs.warnings.iter().cloned()).collect())
}
