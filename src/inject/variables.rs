//! The annotations `podkey.dev/env` and `podkey.dev/job-env`: secrets for variables, in the grammar of vault-action.

use std::str::FromStr;

use super::annotations::InjectionRequest;
use super::files;
use super::keys::{ENV, JOB_ENV};
use super::problem::{Problems, quoted};
use crate::plan::{ApiPath, Destination, ENV_DIR, EnvName, EnvSecret, Invalid, MAX_ENV_SECRETS, PathTemplate, Select};

/// The longest text that is looked at, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// Parses `podkey.dev/env`, which `init` reads.
pub(super) fn parse(text: &str, problems: &mut Problems) -> Vec<EnvSecret> {
    entries(ENV, text, problems, |path: &ApiPath| {
        files::wrong_for_init(path, "use podkey.dev/job-env")
    })
}

/// Parses `podkey.dev/job-env`, which the job reads.
pub(super) fn parse_for_job(text: &str, problems: &mut Problems) -> Vec<EnvSecret<PathTemplate>> {
    entries(JOB_ENV, text, problems, |path: &PathTemplate| {
        files::wrong_for_all(path.as_path())
    })
}

fn entries<P: FromStr<Err = Invalid>>(
    key: &str,
    text: &str,
    problems: &mut Problems,
    wrong: impl Fn(&P) -> Option<String>,
) -> Vec<EnvSecret<P>> {
    if text.len() > MAX_BYTES {
        problems.push(key, format!("is longer than {MAX_BYTES} bytes"));
        return Vec::new();
    }
    let entries = match stub::<P>(text) {
        Ok(entries) => entries,
        Err(whys) => {
            whys.into_iter().for_each(|why| problems.push(key, why));
            return Vec::new();
        }
    };
    match entries.len() {
        0 => problems.push(
            key,
            "asks for no secret: write `path key | NAME`, entries with ; between them",
        ),
        n if n > MAX_ENV_SECRETS => {
            problems.push(key, format!("has {n} entries, allowed are {MAX_ENV_SECRETS}"));
            return Vec::new();
        }
        _ => {}
    }
    for why in entries.iter().filter_map(|entry| wrong(&entry.secret)) {
        problems.push(key, why);
    }
    entries
}

/// What the variables, the files and each other's names leave no room for.
pub(super) fn check(request: &InjectionRequest, problems: &mut Problems) {
    let env = request.env.iter().map(|env| (ENV, &env.select));
    let job_env = request.job_env.iter().map(|env| (JOB_ENV, &env.select));
    let mut names: Vec<(&str, &EnvName)> = Vec::new();
    for (key, select) in env.chain(job_env) {
        let Select::Value { name, .. } = select else { continue };
        if let Some((other, _)) = names.iter().find(|(_, other)| *other == name) {
            problems.push(key, format!("{} is also made by {other}", quoted(name.as_str())));
        }
        names.push((key, name));
    }
    if !request.has_variables() {
        return;
    }
    let directory = Destination::Relative(ENV_DIR.to_owned());
    for file in &request.files {
        if file.file.conflicts_with(&directory) {
            problems.push(
                format!("{}.file", file.place()),
                format!(
                    "{} is in {}, where podkey puts the values of variables: choose another place",
                    quoted(&file.file.to_string()),
                    quoted(&directory.path())
                ),
            );
        }
        let same = names
            .iter()
            .find(|(_, name)| Some(name.as_str()) == file.env.as_deref());
        if let Some((key, name)) = same.filter(|_| request.export != Some(false)) {
            problems.push(
                *key,
                format!("{} is also set by {}.env", quoted(name.as_str()), file.place()),
            );
        }
    }
}

/// To be replaced by the real grammar.
fn stub<P: FromStr<Err = Invalid>>(text: &str) -> Result<Vec<EnvSecret<P>>, Vec<String>> {
    let mut found = Vec::new();
    for entry in text.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (request, name) = entry.rsplit_once('|').unwrap_or((entry, "X"));
        let (path, key) = request.trim().split_once(' ').ok_or_else(|| vec!["no".to_owned()])?;
        found.push(EnvSecret {
            secret: path
                .parse()
                .map_err(|why: Invalid| vec![format!("{} {why}", quoted(path))])?,
            select: Select::Value {
                at: vec![crate::plan::Step::Key(key.trim().to_owned())],
                name: name
                    .trim()
                    .parse()
                    .map_err(|why: Invalid| vec![format!("{} {why}", quoted(name.trim()))])?,
            },
        });
    }
    Ok(found)
}
