//! The secrets that a template reads or writes.

use std::collections::BTreeMap;

use crate::template::error::Fault;
use crate::template::syntax::ast::{Expr, ExprKind};

/// Which function asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecretFunction {
    /// `secret`
    Secret,
    /// `pkiCert`
    PkiCert,
}

/// One call of `secret` or `pkiCert`. All its arguments are literals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretCall {
    /// The function.
    pub source: SecretFunction,
    /// The path, without slashes at its ends and without its query.
    pub path: String,
    /// The version that is asked for.
    pub version: Option<u64>,
    /// The data that is written to the path. None: the path is read.
    pub data: Option<BTreeMap<String, String>>,
    /// The line of the call, from 1.
    pub line: usize,
    /// Its column, from 1.
    pub column: usize,
}

impl SecretCall {
    /// Whether both calls make the same request. `pkiCert` and `secret` with the same path and data do.
    pub fn same_request(&self, other: &Self) -> bool {
        self.path == other.path && self.version == other.version && self.data == other.data
    }
}

/// Reads the arguments of a call. The place is added by the parser.
pub(crate) fn read(source: SecretFunction, arguments: &[Expr]) -> Result<SecretCall, Fault> {
    let name = if source == SecretFunction::Secret {
        "secret"
    } else {
        "pkiCert"
    };
    let mut texts = Vec::with_capacity(arguments.len());
    for argument in arguments {
        texts.push(literal(name, argument)?);
    }
    let Some((first, rest)) = texts.split_first() else {
        return Err(Fault::refused(format!("{name} needs a path in quotes"))
            .hint(format!("Write {{{{ with {name} \"kv/data/app\" }}}}")));
    };
    let (path, version) = path(first)?;
    let data = if rest.is_empty() && source == SecretFunction::Secret {
        None
    } else {
        Some(pairs(rest)?)
    };
    if data.is_some() && version.is_some() {
        return Err(Fault::refused("a path that is written has no version"));
    }
    Ok(SecretCall {
        source,
        path,
        version,
        data,
        line: 0,
        column: 0,
    })
}

fn literal(name: &str, argument: &Expr) -> Result<String, Fault> {
    match &argument.kind {
        ExprKind::Text(bytes) => {
            String::from_utf8(bytes.to_vec()).map_err(|_| Fault::refused(format!("an argument of {name} is not UTF-8")))
        }
        _ => Err(Fault::refused(format!("an argument of {name} is not written in quotes: podkey must know each path before the pod runs"))
            .hint(format!("Write the text itself, as in {{{{ with {name} \"kv/data/app\" }}}}; choose between secrets with if and else"))),
    }
}

/// Takes a path apart as consul-template does: spaces and slashes at its ends go, `?version=3` is the version.
fn path(text: &str) -> Result<(String, Option<u64>), Fault> {
    let text = text.trim().trim_matches('/');
    let (path, query) = text
        .split_once('?')
        .map_or((text, None), |(path, query)| (path, Some(query)));
    check(path)?;
    let Some(query) = query else {
        return Ok((path.to_owned(), None));
    };
    let version = query.strip_prefix("version=").and_then(|v| v.parse().ok());
    match version {
        Some(version) => Ok((path.to_owned(), Some(version))),
        None => {
            Err(Fault::refused("the path has a query that is not ?version=NUMBER")
                .hint("Write \"kv/data/app?version=3\""))
        }
    }
}

/// What a path may be: segments of printable characters.
fn check(path: &str) -> Result<(), Fault> {
    if path.is_empty() {
        return Err(Fault::refused("the path of the secret is empty"));
    }
    if let Some(c) = path.chars().find(|c| c.is_control() || matches!(c, '%' | '#' | '\\')) {
        return Err(Fault::refused(format!(
            "the path of the secret has {c:?}, which no path may have"
        )));
    }
    if let Some(segment) = path.split('/').find(|s| matches!(*s, "" | "." | "..")) {
        return Err(Fault::refused(format!(
            "the path of the secret has the segment {segment:?}"
        )));
    }
    Ok(())
}

/// Reads `key=value` arguments: both trimmed, empty ones skipped, the last of a name wins.
fn pairs(texts: &[String]) -> Result<BTreeMap<String, String>, Fault> {
    let mut data = BTreeMap::new();
    for text in texts.iter().filter(|t| !t.is_empty()) {
        let Some((key, value)) = text.split_once('=') else {
            return Err(Fault::refused("an argument after the path is not key=value")
                .hint("Write \"common_name=web.example.com\""));
        };
        data.insert(key.trim().to_owned(), value.trim().to_owned());
    }
    Ok(data)
}
