//! The survey: every fact of the pod that several checks need, computed once for the pod and its request. A check gets the survey by
//! reference. The survey reports no problems: a fact such as "a named container is missing" is a value here, and a check puts it
//! into words.

mod hooks_alone;
pub(crate) mod qos;
pub(crate) mod readers;
mod variables;

use std::collections::BTreeSet;

pub(crate) use variables::{VariableSetter, VariableSetters};

use crate::inject::config::{AgentConfig, Config};
use crate::inject::pod::runner::RUNNER;
use crate::inject::pod::{Container, Pod};
use crate::inject::request::vault_k8s::asked::RunAs;
use crate::inject::request::{EnvDelivery, Freshness, InjectionRequest};
use crate::inject::survey::qos::OwnResources;
use crate::inject::survey::readers::{ReaderUser, Readers, init_position};
use crate::inject::words::names;
use crate::plan::{Binary, MAX_PLAN_BYTES, Mode, OnFailure, PLAN_ENV};

/// The facts of one pod.
#[derive(Debug)]
pub(crate) struct Survey<'s> {
    pub(crate) pod: &'s Pod<'s>,
    pub(crate) readers: Readers<'s>,
    pub(crate) reader_user: ReaderUser,
    /// The user of podkey's containers. None: the cluster chooses one user for all containers of the pod.
    pub(crate) run_as_user: Option<i64>,
    /// The mode of a file for which the author named no mode.
    pub(crate) default_mode: Mode,
    pub(crate) job_hooks: JobHooks<'s>,
    /// How the agent comes to the containers that use it.
    pub(crate) binary: Binary,
    /// The pod needs no `podkey-init`, because the job hooks can do all the work.
    pub(crate) hooks_alone: bool,
    /// The pod's use of the agent; the use of one container is [`Survey::agent_use_of`].
    pub(crate) agent_use: AgentUse,
    /// What sets variables in the containers. None: nothing does.
    variable_setters: Option<VariableSetters<'s>>,
    /// What fails if the secrets cannot be read.
    pub(crate) on_failure: OnFailure,
    /// The volumes that no container can write to.
    pub(crate) read_only_volumes: BTreeSet<&'s str>,
    /// The container of podkey's first visit.
    pub(crate) podkey_init: Option<PresentInit<'s>>,
    /// The plan of podkey's first visit, if the pod needed no container.
    pub(crate) present_plan: Option<&'s str>,
    /// Where `podkey-init` goes among the init containers, and the sidecar right behind it.
    pub(crate) init_position: usize,
    pub(crate) own_resources: OwnResources,
    pub(crate) freshness: Freshness,
}

/// The container `podkey-init` that the pod has already.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PresentInit<'s> {
    /// The place among the init containers.
    pub(crate) index: usize,
    pub(crate) container: &'s Container<'s>,
}

impl PresentInit<'_> {
    /// The text of the plan that the container carries. None: there is no such text, or it is too long for a plan of podkey's.
    pub(crate) fn plan_text(self) -> Option<String> {
        plan_text(self.container)
    }
}

/// The text of the plan that a container of podkey's carries. None: there is no such text, or it is too long for a plan of podkey's.
pub(crate) fn plan_text(container: &Container<'_>) -> Option<String> {
    let env = container.variables(|var| var.name == PLAN_ENV);
    let text = env.get(PLAN_ENV)?.value.as_deref()?;
    (text.len() <= MAX_PLAN_BYTES).then(|| text.to_owned())
}

/// The runner's job hooks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum JobHooks<'s> {
    Off,
    /// The pod should have job hooks, but has no container named `runner`.
    NoRunner,
    /// This container calls the hooks.
    On(&'s Container<'s>),
}

/// How a pod, or one of its containers, uses the agent that lies in the volume `podkey-bin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AgentUse {
    /// Not at all. A pod without any use does not get the volume.
    None,
    /// The runner calls the agent as its job hooks.
    JobHooks,
    /// The agent starts the containers' commands, with variables set.
    Exec,
}

/// What an author's container may do with the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileAccess {
    Read,
    /// The job hooks empty the files after the job.
    Write,
}

impl<'s> Survey<'s> {
    /// The mode of the file that holds the client token.
    pub(crate) fn token_mode(&self) -> Mode {
        self.reader_user.token_mode(self.pod, self.run_as_user)
    }

    pub(crate) fn of(pod: &'s Pod<'s>, request: &'s InjectionRequest, config: &Config) -> Self {
        let readers = Readers::of(pod, request);
        let reader_user = ReaderUser::of(pod, &readers.found);
        let job_hooks = JobHooks::of(pod, request);
        let volumes = pod.volumes().iter();
        let present = |(index, container)| PresentInit { index, container };
        let mut init_containers = pod.init_containers().iter().enumerate();
        let podkey_init = init_containers
            .find(|(_, container)| container.name == names::INIT_CONTAINER)
            .map(present);
        let version = config.kubernetes_version;
        let variable_setters = VariableSetters::of(pod, request, job_hooks.are_on(), podkey_init, version);
        let agent_use = AgentUse::of(job_hooks, variable_setters.as_ref(), &readers);
        let binary = match agent_use {
            AgentUse::None => Binary::Copy,
            AgentUse::JobHooks | AgentUse::Exec => config.agent.binary,
        };
        Self {
            pod,
            binary,
            hooks_alone: binary == Binary::ImageVolume
                && podkey_init.is_none()
                && hooks_alone::are_enough(pod, request, &readers, reader_user, job_hooks),
            present_plan: pod.plan_annotation(),
            reader_user,
            run_as_user: run_as_user(pod, request, reader_user, &config.agent),
            default_mode: reader_user.default_mode(pod),
            agent_use,
            variable_setters,
            on_failure: request.on_failure.unwrap_or_else(|| match job_hooks.are_on() {
                true => OnFailure::FailJob,
                false => OnFailure::FailPod,
            }),
            read_only_volumes: volumes
                .filter(|volume| volume.is_read_only())
                .map(|volume| &*volume.name)
                .collect(),
            podkey_init,
            init_position: init_position(pod),
            own_resources: OwnResources::of(pod),
            freshness: request.freshness(),
            job_hooks,
            readers,
        }
    }

