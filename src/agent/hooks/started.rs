//! `podkey-agent job-started`, in this order: the files are taken away into memory; what `init` says of itself; the job policy;
//! masks, before anything else is printed; the job's own secrets; leases that have ended; the files are given back; exports;
//! what the job got. Whatever goes wrong, no secret stays: also where the hook is killed before it has given the files back.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::clear::{clear, clear_unplanned};
use super::console::say;
use super::deliver;
use super::next;
use super::own::{self, OwnSecrets};
use super::present::Present;
use super::temp;
use super::{Hook, HookPlan, LAST, Progress};
use crate::agent::delivery::Variable;
use crate::agent::files::{self, Staged};
use crate::agent::outcome::{self, Delivered, Manifest, OUTCOME, Outcome, Target};
use crate::agent::report::{Failure, Report, RunStage, SetupFault};
use crate::agent::signals::{self, Signals};
use crate::job::commands::{self, Level};
use crate::job::export::EnvFile;
use crate::job::facts::JobFacts;
use crate::job::masks::Masks;
use crate::job::policy;
use crate::job::summary::{self, Given};
use crate::plan::{BIN_DIR, ENV_DIR, EnvName, ExitCode, Format, JOB_STARTED, NEXT_JOB_STARTED_ENV, SECRETS_DIR};
use crate::secret::Secret;
use crate::vault::clean;

