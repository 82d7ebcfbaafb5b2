//! A pod that has podkey's parts already: the API server calls again after other webhooks (`reinvocationPolicy`), or somebody copied
//! the parts into a template.

use crate::inject::config::ConnectionConfig;
use crate::inject::parts::plan::PodPlan;
use crate::inject::parts::volumes;
use crate::inject::problem::Problems;
use crate::inject::request::Freshness;
use crate::inject::request::InjectionRequest;
use crate::inject::survey::{self, PresentInit, Survey};
use crate::inject::words::keys::PLAN;
use crate::inject::words::names::{CONTAINERS, INIT_CONTAINER, SIDECAR};
use crate::plan::{MAX_PLAN_BYTES, Mode, Plan};

/// Whether the pod has podkey's parts already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InjectedState {
    New,
    Injected,
    /// Injected, but another webhook has changed who reads the files since then: the modes of the files fit the former readers.
    OtherReaders,
}

/// A pod is injected if it has `podkey-init`, or the annotation of a pod without `podkey-init`, with the plan that podkey would make,
/// and podkey's volumes. Other webhooks may change
/// image, resources, variables and mounts of `podkey-init`.
pub(super) fn check(
    survey: &Survey<'_>,
    request: &InjectionRequest,
    plan: &PodPlan<'_>,
    connection: &ConnectionConfig,
    problems: &mut Problems,
) -> InjectedState {
    let (text, place, part) = match (survey.podkey_init, survey.present_plan) {
        (None, None) => return InjectedState::New,
        // `check::hooks` has reported why, and no plan without job hooks is for a pod without `podkey-init`.
        (None, Some(_)) if job_hooks_are_useless(survey) => return InjectedState::Injected,
        (Some(init), _) => (init.plan_text(), "spec.initContainers", INIT_CONTAINER),
        // Without `podkey-init` nothing but job hooks would carry out a plan.
        (None, Some(text)) => {
            let is_possible = plan.hooks_alone && text.len() <= MAX_PLAN_BYTES;
            (is_possible.then(|| text.to_owned()), "metadata.annotations", PLAN)
        }
    };
    let is_sidecar = survey
        .podkey_init
        .is_some_and(|init| init.container.is_native_sidecar());
    let mut present = text.and_then(|text| Plan::parse(&text).ok());
    if let Some(present) = present.as_mut().filter(|_| job_hooks_are_useless(survey)) {
        present.job = None;
    }
    let modes = present.and_then(|present| present_modes(present, request, plan, connection));
    let Some(present_modes) = modes.filter(|_| !is_sidecar) else {
        problems.push(
            place,
            format!(
                "{part} is there, but with another plan than these annotations make: {}",
                remove(&[part])
            ),
        );
        return InjectedState::Injected;
    };
    if let (Freshness::Refreshed, Some(init)) = (survey.freshness, survey.podkey_init) {
        check_sidecar(survey, init, request.restarts(), problems);
    }
    check_volumes(survey, plan, connection, problems);
    match modes_of(plan).eq(present_modes) {
        true => InjectedState::Injected,
        false => InjectedState::OtherReaders,
    }
}

/// Whether the pod should have job hooks that cannot do their work. `check::hooks` reports why, and the plan has no job. The plan of
/// podkey's first visit has one, if another webhook has added a container since then that the hooks cannot clear.
fn job_hooks_are_useless(survey: &Survey<'_>) -> bool {
    survey.job_hooks.are_on() && survey.hook_user().is_none()
}

fn check_volumes(survey: &Survey<'_>, plan: &PodPlan<'_>, connection: &ConnectionConfig, problems: &mut Problems) {
    // Job hooks that cannot do their work are not in the plan, and `check::hooks` has reported them.
    let part = match survey.podkey_init {
        Some(_) => INIT_CONTAINER,
        None => PLAN,
    };
    for name in volumes::needed(plan) {
        let mut present = survey.pod.volumes().iter();
        match present.find(|volume| volume.name == name) {
            Some(volume) if volumes::is_ours(volume, survey.binary, connection.audience.as_deref()) => {}
            Some(_) => problems.push(
                "spec.volumes",
                format!(
                    "{name} is another volume than podkey makes: {}, and the volume",
                    remove(&[part])
                ),
            ),
            None => problems.push(
                "spec.volumes",
                format!("{part} is there, but not its volume {name}: {}", remove(&[part])),
            ),
        }
    }
}

