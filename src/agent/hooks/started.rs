//! `podkey-agent job-started`, in this order: the delivered files are taken into memory; the outcome of `init`; the job policy;
//! masks, before anything else is printed; the job's own secrets; leases that have ended; the files are written again; the
//! author's hook; exports; what the job got. If anything fails, no secret stays, also if the hook is killed before it has
//! written the files again.

use std::num::NonZeroU64;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::task::yield_now;
use tokio::time::timeout;

use super::clear::{clear, clear_unplanned};
use super::console::print;
use super::exports::{JobVariables, exports};
use super::own::{self, OwnSecrets};
use super::present::Present;
use super::runner_file::append;
use super::{Hook, HookPlan, HookProgress, RESERVE, copies, next};
use crate::agent::report::{Failure, ReportedOutcome, RunReport, RunStage, SetupFault};
use crate::agent::signals::{self, Signals};
use crate::agent::volume::outcome::{self, DeliveredAs, DeliveredItem, Manifest};
use crate::agent::volume::{self, VolumeError};
use crate::job::commands::{self, Level};
use crate::job::facts::JobFacts;
use crate::job::masks::Masks;
use crate::job::policy;
use crate::job::summary::{self, Given};
use crate::plan::{ExitCode, Format, JOB_STARTED, JobLogin, NEXT_JOB_STARTED_ENV};
use crate::secret::Secret;

/// Why the job fails.
enum JobRefusal {
    /// The hook failed.
    Hook(Failure),
    /// `init` failed, and left this report.
    Init(RunReport),
}

impl<F: Into<Failure>> From<F> for JobRefusal {
    fn from(failure: F) -> Self {
        Self::Hook(failure.into())
    }
}

/// What the job gets besides its files. Given last: an export cannot be taken back.
struct Promised {
    /// For the file that `GITHUB_ENV` names.
    exports: Secret,
    delivered: Vec<DeliveredItem>,
}

/// Runs until the end, the deadline or a signal, and then runs the next hook. Returns the exit code of the next hook, or the
/// report for the job's author. Unless both hooks succeed, the job is left no secret.
pub(super) async fn run(hook: &Hook) -> Result<u8, RunReport> {
    let (mut signals, it) = match Signals::handle().and_then(|signals| Ok((signals, hook.plan()?))) {
        Ok(begun) => begun,
        Err(failure) => {
            let report = RunReport::new(RunStage::Job, None, &Err(failure));
            return Err(with_leftovers(report, clear_unplanned(hook)));
        }
    };
    let mut progress = HookProgress::new();
    let present = Present::take(hook, &it);
    let outcome = both_hooks(hook, &it, present.as_ref(), &mut progress, &mut signals).await;
    if let Ok(0) = outcome {
        if let Some(session) = progress.session.get() {
            tracing::info!(
                accessor = session.accessor,
                ttl_s = session.ttl.as_secs(),
                "the job's client token is not revoked: a delivered secret lives no longer than the token"
            );
        }
        return Ok(0);
    }
    let cleared = clear(hook, &it.plan);
    progress.revoke().await;
    // Steps with `if: always()` still run, and may see files that could not be cleared: those need masks. The masks come after
    // the clearing: if the masks fail, the files are cleared already.
    if let (Ok(present), false) = (&present, progress.masked.get()) {
        let _ = mask(&it, present.secrets());
    }
    match outcome {
        Ok(code) => {
            tracing::warn!("the pod's own hook ended with {code}: the job gets no secret from podkey");
            if let Err(failure) = cleared {
                tracing::warn!(hint = failure.hint, "{}", failure.message);
            }
            Ok(code)
        }
        Err(JobRefusal::Init(report)) => Err(with_leftovers(report, cleared)),
        Err(JobRefusal::Hook(failure)) => {
            let connection = Some(it.plan.connection.name.as_str());
            let report = RunReport::new(progress.stage.get(), connection, &Err(failure));
            Err(with_leftovers(report, cleared))
        }
    }
}

fn with_leftovers(report: RunReport, cleared: Result<(), VolumeError>) -> RunReport {
    match cleared {
        Ok(()) => report,
        Err(failure) => report.with(&format!(
            "and not all secret files could be cleared: {}",
            failure.message
        )),
    }
}

