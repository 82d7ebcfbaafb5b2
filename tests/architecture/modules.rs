//! Reads the crate's modules as the compiler finds them, and leaves out what only `cfg(test)` compiles.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Item, ItemMod, Lit, Meta, MetaNameValue, Stmt, Token};

/// The crate's modules in files.
#[derive(Default)]
pub(crate) struct Crate {
    /// Those that are compiled without `cfg(test)`.
    pub(crate) production: Vec<Module>,
    /// All files that a `mod` names, those of tests among them.
    pub(crate) files: BTreeSet<PathBuf>,
}

/// One file's module. Modules in braces are still inside `items`.
pub(crate) struct Module {
    pub(crate) file: PathBuf,
    /// `["vault", "login"]` for `crate::vault::login`.
    pub(crate) name: Vec<String>,
    pub(crate) items: Vec<Item>,
}

impl Crate {
    /// Follows each `mod` from `lib.rs` on.
    pub(crate) fn read(src: &Path) -> Self {
        let mut found = Self::default();
        found.file(src.join("lib.rs"), src, &[], true);
        found
    }

    fn file(&mut self, file: PathBuf, folder: &Path, name: &[String], in_production: bool) {
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let in_production = in_production && !parsed.attrs.iter().any(is_only_for_tests);
        self.files.insert(file.clone());
        self.below(&parsed.items, file.parent(), folder, name, in_production);
        if in_production {
            self.production.push(Module {
                file,
                name: name.to_vec(),
                items: parsed.items,
            });
        }
    }

    /// `beside` is the folder of the file, for `#[path]`; None inside a module in braces.
    fn below(&mut self, items: &[Item], beside: Option<&Path>, folder: &Path, name: &[String], in_production: bool) {
        for item in items {
            let Item::Mod(module) = item else { continue };
            let own = module.ident.to_string();
            let in_production = in_production && !module.attrs.iter().any(is_only_for_tests);
            let inside = folder.join(&own);
            let name = [name, &[own.clone()]].concat();
            match &module.content {
                Some((_, items)) => self.below(items, None, &inside, &name, in_production),
                None => match path_of(module) {
                    Some(path) => {
                        let beside = beside.unwrap_or_else(|| panic!("mod {own}: #[path] inside a module in braces"));
                        let file = beside.join(path);
                        let folder = file.parent().unwrap_or(folder).to_owned();
                        self.file(file, &folder, &name, in_production);
                    }
                    None => {
                        let file = Some(inside.join("mod.rs")).filter(|file| file.is_file());
                        let file = file.unwrap_or_else(|| inside.with_extension("rs"));
                        self.file(file, &inside, &name, in_production);
                    }
                },
            }
        }
    }
}

/// The value of `#[path = "…"]`.
fn path_of(module: &ItemMod) -> Option<String> {
    module.attrs.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(MetaNameValue {
            path,
            value: Expr::Lit(ExprLit {
                lit: Lit::Str(text), ..
            }),
            ..
        }) if path.is_ident("path") => Some(text.value()),
        _ => None,
    })
}

/// The attributes before an item.
pub(crate) fn attributes_of_item(item: &Item) -> &[Attribute] {
    macro_rules! attributes {
        ($($kind:ident)*) => { match item { $(Item::$kind(item) => &item.attrs,)* _ => &[] } };
    }
    attributes!(Const Enum ExternCrate Fn ForeignMod Impl Macro Mod Static Struct Trait TraitAlias Type Union Use)
}

/// The attributes before a statement. (Those of an item are [`attributes_of_item`].)
pub(crate) fn attributes_of_statement(statement: &Stmt) -> &[Attribute] {
    macro_rules! attributes {
        ($expression:expr, $($kind:ident)*) => { match $expression { $(Expr::$kind(inner) => &inner.attrs,)* _ => &[] } };
    }
    match statement {
        Stmt::Local(local) => &local.attrs,
        Stmt::Macro(call) => &call.attrs,
        Stmt::Expr(expression, _) => attributes!(
            expression,
            Array Assign Async Await Binary Block Break Call Cast Closure Const Continue Field ForLoop Group If Index Let Lit
            Loop Macro Match MethodCall Paren Path Range Reference Repeat Return Struct Try Tuple Unary Unsafe While
        ),
        Stmt::Item(_) => &[],
    }
}

/// Whether an attribute leaves out what is behind it, but for tests.
pub(crate) fn is_only_for_tests(attribute: &Attribute) -> bool {
    match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.parse_args::<Meta>().expect("a condition in cfg");
            without_tests(&condition) == Some(false)
        }
        _ => false,
    }
}

/// What a condition comes to when `test` is off; None: that depends on other things, such as features.
fn without_tests(condition: &Meta) -> Option<bool> {
    let Meta::List(list) = condition else {
        return condition.path().is_ident("test").then_some(false);
    };
    let inner = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    let inner: Vec<Option<bool>> = inner.expect("conditions").iter().map(without_tests).collect();
    let decided = |by: bool| inner.contains(&Some(by)).then_some(by);
    let undecided = inner.contains(&None);
    if list.path.is_ident("not") {
        inner.first().copied().flatten().map(|inner| !inner)
    } else if list.path.is_ident("all") {
        decided(false).or_else(|| (!undecided).then_some(true))
    } else {
        decided(true).or_else(|| (!undecided).then_some(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_tests_compile_is_known_by_its_condition() {
        for (attribute, only_tests) in [
            ("#[cfg(test)]", true),
            ("#[inline] #[cfg(test)]", true),
            ("#[cfg(all(test, feature = \"agent\"))]", true),
            ("#[cfg(any(test))]", true),
            ("#[cfg(not(not(test)))]", true),
            ("#[cfg(any(test, feature = \"agent\"))]", false),
            ("#[cfg(not(test))]", false),
            ("#[cfg(not(any(test, windows)))]", false),
            ("#[cfg(all(not(test), unix))]", false),
            ("#[cfg(feature = \"test\")]", false),
            ("#[cfg_attr(test, allow(dead_code))]", false),
            ("#[test_case]", false),
            ("", false),
        ] {
            let item: Item = syn::parse_str(&format!("{attribute} fn x() {{}}")).unwrap();
            let found = attributes_of_item(&item).iter().any(is_only_for_tests);
            assert_eq!(found, only_tests, "{attribute}");
        }
    }

    #[test]
    fn a_file_that_only_a_module_of_tests_reaches_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let src = folder.path();
        std::fs::create_dir_all(src.join("vault/tests")).unwrap();
        std::fs::create_dir_all(src.join("plan/words")).unwrap();
        for (path, text) in [
            (
                "lib.rs",
                "mod vault; mod plan { pub mod words; #[cfg(test)] mod trials { } }",
            ),
            (
                "vault/mod.rs",
                "mod login; #[cfg(test)] mod tests; fn after_the_tests() {}",
            ),
            (
                "vault/login.rs",
                "#![cfg(unix)] #[path = \"tests/login.rs\"] #[cfg(test)] mod trial;",
            ),
            ("vault/tests/login.rs", ""),
            ("vault/tests/mod.rs", "mod storm;"),
            ("vault/tests/storm.rs", "fn x() {}"),
            ("plan/words.rs", "#[cfg(all(test, unix))] mod laws;"),
            ("plan/words/laws.rs", ""),
        ] {
            std::fs::write(src.join(path), text).unwrap();
        }
        let found = Crate::read(src);
        let names: Vec<String> = found.production.iter().map(|module| module.name.join("::")).collect();
        assert_eq!(names, ["vault::login", "vault", "plan::words", ""]);
        assert_eq!(found.files.len(), 8);
    }
}
