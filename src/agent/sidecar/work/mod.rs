//! Does what the schedule says is due, with one try each, and shows the containers what came of it.

mod files;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::{Instant as Timer, sleep};

use self::files::{By, File, known_files};
use crate::agent::Surroundings;
use crate::agent::delivery::{EnvOrder, FileOrder, Order};
use crate::agent::handover::{self, Handover, Held, boot_time};
use crate::agent::init::order;
use crate::agent::on_change::Actions;
use crate::agent::report::{Failure, SetupFault};
use crate::agent::view::{FileState, FileStatus, Status, View};
use crate::plan::{ApiPath, AuthMethod, ExitCode, FILES_DIR, Login, MAX_RENDERED_BYTES, Plan, TOKEN_FILE, VOLUME_DIR};
use crate::schedule::{self, Grant, Lifetime, Proof, Schedule, Source, State, TokenNumber, Work};
use crate::vault::{
    Credential, Deadline, Kind, Reading, Renewed, Revoked, Session, Stop, Vault, VaultError, Wanted, is_later,
};

/// One request, from its connection to its whole answer.
const REQUEST: Duration = Duration::from_secs(15);
/// Between two lines about failures, and two tries to write what could not be written.
const QUIET: Duration = Duration::from_secs(60);
/// The longest sleep.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// All that it knows. No secret but its tokens, and what could not be written yet.
pub(super) struct Sidecar<'a> {
    surroundings: &'a Surroundings,
    plan: &'a Plan,
    login: &'a Login,
    stop: &'a Stop,
    vault: Vault,
    order: Order<'a, ApiPath>,
    sources: Vec<Known>,
    schedule: Schedule,
    sessions: BTreeMap<TokenNumber, Session>,
    current: TokenNumber,
    view: View,
    /// By their paths below the directory that the containers see.
    files: BTreeMap<String, File>,
    told: BTreeMap<String, FileStatus>,
    actions: Actions,
    /// When something last failed and was said.
    complained: Option<Duration>,
    /// What failed and has not succeeded since, a source or else the token, and why.
    failing: BTreeMap<Option<Source>, String>,
    /// When what could not be written is tried again.
    write_again: Option<Duration>,
}

/// What `init` handed over. Times are the machine's own.
pub(super) struct Handed {
    session: Session,
    logged_in: Duration,
    sources: Vec<Held>,
    read: Duration,
}

/// Something that is read.
struct Known {
    wanted: Wanted,
    held: Held,
    /// When the server last gave it.
    success: Option<SystemTime>,
    /// Why it did not the last time.
    reason: Option<String>,
}

