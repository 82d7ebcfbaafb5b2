//! A container of the pod: the fields that a decision depends on.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde::Deserialize;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::inject::pod::limits::{MOST_DEVICES, MOST_MOUNTS};
use crate::inject::pod::list::{BoundedList, ListItem};
use crate::inject::pod::text::Text;
use crate::inject::pod::variables::{Env, EnvVar, Variables};
use crate::inject::pod::volumes::{VolumeDevice, VolumeMount};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Container<'a> {
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
    /// Read by [`Container::variables`]: a pod may have thousands of variables.
    #[serde(borrow, default)]
    pub(crate) env: Option<Env<'a>>,
    /// Read by [`Container::has_env_from`].
    #[serde(borrow, default)]
    env_from: Option<&'a RawValue>,
    /// Read by [`Container::command`].
    #[serde(borrow, default)]
    command: Option<&'a RawValue>,
    /// Read by [`Container::args`].
    #[serde(borrow, default)]
    args: Option<&'a RawValue>,
    /// Where a command without a leading slash begins. Empty: the image decides.
    #[serde(borrow, default)]
    pub(crate) working_dir: Option<Text<'a>>,
    /// Parsed by `programs` only, as are the three probes.
    #[serde(borrow, default)]
    pub(super) lifecycle: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) liveness_probe: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) readiness_probe: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) startup_probe: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) volume_mounts: Option<BoundedList<VolumeMount<'a>, MOST_MOUNTS>>,
    #[serde(borrow, default)]
    pub(crate) volume_devices: Option<BoundedList<VolumeDevice<'a>, MOST_DEVICES>>,
    #[serde(default)]
    security_context: Option<SecurityContext>,
    #[serde(borrow, default)]
    pub(crate) resources: Option<Resources<'a>>,
    #[serde(borrow, default)]
    restart_policy: Option<Text<'a>>,
    /// Only whether there are any.
    #[serde(borrow, default)]
    restart_policy_rules: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecurityContext {
    #[serde(default)]
    run_as_user: Option<i64>,
    #[serde(default)]
    capabilities: Option<Capabilities>,
    #[serde(default)]
    read_only_root_filesystem: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Capabilities {
    #[serde(default)]
    drop: Option<DroppedCapabilities>,
}

/// The capabilities that a container gives up.
#[derive(Debug, Default)]
struct DroppedCapabilities {
    /// `DAC_OVERRIDE`, by which root reads files of other users.
    dac_override: bool,
}

/// CPU and memory of a container, or of all containers of the pod together.
#[derive(Debug, Deserialize)]
pub(crate) struct Resources<'a> {
    #[serde(borrow, default)]
    pub(crate) limits: Option<CpuAndMemory<'a>>,
    #[serde(borrow, default)]
    pub(crate) requests: Option<CpuAndMemory<'a>>,
}

/// The two resources that decide the quality of service. A JSON string or a JSON number, as the author wrote it.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct CpuAndMemory<'a> {
    #[serde(borrow, default)]
    pub(crate) cpu: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) memory: Option<&'a RawValue>,
}

impl<'a> Container<'a> {
    /// Whether the container has variables whose names the pod does not show (`envFrom`).
    pub(crate) fn has_env_from(&self) -> bool {
        let sources = self
            .env_from
            .map(|raw| serde_json::from_str::<Vec<IgnoredAny>>(raw.get()));
        sources.is_some_and(|sources| sources.is_ok_and(|sources| !sources.is_empty()))
    }