    /// Whether podkey has been here before.
    pub(crate) fn has_podkeys_parts(&self) -> bool {
        self.podkey_init.is_some() || self.present_plan.is_some()
    }

    /// Whether the pod runs jobs, or is to call job hooks.
    pub(crate) fn has_runner(&self) -> bool {
        self.pod.is_runner() || self.job_hooks.are_on()
    }

    /// Whether this container calls the job hooks.
    pub(crate) fn calls_job_hooks(&self, container: &Container<'_>) -> bool {
        self.job_hooks
            .runner()
            .is_some_and(|runner| std::ptr::eq(runner, container))
    }

    /// How the container uses the agent.
    pub(crate) fn agent_use_of(&self, container: &Container<'_>) -> AgentUse {
        match self.agent_use {
            AgentUse::JobHooks if !self.calls_job_hooks(container) => AgentUse::None,
            AgentUse::Exec if self.variable_setter_of(container) != Some(VariableSetter::Agent) => AgentUse::None,
            agent_use => agent_use,
        }
    }

    /// What sets the variables of `podkey.dev/env` in the container. None: nothing does.
    pub(crate) fn variable_setter_of(&self, container: &Container<'_>) -> Option<VariableSetter> {
        self.variable_setters.as_ref()?.in_container(container)
    }

    /// Whether the kubelet sets variables in any reader.
    pub(crate) fn kubelet_sets_variables(&self) -> bool {
        let mut readers = self.readers.found.iter();
        readers.any(|reader| self.variable_setter_of(reader.container) == Some(VariableSetter::Kubelet))
    }

    /// How the variables of `podkey.dev/env` reach the containers, for people. None: no variable does.
    pub(crate) fn env_delivery(&self, request: &InjectionRequest) -> Option<&'static str> {
        match (self.agent_use, self.kubelet_sets_variables()) {
            (AgentUse::Exec, true) => Some("exec,kubelet"),
            (AgentUse::Exec, false) => Some(EnvDelivery::Exec.word()),
            (_, true) => Some(EnvDelivery::Kubelet.word()),
            (AgentUse::JobHooks, false) if !request.env.is_empty() && request.exports() => {
                Some(EnvDelivery::Hooks.word())
            }
            (AgentUse::JobHooks | AgentUse::None, false) => None,
        }
    }

    /// Whether containers, or the job hooks, read the values of variables as files.
    pub(crate) fn variables_are_files(&self) -> bool {
        self.agent_use == AgentUse::Exec || !self.kubelet_sets_variables()
    }

    /// What the container may do with the files. If the sidecar refreshes the files, only the sidecar writes.
    pub(crate) fn access_of(&self, container: &Container<'_>) -> FileAccess {
        match self.freshness {
            Freshness::WrittenOnce if self.calls_job_hooks(container) => FileAccess::Write,
            Freshness::WrittenOnce | Freshness::Refreshed => FileAccess::Read,
        }
    }

    /// The user that the job hooks run as. None: the hooks are off, or cannot do their work. `check::hooks` reports why.
    pub(crate) fn hook_user(&self) -> Option<u32> {
        let runner = self.job_hooks.runner()?;
        match self.readers.contain(runner) {
            true => self.reader_user.for_job_hooks(),
            false => None,
        }
    }
}

impl<'s> JobHooks<'s> {
    fn of(pod: &'s Pod<'s>, request: &InjectionRequest) -> Self {
        if !request.job_hooks.given().unwrap_or_else(|| pod.is_runner()) {
            return Self::Off;
        }
        let mut containers = pod.spec.containers.iter();
        match containers.find(|container| container.name == RUNNER) {
            Some(runner) => Self::On(runner),
            None => Self::NoRunner,
        }
    }

    /// Whether the pod should have job hooks.
    pub(crate) fn are_on(self) -> bool {
        !matches!(self, Self::Off)
    }

    /// The container that calls the hooks.
    pub(crate) fn runner(self) -> Option<&'s Container<'s>> {
        match self {
            Self::On(runner) => Some(runner),
            Self::Off | Self::NoRunner => None,
        }
    }
}

impl AgentUse {
    fn of(job_hooks: JobHooks<'_>, variable_setters: Option<&VariableSetters<'_>>, readers: &Readers<'_>) -> Self {
        match (job_hooks, variable_setters) {
            (JobHooks::On(_), _) => Self::JobHooks,
            (JobHooks::Off, Some(setters)) => {
                let mut readers = readers.found.iter();
                match readers.any(|reader| setters.in_container(reader.container) == Some(VariableSetter::Agent)) {
                    true => Self::Exec,
                    false => Self::None,
                }
            }
            (JobHooks::Off | JobHooks::NoRunner, _) => Self::None,
        }
    }
}

/// The user of podkey's containers. An annotation of vault-k8s may name one.
fn run_as_user(pod: &Pod<'_>, request: &InjectionRequest, reader: ReaderUser, agent: &AgentConfig) -> Option<i64> {
    let named = match request.vault_k8s.as_ref().map(|theirs| theirs.run_as) {
        None | Some(RunAs::Podkeys) => None,
        Some(RunAs::User(user)) => Some(user),
        Some(RunAs::FirstContainers) => pod.first_user(),
    };
    named.or_else(|| reader.run_as(agent.run_as_user))
}
