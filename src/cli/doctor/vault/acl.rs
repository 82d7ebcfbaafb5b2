//! What a set of policies allows at a path, as the server decides: <https://github.com/openbao/openbao/blob/main/vault/acl.go> and
//! <https://developer.hashicorp.com/vault/docs/concepts/policies#priority-matching>.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::glob::glob;
use super::hcl::{Parameters, Rule};
use crate::plan::{Data, Value};

/// The rules of all policies of a token.
#[derive(Default)]
pub(super) struct Acl(BTreeMap<String, Permissions>);

/// What the rules of one path allow together.
#[derive(Debug, Clone, Default)]
pub(super) struct Permissions {
    capabilities: BTreeSet<String>,
    allowed: Parameters,
    denied: Parameters,
    required: BTreeSet<String>,
}

impl Acl {
    pub(super) fn add(&mut self, rule: Rule) {
        let permissions = self.0.entry(rule.path).or_default();
        permissions.capabilities.extend(rule.capabilities);
        permissions.required.extend(rule.required);
        for (all, of_rule) in [
            (&mut permissions.allowed, rule.allowed),
            (&mut permissions.denied, rule.denied),
        ] {
            for (name, values) in of_rule {
                match all.get_mut(&name) {
                    // Without values, all values count.
                    Some(before) if before.is_empty() || values.is_empty() => before.clear(),
                    Some(before) => before.extend(values),
                    None => {
                        all.insert(name, values);
                    }
                }
            }
        }
    }

    /// The permissions of the one rule that decides about the path.
    pub(super) fn at(&self, path: &str) -> Option<&Permissions> {
        let is_exact = |rule: &str| !rule.ends_with('*') && !has_wildcard(rule);
        if let Some((_, permissions)) = self.0.get_key_value(path).filter(|(rule, _)| is_exact(rule)) {
            return Some(permissions);
        }
        let matching = self.0.iter().filter(|(rule, _)| !is_exact(rule) && matches(rule, path));
        matching
            .max_by(|a, b| priority(a.0, b.0))
            .map(|(_, permissions)| permissions)
    }
}

/// Whether the path has a segment `+`, which is any segment.
fn has_wildcard(rule: &str) -> bool {
    rule.trim_end_matches('*').split('/').any(|segment| segment == "+")
}

fn matches(rule: &str, path: &str) -> bool {
    let (rule, is_prefix) = match rule.strip_suffix('*') {
        Some(rule) => (rule, true),
        None => (rule, false),
    };
    let rules: Vec<&str> = rule.split('/').collect();
    let segments: Vec<&str> = path.split('/').collect();
    if rules.len() > segments.len() || !is_prefix && rules.len() != segments.len() {
        return false;
    }
    rules
        .iter()
        .zip(&segments)
        .enumerate()
        .all(|(at, (rule, segment))| match *rule {
            "+" => true,
            rule if is_prefix && at + 1 == rules.len() => segment.starts_with(rule),
            rule => rule == *segment,
        })
}

/// Which rule comes first, if both match.
fn priority(a: &str, b: &str) -> Ordering {
    let first = |rule: &str| {
        let wildcard = rule
            .strip_prefix("+/")
            .map(|_| 0)
            .or_else(|| rule.find("/+").map(|at| at + 1));
        let end = if rule.ends_with('*') {
            rule.len() - 1
        } else {
            rule.len()
        };
        wildcard.unwrap_or(end)
    };
    let wildcards = |rule: &str| rule.split('/').filter(|segment| *segment == "+").count();
    first(a)
        .cmp(&first(b))
        .then_with(|| b.ends_with('*').cmp(&a.ends_with('*')))
        .then_with(|| wildcards(b).cmp(&wildcards(a)))
        .then_with(|| a.len().cmp(&b.len()))
        .then_with(|| a.cmp(b))
}

impl Permissions {
    pub(super) fn may(&self, any: &[&str]) -> bool {
        !self.capabilities.contains("deny") && any.iter().any(|capability| self.capabilities.contains(*capability))
    }

