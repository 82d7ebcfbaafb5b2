//! Who asked for a pod that is refused, and what for: for the operator's log, so that a denial can be found by its owner.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{SeqAccess, Visitor};

use crate::inject::config::Config;
use crate::inject::pod::Pod;
use crate::inject::request::keys::{CONNECTION, PREFIX, ROLE};
use crate::plan::Role;

/// No Kubernetes name is longer, in bytes.
const MAX_BYTES: usize = 253;

/// Names alone, each of at most 253 bytes and without control characters. Empty: the pod has none, or it does not parse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The connection that the pod names, or `default`.
    pub connection: String,
    /// The role that the pod names, or the connection's.
    pub role: String,
    /// The account whose token the pod gets.
    pub service_account: String,
    /// Kind and name of the pod's controller, or of its first owner, such as `ReplicaSet/web-5d9c7`.
    pub owner: String,
}

impl Asker {
    /// Who asked for this pod.
    pub fn of(pod: &Pod<'_>, config: &Config) -> Self {
        let word = |key: &str| {
            let annotations = pod.metadata.annotations.as_ref()?;
            let mut ours = annotations.ours.iter();
            let (_, value) = ours.find(|(name, _)| key.strip_prefix(PREFIX) == Some(name))?;
            value.as_deref().ok().map(str::trim)
        };
        let connection = word(CONNECTION).unwrap_or("default");
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

/// One of a list of owners: the controller, or else the first. A list may be as long as a request: the others are not kept.
struct Owner<'a>(Option<Reference<'a>>);

#[derive(Deserialize)]
struct Reference<'a> {
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
                let mut kept: Option<Reference<'de>> = None;
                while let Some(owner) = owners.next_element::<Reference<'de>>()? {
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
