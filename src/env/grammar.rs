//! The grammar of vault-action's `secrets` input, `path key | NAME ;`, unchanged.
//!
//! ```text
//! list     = [ entry ] { ";" [ entry ] }
//! entry    = path selector [ "|" name ]           without white space in path, selector and name
//! path     = API path [ "?version=" number ]      a slash before it is ignored
//! selector = "*" | "**"                           every field: names in upper case, or unchanged; NAME is their prefix
//!          | key                                  no dot: the field of that very name, double quotes around it ignored
//!          | step { "." step }                    a dot: into the value of a field
//! step     = key | `key` | 'key' | "$"            then any number of [0], [1], [-1]; "$" is the current value
//! ```
//!
//! Without a name, the variable gets its name from the selector: each `.` becomes `__`, characters other than letters, digits and `_`
//! are removed, and the rest is in upper case. A selector that is not a plain path needs a name.
//!
//! Text that vault-action would refuse only in the job, or would treat in a surprising way, is a problem here: JSONata's functions and
//! operators, an index or quotes that vault-action takes for a part of the name, two entries with one name, names that
//! take over a job, white space in a name (usually a forgotten `;`).

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use super::selector::{self, Selector};
use crate::plan::{ApiPath, EnvName, EnvSecret, Invalid, MAX_ENV_SECRETS, Select, spelling};
use crate::text::quoted;

/// The longest text, in bytes.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// A problem of one entry, with the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryProblem {
    /// The number of the entry, from 1, without blank entries. None: the problem is about the whole text.
    pub entry: Option<usize>,
    /// The problem and the remedy: the rest of a sentence that begins with the entry.
    pub message: String,
}

impl fmt::Display for EntryProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entry {
            Some(entry) => write!(f, "entry {entry} {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// One entry as written, with parts that are not parsed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EnvEntry<'a> {
    /// The number of the entry, from 1.
    pub(crate) number: usize,
    /// The path to read.
    pub(crate) path: &'a str,
    /// The selector, with its quotes.
    pub(crate) selector: &'a str,
    /// The text behind the last `|`.
    pub(crate) name: Option<&'a str>,
}

/// Splits the text into entries.
pub(crate) fn entries(text: &str) -> impl Iterator<Item = Result<EnvEntry<'_>, EntryProblem>> {
    text.split(';')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .zip(1..)
        .map(|(entry, number)| {
            let problem = |message| EntryProblem {
                entry: Some(number),
                message,
            };
            let (spec, name) = match entry.rsplit_once('|') {
                Some((spec, name)) => (spec, Some(name.trim())),
                None => (entry, None),
            };
            if name.is_some_and(str::is_empty) {
                return Err(problem(format!("({}) has no name after the |", quoted(entry))));
            }
            let mut words = spec.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some(path), Some(selector), None) => Ok(EnvEntry {
                    number,
                    path,
                    selector,
                    name,
                }),
                (first, ..) => Err(problem(format!("({}) {}", quoted(entry), no_entry(spec, first)))),
            }
        })
}

/// Why the part before the name is not a path and a key. `first`: the first word of the part.
fn no_entry(spec: &str, first: Option<&str>) -> String {
    if spec.contains("{{")
        && let Some(why) = spelling::of_path(spec)
    {
        return why;
    }
    // If the `;` is missing between two entries, a later word is a path.
    let mut words = spec.split_whitespace().skip(1);
    let may_have_space = first.is_some_and(|first| first.contains('/')) && words.clone().count() > 1;
    let space = match may_have_space && !words.any(|word| word.contains('/')) {
        true => ". A path or a key with a space in it goes into podkey.dev/files, in fields of its own",
        false => "",
    };
    format!("is not a path and a key: write \"path key | NAME\", with a ; between entries{space}")
}

/// Parses the whole text, and reports all problems. `P` is the kind of path: an [`ApiPath`], or a path with placeholders.
pub fn parse<P: FromStr<Err = Invalid>>(text: &str) -> Result<Vec<EnvSecret<P>>, Vec<EntryProblem>> {
    let whole = |message: String| Err(vec![EntryProblem { entry: None, message }]);
    if text.len() > MAX_BYTES {
        return whole(format!("is longer than {MAX_BYTES} bytes"));
    }
    let count = entries(text).count();
    if count == 0 {
        return whole("has no entry: write \"path key | NAME\", with a ; between entries".to_owned());
    }
    if count > MAX_ENV_SECRETS {
        return whole(format!("has {count} entries, allowed are {MAX_ENV_SECRETS}"));
    }
    let mut parsed: Vec<EnvSecret<P>> = Vec::with_capacity(count);
    let mut names: Vec<(EnvName, usize)> = Vec::new();
    let mut problems = Vec::new();
    for entry in entries(text) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let mut problem = |message| {
            problems.push(EntryProblem {
                entry: Some(entry.number),
                message,
            });
        };
        let path = parse_path::<P>(entry.path)
            .map_err(|why| problem(format!("has a path that cannot be read: {} {why}", quoted(entry.path))));
        let select = parse_select(&entry).map_err(&mut problem);
        if let Ok(Select::Value { name, .. }) = &select {
            if let Some((_, first)) = names.iter().find(|(other, _)| other == name) {
                problem(format!(
                    "has the name {name} of entry {first}: give it another with \"| NAME\""
                ));
            }
            names.push((name.clone(), entry.number));
        }
        if let (Ok((secret, version)), Ok(select)) = (path, select) {
            parsed.push(EnvSecret {
                secret,
                version,
                select,
            });
        }
    }
    match problems.is_empty() {
        true => Ok(parsed),
        false => Err(problems),
    }
}

