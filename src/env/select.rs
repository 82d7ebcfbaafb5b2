//! From a secret's data to the values of an entry of `podkey.dev/env`, as vault-action's selectors find them: a path goes through a
//! list into each element, and a single match is not a list.
//!
//! A string is returned as it is, anything else as JSON without white space, numbers as the server wrote them (JavaScript
//! would round them). Null is the text `null`.

use std::fmt;

use zeroize::Zeroizing;

use super::grammar::normalized;
use crate::json::{self, FieldNames};
use crate::plan::{EnvName, Select, ValueStep};
use crate::secret::Secret;
use crate::text::steers;

/// Why there is no value. Contains names, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectError {
    /// The secret has no such value.
    #[error("the secret has nothing at {at:?} ({available}){hint}")]
    NoMatch {
        /// The path, its steps with dots between them.
        at: String,
        /// The names that the secret has.
        available: FieldNames,
        /// What to write instead.
        hint: &'static str,
    },
    /// A field of a whole secret has a name that no variable can have.
    #[error(
        "the field {field:?} makes the variable {name:?}, which {problem}: name the fields one by one, or write ** or a prefix"
    )]
    Name {
        /// The field.
        field: String,
        /// The variable that the field would become.
        name: String,
        /// Why the name is not valid.
        problem: String,
    },
    /// A wildcard would make variables that steer programs, and the secret's writer chose their names.
    #[error(
        "the wildcard would make variables that decide what programs run, load or connect to, and the writer of the secret \
         must not choose those: {0}"
    )]
    Steering(SteeringNames),
    /// A text is not valid Unicode (a lone surrogate).
    #[error("the value at {at:?} is not valid Unicode text")]
    NotText {
        /// The place of the text.
        at: String,
    },
    /// The data is not a JSON object.
    #[error("the secret's data is not a JSON object")]
    NotAnObject,
}

/// The names of refused variables, for a message: at most [`MAX_NAMES_BYTES`], and the number of the other names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SteeringNames {
    shown: String,
    more: usize,
}

/// The longest list of [`SteeringNames`] in bytes, so that the whole message fits into a report.
const MAX_NAMES_BYTES: usize = 1536;

impl SteeringNames {
    /// Adds the variable that this field would become.
    fn push(&mut self, field: &str, name: &str) {
        let of = match field == name {
            true => String::new(),
            false => format!(" (the field {:?})", FieldNames::short(field)),
        };
        let item = format!("{:?}{of}", FieldNames::short(name));
        if self.more > 0 || self.shown.len() + item.len() > MAX_NAMES_BYTES {
            self.more += 1;
            return;
        }
        if !self.shown.is_empty() {
            self.shown.push_str(", ");
        }
        self.shown.push_str(&item);
    }

    fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }
}

