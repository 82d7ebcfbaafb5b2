//! `podkey`: the webhook, and its decision offline.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use podkey::inject::Problem;
use podkey::telemetry::{self, LogFormat};
use podkey::webhook::offline::{self, Offline, OfflineError};
use podkey::webhook::{self, Options};

// musl's own allocator gives memory back to the kernel after each request, which costs more than the request.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Hands pods their Vault or OpenBao secrets.
#[derive(Parser)]
#[command(name = "podkey", version)]
struct Cli {
    /// How log lines look: json or text
    #[arg(long, global = true, default_value = "json", value_name = "FORMAT")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the webhook
    Serve {
        /// The operator's config
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Where the API server reaches POST /mutate, over TLS
        #[arg(long, default_value = "0.0.0.0:8443", value_name = "ADDRESS")]
        listen: SocketAddr,
        /// Where probes and Prometheus reach GET /healthz, /readyz and /metrics
        #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
        admin_listen: SocketAddr,
        /// The serving certificate, PEM, the leaf first
        #[arg(long, default_value = "/etc/podkey/tls/tls.crt", value_name = "FILE")]
        tls_cert: PathBuf,
        /// Its private key, PEM
        #[arg(long, default_value = "/etc/podkey/tls/tls.key", value_name = "FILE")]
        tls_key: PathBuf,
        /// How often the certificate files are read again
        #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = humantime::parse_duration)]
        tls_poll: std::time::Duration,
        /// How long new requests are served after SIGTERM
        #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = humantime::parse_duration)]
        grace: std::time::Duration,
    },
    /// Show what the webhook would make of a pod
    ///
    /// Reads a Pod, or the pod template of a Deployment, StatefulSet, DaemonSet, Job, CronJob, AutoscalingRunnerSet,
    /// EphemeralRunnerSet or EphemeralRunner. Exit code 1: the webhook would refuse it.
    Inject {
        /// The operator's config
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The manifest; - is standard input
        #[arg(short, long, default_value = "-", value_name = "FILE")]
        filename: PathBuf,
        /// The pod's namespace; without it the manifest's own, or default
        #[arg(short, long, value_name = "NAMESPACE")]
        namespace: Option<String>,
        /// yaml, json, or the patch alone
        #[arg(short, long, default_value = "yaml", value_name = "FORMAT")]
        output: Output,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Yaml,
    Json,
    Patch,
}

/// EX_USAGE of sysexits.h: the command line, the config or the manifest cannot be used.
const EX_USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::init(cli.log_format, std::env::var(telemetry::LOG_ENV).ok().as_deref());
    match cli.command {
        Command::Serve {
            config,
            listen,
            admin_listen,
            tls_cert,
            tls_key,
            tls_poll,
            grace,
        } => {
            let config = match webhook::load(&config) {
                Ok(config) => config,
                Err(error) => {
                    tracing::error!(%error, "cannot start");
                    return ExitCode::from(EX_USAGE);
                }
            };
            match serve(
                config,
                Options {
                    listen,
                    admin_listen,
                    tls_cert,
                    tls_key,
                    tls_poll,
                    grace,
                },
            ) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    tracing::error!(error = format!("{error:#}"), "cannot serve");
                    ExitCode::FAILURE
                }
            }
        }
        Command::Inject {
            config,
            filename,
            namespace,
            output,
        } => match inject(&config, &filename, namespace.as_deref(), output) {
            Ok(Ok(())) => ExitCode::SUCCESS,
            Ok(Err(problems)) => {
                for problem in problems {
                    let _ = writeln!(std::io::stderr(), "{}: {}", problem.key, problem.message);
                }
                ExitCode::FAILURE
            }
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "{error:#}");
                ExitCode::from(EX_USAGE)
            }
        },
    }
}

fn serve(config: podkey::inject::Config, options: Options) -> anyhow::Result<()> {
    // One worker for each core we have, but a webhook that waits for nothing gains nothing from many.
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?;
    runtime.block_on(webhook::serve(config, options))?;
    Ok(())
}

fn inject(
    config: &std::path::Path,
    manifest: &std::path::Path,
    namespace: Option<&str>,
    output: Output,
) -> anyhow::Result<Result<(), Vec<Problem>>> {
    let config = webhook::load(config)?;
    let mut text = String::new();
    if manifest.as_os_str() == "-" {
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
    } else {
        text = std::fs::read_to_string(manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    }
    let pods = match offline::inject(&text, namespace, &config) {
        Ok(pods) => pods,
        Err(OfflineError::Denied(problems)) => return Ok(Err(problems.iter().cloned().collect())),
        Err(error) => return Err(error.into()),
    };
    let mut stdout = std::io::stdout().lock();
    for (index, Offline { pod, patch, notes }) in pods.iter().enumerate() {
        for note in notes {
            writeln!(std::io::stderr(), "{note}")?;
        }
        match output {
            Output::Yaml => {
                let separator = if index > 0 { "---\n" } else { "" };
                write!(stdout, "{separator}{}", serde_saphyr::to_string(pod)?)?;
            }
            Output::Json => writeln!(stdout, "{}", serde_json::to_string_pretty(pod)?)?,
            Output::Patch => writeln!(stdout, "{}", serde_json::to_string_pretty(patch)?)?,
        }
    }
    Ok(Ok(()))
}
