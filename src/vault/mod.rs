//! How we speak to Vault and OpenBao: log in, read, revoke. Each verb retries by itself, as `classify` decides, within
//! the one [`Budget`] of the run. Knows nothing of files and formats.

mod answer;
mod classify;
mod dial;
mod error;
mod login;
mod retry;
mod transport;
mod trust;

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::{Duration, SystemTime};

use http::Method;
use http::header::HeaderValue;
use hyper::body::Bytes;
use tokio::time::{Instant, timeout, timeout_at};

pub use self::answer::Reading;
use self::classify::{Failure, Patience, Pause, Step, Verdict, classify};
pub use self::error::{Kind, VaultError, clean};
use self::login::ServiceAccountToken;
pub use self::retry::Budget;
use self::retry::Tries;
use self::transport::{Answered, Link, Outgoing, Transport, X_VAULT_INDEX, target};
use crate::plan::{ApiPath, Connection, Login};
use crate::secret::Secret;

/// All answers of one run together, in bytes.
const MAX_ANSWERS: usize = 8 * 1024 * 1024;
/// How many reads one connection is good for before another one is worth its handshake, and how many there may be.
const READS_PER_CONNECTION: usize = 8;
const MAX_CONNECTIONS: usize = 4;
/// The kubelet may be late with the token.
const TOKEN_PATIENCE: Duration = Duration::from_secs(10);

/// A server to speak to.
pub struct Vault {
    transport: Transport,
    budget: Budget,
    /// Kept between the verbs; taken out while one of them uses it.
    first: Cell<Link>,
    namespace: Option<String>,
}

/// What a login gives: the right to read, until it is revoked.
pub struct Session {
    token: Secret,
    index: Option<HeaderValue>,
    batch: bool,
    role: String,
    since: Instant,
    /// Names the token in the server's audit log.
    pub accessor: String,
    /// How long the token lasts.
    pub ttl: Duration,
    /// The policies it has.
    pub policies: Vec<String>,
    /// How often it may be used; 0 means without end.
    pub uses: u64,
}

/// One thing to read: a path, and a version where one is asked for.
pub type Wanted = (ApiPath, Option<u64>);

/// Lets a login that is under way finish although the run is to stop, so that its token can be revoked.
#[derive(Debug, Default)]
pub struct Stop {
    asked: Cell<bool>,
    in_login: Cell<bool>,
}

impl Stop {
    /// Nothing new is to begin.
    pub fn ask(&self) {
        self.asked.set(true);
    }

    /// Whether the run is to stop.
    pub fn is_asked(&self) -> bool {
        self.asked.get()
    }

    /// Whether a login request is on its way.
    pub fn in_login(&self) -> bool {
        self.in_login.get()
    }
}

impl Vault {
    /// Prepares to speak to the server; connects to nothing yet.
    pub fn new(connection: &Connection, budget: Budget) -> Result<Self, VaultError> {
        Ok(Self {
            transport: Transport::new(connection)?,
            budget,
            first: Cell::default(),
            namespace: connection.namespace.as_ref().map(ToString::to_string),
        })
    }

    /// Logs in with the service-account token in `token_file`, which is read anew for each try. With `stop` asked for
    /// there is no further try.
    pub async fn login(&self, login: &Login, token_file: &Path, stop: &Stop) -> Result<Session, VaultError> {
        let mut tries = Tries::new(self.budget, format!("the login at auth/{}", login.mount));
        let target = target(&format!("auth/{}/login", login.mount), None);
        loop {
            let verdict = match ServiceAccountToken::read(token_file) {
                Err(no) => Verdict::Retry(Pause::Jitter, Patience::For(TOKEN_PATIENCE), no.0),
                Ok(token) => {
                    if let Some(late) = token.expired(SystemTime::now()) {
                        tracing::warn!(
                            local_time = %humantime::format_rfc3339_seconds(SystemTime::now()),
                            "the service-account token expired {late} ago by the local clock"
                        );
                    }
                    let (method, body) = token.login_request(login)?;
                    let out = Outgoing {
                        method,
                        target: target.clone(),
                        body,
                        token: None,
                        index: None,
                    };
                    stop.in_login.set(true);
                    let tried = self.one_login(&out, login, &mut tries).await;
                    stop.in_login.set(false);
                    match tried? {
                        Ok(session) => return Ok(session),
                        Err(failure) => {
                            let identity = token.identity();
                            classify(
                                Step::Login {
                                    login,
                                    identity: &identity,
                                },
                                &failure,
                            )
                        }
                    }
                }
            };
            let verdict = self.with_namespace(verdict);
            if stop.is_asked() {
                return Err(tries.out_of_time());
            }
            tries.pause(verdict).await?;
        }
    }

    /// One try; the outer error is the end of the budget.
    async fn one_login(
        &self,
        out: &Outgoing<'_>,
        login: &Login,
        tries: &mut Tries,
    ) -> Result<Result<Session, Failure>, VaultError> {
        let mut link = self.first.take();
        let exchanged = timeout_at(self.budget.end(), self.transport.exchange(&mut link, out)).await;
        self.first.set(link);
        let answer = match exchanged {
            Err(_) => {
                token_may_be_lost();
                return Err(self.named(tries.out_of_time()));
            }
            Ok(Err(failed)) => {
                if failed.was_sent {
                    token_may_be_lost();
                }
                return Ok(Err(Failure::Transport(failed.error)));
            }
            Ok(Ok(answer)) => answer,
        };
        if answer.status != 200 {
            return Ok(Err(Failure::Refused(answer::refusal(&answer, "").into())));
        }
        let index = answer.headers.get(X_VAULT_INDEX).cloned();
        Ok(answer::auth(&answer).map(|auth| Session {
            token: auth.client_token,
            index,
            batch: auth.batch,
            role: login.role.to_string(),
            since: Instant::now(),
            accessor: auth.accessor,
            ttl: auth.ttl,
            policies: auth.policies,
            uses: auth.uses,
        }))
    }