/// Runs podkey's hook and then the next hook, and exports the variables. The runner reads the exports when both hooks have
/// ended, so the next hook could not see them in any case. They are written when the next hook has succeeded: nothing of them
/// stays if the next hook fails or is killed.
async fn both_hooks(
    hook: &Hook,
    it: &HookPlan,
    present: Result<&Present, &Failure>,
    progress: &mut HookProgress,
    signals: &mut Signals,
) -> Result<u8, JobRefusal> {
    // The likely reason for unreadable files is another user: then the report says what to declare.
    let present = present.or_else(|failure| check_user(it).and_then(|()| Err(failure.clone())))?;
    let promised = within_deadline(hook, it, present, progress, signals).await?;
    if !progress.keep_token.get() {
        progress.revoke().await;
    }
    progress.stage.set(RunStage::Job);
    let code = next::run(hook, NEXT_JOB_STARTED_ENV, JOB_STARTED, signals).await?;
    if code == 0 {
        progress.stage.set(RunStage::Write);
        append(hook, "GITHUB_ENV", promised.exports.expose())?;
        report_delivered(hook, &promised.delivered);
    }
    Ok(code)
}

/// Runs podkey's hook, unless the deadline or a signal ends it.
async fn within_deadline(
    hook: &Hook,
    it: &HookPlan,
    present: &Present,
    progress: &HookProgress,
    signals: &mut Signals,
) -> Result<Promised, JobRefusal> {
    let deadline = it.job.deadline.duration();
    let mut work = std::pin::pin!(deliver(hook, it, present, progress));
    let why = tokio::select! {
        biased;
        signal = signals.next() => {
            let message = format!("the hook was stopped by {}", signal.name());
            Failure::new(ExitCode::Terminated, message, "")
        }
        ended = timeout(deadline, work.as_mut()) => match ended {
            Ok(ended) => return ended,
            Err(_) => Failure::new(
                ExitCode::Unavailable,
                format!("the hook did not end within {}", humantime::format_duration(deadline)),
                "run the job again, or have the operator raise the connection's job.deadline",
            ),
        },
    };
    signals::stop(work, &progress.stop, signals).await;
    Err(why.into())
}

/// Podkey's hook: everything but the exports.
async fn deliver(
    hook: &Hook,
    it: &HookPlan,
    present: &Present,
    progress: &HookProgress,
) -> Result<Promised, JobRefusal> {
    let manifest = manifest(hook, it)?;
    check_user(it)?;
    let facts = hook.facts(event(hook).as_deref());
    policy::check(&it.job.policies, &facts)
        .map_err(|refused| Failure::new(ExitCode::Denied, refused.to_string(), policy::HINT))?;

    progress.masked.set(true);
    mask(it, present.secrets())?;
    present.check(&manifest, it)?;
    let sender = hook.sender(&facts, manifest.pod.as_ref());
    if !it.plan.hooks_alone {
        let with = match manifest.accessor.as_str() {
            "" => "without a client token".to_owned(),
            accessor => format!("with the token of accessor {accessor}"),
        };
        tracing::info!("{sender}: podkey-init read the pod's secrets {with}");
    }

    let own = match (&it.job.login, it.job.reads()) {
        (Some(login), true) => read_own(hook, it, login, &facts, &sender, progress).await?,
        _ => OwnSecrets::default(),
    };

    progress.stage.set(RunStage::Job);
    check_leases(&manifest)?;
    // Before anything is written: no secret is written for a job that will fail.
    next::check(hook, NEXT_JOB_STARTED_ENV, JOB_STARTED)?;
    progress.stage.set(RunStage::Write);
    let mut delivered = manifest.delivered;
    delivered.extend_from_slice(&own.delivered);
    let files: Vec<_> = present.files_to_restore(it).chain(own.files()).collect();
    hook.write(&it.plan, &files)?;
    let copies = copies::copy(hook, it, &delivered, |file| {
        present.file(file).or_else(|| own.file(file))
    })?;
    let variables = JobVariables {
        copies,
        present: present.variables(),
        own: own.variables,
    };
    let exports = exports(hook, it, &variables, &delivered)?;
    // A signal that came while nobody waited is noticed here.
    yield_now().await;
    Ok(Promised { exports, delivered })
}

