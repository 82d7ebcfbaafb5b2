//! The last step of a decision: the patch of a pod that passed all checks.

use std::borrow::Cow;

use crate::inject::check::Injection;
use crate::inject::check::injected::InjectedState;
use crate::inject::config::Config;
use crate::inject::parts::volumes;
use crate::inject::patch::containers;
use crate::inject::patch::operations::{List, PodPatch};
use crate::inject::pod::Annotations;
use crate::inject::request::InjectionRequest;
use crate::inject::request::annotations;
use crate::inject::request::vault_k8s;
use crate::inject::survey::Survey;
use crate::inject::words::keys::{INJECTED, PLAN};
use crate::inject::words::vault_k8s::INJECTED as INJECTED_BY_OTHERS;

/// The patch. It is empty if the pod is injected already.
pub(crate) fn build(
    survey: &Survey<'_>,
    injection: &Injection<'_, '_>,
    config: &Config,
    asked: &Annotations<'_>,
    request: &InjectionRequest,
) -> Result<PodPatch, serde_json::Error> {
    let mut patch = PodPatch::default();
    // The readers first: `podkey-init` moves the init containers behind it to other places.
    add_to_readers(&mut patch, injection)?;
    if injection.state == InjectedState::New {
        let spec = &survey.pod.spec;
        if survey.hooks_alone {
            patch.set("/metadata/annotations", PLAN, &injection.plan)?;
        } else {
            let containers = containers::containers(survey, &config.agent, injection);
            patch.insert(
                "/spec/initContainers",
                List::of(&spec.init_containers),
                survey.init_position,
                &containers,
            )?;
        }
        let volumes = volumes::volumes(&injection.volumes, survey, &config.agent, injection.connection);
        patch.append("/spec/volumes", List::of(&spec.volumes), &volumes)?;
    }
    if let Some(theirs) = &request.vault_k8s {
        if theirs.shares_processes && survey.pod.spec.share_process_namespace.is_none() {
            patch.set("/spec", "shareProcessNamespace", &true)?;
        }
        // The injector of HashiCorp or OpenBao leaves a pod with this mark alone.
        for key in vault_k8s::marks_to_set(asked) {
            patch.set("/metadata/annotations", &key, &INJECTED_BY_OTHERS)?;
        }
    }
    let mark = match survey.env_delivery(request) {
        Some(delivery) => Cow::Owned(format!("{}; env-delivery={delivery}", crate::VERSION)),
        None => Cow::Borrowed(crate::VERSION),
    };
    if !annotations::says_injected(asked, &mark) {
        patch.set("/metadata/annotations", INJECTED, &mark)?;
    }
    Ok(patch)
}

fn add_to_readers(patch: &mut PodPatch, injection: &Injection<'_, '_>) -> Result<(), serde_json::Error> {
    for additions in &injection.additions {
        let reader = additions.reader;
        let place = format!("{}/{}", reader.list.pointer(), reader.index);
        patch.append(
            &format!("{place}/volumeMounts"),
            List::of(&reader.container.volume_mounts),
            &additions.mounts,
        )?;
        let (env, list) = (format!("{place}/env"), List::of(&reader.container.env));
        patch.insert(&env, list, 0, &additions.kubelet_env)?;
        let list = match additions.kubelet_env.is_empty() {
            true => list,
            false => List::Present,
        };
        patch.append(&env, list, &additions.env)?;
        patch.prepend(&format!("{place}/command"), additions.command.words())?;
    }
    Ok(())
}
