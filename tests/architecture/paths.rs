//! Finds what a module names: every path, in imports, expressions, types, macros and attributes, written out from its
//! crate's root; and whether it is async.

use std::collections::HashMap;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemUse, Meta, UseTree, Visibility};

use crate::modules::{attributes_of_item, attributes_of_statement, is_only_for_tests};

/// Something that a module names, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Named {
    /// `crate::vault::login`, `std::fs::read`, `println!`; `async` and `.await` stand for themselves; a glob ends with `*`.
    pub(crate) path: String,
    pub(crate) line: usize,
}

/// What these items, which are a module's, name in production.
pub(crate) fn named(module: &[String], items: &[Item]) -> Vec<Named> {
    let mut reader = Reader::of(module, items);
    for item in items {
        reader.visit_item(item);
    }
    reader.found
}

/// What these items name in production beside their re-exports, which use nothing.
pub(crate) fn used(module: &[String], items: &[Item]) -> Vec<Named> {
    let mut reader = Reader::of(module, items);
    let is_re_export = |item: &&Item| matches!(item, Item::Use(item) if !matches!(item.vis, Visibility::Inherited));
    for item in items.iter().filter(|item| !is_re_export(item)) {
        reader.visit_item(item);
    }
    reader.found
}

/// A name that an import or a re-export brings into a module.
pub(crate) struct Brought {
    pub(crate) name: String,
    /// As in [`Named`].
    pub(crate) path: String,
}

/// The names that the imports of these items, which are a module's, bring in production.
pub(crate) fn brought(module: &[String], items: &[Item]) -> Vec<Brought> {
    let mut reader = Reader::of(module, items);
    let mut found = Vec::new();
    for item in items {
        let Item::Use(item) = item else { continue };
        if are_of_tests(&item.attrs) {
            continue;
        }
        for import in imports(item) {
            let Some(name) = import.name else { continue };
            reader.note(&import.path, import.line, 0);
            let paths = std::mem::take(&mut reader.found).into_iter();
            found.extend(paths.map(|Named { path, .. }| Brought {
                name: name.clone(),
                path,
            }));
        }
    }
    found
}

/// The names that a module's imports and its inner modules bring. An import inside a function counts for the whole
/// module: a name too many does no harm here.
#[derive(Default)]
struct Names(HashMap<String, Vec<Vec<String>>>);

impl Names {
    fn of(items: &[Item]) -> Self {
        let mut names = Self::default();
        for item in items {
            if let Item::Mod(module) = item {
                let own = module.ident.to_string();
                names.add(&own, vec!["self".to_owned(), own.clone()]);
            }
            names.visit_item(item);
        }
        names
    }

    fn add(&mut self, name: &str, path: Vec<String>) {
        self.0.entry(name.to_owned()).or_default().push(path);
    }
}

impl Visit<'_> for Names {
    fn visit_item(&mut self, item: &Item) {
        if !are_of_tests(attributes_of_item(item)) && !matches!(item, Item::Mod(_)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        for import in imports(item) {
            if let (Some(name), false) = (&import.name, import.path.last().is_some_and(|last| last == "*")) {
                self.add(name, import.path);
            }
        }
    }
}

/// One name of a `use`.
struct Import {
    /// Begins with an empty segment where the text begins with `::`.
    path: Vec<String>,
    /// The name in this module; none: `_`, or a glob.
    name: Option<String>,
    line: usize,
}

fn imports(item: &ItemUse) -> Vec<Import> {
    let mut found = Vec::new();
    let start = item.leading_colon.map(|_| String::new()).into_iter().collect();
    flatten(&item.tree, start, &mut found);
    found
}

fn flatten(tree: &UseTree, mut before: Vec<String>, found: &mut Vec<Import>) {
    let line = tree.span().start().line;
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, found);
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before.clone(), found);
            }
        }
        UseTree::Glob(_) => {
            before.push("*".to_owned());
            let (path, name) = (before, None);
            found.push(Import { path, name, line });
        }
        UseTree::Name(_) | UseTree::Rename(_) => {
            let (ident, name) = match tree {
                UseTree::Rename(rename) => (rename.ident.to_string(), rename.rename.to_string()),
                UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string()),
                _ => return,
            };
            let renamed = matches!(tree, UseTree::Rename(_));
            let mut name = Some(name).filter(|name| name != "_");
            if ident == "self" && !before.is_empty() {
                if !renamed {
                    name = before.last().cloned();
                }
            } else {
                before.push(ident);
            }
            found.push(Import {
                path: before,
                name,
                line,
            });
        }
    }
}

