//! `podkey status --watch`: looks again and again and prints the rows that have changed. A watch of the API server would not tell that
//! a sidecar is behind: only its log does.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::look::{Seen, Wanted, is_of_api_server, look};
use super::rows::Row;
use super::{Printer, failed};
use crate::cli::exit::unusable;
use crate::cli::kubeconfig::KubeClient;

/// The least time between two looks.
const PAUSE: Duration = Duration::from_secs(2);
/// The pause is at least so many times as long as the look took: a large cluster is asked less often.
const REST: u32 = 5;

type Shown = BTreeMap<(String, String, String), Row>;

/// Runs until the user ends it, or the API server refuses.
pub(super) async fn follow(cluster: &KubeClient, wanted: &Wanted, first: Seen, mut printer: Printer) -> ExitCode {
    let mut shown = by_key(first.rows);
    let mut is_lost = false;
    let mut pause = PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        let begun = Instant::now();
        let seen = match look(&cluster.client, wanted).await {
            Ok(seen) => seen,
            Err(error @ kube::Error::Api(_)) if is_refusal(&error) => return failed(&error, wanted, &cluster.server),
            Err(error) => {
                if !is_lost {
                    let _ = failed(&error, wanted, &cluster.server);
                    let _ = writeln!(std::io::stderr(), "note: trying again");
                }
                is_lost = true;
                continue;
            }
        };
        if std::mem::take(&mut is_lost) {
            let _ = writeln!(std::io::stderr(), "note: the API server answers again");
        }
        pause = PAUSE.max(begun.elapsed() * REST);
        let now = by_key(seen.rows);
        let changed = changes(&shown, &now);
        shown = now;
        if !changed.is_empty()
            && let Err(error) = printer.print_rows(&changed)
        {
            return unusable(error);
        }
        if let Err(error) = printer.print_notes(&seen.notes) {
            return unusable(error);
        }
    }
}

/// Whether another try would fail too.
fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 400..=404) && is_of_api_server(status))
}

fn by_key(rows: Vec<Row>) -> Shown {
    rows.into_iter().map(|row| (row.key(), row)).collect()
}

/// The rows that are new, tell something else, or are gone.
fn changes(before: &Shown, now: &Shown) -> Vec<Row> {
    let gone = before.iter().filter(|(key, _)| !now.contains_key(*key));
    let gone = gone.map(|(_, row)| row.clone().gone());
    let changed = now.iter().filter(|(key, row)| {
        let before = before.get(*key);
        !before.is_some_and(|before| before.tells_the_same(row))
    });
    gone.chain(changed.map(|(_, row)| row.clone())).collect()
}
