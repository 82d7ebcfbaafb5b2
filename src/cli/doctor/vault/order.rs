//! The order of the checks: each login of the plan with its auth method, role, policies and secrets.

use std::time::Duration;

use tokio::time::timeout;

use super::examination::{Examination, PlannedLogin, Subject};
use super::login::{self, Session};
use super::mount::{self, MountLimits};
use super::role_data::Role;
use super::stop::Stop;
use super::wanted::{self, Wanted};
use super::{job, life, paths, policies, role, secrets};
use crate::cli::doctor::finding::Findings;

/// The time between a login and its revocation.
const SESSION: Duration = Duration::from_secs(60);

impl Examination<'_> {
    pub(super) async fn run(&self, stop: &Stop, findings: &mut Findings) {
        for login in self.logins() {
            let looked = async {
                let known = mount::check(self, &login, findings).await?;
                Some((role::check(self, &login, findings).await, known))
            };
            let Some(looked) = stop.or(looked).await else { return };
            let (role, limits) = match looked {
                Some((role, limits)) => (role, limits),
                None => (None, MountLimits::default()),
            };
            let wanted = wanted::of(self.plan, login.subject);
            role::check_uses(self, &login, role.as_ref(), &wanted, findings);
            self.run_login(&login, role.as_ref(), limits, wanted, stop, findings)
                .await;
        }
        job::check(self.plan, findings);
    }

    async fn run_login(
        &self,
        login: &PlannedLogin,
        role: Option<&Role>,
        limits: MountLimits,
        wanted: Vec<Wanted>,
        stop: &Stop,
        findings: &mut Findings,
    ) {
        // A login is never dropped half way: the doctor would not know its token.
        let session = match (login.subject, self.situation.login) {
            (Subject::Account, true) => login::log_in(self, login, role, findings).await,
            (Subject::Account, false) => {
                let message = "the login itself, and what its token may do: add --login";
                findings.unseen("vault-login", message, None);
                None
            }
            (Subject::Job, _) => None,
        };
        life::check(self, login, role, limits, session.as_ref(), findings);
        let examined = timeout(
            SESSION,
            self.with_session(login, role, session.as_ref(), wanted, findings),
        );
        if stop.or(examined).await.is_some_and(|examined| examined.is_err()) {
            findings.unseen("vault-path", "the server is slow: not all paths were examined", None);
        }
        if let Some(session) = session {
            login::revoke(self, session, findings).await;
        }
    }

    async fn with_session(
        &self,
        login: &PlannedLogin,
        role: Option<&Role>,
        session: Option<&Session>,
        wanted: Vec<Wanted>,
        findings: &mut Findings,
    ) {
        let located = paths::locate(self, session, wanted, findings).await;
        policies::check(self, login, role, session, &located, findings).await;
        secrets::check(self, &located, findings).await;
    }
}
