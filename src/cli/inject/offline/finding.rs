//! A finding about an object of a manifest: how grave, what, and where in the text.

use std::fmt;

use super::places::{Place, PlacedNode};
use crate::inject::keys::FILES;
use crate::inject::{INJECTED, PREFIX};

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// The pod is refused, or does not get what the annotations ask for.
    Problem,
    /// Something that somebody should look at.
    Warning,
    /// Something to know, such as a skipped document.
    Note,
}

/// One thing that podkey says of an object.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    /// The annotation or the field. None: the message names what it is about.
    pub(crate) key: Option<String>,
    pub(crate) message: String,
    /// Where that stands. None: not known.
    pub(crate) at: Option<Place>,
    pub(super) spot: Spot,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Finding {
    pub(super) fn of(level: Level, message: impl Into<String>) -> Self {
        Self {
            level,
            key: None,
            message: message.into(),
            at: None,
            spot: Spot::default(),
        }
    }
}

/// What a finding is about, before its place in the text is known.
#[derive(Debug, Default)]
pub(super) enum Spot {
    /// The annotation with this key, or a part of it, in the map at the pointer.
    Annotation { map: String, key: String },
    /// The first annotation of podkey's in the map at the pointer.
    Annotations { map: String },
    /// The first annotation of podkey's, wherever it stands.
    FirstOfOurs,
    /// The field of the object at the pointer.
    Field { object: String, field: String },
    #[default]
    Object,
}

impl Spot {
    /// What a problem or a warning of the pod is about. `template` is the pointer of the pod in its object.
    pub(super) fn in_pod(template: &str, text: &str) -> Self {
        let map = format!("{template}/metadata/annotations");
        if let Some(field) = text.strip_prefix("spec.") {
            return Self::Field {
                object: format!("{template}/spec"),
                field: field.split(['.', '[', ':']).next().unwrap_or_default().to_owned(),
            };
        }
        // A warning has a short name for the annotation: files[0].
        let file = text.split("files[").nth(1).and_then(|rest| rest.split(']').next());
        match (text.starts_with(PREFIX), file) {
            (true, _) => Self::Annotation {
                map,
                key: text.to_owned(),
            },
            (false, Some(index)) => Self::Annotation {
                map,
                key: format!("{FILES}[{index}]"),
            },
            (false, None) => Self::Annotations { map },
        }
    }

    pub(super) fn place(&self, node: &PlacedNode<'_>) -> Option<Place> {
        match self {
            Self::Annotation { map, key } => {
                let map = node.find(map)?;
                map.annotation(key).or_else(|| map.first_key(PREFIX))
            }
            Self::Annotations { map } => node.find(map)?.first_key(PREFIX),
            Self::FirstOfOurs => node.first_key_below(&is_ours),
            Self::Field { object, field } => node.find(object)?.key(field),
            Self::Object => None,
        }
    }
}

/// Whether the annotation is one that authors write.
pub(super) fn is_ours(key: &str) -> bool {
    key.starts_with(PREFIX) && key != INJECTED
}
