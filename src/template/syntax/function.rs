//! The functions that a template may call, and what they take.

use crate::template::error::Fault;
use crate::template::syntax::refused;
use crate::text::{nearest, unquoted};

/// What a parameter takes: the Go type of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Param {
    /// `interface {}`
    Any,
    /// `reflect.Value`: as `Any`, but nothing stays nothing.
    Value,
    /// `string`
    Text,
    /// `int`
    Int,
    /// `[]string`
    Strings,
}

/// The functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[rustfmt::skip]
pub(crate) enum Id {
    And, Or, Not, Eq, Ne, Lt, Le, Gt, Ge, Index, Slice, Len, Html, Js, UrlQuery, Print, Printf, Println,
    Secret, PkiCert,
    Base64Encode, Base64Decode, Base64UrlEncode, Base64UrlDecode,
    ToJson, ToJsonPretty, ToUnescapedJson, ToUnescapedJsonPretty, ToYaml, ParseJson, ParseYaml,
    Trim, TrimSpace, TrimPrefix, TrimSuffix, ToLower, ToUpper, ToTitle, ReplaceAll, Split, Join, Contains, Indent, Sha256Hex,
}

/// A function: its name, its parameters, and the type of what may follow them.
#[derive(Debug)]
pub(crate) struct KnownFunction {
    pub(crate) name: &'static str,
    pub(crate) id: Id,
    pub(crate) fixed: &'static [Param],
    pub(crate) rest: Option<Param>,
}

const fn function(name: &'static str, id: Id, fixed: &'static [Param], rest: Option<Param>) -> KnownFunction {
    KnownFunction { name, id, fixed, rest }
}

use Param::{Any, Int, Strings, Text, Value};

static FUNCTIONS: &[KnownFunction] = &[
    function("and", Id::And, &[Value], Some(Value)),
    function("or", Id::Or, &[Value], Some(Value)),
    function("not", Id::Not, &[Value], None),
    function("eq", Id::Eq, &[Value], Some(Value)),
    function("ne", Id::Ne, &[Value, Value], None),
    function("lt", Id::Lt, &[Value, Value], None),
    function("le", Id::Le, &[Value, Value], None),
    function("gt", Id::Gt, &[Value, Value], None),
    function("ge", Id::Ge, &[Value, Value], None),
    function("index", Id::Index, &[Value], Some(Value)),
    function("slice", Id::Slice, &[Value], Some(Value)),
    function("len", Id::Len, &[Value], None),
    function("html", Id::Html, &[], Some(Any)),
    function("js", Id::Js, &[], Some(Any)),
    function("urlquery", Id::UrlQuery, &[], Some(Any)),
    function("print", Id::Print, &[], Some(Any)),
    function("printf", Id::Printf, &[Text], Some(Any)),
    function("println", Id::Println, &[], Some(Any)),
    function("secret", Id::Secret, &[], Some(Text)),
    function("pkiCert", Id::PkiCert, &[], Some(Text)),
    function("base64Encode", Id::Base64Encode, &[Text], None),
    function("base64Decode", Id::Base64Decode, &[Text], None),
    function("base64URLEncode", Id::Base64UrlEncode, &[Text], None),
    function("base64URLDecode", Id::Base64UrlDecode, &[Text], None),
    function("toJSON", Id::ToJson, &[Any], None),
    function("toJSONPretty", Id::ToJsonPretty, &[Any], None),
    function("toUnescapedJSON", Id::ToUnescapedJson, &[Any], None),
    function("toUnescapedJSONPretty", Id::ToUnescapedJsonPretty, &[Any], None),
    function("toYAML", Id::ToYaml, &[Any], None),
    function("parseJSON", Id::ParseJson, &[Text], None),
    function("parseYAML", Id::ParseYaml, &[Text], None),
    function("trim", Id::Trim, &[Text, Text], None),
    function("trimSpace", Id::TrimSpace, &[Text], None),
    function("trimPrefix", Id::TrimPrefix, &[Text, Text], None),
    function("trimSuffix", Id::TrimSuffix, &[Text, Text], None),
    function("toLower", Id::ToLower, &[Text], None),
    function("toUpper", Id::ToUpper, &[Text], None),
    function("toTitle", Id::ToTitle, &[Text], None),
    function("replaceAll", Id::ReplaceAll, &[Text, Text, Text], None),
    function("split", Id::Split, &[Text, Text], None),
    function("join", Id::Join, &[Text, Strings], None),
    function("contains", Id::Contains, &[Any, Any], None),
    function("indent", Id::Indent, &[Int, Text], None),
    function("sha256Hex", Id::Sha256Hex, &[Text], None),
];

/// The names of all functions that a template may call.
pub fn function_names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.name)
}

