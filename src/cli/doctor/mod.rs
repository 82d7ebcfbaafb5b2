//! `podkey doctor`: looks at the cluster and at Vault as a pod would meet them, and names each fault with the command that mends
//! it. The doctor changes nothing: of the requests that write, it sends only dry runs, TokenReviews, TokenRequests and logins.
//!
//! A check never stops the next one. What the doctor may not look at is a finding of its own.

mod api;
mod cluster;
mod examined;
mod finding;
mod for_cluster;
mod mend;
mod progress;
mod show;
mod situation;
mod vault;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::time::timeout;

use self::cluster::Answers;
use self::examined::{Candidate, Written};
use self::finding::Findings;
use self::progress::Progress;
use self::situation::{ExaminedPod, Situation};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::vault::fuzzing;
use super::exit::{EX_UNAVAILABLE, EX_USAGE, unusable};
use super::kubeconfig::{self, ClusterArgs, KubeClient, object_name, pod_name};

/// The time limit of all checks of the cluster together, and of those of Vault.
const CHECKS_TIMEOUT: Duration = Duration::from_secs(120);
/// The most pods of one manifest that are examined.
const MAX_PODS: usize = 20;

/// The exit code after Ctrl-C, as of a shell.
const INTERRUPTED: u8 = 130;

const EXAMPLES: &str = "\
Examples:
  podkey doctor                                the cluster and the webhook
  podkey doctor -n team -f deployment.yaml     the pod of a manifest
  podkey doctor -n team web-0 --login          a pod that exists, and a login as its service account";

/// The command line of `podkey doctor`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// A pod that exists
    #[arg(value_name = "POD", conflicts_with = "filename", value_parser = pod_name)]
    pod: Option<String>,
    /// A manifest: each pod, or pod template, with annotations of podkey; - is standard input
    #[arg(short, long, value_name = "FILE")]
    filename: Option<PathBuf>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The namespace of the pod; without it the manifest's own, or that of the context
    #[arg(short, long, value_name = "NAMESPACE", value_parser = object_name)]
    namespace: Option<String>,
    /// A role of Vault to examine, in place of the pod's
    #[arg(long, value_name = "ROLE", value_parser = role_name)]
    role: Option<String>,
    /// Log in to Vault with a new token of the pod's service account; the login is revoked
    #[arg(long)]
    login: bool,
    /// A workflow whose jobs run in the pod: whether GitHub gives them an ID token. May be given several times
    #[arg(long = "workflow", value_name = "FILE")]
    workflows: Vec<PathBuf>,
    /// text or json
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: DoctorOutput,
}

fn role_name(text: &str) -> Result<String, &'static str> {
    match vault::is_role_name(text) {
        true => Ok(text.to_owned()),
        false => Err("a role's name has letters, digits, `-`, `_` and `.` alone"),
    }
}

/// The output of `podkey doctor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DoctorOutput {
    /// For people.
    Text,
    /// A list of objects: check, level, message, command.
    Json,
}

/// Examines, and prints the findings. Exits with 1 if one of them is a fault, with 69 if the API server cannot be reached.
pub fn run(args: &DoctorArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(examine(args)))
    {
        Ok(exit) => exit,
        Err(error) => unusable(error),
    }
}

