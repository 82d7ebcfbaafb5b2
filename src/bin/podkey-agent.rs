//! `podkey-agent`: the program that runs in the pod. Reads its command line and environment, and nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use podkey::agent::{self, Surroundings};
use podkey::telemetry::{self, LogFormat};

/// Wipes every block of memory that is freed, those of the HTTP and TLS libraries too. Over dlmalloc: musl's own allocator
/// goes to the kernel too often.
#[global_allocator]
static WIPING: zeroizing_alloc::ZeroAlloc<dlmalloc::GlobalDlmalloc> =
    zeroizing_alloc::ZeroAlloc(dlmalloc::GlobalDlmalloc);

/// Gives a pod its Vault or OpenBao secrets as files.
#[derive(Debug, Parser)]
#[command(name = "podkey-agent", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How log lines look: json or text.
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
}

fn main() -> ExitCode {
    agent::harden();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return match error.use_stderr() {
                false => ExitCode::SUCCESS,
                true => ExitCode::from(agent::bad_usage("the command line cannot be understood", None)),
            };
        }
    };
    telemetry::init(cli.log_format, std::env::var(telemetry::LOG_ENV).ok().as_deref());
    ExitCode::from(match cli.command {
        Command::Init => agent::init(&Surroundings {
            plan: std::env::var_os(podkey::plan::PLAN_ENV),
            budget: std::env::var_os(agent::BUDGET_ENV),
            root: cli.root,
        }),
    })
}
