//! Kubernetes' version, as the API server reports it.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Cluster;
use super::call::{Call, CallErrorKind};

/// The time limit of all tries together. podkey serves nothing before their end.
pub(super) const VERSION_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause between two tries.
pub(super) const VERSION_PAUSE: Duration = Duration::from_millis(500);

impl Cluster {
    /// The `gitVersion`, such as `v1.33.5+k3s1`. Retries until the API server answers or [`VERSION_TIMEOUT`] is over.
    ///
    /// # Errors
    ///
    /// The reason for the log.
    pub(crate) async fn version(&self) -> Result<String, String> {
        let mut why = "no answer".to_owned();
        let answered = timeout(VERSION_TIMEOUT, async {
            loop {
                let answer = self.call(Call::GetVersion, async |client| client.apiserver_version().await);
                match answer.await {
                    Ok(info) => break Ok(info.git_version),
                    Err(error) if error.kind == CallErrorKind::Unreachable => why = error.message,
                    Err(error) => break Err(error.message),
                }
                sleep(VERSION_PAUSE).await;
            }
        });
        answered.await.unwrap_or(Err(why))
    }
}
