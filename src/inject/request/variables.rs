//! The annotations `podkey.dev/env` and `podkey.dev/job-env`: secrets for variables, in the grammar of vault-action.

use std::str::FromStr;

use crate::env::grammar;
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::annotations::AnnotationValue;
use crate::inject::request::keys::{ENV, JOB_ENV};
use crate::inject::request::{InjectionRequest, files};
use crate::plan::{Destination, ENV_DIR, EnvName, EnvSecret, Invalid, Select};

/// Parses `podkey.dev/env`, which `init` reads.
pub(super) fn env(value: &mut AnnotationValue<'_>, request: &mut InjectionRequest) {
    request.env = entries(value);
    for entry in &request.env {
        if let Some(why) = files::unfilled(&entry.secret, "use podkey.dev/job-env") {
            value.problem(why);
        }
    }
}

/// Parses `podkey.dev/job-env`, which the job reads.
pub(super) fn job_env(value: &mut AnnotationValue<'_>, request: &mut InjectionRequest) {
    request.job_env = entries(value);
}

fn entries<P: FromStr<Err = Invalid>>(value: &mut AnnotationValue<'_>) -> Vec<EnvSecret<P>> {
    let Some(text) = value.text() else {
        return Vec::new();
    };
    grammar::parse(text).unwrap_or_else(|wrong| {
        wrong.iter().for_each(|why| value.problem(why.to_string()));
        Vec::new()
    })
}

/// What the variables, the files and each other's names leave no room for.
pub(crate) fn check(request: &InjectionRequest, problems: &mut Problems) {
    let env = request.env.iter().map(|env| (ENV, &env.select));
    let job_env = request.job_env.iter().map(|env| (JOB_ENV, &env.select));
    let mut names: Vec<(&str, &EnvName)> = Vec::new();
    for (key, select) in env.chain(job_env) {
        let Select::Value { name, .. } = select else { continue };
        // Within one annotation the grammar has looked.
        let other = names.iter().find(|(other, same)| *other != key && *same == name);
        if let Some((other, _)) = other {
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
        if let Some((key, name)) = same.filter(|_| request.exports()) {
            problems.push(
                *key,
                format!("{} is also set by {}.env", quoted(name.as_str()), file.place()),
            );
        }
    }
}
