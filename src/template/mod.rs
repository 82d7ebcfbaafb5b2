//! Templates in the language of Go's `text/template`, with the functions of consul-template. Pure, bounded, without a panic on any
//! input: the webhook parses what any author writes.
//!
//! [`Template::parse`] reads a text and refuses what podkey does not offer, by name, with a way out. [`Template::calls`] names every
//! secret that the template reads: the paths are literals, so the webhook knows them all. [`Template::render`] makes the file. The
//! file is what consul-template writes, byte for byte; with it come the secret values that were printed. No error contains a value.
//!
//! | module | what |
//! | --- | --- |
//! | `syntax` | from the text to a tree: tokens, literals, the calls of secrets, the functions that exist and those that are refused |
//! | `run` | walks the tree: values with Go's types, fields, calls of functions, the limits |
//! | `output` | values as text: printing, verbs of `printf`, escapes, JSON |
//! | `yaml` | `toYAML` as yaml.v2 writes it, and `parseYAML` |
//!
//! The facts behind it: <https://pkg.go.dev/text/template> and
//! <https://github.com/hashicorp/consul-template/blob/main/docs/templating-language.md>. `tests/templates` compares each
//! function with a real `bao agent`.

#![cfg_attr(
    not(all(feature = "agent", feature = "webhook")),
    allow(
        dead_code,
        unused_imports,
        unreachable_pub,
        reason = "the webhook parses templates, and the agent renders them; the build of both shows what nobody uses"
    )
)]

mod error;
mod missing;
mod syntax;

#[cfg(feature = "agent")]
mod output;
#[cfg(feature = "agent")]
mod run;
#[cfg(feature = "agent")]
mod yaml;

pub use self::error::{ErrorKind, TemplateError};
pub use self::missing::MissingField;
#[cfg(feature = "agent")]
pub use self::run::{Bounds, SecretAnswer, SecretLookup, TemplateOutput};
pub use self::syntax::{SecretCall, SecretFunction, Template, function_names, refused_functions};
