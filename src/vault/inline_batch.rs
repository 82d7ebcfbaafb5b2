//! Reads everything that a run wants with inline authentication, as far as that serves.

use super::Vault;
use super::batch::Readings;
use super::error::VaultError;
use super::inline::{InlineLogin, log_why_session};
use super::login::LoginToken;
use super::wanted::Wanted;
use crate::plan::Login;

/// With more paths, the run logs in once: each inline read is a login, with the method kubernetes also a TokenReview at the API server.
/// Fewer paths are never worth a client token where the server has to write tokens down: with a raft on disk, 16 inline reads take 0.3 of
/// a session's time, and 0.8 of its CPU at the server. (In memory, a session costs less from eight paths on. Measured with OpenBao 2.7.2.)
const MOST_INLINE: usize = 64;

impl Vault {
    /// Reads the paths, one after another over one connection, each with a login of its own. None in the readings: a session must
    /// read this path, unless another path has failed. Errors: the login was refused, or the server does not answer.
    pub(crate) async fn read_all_inline(
        &self,
        login: &Login,
        token: LoginToken<'_>,
        wanted: &[Wanted],
        allow_missing: bool,
    ) -> Result<Readings, VaultError> {
        if let Some(why) = self.why_no_inline(wanted) {
            log_why_session(why);
            return Ok(wanted.iter().map(|_| None).collect());
        }
        let inline = InlineLogin::new(login, token);
        let readings = self.read_batch_inline(&inline, wanted, allow_missing).await;
        match inline.into_failure() {
            Some(error) => Err(error),
            None => Ok(readings),
        }
    }

    fn why_no_inline(&self, wanted: &[Wanted]) -> Option<&'static str> {
        if self.looks_up_mounts() {
            // Tried with OpenBao 2.7.2: 403.
            Some("the server looks up mounts for client tokens only")
        } else if wanted.len() > MOST_INLINE {
            Some("each path is a login then, and there are more than 64 paths")
        } else if wanted.iter().any(Wanted::probably_mints) {
            Some(
                "a path is written, or has the segment creds, sts, roleset or static-account, as engines with leases have, and \
                 inline authentication gives no lease",
            )
        } else {
            None
        }
    }
}
