//! podkey's words in a pod: the keys of annotations, the names of containers and volumes. Also the form of a documented key, which
//! all tables of keys share.

mod documented_key;
pub(crate) mod keys;
pub(crate) mod names;
pub(crate) mod vault_k8s;

pub use documented_key::{DocumentedKey, Scope};
