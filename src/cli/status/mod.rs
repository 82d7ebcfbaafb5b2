//! `podkey status`: the pods that podkey injects, as a table: whether they have their secrets, since when, and why not.
//!
//! | module | what |
//! | --- | --- |
//! | `look` | asks the API server |
//! | `rows` | from its objects to rows; pure |
//! | `table` | from rows to text |
//! | `follow` | looks again and again |

mod follow;
mod look;
mod rows;
mod table;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use k8s_openapi::jiff::Timestamp;

use self::look::{Seen, Wanted};
use self::rows::Row;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::rows::fuzzing;
use self::table::{Table, TableStyle};
use super::cause::innermost;
use super::exit::{EX_UNAVAILABLE, unusable};
use super::kubeconfig::{self, ClusterArgs, object_name, pod_name};

const EXAMPLES: &str = "\
Examples:
  podkey status -A             the pods of all namespaces
  podkey status -n team -w     follow the pods of one
  podkey status -n team web-0 -o wide";

/// The command line of `podkey status`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct StatusArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The pods; without a name all that podkey injects, or should have injected
    #[arg(value_name = "POD", value_parser = pod_name)]
    pods: Vec<String>,
    /// The namespace; without it that of the context
    #[arg(short, long, value_name = "NAMESPACE", value_parser = object_name)]
    namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "pods"])]
    all_namespaces: bool,
    /// Only pods with these labels, such as app=web
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with = "pods")]
    selector: Option<String>,
    /// Look again and again, and show what has changed
    #[arg(short, long)]
    watch: bool,
    /// wide (all columns, whole reasons) or json
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<StatusOutput>,
    /// No header
    #[arg(long)]
    no_headers: bool,
}

/// The output of `podkey status`, other than the usual table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatusOutput {
    /// All columns, and reasons with what to do.
    Wide,
    /// A list of objects; with `--watch` one object in each line.
    Json,
}

/// Prints the table. Exits with 1 if a named pod does not exist, with 69 if the API server cannot be reached.
pub fn run(args: &StatusArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(status(args)),
        Err(error) => unusable(error),
    }
}

async fn status(args: &StatusArgs) -> ExitCode {
    let cluster = match kubeconfig::client(&args.cluster).await {
        Ok(cluster) => cluster,
        Err(error) => return unusable(error),
    };
    let namespace = args.namespace.clone().unwrap_or_else(|| cluster.namespace.clone());
    let wanted = Wanted {
        namespace: (!args.all_namespaces).then_some(namespace),
        names: args.pods.clone(),
        selector: args.selector.clone(),
    };
    let seen = match look::look(&cluster.client, &wanted).await {
        Ok(seen) => seen,
        Err(error) => return failed(&error, &wanted, &cluster.server),
    };
    let mut printer = Printer::new(args);
    let is_missing = !seen.missing.is_empty();
    if let Err(error) = printer.print(&seen, &wanted) {
        return unusable(error);
    }
    if args.watch {
        return follow::follow(&cluster, &wanted, seen, printer).await;
    }
    match is_missing {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// Ends the command after an error of the API server, or of the way there.
fn failed(error: &kube::Error, wanted: &Wanted, server: &str) -> ExitCode {
    let why = match error {
        kube::Error::Api(status) if status.code == 429 || status.code >= 500 => format!(
            "the API server at {server} cannot answer now: status {}: {}",
            status.code,
            rows::clean(&status.message)
        ),
        kube::Error::Api(status) if !look::is_of_api_server(status) => format!(
            "{server} does not answer as an API server (status {}): look at the address in the kubeconfig, and at proxies on the way",
            status.code
        ),
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => format!(
            "{server} does not answer as an API server: look at the address in the kubeconfig, and at proxies on the way"
        ),
        kube::Error::Api(status) if status.code == 403 => return unusable(forbidden(wanted, &status.message)),
        kube::Error::Api(status) => {
            let said = rows::clean(&status.message);
            return unusable(anyhow!("the API server at {server} refuses: {said}"));
        }
        error => {
            let error = rows::clean(&innermost(error));
            format!("the API server at {server} does not answer: {error}")
        }
    };
    let _ = writeln!(std::io::stderr(), "{why}");
    ExitCode::from(EX_UNAVAILABLE)
}

fn forbidden(wanted: &Wanted, said: &str) -> anyhow::Error {
    let said = rows::clean(said);
    let verb = if wanted.names.is_empty() { "list" } else { "get" };
    match &wanted.namespace {
        None => anyhow!(
            "you may not list pods in all namespaces: name a namespace with -n NAMESPACE in place of -A ({said})"
        ),
        Some(namespace) => anyhow!(
            "you may not {verb} pods in namespace {namespace}: ask for that right, or name another namespace with -n ({said})"
        ),
    }
}

/// Prints rows and notes.
struct Printer {
    table: Table,
    /// Whether the output is JSON, of which `--watch` prints one object in each line.
    is_json: bool,
    is_watch: bool,
    /// The notes that were printed already.
    notes: std::collections::BTreeSet<String>,
}

impl Printer {
    fn new(args: &StatusArgs) -> Self {
        let style = TableStyle {
            all_namespaces: args.all_namespaces,
            is_wide: args.output == Some(StatusOutput::Wide),
            has_header: !args.no_headers,
            width: terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0)),
        };
        Self {
            table: Table::new(style),
            is_json: args.output == Some(StatusOutput::Json),
            is_watch: args.watch,
            notes: std::collections::BTreeSet::new(),
        }
    }

    /// Prints the missing pods, all rows and the notes.
    fn print(&mut self, seen: &Seen, wanted: &Wanted) -> anyhow::Result<()> {
        let mut stderr = std::io::stderr();
        for name in &seen.missing {
            let namespace = wanted.namespace.as_deref().unwrap_or_default();
            writeln!(stderr, "the pod {name} does not exist in namespace {namespace}")?;
        }
        if seen.rows.is_empty() && seen.missing.is_empty() && !self.is_json {
            let place = match &wanted.namespace {
                Some(namespace) => format!("in namespace {namespace}"),
                None => "in the cluster".to_owned(),
            };
            writeln!(stderr, "No pod {place} asks podkey for secrets.")?;
        }
        if !self.is_json || self.is_watch {
            if !seen.rows.is_empty() {
                self.print_rows(&seen.rows)?;
            }
        } else {
            let mut stdout = std::io::stdout().lock();
            writeln!(stdout, "{}", serde_json::to_string_pretty(&seen.rows)?)?;
        }
        self.print_notes(&seen.notes)
    }

    /// Prints more rows.
    fn print_rows(&mut self, rows: &[Row]) -> anyhow::Result<()> {
        if self.is_json {
            let mut stdout = std::io::stdout().lock();
            for row in rows {
                writeln!(stdout, "{}", serde_json::to_string(row)?)?;
            }
            return Ok(());
        }
        let mut stdout = anstream::stdout().lock();
        self.table.write(rows, Timestamp::now(), &mut stdout)?;
        Ok(stdout.flush()?)
    }

    /// Prints each note once.
    fn print_notes(&mut self, notes: &std::collections::BTreeSet<String>) -> anyhow::Result<()> {
        for note in notes {
            if self.notes.insert(note.clone()) {
                writeln!(std::io::stderr(), "note: {note}")?;
            }
        }
        Ok(())
    }
}