async fn read_own(
    hook: &Hook,
    it: &HookPlan,
    login: &JobLogin,
    facts: &JobFacts,
    sender: &str,
    progress: &HookProgress,
) -> Result<OwnSecrets, JobRefusal> {
    let limit = it.job.deadline.duration();
    let limit = limit
        .checked_sub(RESERVE)
        .filter(|left| !left.is_zero())
        .unwrap_or(limit);
    let own = own::read(hook, it, login, facts, sender, limit, progress).await?;
    mask(it, own.secrets())?;
    progress.keep_token.set(own.leased);
    Ok(own)
}

/// Prints the masks, and then warnings about values that stay visible.
fn mask<'a>(it: &HookPlan, secrets: impl Iterator<Item = (&'a str, &'a Secret)>) -> Result<(), Failure> {
    let formats = it.plan.formats();
    let mut masks = Masks::new(it.job.mask);
    for (name, value) in secrets {
        let format = formats.get(name).copied().unwrap_or(Format::Raw);
        masks.add(name, format, value.expose());
    }
    // Without its masks no secret may get near a log.
    masks.commands(print).map_err(|error| {
        Failure::new(
            ExitCode::CannotWrite,
            format!("the masks cannot be printed: {error}"),
            "the runner reads the masks from the hook's standard output",
        )
    })?;
    for warning in masks.warnings() {
        let line = commands::annotation(Level::Warning, "podkey: not masked", &warning);
        let _ = print(line.as_bytes());
    }
    Ok(())
}

/// What `init` delivered. A pod without `podkey-init` has no report of it.
fn manifest(hook: &Hook, it: &HookPlan) -> Result<Manifest, JobRefusal> {
    if it.plan.hooks_alone {
        return Ok(Manifest::default());
    }
    let outcome: ReportedOutcome = outcome::read(hook.seen.paths()).map_err(|why| SetupFault::Outcome {
        path: outcome::path(hook.seen.paths()),
        why,
        unknown: "whether all of the job's secrets were delivered",
    })?;
    match outcome {
        ReportedOutcome::Delivered(manifest) => Ok(manifest),
        ReportedOutcome::Failed(report) => Err(JobRefusal::Init(report)),
    }
}

fn check_user(it: &HookPlan) -> Result<(), Failure> {
    let (actual, planned) = (rustix::process::geteuid().as_raw(), it.job.user);
    match actual == planned {
        true => Ok(()),
        false => Err(SetupFault::WrongUser { actual, planned }.into()),
    }
}

/// The webhook event that began the run, as the runner wrote it for the steps.
fn event(hook: &Hook) -> Option<String> {
    /// GitHub cuts events at 25 MB.
    const MAX_EVENT: usize = 32 * 1024 * 1024;
    let file = hook.text("GITHUB_EVENT_PATH")?;
    let bytes = volume::read(Path::new(file), MAX_EVENT).ok()??;
    String::from_utf8(bytes.expose().to_vec()).ok()
}

/// Fails if a dynamic secret has ended: a runner may have waited for its job longer than the secret lasts.
fn check_leases(manifest: &Manifest) -> Result<(), Failure> {
    let now = SystemTime::now();
    let ended = manifest
        .leases
        .iter()
        .find_map(|lease| Some((&lease.secret, lease.ended_since(now)?)));
    match ended {
        None => Ok(()),
        Some((secret, since)) => Err(Failure::new(
            ExitCode::BadData,
            format!(
                "the dynamic secret {secret} ended {} ago, while the runner waited for its job",
                humantime::format_duration(Duration::from_secs(since.as_secs()))
            ),
            "let the job read the secret itself (`as: job` in podkey.dev/files, or podkey.dev/job-env), or keep it fresh with \
             podkey.dev/refresh",
        )),
    }
}

/// Reports in the log and on the summary page of the run. A failure here does not fail the job.
fn report_delivered(hook: &Hook, delivered: &[DeliveredItem]) {
    let given: Vec<Given<'_>> = delivered
        .iter()
        .map(|DeliveredItem { to, secret, version }| Given {
            name: match to {
                DeliveredAs::File(name) | DeliveredAs::Env(name) => name,
            },
            secret,
            version: version.and_then(NonZeroU64::new),
        })
        .collect();
    let _ = print(commands::plain(&summary::line(&given)).as_bytes());
    if let Err(failure) = append(hook, "GITHUB_STEP_SUMMARY", summary::markdown(&given).as_bytes()) {
        tracing::debug!(reason = failure.message, "no summary");
    }
}
