//! From a secret's data to the values an entry of `podkey.dev/env` asks for, as vault-action's selectors find them: paths
//! go through lists to what is in each element, and one hit alone is no list.
//!
//! A string is given as it is, anything else as JSON without white space, its numbers as the server wrote them (JavaScript
//! would round them). Null is the text `null`.

use std::fmt;

use zeroize::Zeroizing;

use super::grammar::normalized;
use crate::json;
use crate::plan::{EnvName, Select, ValueStep};
use crate::secret::Secret;
use crate::text::steers;

/// Why there is no value. Names only, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// Nothing is there.
    #[error("the secret has nothing at {at:?} ({available}){hint}")]
    NoMatch {
        /// The way that was looked for, its steps with dots between them.
        at: String,
        /// The names there are.
        available: String,
        /// What may have been meant.
        hint: &'static str,
    },
    /// A field of a whole secret has a name that no variable can have.
    #[error(
        "the field {field:?} makes the variable {name:?}, which {problem}: name the fields one by one, or write ** or a prefix"
    )]
    Name {
        /// The field.
        field: String,
        /// The variable it would be.
        name: String,
        /// Why it cannot be one.
        problem: String,
    },
    /// A wildcard would make variables that programs take orders from, and the secret's writer chose their names.
    #[error(
        "the wildcard would make variables that decide what programs run, load or connect to, and whoever writes the secret \
         must not choose those: {0}"
    )]
    Steering(SteeringNames),
    /// A text that is no Unicode text (a lone surrogate).
    #[error("the value at {at:?} is no valid Unicode text")]
    NotText {
        /// Where.
        at: String,
    },
    /// The data is no JSON object.
    #[error("the secret's data is no JSON object")]
    NotAnObject,
}

/// The names of refused variables, for a message: as many as `MAX_NAMES_BYTES` hold, and the number of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SteeringNames {
    shown: String,
    more: usize,
}

/// The longest list of [`SteeringNames`] in bytes: a report's message has room for it, and for what stands around it.
const MAX_NAMES_BYTES: usize = 1536;

impl SteeringNames {
    /// Adds the variable that this field would be.
    fn push(&mut self, field: &str, name: &str) {
        let of = match field == name {
            true => String::new(),
            false => format!(" (the field {:?})", short(field)),
        };
        let item = format!("{:?}{of}", short(name));
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

/// The data that selections are made in: what is inside `data.data`, if that is an object, else `data` itself. That is how
/// vault-action tells KV v2 from everything else. Only for an answer that nobody has unwrapped yet: a KV v2 secret may have a
/// field `data` too.
pub fn inside(data: &str) -> &str {
    let inner = json::members(data)
        .into_iter()
        .flatten()
        .rfind(|(name, _)| name == "data");
    match inner {
        Some((_, inner)) if inner.starts_with('{') => inner,
        _ => data,
    }
}

/// The values that one entry asks for, each with its variable. `data` is a JSON object.
///
/// A wildcard that would make a variable of which `steers` holds makes none at all: a job without one of the variables that its
/// author counts on would fail in the middle of its work, and the reason would stand in another log.
pub fn select(select: &Select, data: &str) -> Result<Vec<(EnvName, Secret)>, SelectError> {
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
            field: short(&field),
            name: short(&name),
            problem: problem.to_string(),
        })?;
        values.push((name, value(json, || short(&field))?));
    }
    Ok(values)
}

/// Whether an entry could have made this variable.
pub fn may_make(select: &Select, variable: &str) -> bool {
    match select {
        Select::Value { name, .. } => name.as_str() == variable,
        Select::UpperCase { prefix } => variable.starts_with(&normalized(prefix).to_uppercase()),
        Select::KeepCase { prefix } => variable.starts_with(&normalized(prefix)),
    }
}

/// The value at the end of the way.
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
        short(&text)
    };
    match find(at, data) {
        Some(Found::One(json)) => value(json, shown),
        Some(Found::Many(items)) => {
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
                available: names(&members),
                hint: match dotted {
                    true => ": write backticks around a name with a dot in it, as in `a.b`",
                    false => "",
                },
            })
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

