//! The pod's metadata: podkey's annotations, ARC's labels, names and owners.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::inject::pod::text::Text;
use crate::inject::words::keys::{PLAN, PREFIX};
use crate::inject::words::vault_k8s::Family;

/// podkey has fewer annotation keys than this. A pod with more has many mistakes, or is made to keep the webhook busy.
const MAX_ANNOTATIONS: usize = 32;

/// vault-k8s has at most some ten keys for each of 64 files.
const MAX_THEIRS: usize = 768;

/// The annotation of a mirror pod: the API server's image of a static pod. A patch does not reach the static pod.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// ARC's label on a runner pod.
const RUNNER_LABEL: &str = "actions-ephemeral-runner";
/// ARC's label on the pod of a job in kubernetes mode.
const WORKFLOW_LABEL: &str = "runner-pod";

#[derive(Debug, Default, Deserialize)]
pub(crate) struct PodMetadata<'a> {
    /// Empty if the API server will generate the name from `generate_name`.
    #[serde(borrow, default)]
    pub(crate) name: Option<Text<'a>>,
    #[serde(borrow, default, rename = "generateName")]
    pub(crate) generate_name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) annotations: Option<Annotations<'a>>,
    #[serde(default)]
    pub(crate) labels: Option<ArcLabels>,
    /// Parsed only for a pod that is refused.
    #[serde(borrow, default, rename = "ownerReferences")]
    pub(crate) owner_references: Option<&'a RawValue>,
}

/// podkey's annotations, those of vault-k8s, and whether the pod is a mirror pod.
#[derive(Debug, Default)]
pub(crate) struct Annotations<'a> {
    /// Keys without [`PREFIX`], in the pod's order. If a key is there twice, the last value counts, as for the API server.
    pub(crate) ours: Vec<(Cow<'a, str>, Result<Text<'a>, NotText>)>,
    /// The pod has more than [`MAX_ANNOTATIONS`] annotations of podkey. The rest is not in `ours`.
    pub(crate) too_many: bool,
    /// The annotations of vault-k8s, in the pod's order.
    pub(crate) theirs: Vec<TheirAnnotation<'a>>,
    /// The pod has more than [`MAX_THEIRS`] annotations of vault-k8s. The rest is not in `theirs`.
    pub(crate) too_many_theirs: bool,
    /// The pod has [`MIRROR_ANNOTATION`].
    pub(crate) is_mirror: bool,
    /// The length of all keys and values as JSON. The API server refuses a pod with more than 256 KiB.
    pub(crate) bytes: usize,
}

/// One annotation of vault-k8s.
#[derive(Debug)]
pub(crate) struct TheirAnnotation<'a> {
    pub(crate) family: Family,
    /// The key without the family's prefix.
    pub(crate) name: Cow<'a, str>,
    pub(crate) value: Result<Text<'a>, NotText>,
}

/// The kind of an annotation's value that is not text. The API server accepts text only, but a manifest on disk may have
/// other values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotText {
    /// `key:` without a value.
    Null,
    /// For example `true` without quotes.
    Scalar,
    /// For example files without the `|` in front.
    List,
    Map,
}

impl NotText {
    fn of(raw: &RawValue) -> Self {
        match raw.get().as_bytes().first() {
            Some(b'[') => Self::List,
            Some(b'{') => Self::Map,
            Some(b'n') => Self::Null,
            _ => Self::Scalar,
        }
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
                    let value: &RawValue = map.next_value()?;
                    annotations.bytes += key.len() + value.get().len();
                    match owner(&key) {
                        Some(Owner::Podkey) => annotations.add(without(PREFIX, key), value),
                        Some(Owner::VaultK8s(family)) => {
                            annotations.add_theirs(family, without(family.prefix(), key), value);
                        }
                        None => annotations.is_mirror |= key == MIRROR_ANNOTATION,
                    }
                }
                Ok(annotations)
            }
        }
        deserializer.deserialize_map(AnnotationsVisitor)
    }
}

/// Whose annotation a key belongs to.
enum Owner {
    Podkey,
    VaultK8s(Family),
}

/// None: another program's annotation.
fn owner(key: &str) -> Option<Owner> {
    if key.starts_with(PREFIX) {
        return Some(Owner::Podkey);
    }
    let mut families = Family::ALL.into_iter();
    families
        .find(|family| key.starts_with(family.prefix()))
        .map(Owner::VaultK8s)
}

/// The key without its prefix.
fn without<'a>(prefix: &str, key: Cow<'a, str>) -> Cow<'a, str> {
    match key {
        Cow::Borrowed(key) => Cow::Borrowed(key.strip_prefix(prefix).unwrap_or(key)),
        Cow::Owned(key) => Cow::Owned(key.strip_prefix(prefix).unwrap_or(&key).to_owned()),
    }
}

impl<'a> Annotations<'a> {
    /// The value of [`PLAN`].
    pub(crate) fn plan(&self) -> Option<&str> {
        let mut ours = self.ours.iter();
        let (_, value) = ours.find(|(name, _)| PLAN.strip_prefix(PREFIX) == Some(name))?;
        value.as_deref().ok()
    }

    fn add(&mut self, key: Cow<'a, str>, raw: &'a RawValue) {
        if self.too_many {
            return;
        }
        let value = serde_json::from_str(raw.get()).map_err(|_| NotText::of(raw));
        self.ours.retain(|(other, _)| *other != key);
        if self.ours.len() < MAX_ANNOTATIONS {
            self.ours.push((key, value));
        } else {
            self.too_many = true;
        }
    }

    fn add_theirs(&mut self, family: Family, name: Cow<'a, str>, raw: &'a RawValue) {
        if self.too_many_theirs {
            return;
        }
        let value = serde_json::from_str(raw.get()).map_err(|_| NotText::of(raw));
        self.theirs.retain(|other| other.family != family || other.name != name);
        if self.theirs.len() < MAX_THEIRS {
            self.theirs.push(TheirAnnotation { family, name, value });
        } else {
            self.too_many_theirs = true;
        }
    }
}

/// The labels by which podkey recognises ARC's pods.
#[derive(Debug, Default)]
pub(crate) struct ArcLabels {
    /// The pod has [`RUNNER_LABEL`].
    pub(crate) is_runner: bool,
    /// The pod has [`WORKFLOW_LABEL`].
    pub(crate) is_workflow: bool,
}

impl<'de> Deserialize<'de> for ArcLabels {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LabelsVisitor;
        impl<'de> Visitor<'de> for LabelsVisitor {
            type Value = ArcLabels;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<ArcLabels, M::Error> {
                let mut labels = ArcLabels::default();
                while let Some(Text(key)) = map.next_key()? {
                    labels.is_runner |= key == RUNNER_LABEL;
                    labels.is_workflow |= key == WORKFLOW_LABEL;
                    map.next_value::<IgnoredAny>()?;
                }
                Ok(labels)
            }
        }
        deserializer.deserialize_map(LabelsVisitor)
    }
}
