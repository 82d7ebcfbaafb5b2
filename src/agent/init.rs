//! `podkey-agent init`, the whole story: plan → token file → login → reads → render everything in memory → write
//! everything → revoke → exit. All or nothing.

use std::cell::{Cell, OnceCell};
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::timeout;

use super::delivery::{Delivery, EnvOrder, FileOrder, Order};
use super::exec;
use super::files::{Rendered, Staged};
use super::fresh::{self, Obtained};
use super::handover::boot_time;
use super::outcome::{Manifest, Outcome};
use super::report::{Failure, Report, RunStage, SetupFault};
use super::signals::{self, Signals};
use super::tools;
use super::{Clock, Surroundings};
use crate::plan::{
    ApiPath, Budget, Destination, ENV_DIR, ExitCode, FILES_DIR, Login, MAX_PLAN_BYTES, OnFailure, Plan, TOKEN_FILE,
    VOLUME_DIR,
};
use crate::secret::Secret;
use crate::vault::{self, Credential, Revoked, Session, Stop, Vault, clean};

/// The environment variable that replaces the plan's budget.
pub const BUDGET_ENV: &str = "PODKEY_BUDGET";

/// With a login's grace, all that is done after a signal is done within two seconds: the container's own may be short.
const REVOKE_AFTER_SIGNAL: Duration = Duration::from_millis(1000);
const REVOKE: Duration = Duration::from_secs(2);

/// How far a run is; read again when a signal stops it.
struct Progress {
    stage: Cell<RunStage>,
    session: OnceCell<Session>,
    /// Why the client token is not to be revoked.
    token_kept: Cell<Option<&'static str>>,
    stop: Stop,
}

/// The stage a run came to, the connection's name, and what to report.
pub(super) type Ended = (RunStage, Option<String>, Result<String, Failure>);

/// Runs to the end, or until a signal. Gives the stage it came to, the connection's name, and what to report.
pub(super) async fn run(surroundings: &Surroundings) -> Ended {
    // First of all: the kernel keeps signals without a handler from process 1.
    let mut signals = match Signals::handle() {
        Ok(signals) => signals,
        Err(failure) => return (RunStage::Login, None, Err(failure)),
    };
    let (plan, budget) = match read_plan(surroundings) {
        Ok(read) => read,
        Err(failure) => return (RunStage::Login, None, Err(failure)),
    };
    let vault = match Vault::new(&plan.connection, vault::Deadline::start(budget.duration())) {
        Ok(vault) => vault,
        Err(error) => return finish(&plan, surroundings, RunStage::Login, Err(error.into())),
    };
    let progress = Progress {
        stage: Cell::new(RunStage::Login),
        session: OnceCell::new(),
        token_kept: Cell::new(None),
        stop: Stop::default(),
    };
    let (outcome, signal) = {
        let mut work = std::pin::pin!(deliver(&plan, &vault, surroundings, &progress));
        tokio::select! {
            outcome = &mut work => (outcome, None),
            told = signals.next() => {
                signals::stop(work.as_mut(), &progress.stop, &mut signals).await;
                (Ok(String::new()), Some(told.name()))
            }
        }
        // Dropping the work removes its temporary files.
    };
    let mut revoked = Revoked::Yes;
    if let Some(session) = progress.session.get() {
        if let (None, true, Some(why)) = (signal, outcome.is_ok(), progress.token_kept.get()) {
            tracing::info!(
                accessor = session.accessor,
                ttl_s = session.ttl.as_secs(),
                "the client token is not revoked: {why}"
            );
        } else {
            let limit = if signal.is_some() { REVOKE_AFTER_SIGNAL } else { REVOKE };
            let mut revocation = std::pin::pin!(vault.revoke(session, limit));
            revoked = tokio::select! {
                revoked = &mut revocation => revoked,
                _ = signals.next() => {
                    // The files are there already: a first signal only shortens the revocation, a second one ends it.
                    let left = if signal.is_none() { REVOKE_AFTER_SIGNAL } else { Duration::ZERO };
                    timeout(left, revocation).await.unwrap_or_else(|_| {
                        tracing::warn!(
                            accessor = session.accessor,
                            ttl_s = session.ttl.as_secs(),
                            "a signal cut the revocation of the client token short: it may last until its TTL"
                        );
                        Revoked::Unanswered
                    })
                }
            };
        }
    }
    let outcome = match signal {
        None => outcome,
        Some(name) => Err(terminated(
            name,
            revoked != Revoked::Yes || progress.stop.token_may_be_lost(),
        )),
    };
    finish(&plan, surroundings, progress.stage.get(), outcome)
}

