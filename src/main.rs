//! `podkey`: the webhook, and its decision offline.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use podkey::cli::inject::{self as offline, Offline, OfflineError};
use podkey::inject::Config;
use podkey::telemetry::{self, LogFormat};
use podkey::webhook::{self, SelfManaged, ServeOptions, Tls};

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
    Serve(ServeArgs),
    /// Show what the webhook would make of a pod
    ///
    /// Reads each Pod, and the pod template of each Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob,
    /// PodTemplate, AutoscalingRunnerSet, EphemeralRunnerSet and EphemeralRunner; skips what has no pod.
    /// Exit code 1: the webhook would refuse one of them.
    Inject(InjectArgs),
    /// Show what replaces the steps of a workflow that read secrets
    #[command(subcommand)]
    Migrate(Migrate),
}

#[derive(Subcommand)]
enum Migrate {
    /// Show the annotations that replace each step of hashicorp/vault-action
    ///
    /// Reads workflows and composite actions, and changes none of them. Shows the annotations for the scale set's pod
    /// template, each steps.ID.outputs.NAME that becomes env.NAME, and what cannot be carried over.
    /// Exit code 1: there is something of that kind.
    VaultAction {
        /// The workflows, such as .github/workflows/*.yml
        #[arg(required = true, value_name = "WORKFLOW")]
        workflows: Vec<PathBuf>,
    },
}

#[derive(Args)]
struct ServeArgs {
    /// The operator's config
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where the API server reaches POST /mutate, over TLS
    #[arg(long, default_value = "0.0.0.0:8443", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where probes and Prometheus reach GET /healthz, /readyz and /metrics
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    admin_listen: SocketAddr,
    /// The serving certificate, PEM, the leaf first. Without it podkey makes its own, by the options below
    #[arg(long, requires = "tls_key", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, requires = "tls_cert", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// How often the certificate files are read again
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = pause)]
    tls_poll: Duration,
    /// The Service by which the API server calls podkey
    #[arg(long, default_value = "podkey", value_name = "NAME", value_parser = dns_name)]
    service: String,
    /// The namespace of Service and Secret; without it the pod's own, or podkey
    #[arg(long, value_name = "NAMESPACE", value_parser = dns_name)]
    namespace: Option<String>,
    /// The Secret that holds the certificate authority of podkey's own certificates
    #[arg(long, default_value = "podkey-ca", value_name = "NAME", value_parser = dns_name)]
    tls_secret: String,
    /// The MutatingWebhookConfiguration whose caBundle podkey keeps
    #[arg(long, default_value = "podkey", value_name = "NAME", value_parser = dns_name)]
    webhook_configuration: String,
    /// How long new requests are served after SIGTERM
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = duration)]
    grace: Duration,
}

#[derive(Args)]
struct InjectArgs {
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
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Yaml,
    Json,
    Patch,
}

/// What a shell says of a program that SIGPIPE ended: whoever reads our output has seen enough, as `head` has.
const SIGPIPE: u8 = 141;

/// EX_USAGE of sysexits.h: the command line, the config or the manifest cannot be used.
const EX_USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = std::env::var(telemetry::LOG_ENV).ok();
    match cli.command {
        Command::Serve(args) => {
            let _last_lines = match telemetry::init_batched(cli.log_format, level.as_deref()) {
                Ok(last_lines) => last_lines,
                Err(error) => {
                    let _ = writeln!(std::io::stderr(), "cannot start the log's thread: {error}");
                    return ExitCode::FAILURE;
                }
            };
            serve(args)
        }
        Command::Inject(args) => {
            telemetry::init(cli.log_format, level.as_deref());
            inject(&args)
        }
        Command::Migrate(Migrate::VaultAction { workflows }) => match migrate(&workflows) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => unusable(error),
        },
    }
}

/// Tells why there is nothing to show, unless nobody reads it any more.
fn unusable(error: anyhow::Error) -> ExitCode {
    let io = error.root_cause().downcast_ref::<std::io::Error>();
    if io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe) {
        return ExitCode::from(SIGPIPE);
    }
    let _ = writeln!(std::io::stderr(), "{}", chain(error));
    ExitCode::from(EX_USAGE)
}

