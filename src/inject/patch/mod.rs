//! The patch: RFC 6902 `add` operations on the raw pod, and nothing else. Nothing of the author's is replaced, removed or
//! moved, so whatever the pod holds that this program has never heard of comes through untouched.
//!
//! A patch that does not apply is worse than none: the API server treats it as its own error, which the webhook's
//! `failurePolicy` does not cover. Each operation is therefore made from what the pod really has at that place.

pub(crate) mod additions;
pub(crate) mod parts;

use std::borrow::Borrow;

use serde::Serialize;

/// The operations that turn a pod into the injected pod, as JSON text: it is written once, as it grows.
#[derive(Debug)]
pub struct PodPatch {
    json: Vec<u8>,
}

impl Default for PodPatch {
    fn default() -> Self {
        Self { json: b"[]".to_vec() }
    }
}

/// A list in the pod, as it is before the patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// Absent or null: adding to it means adding the list.
    Absent,
    /// Present, perhaps empty.
    Present,
}

impl List {
    pub(crate) fn of<T>(list: &Option<T>) -> Self {
        match list {
            None => Self::Absent,
            Some(_) => Self::Present,
        }
    }
}

impl PodPatch {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.json.len() == 2
    }

    /// An array of operations.
    pub fn as_json(&self) -> &[u8] {
        &self.json
    }

    fn add(&mut self, path: &str, value: &impl Serialize) -> Result<(), serde_json::Error> {
        self.begin(path)?;
        serde_json::to_writer(&mut self.json, value)?;
        self.end();
        Ok(())
    }

    fn begin(&mut self, path: &str) -> Result<(), serde_json::Error> {
        let separator = if self.is_empty() { None } else { Some(b',') };
        self.json.pop();
        self.json.extend(separator);
        self.json.extend_from_slice(br#"{"op":"add","path":"#);
        serde_json::to_writer(&mut self.json, path)?;
        self.json.extend_from_slice(br#","value":"#);
        Ok(())
    }

    fn end(&mut self) {
        self.json.extend_from_slice(b"}]");
    }

    /// Sets a member of an object that is there.
    pub(crate) fn set(&mut self, object: &str, key: &str, value: &impl Serialize) -> Result<(), serde_json::Error> {
        self.add(&format!("{object}/{}", escape(key)), value)
    }

    /// Appends to a list.
    pub(crate) fn append<T: Serialize>(
        &mut self,
        path: &str,
        list: List,
        values: &[T],
    ) -> Result<(), serde_json::Error> {
        match (list, values) {
            (_, []) => Ok(()),
            (List::Absent, values) => self.add(path, &values),
            (List::Present, values) => values
                .iter()
                .try_for_each(|value| self.add(&format!("{path}/-"), value)),
        }
    }

    /// Appends values that are JSON text already.
    pub(crate) fn append_json<T: Borrow<str>>(
        &mut self,
        path: &str,
        list: List,
        values: &[T],
    ) -> Result<(), serde_json::Error> {
        match list {
            List::Absent => self.add_json(path, &format!("[{}]", values.join(","))),
            List::Present => values
                .iter()
                .try_for_each(|value| self.add_json(&format!("{path}/-"), value.borrow())),
        }
    }

    /// Inserts before all that is in a list that is there.
    pub(crate) fn prepend<T: Serialize>(&mut self, path: &str, values: &[T]) -> Result<(), serde_json::Error> {
        let mut values = values.iter().enumerate();
        values.try_for_each(|(index, value)| self.add(&format!("{path}/{index}"), value))
    }

    /// Inserts values that are JSON text already into a list, in their order, before what stands at `index` now.
    pub(crate) fn insert_json(
        &mut self,
        path: &str,
        list: List,
        index: usize,
        values: &[String],
    ) -> Result<(), serde_json::Error> {
        match list {
            List::Absent => self.append_json(path, list, values),
            List::Present => (index..)
                .zip(values)
                .try_for_each(|(index, value)| self.add_json(&format!("{path}/{index}"), value)),
        }
    }

    fn add_json(&mut self, path: &str, value: &str) -> Result<(), serde_json::Error> {
        self.begin(path)?;
        self.json.extend_from_slice(value.as_bytes());
        self.end();
        Ok(())
    }
}

/// A key as one reference token of a JSON Pointer (RFC 6901, section 3).
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn json_pointer_tokens_reach_the_member_they_name(key in ".*", other in ".*") {
            let mut patch = PodPatch::default();
            patch.set("/metadata", &key, &"x").unwrap();
            let mut pod = serde_json::json!({"metadata": {other.clone(): 1}});
            let patch: json_patch::Patch = serde_json::from_slice(patch.as_json()).unwrap();
            json_patch::patch(&mut pod, &patch).unwrap();
            prop_assert_eq!(&pod["metadata"][&key], "x");
            if other != key {
                prop_assert_eq!(&pod["metadata"][&other], 1);
            }
        }
    }
}
