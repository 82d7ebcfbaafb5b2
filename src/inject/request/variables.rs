//! The annotations `podkey.dev/env` and `podkey.dev/job-env`: secrets for variables, in the grammar of vault-action.

use std::str::FromStr;

use crate::env::grammar;
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::files::file::unfilled;
use crate::inject::request::injection::InjectionRequest;
use crate::inject::request::rules::{Authored, report};
use crate::inject::request::value::AnnotationValue;
use crate::inject::words::keys::{ENV, JOB_ENV};
use crate::plan::{EnvName, EnvSecret, Invalid, Select, rules};

/// Parses `podkey.dev/env`, which `init` reads.
pub(super) fn env(value: &mut AnnotationValue<'_>, request: &mut InjectionRequest) {
    request.env = entries(value);
    let instead = format!("use {JOB_ENV}");
    for entry in &request.env {
        if let Some(why) = unfilled(&entry.secret, &instead) {
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

/// Reports a name that two variables would have, and a file in the place of the variables' files.
pub(crate) fn check(request: &InjectionRequest, problems: &mut Problems) {
    let env = request.env.iter().map(|env| (ENV, &env.select));
    let job_env = request.job_env.iter().map(|env| (JOB_ENV, &env.select));
    let mut names: Vec<(&str, &EnvName)> = Vec::new();
    for (key, select) in env.chain(job_env) {
        let Select::Value { name, .. } = select else { continue };
        // Names within one annotation are checked by the grammar.
        let earlier = names.iter().find(|(other, earlier)| *other != key && *earlier == name);
        if let Some((other, _)) = earlier {
            problems.push(key, format!("{} is also made by {other}", quoted(name.as_str())));
        }
        names.push((key, name));
    }
    if !request.has_variables() {
        return;
    }
    let authored = Authored {
        files: &request.files,
        on_change: &[],
    };
    let destinations = request.files.iter().map(|file| &file.file);
    report(rules::variables_directory(destinations), authored, problems);
    for file in &request.files {
        let named_alike = names
            .iter()
            .find(|(_, name)| Some(name.as_str()) == file.env.as_deref());
        if let Some((key, name)) = named_alike.filter(|_| request.exports()) {
            problems.push(
                *key,
                format!("{} is also set by {}.env", quoted(name.as_str()), file.place()),
            );
        }
    }
}