/// The sidecar must be behind `podkey-init` (another webhook may have put its own container between them) and have the same plan. If
/// it restarts the containers, it must have the kubelet's rule for that.
fn check_sidecar(survey: &Survey<'_>, init: PresentInit<'_>, restarts: bool, problems: &mut Problems) {
    let mut containers = survey.pod.init_containers().iter().enumerate();
    let why = match containers.find(|(_, container)| container.name == SIDECAR) {
        None => format!(
            "{INIT_CONTAINER} is there, but not {SIDECAR}: {}",
            remove(&[INIT_CONTAINER])
        ),
        Some((index, _)) if index < init.index => {
            format!(
                "{SIDECAR} is before {INIT_CONTAINER}, from which it takes its token: {}",
                remove(&CONTAINERS)
            )
        }
        Some((_, sidecar)) if !sidecar.is_native_sidecar() => format!(
            "{SIDECAR} has no restartPolicy: Always, so the pod would never start: see whether another webhook drops that \
             field, or {}",
            remove(&CONTAINERS)
        ),
        Some((_, sidecar)) if restarts && !sidecar.has_restart_rules() => format!(
            "{SIDECAR} has no restartPolicyRules, so a change would not restart the containers: see whether another webhook drops \
             that field, or {}",
            remove(&CONTAINERS)
        ),
        Some((_, sidecar)) if survey::plan_text(sidecar) != init.plan_text() => {
            format!(
                "{SIDECAR} is there, but with another plan than {INIT_CONTAINER} has: {}",
                remove(&CONTAINERS)
            )
        }
        Some(_) => return,
    };
    problems.push("spec.initContainers", why);
}

/// What the author should do about containers that are not as podkey would make them.
fn remove(containers: &[&str]) -> String {
    format!("remove {} from the template", containers.join(" and "))
}

/// The modes in `present`, the plan that the pod carries. None: the pod carries another plan. A mode that the author left to podkey
/// may be the mode of podkey's first visit: since then another webhook may have added a container with another user.
fn present_modes(
    mut present: Plan,
    request: &InjectionRequest,
    plan: &PodPlan<'_>,
    connection: &ConnectionConfig,
) -> Option<Vec<Mode>> {
    let modes = modes_of(&present).collect();
    let job_files = present.job.iter_mut().flat_map(|job| &mut job.files);
    let theirs = present.files.iter_mut().map(|file| &mut file.mode);
    let theirs = theirs
        .chain(job_files.map(|file| &mut file.mode))
        .chain([&mut present.env_mode]);
    let chosen = request.files.iter().map(|file| file.mode).chain([None]);
    for ((theirs, ours), chosen) in theirs.zip(modes_of(plan)).zip(chosen) {
        if chosen.is_none() && [Mode::OWNER, Mode::GROUP, Mode::ALL].contains(theirs) {
            *theirs = ours;
        }
    }
    let is_same = present.files == plan.files
        && present.env == plan.env
        && present.env_mode == plan.env_mode
        && present.exec == plan.exec
        && present.binary == plan.binary
        && present.hooks_alone == plan.hooks_alone
        && present.kubelet_env == plan.kubelet_env
        && present.job == plan.job
        && present.refresh == plan.refresh
        && present.connection == connection.server
        && present.login == plan.login
        && present.budget == plan.budget
        && present.mount_lookup == plan.mount_lookup
        && present.ignore_not_found == plan.ignore_not_found;
    is_same.then_some(modes)
}

/// The modes of the files that `podkey-init` delivers, then of the job's files (the order of the request's files), then of the
/// variables.
fn modes_of<C>(plan: &Plan<C>) -> impl Iterator<Item = Mode> {
    let job = plan.job.iter().flat_map(|job| &job.files);
    let files = plan.files.iter().map(|file| file.mode).chain(job.map(|file| file.mode));
    files.chain([plan.env_mode])
}