impl<'a> Sidecar<'a> {
    /// Goes on from where `init`, or an earlier sidecar, ended. None where there is nothing to keep fresh, because the job is to
    /// fail. What `init` handed over is in `handed`, for the next start or to be revoked, until a start that succeeds takes it.
    pub(super) fn start(
        surroundings: &'a Surroundings,
        plan: &'a Plan,
        stop: &'a Stop,
        handed: &mut Option<Handed>,
    ) -> Result<Option<Self>, Failure> {
        // Before anything can fail.
        match receive(surroundings, handed) {
            Ok(false) => {
                tracing::info!(
                    "podkey-init delivered nothing, and left that to the job: there is nothing to keep fresh"
                );
                return Ok(None);
            }
            Ok(true) => {}
            Err(reason) => tracing::warn!(reason, "the handover of podkey-init cannot be used"),
        }
        let (Some(refresh), Some(login)) = (&plan.refresh, &plan.login) else {
            return Err(SetupFault::NothingToRefresh.into());
        };
        let vault = Vault::new(&plan.connection, Deadline::Try(REQUEST))?;
        let view = View::open(|path| surroundings.path(path), surroundings.root.is_some())?;
        let told = view.status().map(|status| status.files).unwrap_or_default();
        let order = order(plan);
        let wanted = order.wanted();
        let files = known_files(&order, &view, &told);

        let now = boot_time();
        let mut sessions = BTreeMap::new();
        let mut token = None;
        let mut ages = Vec::new();
        let mut sources: Vec<Known> = wanted
            .into_iter()
            .map(|wanted| Known::new(wanted, &order, &files, &told))
            .collect();
        match handed.take_if(|handed| handed.sources.len() == sources.len()) {
            Some(handed) => {
                let session = handed.session;
                tracing::info!(
                    accessor = session.accessor,
                    secrets = sources.len(),
                    interval = %refresh.interval,
                    "keeping the files fresh, with the client token of podkey-init"
                );
                token = Some(schedule::Held {
                    what: grant(&session, login),
                    age: now.saturating_sub(handed.logged_in),
                });
                sessions.insert(TokenNumber::default(), session);
                for (source, held) in sources.iter_mut().zip(handed.sources) {
                    source.held = held;
                    ages.push(Some(now.saturating_sub(handed.read)));
                }
            }
            None => {
                tracing::info!(
                    secrets = sources.len(),
                    interval = %refresh.interval,
                    "keeping the files fresh; there is no client token from before, so with a new one"
                );
                ages.extend(sources.iter().map(|source| source.age(&order, &files, &told)));
            }
        }
        let held: Vec<_> = sources
            .iter()
            .zip(ages)
            .map(|(source, age)| {
                Some(schedule::Held {
                    what: source.held.lifetime(),
                    age: age?,
                })
            })
            .collect();
        let seed = fastrand::u64(..);
        let schedule = Schedule::new(now, seed, refresh.interval.duration(), token, &held);
        let shown = surroundings.path(VOLUME_DIR).join(FILES_DIR);
        Ok(Some(Self {
            surroundings,
            plan,
            login,
            stop,
            vault,
            order,
            sources,
            schedule,
            sessions,
            current: TokenNumber::default(),
            view,
            files,
            told,
            actions: Actions::new(refresh.on_change.clone(), shown),
            complained: None,
            failing: BTreeMap::new(),
            write_again: None,
        }))
    }

    /// Works and sleeps, for ever.
    pub(super) async fn run(&mut self) -> Infallible {
        loop {
            while !self.stop.is_asked()
                && let Some(work) = self.schedule.due(boot_time())
            {
                self.carry_out(work).await;
            }
            if self.stop.is_asked() {
                return std::future::pending().await;
            }
            // What ended by itself is nobody's to revoke.
            self.sessions.retain(|number, _| self.schedule.keeps(*number));
            let now = boot_time();
            if self.write_again.is_some_and(|at| at <= now) {
                self.publish();
            }
            self.tell();
            // Whatever is in between may forget an idle connection.
            self.vault.hang_up();
            let after = |at: Duration| at.saturating_sub(now);
            let clear_up = self.view.clear_up_due();
            let clear_up = clear_up.map(|at| at.saturating_duration_since(Instant::now()));
            let wakes = [
                Some(after(self.schedule.wake())),
                // Only to tell of it.
                self.schedule.worsens().map(after),
                self.write_again.map(after),
                clear_up,
            ];
            let wait = wakes.into_iter().flatten().min().unwrap_or(LONGEST);
            sleep(wait.min(LONGEST)).await;
            self.view.clear_up();
        }
    }

    /// Gives every token back, all of them within the limit, and with them their leases. Tells how many may be left.
    pub(super) async fn revoke_all(&mut self, limit: Duration) -> usize {
        let end = Timer::now() + limit;
        let mut left = 0;
        // The one in use first.
        while let Some((_, session)) = self.sessions.pop_last() {
            left += give_back(&self.vault, &session, end.saturating_duration_since(Timer::now())).await;
        }
        left
    }

