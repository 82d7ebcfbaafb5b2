//! Texts that another program would accept as a path, a mount, a role or the name of a file, but podkey does not: a URL, the
//! API's own prefixes, a variable of a shell, an expression of GitHub or Helm. The server would answer a request for
//! such a path with a 403 or a 404 without an explanation, after minutes. Each message here is the end of a sentence that begins
//! with the text, and includes the text to write instead.

use std::str::FromStr;

use super::path::MAX_PATH_BYTES;
use super::{ApiPath, Invalid, Placeholder};
use crate::text::quoted;

const WRITE_TEXT: &str = "write the text itself";
const GITHUB: &str = "has ${{ … }}, which GitHub fills in only in a workflow's file";

/// Parses a text. `wrong` is one of the functions below: its message, if any, is better than the parser's.
pub(crate) fn parse<T: FromStr<Err = Invalid>>(text: &str, wrong: fn(&str) -> Option<String>) -> Result<T, String> {
    match wrong(text) {
        Some(why) => Err(why),
        None => text.parse().map_err(|why: Invalid| why.to_string()),
    }
}

/// The problem of a text in which podkey replaces nothing.
pub(crate) fn of_text(text: &str) -> Option<String> {
    if text.contains("${{") {
        return Some(format!("{GITHUB}: {WRITE_TEXT}"));
    }
    if let Some(variable) = variable(text) {
        return Some(format!(
            "has {}, which nobody fills in here: {WRITE_TEXT}",
            quoted(variable)
        ));
    }
    None
}

/// The problem of a text in which podkey replaces nothing and a brace has no meaning.
pub(crate) fn of_plain_text(text: &str) -> Option<String> {
    of_text(text).or_else(|| {
        let is_blank = text.split_once('<').is_some_and(|(_, rest)| rest.contains('>'));
        if is_blank {
            return Some("has <…>, which stands for a text of your own: write that text".to_owned());
        }
        text.contains("{{").then(|| {
            format!(
                "has {{{{ … }}}}, which Helm fills in only in a chart's templates: {WRITE_TEXT}, or put the manifest into the \
                 templates"
            )
        })
    })
}

/// The problem of the name of a file in which a shell would replace a part.
pub(crate) fn of_file(text: &str) -> Option<String> {
    if text.starts_with('~')
        && (text.len() == 1 || text.split('/').next().is_some_and(|first| first.len() < text.len()))
    {
        return Some(
            "begins with ~, which no shell replaces here: write the whole path, such as /home/runner/.kube/config"
                .to_owned(),
        );
    }
    of_text(text).map(|why| why.replace(WRITE_TEXT, "write the whole path"))
}

/// The problem of the API path of a secret.
pub(crate) fn of_path(text: &str) -> Option<String> {
    // The parser reports a path that is too long.
    if text.len() > MAX_PATH_BYTES {
        return None;
    }
    if text.contains("${{") {
        let placeholders = Placeholder::written_list("or");
        return Some(format!(
            "{GITHUB}: {WRITE_TEXT}, or let the job read the path with {placeholders} in it"
        ));
    }
    if let Some(why) = of_plain_text(text) {
        return Some(why);
    }
    if let Some((_, path)) = text.rsplit_once(' ').filter(|_| is_command(text)) {
        return Some(format!(
            "is a command: write the path alone{}",
            meant(path, text, of_path)
        ));
    }
    if let Some((path, _)) = text.split_once('#') {
        let path = path.strip_prefix("vault:").unwrap_or(path);
        let meant = meant(path, text, of_path);
        return Some(format!(
            "has a #: a field is written as the key, not in the path{meant}"
        ));
    }
    if let Some((_, version)) = text.split_once("?version=") {
        let number = version
            .parse::<u32>()
            .map_or_else(|_| "N".to_owned(), |number| number.to_string());
        return Some(format!("has ?version=: write `version: {number}` beside it"));
    }
    let path = below_v1(text);
    let decoded = decoded(path);
    let plain = clean(&decoded);
    let meant = meant(&plain, text, of_path);
    if text.contains("://") {
        return Some(format!("is a URL: write the part behind /v1/{meant}"));
    }
    // A mount may be named v1: as KV version 2 the mount has /data/ directly behind its name.
    if plain.starts_with("v1/") && !plain.starts_with("v1/data/") {
        let meant = self::meant(plain.trim_start_matches("v1/"), text, of_path);
        return Some(format!(
            "begins with v1/, which podkey puts in front of each path{meant}"
        ));
    }
    slashes(text, &meant).or_else(|| (decoded != path).then(|| format!("has a %, an escape of URLs{meant}")))
}