async fn examine(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let written = args.filename.as_deref().map(examined::of_manifest).transpose()?;
    let mut written = written.unwrap_or_default();
    own_namespaces(args, &written)?;
    let mut findings = Findings::of(&args.cluster);
    let cluster = connect(args, &mut findings).await?;
    let progress = Progress::new();
    progress.looking_at("the cluster");
    let answers = match &cluster {
        Some(cluster) => cluster::reachable(cluster, &mut findings).await,
        None => Answers::Yes,
    };
    // Without an answer to the first request, the others would only wait.
    let cluster = cluster.filter(|_| answers == Answers::Yes);
    if let Some(more) = written.len().checked_sub(MAX_PODS).filter(|more| *more > 0) {
        let left: Vec<String> = written.drain(MAX_PODS..).map(|written| written.name).collect();
        let left = left.join(", ");
        findings.unseen(
            "pod",
            format!("{more} pods of the manifest were not examined: {left}"),
            None,
        );
    }
    let mut is_interrupted = false;
    if written.len() < 2 {
        is_interrupted = examine_one(args, cluster, written.pop(), &mut findings, &progress).await;
    } else {
        for written in written {
            findings.about(&written.name);
            is_interrupted = examine_one(args, cluster.clone(), Some(written), &mut findings, &progress).await;
            if is_interrupted {
                break;
            }
        }
    }
    drop(progress);
    show::show(&findings, args.output)?;
    if is_interrupted {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(match (answers, findings.has_fault()) {
        (Answers::No, _) => ExitCode::from(EX_UNAVAILABLE),
        (Answers::NotToUser, _) => ExitCode::from(EX_USAGE),
        (Answers::Yes, true) => ExitCode::FAILURE,
        (Answers::Yes, false) => ExitCode::SUCCESS,
    })
}

/// Makes all checks for one pod, or, without a pod, those of the cluster. Returns whether the user has interrupted them.
async fn examine_one(
    args: &DoctorArgs,
    cluster: Option<KubeClient>,
    written: Option<Written>,
    findings: &mut Findings,
    progress: &Progress,
) -> bool {
    let namespace = namespace(args, written.as_ref(), cluster.as_ref());
    let pod = pod(args, written, cluster.as_ref(), &namespace, findings).await;
    let situation = Situation {
        cluster,
        namespace,
        pod,
        role: args.role.clone(),
        login: args.login,
    };
    let checks = cluster::check(&situation, findings, progress);
    if timeout(CHECKS_TIMEOUT, checks).await.is_err() {
        findings.unseen(
            "cluster",
            "the checks of the cluster took too long, and the last were not made",
            None,
        );
    }
    progress.looking_at("Vault");
    vault::check(&situation, &args.workflows, CHECKS_TIMEOUT, findings).await
}

/// As kubectl: --namespace and the manifest must not contradict each other.
fn own_namespaces(args: &DoctorArgs, written: &[Written]) -> anyhow::Result<()> {
    let Some(namespace) = &args.namespace else {
        return Ok(());
    };
    for written in written {
        let own = situation::text(&written.object, "/metadata/namespace");
        if !own.is_empty() && own != namespace {
            anyhow::bail!(
                "{} is in the namespace {own:?}, and --namespace says {namespace:?}: leave --namespace out, or give the same",
                written.name
            );
        }
    }
    Ok(())
}

/// A client of the API server. None, with a finding: a job of GitHub Actions has no kubeconfig, and its doctor looks at Vault alone.
async fn connect(args: &DoctorArgs, findings: &mut Findings) -> anyhow::Result<Option<KubeClient>> {
    match kubeconfig::client(&args.cluster).await {
        Ok(cluster) => Ok(Some(cluster)),
        Err(error) if std::env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true") => {
            findings.unseen("cluster", format!("the cluster: {error:#}"), None);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn namespace(args: &DoctorArgs, written: Option<&Written>, cluster: Option<&KubeClient>) -> String {
    let own = written.map_or("", |written| situation::text(&written.object, "/metadata/namespace"));
    match (&args.namespace, own, cluster) {
        (Some(namespace), _, _) => namespace.clone(),
        (None, "", Some(cluster)) => cluster.namespace.clone(),
        (None, "", None) => "default".to_owned(),
        (None, own, _) => own.to_owned(),
    }
}

async fn pod(
    args: &DoctorArgs,
    written: Option<Written>,
    cluster: Option<&KubeClient>,
    namespace: &str,
    findings: &mut Findings,
) -> Option<ExaminedPod> {
    let candidate = match (written, cluster, &args.pod) {
        (Some(mut written), _, _) => {
            if let Some(role) = &args.role {
                examined::ask_for_role(&mut written.pod, role);
            }
            Candidate {
                manifest: args.filename.as_deref().and_then(|file| written.manifest(file)),
                name: written.name,
                written: written.pod,
                exists: false,
                makes_account: written.makes_account,
                object: Some(written.object),
            }
        }
        (None, Some(cluster), Some(name)) => Candidate {
            name: format!("pod {name}"),
            written: examined::of_cluster(cluster, namespace, name, findings).await?,
            exists: true,
            makes_account: false,
            manifest: None,
            object: None,
        },
        _ => return None,
    };
    Some(examined::examine(cluster, namespace, candidate).await)
}