    async fn carry_out(&mut self, work: Work) {
        match work {
            Work::LoginAnew(_) if !self.has_newer_proof() => self.schedule.nothing_newer(boot_time()),
            Work::Login(number) | Work::LoginAnew(number) => {
                let result = self.log_in(number).await;
                self.schedule.logged_in(boot_time(), result);
            }
            Work::RenewToken => {
                let result = match self.sessions.get(&self.current) {
                    Some(session) => self.vault.renew_token(session).await.map(|renewed| Grant {
                        ttl: renewed.ttl,
                        renewable: renewed.renewable,
                        uses: session.uses(),
                        proof: None,
                    }),
                    None => Err(self.no_session()),
                };
                let result = self.heard(None, "the client token was not renewed", result);
                if let (Ok(grant), Some(session)) = (&result, self.sessions.get_mut(&self.current)) {
                    session.ttl = grant.ttl;
                    tracing::debug!(
                        accessor = session.accessor,
                        ttl_s = grant.ttl.as_secs(),
                        "client token renewed"
                    );
                }
                self.schedule.token_renewed(boot_time(), result);
            }
            Work::Read(sources) => {
                let mut results = Vec::with_capacity(sources.len());
                for source in &sources {
                    let answer = match (self.sources.get(source.0), self.sessions.get(&self.current)) {
                        (Some(known), Some(session)) => self.vault.read_one(session, &known.wanted).await,
                        _ => Err(self.no_session()),
                    };
                    let result = self.take(*source, answer);
                    results.push((*source, result));
                    if matches!(result, Err(schedule::Failure::Away | schedule::Failure::Throttled(_))) {
                        break;
                    }
                }
                self.publish();
                let (asked, unread) = sources.split_at(results.len());
                let why = asked
                    .last()
                    .and_then(|source| self.sources.get(source.0)?.reason.clone());
                for source in unread {
                    if let Some(known) = self.sources.get_mut(source.0) {
                        known.reason.clone_from(&why);
                    }
                }
                self.schedule.read(boot_time(), &results);
                self.schedule.unread(unread);
            }
            Work::ReadLeased(source, permit) => {
                // A connection that the server has just closed would cost the permit.
                self.vault.hang_up();
                let (answer, unused) = match (self.sources.get(source.0), self.sessions.get(&self.current)) {
                    (Some(known), Some(session)) => {
                        match self.vault.read_leased(session, &known.wanted, permit).await {
                            Ok(reading) => (Ok(reading), None),
                            Err((error, permit)) => (Err(error), permit),
                        }
                    }
                    _ => (Err(self.no_session()), Some(permit)),
                };
                let result = self.take(source, answer);
                self.publish();
                if let Some(permit) = unused {
                    self.schedule.unused(permit);
                }
                self.schedule.read(boot_time(), &[(source, result)]);
            }
            Work::RenewLease(source) => {
                let result = match (self.sources.get(source.0), self.sessions.get(&self.current)) {
                    (
                        Some(Known {
                            wanted,
                            held: Held::Lease { id, .. },
                            ..
                        }),
                        Some(session),
                    ) => self.vault.renew_lease(session, wanted.path.as_str(), id).await,
                    _ => Err(self.no_session()),
                };
                let result = self.heard(Some(source), "a lease was not renewed", result);
                let result = result.map(|Renewed { ttl, renewable }| Lifetime::Lease { ttl, renewable });
                if result.is_ok()
                    && let Some(known) = self.sources.get_mut(source.0)
                {
                    known.success = Some(SystemTime::now());
                    known.reason = None;
                    tracing::debug!(secret = %known.wanted.path, "lease renewed");
                }
                self.schedule.lease_renewed(boot_time(), source, result);
            }
            Work::Revoke(number) => {
                let revoked = match self.sessions.get(&number) {
                    Some(session) => self.vault.revoke(session, REQUEST).await,
                    None => Revoked::Yes,
                };
                let result = match revoked {
                    Revoked::Yes | Revoked::Refused => Ok(()),
                    Revoked::Unanswered => {
                        self.complain(
                            "a client token that was replaced is not revoked yet",
                            "there was no answer",
                            "",
                        );
                        Err(schedule::Failure::Away)
                    }
                };
                if result.is_ok() {
                    self.sessions.remove(&number);
                }
                self.schedule.revoked(boot_time(), number, result);
            }
        }
    }

    /// Whether the kubelet has replaced the token that we logged in with.
    fn has_newer_proof(&self) -> bool {
        let proof = self.sessions.get(&self.current).and_then(Session::proof);
        proof.is_some_and(|proof| is_later(&self.surroundings.path(TOKEN_FILE), proof))
    }

