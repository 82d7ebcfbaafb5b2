//! The rules of a policy, from the policy's text: the part of HCL that policies are written in, or JSON. A policy that has more than
//! that is not evaluated.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A rule: `path "kv/data/*" { … }`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) path: String,
    pub(super) capabilities: Vec<String>,
    pub(super) allowed: Parameters,
    pub(super) denied: Parameters,
    pub(super) required: Vec<String>,
}

/// Names of fields in lower case, each with the values that count. Without a value, every value counts.
pub(super) type Parameters = BTreeMap<String, Vec<String>>;

/// The most blocks and lists inside each other.
const MAX_DEPTH: usize = 8;
/// The longest policy that is parsed, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// The rules of a policy. None: the text has something that the doctor does not know.
pub(super) fn rules(policy: &str) -> Option<Vec<Rule>> {
    if policy.len() > MAX_BYTES {
        return None;
    }
    let paths = match serde_json::from_str::<Value>(policy) {
        Ok(json) => json_paths(&json)?,
        Err(_) => Parser::new(policy)?.paths()?,
    };
    paths.into_iter().map(|(path, block)| rule(path, &block)).collect()
}

fn json_paths(json: &Value) -> Option<Vec<(String, Map<String, Value>)>> {
    let object = json.as_object()?;
    if object.keys().any(|key| key != "path") {
        return None;
    }
    let lists: Vec<&Value> = match object.get("path")? {
        Value::Array(list) => list.iter().collect(),
        one => vec![one],
    };
    let mut paths = Vec::new();
    for list in lists {
        for (path, block) in list.as_object()? {
            paths.push((path.clone(), block.as_object()?.clone()));
        }
    }
    Some(paths)
}

fn rule(path: String, block: &Map<String, Value>) -> Option<Rule> {
    let mut rule = Rule {
        path: path.strip_prefix('/').unwrap_or(&path).to_owned(),
        ..Rule::default()
    };
    // The server fills in what a template says: <https://openbao.org/docs/concepts/policies/#templated-policies>.
    if path.contains("{{") {
        return None;
    }
    for (name, value) in block {
        match name.as_str() {
            "capabilities" => rule.capabilities.extend(strings(value)?),
            "policy" => rule.capabilities.extend(old_word(value.as_str()?)?),
            "allowed_parameters" => rule.allowed = parameters(value)?,
            "denied_parameters" => rule.denied = parameters(value)?,
            "required_parameters" => rule.required = strings(value)?.iter().map(|name| name.to_lowercase()).collect(),
            "comment" | "pagination_limit" | "subscribe_event_types" => {}
            _ => return None,
        }
    }
    Some(rule)
}

/// The words of before capabilities.
fn old_word(word: &str) -> Option<Vec<String>> {
    let words: &[&str] = match word {
        "deny" => &["deny"],
        "read" => &["read", "list"],
        "write" => &["create", "read", "update", "delete", "list"],
        "sudo" => &["create", "read", "update", "delete", "list", "sudo"],
        _ => return None,
    };
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}

fn strings(value: &Value) -> Option<Vec<String>> {
    value
        .as_array()?
        .iter()
        .map(|text| text.as_str().map(str::to_owned))
        .collect()
}

