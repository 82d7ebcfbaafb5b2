//! `podkey serve`: its command line, and the webhook's start.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use podkey::cli;
use podkey::inject::Config;
use podkey::telemetry::{self, LogFormat};
use podkey::webhook::{self, SelfManaged, ServeOptions, Tls};

/// The command line of `podkey serve`.
#[derive(Args)]
pub(super) struct ServeArgs {
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

/// Starts the log, and serves until a signal ends the process.
pub(super) fn start(args: ServeArgs, log_format: LogFormat, level: Option<&str>) -> ExitCode {
    let _last_lines = match telemetry::init_batched(log_format, level) {
        Ok(last_lines) => last_lines,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "cannot start the log's thread: {error}");
            return ExitCode::FAILURE;
        }
    };
    serve(args)
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