    /// The environment variables that are `wanted`. An entry that cannot be parsed is passed over: the API server will refuse
    /// the pod.
    pub(crate) fn variables(&self, wanted: impl Fn(&EnvVar<'a>) -> bool) -> Variables<'a> {
        self.env
            .as_ref()
            .map_or_else(Variables::new, |env| env.variables(wanted))
    }

    /// The first entry of `env` that is `wanted`, even if a later entry has the same name: a `$(NAME)` between the two refers to the
    /// earlier.
    pub(crate) fn first_variable(&self, wanted: impl Fn(&EnvVar<'a>) -> bool) -> Option<EnvVar<'a>> {
        let first = RefCell::new(None);
        self.variables(|var| {
            if first.borrow().is_none() && wanted(var) {
                first.replace(Some(var.clone()));
            }
            false
        });
        first.into_inner()
    }

    /// The words of the command. Empty if the image decides, or if the API server will refuse the command.
    pub(crate) fn command(&self) -> Vec<Text<'a>> {
        texts(self.command)
    }

    /// The arguments. Empty if there are none, or if the API server will refuse them.
    pub(crate) fn args(&self) -> Vec<Text<'a>> {
        texts(self.args)
    }

    /// Whether there may be a `$(NAME)` in the command, the arguments or the variables. Does not parse them: they may be long.
    pub(crate) fn has_references(&self) -> bool {
        let env = self.env.as_ref().map(Env::json);
        let texts = [env, self.command, self.args];
        texts.into_iter().flatten().any(|text| text.get().contains("$("))
    }

    /// The bytes of JSON that say what the container runs.
    pub(super) fn command_bytes(&self) -> usize {
        let texts = [
            self.command,
            self.args,
            self.lifecycle,
            self.liveness_probe,
            self.readiness_probe,
            self.startup_probe,
        ];
        texts.into_iter().flatten().map(|text| text.get().len()).sum()
    }

    /// Whether an init container keeps running beside the other containers.
    pub(crate) fn is_native_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }

    /// When the kubelet starts the container again. None: as the pod's `restartPolicy` says.
    pub(crate) fn restart_policy(&self) -> Option<&str> {
        self.restart_policy.as_deref().filter(|policy| !policy.is_empty())
    }

    /// Whether the end of the container may do more than `restartPolicy` says.
    pub(crate) fn has_restart_rules(&self) -> bool {
        self.restart_policy_rules
            .is_some_and(|rules| !matches!(rules.get(), "null" | "[]"))
    }

    /// The user that the container itself declares.
    pub(crate) fn run_as_user(&self) -> Option<i64> {
        self.security_context.as_ref()?.run_as_user
    }

    /// Whether nothing in the container can be written but mounted volumes.
    pub(crate) fn has_read_only_root(&self) -> bool {
        let context = self.security_context.as_ref();
        context.is_some_and(|context| context.read_only_root_filesystem == Some(true))
    }

    /// Whether the container gives up `DAC_OVERRIDE`: its root then reads no files of other users.
    pub(crate) fn drops_dac_override(&self) -> bool {
        let context = self.security_context.as_ref();
        let capabilities = context.and_then(|context| context.capabilities.as_ref());
        let dropped = capabilities.and_then(|capabilities| capabilities.drop.as_ref());
        dropped.is_some_and(|dropped| dropped.dac_override)
    }
}

fn texts<'a>(list: Option<&'a RawValue>) -> Vec<Text<'a>> {
    list.and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default()
}

impl ListItem for Container<'_> {
    fn inner_items(&self) -> usize {
        self.volume_mounts.as_deref().map_or(0, <[_]>::len) + self.volume_devices.as_deref().map_or(0, <[_]>::len)
    }
}

impl<'de> Deserialize<'de> for DroppedCapabilities {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DroppedVisitor;
        impl<'de> Visitor<'de> for DroppedVisitor {
            type Value = DroppedCapabilities;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of capabilities")
            }
            fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<DroppedCapabilities, S::Error> {
                let mut dropped = DroppedCapabilities::default();
                while let Some(Text(name)) = items.next_element()? {
                    let bare = name.get(..4).filter(|start| start.eq_ignore_ascii_case("CAP_"));
                    let bare = bare.map_or(&*name, |_| &name[4..]);
                    dropped.dac_override |=
                        name.eq_ignore_ascii_case("ALL") || bare.eq_ignore_ascii_case("DAC_OVERRIDE");
                }
                Ok(dropped)
            }
        }
        deserializer.deserialize_seq(DroppedVisitor)
    }
}
