//! `podkey lint`: reads manifests, and prints what is wrong with podkey's annotations in them. Prints no pod.
//!
//! A file that says nothing of podkey is passed over, whatever it is: hooks of pre-commit name every file of a commit.

mod report;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use self::report::{Line, LineLevel, Report};
use super::exit::{EX_USAGE, unusable};
use super::inject::offline::{Examined, Level, Outcome, is_injected};
use super::manifest_files::{Command, Deciding, ExaminedFile, ManifestArgs, Unusable};
use crate::inject::{Config, NOT_CHECKED, PREFIX};

const EXAMPLES: &str = "\
Examples:
  podkey lint -R manifests/
  helm template web ./chart | podkey lint
  podkey lint -o github --config config.yaml deployment.yaml";

/// The command line of `podkey lint`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LintArgs {
    #[command(flatten)]
    manifests: ManifestArgs,
    /// text, json, or github: annotations of a workflow run
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: LintOutput,
    /// Exit with 1 for warnings, too
    #[arg(long)]
    strict: bool,
}

impl LintArgs {
    /// Which manifests, and by whose rules.
    pub fn manifests(&self) -> &ManifestArgs {
        &self.manifests
    }
}

/// The output of `podkey lint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LintOutput {
    /// A line for each problem and warning.
    Text,
    /// A list of objects: file, line, column, level, object, key, message.
    Json,
    /// Workflow commands, which GitHub shows at the lines of the files.
    Github,
}

/// Prints the problems and warnings. `config` is the operator's, if the command line names it. Exits with 1 if there is a problem (or,
/// with `--strict`, a warning), and with 64 if a file or a document that should have been read cannot be used.
pub fn run(args: &LintArgs, config: Option<Config>) -> ExitCode {
    lint(args, config).unwrap_or_else(unusable)
}

fn lint(args: &LintArgs, config: Option<Config>) -> anyhow::Result<ExitCode> {
    let deciding = Deciding::of(config)?;
    let mut report = Report::new(args.output);
    let mut counts = Counts::default();
    for file in args.manifests.examine(Command::Lint, &deciding)? {
        counts.files += 1;
        lint_file(&file, &mut report, &mut counts)?;
    }
    report.end()?;
    counts.show(deciding.is_assumed)?;
    Ok(match counts {
        Counts { unusable: 1.., .. } => ExitCode::from(EX_USAGE),
        Counts { problems: 1.., .. } => ExitCode::FAILURE,
        Counts { warnings: 1.., .. } if args.strict => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

/// What was found so far.
#[derive(Debug, Default)]
struct Counts {
    files: usize,
    /// Pods that ask podkey for secrets.
    pods: usize,
    problems: usize,
    warnings: usize,
    unusable: usize,
}

impl Counts {
    fn show(&self, is_assumed: bool) -> std::io::Result<()> {
        let mut stderr = std::io::stderr();
        if is_assumed && self.pods > 0 {
            writeln!(stderr, "not checked without --config: {NOT_CHECKED}")?;
        }
        let several = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            count => format!("{count} {what}s"),
        };
        let unusable = match self.unusable {
            0 => String::new(),
            count => format!(", {count} not usable"),
        };
        writeln!(
            stderr,
            "{} with annotations of podkey in {}: {}, {}{unusable}",
            several(self.pods, "pod"),
            several(self.files, "file"),
            several(self.problems, "problem"),
            several(self.warnings, "warning"),
        )
    }
}

fn lint_file(file: &ExaminedFile, report: &mut Report, counts: &mut Counts) -> anyhow::Result<()> {
    let name = file.name.as_deref();
    if let (Some(name), Some(why)) = (name, &file.skipped) {
        writeln!(
            std::io::stderr(),
            "{name}: passed over, although {PREFIX} stands in it: the file {why}"
        )?;
    }
    let objects = match &file.objects {
        Ok(objects) => objects,
        Err(Unusable { message, at }) => {
            counts.unusable += 1;
            return report.add(&Line {
                file: name,
                at: *at,
                level: LineLevel::Unusable,
                object: None,
                key: None,
                message: message.clone(),
            });
        }
    };
    objects
        .iter()
        .try_for_each(|object| lint_object(name, object, report, counts))
}

fn lint_object(file: Option<&str>, object: &Examined, report: &mut Report, counts: &mut Counts) -> anyhow::Result<()> {
    let shown = object.shown();
    let line = |at, level, key: Option<&str>, message: &str| Line {
        file,
        at,
        level,
        object: Some(shown.clone()),
        key: key.map(str::to_owned),
        message: message.to_owned(),
    };
    match &object.outcome {
        Outcome::NoPod => {}
        Outcome::Refused => counts.pods += 1,
        Outcome::Pod { pod, patch } => {
            let is_changed = patch.as_array().is_some_and(|patch| !patch.is_empty());
            counts.pods += usize::from(is_changed || is_injected(pod));
        }
        Outcome::Unusable(error) => {
            counts.unusable += 1;
            report.add(&line(object.at, LineLevel::Unusable, None, &error.to_string()))?;
        }
    }
    for finding in &object.findings {
        let level = match finding.level {
            Level::Problem => LineLevel::Error,
            Level::Warning => LineLevel::Warning,
            // The allow rule that comes nearest. Other notes are about files without a problem.
            Level::Note if matches!(object.outcome, Outcome::Refused) => LineLevel::Note,
            Level::Note => continue,
        };
        match level {
            LineLevel::Note => {}
            LineLevel::Warning => counts.warnings += 1,
            LineLevel::Error | LineLevel::Unusable => counts.problems += 1,
        }
        report.add(&line(finding.at, level, finding.key.as_deref(), &finding.message))?;
    }
    Ok(())
}