fn parse_path<P: FromStr<Err = Invalid>>(text: &str) -> Result<(P, Option<NonZeroU64>), String> {
    let (path, version) = match text.split_once("?version=") {
        None => (text, None),
        Some((path, version)) => match version.parse() {
            Ok(version) => (path, Some(version)),
            Err(_) => {
                return Err(format!(
                    "asks for {}, which is not a version number (1 or more)",
                    quoted(version)
                ));
            }
        },
    };
    // vault-action sends a path with a slash at its beginning unchanged, and the server redirects to the path without the slash.
    let path = path.trim_start_matches('/');
    let secret = spelling::parse(path, spelling::of_path).map_err(|why| match why.contains("%, an escape") {
        true => format!("{why}, as `secret` of podkey.dev/files, where a path may have spaces"),
        false => why,
    })?;
    match path.parse::<ApiPath>() {
        Ok(path) if path.holds_tokens() => Err("is about tokens, not a secret".to_owned()),
        _ => Ok((secret, version)),
    }
}

fn parse_select(entry: &EnvEntry<'_>) -> Result<Select, String> {
    if let Some(name) = entry.name
        && name.contains(char::is_whitespace)
    {
        return Err(format!(
            "has white space in the name {}: end each entry with a ;",
            quoted(name)
        ));
    }
    let (at, is_plain) = match selector::parse(entry.selector) {
        Ok(Selector::UpperCase) => return Ok(Select::UpperCase { prefix: prefix(entry) }),
        Ok(Selector::KeepCase) => return Ok(Select::KeepCase { prefix: prefix(entry) }),
        Ok(Selector::Value { at, is_plain }) => (at, is_plain),
        Err(why) => return Err(format!("has the key {}, {why}", quoted(entry.selector))),
    };
    let name = match entry.name {
        Some(name) => name.to_owned(),
        None if is_plain => normalized(entry.selector).to_uppercase(),
        None => {
            return Err(format!(
                "has the key {} that makes no name: add \"| NAME\"",
                quoted(entry.selector)
            ));
        }
    };
    let name = name.parse().map_err(|why| match entry.name {
        Some(_) => format!("has the name {}, which {why}", quoted(&name)),
        None => format!(
            "has a key that makes the name {}, which {why}: give it another with \"| NAME\"",
            quoted(&name)
        ),
    })?;
    Ok(Select::Value { at, name })
}

fn prefix(entry: &EnvEntry<'_>) -> String {
    entry.name.unwrap_or_default().to_owned()
}

/// The name that vault-action makes: each `.` becomes `__`; characters other than letters, digits and `_` are removed.
/// (A few marks of Indic scripts, which JavaScript does not count as letters, stay.)
pub(crate) fn normalized(text: &str) -> String {
    let mut name = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '.' => name.push_str("__"),
            c if c.is_alphanumeric() || c == '_' => name.push(c),
            _ => {}
        }
    }
    name
}

