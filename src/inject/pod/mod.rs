//! A borrowed view of the few fields of a pod that a decision depends on. All else in the pod is passed over without
//! being parsed, copied or judged: fields newer than this program are no reason to refuse a pod, and stay as they are.

pub(crate) mod exceeds;
pub(crate) mod items;
pub(crate) mod order;
pub(crate) mod qos;
pub(crate) mod readers;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::inject::pod::items::{Holds, Items, MOST_CONTAINERS, MOST_DEVICES, MOST_MOUNTS, MOST_VOLUMES};
use crate::inject::request::keys::PREFIX;

/// The container of a runner pod that runs the jobs, as ARC names it.
pub(crate) const RUNNER: &str = "runner";

/// There are fewer keys than this; who writes more has made a mistake with each, or wants to keep us busy.
const MAX_ANNOTATIONS: usize = 32;

/// A pod, as far as we look at it.
#[derive(Debug, Deserialize)]
pub struct Pod<'a> {
    /// Labels and annotations.
    #[serde(borrow, default)]
    pub metadata: Metadata<'a>,
    /// Containers, volumes and what else bears on them.
    #[serde(borrow)]
    pub spec: Spec<'a>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Metadata<'a> {
    /// Empty where the API server will make the name from `generate_name`.
    #[serde(borrow, default)]
    pub name: Option<Text<'a>>,
    #[serde(borrow, default, rename = "generateName")]
    pub generate_name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub annotations: Option<Annotations<'a>>,
    #[serde(default)]
    pub labels: Option<Labels>,
    /// Parsed only for a pod that is refused.
    #[serde(borrow, default, rename = "ownerReferences")]
    pub owner_references: Option<&'a RawValue>,
}

/// Our annotations, and the one that marks a mirror pod.
#[derive(Debug, Default)]
pub struct Annotations<'a> {
    /// Without [`PREFIX`], in the pod's order; of two with one key the last, as the API server reads it.
    pub ours: Vec<(Cow<'a, str>, Result<Text<'a>, NoText>)>,
    /// There are more of ours than any request has; those are not looked at.
    pub too_many: bool,
    /// `kubernetes.io/config.mirror`: the API server's image of a static pod, which no patch reaches.
    pub is_mirror: bool,
}

/// What an annotation's value is instead of text. No API server lets that through, but a manifest on disk may have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoText {
    /// `key:` with nothing behind it.
    Null,
    /// Such as `true` without quotes.
    Scalar,
    /// A list, as of files without the `|` in front.
    List,
    /// A set of fields.
    Map,
}

impl NoText {
    fn of(raw: &RawValue) -> Self {
        match raw.get().as_bytes().first() {
            Some(b'[') => Self::List,
            Some(b'{') => Self::Map,
            Some(b'n') => Self::Null,
            _ => Self::Scalar,
        }
    }
}

