//! The API server, by kube's client: the Secret and the webhook configuration that podkey keeps, and Kubernetes' version.
//!
//! `connect` finds the API server, `call` names a call and words its error, `answer` judges each answer before kube
//! reads it, `secret`, `configuration` and `version` have the calls.

mod answer;
mod call;
mod configuration;
mod connect;
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

/// For one call, from connecting to the answer's last byte.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The name under which the API server lists what podkey has written (`metadata.managedFields`).
const FIELD_MANAGER: &str = "podkey";

/// The most that a clock may be wrong, in either direction. Where podkey's clock and the API server's clock differ by more,
/// every call fails: certificates must not be judged by such a clock.
pub(crate) const CLOCK_ERROR: Duration = Duration::from_secs(45 * 24 * 60 * 60);

/// The way to the API server.
///
/// Each call has a client of its own, and so a connection of its own: token and CA are read again where they are files,
/// which the kubelet renews, and between two calls no connection and no buffer stays in memory.
pub(crate) struct Cluster {
    config: Config,
    /// The clock that certificates go by.
    now: fn() -> SystemTime,
}

impl Cluster {
    /// Makes one call. `send` gets the client.
    async fn call<T>(&self, call: Call<'_>, send: impl AsyncFnOnce(Client) -> kube::Result<T>) -> Result<T, CallError> {
        let client = self.client().map_err(|error| call.failed(&error))?;
        match timeout(CALL_TIMEOUT, send(client)).await {
            Ok(answer) => answer.map_err(|error| call.failed(&error)),
            Err(_) => Err(call.unreachable(&format!(
                "no answer within {}",
                humantime::format_duration(CALL_TIMEOUT)
            ))),
        }
    }

    fn client(&self) -> kube::Result<Client> {
        let now = self.now;
        let judged = AndThenLayer::new(move |response| answer::judge(response, now()));
        Ok(ClientBuilder::try_from(self.config.clone())?
            .with_layer(&judged)
            .build())
    }
}
