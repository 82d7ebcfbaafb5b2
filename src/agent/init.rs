//! `podkey-agent init`, the whole story: plan → token file → login → reads → render everything in memory → write
//! everything → revoke → exit. All or nothing.

use std::cell::{Cell, OnceCell};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::files::{Rendered, Staged};
use super::report::{Code, Failure, Stage};
use crate::plan::{Budget, Destination, MAX_PLAN_BYTES, MAX_RENDERED_BYTES, PLAN_ENV, Plan, TOKEN_FILE, VOLUME_DIR};
use crate::render::{self, Fields};
use crate::secret::Secret;
use crate::vault::{self, Kind, Reading, Session, Stop, Vault, VaultError, Wanted, clean};

/// The environment variable that replaces the plan's budget.
pub const BUDGET_ENV: &str = "PODKEY_BUDGET";

/// All that is done after a signal is done within two seconds: the container's grace may be short.
const LOGIN_GRACE: Duration = Duration::from_millis(800);
const REVOKE_AFTER_SIGNAL: Duration = Duration::from_millis(1000);
const REVOKE: Duration = Duration::from_secs(2);

/// What `init` works on, as `main` found it.
#[derive(Debug)]
pub struct Surroundings {
    /// The text of `PODKEY_PLAN`.
    pub plan: Option<std::ffi::OsString>,
    /// The text of `PODKEY_BUDGET`.
    pub budget: Option<std::ffi::OsString>,
    /// The prefix of every path, outside a container.
    pub root: Option<PathBuf>,
}

impl Surroundings {
    /// A path of the container, below the root.
    pub fn path(&self, absolute: &str) -> PathBuf {
        match &self.root {
            None => PathBuf::from(absolute),
            Some(root) => root.join(absolute.trim_start_matches('/')),
        }
    }
}

/// How far a run is; read again when a signal stops it.
struct Progress {
    stage: Cell<Stage>,
    session: OnceCell<Session>,
    /// A delivered secret lives only as long as the client token.
    keep_token: Cell<bool>,
    stop: Stop,
}

/// Runs to the end, or until a signal. Gives the stage it came to, the connection's name, and what to report.
pub(super) async fn run(surroundings: &Surroundings) -> (Stage, Option<String>, Result<String, Failure>) {
    // First of all: the kernel keeps signals without a handler from process 1.
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        let failure = Failure::new(Code::BadPlan, "signals cannot be handled here", "");
        return (Stage::Login, None, Err(failure));
    };
    let (plan, budget) = match read_plan(surroundings) {
        Ok(read) => read,
        Err(failure) => return (Stage::Login, None, Err(failure)),
    };
    let connection = Some(plan.connection.name.clone());
    let vault = match Vault::new(&plan.connection, vault::Deadline::start(budget.duration())) {
        Ok(vault) => vault,
        Err(error) => return (Stage::Login, connection, Err(error.into())),
    };
    let progress = Progress {
        stage: Cell::new(Stage::Login),
        session: OnceCell::new(),
        keep_token: Cell::new(false),
        stop: Stop::default(),
    };
    let (outcome, signal) = {
        let mut work = std::pin::pin!(deliver(&plan, &vault, surroundings, &progress));
        tokio::select! {
            outcome = &mut work => (outcome, None),
            name = stopped(&mut terminate, &mut interrupt) => {
                progress.stop.ask();
                // A login that is under way may be about to give us a token that nobody else could revoke.
                if progress.stop.in_login() {
                    tokio::select! {
                        _ = timeout(LOGIN_GRACE, &mut work) => {}
                        _ = stopped(&mut terminate, &mut interrupt) => {}
                    }
                }
                (Ok(String::new()), Some(name))
            }
        }
        // Dropping the work removes its temporary files.
    };
    let mut revoked = true;
    if let Some(session) = progress.session.get() {
        if signal.is_none() && outcome.is_ok() && progress.keep_token.get() {
            tracing::info!(
                accessor = session.accessor,
                ttl_s = session.ttl.as_secs(),
                "the client token is not revoked: a delivered secret lives no longer than it does"
            );
        } else {
            let limit = if signal.is_some() { REVOKE_AFTER_SIGNAL } else { REVOKE };
            let mut revocation = std::pin::pin!(vault.revoke(session, limit));
            revoked = tokio::select! {
                revoked = &mut revocation => revoked,
                _ = stopped(&mut terminate, &mut interrupt) => {
                    // The files are there already: a first signal only shortens the revocation, a second one ends it.
                    let left = if signal.is_none() { REVOKE_AFTER_SIGNAL } else { Duration::ZERO };
                    timeout(left, revocation).await.unwrap_or_else(|_| {
                        tracing::warn!(
                            accessor = session.accessor,
                            ttl_s = session.ttl.as_secs(),
                            "a signal cut the revocation of the client token short: it may last until its TTL"
                        );
                        false
                    })
                }
            };
        }
    }
    let outcome = match signal {
        None => outcome,
        Some(name) => Err(terminated(name, !revoked || progress.stop.token_may_be_lost())),
    };
    (progress.stage.get(), connection, outcome)
}

