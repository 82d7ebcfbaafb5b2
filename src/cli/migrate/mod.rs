//! `podkey migrate`: reads workflows or manifests, prints what replaces their secrets, and changes no file.

pub(crate) mod output;
pub(crate) mod vault_action;
pub(crate) mod vault_k8s;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{anyhow, ensure};

use self::output::Migration;
use self::vault_action::{Sources, WorkflowFile};
use super::input::read_at_most;
use super::visible::{visible, visible_path};

/// The largest workflow or action that is read, in MiB.
const MAX_WORKFLOW_MIB: u64 = 1;
/// The most workflows at once.
const MAX_WORKFLOWS: usize = 1_000;

/// What is migrated.
#[derive(Debug, clap::Subcommand)]
pub enum MigrateCommand {
    /// Show the annotations that replace the steps of hashicorp/vault-action: one block for each runner
    ///
    /// Reads workflows, and the composite actions and workflows of the repository that they use, and changes none of them. Prints
    /// YAML for the values of each scale set. Its comments say which steps to delete, what else changes, what reaches more steps
    /// than before, and what cannot be carried over. Exit code 1: something cannot be carried over.
    VaultAction(VaultActionArgs),
    /// Show the annotations that replace those of HashiCorp's injector, vault-k8s
    ///
    /// Reads manifests, and changes none of them. Shows, for each pod template, podkey's annotations that do the same, and, as
    /// comments, what to change in the containers and what cannot be carried over. Exit code 1: something cannot be carried over.
    VaultK8s(VaultK8sArgs),
}

const VAULT_ACTION_EXAMPLES: &str = "\
Examples:
  podkey migrate vault-action .github/workflows/*.yml
  podkey migrate vault-action --action octo-org/vault .github/workflows/deploy.yml";
const VAULT_K8S_EXAMPLES: &str = "\
Examples:
  podkey migrate vault-k8s deployment.yaml
  helm template web ./chart | podkey migrate vault-k8s -f -";

/// The arguments of `migrate vault-action`.
#[derive(Debug, clap::Args)]
#[command(after_help = VAULT_ACTION_EXAMPLES)]
pub struct VaultActionArgs {
    /// The workflows, such as .github/workflows/*.yml; - is standard input
    #[arg(required = true, value_name = "WORKFLOW")]
    workflows: Vec<PathBuf>,
    /// An action with the inputs of vault-action, such as octo-org/vault
    #[arg(long, value_name = "OWNER/NAME")]
    action: Vec<String>,
}

/// The arguments of `migrate vault-k8s`.
#[derive(Debug, clap::Args)]
#[command(after_help = VAULT_K8S_EXAMPLES)]
pub struct VaultK8sArgs {
    /// The manifests, of one document or many; - is standard input
    #[arg(required_unless_present = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The same as FILE
    #[arg(short, long, num_args = 1.., value_name = "FILE")]
    filename: Vec<PathBuf>,
}

/// Prints the replacement. Exits with 1 if something cannot be replaced completely.
pub fn run(command: &MigrateCommand) -> ExitCode {
    let shown = match command {
        MigrateCommand::VaultAction(args) => vault_action(args),
        MigrateCommand::VaultK8s(args) => vault_k8s(args.files.iter().chain(&args.filename)),
    };
    // Names of files are foreign text. A line that begins with `::` is a command of GitHub's runner.
    let shown = shown.map_err(|error| {
        let text = visible(&format!("{error:#}"));
        let begin = if text.trim_start().starts_with("::") { "./" } else { "" };
        anyhow!("{begin}{}", text.trim_start())
    });
    match shown.and_then(|migration| {
        std::io::stdout().lock().write_all(migration.text.as_bytes())?;
        Ok(migration.is_complete)
    }) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => super::unusable(error),
    }
}

fn vault_action(args: &VaultActionArgs) -> anyhow::Result<Migration> {
    ensure!(
        args.workflows.len() <= MAX_WORKFLOWS,
        "these are {} workflows: give podkey at most {MAX_WORKFLOWS}",
        args.workflows.len()
    );
    let files = args.workflows.iter().map(|path| {
        let text = read_at_most(MAX_WORKFLOW_MIB, path)?;
        let name = path.display().to_string();
        let root = [".github/", ".github\\"]
            .iter()
            .find_map(|folder| name.find(folder))
            .map_or(String::new(), |at| name[..at].to_owned());
        Ok(WorkflowFile { name, root, text })
    });
    let files: Vec<WorkflowFile> = files.collect::<anyhow::Result<_>>()?;
    let read = |name: &str| {
        let path = Path::new(name);
        path.is_file()
            .then(|| read_at_most(MAX_WORKFLOW_MIB, path).ok())
            .flatten()
    };
    Ok(vault_action::migrate(&Sources {
        files: &files,
        actions: &args.action,
        read: &read,
    })?)
}

fn vault_k8s<'a>(files: impl Iterator<Item = &'a PathBuf>) -> anyhow::Result<Migration> {
    let mut all = Migration {
        text: String::new(),
        is_complete: true,
    };
    for (index, path) in files.enumerate() {
        let text = super::input::read(path)?;
        let migration = vault_k8s::migrate(&visible_path(path), &text)?;
        all.text.push_str(if index > 0 { "---\n" } else { "" });
        all.text.push_str(&migration.text);
        all.is_complete &= migration.is_complete;
    }
    Ok(all)
}