impl KnownFunction {
    /// Finds a function, or says why there is none of that name.
    pub(crate) fn find(name: &str) -> Result<&'static Self, Fault> {
        if let Some(found) = FUNCTIONS.iter().find(|f| f.name == name) {
            return Ok(found);
        }
        if let Some((reason, hint)) = refused::reason(name) {
            return Err(Fault::refused(format!("the function {} is not offered: {reason}", unquoted(name))).hint(hint));
        }
        let problem = Fault::refused(format!("there is no function {}", unquoted(name)));
        // toLowerCase is toLower.
        let shorter = FUNCTIONS
            .iter()
            .filter(|f| f.name.len() > 4 && name.starts_with(f.name));
        let shorter = || shorter.max_by_key(|f| f.name.len()).map(|f| f.name);
        Err(match nearest(name, FUNCTIONS.iter().map(|f| f.name)).or_else(shorter) {
            Some(near) => problem.hint(format!("Did you mean {near}?")),
            None if name.starts_with(char::is_uppercase) => {
                problem.hint(format!("A field has a dot in front: .{}", unquoted(name)))
            }
            None => problem,
        })
    }

    /// Whether the function makes text of its arguments: the values may then be printed with the text.
    pub(crate) fn makes_text(&self) -> bool {
        !matches!(
            self.id,
            Id::And
                | Id::Or
                | Id::Not
                | Id::Eq
                | Id::Ne
                | Id::Lt
                | Id::Le
                | Id::Gt
                | Id::Ge
                | Id::Index
                | Id::Len
                | Id::Contains
        )
    }

    /// Whether everybody who has the result of the function can find out each argument, as from base64.
    pub(crate) fn keeps_its_arguments(&self) -> bool {
        matches!(
            self.id,
            Id::Html
                | Id::Js
                | Id::UrlQuery
                | Id::Print
                | Id::Println
                | Id::Base64Encode
                | Id::Base64Decode
                | Id::Base64UrlEncode
                | Id::Base64UrlDecode
                | Id::ToJson
                | Id::ToJsonPretty
                | Id::ToUnescapedJson
                | Id::ToUnescapedJsonPretty
                | Id::ToYaml
                | Id::ToLower
                | Id::ToUpper
                | Id::ToTitle
                | Id::Indent
                | Id::Join
        )
    }

    /// Whether the function prints its arguments: a missing value would become `<nil>` or `<no value>`.
    pub(crate) fn prints(&self) -> bool {
        matches!(
            self.id,
            Id::Print | Id::Printf | Id::Println | Id::Html | Id::Js | Id::UrlQuery
        )
    }

    /// The type of the argument at a place.
    pub(crate) fn param(&self, place: usize) -> Option<Param> {
        self.fixed.get(place).copied().or(self.rest)
    }

    /// Go's check of the number of arguments.
    pub(crate) fn check_count(&self, count: usize) -> Result<(), Fault> {
        let want = self.fixed.len();
        match self.rest {
            Some(_) if count < want => Err(Fault::value(format!(
                "{} needs at least {}, got {count}",
                self.name,
                arguments(want)
            ))),
            None if count != want => Err(Fault::value(format!(
                "{} needs {}, got {count}",
                self.name,
                arguments(want)
            ))),
            _ => Ok(()),
        }
    }
}

fn arguments(count: usize) -> String {
    format!("{count} argument{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_or_explained() {
        assert_eq!(KnownFunction::find("toJSON").unwrap().id, Id::ToJson);
        let near = KnownFunction::find("tojson").unwrap_err();
        assert_eq!(
            (near.message.as_str(), near.hint.as_str()),
            ("there is no function tojson", "Did you mean toJSON?")
        );
        assert_eq!(
            KnownFunction::find("toLowerCase").unwrap_err().hint,
            "Did you mean toLower?"
        );
        assert_eq!(KnownFunction::find("frobnicate").unwrap_err().hint, "");
        let left_out = KnownFunction::find("env").unwrap_err();
        assert!(
            left_out.message.starts_with("the function env is not offered: "),
            "{}",
            left_out.message
        );
        assert!(!left_out.hint.is_empty());
    }

    /// Every function that `bao agent` 2.7.2 has, and Consul's that consul-template adds.
    #[test]
    #[rustfmt::skip]
    fn every_function_of_consul_template_is_offered_or_explained() {
        for name in [
            "file", "secret", "secrets", "pkiCert", "scratch", "base64Decode", "base64Encode", "base64URLDecode", "base64URLEncode", "contains", "containsAll", "containsAny",
            "containsNone", "containsNotAll", "env", "mustEnv", "envOrDefault", "executeTemplate", "explodeMap", "mergeMap", "mergeMapWithOverride", "in", "indent", "loop", "join",
            "trim", "trimPrefix", "trimSuffix", "trimSpace", "parseBool", "parseFloat", "parseInt", "parseJSON", "parseUint", "parseYAML", "plugin", "regexReplaceAll", "regexMatch",
            "replaceAll", "sha256Hex", "md5sum", "hmacSHA256Hex", "timestamp", "toLower", "toJSON", "toJSONPretty", "toUnescapedJSON", "toUnescapedJSONPretty", "toTitle", "toTOML",
            "toUpper", "toYAML", "split", "splitToMap", "sockaddr", "writeToFile", "add", "subtract", "multiply", "divide", "modulo", "minimum", "maximum", "spew_dump", "spew_printf",
            "spew_sdump", "spew_sprintf", "sprig_upper", "and", "call", "html", "index", "slice", "js", "len", "not", "or", "print", "printf", "println", "urlquery", "eq", "ge", "gt",
            "le", "lt", "ne", "key", "ls", "tree", "service", "services", "node", "nodes", "nomadVar", "connect", "caLeaf", "caRoots", "byKey", "byTag",
        ] {
            let found = KnownFunction::find(name).map_err(|problem| problem.message).err().unwrap_or_default();
            assert!(!found.starts_with("there is no function"), "{found}");
        }
    }

    #[test]
    fn no_name_is_both_offered_and_refused() {
        for f in FUNCTIONS {
            assert!(refused::reason(f.name).is_none(), "{}", f.name);
        }
    }
}
