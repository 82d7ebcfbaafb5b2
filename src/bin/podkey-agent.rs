//! `podkey-agent`: the program that runs in the pod. This file reads its command line and environment, and nothing else.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use podkey::agent::{self, Hook, Surroundings};
use podkey::telemetry::{self, LogFormat};

/// Wipes every block of memory that is freed, those of the HTTP and TLS libraries too. Over dlmalloc: musl's own allocator
/// goes to the kernel too often.
#[global_allocator]
static WIPING: zeroizing_alloc::ZeroAlloc<dlmalloc::GlobalDlmalloc> =
    zeroizing_alloc::ZeroAlloc(dlmalloc::GlobalDlmalloc);

/// Gives a pod its Vault or OpenBao secrets as files.
#[derive(Debug, Parser)]
#[command(name = "podkey-agent", version, after_help = podkey::plan::ExitCode::help())]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How log lines look: json or text. (The job hooks speak to the runner, in its own format.)
    #[arg(long, global = true, value_name = "FORMAT", default_value = "json")]
    log_format: LogFormat,
    /// Prefix of every path that the agent reads or writes, for trying it outside a container.
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Logs in once, reads every secret of PODKEY_PLAN, writes the files, revokes the token, and exits.
    Init,
    /// Keeps the files of PODKEY_PLAN fresh until it is told to stop, then revokes its tokens. Never fails.
    Sidecar,
    /// The runner's hook before a job: masks and exports the job's secrets, or fails the job.
    JobStarted,
    /// The runner's hook after a job: clears the job's secrets. Never fails.
    JobCompleted,
    /// Becomes COMMAND, with the pod's secret variables in its environment. Without all of them it does not start.
    Exec {
        /// The container's own command and its arguments.
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    agent::harden();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return match error.use_stderr() {
                false => ExitCode::SUCCESS,
                true => ExitCode::from(agent::bad_usage(
                    "the command line cannot be understood",
                    None,
                    written_log_format(),
                )),
            };
        }
    };
    let level = std::env::var(telemetry::LOG_ENV).ok();
    let hook = |root| {
        agent::leave_no_core();
        telemetry::init_plain(level.as_deref(), agent::PlainLines);
        Hook::new(std::env::vars_os().collect(), root)
    };
    ExitCode::from(match cli.command {
        // Without a logger: what is printed here, the command did not say.
        Command::Exec { command } => agent::exec(&command, cli.root, cli.log_format),
        Command::JobStarted => agent::job_started(&hook(cli.root)),
        Command::JobCompleted => agent::job_completed(&hook(cli.root)),
        command @ (Command::Init | Command::Sidecar) => {
            agent::leave_no_core();
            telemetry::init(cli.log_format, level.as_deref());
            let surroundings = Surroundings {
                plan: std::env::var_os(podkey::plan::PLAN_ENV),
                budget: std::env::var_os(agent::BUDGET_ENV),
                root: cli.root,
                log_format: cli.log_format,
            };
            match command {
                Command::Sidecar => agent::sidecar(&surroundings),
                _ => agent::init(&surroundings),
            }
        }
    })
}

/// The log format of a command line that cannot be understood as a whole.
fn written_log_format() -> LogFormat {
    let words: Vec<_> = std::env::args_os().collect();
    let is_text = words
        .windows(2)
        .any(|words| words[0] == "--log-format" && words[1] == "text")
        || words.iter().any(|word| word == "--log-format=text");
    match is_text {
        true => LogFormat::Text,
        false => LogFormat::Json,
    }
}
