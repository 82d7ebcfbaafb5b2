//! What a reader still lacks: mounts of podkey's volumes, variables, and the agent in front of the command.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Serialize;

use crate::inject::parts::mounts::{self, AddedMount};
use crate::inject::pod::runner::{JOB_COMPLETED_HOOK, JOB_STARTED_HOOK};
use crate::inject::pod::{Container, EnvVar, FileKey, FileKeySource, Text, Variables};
use crate::inject::request::InjectionRequest;
use crate::inject::survey::readers::Reader;
use crate::inject::survey::{AgentUse, Survey, VariableSetter};
use crate::inject::words::names::ENV_VOLUME;
use crate::plan::{
    EXEC, JOB_COMPLETED, JOB_STARTED, KUBELET_ENV_FILE, NEXT_JOB_COMPLETED_ENV, NEXT_JOB_STARTED_ENV, SECRETS_DIR,
    Select,
};

/// The parts that one reader still lacks.
#[derive(Debug)]
pub(crate) struct Additions<'s> {
    pub(crate) reader: Reader<'s>,
    pub(crate) mounts: Vec<AddedMount<'s>>,
    pub(crate) env: Vec<AddedVariable<'s>>,
    /// Variables that the kubelet sets. They go before the author's, which can then refer to them.
    pub(crate) kubelet_env: Vec<KubeletVariable<'s>>,
    pub(crate) command: CommandStart,
}

/// A variable, as the patch has it.
#[derive(Debug, Serialize)]
pub(crate) struct AddedVariable<'s> {
    pub(crate) name: &'s str,
    pub(crate) value: Cow<'s, str>,
}

/// A variable that the kubelet sets, as the patch has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KubeletVariable<'s> {
    pub(crate) name: &'s str,
    value_from: FileKeySource<'s>,
}

impl<'s> KubeletVariable<'s> {
    fn of(name: &'s str, request: &InjectionRequest) -> Self {
        Self {
            name,
            value_from: FileKeySource {
                file_key_ref: FileKey {
                    key: name.into(),
                    // The kubelet does not start a container without the variable. Where a secret may be missing, so may its variables.
                    optional: request.ignore_not_found,
                    path: KUBELET_ENV_FILE.into(),
                    volume_name: ENV_VOLUME.into(),
                },
            },
        }
    }

    /// Whether the value of an entry of the pod is from where the kubelet takes this variable.
    pub(crate) fn is_entry(&self, entry: &EnvVar<'_>) -> bool {
        entry
            .file_key()
            .is_some_and(|file| file == self.value_from.file_key_ref)
    }

    /// Whether a container has this variable.
    pub(crate) fn is_in(&self, variables: &Variables<'_>) -> bool {
        variables.get(self.name).is_some_and(|present| self.is_entry(present))
    }
}

/// The variables that the kubelet sets in a container, if it sets any there.
pub(crate) fn kubelet_variables<'s>(
    survey: &Survey<'_>,
    request: &'s InjectionRequest,
    container: &Container<'_>,
) -> Vec<KubeletVariable<'s>> {
    if survey.variable_setter_of(container) != Some(VariableSetter::Kubelet) {
        return Vec::new();
    }
    let names = request.env.iter().filter_map(|env| match &env.select {
        Select::Value { name, .. } => Some(name.as_str()),
        // `check::env_delivery` refuses the pod.
        Select::UpperCase { .. } | Select::KeepCase { .. } => None,
    });
    names.map(|name| KubeletVariable::of(name, request)).collect()
}

