//! The grammar of `podkey.dev/env`, and the selection of values in a secret's data.

#![allow(clippy::expect_used, reason = "a fuzz target panics if a law is broken")]

use super::input;
use crate::env::{grammar, select};
use crate::plan::{ApiPath, EnvSecret, PathTemplate, Select};

/// The first record is an annotation's value, the second the data of a secret. Laws: an entry has the same form in a plan; each
/// problem is a line; a variable that comes out has a name that the entry can make.
pub fn env(bytes: &[u8]) {
    let Some(text) = input::text(bytes) else { return };
    let (written, data) = input::first_record(text);
    let entries: Vec<EnvSecret<ApiPath>> = match grammar::parse(written) {
        Ok(entries) => entries,
        Err(problems) => {
            assert!(!problems.is_empty());
            problems
                .iter()
                .for_each(|problem| input::insist_on_a_line(&problem.message));
            Vec::new()
        }
    };
    let json = serde_json::to_string(&entries).expect("entries can be written");
    let again: Vec<EnvSecret<ApiPath>> = serde_json::from_str(&json).expect("podkey reads the entries that it wrote");
    assert_eq!(entries, again);
    let data = select::inside(data);
    for entry in &entries {
        select_from(&entry.select, data);
    }
    let of_jobs: Result<Vec<EnvSecret<PathTemplate>>, _> = grammar::parse(written);
    assert!(
        entries.is_empty() || of_jobs.is_ok() || written.contains(['{', '}']),
        "{of_jobs:?}"
    );
}

fn select_from(entry: &Select, data: &str) {
    match select::select(entry, data) {
        Ok(values) => {
            for (name, _) in values {
                assert!(select::may_make(entry, name.as_str()), "{entry:?} makes {name}");
            }
        }
        Err(error) => input::insist_on_a_line(&error.to_string()),
    }
}
