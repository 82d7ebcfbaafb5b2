//! The book: `docs/SUMMARY.md` has each page of `docs/` once, and nothing else.

use std::collections::BTreeMap;
use std::path::Path;

use crate::page::Page;
use crate::root;

pub(crate) const SUMMARY: &str = "docs/SUMMARY.md";

/// Pages that the list does not have, has twice, or has although they do not exist.
pub(crate) fn problems(pages: &[Page]) -> Vec<String> {
    let mut listed: BTreeMap<String, usize> = BTreeMap::new();
    let mut problems = Vec::new();
    match pages.iter().find(|page| page.is_summary()) {
        None => problems.push(format!("{SUMMARY} is missing")),
        Some(summary) => {
            for link in summary.links() {
                *listed.entry(format!("docs/{}", link.to)).or_default() += 1;
            }
        }
    }
    for (path, times) in &listed {
        if *times > 1 {
            problems.push(format!("{SUMMARY} has {path} {times} times"));
        }
        let exists = pages.iter().any(|page| page.path == *path) || root().join(path).exists();
        if !exists {
            problems.push(format!("{SUMMARY} has {path}, which does not exist"));
        }
    }
    for page in pages {
        let is_of_book = Path::new(&page.path).starts_with("docs") && !page.is_summary();
        if is_of_book && !listed.contains_key(&page.path) {
            problems.push(format!("{SUMMARY} does not have {}", page.path));
        }
    }
    problems
}
