//! Names of files from templates: the path of the secret fills in the placeholders, as in Vault's Secrets Sync. The names of the
//! secret's fields are not known before the agent reads the secret, so `{{ .SecretKey }}` stays.

use crate::inject::problem::{did_you_mean, quoted};
use crate::plan::{ApiPath, Destination, FieldName, Invalid, NamePiece, NameTemplate, applied};

/// A placeholder's name, and the value that the placeholder has for a path: a function of the path's mount and its rest.
type PathPlaceholder = (&'static str, for<'p> fn(&'p str, &'p str) -> &'p str);

/// The placeholders that the path fills in.
const PLACEHOLDERS: [PathPlaceholder; 4] = [
    ("MountPath", |mount, _| mount),
    ("MountBaseName", |mount, _| last_segment(mount)),
    ("SecretPath", |_, secret| secret),
    ("SecretBaseName", |_, secret| last_segment(secret)),
];

fn last_segment(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// Where the secret at `path` goes. The error is the end of a sentence that begins with the field's name.
pub(crate) fn resolve(text: &str, path: &ApiPath) -> Result<Destination, String> {
    let wrong = |why| format!("{} {why}", quoted(text));
    if !text.contains("{{") {
        return written(text).map_err(wrong);
    }
    let template: NameTemplate = text.parse().map_err(wrong)?;
    let mut name = String::new();
    for piece in template.pieces() {
        match piece {
            NamePiece::Placeholder { name: known, functions } if known != FieldName::PLACEHOLDER => {
                let value = value(known, path).map_err(|why| format!("{} {why}", quoted(text)))?;
                name.push_str(&applied(value, functions).map_err(wrong)?);
            }
            piece => name.push_str(&piece.to_string()),
        }
    }
    written(&name).map_err(|why| {
        if name == text {
            wrong(why)
        } else {
            format!("{} becomes {}, which {why}", quoted(text), quoted(&name))
        }
    })
}

/// A destination as `podkey.dev/files` has it: in no directory of its own, whose written form has a colon.
fn written(text: &str) -> Result<Destination, Invalid> {
    match text.parse()? {
        Destination::InDirectory { .. } => Err(Destination::has_colon()),
        file => Ok(file),
    }
}

/// What a placeholder stands for.
fn value<'p>(placeholder: &str, path: &'p ApiPath) -> Result<&'p str, String> {
    let Some((_, value)) = PLACEHOLDERS.iter().find(|(name, _)| *name == placeholder) else {
        let names = PLACEHOLDERS.iter().map(|(name, _)| *name);
        let names = names.chain([FieldName::PLACEHOLDER]).map(|name| format!(".{name}"));
        let (names, written) = (names.collect::<Vec<_>>(), format!(".{placeholder}"));
        return Err(format!(
            "has the placeholder {}, which is none of {}{}",
            quoted(&written),
            names.join(", "),
            did_you_mean(&written, names.iter().map(String::as_str))
        ));
    };
    let (mount, secret) = mount_and_secret(path.as_str());
    match value(mount, secret) {
        "" => Err(format!(
            "has the placeholder \".{placeholder}\", which is empty for this path"
        )),
        // A placeholder of the job is not filled in here, and a value that is filled in must not be a template itself.
        value if value.contains(['{', '}']) => Err(format!(
            "has the placeholder \".{placeholder}\", which is {} for this path: write the name out",
            quoted(value)
        )),
        value => Ok(value),
    }
}

/// The mount of a path, and the rest: `kv` and `app/db` of `kv/data/app/db`, a path of KV version 2. The mount of any other path is
/// its first segment.
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
    fn the_path_fills_in_the_placeholders() {
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
            // The first /data/ belongs to the engine, a second one to the secret.
            ("{{ .MountPath }}.{{ .SecretPath }}", "kv/data/data/x", "kv.data/x"),
            ("{{ .MountPath }}.{{ .SecretPath }}", "data/data/x", "data.x"),
            ("{{ .MountPath }}", "kv", "kv"),
        ] {
            assert_eq!(resolved(text, path).as_deref(), Ok(expected), "{text} of {path}");
        }
    }

    #[test]
    fn a_template_that_makes_no_valid_name_is_refused() {
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
            ("/vault/secrets:x", "kv/data/x", "has the character ':'"),
            ("/srv/{{ .SecretPath }}", "kv/data/a:x", "has the character ':'"),
            ("../x", "kv/data/x", "has a segment . or .."),
        ] {
            let error = resolved(text, path).expect_err(text);
            assert!(error.contains(why), "{text} of {path}: {error}");
        }
    }

    proptest! {
        /// Whatever the path and the template are, a name without a template could have led to the same place.
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
