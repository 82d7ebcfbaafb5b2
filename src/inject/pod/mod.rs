//! A borrowed view of the few fields of a pod that a decision depends on. podkey does not parse, copy or judge the other fields:
//! a field that is newer than podkey is no reason to refuse a pod, and stays as it is.

mod container;
mod limits;
mod list;
mod metadata;
pub(crate) mod path;
pub(crate) mod programs;
pub(crate) mod quantity;
pub(crate) mod runner;
pub(crate) mod size;
mod spec;
mod text;
mod variables;
mod view;
mod volumes;

pub(crate) use container::Container;
pub(crate) use metadata::{Annotations, NotText, TheirAnnotation};
pub(crate) use text::Text;
pub(crate) use variables::{EnvVar, FileKey, FileKeySource, Variables};
pub use view::{Pod, UnreadablePod};
pub(crate) use volumes::{Volume, VolumeMount};
