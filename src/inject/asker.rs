//! Who asked for a refused pod, and for what: fields of the operator's log, so that the owner of a pod can find its denial.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{SeqAccess, Visitor};

use crate::inject::config::{Config, DEFAULT_CONNECTION};
use crate::inject::pod::Pod;
use crate::inject::words::keys::{CONNECTION, PREFIX, ROLE};
use crate::plan::Role;

/// The longest name in Kubernetes, in bytes.
const MAX_BYTES: usize = 253;

/// Names only, each of at most [`MAX_BYTES`] bytes and without control characters. Empty: the pod has no such name, or the name
/// does not parse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asker {
    /// The connection that the pod names, or `default`.
    pub(crate) connection: String,
    /// The role that the pod names, or the connection's.
    pub(crate) role: String,
    /// The service account whose token the pod gets.
    pub(crate) service_account: String,
    /// Kind and name of the pod's controller, or of its first owner, such as `ReplicaSet/web-5d9c7`.
    pub(crate) owner: String,
}

impl Asker {
    /// Who asked for this pod.
    pub(crate) fn of(pod: &Pod<'_>, config: &Config) -> Self {
        let word = |key: &str| {
            let annotations = pod.metadata.annotations.as_ref()?;
            let mut ours = annotations.ours.iter();
            let (_, value) = ours.find(|(name, _)| key.strip_prefix(PREFIX) == Some(name))?;
            value.as_deref().ok().map(str::trim)
        };
        let connection = word(CONNECTION).unwrap_or(DEFAULT_CONNECTION);
        let of_connection = || config.connections.get(connection)?.role.as_ref();
        let role = match word(ROLE) {
            Some(role) => role.parse::<Role>().ok(),
            None => of_connection().cloned(),
        };
        let owners = pod.metadata.owner_references.map(serde_json::value::RawValue::get);
        let owners = owners.and_then(|text| serde_json::from_str::<Owner<'_>>(text).ok());
        let owner = match owners {
            Some(Owner(Some(owner))) => format!("{}/{}", bounded(&owner.kind), bounded(&owner.name)),
            _ => String::new(),
        };
        Self {
            connection: bounded(connection),
            role: bounded(role.as_ref().map_or("", Role::as_str)),
            service_account: bounded(pod.service_account()),
            owner: bounded(&owner),
        }
    }
}

/// One owner out of a pod's list: the controller, else the first. The list may be as long as a request, so the other owners are
/// not kept.
struct Owner<'a>(Option<OwnerReference<'a>>);

#[derive(Deserialize)]
struct OwnerReference<'a> {
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(default)]
    controller: Option<bool>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Owner<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OwnerVisitor;
        impl<'de> Visitor<'de> for OwnerVisitor {
            type Value = Owner<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("owners")
            }
            fn visit_seq<S: SeqAccess<'de>>(self, mut owners: S) -> Result<Owner<'de>, S::Error> {
                let mut kept: Option<OwnerReference<'de>> = None;
                while let Some(owner) = owners.next_element::<OwnerReference<'de>>()? {
                    if kept.is_none() || owner.controller == Some(true) {
                        kept = Some(owner);
                    }
                }
                Ok(Owner(kept))
            }
        }
        deserializer.deserialize_seq(OwnerVisitor)
    }
}

/// The beginning of a text, with control characters escaped.
fn bounded(text: &str) -> String {
    let mut bounded = String::new();
    for c in text.chars().flat_map(char::escape_debug) {
        if bounded.len() + c.len_utf8() > MAX_BYTES {
            break;
        }
        bounded.push(c);
    }
    bounded
}
