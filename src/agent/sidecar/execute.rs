//! Executes what the schedule says is due, with one try each, and reports every result to the schedule.

use std::time::{Duration, Instant, SystemTime};

use tokio::time::{Instant as Timer, sleep};

use super::client_token::{REQUEST, grant, revoke_at_end};
use super::planned_restarts::PlannedRestarts;
use super::restart::RestartBegun;
use super::state::{Sidecar, TrackedSecret};
use crate::agent::handover::boot_time;
use crate::agent::token_file;
use crate::agent::validity::Validity;
use crate::agent::volume::RenderedFile;
use crate::plan::sidecar_log::NOT_REVOKED;
use crate::schedule::{self, Grant, Lifetime, Permit, SecretIndex, TokenNumber, Work};
use crate::vault::{LoginToken, Renewed, Revoked, Session, VaultError, VaultErrorKind, is_later};

/// The longest sleep.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The longest sleep during which the connection stays open: under a quota, the reads of one round follow each other with short
/// pauses.
const KEEP_CONNECTION: Duration = Duration::from_secs(1);

impl Sidecar<'_> {
    /// Works and sleeps, until a change restarts the containers.
    pub(super) async fn run(&mut self) -> RestartBegun {
        loop {
            while !self.stop.is_requested()
                && let Some(work) = self.schedule.due(boot_time())
            {
                self.execute(work).await;
            }
            if self.stop.is_requested() {
                return std::future::pending().await;
            }
            // A token that has ended needs no revocation.
            self.sessions.retain(|number, _| self.schedule.keeps(*number));
            let now = boot_time();
            if self.write_again.is_some_and(|at| at <= now) {
                self.publish();
            }
            self.write_status();
            if self.restarts_now() {
                return RestartBegun;
            }
            let pause = self.pause(now);
            // A proxy or firewall in between may drop an idle connection without a word.
            if pause > KEEP_CONNECTION {
                self.vault.close_connection();
            }
            sleep(pause).await;
            self.shown.remove_replaced();
        }
    }

    /// How long there is nothing to do.
    fn pause(&self, now: Duration) -> Duration {
        let after = |at: Duration| at.saturating_sub(now);
        let removal = self.shown.removal_due();
        let wakes = [
            Some(after(self.schedule.wake())),
            // The status must change then.
            self.schedule.worsens().map(after),
            self.write_again.map(after),
            self.restarts.as_ref().and_then(PlannedRestarts::wake).map(after),
            removal.map(|at| at.saturating_duration_since(Instant::now())),
        ];
        let pause = wakes.into_iter().flatten().min().unwrap_or(LONGEST);
        pause.min(LONGEST)
    }

    /// Revokes every token, and with it the leases of the token, all within the limit. Returns how many tokens may be left.
    pub(super) async fn revoke_all(&mut self, limit: Duration) -> usize {
        let end = Timer::now() + limit;
        let mut left = 0;
        // The token in use first.
        while let Some((_, session)) = self.sessions.pop_last() {
            left += revoke_at_end(&self.vault, &session, end.saturating_duration_since(Timer::now())).await;
        }
        left
    }

    async fn execute(&mut self, work: Work) {
        match work {
            Work::LoginIfNewer(_) if !self.has_newer_proof() => self.schedule.nothing_newer(boot_time()),
            Work::Login(number) | Work::LoginIfNewer(number) => {
                let result = self.log_in(number).await;
                self.schedule.logged_in(boot_time(), result);
            }
            Work::RenewToken => self.renew_token().await,
            Work::Read(sources) => self.read(&sources).await,
            Work::ReadLeased(source, permit) => self.read_leased(source, permit).await,
            Work::RenewLease(source) => self.renew_lease(source).await,
            Work::Revoke(number) => self.revoke_replaced(number).await,
        }
    }

    /// Whether the kubelet has replaced the service-account token of the last login.
    fn has_newer_proof(&self) -> bool {
        let proof = self.current_session().and_then(Session::proof);
        proof.is_some_and(|proof| is_later(&self.runtime.paths.token_file(), proof))
    }

    async fn log_in(&mut self, number: TokenNumber) -> Result<Grant, schedule::WorkFailure> {
        let token_file = self.runtime.paths.token_file();
        let result = self
            .vault
            .login(self.login, LoginToken::File(&token_file), self.stop)
            .await;
        let session = self.failures.note(None, "the login failed", result)?;
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
            self.failures.token_failed(
                "the login is of no use",
                "the role's token_num_uses is 1: such a token cannot be used and then revoked",
                "raise token_num_uses of the role, or set it to 0",
            );
            self.vault.revoke(&session, REQUEST).await;
            return Err(schedule::WorkFailure::Failed);
        }
        let grant = grant(&session, self.plan, self.login);
        session.keep_last_use();
        if let Some(file) = &self.plan.token_file {
            let RenderedFile { bytes, mode, .. } = token_file::rendered(file, &session);
            self.shown.put(&token_file::shown(file), bytes, mode);
            self.publish();
        }
        self.sessions.insert(number, session);
        self.current = number;
        // With the accessor of the new token. A killed sidecar may also have left the outcome out of date.
        self.write_outcome();
        Ok(grant)
    }

    async fn renew_token(&mut self) {
        let result = match self.current_session() {
            Some(session) => self.vault.renew_token(session).await.map(|renewed| Grant {
                ttl: renewed.ttl,
                renewable: renewed.renewable,
                uses: session.uses(),
                proof: None,
            }),
            None => Err(no_session()),
        };
        let result = self.failures.note(None, "the client token was not renewed", result);
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

    /// Reads secrets without leases, until a read shows that the server is away.
    async fn read(&mut self, sources: &[SecretIndex]) {
        let mut results = Vec::with_capacity(sources.len());
        for source in sources {
            let answer = match (self.secret(*source), self.current_session()) {
                (Some(secret), Some(session)) => self.vault.read_one(session, &secret.wanted).await,
                _ => Err(no_session()),
            };
            let result = self.take_in(*source, answer);
            results.push((*source, result));
            if matches!(
                result,
                Err(schedule::WorkFailure::Unavailable | schedule::WorkFailure::Throttled(_))
            ) {
                break;
            }
        }
        self.publish();
        let (asked, unread) = sources.split_at(results.len());
        let why = asked.last().and_then(|source| self.secret(*source)?.reason.clone());
        for source in unread {
            if let Some(secret) = self.secrets.get_mut(source.0) {
                secret.reason.clone_from(&why);
            }
        }
        self.schedule.read(boot_time(), &results);
        self.schedule.not_requested(unread);
    }

    /// Reads or writes a path that may make a new credential.
    async fn read_leased(&mut self, source: SecretIndex, permit: Permit) {
        // A request on a connection that the server has just closed would use up the permit.
        self.vault.close_connection();
        let (answer, unused) = match (self.secret(source), self.current_session()) {
            (Some(secret), Some(session)) => match self.vault.read_leased(session, &secret.wanted, permit).await {
                Ok(reading) => (Ok(reading), None),
                Err((error, permit)) => (Err(error), permit),
            },
            _ => (Err(no_session()), Some(permit)),
        };
        let result = self.take_in(source, answer);
        self.publish();
        if let Some(permit) = unused {
            self.schedule.return_permit(permit);
        }
        self.schedule.read(boot_time(), &[(source, result)]);
    }

    async fn renew_lease(&mut self, source: SecretIndex) {
        let result = match (self.secret(source), self.current_session()) {
            (
                Some(TrackedSecret {
                    wanted,
                    validity: Validity::Lease { id, .. },
                    ..
                }),
                Some(session),
            ) => self.vault.renew_lease(session, wanted.path.as_str(), id).await,
            _ => Err(no_session()),
        };
        let result = self.failures.note(Some(source), "a lease was not renewed", result);
        let result = result.map(|Renewed { ttl, renewable }| Lifetime::Lease { ttl, renewable });
        if result.is_ok()
            && let Some(secret) = self.secrets.get_mut(source.0)
        {
            secret.last_success = Some(SystemTime::now());
            secret.reason = None;
            tracing::debug!(secret = %secret.wanted.path, "lease renewed");
        }
        self.schedule.lease_renewed(boot_time(), source, result);
    }

    /// Revokes a token that another token has replaced.
    async fn revoke_replaced(&mut self, number: TokenNumber) {
        let revoked = match self.sessions.get(&number) {
            Some(session) => self.vault.revoke(session, REQUEST).await,
            None => Revoked::Yes,
        };
        let result = match revoked {
            Revoked::Yes | Revoked::Refused => Ok(()),
            Revoked::Unanswered => {
                self.failures.warn(NOT_REVOKED, "there was no answer", "");
                Err(schedule::WorkFailure::Unavailable)
            }
        };
        if result.is_ok() {
            self.sessions.remove(&number);
        }
        self.schedule.revoked(boot_time(), number, result);
    }
}

fn no_session() -> VaultError {
    VaultError::new(VaultErrorKind::Denied, "there is no client token", "")
}