/// A failure that the job is to tell becomes a success with that said, or one of writing.
fn finish(plan: &Plan, surroundings: &Surroundings, stage: RunStage, outcome: Result<String, Failure>) -> Ended {
    let connection = Some(plan.connection.name.clone());
    let failure = match outcome {
        Err(failure) if left_to_the_job(plan, &failure) => failure,
        outcome => return (stage, connection, outcome),
    };
    let report = Report::new(stage, connection.as_deref(), &Err(failure.clone()));
    let said = report.text();
    match leave_to_the_job(plan, surroundings, report) {
        Ok(()) => {
            tracing::error!(
                code = failure.code.number(),
                stage = stage.name(),
                reason = failure.message,
                hint = failure.hint,
                "no secret was delivered: the job will fail"
            );
            (stage, connection, Ok(format!("left to the job hook: {said}")))
        }
        Err(error) => {
            let message = format!(
                "{}, and the failure could not be left to the job hook: {}",
                failure.message, error.message
            );
            (
                RunStage::Write,
                connection,
                Err(Failure::new(ExitCode::CannotWrite, message, error.hint)),
            )
        }
    }
}

/// The plan, whole and checked, and how long to try.
pub(super) fn read_plan(surroundings: &Surroundings) -> Result<(Plan, Budget), Failure> {
    let bad = |why: String| Failure::from(SetupFault::PlanVariable(why));
    let text = match &surroundings.plan {
        None => return Err(bad(" is not set".to_owned())),
        Some(text) => text.to_str().ok_or_else(|| bad(" is not UTF-8".to_owned()))?,
    };
    if text.len() > MAX_PLAN_BYTES {
        return Err(bad(format!(" is longer than {MAX_PLAN_BYTES} bytes")));
    }
    let plan = Plan::parse(text).map_err(|error| bad(format!(": {}", clean(&error.to_string(), 512))))?;
    let budget = match &surroundings.budget {
        None => plan.budget,
        Some(text) => text
            .to_str()
            .map_or_else(
                || Err(" is not UTF-8".to_owned()),
                |text| text.parse().map_err(|error| format!("={:?} {error}", clean(text, 64))),
            )
            .map_err(SetupFault::Budget)?,
    };
    Ok((plan, budget))
}

/// Stopped by a signal: no file is left, but perhaps a client token.
fn terminated(signal: &str, token_left: bool) -> Failure {
    Failure::new(
        ExitCode::Terminated,
        format!("stopped by {signal}"),
        match token_left {
            false => "nothing was left behind",
            true => "no file was left behind; a client token may be left at the server until its TTL ends",
        },
    )
}

async fn deliver(
    plan: &Plan,
    vault: &Vault,
    surroundings: &Surroundings,
    progress: &Progress,
) -> Result<String, Failure> {
    let order = order(plan);
    let (mut delivery, obtained) = match &plan.login {
        Some(login) => read(plan, login, &order, vault, surroundings, progress).await?,
        // All is the job's.
        None => (Delivery::default(), None),
    };
    if plan.exec {
        let mut variables = delivery.variables.iter();
        variables.try_for_each(|variable| exec::check(&variable.name, &variable.value))?;
    }

    progress.stage.set(RunStage::Write);
    let clock = Clock::start();
    let (files, variables) = (delivery.files.len(), delivery.variables.len());
    let mut rendered = std::mem::take(&mut delivery.files);
    rendered.extend(delivery.variables.iter().map(|variable| variable.file(plan.env_mode)));
    let has_tools = plan.exec || plan.job.is_some();
    if let Some(obtained) = &obtained {
        if has_tools {
            tools::fill(surroundings, hooks_plan(plan, surroundings))?;
        }
        fresh::publish(plan, surroundings, obtained, rendered, &delivery)?;
        // The sidecar renews them.
        delivery.leases.clear();
    } else {
        let mut staged = Staged::open(&surroundings.path(VOLUME_DIR), surroundings.root.is_some())?;
        staged.make_directory(FILES_DIR)?;
        for file in &rendered {
            staged.stage(file)?;
            // A signal is seen here, and dropping `staged` removes what was written.
            yield_now().await;
        }
        for file in plan
            .placed_job_files()
            .filter_map(|(file, place)| closed(&file.file, place))
        {
            staged.stage(&file)?;
        }
        if has_tools {
            tools::fill(surroundings, hooks_plan(plan, surroundings))?;
        }
        staged.publish()?;
    }
    if has_tools {
        let manifest = Manifest {
            accessor: progress
                .session
                .get()
                .map(|session| session.accessor.clone())
                .unwrap_or_default(),
            delivered: std::mem::take(&mut delivery.delivered),
            leases: std::mem::take(&mut delivery.leases),
        };
        // Without the word that they are whole no secret is to stay, whoever is to fail.
        tools::commit(surroundings, &Outcome::Delivered(manifest)).inspect_err(|_| {
            let _ = leave_no_secret(plan, surroundings);
        })?;
    }
    match (obtained, progress.session.get()) {
        (Some(obtained), Some(session)) => {
            obtained.hand_over(session, surroundings).inspect_err(|_| {
                let _ = leave_no_secret(plan, surroundings);
            })?;
            progress.token_kept.set(Some("the sidecar has it"));
        }
        _ if delivery.bound_to_token => {
            progress
                .token_kept
                .set(Some("a delivered secret lives no longer than it does"));
        }
        _ => {}
    }
    tracing::info!(files, variables, took_ms = clock.ms(), "written");
    let mut message = format!("delivered {files} file{}", if files == 1 { "" } else { "s" });
    if variables > 0 {
        message.push_str(&format!(
            " and {variables} variable{}",
            if variables == 1 { "" } else { "s" }
        ));
    }
    Ok(message)
}