fn parameters(value: &Value) -> Option<Parameters> {
    let object = value.as_object()?.iter();
    let named = object.map(|(name, values)| Some((name.to_lowercase(), strings(values)?)));
    named.collect()
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// A word, a number or a quoted text.
    Text(String),
    Mark(char),
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn new(text: &str) -> Option<Self> {
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                c if c.is_whitespace() => {}
                '{' | '}' | '[' | ']' | '=' | ',' => tokens.push(Token::Mark(c)),
                '#' => while chars.next_if(|c| *c != '\n').is_some() {},
                '/' => match chars.next()? {
                    '/' => while chars.next_if(|c| *c != '\n').is_some() {},
                    '*' => {
                        let mut last = ' ';
                        loop {
                            let c = chars.next()?;
                            if last == '*' && c == '/' {
                                break;
                            }
                            last = c;
                        }
                    }
                    _ => return None,
                },
                '"' => {
                    let mut text = String::new();
                    loop {
                        match chars.next()? {
                            '"' => break,
                            '\n' => return None,
                            '\\' => text.push(match chars.next()? {
                                c @ ('"' | '\\') => c,
                                _ => return None,
                            }),
                            c => text.push(c),
                        }
                    }
                    tokens.push(Token::Text(text));
                }
                c if is_of_a_word(c) => {
                    let mut word = String::from(c);
                    while let Some(c) = chars.next_if(|c| is_of_a_word(*c)) {
                        word.push(c);
                    }
                    tokens.push(Token::Text(word));
                }
                _ => return None,
            }
        }
        Some(Self { tokens, at: 0 })
    }

    fn paths(&mut self) -> Option<Vec<(String, Map<String, Value>)>> {
        let mut paths = Vec::new();
        while self.at < self.tokens.len() {
            if self.text()? != "path" {
                return None;
            }
            let path = self.text()?;
            paths.push((path, self.block(0)?));
        }
        Some(paths)
    }

    fn block(&mut self, depth: usize) -> Option<Map<String, Value>> {
        let mut block = Map::new();
        self.expect('{')?;
        while !self.takes('}') {
            let name = self.text()?;
            self.takes('=');
            let value = self.value(depth + 1)?;
            // A block may come in several parts; the doctor does not join them.
            if block.insert(name, value).is_some() {
                return None;
            }
            self.takes(',');
        }
        Some(block)
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        match self.tokens.get(self.at)? {
            Token::Mark('{') => self.block(depth).map(Value::Object),
            Token::Mark('[') => {
                self.at += 1;
                let mut list = Vec::new();
                while !self.takes(']') {
                    list.push(self.value(depth + 1)?);
                    self.takes(',');
                }
                Some(Value::Array(list))
            }
            Token::Mark(_) => None,
            Token::Text(_) => self.text().map(Value::String),
        }
    }

    fn text(&mut self) -> Option<String> {
        match self.tokens.get(self.at)? {
            Token::Text(text) => {
                self.at += 1;
                Some(text.clone())
            }
            Token::Mark(_) => None,
        }
    }

    fn takes(&mut self, mark: char) -> bool {
        let takes = self.tokens.get(self.at) == Some(&Token::Mark(mark));
        self.at += usize::from(takes);
        takes
    }

    fn expect(&mut self, mark: char) -> Option<()> {
        self.takes(mark).then_some(())
    }
}

fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || "_-.".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_as_people_write_them() {
        let parsed = rules(
            r#"
            # the web
            path "kv/data/*" { capabilities = ["read", "list",] }  // both
            path "/pki/issue/web" {
              capabilities = ["update"]
              allowed_parameters = { "common_name" = ["a.test", "b.test"] "TTL" = [] }
              required_parameters = ["common_name"]
            } /* end */
            path "old/*" { policy = "write" }
            "#,
        );
        let parsed = parsed.unwrap();
        assert_eq!(parsed.len(), 3);
        assert_eq!(parsed[0].capabilities, ["read", "list"]);
        assert_eq!(parsed[1].path, "pki/issue/web");
        assert_eq!(parsed[1].allowed["common_name"], ["a.test", "b.test"]);
        assert!(parsed[1].allowed["ttl"].is_empty());
        assert!(parsed[2].capabilities.contains(&"update".to_owned()));
        let json = rules(r#"{"path": {"kv/data/web": {"capabilities": ["read"]}}}"#).unwrap();
        assert_eq!(json[0].path, "kv/data/web");
    }

    #[test]
    fn what_the_doctor_does_not_know_is_not_evaluated() {
        for text in [
            r#"path "a/{{identity.entity.name}}" { capabilities = ["read"] }"#,
            r#"path "a" { capabilities = ["read"] min_wrapping_ttl = "1s" }"#,
            r#"path "a" { capabilities = ["read"]"#,
            r#"path "a" "b""#,
            "path \"a\\x\" {}",
            "/* no end",
            "rules",
            &"path \"a\" { a = [".repeat(2000),
        ] {
            assert_eq!(rules(text), None, "{text}");
        }
        let deep = format!("path \"a\" {{ a = {}", "[".repeat(100_000));
        assert_eq!(rules(&deep), None);
    }
}
