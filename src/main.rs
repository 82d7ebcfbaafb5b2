//! `podkey`: the webhook, and the commands for authors and operators.

#[cfg(unix)]
mod serve;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use podkey::cli::{self, migrate::MigrateCommand};
use podkey::inject::Config;
use podkey::telemetry::{self, LogFormat};
use podkey::webhook::{self, LoadConfigError};

// musl's own allocator returns memory to the kernel after each request. This costs more time than the request itself.
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

#[cfg(feature = "cli")]
const EXAMPLES: &str = "\
Examples:
  podkey explain refresh             what an annotation means
  podkey doctor                      what keeps pods from their secrets
  podkey inject --config config.yaml -f pod.yaml
  podkey help COMMAND                all about one command
As a plugin of kubectl, the program has the name kubectl-podkey: kubectl podkey doctor";
#[cfg(not(feature = "cli"))]
const EXAMPLES: &str = "";

/// Hands pods their Vault or OpenBao secrets.
#[derive(Parser)]
#[command(name = "podkey", version, after_help = EXAMPLES)]
struct PodkeyCli {
    /// The format of log lines: json or text
    #[arg(
        long,
        global = true,
        default_value = "json",
        value_name = "FORMAT",
        help_heading = "Options of all commands"
    )]
    log_format: LogFormat,
    #[command(subcommand)]
    command: PodkeyCommand,
}

#[derive(Subcommand)]
enum PodkeyCommand {
    /// Serve the webhook
    #[cfg(unix)]
    Serve(serve::ServeArgs),
    /// Show pods as the webhook would change them
    ///
    /// Reads each Pod, and the pod template of each Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob,
    /// ReplicationController, PodTemplate, AutoscalingRunnerSet, EphemeralRunnerSet and EphemeralRunner; skips what has no pod.
    /// Charts and kustomizations come through a pipe, as in helm template RELEASE CHART | podkey inject.
    /// Without --config, the pods have placeholders where the operator's config decides: image, address and role.
    /// Exit code 1: the webhook would refuse a pod, and podkey shows no pod of that file. Exit code 64: a file cannot be used.
    Inject(cli::inject::InjectArgs),
    /// Find what is wrong with podkey's annotations in manifests
    ///
    /// Reads what podkey inject reads, prints problems and warnings, and passes over files that say nothing of podkey.
    /// Exit code 1: there is a problem. Exit code 64: a file with annotations of podkey cannot be used.
    #[cfg(feature = "cli")]
    Lint(cli::lint::LintArgs),
    /// Show what replaces other ways to get secrets: steps of workflows, annotations of pods
    #[command(subcommand)]
    Migrate(MigrateCommand),
    /// Find what keeps pods from their secrets, in the cluster and in Vault; changes nothing
    ///
    /// Exit code 1: there is a fault.
    #[cfg(feature = "cli")]
    Doctor(cli::doctor::DoctorArgs),
    /// Show the pods that podkey injects: whether they have their secrets, since when, and why not
    ///
    /// Also shows pods that the webhook missed, and controllers whose pods podkey refuses. Exit code 1: a pod that is named does
    /// not exist.
    #[cfg(feature = "cli")]
    Status(cli::status::StatusArgs),
    /// Say what an annotation, a field, a key of the operator's config or an exit code means, with an example
    #[cfg(feature = "cli")]
    Explain(cli::explain::ExplainArgs),
    /// Print the version, the commit, and the version of the plans that podkey makes
    #[cfg(feature = "cli")]
    Version(cli::version::VersionArgs),
    /// Print the script by which a shell completes podkey's command lines
    #[cfg(feature = "cli")]
    Completion(cli::completion::CompletionArgs),
    /// Write the manual pages and the completions of all shells
    #[cfg(feature = "cli")]
    #[command(hide = true)]
    Pages(cli::completion::PagesArgs),
    /// Print the words with which kubectl completes the plugin's command line
    #[cfg(feature = "cli")]
    #[command(hide = true, name = "__complete")]
    PluginWords(cli::completion::PluginWordsArgs),
}

