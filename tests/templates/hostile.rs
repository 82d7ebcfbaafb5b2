//! Hostile templates and hostile secrets cost their own pod a refusal: no panic, no time, no memory.

use std::collections::BTreeSet;
use std::process::Command;
use std::rc::Rc;

use podkey::template::{Bounds, ErrorKind, MissingField, SecretAnswer, Template};

use crate::generate::{self, Random};

const ANSWER: &str = r#"{"data":{"s":"hidden","l":["a","b"],"data":{"x":"y"}}}"#;

/// What comes of a template: the length of the file, or the kind of the error.
fn outcome(text: &str) -> Result<usize, ErrorKind> {
    let secret = Rc::new(SecretAnswer::from_answer(ANSWER.as_bytes()).unwrap());
    let template = Template::parse(text, ("{{", "}}")).map_err(|error| error.kind)?;
    template
        .render(&|_| Some(Rc::clone(&secret)), MissingField::Print, Bounds::default())
        .map(|output| output.bytes.len())
        .map_err(|error| error.kind)
}

/// Declares `$a`, a text of almost 1 MiB that is one letter many times.
const LONG: &str = r#"{{ $a := replaceAll " " "x" (printf "%999000s" "") }}"#;
/// Declares `$m`, a map that `parseYAML` makes, with as many keys as the bounds allow.
const WIDE: &str = r#"{{ $m := parseYAML (print "{" (replaceAll " " "k: 1, " (printf "%20000s" "")) "z: 1}") }}"#;