/// The name of the output that vault-action sets for an entry.
#[cfg(feature = "webhook")]
pub(crate) fn output(entry: &EnvEntry<'_>) -> String {
    entry.name.map_or_else(|| normalized(entry.selector), str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::ValueStep;

    fn parsed(text: &str) -> Result<Vec<EnvSecret>, String> {
        parse(text).map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    /// `path>step,step=NAME`, or `path>*prefix`.
    fn shown(text: &str) -> String {
        let show = |entry: EnvSecret| {
            let version = entry.version.map_or(String::new(), |version| format!("@{version}"));
            let select = match entry.select {
                Select::UpperCase { prefix } => format!("*{prefix}"),
                Select::KeepCase { prefix } => format!("**{prefix}"),
                Select::Value { at, name } => {
                    let steps: Vec<String> = at
                        .into_iter()
                        .map(|step| match step {
                            ValueStep::Key(key) => key,
                            ValueStep::Index(index) => format!("[{index}]"),
                        })
                        .collect();
                    format!("{}={name}", steps.join(","))
                }
            };
            format!("{}{version}>{select}", entry.secret)
        };
        match parsed(text) {
            Ok(entries) => entries.into_iter().map(show).collect::<Vec<_>>().join(" "),
            Err(problems) => problems,
        }
    }

    /// A fuzz target found this: the message goes to the terminal of whoever creates the pod.
    #[test]
    fn a_problem_shows_no_control_character_of_the_text() {
        for text in ["p a[\u{1f} | N", "p `a\u{1b}[31m | N", "p a.1\u{1b}[31m | N"] {
            let problems = parse::<ApiPath>(text).unwrap_err();
            for problem in problems {
                assert!(!problem.message.contains(char::is_control), "{:?}", problem.message);
            }
        }
    }

    /// The numbers are those of the acceptance cases in vault-action's tests and observed behaviour.
    #[test]
    fn an_entry_that_vault_action_takes_is_taken() {
        for (case, text, expected) in [
            ("1", "test key", "test>key=KEY"),
            ("2", "test key|testName", "test>key=testName"),
            ("5", "first a;second b;", "first>a=A second>b=B"),
            (
                "7",
                "\n    first a;\n    second b;\n    third c | SOME_C;",
                "first>a=A second>b=B third>c=SOME_C",
            ),
            ("8", ";;p k;;", "p>k=K"),
            ("13", "p k|X", "p>k=X"),
            ("17", "p dash-key | X", "p>dash-key=X"),
            ("19", "p \"1num\"", "p>1num=1NUM"),
            ("20", "p dot.key", "p>dot,key=DOT__KEY"),
            ("20", "p \"dot.key\" | X", "p>dot,key=X"),
            ("23", "p key.value", "p>key,value=KEY__VALUE"),
            ("25", "p nested.`c-d` | X", "p>nested,c-d=X"),
            ("28", "p $.$ | X", "p>=X"),
            ("29", "测试 测试", "测试>测试=测试"),
            ("55", "secret/data/test *", "secret/data/test>*"),
            ("56", "secret/data/test * | GROUP_", "secret/data/test>*GROUP_"),
            ("62", "p ** | p.q-", "p>**p.q-"),
            ("67", "secret/data/test?version=1 k", "secret/data/test@1>k=K"),
            ("I", "/secret/data/foobar fookv2", "secret/data/foobar>fookv2=FOOKV2"),
            ("I", "a \"other-Secret-dash\"", "a>other-Secret-dash=OTHERSECRETDASH"),
            (
                "README",
                "namespace-1/secret/data/ci npm_token",
                "namespace-1/secret/data/ci>npm_token=NPM_TOKEN",
            ),
            ("D.2", "p `a.b` | N", "p>a.b=N"),
            ("D.2", "p 'a.b' | N", "p>a.b=N"),
            ("D.2", "p 'a.b'", "p>a.b=A__B"),
            ("D.2", "p a.b.c", "p>a,b,c=A__B__C"),
            ("D.2", "p k[1].b | N", "p>k,[1],b=N"),
            ("D.2", "p a.k[-1]", "p>a,k,[-1]=A__K1"),
            ("D.2", "p $.k[0][1] | N", "p>k,[0],[1]=N"),
            ("", "p \"a\".\"b\"", "p>a,b=A__B"),
            ("", "p nested.$ | N", "p>nested=N"),
            ("", "p 123 | N", "p>123=N"),
            ("", "p\tk\u{a0}|\tN", "p>k=N"),
            ("", "p k; p k | OTHER; p * ; p *", "p>k=K p>k=OTHER p>* p>*"),
        ] {
            assert_eq!(shown(text), expected, "case {case}: {text}");
        }
    }

    #[test]
    fn an_entry_that_vault_action_refuses_or_misreads_is_reported_with_a_remedy() {
        for (case, text, expected) in [
            ("", "", "has no entry"),
            ("", " ; ;", "has no entry"),
            ("4", "|testName", "entry 1 (\"|testName\") is not a path and a key"),
            ("3", "p k|", "has no name after the |"),
            ("10", "one", "is not a path and a key"),
            ("10", "one two three", "is not a path and a key"),
            ("11", "p k | A | B", "is not a path and a key"),
            ("14", "# c\np k", "is not a path and a key"),
            ("16", "p dash-key", "makes no name: add \"| NAME\""),
            ("22", "p `dash-key` | X", "write \"dash-key | NAME\""),
            ("22", "p 'dash-key' | X", "write \"dash-key | NAME\""),
            ("25", "p nested.\"c-d\" | X", "operator '-': write backticks"),
            ("26", "p $keys(nested)", "JSONata's function"),
            ("26", "p $string(nested) | X", "JSONata's function"),
            ("26", "p nested.$string() | X", "JSONata's function"),
            ("D.2", "p k[1] | NAME", "write \"$.k[1] | NAME\""),
            ("D.2", "p k[1].b", "makes no name"),
            ("100", "p k | NODE_OPTIONS", "decides what a program runs"),
            ("100", "p path", "makes the name \"PATH\""),
            ("", "p k | A\n  q l | B", "is not a path and a key"),
            (
                "",
                "p k | A\n  q",
                "white space in the name \"A\\n  q\": end each entry with a ;",
            ),
            ("", "p * | A b", "white space in the name"),
            ("", "p k; q k", "entry 2 has the name K of entry 1"),
            ("", "a/../b k", ". or .."),
            ("", "a?list=true k", "'?'"),
            ("", "a?version=0 k", "not a version number"),
            ("", "/cubbyhole/foo foo", "about tokens"),
            ("", "auth/token/lookup-self id", "about tokens"),
            ("", "p \"a", "double quote that is not closed"),
            ("", "p a\"b\" | X", "double quote inside a name"),
            ("", "p \"\" | X", "double quote inside a name"),
            ("", "p a.b[x='y'] | X", "between [ and ]"),
            ("", "p a.b[] | X", "between [ and ]"),
            ("", "p a.b[0", "between [ and ]"),
            ("", "p $.[0] | X", "'['"),
            ("", "p $.$[0] | X", "between [ and ]"),
            ("", "p $$.a | X", "JSONata's function or variable"),
            ("", "p a.* | X", "operator '*'"),
            ("", "p a..b | X", "step without a name"),
            ("", "p a. | X", "step without a name"),
            ("", "p list.0 | X", "or [0] for an element"),
            ("", "p a.`b", "that is not closed"),
            ("", "p $ | X", "\"$.$ | NAME\""),
            ("", "p a\\b | X", "backslash"),
            ("", "p - | X; q ; p $; r --", "entry 2"),
        ] {
            assert!(shown(text).contains(expected), "case {case}: {text}: {}", shown(text));
        }
    }

    #[test]
    fn a_message_contained_the_control_characters_of_a_key() {
        for problem in parse::<ApiPath>("A\u{b}!\u{e}").unwrap_err() {
            assert!(!problem.message.contains(char::is_control), "{:?}", problem.message);
        }
    }

    #[test]
    fn all_problems_are_reported_together() {
        let problems = parse::<ApiPath>("a//b k[1]; c; d `x`").unwrap_err();
        let entries: Vec<_> = problems.iter().map(|problem| problem.entry).collect();
        assert_eq!(entries, [Some(1), Some(1), Some(2), Some(3)]);
        assert!(
            parse::<ApiPath>(&"p k;".repeat(MAX_ENV_SECRETS + 1)).unwrap_err()[0]
                .message
                .contains("257 entries")
        );
        assert!(
            parse::<ApiPath>(&"x".repeat(MAX_BYTES + 1)).unwrap_err()[0]
                .message
                .contains("longer than")
        );
    }

    #[test]
    fn the_path_of_a_job_may_have_placeholders() {
        let parsed = parse::<crate::plan::PathTemplate>("ci/data/{repository} k").unwrap();
        assert_eq!(parsed[0].secret.to_string(), "ci/data/{repository}");
        assert!(parse::<crate::plan::PathTemplate>("ci/data/{repo} k").is_err());
    }

    #[test]
    fn names_are_made_as_vault_action_makes_them() {
        for (text, name) in [
            ("secret.foo.bar", "secret__foo__bar"),
            ("other-Secret-dash", "otherSecretdash"),
            ("$.$", "__"),
            ("\"a b\"", "ab"),
            ("schlüssel_1", "schlüssel_1"),
        ] {
            assert_eq!(normalized(text), name);
        }
    }

    proptest! {
        #[test]
        fn no_text_causes_a_panic(text in "[a-z$.*|; `'\"\\[\\]0-9(){}/\n-]{0,40}") {
            if let Err(problems) = parse::<ApiPath>(&text) {
                prop_assert!(!problems.is_empty());
            }
        }

        #[test]
        fn an_entry_of_plain_words_is_read_as_written(
            path in "[a-z]{1,8}(/[a-z]{1,8}){0,3}", key in "k[a-z_]{1,8}", name in "N[A-Z0-9_]{1,8}",
        ) {
            prop_assert_eq!(shown(&format!("{path} {key}|{name};")), format!("{path}>{key}={name}"));
            prop_assert_eq!(shown(&format!("{path}\t\"{key}\"\n")), format!("{path}>{key}={}", key.to_uppercase()));
        }
    }
}