/// The two labels that tell ARC's pods.
#[derive(Debug, Default)]
pub struct Labels {
    /// `actions-ephemeral-runner`: a runner pod.
    pub is_runner: bool,
    /// `runner-pod`: the pod of a job in ARC's kubernetes mode.
    pub is_workflow: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec<'a> {
    #[serde(borrow, default)]
    pub volumes: Option<Items<Volume<'a>, MOST_VOLUMES>>,
    #[serde(borrow, default)]
    pub init_containers: Option<Items<Container<'a>, MOST_CONTAINERS>>,
    #[serde(borrow)]
    pub containers: Items<Container<'a>, MOST_CONTAINERS>,
    #[serde(default)]
    pub security_context: Option<PodSecurityContext>,
    #[serde(default, rename = "hostPID")]
    pub host_pid: Option<bool>,
    #[serde(default)]
    pub host_network: Option<bool>,
    #[serde(default)]
    pub share_process_namespace: Option<bool>,
    #[serde(borrow, default)]
    pub os: Option<Os<'a>>,
    #[serde(borrow, default)]
    pub node_selector: Option<NodeSelector<'a>>,
    #[serde(borrow, default)]
    pub service_account_name: Option<Text<'a>>,
    /// The older name of the same field.
    #[serde(borrow, default)]
    pub service_account: Option<Text<'a>>,
    /// For all containers together.
    #[serde(borrow, default)]
    pub resources: Option<Resources<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// Asked for by [`Container::variables`]: a pod may have thousands.
    #[serde(borrow, default)]
    pub env: Option<Env<'a>>,
    /// Likewise, by [`Container::has_env_from`].
    #[serde(borrow, default)]
    pub env_from: Option<&'a RawValue>,
    /// Likewise, by [`Container::command`].
    #[serde(borrow, default)]
    pub command: Option<&'a RawValue>,
    /// Likewise, by [`Container::args`].
    #[serde(borrow, default)]
    pub args: Option<&'a RawValue>,
    /// Where a command without a leading slash begins. Empty: where the image says.
    #[serde(borrow, default)]
    pub working_dir: Option<Text<'a>>,
    /// Parsed only where it matters, by `programs`, as are the three probes.
    #[serde(borrow, default)]
    pub lifecycle: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub liveness_probe: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub readiness_probe: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub startup_probe: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub volume_mounts: Option<Items<VolumeMount<'a>, MOST_MOUNTS>>,
    #[serde(borrow, default)]
    pub volume_devices: Option<Items<VolumeDevice<'a>, MOST_DEVICES>>,
    #[serde(default)]
    pub security_context: Option<SecurityContext>,
    #[serde(borrow, default)]
    pub resources: Option<Resources<'a>>,
    #[serde(borrow, default)]
    pub restart_policy: Option<Text<'a>>,
}

/// A container's list of variables.
#[derive(Debug)]
pub struct Env<'a> {
    text: &'a RawValue,
    /// None: too many to be kept, or one has another shape. They are read anew then, each time.
    few: Option<Vec<EnvVar<'a>>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Env<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const MOST: usize = 1024;
        const MOST_BYTES: usize = 256 * 1024;
        let text = <&RawValue>::deserialize(deserializer)?;
        // Appending to what is no list would make a patch that does not apply.
        if !text.get().starts_with('[') {
            return Err(serde::de::Error::custom("no list"));
        }
        let few = match text.get().len() <= MOST_BYTES {
            true => each(text, |kept: &mut Vec<_>, entry: EnvVar<'a>| {
                if kept.len() <= MOST {
                    kept.push(entry);
                }
            }),
            false => None,
        };
        let few = few.filter(|kept| kept.len() <= MOST);
        Ok(Self { text, few })
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EnvVar<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub value: Option<Text<'a>>,
    #[serde(default)]
    pub value_from: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow)]
    pub mount_path: Cow<'a, str>,
    #[serde(borrow, default)]
    pub sub_path: Option<Text<'a>>,
    #[serde(default)]
    pub read_only: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeDevice<'a> {
    #[serde(borrow)]
    pub device_path: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityContext {
    #[serde(default)]
    pub run_as_user: Option<i64>,
    #[serde(default)]
    pub capabilities: Option<Capabilities>,
}

#[derive(Debug, Deserialize)]
pub struct Capabilities {
    #[serde(default)]
    pub drop: Option<Dropped>,
}