async fn read(
    plan: &Plan,
    login: &Login,
    order: &Order<'_, ApiPath>,
    vault: &Vault,
    surroundings: &Surroundings,
    progress: &Progress,
) -> Result<(Delivery, Option<Obtained>), Failure> {
    let clock = Clock::start();
    let token_file = surroundings.path(TOKEN_FILE);
    let session = vault
        .login(login, Credential::File(&token_file), &progress.stop)
        .await?;
    // From here on whoever ends the run finds the session, to revoke it.
    let session = progress.session.get_or_init(|| session);
    tracing::info!(
        connection = plan.connection.name,
        address = %plan.connection.address,
        namespace = plan.connection.namespace.as_ref().map(tracing::field::display),
        mount = %login.mount,
        role = %login.role,
        accessor = session.accessor,
        ttl_s = session.ttl.as_secs(),
        policies = session.policies.join(","),
        took_ms = clock.ms(),
        "logged in"
    );

    if progress.stop.is_asked() {
        // What is reported is the signal.
        return Err(terminated("a signal", false));
    }

    if plan.refresh.is_some() {
        fresh::lasts_for_the_sidecar(session)?;
    }

    progress.stage.set(RunStage::Read);
    let (clock, begun) = (Clock::start(), boot_time());
    let answers = order.read(vault, session).await?;
    tracing::info!(secrets = answers.len(), took_ms = clock.ms(), "read");

    progress.stage.set(RunStage::Render);
    let clock = Clock::start();
    let delivery = order.render(&answers, session)?;
    delivery.check_field_files(plan)?;
    let obtained = plan.refresh.is_some().then(|| Obtained::new(begun, &answers, session));
    if obtained.is_none() {
        answers.warn_of_ends(session);
    }
    let bytes: usize = delivery.files.iter().map(|file| file.bytes.len()).sum();
    tracing::info!(
        files = delivery.files.len(),
        variables = delivery.variables.len(),
        bytes,
        took_ms = clock.ms(),
        "rendered"
    );
    Ok((delivery, obtained))
}

/// What `init` itself reads.
pub(super) fn order(plan: &Plan) -> Order<'_, ApiPath> {
    Order {
        files: plan
            .placed_files()
            .map(|(file, place)| FileOrder::new(file, file.secret.clone(), place))
            .collect(),
        env: plan
            .env
            .iter()
            .map(|env| EnvOrder::new(env, env.secret.clone()))
            .collect(),
        ignore_not_found: plan.ignore_not_found,
    }
}

/// A single-file mount without its secret: empty, and closed to all, so that tools fail rather than take it for the real one.
/// (Without the file the kubelet would make a directory.)
fn closed(destination: &Destination, place: String) -> Option<Rendered> {
    matches!(destination, Destination::Absolute(_)).then(|| Rendered {
        place,
        mode: 0,
        bytes: Secret::from(Vec::new()),
    })
}

/// The plan's text, if there are job hooks to read it.
fn hooks_plan<'a>(plan: &Plan, surroundings: &'a Surroundings) -> Option<&'a str> {
    plan.job.as_ref()?;
    surroundings.plan.as_ref()?.to_str()
}

/// Whether the job's hook is to tell this failure, and the pod is to start.
fn left_to_the_job(plan: &Plan, failure: &Failure) -> bool {
    let fails_job = plan
        .job
        .as_ref()
        .is_some_and(|job| job.on_failure == OnFailure::FailJob);
    // Nobody waits for a pod that was told to stop.
    fails_job && failure.code != ExitCode::Terminated
}

/// Leaves no secret, and the failure for the started hook to tell.
fn leave_to_the_job(plan: &Plan, surroundings: &Surroundings, report: Report) -> Result<(), Failure> {
    leave_no_secret(plan, surroundings)?;
    tools::fill(surroundings, hooks_plan(plan, surroundings))?;
    tools::commit(surroundings, &Outcome::Failed(report))
}

/// Takes back what was delivered: every file is removed, and those that are mounted on their own are emptied.
fn leave_no_secret(plan: &Plan, surroundings: &Surroundings) -> Result<(), Failure> {
    if plan.refresh.is_some() {
        return fresh::leave_nothing(surroundings);
    }
    let mut staged = Staged::open(&surroundings.path(VOLUME_DIR), surroundings.root.is_some())?;
    staged.make_directory(FILES_DIR)?;
    let destinations = plan.destinations().enumerate();
    for (destination, place) in destinations.map(|(index, destination)| (destination, destination.place(index))) {
        match closed(destination, place.clone()) {
            Some(file) => staged.stage(&file)?,
            None => match destination {
                // Their names came with the secret.
                Destination::EachField(name) => {
                    staged.remove_all(format!("{FILES_DIR}/{}", name.directory()).trim_end_matches('/'))?;
                }
                _ => staged.remove(&place)?,
            },
        }
    }
    staged.remove_all(&format!("{FILES_DIR}/{ENV_DIR}"))?;
    staged.publish().map(drop)
}
