//! Random templates of the language. Most of them render; some use wrong types or names.

/// A generator of pseudo-random numbers: xorshift.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % n as u64).unwrap()
    }

    pub(crate) fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// What the template may use at a place: the expression of the map of values, and the variables of texts.
#[derive(Clone)]
struct Scope {
    map: Option<String>,
    texts: Vec<String>,
    any: Vec<String>,
    in_range: bool,
    variables: usize,
}

const TEXT_FIELDS: &[&str] = &[
    "username",
    "password",
    "multi",
    "crlf",
    "empty",
    "unicode",
    "braces",
    "controls",
    "json",
    "yamltext",
    "b64",
    "b64lines",
    "b64bin",
    "csv",
    "paths",
    "spaces",
    "html",
    "title",
    "octal",
    "date",
    "longtext",
    "leadspacenl",
    "spacenl",
    "nltrail",
    "trail",
    "colon",
    "long",
    "ünï",
];
const ANY_FIELDS: &[&str] = &[
    "list",
    "mixed",
    "nested",
    "emptymap",
    "emptylist",
    "port",
    "zero",
    "flag",
    "off",
    "nothing",
    "nosuch",
    "username",
    "json",
];
const LITERALS: &[&str] = &[
    r#""a""#,
    r#""""#,
    r#"" x\ty ""#,
    r#""é😀ß""#,
    "`raw \"q\"`",
    r#""a,b,,c""#,
    r#""\xff\xe2\x82""#,
    r#""Hello World""#,
    r#""0x1F""#,
    r#""{\"k\":[1,2.5,null,\"v\"]}""#,
    r#""k: [1, no, 'x']""#,
    r#""aGk=""#,
];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "-3",
    "1.5",
    "1e6",
    "0x1F",
    "'a'",
    "100",
    "1e21",
    "1e-7",
    "123456789.25",
];
const TEXT_FUNCTIONS: &[&str] = &[
    "toUpper",
    "toLower",
    "toTitle",
    "trimSpace",
    "base64Encode",
    "base64URLEncode",
    "html",
    "js",
    "urlquery",
    "print",
    "toJSON",
    "toUnescapedJSON",
    "sha256Hex",
    "toYAML",
    "toJSONPretty",
    "println",
    "indent 2",
    "trim \" x\"",
    "trimPrefix \"a\"",
    "trimSuffix \"c\"",
    "replaceAll \"a\" \"<&>\"",
    "replaceAll \"\" \"-\"",
    "printf \"%q\"",
    "printf \"%-8s|\"",
    "printf \"%x\"",
    "printf \"%.3s\"",
    "printf \"%v and %d\" 5",
    "slice",
];
const VERBS: &[&str] = &[
    "%v", "%s", "%d", "%q", "%x", "%X", "%#v", "%+v", "%T", "%5v", "%-6v|", "%05v", "%+d", "%t", "%.2f", "%g", "%e",
    "%c", "%U", "%o", "%b", "%08.3f", "%6.2v", "%#x", "% x", "%+q", "%#q", "%%", "%z",
];

fn text(r: &mut Random, s: &Scope, depth: usize) -> String {
    if depth == 0 || r.chance(30) {
        return match (r.below(4), &s.map) {
            (0 | 1, Some(map)) => format!("{map}.{}", r.one(TEXT_FIELDS)),
            (2, _) if !s.texts.is_empty() => s.texts[r.below(s.texts.len())].clone(),
            _ => r.one(LITERALS).to_owned(),
        };
    }
    let inner = if r.chance(3) {
        any(r, s, depth - 1)
    } else {
        text(r, s, depth - 1)
    };
    match r.below(10) {
        0..=3 => format!("({inner} | {})", r.one(TEXT_FUNCTIONS)),
        4 => format!("({} {inner})", r.one(TEXT_FUNCTIONS)),
        5 => format!("({} | {} | {})", inner, r.one(TEXT_FUNCTIONS), r.one(TEXT_FUNCTIONS)),
        6 => format!(
            "(join {} (split {} {inner}))",
            r.one(LITERALS),
            r.one(&["\",\"", "\"\"", "\"/\"", "\" \"", "\"a\""])
        ),
        7 => format!(
            "(printf \"{}:{}\" {inner} {})",
            r.one(VERBS),
            r.one(VERBS),
            any(r, s, depth - 1)
        ),
        8 => format!("(or {} {inner})", any(r, s, depth - 1)),
        _ => format!("(base64Decode (base64Encode {inner}))"),
    }
}

