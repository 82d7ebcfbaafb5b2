//! Circles: files of which each uses a definition of the next, and the last uses a definition of the first.
//!
//! A file uses another where its production code names a definition of the other file, in an import or in a path. Two things
//! are no use: a `mod.rs` that only hands a name on (the file that defines the name is used then), and a file that takes a
//! definition from a module around it, such as `vault/login.rs` from `vault/mod.rs`: a reader comes from there. A call of a
//! method names no file, and a glob that hands names on is not followed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::modules::Module;
use crate::paths::{Brought, Named, brought, used};

/// The files that a file uses, each with the names that it takes from there.
type Arrows = BTreeMap<usize, BTreeSet<String>>;

/// One text for each circle: its files, and what each takes from the others.
pub(crate) fn circles(modules: &[Module]) -> Vec<String> {
    let definitions = Definitions::of(modules);
    let arrows: Vec<Arrows> = (0..modules.len()).map(|from| definitions.arrows(from)).collect();
    let reached: Vec<BTreeSet<usize>> = (0..modules.len()).map(|from| reached(&arrows, from)).collect();
    let mut seen = BTreeSet::<usize>::new();
    let mut found = Vec::new();
    for first in 0..modules.len() {
        if seen.contains(&first) || !reached[first].contains(&first) {
            continue;
        }
        let in_circle = |file: &usize| reached[first].contains(file) && reached[*file].contains(&first);
        let circle: Vec<usize> = (0..modules.len()).filter(in_circle).collect();
        seen.extend(&circle);
        let mut text = format!("a circle of {} files:", circle.len());
        for from in &circle {
            for (to, names) in arrows[*from].iter().filter(|(to, _)| circle.contains(to)) {
                let (from, to) = (modules[*from].file.display(), modules[*to].file.display());
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                text.push_str(&format!("\n  {from} uses {} of {to}", names.join(", ")));
            }
        }
        found.push(text);
    }
    found
}

/// The files that can be reached from a file by one arrow or more.
fn reached(arrows: &[Arrows], from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<usize> = arrows[from].keys().copied().collect();
    while let Some(file) = next.pop() {
        if reached.insert(file) {
            next.extend(arrows[file].keys());
        }
    }
    reached
}

/// Where each name of the crate is defined.
struct Definitions<'m> {
    modules: &'m [Module],
    /// The index of each module by its name.
    by_name: HashMap<String, usize>,
    /// What each module's imports and re-exports bring: the name, and the path of the definition.
    brought: Vec<HashMap<String, Vec<String>>>,
}

impl<'m> Definitions<'m> {
    fn of(modules: &'m [Module]) -> Self {
        let by_name = modules.iter().enumerate();
        let by_name = by_name.map(|(index, module)| (absolute(&module.name), index));
        let brought = modules.iter().map(|module| {
            let mut names: HashMap<String, Vec<String>> = HashMap::new();
            for Brought { name, path } in brought(&module.name, &module.items) {
                names.entry(name).or_default().push(path);
            }
            names
        });
        Self {
            modules,
            by_name: by_name.collect(),
            brought: brought.collect(),
        }
    }

    fn arrows(&self, from: usize) -> Arrows {
        let mut arrows = Arrows::new();
        let module = &self.modules[from];
        for Named { path, .. } in used(&module.name, &module.items) {
            let mut found = Vec::new();
            self.defined(&path, 0, &mut found);
            for (to, name) in found {
                // The file's own module is around it too.
                let is_around = module.name.starts_with(&self.modules[to].name);
                if !is_around {
                    arrows.entry(to).or_default().insert(name);
                }
            }
        }
        arrows
    }

    /// The files with the definition that a path names: behind a re-export, the file where the name is defined. None where the
    /// path names only a module: the names that are taken from the module have paths of their own. `depth` ends a circle of
    /// re-exports.
    fn defined(&self, path: &str, depth: usize, found: &mut Vec<(usize, String)>) {
        let parts: Vec<&str> = path.split("::").collect();
        let longest = (1..=parts.len())
            .rev()
            .find_map(|length| Some((length, *self.by_name.get(&parts[..length].join("::"))?)));
        let Some((length, module)) = longest else { return };
        if let Some(name) = parts.get(length) {
            if !self.handed_on(module, name, &parts[length + 1..], depth, found) {
                found.push((module, (*name).to_owned()));
            }
        } else if let Some((name, around)) = parts.split_last()
            && let Some(around) = self.by_name.get(&around.join("::"))
        {
            // A function may have the name of the module that the function is in: `pub use self::read::read`.
            self.handed_on(*around, name, &[], depth, found);
        }
    }