fn main() -> ExitCode {
    let options = match parse() {
        Ok(options) => options,
        Err(error) => return refuse(&error),
    };
    let level = std::env::var(telemetry::LOG_ENV).ok();
    match options.command {
        #[cfg(unix)]
        PodkeyCommand::Serve(args) => serve::start(args, options.log_format, level.as_deref()),
        PodkeyCommand::Inject(args) => {
            telemetry::init(options.log_format, level.as_deref());
            match operators_config(args.manifests().config()) {
                Ok(config) => cli::inject::run(&args, config),
                Err(error) => cli::unusable(error),
            }
        }
        #[cfg(feature = "cli")]
        PodkeyCommand::Lint(args) => {
            telemetry::init(options.log_format, level.as_deref());
            match operators_config(args.manifests().config()) {
                Ok(config) => cli::lint::run(&args, config),
                Err(error) => cli::unusable(error),
            }
        }
        PodkeyCommand::Migrate(command) => cli::migrate::run(&command),
        #[cfg(feature = "cli")]
        PodkeyCommand::Doctor(args) => {
            telemetry::init(options.log_format, level.as_deref());
            cli::doctor::run(&args)
        }
        #[cfg(feature = "cli")]
        PodkeyCommand::Status(args) => {
            telemetry::init(options.log_format, level.as_deref());
            cli::status::run(&args)
        }
        #[cfg(feature = "cli")]
        PodkeyCommand::Explain(args) => cli::explain::run(&args),
        #[cfg(feature = "cli")]
        PodkeyCommand::Version(args) => cli::version::run(&args),
        #[cfg(feature = "cli")]
        PodkeyCommand::Completion(args) => {
            cli::completion::run(&args, &PodkeyCli::command(), cli::completion::program())
        }
        #[cfg(feature = "cli")]
        PodkeyCommand::Pages(args) => cli::completion::write_pages(&args, &PodkeyCli::command()),
        #[cfg(feature = "cli")]
        PodkeyCommand::PluginWords(args) => cli::completion::complete_plugin(&args, &PodkeyCli::command()),
    }
}

/// The exit code of a command line of `podkey serve` that cannot be used, as it was before the other commands had theirs.
#[cfg(unix)]
const SERVE_USAGE: u8 = 2;

/// Whether the command is `serve`: the first word that is no option, and not the value of `--log-format`.
#[cfg(unix)]
fn is_serve() -> bool {
    let mut words = std::env::args_os().skip(1);
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--log-format") => drop(words.next()),
            Some(option) if option.starts_with('-') => {}
            word => return word == Some("serve"),
        }
    }
    false
}

/// Parses the command line. As a plugin, the program shows itself as people call it: `kubectl podkey`.
fn parse() -> Result<PodkeyCli, clap::Error> {
    let mut command = PodkeyCli::command();
    #[cfg(feature = "cli")]
    if cli::completion::program() == cli::completion::PLUGIN {
        command = cli::completion::of_plugin(command).bin_name("kubectl podkey");
    }
    PodkeyCli::from_arg_matches_mut(&mut command.try_get_matches_from_mut(std::env::args_os())?)
}

/// The operator's config, where the command line names the file.
fn operators_config(file: Option<&Path>) -> Result<Option<Config>, LoadConfigError> {
    file.map(webhook::load).transpose()
}

/// Prints the help that the command line asks for, or what is wrong with the command line.
fn refuse(error: &clap::Error) -> ExitCode {
    // Nobody may read the output any more: that is no error.
    let _ = error.print();
    #[cfg(unix)]
    if error.use_stderr() && is_serve() {
        return ExitCode::from(SERVE_USAGE);
    }
    match error.use_stderr() {
        true => ExitCode::from(cli::EX_USAGE),
        false => ExitCode::SUCCESS,
    }
}
