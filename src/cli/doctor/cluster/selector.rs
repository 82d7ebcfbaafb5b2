//! Kubernetes' label selectors: <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/>.

use serde_json::Value;

use crate::cli::doctor::situation::{items, text};

/// One condition of a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Requirement<'v> {
    key: &'v str,
    operator: &'v str,
    values: Vec<&'v str>,
}

/// The conditions of a selector. A selector that is missing or empty has none, and matches everything.
pub(super) fn requirements(selector: &Value) -> Vec<Requirement<'_>> {
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let equal = labels.map(|(key, value)| Requirement {
        key,
        operator: "In",
        values: value.as_str().into_iter().collect(),
    });
    let expressions = items(selector, "/matchExpressions").map(|expression| Requirement {
        key: text(expression, "/key"),
        operator: text(expression, "/operator"),
        values: items(expression, "/values").filter_map(Value::as_str).collect(),
    });
    equal.chain(expressions).collect()
}

/// Whether the selector matches an object with these labels.
pub(super) fn matches(selector: &Value, labels: &Value) -> bool {
    requirements(selector)
        .iter()
        .all(|requirement| requirement.holds(labels))
}

impl Requirement<'_> {
    /// Whether an object with these labels meets the condition.
    pub(super) fn holds(&self, labels: &Value) -> bool {
        let value = labels[self.key].as_str();
        match self.operator {
            "In" => value.is_some_and(|value| self.values.contains(&value)),
            "NotIn" => value.is_none_or(|value| !self.values.contains(&value)),
            "Exists" => value.is_some(),
            _ => value.is_none(),
        }
    }

    /// The argument of `kubectl label` by which an object meets the condition. None: the API server sets the label.
    pub(super) fn change(&self) -> Option<String> {
        if self.key == "kubernetes.io/metadata.name" {
            return None;
        }
        Some(match self.operator {
            "In" => format!("{}={}", self.key, self.values.first()?),
            "Exists" => format!("{}=true", self.key),
            _ => format!("{}-", self.key),
        })
    }
}

impl std::fmt::Display for Requirement<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (key, values) = (self.key, self.values.join(", "));
        match self.operator {
            "In" => write!(f, "{key} in [{values}]"),
            "NotIn" => write!(f, "{key} not in [{values}]"),
            "Exists" => write!(f, "{key} exists"),
            _ => write!(f, "{key} does not exist"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_matches_as_the_api_server_matches() {
        let labels = json!({"app": "web", "tier": "front"});
        for (selector, expected) in [
            (json!(null), true),
            (json!({}), true),
            (json!({"matchLabels": {"app": "web"}}), true),
            (json!({"matchLabels": {"app": "db"}}), false),
            (
                json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["db", "web"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db", "web"]}]}),
                false,
            ),
            (
                json!({"matchExpressions": [{"key": "no", "operator": "NotIn", "values": ["db"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "no", "operator": "Exists"}]}),
                false,
            ),
            (
                json!({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}),
                false,
            ),
        ] {
            assert_eq!(matches(&selector, &labels), expected, "{selector}");
        }
    }
}