impl fmt::Display for SteeringNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)?;
        match self.more {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// The data for the selectors: the inside of `data.data`, if that is an object, otherwise `data` itself. vault-action recognises KV v2
/// in this way. Call this once for each answer: a KV v2 secret may itself have a field `data`.
pub(crate) fn inside(data: &str) -> &str {
    let inner = json::members(data)
        .into_iter()
        .flatten()
        .rfind(|(name, _)| name == "data");
    match inner {
        Some((_, inner)) if inner.starts_with('{') => inner,
        _ => data,
    }
}

/// The values of one entry, each with its variable. `data` is a JSON object.
///
/// A wildcard that would make a variable for which `steers` is true makes no variable at all: a job that misses one of its variables
/// would fail in the middle of its work, and the reason would be in another log.
pub(crate) fn select(select: &Select, data: &str) -> Result<Vec<(EnvName, Secret)>, SelectError> {
    let (prefix, upper_case) = match select {
        Select::Value { at, name } => return Ok(vec![(name.clone(), value_at(at, data)?)]),
        Select::UpperCase { prefix } => (prefix, true),
        Select::KeepCase { prefix } => (prefix, false),
    };
    let written = |text: &str| match upper_case {
        true => normalized(text).to_uppercase(),
        false => normalized(text),
    };
    let members = json::members(data).ok_or(SelectError::NotAnObject)?;
    let own = written(prefix);
    let mut refused = SteeringNames::default();
    let mut named = Vec::with_capacity(members.len());
    for (field, json) in members {
        let name = written(&format!("{prefix}{field}"));
        if steers(&name, &own) {
            refused.push(&field, &name);
        }
        named.push((field, name, json));
    }
    if !refused.is_empty() {
        return Err(SelectError::Steering(refused));
    }
    let mut values = Vec::with_capacity(named.len());
    for (field, name, json) in named {
        let name = name.parse::<EnvName>().map_err(|problem| SelectError::Name {
            field: FieldNames::short(&field),
            name: FieldNames::short(&name),
            problem: problem.to_string(),
        })?;
        values.push((name, value(json, || FieldNames::short(&field))?));
    }
    Ok(values)
}

/// Whether an entry can make this variable.
pub(crate) fn may_make(select: &Select, variable: &str) -> bool {
    match select {
        Select::Value { name, .. } => name.as_str() == variable,
        Select::UpperCase { prefix } => variable.starts_with(&normalized(prefix).to_uppercase()),
        Select::KeepCase { prefix } => variable.starts_with(&normalized(prefix)),
    }
}

/// The value at the end of the path.
fn value_at(at: &[ValueStep], data: &str) -> Result<Secret, SelectError> {
    let shown = || {
        let mut text = String::new();
        for step in at {
            match step {
                ValueStep::Key(key) if text.is_empty() => text.push_str(key),
                ValueStep::Key(key) => text.push_str(&format!(".{key}")),
                ValueStep::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        FieldNames::short(&text)
    };
    match find(at, data) {
        Some(Match::One(json)) => value(json, shown),
        Some(Match::Many(items)) => {
            let mut out = Zeroizing::new(vec![b'[']);
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(&json_text(item));
            }
            out.push(b']');
            Ok(out.into())
        }
        None => {
            let members = json::members(data).ok_or(SelectError::NotAnObject)?;
            let dotted = at.len() > 1 && members.iter().any(|(name, _)| name.contains('.'));
            Err(SelectError::NoMatch {
                at: shown(),
                available: FieldNames::of(members.iter().map(|(name, _)| name.as_ref())),
                hint: match dotted {
                    true => ": write backticks around a name with a dot in it, as in `a.b`",
                    false => "",
                },
            })
        }
    }
}

fn value(json: &str, at: impl Fn() -> String) -> Result<Secret, SelectError> {
    if !json.starts_with('"') {
        return Ok(json_text(json).into());
    }
    match serde_json::from_str::<String>(json) {
        Ok(text) => Ok(text.into_bytes().into()),
        Err(_) => Err(SelectError::NotText { at: at() }),
    }
}

/// JSON without the white space between its tokens, strings as JavaScript writes them (a server in Go also escapes `&`, `<` and `>`),
/// numbers as the server wrote them.
fn json_text(json: &str) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(json.len()));
    for token in json::tokens(json) {
        let is_escaped = token.starts_with('"') && token.contains('\\');
        // A lone surrogate is not valid text. The token stays as written.
        let text = is_escaped.then(|| serde_json::from_str::<String>(token).ok().map(Zeroizing::new));
        match text.flatten().and_then(|text| serde_json::to_vec(&*text).ok()) {
            Some(written) => out.extend_from_slice(&Zeroizing::new(written)),
            None => out.extend_from_slice(token.as_bytes()),
        }
    }
    out
}

/// The result of a step: one value, or a sequence of values that JSONata collects. (A sequence is not a list in the secret.)
enum Match<'a> {
    One(&'a str),
    Many(Vec<&'a str>),
}

impl<'a> Match<'a> {
    /// The elements of a list, or the value itself.
    fn spread(self) -> Vec<&'a str> {
        match self {
            Self::One(json) => json::elements(json).unwrap_or_else(|| vec![json]),
            Self::Many(items) => items,
        }
    }
}

/// Follows the path as JSONata does.
fn find<'a>(at: &[ValueStep], data: &'a str) -> Option<Match<'a>> {
    let mut here = vec![data];
    let mut steps = at;
    while let Some((step, after)) = steps.split_first() {
        let ValueStep::Key(key) = step else { return None };
        let indexes = after
            .iter()
            .take_while(|step| matches!(step, ValueStep::Index(_)))
            .count();
        let (indexes, rest) = after.split_at(indexes);
        steps = rest;
        let mut found: Vec<Match<'a>> = Vec::new();
        'items: for item in here {
            let Some(mut value) = look_up(item, key) else { continue };
            for index in indexes {
                let ValueStep::Index(index) = index else { return None };
                match element(value, *index) {
                    Some(json) => value = Match::One(json),
                    None => continue 'items,
                }
            }
            found.push(value);
        }
        // At the end of the path a list stays a list.
        if steps.is_empty() && found.len() == 1 && matches!(&found[0], Match::One(_)) {
            return found.pop();
        }
        here = found.into_iter().flat_map(Match::spread).collect();
    }
    match here.len() {
        0 => None,
        1 => here.pop().map(Match::One),
        _ => Some(Match::Many(here)),
    }
}

