//! The operations of a patch, each written as text when it is added.

use serde::Serialize;

/// The operations that turn a pod into the injected pod, as JSON text. Each operation is appended to the text.
#[derive(Debug)]
pub struct PodPatch {
    json: Vec<u8>,
}

impl Default for PodPatch {
    fn default() -> Self {
        Self { json: b"[]".to_vec() }
    }
}

/// A list in the pod before the patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// Absent or null: the patch must add the list.
    Absent,
    /// Present, but it may be empty.
    Present,
}

impl List {
    pub(super) fn of<T>(list: &Option<T>) -> Self {
        match list {
            None => Self::Absent,
            Some(_) => Self::Present,
        }
    }
}

impl PodPatch {
    /// Whether the patch has no operation.
    pub fn is_empty(&self) -> bool {
        self.json.len() == 2
    }

    /// The JSON array of operations.
    pub fn as_json(&self) -> &[u8] {
        &self.json
    }

    fn add<T: Serialize + ?Sized>(&mut self, path: &str, value: &T) -> Result<(), serde_json::Error> {
        let separator = if self.is_empty() { None } else { Some(b',') };
        self.json.pop();
        self.json.extend(separator);
        self.json.extend_from_slice(br#"{"op":"add","path":"#);
        serde_json::to_writer(&mut self.json, path)?;
        self.json.extend_from_slice(br#","value":"#);
        serde_json::to_writer(&mut self.json, value)?;
        self.json.extend_from_slice(b"}]");
        Ok(())
    }

    /// Sets a member of an object that the pod has.
    pub(super) fn set(&mut self, object: &str, key: &str, value: &impl Serialize) -> Result<(), serde_json::Error> {
        self.add(&format!("{object}/{}", escape(key)), value)
    }

    /// Appends to a list.
    pub(super) fn append<T: Serialize>(
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

    /// Inserts values before the first item of a list that the pod has.
    pub(super) fn prepend<T: Serialize>(&mut self, path: &str, values: &[T]) -> Result<(), serde_json::Error> {
        let mut values = values.iter().enumerate();
        values.try_for_each(|(index, value)| self.add(&format!("{path}/{index}"), value))
    }

    /// Inserts values into a list, in their order, before the item at `index`.
    pub(super) fn insert<T: Serialize>(
        &mut self,
        path: &str,
        list: List,
        index: usize,
        values: &[T],
    ) -> Result<(), serde_json::Error> {
        match list {
            List::Absent => self.append(path, list, values),
            List::Present => (index..)
                .zip(values)
                .try_for_each(|(index, value)| self.add(&format!("{path}/{index}"), value)),
        }
    }
}

/// The key as a reference token of a JSON Pointer (RFC 6901, section 3).
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
