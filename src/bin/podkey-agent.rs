//! `podkey-agent`: the program that runs in the pod. This file reads its command line and environment, and nothing else.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use podkey::agent::{self, Hook, Runtime};
use podkey::telemetry::{self, LogFormat};

/// Wipes every block of memory that is freed, also the blocks of the HTTP and TLS libraries. The allocator below is dlmalloc:
/// the allocator of musl calls the kernel too often.
#[global_allocator]
static WIPING: zeroizing_alloc::ZeroAlloc<dlmalloc::GlobalDlmalloc> =
    zeroizing_alloc::ZeroAlloc(dlmalloc::GlobalDlmalloc);

/// Gives a pod its Vault or OpenBao secrets as files.
#[derive(Debug, Parser)]
#[command(name = "podkey-agent", version, after_help = podkey::plan::ExitCode::help())]
struct AgentCli {
    #[command(subcommand)]
    command: AgentCommand,
    /// The format of log lines: json or text. (The job hooks write for the runner, in the runner's own format.)
    #[arg(long, global = true, value_name = "FORMAT", default_value = "json")]
    log_format: LogFormat,
    /// Prefix of every path that the agent reads or writes, to try the agent outside a container.
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum AgentCommand {
    /// Logs in once, reads every secret of PODKEY_PLAN, writes the files, revokes the token, and exits.
    Init,
    /// Keeps the files of PODKEY_PLAN fresh until a signal comes, then revokes its tokens. Ends with a failure only to restart the
    /// pod's containers (exit code 79).
    Sidecar,
    /// Says whether the files that the sidecar keeps are fresh: exit code 0, or 1 with the reasons. For the sidecar's probe.
    Fresh,
    /// The runner's hook before a job: masks and exports the job's secrets, or fails the job.
    JobStarted,
    /// The runner's hook after a job: clears the job's secrets. Never fails.
    JobCompleted,
    /// Becomes COMMAND, with the pod's secret variables in the environment. If a variable is missing, COMMAND is not started.
    Exec {
        /// The container's own command and its arguments.
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    agent::harden();
    let cli = match AgentCli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return match error.use_stderr() {
                false => ExitCode::SUCCESS,
                true => ExitCode::from(agent::bad_usage(&Runtime::new(None, written_log_format()))),
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
        // Without a logger: a log line would look like output of the command.
        AgentCommand::Exec { command } => agent::exec(&command, &Runtime::new(cli.root, cli.log_format)),
        AgentCommand::JobStarted => agent::job_started(&hook(cli.root)),
        AgentCommand::JobCompleted => agent::job_completed(&hook(cli.root)),
        AgentCommand::Fresh => {
            let plan = std::env::var_os(podkey::plan::PLAN_ENV);
            agent::fresh(&Runtime::new(cli.root, cli.log_format).with_plan(plan, None))
        }
        command @ (AgentCommand::Init | AgentCommand::Sidecar) => {
            agent::leave_no_core();
            telemetry::init(cli.log_format, level.as_deref());
            let plan = std::env::var_os(podkey::plan::PLAN_ENV);
            let runtime =
                Runtime::new(cli.root, cli.log_format).with_plan(plan, std::env::var_os(podkey::plan::BUDGET_ENV));
            match command {
                AgentCommand::Sidecar => agent::sidecar(&runtime),
                _ => agent::init(&runtime),
            }
        }
    })
}

/// The value of `--log-format` in a command line that does not parse as a whole.
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