struct Reader {
    module: Vec<String>,
    names: Names,
    found: Vec<Named>,
}

impl Reader {
    fn of(module: &[String], items: &[Item]) -> Self {
        Self {
            module: module.to_vec(),
            names: Names::of(items),
            found: Vec::new(),
        }
    }

    /// Notes a path as it is written, from its crate's root. `depth` ends a circle of imports.
    fn note(&mut self, path: &[String], line: usize, depth: usize) {
        let Some(first) = path.first() else { return };
        let mut whole = vec!["crate".to_owned()];
        match first.as_str() {
            "" => self.push(&path[1..], line),
            "crate" => self.push(path, line),
            "self" | "super" => {
                let up = path.iter().take_while(|part| *part == "super").count();
                let start = usize::from(first == "self");
                let up = up.max(path[start..].iter().take_while(|part| *part == "super").count());
                let kept = self.module.len().checked_sub(up);
                let kept = kept.unwrap_or_else(|| panic!("{}: too many super", self.module.join("::")));
                whole.extend_from_slice(&self.module[..kept]);
                whole.extend_from_slice(&path[start + up..]);
                self.push(&whole, line);
            }
            _ => {
                let known = self.names.0.get(first).filter(|_| depth < 8).cloned();
                for mut target in known.clone().unwrap_or_default() {
                    // `use serde::de` and `use time::time`: the import's own first name is another thing.
                    let again = target.first() == Some(first);
                    target.extend_from_slice(&path[1..]);
                    if again {
                        self.push(&target, line);
                    } else {
                        self.note(&target, line, depth + 1);
                    }
                }
                if known.is_none() {
                    self.push(path, line);
                }
            }
        }
    }

    fn push(&mut self, path: &[String], line: usize) {
        let path = path.join("::");
        self.found.push(Named { path, line });
    }

    /// A macro. One without a path is noted as `println!`.
    fn called(&mut self, path: &[String], line: usize) {
        match path {
            [name] if !self.names.0.contains_key(name) => self.word(&format!("{name}!"), line),
            path => self.note(path, line, 0),
        }
    }

    fn word(&mut self, word: &str, line: usize) {
        self.push(&[word.to_owned()], line);
    }

    /// Paths, `async` and `.await` in tokens that no parser knows: what a macro is given, and what an attribute says.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is = |at: usize, c: char| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == c);
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => self.text(&literal.to_string(), literal.span().start().line),
                TokenTree::Ident(ident) if ident == "async" => self.word("async", ident.span().start().line),
                TokenTree::Ident(ident) if ident == "await" => self.word(".await", ident.span().start().line),
                TokenTree::Ident(ident) => {
                    let line = ident.span().start().line;
                    let mut path = vec![ident.to_string()];
                    if at >= 2 && is(at - 1, ':') && is(at - 2, ':') {
                        path.insert(0, String::new());
                    }
                    while is(at + 1, ':') && is(at + 2, ':') {
                        match tokens.get(at + 3) {
                            Some(TokenTree::Ident(next)) => path.push(next.to_string()),
                            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                                self.group(&path, group.stream(), line);
                                break;
                            }
                            Some(TokenTree::Punct(star)) if star.as_char() == '*' => {
                                path.push("*".to_owned());
                                break;
                            }
                            _ => break,
                        }
                        at += 3;
                    }
                    let is_macro = is(at + 1, '!') && !is(at + 2, '=');
                    if is_macro {
                        self.called(&path, line);
                    } else if path.len() > 1 || self.names.0.contains_key(&path[0]) {
                        self.note(&path, line, 0);
                    }
                }
                TokenTree::Punct(_) => {}
            }
            at += 1;
        }
    }

    /// `crate::{plan, vault::login}` inside a macro.
    fn group(&mut self, before: &[String], tokens: TokenStream, line: usize) {
        let start = before.join("::");
        if let Ok(item) = syn::parse_str::<ItemUse>(&format!("use {start}::{{{tokens}}};")) {
            for import in imports(&item) {
                self.note(&import.path, line, 0);
            }
        }
    }

    /// A text that is a path, such as serde's `with = "crate::json"`.
    fn text(&mut self, literal: &str, line: usize) {
        let inner = literal.trim_matches('"');
        if inner.contains("::")
            && let Ok(path) = syn::parse_str::<syn::Path>(inner)
        {
            self.note(&segments(&path), line, 0);
        }
    }
}

