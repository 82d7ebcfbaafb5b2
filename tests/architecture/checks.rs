//! The checks themselves: arrows and purity of one module. Their tests break each rule once.

use crate::modules::Module;
use crate::paths::{Named, named};
use crate::rooms::{IMPURE, MAY_USE, OF_ALL, OF_THE_VOLUME, PURE, PURE_ALL_THE_SAME, TOO_WIDE};

/// One line for each path that points to a room this module may not use.
pub(crate) fn arrows(module: &Module) -> Vec<String> {
    let own = module.name.join("::");
    let Some(first) = module.name.first() else {
        return Vec::new();
    };
    let Some((room, allowed)) = room(&own) else {
        return vec![format!("src/{first} is not in the picture of src/lib.rs")];
    };
    let named = named(&module.name, &module.items);
    let wrong = named.iter().filter_map(|Named { path, line }| {
        let target = path.strip_prefix("crate")?;
        let target = target.strip_prefix("::").unwrap_or_default();
        let why = match room_of(target) {
            _ if target.is_empty() || target == "*" => "the whole crate: name the room".to_owned(),
            None if OF_ALL.contains(&target) => return None,
            None => format!("{target}, which is in no room of the table"),
            Some(used) if used == room || allowed.contains(&used) => return None,
            Some(used) => used.to_owned(),
        };
        Some(format!("{}:{line}: {room} may not use {why}", module.file.display()))
    });
    wrong.collect()
}

/// The arrows that a module uses: from its room to others.
pub(crate) fn used(module: &Module) -> Vec<(&'static str, &'static str)> {
    let Some(own) = room_of(&module.name.join("::")) else {
        return Vec::new();
    };
    let named = named(&module.name, &module.items).into_iter();
    let targets = named.filter_map(|Named { path, .. }| room_of(path.strip_prefix("crate::")?));
    targets.filter(|used| *used != own).map(|used| (own, used)).collect()
}

/// One line for each thing that a pure module may not have.
pub(crate) fn impurities(module: &Module) -> Vec<String> {
    let own = module.name.join("::");
    let Some(room) = PURE.iter().find(|pure| is_below(&own, pure)) else {
        return Vec::new();
    };
    let named = named(&module.name, &module.items);
    let wrong = named.iter().filter_map(|Named { path, line }| {
        let is_impure = IMPURE.iter().any(|impure| is_below(path, impure)) || TOO_WIDE.contains(&path.as_str());
        let is_async = path == "async" || path == ".await";
        let is_seeded = PURE_ALL_THE_SAME.contains(&path.as_str());
        ((is_impure && !is_seeded) || is_async)
            .then(|| format!("{}:{line}: {room} is pure, but has {path}", module.file.display()))
    });
    wrong.collect()
}

/// One line for each name of the volume's layout that the agent uses outside of `agent::volume`.
pub(crate) fn layout(module: &Module) -> Vec<String> {
    let own = module.name.join("::");
    if !is_below(&own, "agent") || is_below(&own, "agent::volume") {
        return Vec::new();
    }
    let named = named(&module.name, &module.items);
    let wrong = named.iter().filter(|Named { path, .. }| {
        let name = path
            .strip_prefix("crate::plan::")
            .and_then(|rest| rest.split("::").last());
        name.is_some_and(|name| OF_THE_VOLUME.contains(&name))
    });
    let file = module.file.display();
    wrong
        .map(|Named { path, line }| format!("{file}:{line}: only agent::volume may use {path}"))
        .collect()
}

/// The line of the table for a module: the longest name that it is in.
fn room(module: &str) -> Option<(&'static str, &'static [&'static str])> {
    let rooms = MAY_USE.into_iter().filter(|(room, _)| is_below(module, room));
    rooms.max_by_key(|(room, _)| room.len())
}

fn room_of(path: &str) -> Option<&'static str> {
    room(path).map(|(room, _)| room)
}

