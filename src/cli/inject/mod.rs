//! `podkey inject`: reads manifests, and prints the pods with the changes that the webhook would make.

pub mod offline;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use self::offline::{Examined, Level, Outcome, no_pod_in};
use super::exit::{EX_USAGE, unusable};
use super::manifest_files::{Command, Deciding, ExaminedFile, ManifestArgs, Unusable};
use super::visible::visible;
use crate::inject::{Config, NOT_CHECKED};

const EXAMPLES: &str = "\
Examples:
  podkey inject --config config.yaml -f pod.yaml
  podkey inject -R manifests/
  helm template web ./chart | podkey inject --config config.yaml";

/// The command line of `podkey inject`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InjectArgs {
    #[command(flatten)]
    manifests: ManifestArgs,
    /// yaml, json, or the patch alone
    #[arg(short, long, default_value = "yaml", value_name = "FORMAT")]
    output: OutputFormat,
}

impl InjectArgs {
    /// Which manifests, and by whose rules.
    pub fn manifests(&self) -> &ManifestArgs {
        &self.manifests
    }
}

/// The output of `podkey inject`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OutputFormat {
    /// The pods as YAML documents.
    Yaml,
    /// The pod as a JSON object, or a List of several pods.
    Json,
    /// The JSON Patch of each pod.
    Patch,
}

/// Prints the pods of each file in which the webhook would refuse none. `config` is the operator's, if the command line names it.
/// Exits with 1 if the webhook would refuse a pod, and with 64 if a file or a document cannot be used.
pub fn run(args: &InjectArgs, config: Option<Config>) -> ExitCode {
    inject(args, config).unwrap_or_else(unusable)
}

fn inject(args: &InjectArgs, config: Option<Config>) -> anyhow::Result<ExitCode> {
    let deciding = Deciding::of(config)?;
    let mut shown = Shown {
        output: args.output,
        list: Vec::new(),
        pods: 0,
        podless: Vec::new(),
        has_problem: false,
        has_unusable: false,
        is_asked: false,
    };
    for file in args.manifests.examine(Command::Inject, &deciding)? {
        shown.show_file(file)?;
    }
    shown.end(deciding.is_assumed)
}

/// What was shown so far.
struct Shown {
    output: OutputFormat,
    /// The pods of `-o json`, which are printed at the end.
    list: Vec<Value>,
    pods: usize,
    /// The objects without a pod.
    podless: Vec<String>,
    has_problem: bool,
    has_unusable: bool,
    /// Whether a pod has annotations of podkey.
    is_asked: bool,
}

impl Shown {
    /// Shows the pods of a file, or its problems.
    fn show_file(&mut self, file: ExaminedFile) -> anyhow::Result<()> {
        let name = file.name.as_deref();
        if let Some(why) = &file.skipped {
            writeln!(std::io::stderr(), "{}skipped: {why}", prefix(name, None, None))?;
        }
        let objects = match file.objects {
            Ok(objects) => objects,
            Err(Unusable { message, at }) => {
                self.has_unusable = true;
                writeln!(
                    std::io::stderr(),
                    "{}{message}",
                    prefix(name, at.map(|at| at.line), None)
                )?;
                return Ok(());
            }
        };
        let is_bad = |object: &Examined| object.has_problem() || matches!(object.outcome, Outcome::Unusable(_));
        let shows_pods = !objects.iter().any(is_bad);
        let several = objects.len() > 1;
        for object in objects {
            let has_name = several || name.is_some();
            self.say(name, &object, has_name, shows_pods)?;
            match object.outcome {
                Outcome::NoPod => self.podless.push(visible(&object.name)),
                Outcome::Refused => self.is_asked = true,
                Outcome::Unusable(_) => self.has_unusable = true,
                Outcome::Pod { pod, patch } => {
                    self.is_asked |= patch.as_array().is_some_and(|patch| !patch.is_empty());
                    if shows_pods {
                        self.show_pod(pod, &patch)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Prints what podkey found in an object. Where the file shows no pods, its notes matter to nobody.
    fn say(&mut self, file: Option<&str>, object: &Examined, has_name: bool, shows_pods: bool) -> anyhow::Result<()> {
        let mut stderr = std::io::stderr().lock();
        let named = has_name.then(|| visible(&object.shown()));
        if let Outcome::Unusable(error) = &object.outcome {
            let place = prefix(file, object.at.map(|at| at.line), named.as_deref());
            writeln!(stderr, "{place}{}", visible(&error.to_string()))?;
        }
        self.has_problem |= object.has_problem();
        for finding in &object.findings {
            let is_refused = matches!(object.outcome, Outcome::Refused);
            let is_said = finding.level == Level::Problem || shows_pods || is_refused;
            if is_said {
                let place = prefix(file, finding.at.map(|at| at.line), named.as_deref());
                let note = if is_refused && finding.level == Level::Note {
                    "note: "
                } else {
                    ""
                };
                writeln!(stderr, "{place}{note}{}", visible(&finding.to_string()))?;
            }
        }
        Ok(())
    }

    fn show_pod(&mut self, pod: Value, patch: &Value) -> anyhow::Result<()> {
        let mut stdout = std::io::stdout().lock();
        match self.output {
            OutputFormat::Yaml => {
                let separator = if self.pods > 0 { "---\n" } else { "" };
                write!(stdout, "{separator}{}", serde_saphyr::to_string(&pod)?)?;
            }
            OutputFormat::Json => self.list.push(pod),
            OutputFormat::Patch => writeln!(stdout, "{}", serde_json::to_string_pretty(patch)?)?,
        }
        self.pods += 1;
        Ok(())
    }

    /// Prints the pods of `-o json` as one JSON text, which other programs can read.
    fn show_list(&mut self) -> anyhow::Result<()> {
        let text = match std::mem::take(&mut self.list) {
            list if list.is_empty() => return Ok(()),
            list if list.len() == 1 => serde_json::to_string_pretty(&list[0])?,
            list => serde_json::to_string_pretty(&json!({"apiVersion": "v1", "kind": "List", "items": list}))?,
        };
        writeln!(std::io::stdout(), "{text}")?;
        Ok(())
    }

    fn end(mut self, is_assumed: bool) -> anyhow::Result<ExitCode> {
        self.show_list()?;
        let mut stderr = std::io::stderr();
        if is_assumed && self.is_asked {
            writeln!(stderr, "not checked without --config: {NOT_CHECKED}")?;
        }
        if is_assumed && self.is_asked && self.pods > 0 {
            writeln!(
                stderr,
                "the pods have placeholders where the operator's config decides, such as the image: look at them, do not apply them"
            )?;
        }
        if self.has_unusable {
            return Ok(ExitCode::from(EX_USAGE));
        }
        if self.has_problem {
            return Ok(ExitCode::FAILURE);
        }
        match (self.pods, self.podless.is_empty()) {
            (0, true) => anyhow::bail!("there is no manifest"),
            (0, false) => anyhow::bail!(no_pod_in(&self.podless)),
            _ => Ok(ExitCode::SUCCESS),
        }
    }
}

/// `web.yaml:7: Deployment/web: `, as far as that is known. Lines of standard input say nothing to anybody.
fn prefix(file: Option<&str>, line: Option<usize>, object: Option<&str>) -> String {
    let mut prefix = String::new();
    if let Some(file) = file {
        prefix.push_str(file);
        if let Some(line) = line {
            prefix.push_str(&format!(":{line}"));
        }
        prefix.push_str(": ");
    }
    if let Some(object) = object {
        prefix.push_str(object);
        prefix.push_str(": ");
    }
    prefix
}