/// What a container gives up.
#[derive(Debug, Default)]
pub struct Dropped {
    /// `DAC_OVERRIDE`, by which root reads what others own.
    pub dac_override: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSecurityContext {
    #[serde(default)]
    pub run_as_user: Option<i64>,
    #[serde(default)]
    pub run_as_group: Option<i64>,
    #[serde(default)]
    pub fs_group: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub struct Resources<'a> {
    #[serde(borrow, default)]
    pub limits: Option<CpuAndMemory<'a>>,
    #[serde(borrow, default)]
    pub requests: Option<CpuAndMemory<'a>>,
}

/// The two resources that make the quality of service, as text in whatever form they were written.
#[derive(Debug, Default, Deserialize)]
pub struct CpuAndMemory<'a> {
    #[serde(borrow, default)]
    pub cpu: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub memory: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub empty_dir: Option<EmptyDir<'a>>,
    #[serde(borrow, default)]
    pub projected: Option<&'a RawValue>,
    #[serde(default)]
    pub config_map: Option<IgnoredAny>,
    #[serde(default)]
    pub secret: Option<IgnoredAny>,
    #[serde(default, rename = "downwardAPI")]
    pub downward_api: Option<IgnoredAny>,
    #[serde(default)]
    pub image: Option<IgnoredAny>,
    #[serde(default)]
    pub persistent_volume_claim: Option<MaybeReadOnly>,
    #[serde(default)]
    pub csi: Option<MaybeReadOnly>,
    #[serde(default)]
    pub nfs: Option<MaybeReadOnly>,
    #[serde(default)]
    pub iscsi: Option<MaybeReadOnly>,
    #[serde(default)]
    pub fc: Option<MaybeReadOnly>,
    #[serde(default)]
    pub rbd: Option<MaybeReadOnly>,
    #[serde(default)]
    pub cephfs: Option<MaybeReadOnly>,
    #[serde(default)]
    pub azure_file: Option<MaybeReadOnly>,
}

#[derive(Debug, Deserialize)]
pub struct EmptyDir<'a> {
    #[serde(borrow, default)]
    pub medium: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MaybeReadOnly {
    #[serde(default)]
    pub read_only: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub struct Os<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
pub struct NodeSelector<'a> {
    #[serde(borrow, default, rename = "kubernetes.io/os")]
    pub os: Option<Text<'a>>,
}

impl Pod<'_> {
    /// Parses the JSON of a pod. The error says where it is no pod, and nothing of what is there.
    pub fn parse(json: &str) -> Result<Pod<'_>, UnreadablePod> {
        serde_json::from_str(json).map_err(|error| UnreadablePod {
            line: error.line(),
            column: error.column(),
        })
    }

    /// Whether the JSON, which [`Pod::parse`] cannot read, may be a pod that has annotations of ours.
    pub fn asks(json: &str) -> bool {
        #[derive(Deserialize)]
        struct Asking<'a> {
            #[serde(borrow)]
            metadata: Metadata<'a>,
        }
        match serde_json::from_str::<Asking<'_>>(json) {
            Ok(Asking { metadata }) => metadata
                .annotations
                .is_some_and(|annotations| !annotations.ours.is_empty()),
            Err(_) => true,
        }
    }

    /// Whether ARC made it to run a job, in the container `runner`.
    pub fn is_runner(&self) -> bool {
        self.metadata.labels.as_ref().is_some_and(|labels| labels.is_runner)
    }

    /// Whether it is the pod of a job in ARC's kubernetes mode.
    pub fn is_workflow(&self) -> bool {
        self.metadata.labels.as_ref().is_some_and(|labels| labels.is_workflow)
    }

    /// The field by which the pod says that its nodes run Windows, if it does.
    pub fn asks_for_windows(&self) -> Option<&'static str> {
        let selector = self.spec.node_selector.as_ref();
        if self.spec.os.as_ref().is_some_and(|os| os.name == "windows") {
            Some("spec.os.name")
        } else if selector.and_then(|selector| selector.os.as_deref()) == Some("windows") {
            Some("spec.nodeSelector")
        } else {
            None
        }
    }

    /// The account whose token the pod gets.
    pub fn service_account(&self) -> &str {
        let named = |name: &'_ Option<Text<'_>>| name.as_deref().is_some_and(|name| !name.is_empty());
        match (&self.spec.service_account_name, &self.spec.service_account) {
            (Some(name), _) if named(&self.spec.service_account_name) => name,
            (_, Some(name)) if named(&self.spec.service_account) => name,
            _ => "default",
        }
    }

    /// Init containers and containers, in that order.
    pub fn all_containers(&self) -> impl Iterator<Item = &Container<'_>> + Clone {
        self.spec.init_containers.iter().flatten().chain(&self.spec.containers)
    }
}

