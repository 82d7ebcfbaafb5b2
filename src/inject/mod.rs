//! The decision about a pod that is about to be created. Pure: the same pod, namespace and config give the same decision, byte for
//! byte, without clock, network, disk or cluster.
//!
//! A decision has four steps: `request` parses the annotations; `survey` collects the facts of the pod; `check` reports every
//! problem; `patch` writes the operations. Below them: `pod`, the view of the pod; `config`, the operator's config; `parts`, what
//! podkey adds to a pod; and on the ground `problem`, `words` and `yaml`.

mod asker;
mod check;
mod config;
mod decision;
mod job_policy;
mod kubernetes;
mod parts;
mod patch;
mod pod;
mod problem;
mod request;
mod survey;
pub mod vocabulary;
mod words;
mod yaml;

pub(crate) use asker::Asker;
pub use config::{Config, ConfigError, ConnectionConfig};
pub(crate) use config::{DEFAULT_CONNECTION, NOT_CHECKED};
pub use decision::{Decision, decide};
pub(crate) use kubernetes::{ClusterFacts, KubernetesVersion, NodeFacts, SeenNodes};
pub use patch::PodPatch;
pub(crate) use pod::Text;
#[cfg(feature = "cli")]
pub(crate) use pod::quantity::Quantity;
pub use pod::{Pod, UnreadablePod};
pub use problem::{Mender, Problem, Problems, Warnings};
pub(crate) use problem::{RefusalReason, unquoted};
pub(crate) use request::files::FileRequest;
pub(crate) use request::files::file::RequestedContent;
pub(crate) use request::vault_k8s;
pub(crate) use words::keys;
pub use words::keys::{INJECTED, PREFIX};
#[cfg(feature = "cli")]
pub(crate) use words::names;
pub(crate) use words::names::INIT_CONTAINER;
pub(crate) use words::vault_k8s::INJECT_TOKEN;
#[cfg(feature = "cli")]
pub(crate) use words::vault_k8s::{Family, INJECT};
pub(crate) use yaml::explain;
