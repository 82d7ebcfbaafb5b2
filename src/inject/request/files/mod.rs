//! The annotation `podkey.dev/files`: a YAML list, each entry a secret and the file that the secret goes to.

mod draft;
mod entries;
mod entry;
mod fields;
pub(crate) mod file;
#[cfg(test)]
mod tests;

pub(super) use entries::annotation;
pub(crate) use fields::FIELDS;
pub(crate) use file::FileRequest;
