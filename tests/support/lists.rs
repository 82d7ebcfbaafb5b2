//! Every list and map of Kubernetes' Pod, found in the type itself, and pods that are mostly one of them. A list that a
//! newer Kubernetes adds is found as soon as the types have it.
#![allow(clippy::expect_used, reason = "the type of Kubernetes is as it is")]

use std::cell::RefCell;

use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

/// How the texts in the items look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Texts {
    Short,
    /// A path of many short segments, the beginning of which all have in common.
    Deep,
    /// Longer than any name.
    #[allow(dead_code, reason = "of the benchmark alone")]
    Long,
    /// The same text in all of them.
    Same,
}

impl Texts {
    fn text(self, index: usize) -> String {
        match self {
            Self::Short => format!("{index:x}"),
            Self::Deep => format!("{}/{index:x}", "/d".repeat(40)),
            Self::Long => format!("{}{index:x}", "n".repeat(300)),
            Self::Same => "/d/0".to_owned(),
        }
    }
}

/// The place of each list and map, such as `spec.containers[].env`.
pub(crate) fn all() -> Vec<String> {
    let lists = RefCell::new(Vec::new());
    let walk = Walk {
        path: String::new(),
        wanted: None,
        lists: &lists,
    };
    Pod::deserialize(walk).expect("the type can be walked");
    // What becomes of a pod later, nobody creates it with.
    let mut lists = lists.into_inner();
    lists.retain(|list| !list.starts_with("status"));
    lists
}

/// A pod with so many items in the list, of those with its texts, and one container at least.
pub(crate) fn pod(list: &str, items: usize, texts: Texts) -> Value {
    let walk = Walk {
        path: String::new(),
        wanted: Some((list, items)),
        lists: &RefCell::default(),
    };
    let pod = Pod::deserialize(walk).expect("the type can be filled");
    let mut pod = serde_json::to_value(pod).expect("JSON");
    let mut next = 0;
    fill(&mut pod, texts, &mut next);
    pod["metadata"]["name"] = "web".into();
    let containers = &mut pod["spec"]["containers"];
    if containers.as_array().is_none_or(Vec::is_empty) {
        *containers = json!([{"name": "web"}]);
    }
    pod
}

/// Likewise, of about so many bytes.
pub(crate) fn pod_of(list: &str, bytes: usize, texts: Texts) -> Value {
    let length = |items| pod(list, items, texts).to_string().len();
    let (few, more) = (length(100), length(200));
    let each = (more - few).max(100) / 100;
    pod(list, (bytes.saturating_sub(few) / each.max(1)).max(1), texts)
}

/// Puts a text into each that is empty.
fn fill(value: &mut Value, texts: Texts, next: &mut usize) {
    match value {
        Value::String(text) if text.is_empty() => {
            *text = texts.text(*next);
            *next += 1;
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, texts, next)),
        Value::Object(fields) => fields.values_mut().for_each(|field| fill(field, texts, next)),
        _ => {}
    }
}

/// Answers whatever a type asks for: all that there is, or one list with so many items and what leads to it.
struct Walk<'w> {
    path: String,
    wanted: Option<(&'w str, usize)>,
    lists: &'w RefCell<Vec<String>>,
}

impl Walk<'_> {
    fn at(&self, path: String) -> Self {
        Self { path, ..*self }
    }

    fn leads_to_what_is_wanted(&self) -> bool {
        self.wanted.is_none_or(|(list, _)| {
            let rest = list.strip_prefix(&*self.path);
            rest.is_some_and(|rest| self.path.is_empty() || rest.is_empty() || rest.starts_with(['.', '[', '{']))
        })
    }

    fn items(&self) -> usize {
        self.lists.borrow_mut().push(self.path.clone());
        match self.wanted {
            Some((list, items)) if list == self.path => items,
            _ => 1,
        }
    }
}

type Wrong = de::value::Error;

impl<'de> Deserializer<'de> for Walk<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_i64(1)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_bool(true)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_str(match (&*self.path, self.wanted) {
            ("apiVersion", _) => "v1",
            ("kind", _) => "Pod",
            // What every type takes for a text, times too.
            (_, None) => "2026-11-29T06:00:00.000000Z",
            (_, Some(_)) => "",
        })
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.leads_to_what_is_wanted() || ["apiVersion", "kind"].contains(&&*self.path) {
            true => visitor.visit_some(self),
            false => visitor.visit_none(),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let left = self.items();
        let path = format!("{}[]", self.path);
        visitor.visit_seq(Items {
            walk: self.at(path),
            left,
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let left = self.items();
        let path = format!("{}{{}}", self.path);
        visitor.visit_map(Items {
            walk: self.at(path),
            left,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_map(Fields {
            walk: self,
            fields: fields.iter(),
            field: "",
        })
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum
        identifier ignored_any
    }
}

/// The items of a list, or the entries of a map.
struct Items<'w> {
    walk: Walk<'w>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.walk.at(self.walk.path.clone())).map(Some)
    }
}

impl<'de> MapAccess<'de> for Items<'_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let key = format!("k{:x}", self.left);
        seed.deserialize(StrDeserializer::new(&key)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Wrong> {
        seed.deserialize(self.walk.at(self.walk.path.clone()))
    }
}

/// The fields of an object.
struct Fields<'w> {
    walk: Walk<'w>,
    fields: std::slice::Iter<'static, &'static str>,
    field: &'static str,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        match self.fields.next() {
            None => Ok(None),
            Some(field) => {
                self.field = field;
                seed.deserialize(StrDeserializer::new(field)).map(Some)
            }
        }
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Wrong> {
        let path = match &*self.walk.path {
            "" => self.field.to_owned(),
            path => format!("{path}.{}", self.field),
        };
        seed.deserialize(self.walk.at(path))
    }
}