fn names<T>(members: &[(std::borrow::Cow<'_, str>, T)]) -> String {
    let first: Vec<String> = members.iter().take(10).map(|(name, _)| short(name)).collect();
    match members.len() {
        0 => "it has no fields".to_owned(),
        1 => format!("it has 1 field: {first:?}"),
        n if n == first.len() => format!("it has {n} fields: {first:?}"),
        n => format!("it has {n} fields, among them {first:?}"),
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

/// JSON without the white space between its tokens, its strings as JavaScript writes them: a server in Go escapes `&`, `<` and `>`
/// too. Numbers stay as the server wrote them.
fn json_text(json: &str) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(json.len()));
    for token in json::tokens(json) {
        let is_escaped = token.starts_with('"') && token.contains('\\');
        // A lone surrogate, which is no text, stays.
        let text = is_escaped.then(|| serde_json::from_str::<String>(token).ok().map(Zeroizing::new));
        match text.flatten().and_then(|text| serde_json::to_vec(&*text).ok()) {
            Some(written) => out.extend_from_slice(&Zeroizing::new(written)),
            None => out.extend_from_slice(token.as_bytes()),
        }
    }
    out
}

/// What a step finds: one value as it is, or a sequence of them (which JSONata gathers, and which is no list of the secret's).
enum Found<'a> {
    One(&'a str),
    Many(Vec<&'a str>),
}

impl<'a> Found<'a> {
    /// One level of lists taken apart.
    fn spread(self) -> Vec<&'a str> {
        match self {
            Self::One(json) => json::elements(json).unwrap_or_else(|| vec![json]),
            Self::Many(items) => items,
        }
    }
}

/// Goes the way as JSONata does.
fn find<'a>(at: &[ValueStep], data: &'a str) -> Option<Found<'a>> {
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
        let mut found: Vec<Found<'a>> = Vec::new();
        'items: for item in here {
            let Some(mut value) = look_up(item, key) else { continue };
            for index in indexes {
                let ValueStep::Index(index) = index else { return None };
                match element(value, *index) {
                    Some(json) => value = Found::One(json),
                    None => continue 'items,
                }
            }
            found.push(value);
        }
        // At the end of the way a list stays what it is.
        if steps.is_empty() && found.len() == 1 && matches!(&found[0], Found::One(_)) {
            return found.pop();
        }
        here = found.into_iter().flat_map(Found::spread).collect();
    }
    match here.len() {
        0 => None,
        1 => here.pop().map(Found::One),
        _ => Some(Found::Many(here)),
    }
}

/// An object's member; of a list, that member of each element.
fn look_up<'a>(item: &'a str, key: &str) -> Option<Found<'a>> {
    if let Some(elements) = json::elements(item) {
        // No secret has lists in lists in lists that anyone would search for a name.
        let found: Vec<&str> = elements
            .into_iter()
            .filter_map(|element| member(element, key))
            .flat_map(|json| Found::One(json).spread())
            .collect();
        return (!found.is_empty()).then_some(Found::Many(found));
    }
    member(item, key).map(Found::One)
}

fn member<'a>(item: &'a str, key: &str) -> Option<&'a str> {
    let members = json::members(item)?;
    // Of two with one name, JavaScript has the last.
    members.into_iter().rfind(|(name, _)| name == key).map(|(_, json)| json)
}

/// An element, from the end where the index is negative. What is no list counts as a list of itself.
fn element(value: Found<'_>, index: i32) -> Option<&str> {
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
    fn what_is_not_there_is_named_with_the_names_there_are() {
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
            ("a", "[\"canary\"]", "no JSON object"),
            ("a", r#"{"a":"\ud800"}"#, "no valid Unicode"),
        ] {
            let error = selected(&format!("{selector} | X"), data).unwrap_err().to_string();
            assert!(
                error.contains(expected) && !error.contains("canary"),
                "{selector}: {error}"
            );
        }
        // A plan made by hand.
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

    /// A field `MAKEFLAGS` with `--eval=$(shell …)` was exported, and `make` ran it.
    #[test]
    fn a_wildcard_over_a_secret_with_makeflags_made_a_variable_that_make_obeyed() {
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
            // What becomes another letter in upper case: a long s, a ligature.
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
        // What the author spells out is his own.
        assert_eq!(one("MAKEFLAGS", r#"{"MAKEFLAGS":"-j2"}"#), "-j2");
        let spelled = selected("f | MAKEFLAGS", r#"{"f":"-j2"}"#).unwrap();
        assert_eq!(spelled, [("MAKEFLAGS".to_owned(), "-j2".to_owned())]);
    }

    #[test]
    fn a_prefix_of_the_authors_own_lifts_the_refusal() {
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
    fn a_map_has_the_characters_that_a_server_in_go_escapes() {
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
    fn kv_v2_is_told_as_vault_action_tells_it() {
        for (case, data, expected) in [
            ("46", r#"{"data":{"k":"v"},"metadata":{"version":1}}"#, r#"{"k":"v"}"#),
            ("47", r#"{"k":"v"}"#, r#"{"k":"v"}"#),
            ("49", r#"{"data":{"k":"v"}}"#, r#"{"k":"v"}"#),
            ("", r#"{"data":null,"k":1}"#, r#"{"data":null,"k":1}"#),
            // vault-action finds nothing in this one.
            ("", r#"{"data":"text","k":1}"#, r#"{"data":"text","k":1}"#),
        ] {
            assert_eq!(inside(data), expected, "case {case}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_data_nothing_panics(data in "[{}\\[\\]\":,a1 ]{0,30}", index in -3_i32..3) {
            let at = [ValueStep::Key("a".to_owned()), ValueStep::Index(index), ValueStep::Key("a".to_owned())];
            let _ = value_at(&at, &data);
            let _ = inside(&data);
        }
    }
}