fn is_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn module(name: &str, text: &str) -> Module {
        Module {
            file: PathBuf::from("x.rs"),
            name: name.split("::").map(str::to_owned).collect(),
            items: syn::parse_file(text)
                .unwrap_or_else(|error| panic!("{text}: {error}"))
                .items,
        }
    }

    /// The rooms that a module of `render` must not use, in the order found, once each.
    fn forbidden(text: &str) -> Vec<String> {
        let mut found: Vec<String> = arrows(&module("render::format", text))
            .into_iter()
            .map(|line| line.rsplit(' ').next().unwrap().to_owned())
            .collect();
        found.dedup();
        found
    }

    fn impure(text: &str) -> Vec<String> {
        let lines = impurities(&module("schedule::pace", text)).into_iter();
        lines
            .map(|line| line.rsplit(" has ").next().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn each_arrow_that_the_table_does_not_have_is_refused() {
        for (from, allowed) in MAY_USE {
            for (to, _) in MAY_USE {
                let lines = arrows(&module(&format!("{from}::x"), &format!("use crate::{to}::y::Z;")));
                let is_allowed = from == to || allowed.contains(&to);
                assert_eq!(lines.is_empty(), is_allowed, "{from} -> {to}: {lines:?}");
            }
        }
    }

    #[test]
    fn an_arrow_is_seen_however_it_is_written() {
        for text in [
            "use crate::vault;",
            "use crate::vault::{self, login::{Login as _, read}};",
            "use crate::{plan::Plan, vault::login};",
            "use crate::{plan::{Plan, File}, secret::{Secret}, vault::*};",
            "use crate::{\n    plan,\n    vault,\n};",
            "use super::super::vault::login;",
            "use super::super::{plan, vault};",
            "use self::super::super::vault;",
            "mod inner { use super::super::super::vault::login; }",
            "mod inner { mod deeper { fn f() { crate::vault::login() } } }",
            "fn f() { use crate::vault::login; }",
            "fn f() { let x = crate::vault::login(); }",
            "fn f(x: &crate::vault::Session) {}",
            "fn f() -> Vec<crate::vault::Session> { loop {} }",
            "struct S { field: Option<Box<crate::vault::Session>> }",
            "impl From<crate::vault::Error> for u8 {}",
            "impl crate::vault::Login for u8 {}",
            "fn f() { match 1 { crate::vault::LIMIT => {} _ => {} } }",
            "fn f() { <u8 as crate::vault::Login>::login() }",
            "fn f() { format!(\"{}\", crate::vault::LIMIT); }",
            "fn f() { vec![vec![super::super::vault::LIMIT]]; }",
            "macro_rules! m { () => { $crate::vault::login() } }",
            "macro_rules! m { () => { use crate::{plan, vault}; } }",
            "#[serde(with = \"crate::vault::json\")] struct S;",
            "struct S { #[serde(with = \"crate::vault::json\")] field: u8 }",
            "#[derive(crate::vault::Derived)] struct S;",
            "#[cfg(any(test, feature = \"x\"))] use crate::vault;",
            "#[cfg(not(test))] use crate::vault;",
            "#[cfg(test)] mod tests {} use crate::vault;",
            "#[cfg(test)] mod tests { use crate::agent; } fn after() { crate::vault::login() }",
            "pub(crate) use crate::vault::Session;",
            "type T = crate::vault::Session;",
            "const X: usize = crate::vault::LIMIT;",
        ] {
            assert_eq!(forbidden(text), ["vault"], "{text}");
        }
    }

    #[test]
    fn an_arrow_is_seen_through_another_name() {
        assert_eq!(
            forbidden("use super::super as top; fn f() { top::vault::login() }"),
            ["room", "vault"]
        );
        assert_eq!(forbidden("use crate as top; use top::vault;"), ["room", "vault"]);
        assert_eq!(forbidden("use crate::*;"), ["room"]);
        assert_eq!(
            forbidden("use crate::{vault as plan, agent::init};"),
            ["vault", "agent"]
        );
        assert_eq!(forbidden("fn f() { crate::unknown::x() }"), ["table"]);
    }

    #[test]
    fn what_is_no_arrow_is_let_pass() {
        for text in [
            "use crate::plan::Plan; fn f() { crate::secret::Secret::from(vec![]); crate::VERSION; }",
            "use super::decode::x; use self::keys::Y; mod keys {}",
            "/// Speaks of [`crate::vault`].\n// crate::vault\nfn f() { let x = \"crate::vault\"; }",
            "pub(crate) fn f() {} pub(in crate::render) fn g() {}",
            "use vault::x; fn f() { ::vault::login() }",
            "#[cfg(test)] mod tests { use crate::vault; }",
            "#[cfg(test)] use crate::vault;",
            "#[cfg(test)] fn f() { crate::vault::login() }",
            "#[cfg(all(test, unix))] const X: u8 = crate::vault::X;",
            "struct S { #[cfg(test)] field: crate::vault::Session }",
            "impl S { #[cfg(test)] fn f() { crate::vault::login() } }",
            "fn f() { #[cfg(test)] crate::vault::login(); }",
            "fn f() { #[cfg(test)] let x = crate::vault::login(); }",
            "fn f() { S { #[cfg(test)] field: crate::vault::X }; }",
            "fn f() { match 1 { #[cfg(test)] 1 => crate::vault::login(), _ => {} } }",
            "enum E { #[cfg(test)] V(crate::vault::Session) }",
        ] {
            assert_eq!(forbidden(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_room_inside_a_room_has_its_own_arrows() {
        assert!(!arrows(&module("cli::migrate::vault_action", "use super::run;")).is_empty());
        assert!(!arrows(&module("cli::migrate::vault_action::workflow", "use crate::cli::x;")).is_empty());
        assert!(arrows(&module("cli::migrate::vault_action::workflow", "use super::Migration;")).is_empty());
        assert!(
            arrows(&module(
                "cli::migrate",
                "use self::vault_action::Migration; mod vault_action;"
            ))
            .is_empty()
        );
        assert!(!arrows(&module("cli::migrate::vault_actions", "use crate::env::x;")).is_empty());
        assert!(
            !arrows(&module("attic", "")).is_empty(),
            "a room that is not in the table"
        );
    }

    #[test]
    fn only_the_volume_names_its_folders_and_files() {
        let used = "use crate::plan::{Plan, TOKEN_FILE}; fn f() { Path::new(crate::plan::layout::HANDOVER_DIR) }";
        assert_eq!(layout(&module("agent::init", used)).len(), 2);
        assert!(layout(&module("agent::volume::once", used)).is_empty());
        assert!(layout(&module("inject::patch", used)).is_empty());
        assert!(layout(&module("agent::init", "use crate::plan::{SECRETS_DIR, Plan};")).is_empty());
    }

    #[test]
    fn each_impure_name_is_refused() {
        for path in IMPURE.iter().filter(|path| path.contains("::")) {
            assert_eq!(impure(&format!("use {path};")), [*path]);
            assert_eq!(impure(&format!("fn f() {{ {path}::x() }}")), [format!("{path}::x")]);
        }
        for krate in ["tokio", "rustix", "tracing", "hyper", "fastrand", "getrandom"] {
            assert_eq!(impure(&format!("fn f() {{ {krate}::x!() }}")), [format!("{krate}::x")]);
            assert_eq!(impure(&format!("fn f() {{ ::{krate}::x() }}")), [format!("{krate}::x")]);
        }
    }

    #[test]
    fn impurity_is_seen_however_it_is_written() {
        for (text, found) in [
            ("use std::{fmt, fs};", vec!["std::fs"]),
            (
                "use std::{collections::BTreeMap, io::{self, Read}};",
                vec!["std::io", "std::io::Read"],
            ),
            ("use std::time::{Duration, Instant};", vec!["std::time::Instant"]),
            (
                "use std::time; fn f() { time::SystemTime::now(); }",
                vec!["std::time::SystemTime::now"],
            ),
            (
                "use std::time as clock; type T = clock::Instant;",
                vec!["std::time::Instant"],
            ),
            ("use std::time::*;", vec!["std::time::*"]),
            ("use std as s; fn f() { s::fs::read(x) }", vec!["std", "std::fs::read"]),
            ("fn f() { assert!(std::env::var(x).is_ok()) }", vec!["std::env::var"]),
            ("fn f() { println!(\"x\") }", vec!["println!"]),
            ("fn f() { vec![dbg!(1)]; }", vec!["dbg!"]),
            ("async fn f() {}", vec!["async"]),
            ("trait T { async fn f(); }", vec!["async"]),
            ("impl T { async fn f() { x.await } }", vec!["async", ".await"]),
            ("fn f() { async move {} }", vec!["async"]),
            ("fn f() { async || {} }", vec!["async"]),
            ("fn f() { vec![async { x.await }]; }", vec!["async", ".await"]),
            ("#[tracing::instrument] fn f() {}", vec!["tracing::instrument"]),
            ("#[tokio::main(flavor = \"x\")] fn f() {}", vec!["tokio::main"]),
            ("extern crate tokio as t;", vec!["extern crate"]),
            ("fn f() { fastrand::u32(..) }", vec!["fastrand::u32"]),
            ("use fastrand::Rng; fn f() { Rng::new() }", vec!["fastrand::Rng::new"]),
            (
                "use fastrand::Rng as R; fn f() { R::default() }",
                vec!["fastrand::Rng::default"],
            ),
        ] {
            assert_eq!(impure(text), found, "{text}");
        }
    }

    #[test]
    fn what_is_pure_is_let_pass() {
        for text in [
            "use std::time::Duration; use fastrand::Rng; fn f(seed: u64) -> Rng { Rng::with_seed(seed) }",
            "/// Like std::fs and tokio.\nfn f() { let tokio = 1; tokio; format!(\"{tokio} std::fs::read\") }",
            "mod tracing {} fn f() { tracing::x() }",
            "fn f(print: u8, kube: u8) { g(print, kube); assert_eq!(print, kube) }",
            "#[cfg(test)] mod tests { use std::fs; }",
            "struct Instant; fn f(x: Instant) {}",
        ] {
            assert_eq!(impure(text), [""; 0], "{text}");
        }
        assert!(impurities(&module("agent::init", "use std::fs; async fn f() {}")).is_empty());
        assert!(impurities(&module("cli::inject", "use std::fs;")).is_empty());
        assert_eq!(
            impurities(&module("cli::migrate::vault_action", "use std::fs;")).len(),
            1
        );
    }
}