/// Each template, by what it attacks, and what must come of it. All of them run in less memory and CPU time than a pod has.
fn attacks() -> Vec<(&'static str, String, Result<usize, ErrorKind>)> {
    let bound = Err(ErrorKind::Bound);
    let long = |rest: &str| format!("{LONG}{rest}");
    let nested = |open: &str, count: usize, close: &str| format!("{}{}", open.repeat(count), close.repeat(count));
    let numbered = |count: usize, one: &dyn Fn(usize) -> String| (0..count).map(one).collect::<String>();
    vec![
        ("template too large", "x".repeat(32 * 1024 + 1), bound),
        ("many variables at one place", "{{$b := 1}}".repeat(2000), bound),
        ("many secrets", "{{secret `a/b`}}".repeat(65), bound),
        ("deep if", nested("{{if 1}}", 1500, "{{end}}"), bound),
        ("deep with that is not closed", "{{with 1}}".repeat(3000), bound),
        (
            "deep parentheses",
            format!("{{{{{}1{}}}}}", "(".repeat(15_000), ")".repeat(15_000)),
            bound,
        ),
        (
            "doubling",
            "{{$x := \"aaaaaaaaaaaaaaaa\"}}{{range 40}}{{$x = print $x $x}}{{end}}".into(),
            bound,
        ),
        (
            "doubling by replaceAll",
            "{{$x := \"aa\"}}{{range 40}}{{$x = replaceAll \"a\" \"aa\" $x}}{{end}}".into(),
            bound,
        ),
        (
            "doubling by JSON",
            "{{$a := \"\\\"\"}}{{range 30}}{{$a = toJSON $a}}{{end}}".into(),
            bound,
        ),
        (
            "doubling by printf",
            "{{$x := \"a\"}}{{range 40}}{{$x = printf \"%[1]s%[1]q%[1]x\" $x}}{{end}}".into(),
            bound,
        ),
        ("range over 9e9", "{{range 9000000000}}{{end}}".into(), bound),
        (
            "range over the largest integer",
            "{{range 9223372036854775807}}{{end}}".into(),
            bound,
        ),
        (
            "nested ranges",
            "{{range 10000}}{{range 10000}}{{range 10000}}{{end}}{{end}}{{end}}".into(),
            bound,
        ),
        (
            "large output",
            "{{range 100000}}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{{end}}".into(),
            bound,
        ),
        ("large widths", "{{printf \"%999999d%999999d\" 1 1}}".into(), bound),
        (
            "largest precision of %f",
            "{{printf \"%.1000000f%.1000000f\" 1.5 1.5}}".into(),
            bound,
        ),
        (
            "largest precision of %e",
            "{{printf \"%.1000000e%.1000000e\" 1.5 1.5}}".into(),
            bound,
        ),
        (
            "largest precision of %x",
            "{{printf \"%.1000000x%.1000000x\" 1.5 1.5}}".into(),
            bound,
        ),
        (
            "largest precision of %U",
            "{{printf \"%.1000000U%.1000000U\" 1 1}}".into(),
            bound,
        ),
        (
            "largest precision of %#g",
            "{{printf \"%#.1000000g%#.1000000g\" 1.5 1.5}}".into(),
            bound,
        ),
        (
            "widths past Go's largest",
            "{{printf \"%999999999d%.999999999f\" 1 1.5}}".into(),
            Ok(38),
        ),
        (
            "many long variables",
            long(&"{{$b := print $a \"\"}}".repeat(200)),
            bound,
        ),
        ("indent", "{{indent 999999999 \"x\"}}".into(), bound),
        (
            "indent of many lines",
            long(
                "{{indent 1000 (replaceAll \"x\" \"\\n\" $a)}}{{indent 900000 (replaceAll \"x\" \"y\\n\" (slice $a 0 9000))}}",
            ),
            bound,
        ),
        ("replaceAll", long("{{replaceAll \"x\" $a $a}}"), bound),
        ("replaceAll of nothing", long("{{replaceAll \"\" $a $a}}"), bound),
        (
            "split to many parts",
            long("{{range 100}}{{$b := split \"\" $a}}{{end}}"),
            bound,
        ),
        ("join", long("{{join $a (split \",\" \"1,2,3\")}}"), bound),
        (
            "contains, again and again",
            long("{{range 900000}}{{$b := contains \"y\" $a}}{{end}}"),
            bound,
        ),
        (
            "contains of bytes",
            long("{{$n := print (slice $a 0 60) \"\\xff\"}}{{range 900000}}{{$b := contains $n $a}}{{end}}"),
            bound,
        ),
        (
            "contains of many bytes",
            long("{{$n := print (slice $a 0 400000) \"\\xff\"}}{{range 900000}}{{$b := contains $n $a}}{{end}}"),
            bound,
        ),
        (
            "contains in a list",
            long("{{$l := split \"\" (slice $a 0 50000)}}{{range 900000}}{{$b := contains \"y\" $l}}{{end}}"),
            bound,
        ),
        (
            "equal long texts",
            long("{{$b := print $a \"\"}}{{range 900000}}{{$c := eq $a $b}}{{end}}"),
            bound,
        ),
        (
            "equal long texts in one call",
            long(&format!(
                "{{{{$b := print $a \"\"}}}}{{{{$c := print $a \"y\"}}}}{{{{range 900000}}}}{{{{$d := eq $c{}}}}}{{{{end}}}}",
                " $b".repeat(5000)
            )),
            bound,
        ),
        (
            "order of long texts",
            long("{{$b := print $a \"\"}}{{range 900000}}{{$c := lt $a $b}}{{end}}"),
            bound,
        ),
        (
            "index of a wide map",
            format!("{WIDE}{{{{range 900000}}}}{{{{$b := index $m \"nosuch\"}}}}{{{{end}}}}"),
            bound,
        ),
        (
            "field of a wide map",
            format!("{WIDE}{{{{range 900000}}}}{{{{$b := $m.nosuch}}}}{{{{end}}}}"),
            bound,
        ),
        (
            "search of bytes",
            long("{{$n := print (slice $a 0 400000) \"\\xff\"}}{{replaceAll $n \"\" $a}}"),
            Ok(999_000),
        ),
        (
            "split by bytes",
            long(
                "{{$n := print (slice $a 0 400000) \"\\xff\"}}{{$b := split $n (print $a \"\\xfe\")}}{{range 9000000}}{{end}}",
            ),
            bound,
        ),
        (
            "trim by a large set",
            long(
                "{{$b := trim (print (replaceAll \"x\" \"b\" (slice $a 0 500000)) \"x\") $a}}{{range 9000000}}{{end}}",
            ),
            bound,
        ),
        (
            "printf with open brackets",
            long("{{$b := printf (replaceAll \"x\" \"%[\" (slice $a 0 500000)) 1}}{{range 9000000}}{{end}}"),
            bound,
        ),
        (
            "printf with open brackets and a last one",
            long(
                "{{$b := printf (print (replaceAll \"x\" \"%[\" (slice $a 0 500000)) \"]\") 1}}{{range 9000000}}{{end}}",
            ),
            bound,
        ),
        (
            "printf of a list without its texts",
            long(
                "{{$l := split \"\" (slice $a 0 50000)}}{{printf (replaceAll \"x\" \"%[1].0s\" (slice $a 0 100000)) $l}}",
            ),
            bound,
        ),
        (
            "printf of the end of a long text",
            long("{{$b := printf (replaceAll \"x\" \"%[1]T\" (slice $a 0 100000)) $a}}{{range 9000000}}{{end}}"),
            bound,
        ),
        ("digests", long("{{range 1000000}}{{$b := sha256Hex $a}}{{end}}"), bound),
        ("titles", long("{{range 1000000}}{{$b := toTitle $a}}{{end}}"), bound),
        ("html", long("{{html (replaceAll \"x\" \"<\" $a)}}"), bound),
        (
            "indented YAML",
            format!(
                "{{{{range 1000000}}}}{{{{$b := toYAML (parseJSON `{}`) }}}}{{{{end}}}}",
                nested("[", 60, "]")
            ),
            bound,
        ),
        (
            "wide JSON",
            long(
                "{{range 100}}{{$b := parseJSON (print \"[\" (replaceAll \"x\" \"1,\" (slice $a 0 400000)) \"1]\")}}{{end}}",
            ),
            bound,
        ),
        (
            "JSON of many lists",
            long(
                "{{range 100}}{{$b := parseJSON (print \"[\" (replaceAll \"x\" \"[],\" (slice $a 0 340000)) \"1]\")}}{{end}}",
            ),
            bound,
        ),
        (
            "JSON of many objects",
            long(
                "{{range 100}}{{$b := parseJSON (print \"[\" (replaceAll \"x\" \"{\\\"a\\\":1},\" (slice $a 0 110000)) \"1]\")}}{{end}}",
            ),
            bound,
        ),
        (
            "wide YAML",
            long(
                "{{range 100}}{{$b := parseYAML (print \"[\" (replaceAll \"x\" \"1,\" (slice $a 0 400000)) \"1]\")}}{{end}}",
            ),
            bound,
        ),
        (
            "YAML of many maps",
            long(
                "{{range 100}}{{$b := parseYAML (print \"[\" (replaceAll \"x\" \"{a: 1},\" (slice $a 0 130000)) \"1]\")}}{{end}}",
            ),
            bound,
        ),
        (
            "long else-if chain",
            format!("{{{{if 0}}}}{}{{{{else}}}}x{{{{end}}}}", "{{else if 0}}".repeat(2400)),
            Ok(1),
        ),
        (
            "variables of long names",
            format!(
                "{}{{{{range 900000}}}}{{{{$x000{1} = $x000{1}}}}}{{{{end}}}}",
                numbered(200, &|i| format!("{{{{$x{i:03}{} := 1}}}}", "y".repeat(60))),
                "y".repeat(60)
            ),
            bound,
        ),
    ]
}

