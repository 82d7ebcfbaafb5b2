//! Names of files from templates: the placeholders that the path of the secret fills in, as Vault's Secrets Sync does. What
//! the fields are called is not known yet: `{{ .SecretKey }}` stays for the agent.

use crate::inject::problem::{did_you_mean, quoted};
use crate::plan::{ApiPath, Destination, FieldName, NamePiece, NameTemplate, applied};

/// Each placeholder's name.
const NAMES: [&str; 5] = [
    "MountPath",
    "MountBaseName",
    "SecretPath",
    "SecretBaseName",
    FieldName::PLACEHOLDER,
];

/// Where the secret at `path` goes. The error ends a sentence that begins with the field's name.
pub(crate) fn resolve(text: &str, path: &ApiPath) -> Result<Destination, String> {
    let said = |why| format!("{} {why}", quoted(text));
    if !text.contains("{{") {
        return text.parse().map_err(said);
    }
    let template: NameTemplate = text.parse().map_err(said)?;
    let mut name = String::new();
    for piece in template.pieces() {
        match piece {
            NamePiece::Placeholder { name: known, functions } if known != FieldName::PLACEHOLDER => {
                let value = value(known, path).map_err(|why| format!("{} {why}", quoted(text)))?;
                name.push_str(&applied(value, functions).map_err(said)?);
            }
            piece => name.push_str(&piece.to_string()),
        }
    }
    name.parse().map_err(|why| {
        if name == text {
            said(why)
        } else {
            format!("{} becomes {}, which {why}", quoted(text), quoted(&name))
        }
    })
}

/// What a placeholder stands for.
fn value<'p>(placeholder: &str, path: &'p ApiPath) -> Result<&'p str, String> {
    let (mount, secret) = mount_and_secret(path.as_str());
    let base = |path: &'p str| path.rsplit('/').next().unwrap_or_default();
    let value = match placeholder {
        "MountPath" => mount,
        "MountBaseName" => base(mount),
        "SecretPath" => secret,
        "SecretBaseName" => base(secret),
        other => {
            let known: Vec<_> = NAMES.iter().map(|name| format!(".{name}")).collect();
            return Err(format!(
                "has the placeholder {}, which is none of {}{}",
                quoted(&format!(".{other}")),
                known.join(", "),
                did_you_mean(&format!(".{other}"), known.iter().map(String::as_str))
            ));
        }
    };
    match value {
        "" => Err(format!(
            "has the placeholder \".{placeholder}\", which is empty for this path"
        )),
        // A job's placeholder is not filled in here, and nothing that is filled in is a template itself.
        value if value.contains(['{', '}']) => Err(format!(
            "has the placeholder \".{placeholder}\", which is {} for this path: write the name out",
            quoted(value)
        )),
        value => Ok(value),
    }
}