/// Tells whether every step of every workflow can be replaced whole.
fn migrate(workflows: &[PathBuf]) -> anyhow::Result<bool> {
    let mut stdout = std::io::stdout().lock();
    let mut is_whole = true;
    for (index, path) in workflows.iter().enumerate() {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let migration = podkey::cli::migrate::vault_action(&path.display().to_string(), &text)?;
        let separator = if index > 0 { "\n" } else { "" };
        write!(stdout, "{separator}{}", migration.text)?;
        is_whole &= migration.is_whole;
    }
    Ok(is_whole)
}

/// A pause of no time at all would keep a core busy.
fn pause(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("there must be some time between two looks: write 10s, say".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => duration(text),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "is no duration: write 10s or 5m, say".to_owned())
}

/// A name as Kubernetes has them: it becomes part of an address.
fn dns_name(text: &str) -> Result<String, String> {
    let is_name = (1..=253).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
        && text
            .split('.')
            .all(|part| !part.is_empty() && !part.starts_with('-') && !part.ends_with('-'));
    if is_name {
        Ok(text.to_owned())
    } else {
        Err("is no name as Kubernetes has them: lower-case letters, digits, '-' and '.'".to_owned())
    }
}

/// An error with all that caused it, on one line. No error's own text repeats its cause.
fn chain(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}

fn serve(args: ServeArgs) -> ExitCode {
    let config = match webhook::load(&args.config) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(error = chain(error), "cannot start");
            return ExitCode::from(EX_USAGE);
        }
    };
    match run(config, args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = chain(error), "cannot serve");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config, args: ServeArgs) -> anyhow::Result<()> {
    // One worker for each core we have, but a webhook that waits for nothing gains nothing from many.
    let workers = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(webhook::MAX_WORKERS);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?;
    let options = ServeOptions {
        listen: args.listen,
        admin_listen: args.admin_listen,
        tls: match (args.tls_cert, args.tls_key) {
            (Some(certificate), Some(key)) => Tls::Files {
                certificate,
                key,
                poll: args.tls_poll,
            },
            _ => Tls::SelfManaged(SelfManaged {
                service: args.service,
                namespace: args.namespace.unwrap_or_else(own_namespace),
                secret: args.tls_secret,
                webhook_configuration: args.webhook_configuration,
            }),
        },
        grace: args.grace,
        now: SystemTime::now,
    };
    let served = runtime.block_on(webhook::serve(config, options));
    // A certificate on a volume that hangs is still being read; nobody waits for it.
    runtime.shutdown_background();
    Ok(served?)
}

/// The pod's own namespace, where this is a pod with a service account's token.
fn own_namespace() -> String {
    let found = std::fs::read_to_string("/var/run/secrets/kubernetes.io/serviceaccount/namespace").ok();
    let found = found.and_then(|text| dns_name(text.trim()).ok());
    found.unwrap_or_else(|| "podkey".to_owned())
}

fn inject(args: &InjectArgs) -> ExitCode {
    match try_inject(args) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(problems)) => {
            for problem in problems.iter() {
                let _ = writeln!(std::io::stderr(), "{problem}");
            }
            ExitCode::FAILURE
        }
        Err(error) => unusable(error),
    }
}

fn try_inject(args: &InjectArgs) -> anyhow::Result<Result<(), Vec<String>>> {
    let config = webhook::load(&args.config)?;
    let manifest = read_manifest(&args.filename)?;
    match offline::inject(&manifest, args.namespace.as_deref(), &config) {
        Ok(pods) => show(&pods, args.output).map(Ok),
        Err(OfflineError::Denied(problems)) => Ok(Err(problems)),
        Err(error) => Err(error.into()),
    }
}

fn read_manifest(path: &Path) -> anyhow::Result<String> {
    if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).context("cannot read standard input")
    } else {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    }
}

fn show(pods: &[Offline], output: Output) -> anyhow::Result<()> {
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
    Ok(())
}