fn are_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(is_only_for_tests)
}

fn segments(path: &syn::Path) -> Vec<String> {
    let start = path.leading_colon.map(|_| String::new()).into_iter();
    start
        .chain(path.segments.iter().map(|part| part.ident.to_string()))
        .collect()
}

impl Visit<'_> for Reader {
    fn visit_item(&mut self, item: &Item) {
        if are_of_tests(attributes_of_item(item)) {
            return;
        }
        match item {
            Item::Mod(module) => {
                if let Some((_, items)) = &module.content {
                    let name = [&*self.module, &[module.ident.to_string()]].concat();
                    self.found.extend(named(&name, items));
                }
            }
            Item::ExternCrate(found) => self.word("extern crate", found.span().start().line),
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        for Import { path, line, .. } in imports(item) {
            self.note(&path, line, 0);
        }
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let line = path.span().start().line;
        let written = segments(path);
        // One name alone is a variable or an item of this module, unless an import brought it.
        if written.len() > 1 || self.names.0.contains_key(&written[0]) {
            self.note(&written, line, 0);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &syn::Macro) {
        self.called(&segments(&call.path), call.path.span().start().line);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &Attribute) {
        match &attribute.meta {
            Meta::NameValue(value) if value.path.is_ident("doc") => {}
            Meta::List(list) => {
                self.visit_path(&list.path);
                self.tokens(list.tokens.clone());
            }
            meta => visit::visit_meta(self, meta),
        }
    }

    /// `pub(crate)` uses nothing.
    fn visit_visibility(&mut self, _: &Visibility) {}

    fn visit_signature(&mut self, signature: &syn::Signature) {
        if let Some(word) = &signature.asyncness {
            self.word("async", word.span().start().line);
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, block: &syn::ExprAsync) {
        self.word("async", block.span().start().line);
        visit::visit_expr_async(self, block);
    }

    fn visit_expr_closure(&mut self, closure: &syn::ExprClosure) {
        if closure.asyncness.is_some() {
            self.word("async", closure.span().start().line);
        }
        visit::visit_expr_closure(self, closure);
    }

    fn visit_expr_await(&mut self, wait: &syn::ExprAwait) {
        self.word(".await", wait.span().start().line);
        visit::visit_expr_await(self, wait);
    }

    fn visit_stmt(&mut self, statement: &syn::Stmt) {
        if !are_of_tests(attributes_of_statement(statement)) {
            visit::visit_stmt(self, statement);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &syn::ImplItemFn) {
        if !are_of_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_impl_item_const(&mut self, item: &syn::ImplItemConst) {
        if !are_of_tests(&item.attrs) {
            visit::visit_impl_item_const(self, item);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &syn::TraitItemFn) {
        if !are_of_tests(&item.attrs) {
            visit::visit_trait_item_fn(self, item);
        }
    }

    fn visit_field(&mut self, field: &syn::Field) {
        if !are_of_tests(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_field_value(&mut self, value: &syn::FieldValue) {
        if !are_of_tests(&value.attrs) {
            visit::visit_field_value(self, value);
        }
    }

    fn visit_variant(&mut self, variant: &syn::Variant) {
        if !are_of_tests(&variant.attrs) {
            visit::visit_variant(self, variant);
        }
    }

    fn visit_arm(&mut self, arm: &syn::Arm) {
        if !are_of_tests(&arm.attrs) {
            visit::visit_arm(self, arm);
        }
    }
}