/// Why the job fails.
enum Refusal {
    /// The hook's own reason.
    Failed(Failure),
    /// `init`'s.
    Left(Report),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What the job gets besides its files: last of all, for what is exported cannot be taken back.
struct Promised {
    /// For the file that `GITHUB_ENV` names.
    exports: Secret,
    delivered: Vec<Delivered>,
}

/// Runs to the end, or until the deadline or a signal, and then the hook of the pod's author, whose exit code it gives. The error
/// is what the job's author is to read. Unless both hooks succeed, the job is left no secret.
pub(super) async fn run(hook: &Hook) -> Result<u8, Report> {
    let (mut signals, it) = match Signals::handle().and_then(|signals| Ok((signals, hook.plan()?))) {
        Ok(begun) => begun,
        Err(failure) => {
            let report = Report::new(RunStage::Job, None, &Err(failure));
            return Err(with_leftovers(report, clear_unplanned(hook)));
        }
    };
    let mut progress = Progress::new();
    let present = Present::take(hook, &it);
    let outcome = both(hook, &it, present.as_ref(), &mut progress, &mut signals).await;
    if let (Ok(0), Some((_, session))) = (&outcome, progress.session.get()) {
        tracing::info!(
            accessor = session.accessor,
            ttl_s = session.ttl.as_secs(),
            "the job's client token is not revoked: a delivered secret lives no longer than it does"
        );
    }
    if let Ok(0) = outcome {
        return Ok(0);
    }
    let cleared = clear(hook, &it.plan);
    progress.revoke().await;
    // Steps with `if: always()` still run, and may see what could not be cleared. Only now: a masker that fails on what it is
    // given must not keep the files in their places.
    if let (Ok(present), false) = (&present, progress.masked.get()) {
        let _ = mask(&it, present.secrets());
    }
    let (stage, connection) = (progress.stage.get(), Some(it.plan.connection.name.as_str()));
    match outcome {
        Ok(code) => {
            tracing::warn!("the pod's own hook ended with {code}: the job gets no secret of podkey's");
            if let Err(failure) = cleared {
                tracing::warn!(hint = failure.hint, "{}", failure.message);
            }
            Ok(code)
        }
        Err(Refusal::Left(report)) => Err(with_leftovers(report, cleared)),
        Err(Refusal::Failed(failure)) => {
            let report = Report::new(stage, connection, &Err(failure));
            Err(with_leftovers(report, cleared))
        }
    }
}

fn with_leftovers(report: Report, cleared: Result<(), Failure>) -> Report {
    match cleared {
        Ok(()) => report,
        Err(failure) => report.with(&format!(
            "and not all secret files could be cleared: {}",
            failure.message
        )),
    }
}

/// Our hook, and after it the one of the pod's author. The runner reads what is exported when both have ended, so his hook could
/// not see it in any case; written when his has succeeded, nothing of it stays where that fails or is killed.
async fn both(
    hook: &Hook,
    it: &HookPlan,
    present: Result<&Present, &Failure>,
    progress: &mut Progress,
    signals: &mut Signals,
) -> Result<u8, Refusal> {
    // Whoever cannot read the files is most likely another user, and is to be told what to declare.
    let present = present.or_else(|failure| own_user(it).and_then(|()| Err(failure.clone())))?;
    let promised = ours(hook, it, present, progress, signals).await?;
    if !progress.keep_token.get() {
        progress.revoke().await;
    }
    progress.stage.set(RunStage::Job);
    let code = next::run(hook, NEXT_JOB_STARTED_ENV, JOB_STARTED, signals).await?;
    if code == 0 {
        progress.stage.set(RunStage::Write);
        append(hook, "GITHUB_ENV", promised.exports.expose())?;
        say_what_was_given(hook, &promised.delivered);
    }
    Ok(code)
}

/// Our hook, unless the deadline or a signal ends it.
async fn ours(
    hook: &Hook,
    it: &HookPlan,
    present: &Present,
    progress: &Progress,
    signals: &mut Signals,
) -> Result<Promised, Refusal> {
    let deadline = it.job.deadline.duration();
    let mut work = std::pin::pin!(started(hook, it, present, progress));
    let why = tokio::select! {
        biased;
        told = signals.next() => {
            Failure::new(ExitCode::Terminated, format!("the hook was stopped by {}", told.name()), "")
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

async fn started(hook: &Hook, it: &HookPlan, present: &Present, progress: &Progress) -> Result<Promised, Refusal> {
    let manifest = manifest(hook)?;
    own_user(it)?;
    let facts = JobFacts::read(|name| hook.text(name).map(str::to_owned), event(hook).as_deref());
    policy::check(&it.job.policies, &facts)
        .map_err(|refused| Failure::new(ExitCode::Denied, refused.to_string(), policy::HINT))?;

    progress.masked.set(true);
    mask(it, present.secrets())?;
    present.check(&manifest, it)?;
    tracing::info!(
        "{}: what the pod delivers, it read with the token of accessor {}",
        hook.job(),
        or_none(&manifest.accessor)
    );

    let own = match (&it.job.login, it.job.reads()) {
        (Some(login), true) => read_own(hook, it, login, &facts, progress).await?,
        _ => OwnSecrets::default(),
    };

    progress.stage.set(RunStage::Job);
    leases_last(&manifest)?;
    // No secret is worth writing where the job is to fail.
    next::check(hook, NEXT_JOB_STARTED_ENV, JOB_STARTED)?;
    progress.stage.set(RunStage::Write);
    let mut delivered = manifest.delivered;
    delivered.extend_from_slice(&own.delivered);
    let kept = present.kept(it).chain(own.files());
    deliver::write(hook, kept.collect())?;
    let copies = temp::copy(hook, it, &delivered, |file| {
        present.file(file).or_else(|| own.file(file))
    })?;
    let exports = exports(hook, it, copies, present.variables(), own.variables, &delivered)?;
    // A signal that came while nobody waited is seen here.
    yield_now().await;
    Ok(Promised { exports, delivered })
}

async fn read_own(
    hook: &Hook,
    it: &HookPlan,
    login: &crate::plan::JobLogin,
    facts: &JobFacts,
    progress: &Progress,
) -> Result<OwnSecrets, Refusal> {
    let limit = it.job.deadline.duration();
    let limit = limit.checked_sub(LAST).filter(|left| !left.is_zero()).unwrap_or(limit);
    let own = own::read(hook, it, login, facts, limit, progress).await?;
    mask(it, own.secrets())?;
    progress.keep_token.set(own.leased);
    Ok(own)
}

/// Prints the masks, and then what they leave in sight.
fn mask<'a>(it: &HookPlan, secrets: impl Iterator<Item = (&'a str, &'a Secret)>) -> Result<(), Failure> {
    let formats = it.plan.formats();
    let mut masks = Masks::new(it.job.mask);
    for (name, value) in secrets {
        let format = formats.get(name).copied().unwrap_or(Format::Raw);
        masks.add(name, format, value.expose());
    }
    // Without its masks no secret may come near a log.
    masks.commands(say).map_err(|error| {
        Failure::new(
            ExitCode::CannotWrite,
            format!("the masks cannot be printed: {error}"),
            "the runner reads them from the hook's standard output",
        )
    })?;
    for warning in masks.warnings() {
        let line = commands::annotation(Level::Warning, "podkey: not masked", &warning);
        let _ = say(line.as_bytes());
    }
    Ok(())
}

/// What `init` says it delivered.
fn manifest(hook: &Hook) -> Result<Manifest, Refusal> {
    let file = format!("{BIN_DIR}/{OUTCOME}");
    let no = |why: String| {
        Failure::from(SetupFault::Outcome {
            why,
            unknown: "whether all of the job's secrets were delivered",
        })
    };
    match outcome::read(&hook.path(&file)).map_err(no)? {
        Outcome::Delivered(manifest) => Ok(manifest),
        Outcome::Failed(report) => Err(Refusal::Left(report)),
    }
}

fn own_user(it: &HookPlan) -> Result<(), Failure> {
    let (user, planned) = (rustix::process::geteuid().as_raw(), it.job.user);
    match user == planned {
        true => Ok(()),
        false => Err(SetupFault::WrongUser { actual: user, planned }.into()),
    }
}

/// The webhook event that began the run, which the runner wrote for its steps.
fn event(hook: &Hook) -> Option<String> {
    let file = hook.text("GITHUB_EVENT_PATH")?;
    let bytes = files::read(Path::new(file), MAX_EVENT).ok()??;
    String::from_utf8(bytes.expose().to_vec()).ok()
}

/// GitHub cuts its events at 25 MB.
const MAX_EVENT: usize = 32 * 1024 * 1024;

/// A runner may have waited for its job longer than a dynamic secret lasts.
fn leases_last(manifest: &Manifest) -> Result<(), Failure> {
    let now = SystemTime::now();
    let over = manifest
        .leases
        .iter()
        .find_map(|lease| Some((&lease.secret, lease.over_since(now)?)));
    match over {
        None => Ok(()),
        Some((secret, since)) => Err(Failure::new(
            ExitCode::BadData,
            format!(
                "the dynamic secret {secret} ended {} ago, while the runner waited for its job",
                humantime::format_duration(Duration::from_secs(since.as_secs()))
            ),
            "let the job read it itself (`as: job` in podkey.dev/files, or podkey.dev/job-env), or keep it fresh with podkey.dev/refresh",
        )),
    }
}

/// What goes into the job's environment: the variables, and the names of copies, which each step finds where a variable would have
/// named the file itself. Variables that are not to be exported become files, the job's own beside those of `init`.
fn exports(
    hook: &Hook,
    it: &HookPlan,
    copies: Vec<Variable>,
    present: &BTreeMap<String, Secret>,
    own: Vec<Variable>,
    delivered: &[Delivered],
) -> Result<Secret, Failure> {
    if let Some(twice) = own.iter().find(|variable| present.contains_key(variable.name.as_str())) {
        return Err(Failure::new(
            ExitCode::BadData,
            format!(
                "the variable {} is made twice: by podkey.dev/env and by podkey.dev/job-env",
                twice.name
            ),
            "give one of them another name",
        ));
    }
    let mut exported = EnvFile::new(random);
    let refused = |error: crate::job::export::ExportError| Failure::new(ExitCode::BadData, error.to_string(), "");
    for Variable { name, value } in &copies {
        exported.push(name, value).map_err(refused)?;
    }
    let secrets = hook.path(SECRETS_DIR);
    if !it.job.export {
        if !own.is_empty() {
            let mut staged = Staged::open(&secrets, false)?;
            for Variable { name, value } in &own {
                let place = format!("{ENV_DIR}/{name}");
                staged.stage_from(&place, it.plan.env_mode.bits(), &mut value.expose())?;
            }
            staged.publish()?;
        }
        return Ok(exported.into_text());
    }
    // Only what `init` says it delivered: what else may lie there is masked, and stays behind.
    let listed = |name: &&String| {
        delivered
            .iter()
            .any(|it| matches!(&it.to, Target::Env(env) if env == *name))
    };
    for name in present.keys().filter(listed) {
        let value = &present[name];
        let name: EnvName = name.parse().map_err(|why| {
            Failure::new(
                ExitCode::BadData,
                format!("the variable {}: {why}", clean(name, 64)),
                "",
            )
        })?;
        exported.push(&name, value).map_err(refused)?;
    }
    for Variable { name, value } in &own {
        exported.push(name, value).map_err(refused)?;
    }
    if !present.is_empty() && it.plan.refresh.is_none() {
        // They will be in the environment of every step; files beside it would only be one more place to look.
        Staged::open(&secrets, false)?.remove_all(ENV_DIR)?;
    }
    Ok(exported.into_text())
}

/// Numbers that nobody can foresee.
fn random() -> u128 {
    let mut bytes = [0; 16];
    // The kernel's generator does not fail once the machine is up; a delimiter that could be foreseen would still be checked
    // against the value.
    let _ = rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes);
    u128::from_ne_bytes(bytes)
}

/// Appends to one of the runner's command files. It is the runner's own, new for each step: a link in its place is not.
fn append(hook: &Hook, variable: &'static str, text: &[u8]) -> Result<(), Failure> {
    if text.is_empty() {
        return Ok(());
    }
    let cannot = |why: String| {
        Failure::new(
            ExitCode::CannotWrite,
            format!("the file that {variable} names cannot be written: {why}"),
            "the runner makes it anew for each step: is this hook run by GitHub's runner?",
        )
    };
    let file = hook
        .text(variable)
        .ok_or_else(|| cannot("the variable is not set".to_owned()))?;
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .append(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
        .open(file);
    let mut opened = match opened {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(cannot("it is a symbolic link".to_owned()));
        }
        opened => opened.map_err(|error| cannot(error.to_string()))?,
    };
    let before = match opened.metadata() {
        Ok(found) if found.is_file() => found.len(),
        _ => return Err(cannot("it is no regular file".to_owned())),
    };
    // The last line of the author's hook may have no end, and ours must not be taken for the rest of it.
    let mut last = [b'\n'];
    let line_feed: &[u8] = match opened.read_at(&mut last, before.saturating_sub(1)) {
        _ if last == *b"\n" => b"",
        _ => b"\n",
    };
    let written = opened.write_all(line_feed).and_then(|()| opened.write_all(text));
    written.map_err(|error| {
        // The runner reads the file of a hook that failed too: no part of a secret may stay in it.
        let _ = opened.set_len(before);
        cannot(error.to_string())
    })
}

/// In the log, and on the summary page of the run. Neither is worth failing a job for.
fn say_what_was_given(hook: &Hook, delivered: &[Delivered]) {
    let given: Vec<Given<'_>> = delivered
        .iter()
        .map(|Delivered { to, secret, version }| Given {
            name: match to {
                Target::File(name) | Target::Env(name) => name,
            },
            secret,
            version: version.and_then(NonZeroU64::new),
        })
        .collect();
    let _ = say(commands::plain(&summary::line(&given)).as_bytes());
    if let Err(failure) = append(hook, "GITHUB_STEP_SUMMARY", summary::markdown(&given).as_bytes()) {
        tracing::debug!(reason = failure.message, "no summary");
    }
}

fn or_none(accessor: &str) -> &str {
    if accessor.is_empty() { "none" } else { accessor }
}