/// A path's mount and what is below it: of `kv/data/app/db`, which is KV version 2's way to write it, `kv` and `app/db`; of
/// any other, its first segment and the rest.
fn mount_and_secret(path: &str) -> (&str, &str) {
    path.split_once("/data/")
        .or_else(|| path.split_once('/'))
        .unwrap_or((path, ""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolved(text: &str, path: &str) -> Result<String, String> {
        resolve(text, &path.parse().unwrap()).map(|file| file.to_string())
    }

    #[test]
    fn placeholders_are_filled_in_from_the_path() {
        for (text, path, expected) in [
            ("web.env", "kv/data/app", "web.env"),
            (
                "{{ .MountPath }}/{{ .SecretPath }}.json",
                "kv/data/team/app",
                "kv/team/app.json",
            ),
            ("{{.MountBaseName}}.{{.SecretBaseName}}", "a/b/data/team/app", "b.app"),
            (
                "{{ .MountPath }}-{{ .SecretPath | replace \"/\" \"-\" }}",
                "pki/issue/web",
                "pki-issue-web",
            ),
            (
                "VAULT_{{ .SecretPath | replace \"/\" \"_\" | uppercase }}_{{ .SecretKey | uppercase }}",
                "kv/data/my/app",
                "VAULT_MY_APP_{{ .SecretKey | uppercase }}",
            ),
            (
                "{{ .SecretBaseName | lowercase }}/{{ .SecretKey }}",
                "kv/data/App",
                "app/{{ .SecretKey }}",
            ),
            ("/tmp/{{ .SecretBaseName }}", "kv/data/kubeconfig", "/tmp/kubeconfig"),
            // The first /data/ is the engine's, another one is the secret's.
            ("{{ .MountPath }}.{{ .SecretPath }}", "kv/data/data/x", "kv.data/x"),
            ("{{ .MountPath }}.{{ .SecretPath }}", "data/data/x", "data.x"),
            ("{{ .MountPath }}", "kv", "kv"),
        ] {
            assert_eq!(resolved(text, path).as_deref(), Ok(expected), "{text} of {path}");
        }
    }

    #[test]
    fn what_makes_no_name_is_refused() {
        for (text, path, why) in [
            (
                "{{ .MountAccessor }}",
                "kv/data/x",
                "\".MountAccessor\", which is none of .MountPath, .MountBaseName, .SecretPath",
            ),
            (
                "{{ .SecretBasename }}",
                "kv/data/x",
                "(did you mean \".SecretBaseName\"?)",
            ),
            ("{{ .SecretPath }}", "kv", "\".SecretPath\", which is empty"),
            ("{{ .SecretPath }}", "kv/data/{repository}/x", "write the name out"),
            ("{{ .SecretPath }}", "kv/data/a{{ .SecretKey }}", "write the name out"),
            (
                "{{ .SecretPath }}",
                "kv/data/a:b",
                "becomes \"a:b\", which has the character ':'",
            ),
            (
                "/{{ .SecretPath }}",
                "kv/data/etc/passwd",
                "becomes \"/etc/passwd\", which is in /etc/passwd",
            ),
            (
                "{{ .SecretPath | replace \"x\" \"\" }}",
                "kv/data/x",
                "becomes \"\", which is empty",
            ),
            (
                "{{ .SecretPath | replace \"x\" \"..\" }}",
                "kv/data/x",
                "which has a segment . or ..",
            ),
            (
                "/tmp/{{ .SecretKey }}",
                "kv/data/x",
                "has a placeholder, and a mount of its own",
            ),
            ("{{ .SecretKey }}/x", "kv/data/x", "in a directory's name"),
            ("{{ .SecretKey", "kv/data/x", "has a {{ without its }}"),
            ("../x", "kv/data/x", "has a segment . or .."),
        ] {
            let error = resolved(text, path).expect_err(text);
            assert!(error.contains(why), "{text} of {path}: {error}");
        }
    }

    proptest! {
        /// However a path and a template are made, the file is where a name without a template could have put it.
        #[test]
        fn a_template_leads_nowhere_that_a_plain_name_could_not(
            path in "[a-z.{}$]{1,3}(/(data|[a-z.{}:~]{1,4})){0,4}",
            text in "/?([a-z./]{0,3}\\{\\{ ?\\.(MountPath|MountBaseName|SecretPath|SecretBaseName|SecretKey)( \\| (uppercase|lowercase|replace \"[a-z./]\" \"[./]{0,2}\")){0,2} ?\\}\\}){1,3}[a-z./]{0,3}",
        ) {
            let Ok(path) = path.parse::<ApiPath>() else { return Ok(()) };
            match resolve(&text, &path) {
                Err(why) => prop_assert!(!why.contains(char::is_control)),
                Ok(file @ Destination::EachField(_)) => {
                    prop_assert!(text.contains(".SecretKey"));
                    prop_assert_eq!(file.to_string().parse::<Destination>().unwrap(), file);
                }
                Ok(file) => {
                    let plain = file.to_string();
                    prop_assert!(!text.contains(".SecretKey") && !plain.contains("{{"));
                    prop_assert_eq!(plain.parse::<Destination>().unwrap(), file);
                }
            }
        }
    }
}