fn any(r: &mut Random, s: &Scope, depth: usize) -> String {
    if depth == 0 || r.chance(25) {
        return match (r.below(6), &s.map) {
            (0..=2, Some(map)) => format!("{map}.{}", r.one(ANY_FIELDS)),
            (3, _) if !s.any.is_empty() => s.any[r.below(s.any.len())].clone(),
            (4, _) => r.one(&["true", "false", "nil", "0", "1"]).to_owned(),
            _ => r.one(NUMBERS).to_owned(),
        };
    }
    let wrong = r.chance(4);
    let inner = if wrong {
        any(r, s, depth - 1)
    } else {
        list(r, s, depth - 1)
    };
    match r.below(15) {
        0 => format!("(index {inner} {})", r.one(&["0", "0", "0", "1", "\"a\""])),
        1 => match &s.map {
            Some(map) => format!(
                "(index {map} \"{}\")",
                r.one(&["odd-key", "dots.key", "nosuch", "", "0start", "list"])
            ),
            None => inner,
        },
        2 => format!("(len {inner})"),
        3 => format!("(not {})", any(r, s, depth - 1)),
        4 => format!(
            "({} {} {})",
            r.one(&["eq", "ne", "lt", "le", "gt", "ge"]),
            r.one(NUMBERS),
            r.one(&["0", "1", "2", "5", "'b'"])
        ),
        5 => format!(
            "({} {} {})",
            r.one(&["and", "or"]),
            any(r, s, depth - 1),
            any(r, s, depth - 1)
        ),
        6 => format!("(parseJSON (toJSON {}))", any(r, s, depth - 1)),
        7 => format!(
            "(parseJSON {})",
            r.one(&[
                "`{\"a\":[1,{\"b\":null}],\"k\":\"v\"}`",
                "`[1.5,\"x\",true]`",
                "`12345678901`",
                "\"\""
            ])
        ),
        8 => format!(
            "(split {} {})",
            r.one(&["\",\"", "\"\"", "\"a\""]),
            text(r, s, depth - 1)
        ),
        9 => format!("(contains {} {inner})", any(r, s, depth - 1)),
        10 => format!("(slice {inner} {})", r.one(&["0", "0", "0 0", "1", "1 1"])),
        11 => format!("({}).{}", map(r, s), r.one(&["a", "l", "k", "nosuch"])),
        12 => format!(
            "({} {} {})",
            r.one(&["eq", "contains", "ne", "lt"]),
            text(r, s, depth - 1),
            text(r, s, depth - 1)
        ),
        13 => format!(
            "(parseYAML {})",
            r.one(&[
                "`{a: 1, no: [x, 0x1F, 1.5, ~]}`",
                "`[1, two, 3.0, yes]`",
                "\"k: |\\n  a\\n  b\\n\"",
                "(toYAML \"no\")"
            ])
        ),
        _ => text(r, s, depth - 1),
    }
}

/// A list, mostly.
fn list(r: &mut Random, s: &Scope, depth: usize) -> String {
    match (r.below(4), &s.map) {
        (0 | 1, Some(map)) => format!("{map}.{}", r.one(&["list", "mixed", "list", "emptylist"])),
        (2, _) => "(parseJSON `[1.5,\"x\",true,[null]]`)".to_owned(),
        _ => format!("(split \",\" {})", text(r, s, depth.min(1))),
    }
}

/// A map.
fn map(r: &mut Random, s: &Scope) -> String {
    match (r.below(2), &s.map) {
        (0, Some(map)) => format!("{map}.{}", r.one(&["nested", "nested", "emptymap"])),
        _ => r
            .one(&[
                "parseJSON `{\"a\":{\"b\":1},\"k\":\"v\"}`",
                "parseYAML `{a: {b: 1}, l: [1], 5: x}`",
            ])
            .to_owned(),
    }
}

fn open(r: &mut Random) -> &'static str {
    if r.chance(35) { "{{- " } else { "{{ " }
}

fn close(r: &mut Random) -> &'static str {
    if r.chance(35) { " -}}" } else { " }}" }
}

fn action(r: &mut Random, out: &mut String, inner: &str) {
    let start = open(r);
    let end = close(r);
    out.push_str(start);
    out.push_str(inner);
    out.push_str(end);
}

fn body(r: &mut Random, s: &mut Scope, depth: usize, out: &mut String) {
    for _ in 0..=r.below(3) {
        node(r, s, depth, out);
    }
}

