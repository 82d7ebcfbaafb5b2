//! Links: each leads to a file of the repository and to an anchor of that file; and where pages may lead.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::page::{Link, Page};
use crate::root;

/// How links to our own repository begin. A page uses relative links.
const OURS: &str = "https://github.com/podkey/podkey/";
/// Folders with source code.
const SOURCE: [&str; 4] = ["src", "tests", "examples", "fuzz"];

/// The links that lead nowhere.
pub(crate) fn problems(pages: &[Page]) -> Vec<String> {
    let mut anchors = BTreeMap::new();
    for page in pages {
        anchors.insert(PathBuf::from(&page.path), page.anchors());
    }
    let mut problems = Vec::new();
    for page in pages {
        for link in page.links() {
            if let Some(why) = problem(page, &link, &mut anchors) {
                problems.push(format!("{}:{}: {}: {why}", page.path, link.line, link.to));
            }
        }
    }
    problems
}

fn problem(page: &Page, link: &Link, anchors: &mut BTreeMap<PathBuf, Vec<String>>) -> Option<String> {
    if is_elsewhere(&link.to) {
        return None;
    }
    if link.to.starts_with('/') {
        return Some("is an absolute path: a forge and the book have other roots".to_owned());
    }
    let (path, anchor) = link.to.split_once('#').unwrap_or((&link.to, ""));
    let target = match path {
        "" => PathBuf::from(&page.path),
        path => target(page, path)?,
    };
    let is_known = anchors.contains_key(&target);
    if !is_known && !root().join(&target).exists() {
        return Some("there is no such file".to_owned());
    }
    if anchor.is_empty() {
        return None;
    }
    if target.extension().is_none_or(|extension| extension != "md") {
        return Some("only pages have anchors".to_owned());
    }
    let known = anchors
        .entry(target)
        .or_insert_with_key(|target| Page::read(target.to_str().unwrap_or_default()).anchors());
    (!known.iter().any(|known| known == anchor)).then(|| "the page has no such heading".to_owned())
}

/// Whether the link leads to another site.
fn is_elsewhere(to: &str) -> bool {
    to.contains("://") || to.starts_with("mailto:")
}

/// The path of a link's target, from the root of the repository. None: the path leaves the repository, as a forge's own pages do.
fn target(page: &Page, path: &str) -> Option<PathBuf> {
    let mut target = PathBuf::new();
    for step in page.folder().join(path.replace("%20", " ")).components() {
        match step {
            // Above the root there is nothing of ours.
            Component::ParentDir if !target.pop() => return None,
            Component::Normal(name) => target.push(name),
            _ => {}
        }
    }
    Some(target)
}

/// The links into the source of pages that are not for developers.
pub(crate) fn into_the_source(pages: &[Page]) -> Vec<String> {
    let mut problems = Vec::new();
    for page in pages.iter().filter(|page| !is_for_developers(&page.path)) {
        for link in page.links() {
            let target = match link.to.strip_prefix(OURS) {
                Some(ours) => ours.splitn(3, '/').nth(2).map(PathBuf::from),
                None if is_elsewhere(&link.to) => None,
                None => target(page, link.to.split('#').next().unwrap_or_default()),
            };
            if target.is_some_and(|target| is_source(&target)) {
                problems.push(format!(
                    "{}:{}: {}: only pages for developers link into the source: say here what a reader needs",
                    page.path, link.line, link.to
                ));
            }
        }
    }
    problems
}

fn is_source(target: &Path) -> bool {
    SOURCE.iter().any(|folder| target.starts_with(folder))
        || target.extension().is_some_and(|extension| extension == "rs")
}

fn is_for_developers(path: &str) -> bool {
    path.starts_with("docs/develop/") || path.starts_with("benches/") || path == "CONTRIBUTING.md"
}
