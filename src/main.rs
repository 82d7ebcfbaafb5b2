//! `podkey`: the webhook, and its decision offline.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, Parser, Subcommand};
use podkey::cli::{self, inject::OutputFormat, migrate::MigrateFrom};
use podkey::inject::Config;
use podkey::telemetry::{self, LogFormat};
use podkey::webhook::{self, SelfManaged, ServeOptions, Tls};

// musl's own allocator returns memory to the kernel after each request. This costs more time than the request itself.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Hands pods their Vault or OpenBao secrets.
#[derive(Parser)]
#[command(name = "podkey", version)]
struct PodkeyCli {
    /// The format of log lines: json or text
    #[arg(long, global = true, default_value = "json", value_name = "FORMAT")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: PodkeyCommand,
}

#[derive(Subcommand)]
enum PodkeyCommand {
    /// Serve the webhook
    Serve(ServeArgs),
    /// Show a pod as the webhook would change it
    ///
    /// Reads each Pod, and the pod template of each Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob,
    /// PodTemplate, AutoscalingRunnerSet, EphemeralRunnerSet and EphemeralRunner; skips what has no pod.
    /// Exit code 1: the webhook would refuse one of them.
    Inject(InjectArgs),
    /// Show what replaces other ways to get secrets: steps of workflows, annotations of pods
    #[command(subcommand)]
    Migrate(MigrateCommand),
}

#[derive(Subcommand)]
enum MigrateCommand {
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
    /// Show the annotations that replace those of HashiCorp's injector, vault-k8s
    ///
    /// Reads manifests, and changes none of them. Shows, for each pod template, podkey's annotations that do the same, and, as
    /// comments, what to change in the containers and what cannot be carried over. Exit code 1: there is something of that kind.
    VaultK8s {
        /// The manifests, of one document or many; - is standard input
        #[arg(short, long, required = true, num_args = 1.., value_name = "FILE")]
        filename: Vec<PathBuf>,
    },
}

#[derive(Args)]
struct ServeArgs {
    /// The operator's config
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The address for the API server: POST /mutate, over TLS
    #[arg(long, default_value = "0.0.0.0:8443", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The address for probes and Prometheus: GET /healthz, /readyz and /metrics
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    admin_listen: SocketAddr,
    /// The serving certificate, PEM, the leaf first. Without it, podkey makes its own certificates, by the options below
    #[arg(long, requires = "tls_key", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate, PEM
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
    output: OutputFormat,
}

fn main() -> ExitCode {
    let options = PodkeyCli::parse();
    let level = std::env::var(telemetry::LOG_ENV).ok();
    match options.command {
        PodkeyCommand::Serve(args) => {
            let _last_lines = match telemetry::init_batched(options.log_format, level.as_deref()) {
                Ok(last_lines) => last_lines,
                Err(error) => {
                    let _ = writeln!(std::io::stderr(), "cannot start the log's thread: {error}");
                    return ExitCode::FAILURE;
                }
            };
            serve(args)
        }
        PodkeyCommand::Inject(args) => {
            telemetry::init(options.log_format, level.as_deref());
            match webhook::load(&args.config) {
                Ok(config) => cli::inject::run(&config, &args.filename, args.namespace.as_deref(), args.output),
                Err(error) => cli::unusable(error),
            }
        }
        PodkeyCommand::Migrate(MigrateCommand::VaultAction { workflows }) => {
            cli::migrate::run(MigrateFrom::VaultAction, &workflows)
        }
        PodkeyCommand::Migrate(MigrateCommand::VaultK8s { filename }) => {
            cli::migrate::run(MigrateFrom::VaultK8s, &filename)
        }
    }
}

/// Parses a duration of more than zero: without a pause, the poll would keep a core busy.
fn pause(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("the files cannot be read without a pause (for example 10s)".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => duration(text),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "not a valid duration (for example 30s or 5m)".to_owned())
}

/// Parses a name of a Kubernetes object, which becomes part of an address.
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
        Err("not a valid Kubernetes name: it may have lower-case letters, digits, '-' and '.'".to_owned())
    }
}

/// The error with its causes, on one line. (The text of an error never includes its cause.)
fn chain(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}

fn serve(args: ServeArgs) -> ExitCode {
    let config = match webhook::load(&args.config) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(error = chain(error), "cannot start");
            return ExitCode::from(cli::EX_USAGE);
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
    // One worker for each core, up to a limit: a decision makes no calls and never waits, so more workers have no use.
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
    // Without a wait for blocked threads: a volume may hang while a thread reads the certificate.
    runtime.shutdown_background();
    Ok(served?)
}

/// The namespace of this pod. `podkey`, if this process runs in no pod or has no service-account token.
fn own_namespace() -> String {
    let found = std::fs::read_to_string("/var/run/secrets/kubernetes.io/serviceaccount/namespace").ok();
    let found = found.and_then(|text| dns_name(text.trim()).ok());
    found.unwrap_or_else(|| "podkey".to_owned())
}