fn node(r: &mut Random, s: &mut Scope, depth: usize, out: &mut String) {
    out.push_str(r.one(&["", "x", " ", "\n", "  text \n", "k=", "\t", "{ }", "é"]));
    match if depth == 0 { r.below(5) } else { r.below(12) } {
        0 | 1 => {
            let e = text(r, s, 3);
            action(r, out, &e);
        }
        2 | 3 => {
            let e = any(r, s, 3);
            action(r, out, &e);
        }
        4 => {
            let name = format!("$v{}", s.variables);
            s.variables += 1;
            let (e, is_text) = if r.chance(60) {
                (text(r, s, 2), true)
            } else {
                (any(r, s, 2), false)
            };
            action(r, out, &format!("{name} := {e}"));
            if is_text { s.texts.push(name) } else { s.any.push(name) }
        }
        5 | 6 => {
            let e = any(r, s, 2);
            action(r, out, &format!("if {e}"));
            body(r, &mut s.clone(), depth - 1, out);
            if r.chance(30) {
                let e = any(r, s, 2);
                action(r, out, &format!("else if {e}"));
                body(r, &mut s.clone(), depth - 1, out);
            }
            if r.chance(50) {
                action(r, out, "else");
                body(r, &mut s.clone(), depth - 1, out);
            }
            action(r, out, "end");
        }
        7 => {
            let e = any(r, s, 2);
            action(r, out, &format!("with {e}"));
            let mut inner = s.clone();
            inner.any.push(".".to_owned());
            body(r, &mut inner, depth - 1, out);
            if r.chance(40) {
                action(r, out, "else");
                body(r, &mut s.clone(), depth - 1, out);
            }
            action(r, out, "end");
        }
        8 | 9 => range(r, s, depth, out),
        10 if s.in_range => {
            let e = any(r, s, 1);
            action(r, out, &format!("if {e}"));
            let word = r.one(&["break", "continue"]);
            action(r, out, word);
            action(r, out, "end");
        }
        _ => secret(r, s, depth, out),
    }
}

fn range(r: &mut Random, s: &mut Scope, depth: usize, out: &mut String) {
    let e = match (r.below(5), &s.map) {
        (0, Some(map)) => format!("{map}.list"),
        (1, Some(map)) => format!("{map}.nested"),
        (2, _) => r.one(&["3", "0", "2"]).to_owned(),
        (3, _) => format!("split \",\" {}", text(r, s, 1)),
        _ if r.chance(8) => any(r, s, 2),
        _ => r
            .one(&[
                "parseJSON `{\"a\":1,\"b\":[2]}`",
                "parseYAML `{x: 1, y: no, z: ~}`",
                "nil | or nil",
            ])
            .to_owned(),
    };
    let mut inner = s.clone();
    inner.in_range = true;
    let n = s.variables;
    inner.variables += 2;
    match r.below(3) {
        0 => {
            action(r, out, &format!("range {e}"));
            inner.any.push(".".to_owned());
        }
        1 => {
            action(r, out, &format!("range $v{n} := {e}"));
            inner.any.push(format!("$v{n}"));
        }
        _ => {
            action(r, out, &format!("range $v{n}, $v{} := {e}", n + 1));
            inner.any.push(format!("$v{n}"));
            inner.any.push(format!("$v{}", n + 1));
        }
    }
    // The dot is another one now.
    if inner.map.as_deref().is_some_and(|m| m.starts_with('.')) {
        inner.map = None;
    }
    body(r, &mut inner, depth - 1, out);
    if r.chance(30) {
        action(r, out, "else");
        body(r, &mut s.clone(), depth - 1, out);
    }
    action(r, out, "end");
}

fn secret(r: &mut Random, s: &mut Scope, depth: usize, out: &mut String) {
    let (path, map) = if r.chance(60) {
        ("kv/data/app", ".Data.data")
    } else {
        ("kv1/app", ".Data")
    };
    let mut inner = s.clone();
    let name = format!("$v{}", s.variables);
    inner.variables += 1;
    action(r, out, &format!("with {name} := secret \"{path}\""));
    inner.map = Some(if r.chance(50) {
        format!("{name}{map}")
    } else {
        map.to_owned()
    });
    // Inside another with the dot would be that one's.
    if inner.map.as_deref().is_some_and(|m| m.starts_with('.')) {
        inner.any.retain(|a| a != ".");
    }
    body(r, &mut inner, depth.saturating_sub(1), out);
    action(r, out, "end");
}

/// A random template.
pub(crate) fn template(seed: u64) -> String {
    let mut r = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..8 {
        r.below(2);
    }
    let mut scope = Scope {
        map: None,
        texts: Vec::new(),
        any: Vec::new(),
        in_range: false,
        variables: 0,
    };
    let mut out = String::new();
    secret(&mut r, &mut scope, 3, &mut out);
    if r.chance(30) {
        body(&mut r, &mut scope, 2, &mut out);
    }
    out
}