fn read_plan(surroundings: &Surroundings) -> Result<(Plan, Budget), Failure> {
    let bad = |why: String| {
        Failure::new(
            Code::BadPlan,
            why,
            "podkey's webhook writes PODKEY_PLAN; agent and webhook come from one release",
        )
    };
    let text = match &surroundings.plan {
        None => return Err(bad(format!("{PLAN_ENV} is not set"))),
        Some(text) => text.to_str().ok_or_else(|| bad(format!("{PLAN_ENV} is not UTF-8")))?,
    };
    if text.len() > MAX_PLAN_BYTES {
        return Err(bad(format!("{PLAN_ENV} is longer than {MAX_PLAN_BYTES} bytes")));
    }
    let plan = Plan::parse(text).map_err(|error| bad(format!("{PLAN_ENV}: {}", clean(&error.to_string(), 512))))?;
    for file in &plan.files {
        render::check(file).map_err(|error| bad(format!("{PLAN_ENV}: file {}: {error}", file.file)))?;
    }
    let budget = match &surroundings.budget {
        None => plan.budget,
        Some(text) => text
            .to_str()
            .map_or_else(
                || Err(format!("{BUDGET_ENV} is not UTF-8")),
                |text| {
                    text.parse()
                        .map_err(|error| format!("{BUDGET_ENV}={:?} {error}", clean(text, 64)))
                },
            )
            .map_err(|why| Failure::new(Code::BadPlan, why, "write a duration such as 30s or 5m, at most 15m"))?,
    };
    Ok((plan, budget))
}

async fn stopped(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

/// Stopped by a signal: no file is left, but perhaps a client token.
fn terminated(signal: &str, token_left: bool) -> Failure {
    Failure::new(
        Code::Terminated,
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
    let clock = Clock::start();
    let Some(login) = &plan.login else {
        return Ok("nothing to deliver".to_owned());
    };
    let session = vault
        .login(login, &surroundings.path(TOKEN_FILE), &progress.stop)
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

    progress.stage.set(Stage::Read);
    let wanted = distinct(plan);
    if session.uses > 0 && session.uses < wanted.len() as u64 + 1 {
        tracing::warn!(
            uses = session.uses,
            reads = wanted.len(),
            "the role's token_num_uses is too small for these reads and the revocation"
        );
    }
    let clock = Clock::start();
    let readings = vault.read_all(session, &wanted, plan.ignore_not_found).await?;
    tracing::info!(secrets = wanted.len(), took_ms = clock.ms(), "read");

    progress.stage.set(Stage::Render);
    let clock = Clock::start();
    let files = render_all(plan, &wanted, &readings)?;
    let bytes: usize = files.iter().map(|file| file.bytes.len()).sum();
    tracing::info!(files = files.len(), bytes, took_ms = clock.ms(), "rendered");

    progress.stage.set(Stage::Write);
    let clock = Clock::start();
    let mut staged = Staged::open(&surroundings.path(VOLUME_DIR), surroundings.root.is_some())?;
    for file in &files {
        staged.stage(file)?;
        // A signal is seen here, and dropping `staged` removes what was written.
        yield_now().await;
    }
    let count = staged.publish()?;
    tracing::info!(files = count, took_ms = clock.ms(), "written");

    for (reading, (path, _)) in readings.iter().zip(&wanted) {
        if let Ok(Reading { lease: Some(lease), .. }) = reading {
            progress.keep_token.set(true);
            tracing::warn!(
                secret = %path,
                ttl_s = lease.duration.as_secs(),
                renewable = lease.renewable,
                "a dynamic secret was delivered: nothing renews it, it ends with its TTL"
            );
        }
    }
    Ok(format!("delivered {count} file{}", if count == 1 { "" } else { "s" }))
}

/// Each path and version of the plan once, in its order.
fn distinct(plan: &Plan) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for file in &plan.files {
        let one = (file.secret.clone(), file.version.map(std::num::NonZeroU64::get));
        if !wanted.contains(&one) {
            wanted.push(one);
        }
    }
    wanted
}

fn render_all(
    plan: &Plan,
    wanted: &[Wanted],
    readings: &[Result<Reading, VaultError>],
) -> Result<Vec<Rendered>, Failure> {
    let mut files = Vec::with_capacity(plan.files.len());
    let mut total = 0;
    for (file, place) in plan.placed_files() {
        let version = file.version.map(std::num::NonZeroU64::get);
        let found = wanted
            .iter()
            .zip(readings)
            .find(|((path, v), _)| *path == file.secret && *v == version);
        let bytes = match found {
            Some((_, Ok(reading))) => {
                let fields = Fields::parse(reading.data()).map_err(|error| {
                    Failure::new(Code::NotVault, format!("the answer for {}: {error}", file.secret), "")
                })?;
                render::render(file, &fields).map_err(|error| Failure::render(&error, file.secret.as_str()))?
            }
            Some((_, Err(missing))) if missing.kind == Kind::NotFound => {
                // The hint too: the path may be missing only because it is not written as its engine wants it.
                tracing::warn!(secret = %file.secret, file = %file.file, reason = missing.message, hint = missing.hint, "skipped");
                match file.file {
                    Destination::Relative(_) => continue,
                    // A single-file mount needs its file, or the kubelet makes a directory of that name.
                    Destination::Absolute(_) => Secret::from(Vec::new()),
                }
            }
            Some((_, Err(error))) => return Err(error.clone().into()),
            // Every secret of the plan was wanted.
            None => {
                return Err(Failure::new(
                    Code::NotFound,
                    format!("{} was not read", file.secret),
                    "",
                ));
            }
        };
        total += bytes.len();
        if total > MAX_RENDERED_BYTES {
            return Err(Failure::new(
                Code::BadData,
                "the files together are larger than 4 MiB",
                "deliver fewer or smaller secrets",
            ));
        }
        files.push(Rendered {
            place,
            mode: file.mode.bits(),
            bytes,
        });
    }
    Ok(files)
}

struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}