    async fn log_in(&mut self, number: TokenNumber) -> Result<Grant, schedule::Failure> {
        let token_file = self.surroundings.path(TOKEN_FILE);
        let result = self
            .vault
            .login(self.login, Credential::File(&token_file), self.stop)
            .await;
        let session = self.heard(None, "the login failed", result)?;
        tracing::info!(
            connection = self.plan.connection.name,
            mount = %self.login.mount,
            role = %self.login.role,
            accessor = session.accessor,
            ttl_s = session.ttl.as_secs(),
            policies = session.policies.join(","),
            "logged in"
        );
        if session.uses() == 1 {
            let why = "the role's token_num_uses is 1: such a token cannot be used and then revoked";
            self.failing.insert(None, why.to_owned());
            self.complain(
                "the login is of no use",
                why,
                "raise token_num_uses of the role, or set it to 0",
            );
            self.vault.revoke(&session, REQUEST).await;
            return Err(schedule::Failure::Failed);
        }
        let grant = grant(&session, self.login);
        session.keep_last_use();
        self.sessions.insert(number, session);
        self.current = number;
        // With this token's accessor, and with whatever a killed sidecar had no time to say.
        self.say_what_is_delivered();
        Ok(grant)
    }

    /// Takes in what was read, or why it was not: the next [`Self::publish`] shows it.
    fn take(&mut self, source: Source, answer: Result<Reading, VaultError>) -> Result<Lifetime, schedule::Failure> {
        let Some(known) = self.sources.get_mut(source.0) else {
            return Err(schedule::Failure::Failed);
        };
        match &answer {
            Ok(reading) => {
                known.held = Held::new(&known.wanted, reading.lease.as_ref());
                known.success = Some(SystemTime::now());
                known.reason = None;
            }
            Err(error) => known.reason = Some(error.message.clone()),
        }
        let lifetime = known.held.lifetime();
        let wanted = known.wanted.clone();
        let files = (0..self.order.files.len()).map(By::File);
        let mut made: Vec<By> = files.chain((0..self.order.env.len()).map(By::Variable)).collect();
        made.retain(|by| self.wanted(*by).as_ref() == Some(&wanted));
        let others = self.files.iter().filter(|(_, file)| !made.contains(&file.by));
        let mut bytes: usize = others.map(|(place, _)| self.view.size(place)).sum();
        let mut all = Vec::with_capacity(made.len());
        let mut unusable = None;
        for by in &made {
            let rendered = match &answer {
                Ok(reading) => self.render(*by, reading),
                Err(error) if error.kind == Kind::NotFound => Err(error.clone().into()),
                Err(_) => continue,
            };
            bytes += rendered.iter().flatten().map(|file| file.bytes.len()).sum::<usize>();
            unusable = match &rendered {
                Err(failure) if failure.code != ExitCode::NotFound => Some(failure.clone()),
                _ if bytes > MAX_RENDERED_BYTES => Some(Failure::too_large()),
                _ => None,
            };
            all.push((*by, rendered));
            if unusable.is_some() {
                // No more of them in memory.
                break;
            }
        }
        if let Some(failure) = unusable.or_else(|| self.check(&wanted.path, &all).err()) {
            // None of them, so that those of one secret go together.
            all = made.iter().map(|by| (*by, Err(failure.clone()))).collect();
        }
        let version = answer.as_ref().ok().and_then(|reading| reading.version);
        for (by, rendered) in all {
            match rendered {
                Ok(files) => self.show(by, files, version),
                Err(failure) => self.show_not(by, &failure),
            }
        }
        self.heard(Some(source), "a secret was not read", answer)
            .map(|_| lifetime)
    }

