//! What the pod's author asks for: the annotations, parsed. Nothing here depends on the pod or on the operator's config.

pub(crate) mod annotations;
mod env_delivery;
pub(crate) mod files;
mod injection;
mod name;
mod refresh;
mod requested;
pub(crate) mod rules;
mod value;
pub(crate) mod variables;
pub(crate) mod vault_k8s;

pub(crate) use env_delivery::EnvDelivery;
pub(crate) use injection::{Freshness, InjectionRequest};
pub(crate) use requested::Requested;