    /// Follows a name that the module does not define itself, with the rest of the path. False: the module defines the name.
    fn handed_on(
        &self,
        module: usize,
        name: &str,
        rest: &[&str],
        depth: usize,
        found: &mut Vec<(usize, String)>,
    ) -> bool {
        let Some(targets) = self.brought[module].get(name).filter(|_| depth < 8) else {
            return false;
        };
        for target in targets {
            let path = [&[target.as_str()], rest].concat().join("::");
            self.defined(&path, depth + 1, found);
        }
        true
    }
}

fn absolute(name: &[String]) -> String {
    let parts = std::iter::once("crate").chain(name.iter().map(String::as_str));
    parts.collect::<Vec<_>>().join("::")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// The circles of these sources, each a file and its text.
    fn found(sources: &[(&str, &str)]) -> Vec<String> {
        let modules = sources.iter().map(|(file, text)| {
            let name = file.trim_end_matches(".rs").split('/');
            Module {
                file: PathBuf::from(file),
                name: name.filter(|part| *part != "mod").map(str::to_owned).collect(),
                items: syn::parse_file(text)
                    .unwrap_or_else(|error| panic!("{text}: {error}"))
                    .items,
            }
        });
        circles(&modules.collect::<Vec<_>>())
    }

    #[test]
    fn a_circle_is_shown_with_its_files_and_what_each_uses() {
        let circles = found(&[
            ("a.rs", "use crate::b::{B, make}; use crate::d::D;"),
            ("b.rs", "fn f() { crate::c::run(); }"),
            ("c.rs", "pub fn run() -> super::a::A { crate::d::D }"),
            ("d.rs", "pub struct D;"),
            ("e.rs", "use crate::f::F;"),
            ("f.rs", "use super::e; fn f() { e::E::new() }"),
        ]);
        assert_eq!(
            circles,
            [
                "a circle of 3 files:\n  a.rs uses B, make of b.rs\n  b.rs uses run of c.rs\n  c.rs uses A of a.rs",
                "a circle of 2 files:\n  e.rs uses F of f.rs\n  f.rs uses E of e.rs",
            ]
        );
    }

    #[test]
    fn a_circle_is_found_however_a_name_is_handed_on() {
        for (around, y) in [
            ("pub(crate) use self::x::X;", "use super::X;"),
            ("pub(crate) use self::x::X;", "use crate::a::X as Other;"),
            ("use self::x::X;", "fn f(x: super::X) {}"),
            ("pub use self::x::X as Z;", "use super::Z;"),
            ("pub use super::b::X;", "use super::X;"),
            ("pub use self::x;", "fn f() { crate::a::x::make() }"),
            ("pub use self::x::x;", "fn f() { super::x() }"),
            ("pub use self::x::Kind;", "use super::Kind::{One, Two};"),
            ("", "use super::x::*;"),
            ("", "fn f() { assert!(super::x::is_good()) }"),
        ] {
            let circles = found(&[
                ("a/mod.rs", &format!("mod x; mod y; {around}")),
                ("a/x.rs", "use super::y::f;"),
                ("a/y.rs", y),
                ("b.rs", "pub use crate::a::x::X;"),
            ]);
            assert_eq!(circles.len(), 1, "{around} {y}");
            assert!(circles[0].starts_with("a circle of 2 files:\n  a/x.rs uses f of a/y.rs\n"));
        }
    }

    #[test]
    fn a_mod_rs_with_definitions_is_a_file_like_others() {
        let circles = found(&[
            (
                "a/mod.rs",
                "mod x; pub use self::x::X; pub struct A; fn f() { x::run() }",
            ),
            ("a/x.rs", "use crate::b::B;"),
            ("b.rs", "use crate::a::A;"),
        ]);
        assert_eq!(circles.len(), 1);
        assert!(circles[0].starts_with("a circle of 3 files:"), "{}", circles[0]);
    }

    #[test]
    fn what_is_no_circle_is_let_pass() {
        for (x, y) in [
            ("use super::y::f;", "pub fn f() {}"),
            ("use super::y::f;", "#[cfg(test)] mod tests { use crate::a::x::X; }"),
            ("use super::y::f;", "#[cfg(test)] use super::X;"),
            ("use super::y::f;", "use super::A; fn f() { super::g() }"),
            ("use super::y::f;", "/// Like [`super::X`].\npub fn f() {}"),
            ("use super::y::f; use self::inner::I; mod inner { pub struct I; }", ""),
        ] {
            let around = "mod x; mod y; pub use self::x::X; pub use self::y::f; pub struct A; pub fn g() {}";
            let circles = found(&[("a/mod.rs", around), ("a/x.rs", x), ("a/y.rs", y)]);
            assert!(circles.is_empty(), "{x} {y}: {circles:?}");
        }
    }
}