    pub(super) fn is_denied(&self) -> bool {
        self.capabilities.contains("deny")
    }

    /// Why the rule does not let this data be written. None: it does.
    pub(super) fn refuses(&self, data: &Data) -> Option<String> {
        let fields: BTreeMap<String, Value> = data.clone().into();
        let fields: BTreeMap<String, &Value> = fields
            .iter()
            .map(|(name, value)| (name.to_lowercase(), value))
            .collect();
        if let Some(name) = self.required.iter().find(|name| !fields.contains_key(*name)) {
            return Some(format!("required_parameters want {name}, which `data` lacks"));
        }
        for (name, value) in &fields {
            let is_denied = self.denied.get(name).is_some_and(|values| counts(values, value));
            if is_denied || self.denied.contains_key("*") {
                return Some(format!("denied_parameters refuse {name}"));
            }
            let is_allowed = match self.allowed.get(name) {
                Some(values) => counts(values, value),
                None => self.allowed.is_empty() || self.allowed.contains_key("*"),
            };
            if !is_allowed {
                return Some(format!("allowed_parameters lack {name}, or its value"));
            }
        }
        None
    }
}

/// Whether the value is one of these. A list or a map is not compared.
fn counts(values: &[String], value: &Value) -> bool {
    values.is_empty()
        || match value {
            Value::Text(text) => values.iter().any(|pattern| glob(pattern, text)),
            Value::List(_) | Value::Map(_) => true,
        }
}

#[cfg(test)]
mod tests {
    use super::super::hcl;
    use super::*;

    fn acl(policy: &str) -> Acl {
        let mut acl = Acl::default();
        hcl::rules(policy).unwrap().into_iter().for_each(|rule| acl.add(rule));
        acl
    }

    fn data(json: &str) -> Data {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_rule_of_the_highest_priority_decides() {
        let read = r#"{ capabilities = ["read"] }"#;
        let deny = r#"{ capabilities = ["deny"] }"#;
        for (allowing, denying, may) in [
            ("kv/data/web", "kv/data/*", true),
            ("kv/data/*", "kv/data/web", false),
            ("kv/data/we*", "kv/data/w*", true),
            ("kv/+/web", "kv/data/*", false),
            ("kv/data/*", "kv/+/web", true),
            ("kv/data/+", "kv/+/web", true),
            ("+/data/web", "+/+/web", true),
            ("+/data/*", "+/data/web", false),
            ("kv/data", "*", false),
        ] {
            let acl = acl(&format!("path \"{allowing}\" {read}\npath \"{denying}\" {deny}"));
            let may_read = acl.at("kv/data/web").is_some_and(|rule| rule.may(&["read"]));
            assert_eq!(may_read, may, "{allowing} against {denying}");
        }
        assert!(acl("").at("kv/data/web").is_none());
    }

    #[test]
    fn parameters_decide_about_a_write() {
        let rule = |more: &str| {
            let acl = acl(&format!(
                "path \"pki/issue/web\" {{ capabilities = [\"update\"] {more} }}"
            ));
            acl.at("pki/issue/web").unwrap().clone()
        };
        let written = data(r#"{"common_name": "web.test"}"#);
        for (more, refused) in [
            ("", false),
            ("allowed_parameters = { \"common_name\" = [] }", false),
            ("allowed_parameters = { \"common_name\" = [\"*.test\"] }", false),
            ("allowed_parameters = { \"common_name\" = [\"a.test\"] }", true),
            ("allowed_parameters = { \"ttl\" = [] }", true),
            ("allowed_parameters = { \"ttl\" = [] \"*\" = [] }", false),
            ("denied_parameters = { \"Common_Name\" = [] }", true),
            ("denied_parameters = { \"common_name\" = [\"x\"] }", false),
            ("denied_parameters = { \"*\" = [] }", true),
            ("required_parameters = [\"ttl\"]", true),
            ("required_parameters = [\"common_name\"]", false),
        ] {
            assert_eq!(rule(more).refuses(&written).is_some(), refused, "{more}");
        }
    }
}