impl<'s> Additions<'s> {
    /// The parts that the `reader` lacks. `file_mounts` are the mounts of all files, `variables` the reader's
    /// [`relevant_variables`]. `check::additions` refuses a pod with a container that is in conflict with a part.
    pub(crate) fn of(
        survey: &Survey<'s>,
        request: &'s InjectionRequest,
        file_mounts: &[AddedMount<'s>],
        reader: Reader<'s>,
        variables: &Variables<'_>,
    ) -> Self {
        let container = reader.container;
        let agent_use = survey.agent_use_of(container);
        let access = survey.access_of(container);
        let setter = survey.variable_setter_of(container);
        let reads_directory = setter != Some(VariableSetter::Kubelet) || mounts::has_relative_files(request);
        let file_mounts = file_mounts.iter().filter(|mount| {
            let is_needed = mount.path != SECRETS_DIR || reads_directory;
            is_needed && !mount.is_in(container, access)
        });
        let file_mounts = file_mounts.map(|mount| AddedMount {
            access,
            ..mount.clone()
        });
        let uses_agent = agent_use != AgentUse::None;
        let agent_mounts = mounts::of_agent(survey.binary, survey.hooks_alone).filter(|_| uses_agent);
        let agent_mounts = agent_mounts.filter(|mount| !mount.is_in(container, mount.access));
        let files = request.files.iter();
        let paths = files.filter_map(|file| {
            let name = file.env.as_deref()?;
            (!variables.contains_key(name)).then(|| AddedVariable {
                name,
                value: file.file.path(),
            })
        });
        let hooks = (agent_use == AgentUse::JobHooks).then(|| hook_variables(container, variables));
        Self {
            reader,
            mounts: file_mounts.chain(agent_mounts).collect(),
            env: paths.chain(hooks.into_iter().flatten()).collect(),
            kubelet_env: kubelet_variables(survey, request, container)
                .into_iter()
                .filter(|variable| !variable.is_in(variables))
                .collect(),
            command: match agent_use {
                AgentUse::Exec => CommandStart::of(container),
                AgentUse::None | AgentUse::JobHooks => CommandStart::Unchanged,
            },
        }
    }

    /// About how many bytes the parts add to the patch.
    pub(crate) fn bytes(&self) -> usize {
        /// The operation and the names of the fields.
        const FRAME: usize = 160;
        let mounts = self.mounts.iter().map(|mount| mount.path.len() + FRAME);
        let env = self.env.iter().map(|var| var.name.len() + var.value.len() + FRAME);
        let kubelet = self.kubelet_env.iter().map(|var| 2 * var.name.len() + FRAME);
        let command = self.command.words().iter().map(|word| word.len() + FRAME);
        mounts.chain(env).chain(kubelet).chain(command).sum()
    }
}

/// The variables of the reader that podkey's variables are compared with.
pub(crate) fn relevant_variables<'s>(
    survey: &Survey<'_>,
    request: &InjectionRequest,
    reader: Reader<'s>,
) -> Variables<'s> {
    let agent_use = survey.agent_use_of(reader.container);
    let sets_variables = survey.variable_setter_of(reader.container).is_some();
    let paths = request.files.iter().filter_map(|file| file.env.as_deref());
    let exported = request.env.iter().filter_map(|env| match &env.select {
        Select::Value { name, .. } if sets_variables => Some(name.as_str()),
        _ => None,
    });
    let hooks = HOOK_VARIABLES.iter().map(|hook| hook.name);
    let hooks = hooks.filter(|_| agent_use == AgentUse::JobHooks);
    let relevant: BTreeSet<&str> = paths.chain(exported).chain(hooks).collect();
    match relevant.is_empty() {
        true => Variables::new(),
        false => reader.container.variables(|var| relevant.contains(&*var.name)),
    }
}

/// A variable that makes the runner call one of podkey's job hooks.
struct HookVariable {
    name: &'static str,
    value: &'static str,
    /// The variable that passes the author's own hook on to podkey's hook, which runs it. Kubernetes expands a reference from the
    /// entries before.
    next: &'static str,
}

const HOOK_VARIABLES: [HookVariable; 2] = [
    HookVariable {
        name: JOB_STARTED_HOOK,
        value: JOB_STARTED,
        next: NEXT_JOB_STARTED_ENV,
    },
    HookVariable {
        name: JOB_COMPLETED_HOOK,
        value: JOB_COMPLETED,
        next: NEXT_JOB_COMPLETED_ENV,
    },
];

/// The hook variables that the container lacks.
fn hook_variables<'s>(container: &Container<'_>, variables: &Variables<'_>) -> impl Iterator<Item = AddedVariable<'s>> {
    HOOK_VARIABLES.iter().flat_map(|hook| {
        let present = variables.get(hook.name);
        let is_called = present.is_some_and(|var| var.is_exactly(hook.value));
        // A ConfigMap of `envFrom` may set the author's hook. If it does not, the reference stays as it is written.
        let may_have_own = !is_called && (present.is_some() || container.has_env_from());
        let next = may_have_own.then(|| AddedVariable {
            name: hook.next,
            value: format!("$({})", hook.name).into(),
        });
        let called = (!is_called).then_some(AddedVariable {
            name: hook.name,
            value: Cow::Borrowed(hook.value),
        });
        next.into_iter().chain(called)
    })
}

/// What happens to the start of a container's command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandStart {
    /// The container does not need the agent in front of its command, or has it there.
    Unchanged,
    /// The agent goes in front of the command.
    Agent,
    /// The container needs the agent in front of its command, but the image alone knows the command.
    Unknown,
}

impl CommandStart {
    fn of(container: &Container<'_>) -> Self {
        let command = container.command();
        // Another webhook may have put its own program in front of podkey's, and podkey's words into the arguments.
        let has_agent = |words: &[Text<'_>]| {
            let mut windows = words.windows(EXEC.len());
            windows.any(|words| words.iter().map(|word| &**word).eq(EXEC))
        };
        if command.is_empty() {
            Self::Unknown
        } else if has_agent(&command) || has_agent(&container.args()) {
            Self::Unchanged
        } else {
            Self::Agent
        }
    }

    /// The words that go in front of the command.
    pub(crate) fn words(self) -> &'static [&'static str] {
        match self {
            Self::Agent => &EXEC,
            Self::Unchanged | Self::Unknown => &[],
        }
    }
}