/// The variable that names the attack to a process of [`limited`].
const ATTACK: &str = "PODKEY_ATTACK";

/// Runs a test of this file in a process of its own, with at most 400 MB of address space (most of which the program itself takes)
/// and 20 seconds of CPU time: a template without a bound needs hours.
fn limited(test: &str, attack: &str) -> Result<(), String> {
    let output = Command::new("/bin/sh")
        .args(["-c", r#"ulimit -v 400000; ulimit -t 20; exec "$@""#, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1"])
        .env(ATTACK, attack)
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() && text.contains("1 passed") {
        true => Ok(()),
        false => Err(format!(
            "{attack}: {} {text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// The process of each attack is this test itself, run again.
#[test]
fn every_bound_holds() {
    if let Ok(name) = std::env::var(ATTACK) {
        let (_, text, expected) = attacks().into_iter().find(|(known, ..)| **known == name).unwrap();
        assert_eq!(outcome(&text), expected, "{name}");
        return;
    }
    let failed: Vec<String> = attacks()
        .iter()
        .filter_map(|(name, ..)| limited("hostile::every_bound_holds", name).err())
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn deep_values_are_no_trouble() {
    for text in [
        format!("{{{{ parseJSON `{}` }}}}", "[".repeat(5000)),
        format!("{{{{ parseJSON `{}1{}` }}}}", "[".repeat(5000), "]".repeat(5000)),
        format!("{{{{ parseJSON `{}1{}` }}}}", "{\"a\":".repeat(3000), "}".repeat(3000)),
        format!("{{{{ parseYAML `{}1{}` }}}}", "[".repeat(5000), "]".repeat(5000)),
        format!("{{{{ parseYAML `{}` }}}}", "- ".repeat(5000)),
        format!("{{{{ parseYAML `{}` }}}}", "? ".repeat(5000)),
    ] {
        assert_eq!(outcome(&text).err(), Some(ErrorKind::Value), "{}", &text[..40]);
    }
    assert!(outcome("{{ parseYAML \"a: &x [1]\\nb: *x\" }}").is_err());
    assert!(
        SecretAnswer::from_answer(
            format!("{{\"data\":{}1{}}}", "{\"a\":".repeat(100_000), "}".repeat(100_000)).as_bytes()
        )
        .is_err()
    );
}

/// yaml.v2 compares numbers inside of names, and its order has circles: a1 < a10 < a1b < a01 < a010 < a1. Rust's sort may panic there.
#[test]
fn names_in_no_order_are_written_without_a_panic() {
    let mut random = Random::new(3);
    for _ in 0..200 {
        let mut name = || -> String {
            (0..1 + random.below(6))
                .map(|_| random.one(&["a", "0", "1", "10", "b", "-", "é", "_"]))
                .collect()
        };
        let fields: Vec<String> = (0..300).map(|_| format!("\"{}\":1", name())).collect();
        let json = format!("{{{}}}", fields.join(","));
        let names: BTreeSet<&str> = fields.iter().map(String::as_str).collect();
        assert_eq!(
            outcome(&format!("{{{{ len (split \"\\n\" (toYAML (parseJSON `{json}`))) }}}}")),
            Ok(names.len().to_string().len())
        );
    }
    let text = format!(
        "{{{{ toYAML (parseYAML `{{{}}}`) }}}}",
        "1: a, .nan: b, 2: c, 1.5: d, ".repeat(50)
    );
    assert!(outcome(&text).is_ok());
}

/// An else-if chain as long as a template allows is one level deep.
#[test]
fn long_chains_are_fine() {
    let text = format!("{{{{if 0}}}}{}{{{{else}}}}x{{{{end}}}}", "{{else if 0}}".repeat(2400));
    assert_eq!(outcome(&text), Ok(1));
    let text = format!("{{{{ print{} }}}}", " 1".repeat(15_000));
    assert!(outcome(&text).is_ok());
    let text = format!("{{{{ \"a\"{} }}}}", " | print".repeat(4000));
    assert_eq!(outcome(&text), Ok(1));
}

/// Random damage never panics, and is read in no time.
#[test]
fn damaged_templates_never_panic() {
    let parts = [
        "{{", "}}", "{{-", "-}}", " ", "(", ")", "|", "$", ".", "\"", "`", "'", "\\", "if", "end", "else", "range",
        "with", ":=", "=", ",", "é", "\u{fffd}", "0x", "1e", "/*", "*/", "%", "\n", "secret", "nil", "\u{0}",
    ];
    let mut random = Random::new(7);
    let mut random = |n: usize| random.below(n);
    for seed in 0..3000 {
        let mut text = generate::template(seed);
        for _ in 0..=random(6) {
            let mut at = random(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            match random(3) {
                0 => text.insert_str(at, parts[random(parts.len())]),
                1 => text.truncate(at),
                _ => {
                    let mut end = (at + random(9)).min(text.len());
                    while !text.is_char_boundary(end) {
                        end += 1;
                    }
                    text.replace_range(at..end, parts[random(parts.len())]);
                }
            }
        }
        let _ = outcome(&text);
    }
    for _ in 0..20_000 {
        let text: String = (0..random(12)).map(|_| parts[random(parts.len())]).collect();
        let _ = outcome(&format!("{{{{{text}}}}}"));
        let _ = outcome(&text);
    }
}