/// Whether the text is a command line of the server's own program.
fn is_command(text: &str) -> bool {
    ["vault ", "bao "].iter().any(|program| text.starts_with(program))
}

/// The problem of the mount of an auth method.
pub(crate) fn of_mount(text: &str) -> Option<String> {
    if let Some(why) = of_plain_text(text) {
        return Some(why);
    }
    if text.len() > MAX_PATH_BYTES {
        return None;
    }
    let plain = clean(below_v1(text));
    let mount = plain.trim_start_matches("v1/").trim_start_matches("auth/");
    let mount = mount.trim_end_matches("/login");
    let meant = meant(mount, text, of_mount);
    if text.contains("://") {
        return Some(format!("is a URL: write the part between /auth/ and /login{meant}"));
    }
    if mount != plain {
        return Some(format!(
            "is the path of a login: write the mount alone, without v1/, auth/ and /login{}",
            meant.replacen(": write ", ": ", 1)
        ));
    }
    slashes(text, &meant)
}

/// The problem of the name of a role. The server allows letters, digits, `_`, `-` and `.` in the names of roles for
/// kubernetes and jwt, and nothing else: tried with OpenBao 2.7.2.
pub(crate) fn of_role(text: &str) -> Option<String> {
    if let Some(why) = of_plain_text(text) {
        return Some(why);
    }
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    match text.rsplit_once('/') {
        Some((_, name)) if !name.is_empty() && is_name(name) => Some(format!(
            "has a /, which no role has: write the role alone, {}",
            quoted(name)
        )),
        _ if is_name(text) => None,
        _ => {
            let c = text.chars().find(|c| !is_name(c.encode_utf8(&mut [0; 4])));
            let c = c.unwrap_or_default();
            Some(format!(
                "has the character {c:?}, which no role of the server can have: write its plain name"
            ))
        }
    }
}

/// `: write "…"` with this path, if the path is valid and `wrong` finds no problem.
fn meant(path: &str, text: &str, wrong: fn(&str) -> Option<String>) -> String {
    match path.parse::<ApiPath>() {
        Ok(path) if path.as_str() != text && wrong(path.as_str()).is_none() => {
            format!(": write {}", quoted(path.as_str()))
        }
        _ => String::new(),
    }
}

fn slashes(text: &str, meant: &str) -> Option<String> {
    let is_wrong = text.starts_with('/') || text.ends_with('/') || text.contains("//");
    (is_wrong && !meant.is_empty()).then(|| format!("has an empty segment{meant}"))
}

/// The part of a URL behind `/v1/`. A text that is not a URL stays whole.
fn below_v1(text: &str) -> &str {
    match text.split_once("://") {
        None => text,
        Some((_, rest)) => match rest.split_once("/v1/") {
            Some((_, path)) => path,
            None => rest.split_once('/').map_or("", |(_, path)| path),
        },
    }
}

/// The path without its empty segments.
fn clean(path: &str) -> String {
    let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    segments.join("/")
}