/// The member of an object, or of each element of a list.
fn look_up<'a>(item: &'a str, key: &str) -> Option<Match<'a>> {
    if let Some(elements) = json::elements(item) {
        // One level of lists is enough: secrets do not have lists in lists that people search for a name.
        let found: Vec<&str> = elements
            .into_iter()
            .filter_map(|element| member(element, key))
            .flat_map(|json| Match::One(json).spread())
            .collect();
        return (!found.is_empty()).then_some(Match::Many(found));
    }
    member(item, key).map(Match::One)
}

fn member<'a>(item: &'a str, key: &str) -> Option<&'a str> {
    let members = json::members(item)?;
    // Of two members with one name, JavaScript takes the last.
    members.into_iter().rfind(|(name, _)| name == key).map(|(_, json)| json)
}

/// An element; a negative index counts from the end. A value that is not a list counts as a list with one element.
fn element(value: Match<'_>, index: i32) -> Option<&str> {
    let items = value.spread();
    let at = match usize::try_from(index) {
        Ok(at) => at,
        Err(_) => items.len().checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
    };
    items.get(at).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::grammar::parse;
    use crate::plan::ApiPath;

    fn selected(selector: &str, data: &str) -> Result<Vec<(String, String)>, SelectError> {
        let entry = parse::<ApiPath>(&format!("p {selector}")).unwrap().pop().unwrap();
        let values = select(&entry.select, data)?;
        let text = |value: Secret| String::from_utf8(value.expose().to_vec()).unwrap();
        Ok(values
            .into_iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect())
    }

    fn one(selector: &str, data: &str) -> String {
        selected(&format!("{selector} | X"), data).unwrap().pop().unwrap().1
    }

    /// The numbers are those of the acceptance cases in vault-action's tests and observed behaviour.
    #[test]
    fn values_are_found_and_written_as_vault_action_does() {
        for (case, selector, data, expected) in [
            ("23", "key.value", r#"{"key":{"value":1}}"#, "1"),
            ("25", "nested.`c-d`", r#"{"nested":{"c-d":"v"}}"#, "v"),
            ("28", "$.$", r#"{ "a" : 1.10, "b":[ 1 ]}"#, r#"{"a":1.10,"b":[1]}"#),
            ("31", "k", r#"{"k":true}"#, "true"),
            ("31", "k", r#"{"k":null}"#, "null"),
            ("31", "k", r#"{"k":""}"#, ""),
            ("32", "k", r#"{"k":{"x": 1, "y":"q\"x"}}"#, r#"{"x":1,"y":"q\"x"}"#),
            (
                "34",
                "k",
                r#"{"k":"\n  {\n    \"x\":1\r\n  }\n"}"#,
                "\n  {\n    \"x\":1\r\n  }\n",
            ),
            ("35", "k", r#"{"k":"{\"x\":\"a\\nb\"}"}"#, r#"{"x":"a\nb"}"#),
            ("47", "\"other-Secret-dash\"", r#"{"other-Secret-dash":"v"}"#, "v"),
            ("", "`a.b`", r#"{"a.b":"v"}"#, "v"),
            ("", "k", r#"{"k":1,"k":2}"#, "2"),
            ("", "k", r#"{"k":12345678901234567890}"#, "12345678901234567890"),
            ("D.2", "k[1].b", r#"{"k":[{"b":1},{"b":2}]}"#, "2"),
            ("D.2", "$.k[-1]", r#"{"k":["a","b","c"]}"#, "c"),
            ("", "$.k[0]", r#"{"k":"a"}"#, "a"),
            ("", "$.k[0]", r#"{"k":[["a","b"]]}"#, r#"["a","b"]"#),
            ("", "$.k[0][1]", r#"{"k":[["a","b"]]}"#, "b"),
            // Through lists.
            ("", "k.b", r#"{"k":[{"b":1},{"c":0},{"b":2}]}"#, "[1,2]"),
            ("", "k.b", r#"{"k":[{"b":1}]}"#, "1"),
            ("", "k.b", r#"{"k":[{"b":[1,2]},{"b":3}]}"#, "[1,2,3]"),
            ("", "k.b", r#"{"k":{"b":[1]}}"#, "[1]"),
            ("", "k.b[0]", r#"{"k":[{"b":[1,2]},{"b":[3]}]}"#, "[1,3]"),
        ] {
            assert_eq!(one(selector, data), expected, "case {case}: {selector} of {data}");
        }
    }

    #[test]
    fn a_missing_field_is_reported_with_the_names_of_the_existing_fields() {
        for (selector, data, expected) in [
            (
                "gone",
                r#"{"a":"canary"}"#,
                "nothing at \"gone\" (it has 1 field: [\"a\"])",
            ),
            ("a.b", r#"{"a":"canary"}"#, "nothing at \"a.b\""),
            ("dot.key", r#"{"dot.key":"canary"}"#, "write backticks"),
            ("$.a[1]", r#"{"a":["canary"]}"#, "nothing at \"a[1]\""),
            ("$.a[-2]", r#"{"a":["canary"]}"#, "nothing at \"a[-2]\""),
            ("a.b", r#"{"a":[]}"#, "nothing at"),
            ("a", "[\"canary\"]", "not a JSON object"),
            ("a", r#"{"a":"\ud800"}"#, "not valid Unicode"),
        ] {
            let error = selected(&format!("{selector} | X"), data).unwrap_err().to_string();
            assert!(
                error.contains(expected) && !error.contains("canary"),
                "{selector}: {error}"
            );
        }
        // The webhook makes no such plan.
        assert!(value_at(&[ValueStep::Index(0)], r#"{"a":1}"#).is_err());
    }

    #[test]
    fn a_whole_secret_s_fields_are_named_as_vault_action_names_them() {
        let names = |selector: &str, data: &str| {
            let values = selected(selector, data).unwrap();
            values
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
        };
        for (case, selector, data, expected) in [
            ("55", "*", r#"{"secret":"s"}"#, vec!["SECRET=s"]),
            ("56", "* | GROUP_", r#"{"secret":"s"}"#, vec!["GROUP_SECRET=s"]),
            ("58", "*", r#"{"other-Secret-dash":"s"}"#, vec!["OTHERSECRETDASH=s"]),
            (
                "59",
                "*",
                r#"{"secret.foo":1,"secret.foo.bar":2}"#,
                vec!["SECRET__FOO=1", "SECRET__FOO__BAR=2"],
            ),
            ("61", "* | my_", r#"{"secret":"s"}"#, vec!["MY_SECRET=s"]),
            ("62", "** | p.q-", r#"{"Key":"s"}"#, vec!["p__qKey=s"]),
            ("64", "*", r#"{"a\"b":"s"}"#, vec!["AB=s"]),
            ("65", "*", r#"{"a-b":1,"ab":2}"#, vec!["AB=1", "AB=2"]),
            ("", "*", "{}", vec![]),
        ] {
            assert_eq!(names(selector, data), expected, "case {case}");
        }
        for (data, expected) in [
            (r#"{"path":"canary"}"#, "\"PATH\" (the field \"path\")"),
            (r#"{"--":"canary"}"#, "makes the variable \"\""),
        ] {
            let error = selected("*", data).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("canary"), "{error}");
        }
    }

    /// Regression: a field `MAKEFLAGS` with `--eval=$(shell …)` was exported, and `make` ran the command.
    #[test]
    fn a_wildcard_over_a_secret_with_makeflags_is_refused() {
        for (selector, data, expected) in [
            ("*", r#"{"ok":"canary","MAKEFLAGS":"canary"}"#, &["\"MAKEFLAGS\""][..]),
            (
                "*",
                r#"{"make-flags":"canary","git.ssh":"x","db":"x","git_ssh":"x"}"#,
                &[
                    "\"MAKEFLAGS\" (the field \"make-flags\")",
                    "\"GIT_SSH\"",
                    "\"GIT__SSH\"",
                ],
            ),
            (
                "* | MAKEFL",
                r#"{"a-g-s":"canary"}"#,
                &["\"MAKEFLAGS\" (the field \"a-g-s\")"],
            ),
            ("* | l.d", r#"{"preload":"canary"}"#, &[]),
            ("** | LD_", r#"{"PRELOAD":"canary"}"#, &["\"LD_PRELOAD\""]),
            ("** | git_", r#"{"askpass":"canary"}"#, &["\"git_askpass\""]),
            ("* | http-", r#"{"_proxy":"canary"}"#, &["\"HTTP_PROXY\""]),
            // Characters that become other letters in upper case: a long s, a ligature.
            ("*", "{\"\u{17f}hell\":\"canary\"}", &["\"SHELL\""]),
            ("*", "{\"c\u{fb02}ags\":\"canary\"}", &["\"CFLAGS\""]),
        ] {
            let made = selected(selector, data);
            if expected.is_empty() {
                assert!(made.is_ok(), "{selector}: {made:?}");
                continue;
            }
            let error = made.unwrap_err().to_string();
            assert!(!error.contains("canary") && !error.contains("\"DB\""), "{error}");
            for text in expected {
                assert!(error.contains(text), "{selector}: no {text} in {error}");
            }
        }
        // A name that the author writes is allowed.
        assert_eq!(one("MAKEFLAGS", r#"{"MAKEFLAGS":"-j2"}"#), "-j2");
        let spelled = selected("f | MAKEFLAGS", r#"{"f":"-j2"}"#).unwrap();
        assert_eq!(spelled, [("MAKEFLAGS".to_owned(), "-j2".to_owned())]);
    }

    #[test]
    fn with_an_authors_prefix_the_wildcard_is_allowed() {
        for (selector, expected) in [
            ("* | APP_", ["APP_DEPLOY_PATH", "APP_HTTP_PROXY", "APP_JAVA_OPTS"]),
            ("** | app.", ["app__DEPLOY_PATH", "app__HTTP_PROXY", "app__JAVA_OPTS"]),
        ] {
            let data = r#"{"DEPLOY_PATH":"a","HTTP_PROXY":"b","JAVA_OPTS":"c"}"#;
            let names: Vec<String> = selected(selector, data)
                .unwrap()
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            assert_eq!(names, expected);
        }
    }

    #[test]
    fn a_thousand_refused_names_make_a_short_message() {
        let fields: Vec<String> = (0..1000)
            .map(|n| format!("\"git_{n}_{}\":1", "x".repeat(100)))
            .collect();
        let error = selected("*", &format!("{{{}}}", fields.join(",")))
            .unwrap_err()
            .to_string();
        assert!(error.len() < 2000 && error.contains("\"GIT_0_"), "{error}");
        let shown = error.matches("(the field").count();
        assert!(error.ends_with(&format!(" and {} more", 1000 - shown)), "{error}");
    }

    #[test]
    fn a_map_is_written_without_the_escapes_of_a_server_in_go() {
        let data =
            r#"{"db":{"url":"postgres://h/d?a=1\u0026b=\u003cx\u003e","n":1.10,"quoted":"\"\n","\u0026":"\ud800"}}"#;
        for selector in ["db | X", "$.$ | X"] {
            let values = selected(selector, data).unwrap();
            let expected = r#"{"url":"postgres://h/d?a=1&b=<x>","n":1.10,"quoted":"\"\n","&":"\ud800"}"#;
            let text: String = values.iter().map(|(_, value)| value.as_str()).collect();
            assert!(text.contains(expected), "{selector}: {text}");
        }
    }

    #[test]
    fn kv_v2_is_recognised_as_vault_action_does() {
        for (case, data, expected) in [
            ("46", r#"{"data":{"k":"v"},"metadata":{"version":1}}"#, r#"{"k":"v"}"#),
            ("47", r#"{"k":"v"}"#, r#"{"k":"v"}"#),
            ("49", r#"{"data":{"k":"v"}}"#, r#"{"k":"v"}"#),
            ("", r#"{"data":null,"k":1}"#, r#"{"data":null,"k":1}"#),
            // vault-action finds nothing in this answer.
            ("", r#"{"data":"text","k":1}"#, r#"{"data":"text","k":1}"#),
        ] {
            assert_eq!(inside(data), expected, "case {case}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_data_causes_a_panic(data in "[{}\\[\\]\":,a1 ]{0,30}", index in -3_i32..3) {
            let at = [ValueStep::Key("a".to_owned()), ValueStep::Index(index), ValueStep::Key("a".to_owned())];
            let _ = value_at(&at, &data);
            let _ = inside(&data);
        }
    }
}