/// The text is no v1 Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the object is no v1 Pod: line {line}, column {column} of it has another shape")]
pub struct UnreadablePod {
    /// Line of the JSON text, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

/// Variables by their names. Of two entries with one name Kubernetes uses the last, and so do we.
pub(crate) type Variables<'a> = BTreeMap<Cow<'a, str>, EnvVar<'a>>;

impl Holds for Volume<'_> {}
impl Holds for VolumeMount<'_> {}
impl Holds for VolumeDevice<'_> {}

impl Holds for Container<'_> {
    fn inner(&self) -> usize {
        self.volume_mounts.as_deref().map_or(0, <[_]>::len) + self.volume_devices.as_deref().map_or(0, <[_]>::len)
    }
}

impl<'a> Container<'a> {
    /// Those of its environment variables that are `wanted`. The others, of which there may be any number, are passed
    /// over, as is an entry that cannot be read: the API server will refuse it.
    pub(crate) fn variables(&self, wanted: impl Fn(&EnvVar<'a>) -> bool) -> Variables<'a> {
        let Some(Env { text: raw, few }) = &self.env else {
            return Variables::new();
        };
        if let Some(few) = few {
            let mut variables = Variables::new();
            few.iter()
                .for_each(|entry| keep(&mut variables, entry.clone(), &wanted));
            return variables;
        }
        let all = each(raw, |variables: &mut Variables<'a>, entry: EnvVar<'a>| {
            keep(variables, entry, &wanted)
        });
        all.unwrap_or_else(|| {
            each(raw, |variables, entry: &'a RawValue| {
                if let Ok(entry) = serde_json::from_str(entry.get()) {
                    keep(variables, entry, &wanted);
                }
            })
            .unwrap_or_default()
        })
    }

    /// Whether it has variables whose names cannot be known from the pod alone.
    pub fn has_env_from(&self) -> bool {
        let sources = self
            .env_from
            .map(|raw| serde_json::from_str::<Vec<IgnoredAny>>(raw.get()));
        sources.is_some_and(|sources| sources.is_ok_and(|sources| !sources.is_empty()))
    }

    /// The words of its command; none where it is the image's, or where the API server will refuse it.
    pub fn command(&self) -> Vec<Text<'a>> {
        texts(self.command)
    }

    /// Those of its arguments, likewise.
    pub fn args(&self) -> Vec<Text<'a>> {
        texts(self.args)
    }

    /// Whether there may be a `$(NAME)` in its command, arguments or variables. Without reading them: they may be long.
    pub(crate) fn has_references(&self) -> bool {
        let env = self.env.as_ref().map(|env| env.text);
        let texts = [env, self.command, self.args];
        texts.into_iter().flatten().any(|text| text.get().contains("$("))
    }

    /// How long the texts are that say what it runs.
    pub(crate) fn command_bytes(&self) -> usize {
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

    /// Whether it is an init container that keeps running beside the others.
    pub fn is_native_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

fn keep<'a>(variables: &mut Variables<'a>, entry: EnvVar<'a>, wanted: impl Fn(&EnvVar<'a>) -> bool) {
    match wanted(&entry) {
        true => drop(variables.insert(entry.name.clone(), entry)),
        // It takes the place of an earlier entry with its name.
        false => drop(variables.remove(&entry.name)),
    }
}