    /// Reads all that is wanted, each once, over as few connections as are worth their handshakes. What does not exist
    /// has its error in its place; any other failure ends all reads, and so does the first one of that kind unless
    /// `allow_missing`.
    pub async fn read_all(
        &self,
        session: &Session,
        wanted: &[Wanted],
        allow_missing: bool,
    ) -> Result<Vec<Result<Reading, VaultError>>, VaultError> {
        let results: RefCell<Vec<Option<Result<Reading, VaultError>>>> =
            RefCell::new(wanted.iter().map(|_| None).collect());
        let next = Cell::new(0_usize);
        let taken = Cell::new(0_usize);
        let worker = async |link: &mut Link| -> Result<(), VaultError> {
            while let Some((path, version)) = wanted.get(next.get()) {
                let index = next.replace(next.get() + 1);
                let result = self.read(link, session, path, *version).await;
                match &result {
                    Ok(reading) => taken.set(taken.get() + reading.size()),
                    Err(error) if error.kind == Kind::NotFound && allow_missing => {}
                    Err(error) => return Err(error.clone()),
                }
                if taken.get() > MAX_ANSWERS {
                    return Err(VaultError::new(
                        Kind::NotVault,
                        "the answers together are larger than 8 MiB",
                        "podkey takes 4 MiB in one answer and 8 MiB in all",
                    ));
                }
                if let Some(place) = results.borrow_mut().get_mut(index) {
                    *place = Some(result);
                }
            }
            Ok(())
        };
        let connections = wanted.len().div_ceil(READS_PER_CONNECTION).min(MAX_CONNECTIONS);
        let extra = async |number: usize| match number < connections {
            true => worker(&mut Link::default()).await,
            false => Ok(()),
        };
        let mut first = self.first.take();
        let ended = tokio::try_join!(worker(&mut first), extra(1), extra(2), extra(3));
        self.first.set(first);
        ended?;
        Ok(results.into_inner().into_iter().flatten().collect())
    }

    async fn read(
        &self,
        link: &mut Link,
        session: &Session,
        path: &ApiPath,
        version: Option<u64>,
    ) -> Result<Reading, VaultError> {
        let mut tries = Tries::new(self.budget, format!("the read of {path}"));
        let out = Outgoing {
            method: Method::GET,
            target: target(path.as_str(), version),
            body: Bytes::new(),
            token: Some(&session.token),
            index: session.index.as_ref(),
        };
        loop {
            let failure = match timeout_at(self.budget.end(), self.transport.exchange(link, &out)).await {
                Err(_) => return Err(self.named(tries.out_of_time())),
                Ok(Err(failed)) => Failure::Transport(failed.error),
                Ok(Ok(answer)) => match reading(answer, path) {
                    Ok(reading) => return Ok(reading),
                    Err(failure) => failure,
                },
            };
            let step = Step::Read {
                path: path.as_str(),
                version,
                role: &session.role,
                since_login: session.since.elapsed(),
            };
            tries.pause(self.with_namespace(classify(step, &failure))).await?;
        }
    }

    /// Gives the token back: one try, within the limit. Whether it worked changes nothing but the log.
    pub async fn revoke(&self, session: &Session, limit: Duration) {
        if session.batch {
            return;
        }
        // vaultrs's RevokeTokenSelfRequest has a tab in front of its path, which makes another path of it.
        let out = Outgoing {
            method: Method::POST,
            target: target("auth/token/revoke-self", None),
            body: Bytes::new(),
            token: Some(&session.token),
            index: None,
        };
        // After a signal in the middle of an exchange this is a new connection: the old one is of no use.
        let mut link = self.first.take();
        let outcome = timeout(limit, self.transport.exchange(&mut link, &out)).await;
        let accessor = session.accessor.as_str();
        match outcome {
            Ok(Ok(answer)) if matches!(answer.status, 200..300) => tracing::debug!(accessor, "client token revoked"),
            Ok(Ok(answer)) => tracing::warn!(
                accessor,
                status = answer.status,
                ttl_s = session.ttl.as_secs(),
                "the client token could not be revoked: it lasts until its TTL"
            ),
            Ok(Err(_)) | Err(_) => tracing::warn!(
                accessor,
                ttl_s = session.ttl.as_secs(),
                "no answer to the revocation of the client token: it may last until its TTL"
            ),
        }
    }

    fn with_namespace(&self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Fatal(error) => Verdict::Fatal(self.named(error)),
            Verdict::Retry(pause, patience, error) => Verdict::Retry(pause, patience, self.named(error)),
        }
    }

    /// A wrong namespace looks like a missing path or a missing right: it is named where that could be.
    fn named(&self, mut error: VaultError) -> VaultError {
        if let Some(namespace) = &self.namespace
            && matches!(error.kind, Kind::Denied | Kind::NotFound)
            && !error.hint.contains("(namespace ")
        {
            error.hint = format!("{} (namespace {namespace})", error.hint)
                .trim_start()
                .to_owned();
        }
        error
    }
}

fn reading(answer: Answered, path: &ApiPath) -> Result<Reading, Failure> {
    match answer.status {
        200 => answer::reading(answer, path.as_str()),
        201..300 => Err(Failure::Nonsense("it is empty")),
        _ => Err(Failure::Refused(answer::refusal(&answer, path.as_str()).into())),
    }
}

fn token_may_be_lost() {
    tracing::warn!("a login had no whole answer: the server may have made a client token that lasts until its TTL");
}
