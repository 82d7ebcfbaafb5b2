//! Files that are named after the fields of a secret: their names are known only after the read, so conflicts with other
//! files are found here and not when the plan is made.

use std::collections::BTreeMap;

use crate::agent::report::Failure;
use crate::plan::{ApiPath, Destination, ENV_DIR, ExitCode, OnChange, Plan};

/// Refuses files that cannot stand beside all other files of the plan and beside each other. Each file of `made` comes with
/// the path of the secret.
pub(in crate::agent) fn check_field_files<'a, C>(
    plan: &Plan<C>,
    made: impl IntoIterator<Item = (&'a Destination, &'a ApiPath)>,
) -> Result<(), Failure> {
    let known = plan
        .destinations()
        .filter(|file| !matches!(file, Destination::EachField(_)));
    let mut taken: BTreeMap<String, String> = known
        .map(|file| (file.path().into_owned(), "another file of the plan".to_owned()))
        .collect();
    let reserved = reserved(plan);
    for (file, secret) in made {
        let path = file.path().into_owned();
        let other = reserved.iter().find(|(other, _)| file.is_beside(other));
        let other = other.map(|(other, what)| (other.path().into_owned(), (*what).to_owned()));
        if let Some((other, what)) = other.or_else(|| conflicting(&taken, &path)) {
            return Err(Failure::new(
                ExitCode::BadData,
                format!("the file {path}, of a field of {secret}, and {other}, {what}, cannot both be delivered"),
                "rename the field, or give the files a directory of their own, such as web/{{ .SecretKey }}",
            ));
        }
        taken.insert(path, format!("of {secret}"));
    }
    Ok(())
}

/// The destinations that stand for everything below their first segment: the files that `on-change` touches, and the
/// directory of the variables.
fn reserved<C>(plan: &Plan<C>) -> Vec<(Destination, &'static str)> {
    let touched = plan.refresh.iter().flat_map(|refresh| &refresh.on_change);
    let touched = touched
        .filter_map(OnChange::touched)
        .map(|file| (file, "what on-change touches"));
    let env = Destination::Relative(ENV_DIR.to_owned());
    let has_env = !plan.env.is_empty() || plan.job.iter().any(|job| !job.env.is_empty());
    touched
        .chain(has_env.then_some((env, "the directory of the variables")))
        .collect()
}

/// A taken path that is this path, or inside or around it.
fn conflicting(taken: &BTreeMap<String, String>, path: &str) -> Option<(String, String)> {
    let around = path.match_indices('/').map(|(at, _)| &path[..at]).chain([path]);
    let mut around = around.filter_map(|path| taken.get_key_value(path));
    let below = format!("{path}/");
    let mut inside = taken
        .range(below.clone()..)
        .take_while(|(path, _)| path.starts_with(&below));
    around
        .next()
        .or_else(|| inside.next())
        .map(|(path, what)| (path.clone(), what.clone()))
}