/// The text with its URL escapes decoded. A text with an invalid escape stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, after) = match (first, after) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high * 16 + low, after),
                _ => return text.to_owned(),
            },
            (b'%', _) => return text.to_owned(),
            (byte, after) => (*byte, after),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn hex(digit: u8) -> Option<u8> {
    let digit = char::from(digit).to_digit(16)?;
    u8::try_from(digit).ok()
}

/// The first `$(NAME)`, `${NAME}` or `$NAME` (in capitals, two letters at least). `$$` stands for one dollar sign, as in
/// Kubernetes.
fn variable(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let found = &rest[at..];
        rest = &found[1..];
        let Some(first) = rest.chars().next() else { break };
        match first {
            '$' => rest = &rest[1..],
            '(' | '{' => {
                let close = if first == '(' { ')' } else { '}' };
                let end = found.find(close).map_or(found.len(), |end| end + 1);
                return Some(&found[..end]);
            }
            _ => {
                let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
                let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                if end >= 2 && !first.is_ascii_digit() {
                    return Some(&found[..=end]);
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_for_another_program_is_refused_with_the_path_to_write() {
        for (text, expected) in [
            (
                "v1/secret/data/web",
                "begins with v1/, which podkey puts in front of each path: write \"secret/data/web\"",
            ),
            (
                "/v1/secret/data/web/",
                "begins with v1/, which podkey puts in front of each path: write \"secret/data/web\"",
            ),
            (
                "v1/v1/secret/web",
                "begins with v1/, which podkey puts in front of each path: write \"secret/web\"",
            ),
            (
                "https://vault:8200/v1/secret/data/web",
                "is a URL: write the part behind /v1/: write \"secret/data/web\"",
            ),
            (
                "https://vault:8200/ui",
                "is a URL: write the part behind /v1/: write \"ui\"",
            ),
            ("https://vault:8200", "is a URL: write the part behind /v1/"),
            ("/secret/data/web", "has an empty segment: write \"secret/data/web\""),
            ("secret//data/web/", "has an empty segment: write \"secret/data/web\""),
            (
                "secret/data/my%20app",
                "has a %, an escape of URLs: write \"secret/data/my app\"",
            ),
            (
                "secret/data/a%2Fb",
                "has a %, an escape of URLs: write \"secret/data/a/b\"",
            ),
            ("secret/data/%2e%2e/b", "has a %, an escape of URLs"),
            (
                "secret/data/web?version=3",
                "has ?version=: write `version: 3` beside it",
            ),
            (
                "secret/data/web?version=\u{1b}[2J",
                "has ?version=: write `version: N` beside it",
            ),
            (
                "secret/data/${{ github.repository }}",
                "has ${{ … }}, which GitHub fills in only in a workflow's file: write the text itself, or let the job read the path with {repository}, {repository_id}, {owner}, {owner_id}, {ref_name}, {job} or {environment} in it",
            ),
            (
                "secret/data/{{ .Values.app }}",
                "has {{ … }}, which Helm fills in only in a chart's templates: write the text itself, or put the manifest into the templates",
            ),
            (
                "secret/data/$(APP)/x",
                "has \"$(APP)\", which nobody fills in here: write the text itself",
            ),
            (
                "secret/data/${APP:-x}/x",
                "has \"${APP:-x}\", which nobody fills in here: write the text itself",
            ),
            (
                "secret/data/web-$ENV_1.x",
                "has \"$ENV_1\", which nobody fills in here: write the text itself",
            ),
        ] {
            assert_eq!(of_path(text).as_deref(), Some(expected), "{text}");
        }
        for good in [
            "secret/data/web",
            "v1/data/web",
            "v1",
            "kv/data/a b",
            "kv/data/a$$(b)",
            "kv/data/a$b",
            "kv/data/x$",
            "kv/data/100%",
            "kv/data/{repository}",
            "kv/data/~x",
            "team/v1/x",
            "a/$X/b",
            "a/../b",
            "kv/data/50%zz",
        ] {
            assert_eq!(of_path(good), None, "{good}");
        }
    }

    #[test]
    fn the_path_of_a_login_is_refused_with_the_mount_to_write() {
        const LOGIN: &str = "is the path of a login: write the mount alone, without v1/, auth/ and /login";
        for (text, expected) in [
            ("auth/kubernetes", format!("{LOGIN}: \"kubernetes\"")),
            ("/auth/kubernetes/", format!("{LOGIN}: \"kubernetes\"")),
            ("auth/my-cluster/arc/login", format!("{LOGIN}: \"my-cluster/arc\"")),
            ("v1/auth/jwt/login", format!("{LOGIN}: \"jwt\"")),
            ("kubernetes/login", format!("{LOGIN}: \"kubernetes\"")),
            (
                "https://vault/v1/auth/jwt/login",
                "is a URL: write the part between /auth/ and /login: write \"jwt\"".to_owned(),
            ),
            ("/kubernetes/", "has an empty segment: write \"kubernetes\"".to_owned()),
            (
                "$(MOUNT)",
                "has \"$(MOUNT)\", which nobody fills in here: write the text itself".to_owned(),
            ),
        ] {
            assert_eq!(of_mount(text), Some(expected), "{text}");
        }
        for good in [
            "kubernetes",
            "my-cluster/arc-runners",
            "auth",
            "login",
            "authentik",
            "x/auth",
            "../x",
            "",
        ] {
            assert_eq!(of_mount(good), None, "{good}");
        }
    }

    #[test]
    fn a_text_that_cannot_be_a_role_is_refused_with_the_reason() {
        for (text, why) in [
            ("{{ .Values.role }}", "Helm"),
            ("${{ inputs.role }}", "GitHub"),
            ("$ROLE", "\"$ROLE\", which nobody fills in here"),
            ("{role}", "'{', which no role of the server can have"),
            ("<role>", "has <…>, which stands for a text of your own"),
            ("a b", "' ', which no role of the server can have"),
            ("auth/kubernetes/role/actions", "write the role alone, \"actions\""),
            ("a/", "'/', which no role of the server can have"),
        ] {
            assert!(
                of_role(text).is_some_and(|told| told.contains(why)),
                "{text}: {:?}",
                of_role(text)
            );
        }
        for good in ["actions", "arc-runner_1.x", ""] {
            assert_eq!(of_role(good), None, "{good}");
        }
    }

    #[test]
    fn the_name_of_a_file_with_a_text_that_a_shell_would_replace_is_refused() {
        for text in [
            "~/.kube/config",
            "~",
            "~runner/x",
            "$HOME/.kube/config",
            "/home/${USER}/x",
            "/a/$(HOME)",
            "${{ runner.temp }}/x",
        ] {
            assert!(of_file(text).is_some(), "{text}");
        }
        for good in [
            "/tmp/x~",
            "backup~/x",
            "~x",
            "$x",
            "/tmp/$$HOME",
            "{{ .SecretKey }}",
            "a$",
        ] {
            assert_eq!(of_file(good), None, "{good}");
        }
    }

    proptest! {
        /// The text that a message proposes has no problem.
        #[test]
        fn a_proposed_path_is_valid(text in "(https://v)?/?(v1/|auth/|a|%20|%2F|\\$|\\$\\(|~|/|\\{|login|data/){0,8}") {
            for (why, again) in [(of_path(&text), of_path as fn(&str) -> _), (of_mount(&text), of_mount)] {
                let Some((_, proposed)) = why.as_deref().and_then(|why| why.rsplit_once(": ")) else { continue };
                let Some(proposed) = proposed.trim_start_matches("write ").strip_prefix('"') else { continue };
                let proposed = proposed.trim_end_matches('"');
                if proposed.starts_with('$') { continue }
                prop_assert!(proposed.parse::<ApiPath>().is_ok(), "{text}: {proposed}");
                prop_assert_eq!(again(proposed), None, "{}: {}", text, proposed);
            }
        }
    }
}
