//! The manifests that `podkey inject` and `podkey lint` read: files, folders as kubectl takes them, and standard input.

mod examine;
mod expand;
mod not_manifest;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

pub(super) use self::examine::{ExaminedFile, Unusable};
use crate::cli::inject::offline::KnownConfig;
use crate::inject::{Config, DEFAULT_CONNECTION};

/// Which manifests, and by whose rules.
#[derive(Debug, Clone, Args)]
pub struct ManifestArgs {
    /// Manifests, and folders with manifests (.yaml, .yml and .json); - is standard input, which is read if no file is named
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The same, as kubectl has it
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    filenames: Vec<PathBuf>,
    /// Take the folders in each folder, too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// The operator's config; without it podkey does not check what the config decides, and says so
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The pods' namespace; without it the manifest's own, or default
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

/// A manifest to read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Input {
    Standard,
    /// `is_named`: on the command line, not found in a folder.
    File {
        path: PathBuf,
        is_named: bool,
    },
    /// A folder with a Helm chart, whose templates are no manifests.
    Chart {
        path: PathBuf,
        is_named: bool,
    },
    /// Something in a folder that cannot be read, and why.
    Unreadable(String),
}

/// The config that decides, and whether anybody has told it.
pub(super) struct Deciding {
    config: Config,
    pub(super) is_assumed: bool,
}

impl Deciding {
    /// Without the operator's config, an assumed one.
    pub(super) fn of(config: Option<Config>) -> anyhow::Result<Self> {
        let is_assumed = config.is_none();
        let config = config.or_else(|| Config::assumed(DEFAULT_CONNECTION));
        let config = config.context("podkey cannot make a config to go without the operator's")?;
        Ok(Self { config, is_assumed })
    }

    fn known(&self) -> KnownConfig<'_> {
        match self.is_assumed {
            true => KnownConfig::Assumed(&self.config),
            false => KnownConfig::Operators(&self.config),
        }
    }
}

/// What a command does with files that say nothing of podkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Shows every pod.
    Inject,
    /// Has nothing to say of them.
    Lint,
}

impl Command {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Inject => "inject",
            Self::Lint => "lint",
        }
    }
}

impl ManifestArgs {
    /// The file with the operator's config.
    pub fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Examines each manifest, in the order of the command line and of the names in a folder. The error: there is nothing to read.
    pub(super) fn examine<'a>(
        &'a self,
        command: Command,
        deciding: &'a Deciding,
    ) -> anyhow::Result<impl Iterator<Item = ExaminedFile> + use<'a>> {
        let named: Vec<&PathBuf> = self.files.iter().chain(&self.filenames).collect();
        let inputs = match named.is_empty() {
            false => expand::expand(&named, self.recursive)?,
            true if std::io::stdin().is_terminal() => {
                let name = command.name();
                anyhow::bail!(
                    "nothing to read: name files or folders, as in podkey {name} -R manifests/, or pipe manifests into \
                     podkey {name} -f -"
                )
            }
            true => vec![Input::Standard],
        };
        let namespace = self.namespace.as_deref();
        Ok(inputs
            .into_iter()
            .map(move |input| examine::examine(input, namespace, command, deciding.known())))
    }
}
