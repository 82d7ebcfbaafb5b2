//! A container's environment variables. A pod may have thousands: only those that a check asks for are kept.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::inject::pod::text::Text;

/// The longest `env` that is kept in parsed form: entries, and bytes of JSON.
const MAX_KEPT: usize = 1024;
const MAX_KEPT_BYTES: usize = 256 * 1024;

/// A container's `env`.
#[derive(Debug)]
pub(crate) struct Env<'a> {
    json: &'a RawValue,
    /// None: the list is too long, or an entry has another shape. `json` is then parsed again for each question.
    kept: Option<Vec<EnvVar<'a>>>,
}

/// An entry of `env`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EnvVar<'a> {
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) value: Option<Text<'a>>,
    /// Parsed by [`EnvVar::file_key`].
    #[serde(borrow, default)]
    value_from: Option<&'a RawValue>,
}

/// A reference to a variable in a file of an `emptyDir`, as Kubernetes has it (`fileKeyRef`).
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileKey<'a> {
    #[serde(borrow)]
    pub(crate) key: Cow<'a, str>,
    #[serde(default)]
    pub(crate) optional: bool,
    #[serde(borrow)]
    pub(crate) path: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) volume_name: Cow<'a, str>,
}

/// Where the value of a variable is from, if from a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileKeySource<'a> {
    #[serde(borrow)]
    pub(crate) file_key_ref: FileKey<'a>,
}

/// Variables by name. If two entries have one name, the last counts, as in Kubernetes.
pub(crate) type Variables<'a> = BTreeMap<Cow<'a, str>, EnvVar<'a>>;

impl<'a> EnvVar<'a> {
    /// The variable of a file that the entry takes its value from. None: the value is from elsewhere, or does not parse.
    pub(crate) fn file_key(&self) -> Option<FileKey<'a>> {
        let source: FileKeySource<'a> = serde_json::from_str(self.value_from?.get()).ok()?;
        Some(source.file_key_ref)
    }

    /// Whether the value is from a file of this volume.
    pub(crate) fn is_of_volume(&self, volume: &str) -> bool {
        self.file_key().is_some_and(|file| file.volume_name == volume)
    }

    /// Whether the entry sets exactly this value, and takes none from elsewhere.
    pub(crate) fn is_exactly(&self, value: &str) -> bool {
        self.value_from.is_none() && self.value.as_deref() == Some(value)
    }
}

impl<'a> Env<'a> {
    pub(super) fn json(&self) -> &'a RawValue {
        self.json
    }

    /// The variables that are `wanted`. An entry that cannot be parsed is passed over: the API server will refuse the pod.
    pub(super) fn variables(&self, wanted: impl Fn(&EnvVar<'a>) -> bool) -> Variables<'a> {
        let Self { json, kept } = self;
        if let Some(kept) = kept {
            let mut variables = Variables::new();
            for entry in kept {
                add(&mut variables, Cow::Borrowed(entry), &wanted);
            }
            return variables;
        }
        let all = each(json, |variables: &mut Variables<'a>, entry: EnvVar<'a>| {
            add(variables, Cow::Owned(entry), &wanted)
        });
        all.unwrap_or_else(|| {
            each(json, |variables, entry: &'a RawValue| {
                if let Ok(entry) = serde_json::from_str(entry.get()) {
                    add(variables, Cow::Owned(entry), &wanted);
                }
            })
            .unwrap_or_default()
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Env<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?;
        // A patch that appends to something else than a list does not apply.
        if !json.get().starts_with('[') {
            return Err(serde::de::Error::custom("not a list"));
        }
        let kept = match json.get().len() <= MAX_KEPT_BYTES {
            true => each(json, |kept: &mut Vec<_>, entry: EnvVar<'a>| {
                if kept.len() <= MAX_KEPT {
                    kept.push(entry);
                }
            }),
            false => None,
        };
        let kept = kept.filter(|kept| kept.len() <= MAX_KEPT);
        Ok(Self { json, kept })
    }
}

fn add<'a>(variables: &mut Variables<'a>, entry: Cow<'_, EnvVar<'a>>, wanted: impl Fn(&EnvVar<'a>) -> bool) {
    if wanted(&entry) {
        let entry = entry.into_owned();
        variables.insert(entry.name.clone(), entry);
    } else {
        // The entry replaces an earlier entry of this name.
        variables.remove(&entry.name);
    }
}

/// Folds the items of a list. None: the JSON is no list, or an item has another shape.
fn each<'a, T: Deserialize<'a>, F: Default>(list: &'a RawValue, fold: impl FnMut(&mut F, T)) -> Option<F> {
    struct EachVisitor<T, F, Fold>(Fold, PhantomData<(T, F)>);
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
    let visitor = EachVisitor(fold, PhantomData);
    serde::Deserializer::deserialize_seq(&mut serde_json::Deserializer::from_str(list.get()), visitor).ok()
}
