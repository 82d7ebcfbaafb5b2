//! The cluster that the user's kubeconfig names, for the commands that look into a cluster. They have whatever rights the user has,
//! and log in as kubectl does: by certificate, token or program.

use std::io::ErrorKind;

use anyhow::anyhow;
use clap::Args;
use kube::config::{Config, KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::cause::innermost;
use super::visible::visible;
use crate::text::quoted;

/// Which cluster, and as whom: kubectl's flags of the same names.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ClusterArgs {
    /// The kubeconfig; without it KUBECONFIG, ~/.kube/config, or the service account of the pod
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<std::path::PathBuf>,
    /// The context of the kubeconfig; without it the current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// A client of the API server.
#[derive(Clone)]
pub(super) struct KubeClient {
    pub(super) client: kube::Client,
    /// The namespace of the context.
    pub(super) namespace: String,
    /// The API server's address, for messages.
    pub(super) server: String,
}

/// Parses the name of an object, which becomes a part of the path of a request.
pub(super) fn object_name(name: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    match !name.is_empty() && name.len() <= 253 && name.bytes().all(allowed) && !name.starts_with('.') {
        true => Ok(name.to_owned()),
        false => Err("not a valid name: it may have lower-case letters, digits, '-' and '.'".to_owned()),
    }
}

/// Parses the name of a pod; also `pod/NAME`, as kubectl prints it.
pub(super) fn pod_name(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("pods/").or_else(|| text.strip_prefix("pod/"));
    object_name(name.unwrap_or(text))
}

/// How long the API server may say nothing while a command waits for an answer.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Reads the kubeconfig. Sends no request.
pub(super) async fn client(args: &ClusterArgs) -> anyhow::Result<KubeClient> {
    let mut config = config(args).await.map_err(|error| args.explain(&error))?;
    config.read_timeout = Some(SILENCE);
    // The commands report 429 and 503; kube would say nothing for minutes, and try again.
    config.default_retry = false;
    let (namespace, server) = (config.default_namespace.clone(), config.cluster_url.to_string());
    let client = kube::Client::try_from(config);
    let client = client.map_err(|error| anyhow!("cannot use {}: {}", args.named(), innermost(&error)))?;
    Ok(KubeClient {
        client,
        namespace,
        server,
    })
}

async fn config(args: &ClusterArgs) -> Result<Config, KubeconfigError> {
    let options = KubeConfigOptions {
        context: args.context.clone(),
        ..KubeConfigOptions::default()
    };
    match &args.kubeconfig {
        Some(file) => Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &options).await,
        // In a pod, its service account.
        None => match Config::from_kubeconfig(&options).await {
            Err(error) if args.context.is_none() => Config::incluster().map_err(|_| error),
            config => config,
        },
    }
}

impl ClusterArgs {
    /// The file that the user names with `--kubeconfig`.
    pub(super) fn file(&self) -> Option<String> {
        self.kubeconfig.as_ref().map(|file| file.display().to_string())
    }

    /// The context that the user names with `--context`.
    pub(super) fn context(&self) -> Option<String> {
        self.context.clone()
    }

    /// The kubeconfig and the context, for messages.
    fn named(&self) -> String {
        let context = self
            .context
            .as_deref()
            .map(|name| format!("the context {} of ", quoted(name)));
        format!("{}the kubeconfig {}", context.unwrap_or_default(), self.place())
    }

    /// Where the kubeconfig is.
    fn place(&self) -> String {
        let variable = std::env::var("KUBECONFIG").ok().filter(|files| !files.is_empty());
        visible(&match (self.file(), variable) {
            (Some(file), _) => file,
            (None, Some(files)) => format!("{files} (KUBECONFIG)"),
            (None, None) => "~/.kube/config".to_owned(),
        })
    }

    /// The message of a kubeconfig that cannot be used.
    fn explain(&self, error: &KubeconfigError) -> anyhow::Error {
        let (place, named) = (self.place(), self.named());
        match error {
            KubeconfigError::ReadConfig(why, _) if why.kind() == ErrorKind::NotFound => no_kubeconfig(&place),
            KubeconfigError::FindPath => no_kubeconfig(&place),
            KubeconfigError::LoadContext(name) => anyhow!(
                "the kubeconfig {place} has no context {}: write --context NAME; kubectl config get-contexts lists the names",
                quoted(name)
            ),
            KubeconfigError::CurrentContextNotSet => {
                anyhow!("the kubeconfig {place} has no current context: write --context NAME")
            }
            KubeconfigError::LoadClusterOfContext(cluster) => {
                anyhow!("cannot use {named}: it has no cluster {}", quoted(cluster))
            }
            // The parser's further lines show lines of the file, which may have a token.
            error => {
                let cause = innermost(error);
                anyhow!(
                    "cannot use {named}: {}",
                    visible(cause.lines().next().unwrap_or_default())
                )
            }
        }
    }
}

fn no_kubeconfig(place: &str) -> anyhow::Error {
    anyhow!("there is no kubeconfig ({place}): write --kubeconfig FILE or set KUBECONFIG")
}

#[cfg(test)]
impl ClusterArgs {
    pub(super) fn of(kubeconfig: Option<&str>, context: Option<&str>) -> Self {
        Self {
            kubeconfig: kubeconfig.map(Into::into),
            context: context.map(Into::into),
        }
    }
}
