//! `podkey explain`: what an annotation, a field, a key of the operator's config or an exit code means, with an example. All texts
//! come from the tables that the parsers use: [`crate::inject::vocabulary`] and [`crate::plan::ExitCode`].

mod entry;
mod example;
mod find;
mod show;

use std::process::ExitCode;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Args, ValueEnum};

use self::find::find;
use super::unusable;

const EXAMPLES: &str = "\
Examples:
  podkey explain refresh             an annotation
  podkey explain files.mode          a field of podkey.dev/files
  podkey explain auth.inline         a key of the operator's config
  podkey explain 77                  an exit code of podkey-agent";

/// The command line of `podkey explain`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ExplainArgs {
    /// An annotation, a field, a key of the operator's config, an annotation of vault-k8s, or an exit code; without it, all names
    #[arg(value_name = "NAME", value_parser = NameParser, hide_possible_values = true)]
    name: Vec<String>,
    /// text or json
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: ExplainOutput,
}

/// The output of `podkey explain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExplainOutput {
    /// For people.
    Text,
    /// A list of objects: name, kind, meaning, example and more.
    Json,
}

/// Explains the name. Exits with 64 if podkey does not know the name.
pub fn run(args: &ExplainArgs) -> ExitCode {
    let all = entry::all();
    let shown = if args.name.is_empty() {
        show::list(&all, args.output)
    } else {
        // `explain exit 77`: the words of one name.
        match find(&args.name.join(" "), &all) {
            Ok(entries) => show::show(&entries, args.output),
            Err(unknown) => Err(unknown.into()),
        }
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => unusable(error),
    }
}

/// Takes every text, and offers the known names to the completion of a shell.
#[derive(Clone)]
struct NameParser;

impl TypedValueParser for NameParser {
    type Value = String;

    fn parse_ref(
        &self,
        _command: &clap::Command,
        _argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        // A name that is not text is an unknown name, which the message shows as well as it can be shown.
        Ok(value.to_string_lossy().into_owned())
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let names = entry::all()
            .into_iter()
            .map(|entry| PossibleValue::new(entry.short_name()));
        Some(Box::new(names))
    }
}
