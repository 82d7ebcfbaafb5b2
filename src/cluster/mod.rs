//! The API server, by kube's client: the Secret and the webhook configuration that podkey keeps, Kubernetes' version, and the nodes.
//!
//! `connect` finds the API server, `call` has the names and the errors of the calls, `answer` checks each answer before kube reads
//! the answer, and `secret`, `configuration`, `version` and `nodes` have the calls.

mod answer;
mod call;
mod configuration;
mod connect;
mod nodes;
mod secret;
#[cfg(test)]
mod tests;
mod version;

use std::time::{Duration, SystemTime};

use kube::Client;
use kube::client::ClientBuilder;
use kube::config::Config;
use tokio::time::timeout;
use tower::util::AndThenLayer;

use call::Call;

pub(crate) use call::{CallError, CallErrorKind};
pub use connect::ClusterError;
pub(crate) use secret::StoredSecret;
#[cfg(test)]
pub(crate) use tests::answering;

/// The time limit of one call, from the connection to the answer's last byte.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The name under which the API server lists what podkey has written (`metadata.managedFields`).
const FIELD_MANAGER: &str = "podkey";

/// The most that a clock may be wrong, in either direction. Where podkey's clock and the API server's clock differ by more,
/// every call fails: certificates must not be judged by such a clock.
pub(crate) const CLOCK_ERROR: Duration = Duration::from_secs(45 * 24 * 60 * 60);

/// Access to the API server.
///
/// Each call has a new client, and so a new connection. Each client reads token and CA from their files, which the kubelet renews.
/// Between two calls no connection and no buffer stays in memory.
pub(crate) struct Cluster {
    config: Config,
    /// The clock for the validity of certificates.
    now: fn() -> SystemTime,
}

impl Cluster {
    /// Makes one call. `send` gets the client.
    async fn call<T>(&self, call: Call<'_>, send: impl AsyncFnOnce(Client) -> kube::Result<T>) -> Result<T, CallError> {
        let client = self.client().map_err(|error| call.failed(&error))?;
        in_time(call, send(client)).await
    }

    fn client(&self) -> kube::Result<Client> {
        let now = self.now;
        let judged = AndThenLayer::new(move |response| answer::judge(response, now()));
        Ok(ClientBuilder::try_from(self.config.clone())?
            .with_layer(&judged)
            .build())
    }
}

/// The answer, or the error of a call that failed or took too long.
async fn in_time<T>(call: Call<'_>, answer: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    match timeout(CALL_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|error| call.failed(&error)),
        Err(_) => Err(call.unreachable(&format!(
            "no answer within {}",
            humantime::format_duration(CALL_TIMEOUT)
        ))),
    }
}