/// Folds the items of a list, one after the other; none where one of them has another shape.
fn each<'a, T: Deserialize<'a>, F: Default>(list: &'a RawValue, fold: impl FnMut(&mut F, T)) -> Option<F> {
    struct EachVisitor<T, F, Fold>(Fold, std::marker::PhantomData<(T, F)>);
    impl<'de, T: Deserialize<'de>, F: Default, Fold: FnMut(&mut F, T)> Visitor<'de> for EachVisitor<T, F, Fold> {
        type Value = F;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }
        fn visit_seq<S: SeqAccess<'de>>(mut self, mut items: S) -> Result<F, S::Error> {
            let mut folded = F::default();
            while let Some(item) = items.next_element()? {
                (self.0)(&mut folded, item);
            }
            Ok(folded)
        }
    }
    let visitor = EachVisitor(fold, std::marker::PhantomData);
    serde::Deserializer::deserialize_seq(&mut serde_json::Deserializer::from_str(list.get()), visitor).ok()
}

fn texts<'a>(list: Option<&'a RawValue>) -> Vec<Text<'a>> {
    list.and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default()
}

impl Volume<'_> {
    /// Whether nothing can be created in it, not even a mount point.
    pub fn is_read_only(&self) -> bool {
        let sources = [
            &self.persistent_volume_claim,
            &self.csi,
            &self.nfs,
            &self.iscsi,
            &self.fc,
            &self.rbd,
            &self.cephfs,
            &self.azure_file,
        ];
        self.config_map.is_some()
            || self.secret.is_some()
            || self.projected.is_some()
            || self.downward_api.is_some()
            || self.image.is_some()
            || sources
                .into_iter()
                .flatten()
                .any(|source| source.read_only == Some(true))
    }
}

/// A string that is borrowed from the JSON where it has no escapes. (serde borrows a plain `Cow`, and copies one that stands
/// in an `Option`, of which a pod is full.)
#[derive(Debug, Clone)]
pub struct Text<'a>(Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

impl<'de> Deserialize<'de> for Dropped {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DroppedVisitor;
        impl<'de> Visitor<'de> for DroppedVisitor {
            type Value = Dropped;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of capabilities")
            }
            fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<Dropped, S::Error> {
                let mut dropped = Dropped::default();
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

impl<'de: 'a, 'a> Deserialize<'de> for Annotations<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnnotationsVisitor;
        impl<'de> Visitor<'de> for AnnotationsVisitor {
            type Value = Annotations<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Annotations<'de>, M::Error> {
                let mut annotations = Annotations::default();
                while let Some(Text(key)) = map.next_key()? {
                    let key = match key {
                        Cow::Borrowed(key) => key.strip_prefix(PREFIX).map(Cow::Borrowed),
                        Cow::Owned(ref key) => key.strip_prefix(PREFIX).map(|key| Cow::Owned(key.to_owned())),
                    }
                    .ok_or(key);
                    match key {
                        Ok(key) => {
                            let raw: &'de RawValue = map.next_value()?;
                            if annotations.too_many {
                                continue;
                            }
                            let value = serde_json::from_str(raw.get()).map_err(|_| NoText::of(raw));
                            annotations.ours.retain(|(other, _)| *other != key);
                            if annotations.ours.len() < MAX_ANNOTATIONS {
                                annotations.ours.push((key, value));
                            } else {
                                annotations.too_many = true;
                            }
                        }
                        Err(other) => {
                            annotations.is_mirror |= other == "kubernetes.io/config.mirror";
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(annotations)
            }
        }
        deserializer.deserialize_map(AnnotationsVisitor)
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LabelsVisitor;
        impl<'de> Visitor<'de> for LabelsVisitor {
            type Value = Labels;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Labels, M::Error> {
                let mut labels = Labels::default();
                while let Some(Text(key)) = map.next_key()? {
                    labels.is_runner |= key == "actions-ephemeral-runner";
                    labels.is_workflow |= key == "runner-pod";
                    map.next_value::<IgnoredAny>()?;
                }
                Ok(labels)
            }
        }
        deserializer.deserialize_map(LabelsVisitor)
    }
}