    /// Writes the status, if it changed, and logs files whose state did.
    fn tell(&mut self) {
        let (now, clock) = (boot_time(), SystemTime::now());
        let mut all = BTreeMap::new();
        for (place, file) in &self.files {
            let wanted = self.wanted(file.by);
            let number = self
                .sources
                .iter()
                .position(|source| Some(&source.wanted) == wanted.as_ref());
            let (Some(number), Some(known)) = (number, number.and_then(|number| self.sources.get(number))) else {
                continue;
            };
            let scheduled = match self.schedule.state(Source(number), now) {
                State::Fresh => FileState::Fresh,
                State::Stale => FileState::Stale,
                State::Denied => FileState::Denied,
                State::Gone => FileState::Gone,
                State::Expired => FileState::Expired,
            };
            let unwritten = if self.view.changes(place) {
                FileState::Unwritten
            } else {
                FileState::Fresh
            };
            let state = file.state.max(scheduled).max(unwritten);
            let reason = file
                .reason
                .as_ref()
                .or(known.reason.as_ref())
                // Without its token nothing can be asked for.
                .or_else(|| self.failing.get(&None));
            let next_try = self.schedule.next_try(Source(number));
            let mut status = FileStatus {
                version: file.version,
                reason: reason.filter(|_| state != FileState::Fresh).cloned(),
                last_success: known.success,
                next_try: next_try.and_then(|at| clock.checked_add(at.saturating_sub(now))),
                ..FileStatus::new(&file.secret, state)
            };
            status.holds(&known.held, self.schedule.lasts(Source(number)));
            let before = self.told.get(place).map_or(FileState::Fresh, |told| told.state);
            if before != state {
                say(place, &status, before);
            }
            all.insert(place.clone(), status);
        }
        if all == self.told {
            return;
        }
        match self.view.tell(&Status::new(all.clone())) {
            Ok(()) => self.told = all,
            Err(failure) => self.complain("the status could not be written", &failure.message, &failure.hint),
        }
    }

    fn no_session(&self) -> VaultError {
        VaultError::new(Kind::Denied, "there is no client token", "")
    }

    /// A result of a source, or of the token, as the schedule wants it. What failed is logged, once in a while.
    fn heard<T>(
        &mut self,
        of: Option<Source>,
        what: &str,
        result: Result<T, VaultError>,
    ) -> Result<T, schedule::Failure> {
        match result {
            Ok(done) => {
                if self.failing.remove(&of).is_some() && self.failing.is_empty() {
                    tracing::info!("the server answers as it should again");
                }
                Ok(done)
            }
            Err(error) => {
                let failure = match error.kind {
                    // Who says when to come again is taken at its word.
                    Kind::Unavailable if error.retry_after.is_some() => schedule::Failure::Throttled(error.retry_after),
                    Kind::Unavailable | Kind::Trust => schedule::Failure::Away,
                    Kind::RateLimited => schedule::Failure::Throttled(error.retry_after),
                    Kind::Denied => schedule::Failure::Denied,
                    Kind::NotFound => schedule::Failure::Gone,
                    Kind::Failing
                    | Kind::NoEngine
                    | Kind::NotVault
                    | Kind::NotReadable
                    | Kind::Refused
                    | Kind::Setup => schedule::Failure::Failed,
                };
                if failure == schedule::Failure::Gone {
                    self.failing.remove(&of);
                } else {
                    self.failing.insert(of, error.message.clone());
                    self.complain(what, &error.message, &error.hint);
                }
                Err(failure)
            }
        }
    }

    /// One line about all that fails, no more often than once a minute.
    fn complain(&mut self, what: &str, reason: &str, hint: &str) {
        let now = boot_time();
        if self.complained.is_none_or(|at| now.saturating_sub(at) >= QUIET) {
            self.complained = Some(now);
            tracing::warn!(
                reason,
                hint,
                "{what}: the files stay as they are, and it is tried again"
            );
        } else {
            tracing::debug!(reason, hint, "{what}");
        }
    }
}

/// A file's state changed. What is only late has been complained of.
fn say(place: &str, status: &FileStatus, before: FileState) {
    let FileStatus { secret, reason, .. } = status;
    let reason = reason.as_deref();
    match (status.state, before) {
        (FileState::Fresh, FileState::Stale) | (FileState::Stale | FileState::Unwritten, _) => {
            tracing::debug!(file = place, secret, reason, state = ?status.state, "state");
        }
        (FileState::Fresh, _) => tracing::info!(file = place, secret, "the file is fresh again"),
        (state, _) => tracing::warn!(file = place, secret, reason, ?state, "the file is not fresh"),
    }
}

