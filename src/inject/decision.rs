//! The decision about a pod: its steps, from the pod to the patch.

use crate::inject::check;
use crate::inject::config::Config;
use crate::inject::parts::plan::WholeRequest;
use crate::inject::patch::{self, PodPatch};
use crate::inject::pod::{Annotations, Pod, size};
use crate::inject::problem::{Problems, Warnings};
use crate::inject::request::annotations;
use crate::inject::survey::Survey;

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

/// Decides about a pod. `namespace` is the request's: a pod that is about to be created may not name its own.
pub fn decide(pod: &Pod<'_>, namespace: &str, config: &Config) -> Decision {
    let asked = match asked(pod) {
        Ok(asked) => asked,
        Err(warnings) => return Decision::Ignore(warnings),
    };
    let mut problems = Problems::default();
    // To compare all lists of such a pod with each other would take seconds.
    if let Some((place, why)) = size::exceeded(pod) {
        problems.push(place, why);
        return Decision::Deny(problems);
    }
    let request = annotations::parse(asked, &mut problems);
    let whole = WholeRequest::of(&request, &problems);
    let survey = Survey::of(pod, &request, &config.agent);
    let Some(injection) = check::check(&survey, &request, whole, namespace, config, &mut problems) else {
        return Decision::Deny(problems);
    };
    match patch::build(&survey, &injection, config, asked) {
        Ok(patch) => Decision::Inject(patch, injection.warnings),
        // Nothing that podkey serialises can fail. If it ever does, the pod must not start without its secrets.
        Err(error) => {
            problems.push_for_operator("podkey", format!("cannot write the patch: {error}"));
            Decision::Deny(problems)
        }
    }
}

/// The annotations of a pod that asks for secrets. The error: the pod is left alone, with these warnings.
fn asked<'p, 'a>(pod: &'p Pod<'a>) -> Result<&'p Annotations<'a>, Warnings> {
    let asked = pod.metadata.annotations.as_ref();
    let asked = asked
        .filter(|asked| annotations::asks(asked))
        .ok_or_else(Warnings::new)?;
    match asked.is_mirror {
        true => Err(vec![
            "podkey leaves mirror pods alone: a static pod gets no secrets".to_owned(),
        ]),
        false => Ok(asked),
    }
}