/// Takes what `init` left. False where that is nothing, because the job is to fail.
fn receive(surroundings: &Surroundings, handed: &mut Option<Handed>) -> Result<bool, String> {
    let received = handover::receive(
        |path| surroundings.path(path),
        |handover| match handover {
            Handover::Failed => false,
            Handover::Delivered(delivered) => {
                let (logged_in, read) = (delivered.logged_in, delivered.read);
                let sources = delivered.sources.clone();
                *handed = delivered.session().map(|session| Handed {
                    session,
                    logged_in,
                    sources,
                    read,
                });
                true
            }
        },
    );
    Ok(received?.unwrap_or(true))
}

/// Gives a token back at the end. Tells how many may be left.
async fn give_back(vault: &Vault, session: &Session, limit: Duration) -> usize {
    let revoked = vault.revoke(session, limit).await;
    if revoked == Revoked::Unanswered {
        session.may_last();
    }
    usize::from(revoked != Revoked::Yes)
}

impl Handed {
    /// Gives the token back, within the limit, where no sidecar could be started that has it. Tells how many may be left.
    pub(super) async fn revoke(&self, plan: &Plan, limit: Duration) -> usize {
        match Vault::new(&plan.connection, Deadline::Try(limit)) {
            Ok(vault) => give_back(&vault, &self.session, limit).await,
            Err(_) => 1,
        }
    }
}

impl Known {
    /// As far as the status tells.
    fn new(
        wanted: Wanted,
        order: &Order<'_, ApiPath>,
        files: &BTreeMap<String, File>,
        told: &BTreeMap<String, FileStatus>,
    ) -> Self {
        let mut known = Self {
            wanted,
            held: Held::Static,
            success: None,
            reason: None,
        };
        let told = known.told(order, files, told);
        known.success = told.and_then(|told| told.last_success);
        known.held = match told.map(FileStatus::held) {
            None | Some(Held::Static) if known.success.is_none() => Held::missing(&known.wanted),
            None | Some(Held::Static) if known.wanted.data.is_some() => Held::Unknown,
            None => Held::Static,
            Some(held) => held,
        };
        known
    }

    /// How long ago the server last gave it, where the status tells.
    fn age(
        &self,
        order: &Order<'_, ApiPath>,
        files: &BTreeMap<String, File>,
        told: &BTreeMap<String, FileStatus>,
    ) -> Option<Duration> {
        let told = self.told(order, files, told)?;
        match self.held {
            // That it was not there when it was asked for is an answer too.
            Held::Static => Some(told.age().unwrap_or_default()),
            _ => told.age(),
        }
    }

    fn told<'t>(
        &self,
        order: &Order<'_, ApiPath>,
        files: &BTreeMap<String, File>,
        told: &'t BTreeMap<String, FileStatus>,
    ) -> Option<&'t FileStatus> {
        let of_it = |file: &File| match file.by {
            By::File(number) => order.files.get(number).map(FileOrder::wanted).as_ref() == Some(&self.wanted),
            By::Variable(number) => order.env.get(number).map(EnvOrder::wanted).as_ref() == Some(&self.wanted),
        };
        let mut of_it = files.iter().filter(|(_, file)| of_it(file));
        of_it.find_map(|(place, _)| told.get(place))
    }
}

fn grant(session: &Session, login: &Login) -> Grant {
    let proof = match login.method {
        AuthMethod::Kubernetes => session.proof().and_then(|proof| proof.left(SystemTime::now())),
        // Nobody reviews a token of this method at a renewal. A server that does denies it, and is logged in to anew.
        AuthMethod::Jwt => None,
    };
    Grant {
        ttl: session.ttl,
        renewable: session.renewable && !session.is_batch(),
        uses: session.uses(),
        proof: proof.map(|(left, life)| Proof { left, life }),
    }
}
