//! How we speak to Vault and OpenBao: log in, read or write, renew, revoke. Each verb retries by itself, as `classify` decides, within
//! the one [`Deadline`] of the run, or tries once, as that says. Knows nothing of files and formats.
//!
//! GitHub, asked for the token that a job logs in with, is the one other server.
//!
//! Few requests are all we make of Vault, so the transport is our own, and of vaultrs not even the types are used: those of its
//! login print the JWT in `Debug` and build another path than Vault's, and that of its revocation has a tab in its path.

mod answer;
mod batch;
mod certificate;
mod classify;
mod dial;
mod error;
mod explain;
mod github;
mod judge;
mod lifetime;
mod login;
mod peer;
mod proxy;
mod redact;
mod renew;
mod retry;
mod session;
mod transport;
mod trust;

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use http::Method;
use hyper::body::Bytes;
use tokio::time::{timeout, timeout_at};

pub(crate) use self::answer::{Reading, Renewed};
use self::batch::Hurry;
pub(crate) use self::batch::Readings;
use self::classify::{FailedTry, Patience, Pause, Step, Verdict, classify, has_data_segment};
use self::error::Head;
pub(crate) use self::error::{Kind, VaultError, clean};
pub(crate) use self::github::IdTokenSource;
pub(crate) use self::login::{Credential, Jwt, is_later};
pub(crate) use self::proxy::ProxyVariables;
pub(crate) use self::retry::Deadline;
use self::retry::Tries;
pub(crate) use self::session::{Handed, Session};
use self::transport::{Answered, Link, Outgoing, Transport, X_VAULT_INDEX, target};
use crate::plan::{ApiPath, Connection, Data, Login};
use crate::schedule::Permit;

/// The kubelet may be late with the token.
const TOKEN_PATIENCE: Duration = Duration::from_secs(10);

/// How much longer than the run itself a login may take that the server has: without its answer nobody could revoke the token.
pub(crate) const LOGIN_GRACE: Duration = Duration::from_millis(800);

/// A server to speak to.
pub(crate) struct Vault {
    transport: Transport,
    deadline: Deadline,
    /// Kept between the verbs; taken out while one of them uses it.
    first: Cell<Link>,
    namespace: Option<String>,
    /// How many failures were looked into.
    explained: Cell<u32>,
}

/// One thing to ask for: equal ones are asked for once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    /// Where.
    pub path: ApiPath,
    /// Which version, where one is asked for.
    pub version: Option<u64>,
    /// What the path is written with, where it is not read: the answer is the secret.
    pub data: Option<Data>,
}

impl Wanted {
    /// Whether reading it may make a new credential, for all that can be told before it was ever read: not where the path
    /// looks like a KV v2 engine's.
    pub(crate) fn may_mint(&self) -> bool {
        self.data.is_some() || !has_data_segment(self.path.as_str())
    }
}

/// What came of giving a token back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Revoked {
    /// It is gone, and its leases with it.
    Yes,
    /// It cannot be revoked, or had ended before.
    Refused,
    /// The server may not know of it.
    Unanswered,
}

/// How often a server may carry a request out, and whether it may have.
struct Asking {
    repeatable: bool,
    sent: Cell<bool>,
}

impl Asking {
    fn again() -> Self {
        Self {
            repeatable: true,
            sent: Cell::new(false),
        }
    }

    fn once() -> Self {
        Self {
            repeatable: false,
            ..Self::again()
        }
    }
}

/// Lets a login that is under way finish although the run is to stop, so that its token can be revoked.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    asked: Cell<bool>,
    login_sent: Cell<bool>,
    token_lost: Cell<bool>,
}

impl Stop {
    /// Nothing new is to begin.
    pub(crate) fn ask(&self) {
        self.asked.set(true);
    }

    /// Whether the run is to stop.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.get()
    }

    /// Whether the server may be making a client token: it has a login, and has not answered.
    pub(crate) fn in_login(&self) -> bool {
        self.login_sent.get()
    }

    /// Whether the server may have made a client token that never came.
    pub(crate) fn token_may_be_lost(&self) -> bool {
        self.token_lost.get()
    }
}

/// A login from its first byte to its whole answer. Dropped in between, by whatever ends it, it warns of the token.
struct Pending<'a> {
    stop: &'a Stop,
    deadline: Deadline,
}

impl Pending<'_> {
    fn answered(self) {
        self.stop.login_sent.set(false);
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.stop.login_sent.replace(false) {
            self.stop.token_lost.set(true);
            self.deadline.warn(format_args!(
                "a login had no whole answer: the server may have made a client token that lasts until its TTL"
            ));
        }
    }
}

impl Vault {
    /// Prepares to speak to the server; connects to nothing yet.
    pub(crate) fn new(connection: &Connection, deadline: Deadline) -> Result<Self, VaultError> {
        Ok(Self {
            transport: Transport::new(connection)?,
            deadline,
            first: Cell::default(),
            namespace: connection.namespace.as_ref().map(ToString::to_string),
            explained: Cell::new(0),
        })
    }

    /// The same with a text on every request that the server can put into its audit log (`X-Correlation-ID`, which must be
    /// among its audited headers). What fits into no header is left out.
    pub(crate) fn correlated(mut self, text: &str) -> Self {
        self.transport.correlate(text);
        self
    }

    /// Logs in. With `stop` asked for there is no further try.
    pub(crate) async fn login(
        &self,
        login: &Login,
        credential: Credential<'_>,
        stop: &Stop,
    ) -> Result<Session, VaultError> {
        let mut tries = Tries::new(self.deadline, format!("the login at auth/{}", login.mount));
        let target = target(&format!("auth/{}/login", login.mount), None);
        loop {
            let read;
            let token = match credential {
                Credential::Token(token) => Ok(token),
                Credential::File(file) => match Jwt::read(file) {
                    Ok(token) => {
                        read = token;
                        Ok(&read)
                    }
                    Err(no) => Err(no),
                },
            };
            let verdict = match token {
                Err(no) => Verdict::Retry(Pause::Jitter, Patience::For(TOKEN_PATIENCE), no.0),
                Ok(token) => {
                    if let Some(late) = token.expired(SystemTime::now()) {
                        tracing::warn!(
                            local_time = %humantime::format_rfc3339_seconds(SystemTime::now()),
                            "the token to log in with expired {late} ago by the local clock"
                        );
                    }
                    let out = Outgoing {
                        method: Method::POST,
                        target: target.clone(),
                        body: token.login_body(&login.role)?,
                        token: None,
                        jwt: Some(token.secret()),
                        index: None,
                        repeatable: false,
                        sent: &stop.login_sent,
                    };
                    match self.one_login(&out, login, token, &mut tries, stop).await? {
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
        with: &Jwt,
        tries: &mut Tries,
        stop: &Stop,
    ) -> Result<Result<Session, FailedTry>, VaultError> {
        let pending = Pending {
            stop,
            deadline: self.deadline,
        };
        let mut link = self.first.take();
        let exchanged = {
            let mut exchange = std::pin::pin!(self.transport.exchange(&mut link, out));
            match timeout_at(self.deadline.end(), &mut exchange).await {
                // Only its answer tells which token is to be revoked.
                Err(_) if stop.in_login() => timeout(LOGIN_GRACE, exchange).await,
                exchanged => exchanged,
            }
        };
        self.first.set(link);
        let answer = match exchanged {
            Err(_) => return Err(self.named(tries.out_of_time())),
            Ok(Err(error)) => return Ok(Err(FailedTry::Transport(error))),
            Ok(Ok(answer)) => answer,
        };
        pending.answered();
        if answer.status != 200 {
            return Ok(Err(FailedTry::Refused(answer::refusal(&answer, "").into())));
        }
        let index = answer.headers.get(X_VAULT_INDEX).cloned();
        let auth = answer::auth(&answer).map_err(|failure| failure.of(answer::head(&answer)));
        Ok(auth.map(|auth| Session::new(auth, login.role.to_string(), index, with.expiry())))
    }

    /// Reads one thing, over the connection that is kept between the verbs.
    pub(crate) async fn read_one(&self, session: &Session, wanted: &Wanted) -> Result<Reading, VaultError> {
        let mut link = self.first.take();
        let result = self.read(&mut link, session, wanted, &Asking::again(), None).await;
        self.first.set(link);
        result
    }

    /// Reads what may make a new credential: one request for one permit, which comes back where no credential can have come
    /// of it.
    pub(crate) async fn read_leased(
        &self,
        session: &Session,
        wanted: &Wanted,
        permit: Permit,
    ) -> Result<Reading, (VaultError, Option<Permit>)> {
        let asking = Asking::once();
        let mut link = self.first.take();
        let result = self.read(&mut link, session, wanted, &asking, None).await;
        self.first.set(link);
        result.map_err(|error| (error, (!asking.sent.get()).then_some(permit)))
    }

    async fn read(
        &self,
        link: &mut Link,
        session: &Session,
        wanted: &Wanted,
        asking: &Asking,
        hurry: Option<&Hurry>,
    ) -> Result<Reading, VaultError> {
        let (method, body) = match &wanted.data {
            None => (Method::GET, Bytes::new()),
            // Texts, and lists and sets of them: nothing in it can fail.
            Some(data) => (Method::POST, serde_json::to_vec(data).unwrap_or_default().into()),
        };
        let out = Outgoing {
            method,
            target: target(wanted.path.as_str(), wanted.version),
            body,
            token: Some(&session.token),
            jwt: None,
            index: session.index.as_ref(),
            repeatable: asking.repeatable && wanted.data.is_none(),
            sent: &asking.sent,
        };
        let step = |lost| Step::Read {
            wanted,
            role: &session.role,
            since_login: session.age(),
            lost,
        };
        let reading = self
            .ask(link, session, &out, hurry, step, |answer| {
                // What is refused so has not been carried out.
                if matches!(answer.status, 300..=499 | 501 | 503) {
                    asking.sent.set(false);
                }
                reading(answer, wanted)
            })
            .await?;
        if reading.has_lease() {
            session.keep_last_use();
        }
        Ok(reading)
    }

    /// Asks until there is an answer that makes sense, or a failure that ends the tries.
    async fn ask<'s, T>(
        &self,
        link: &mut Link,
        session: &Session,
        out: &Outgoing<'_>,
        hurry: Option<&Hurry>,
        step: impl Fn(u32) -> Step<'s>,
        take: impl Fn(Answered) -> Result<T, FailedTry>,
    ) -> Result<T, VaultError> {
        let mut tries = Tries::new(self.deadline, step(0).to_string());
        // Answers of a server that may have done what must not be done twice.
        let mut lost = 0;
        let mut last: Option<VaultError> = None;
        loop {
            // Why the last try failed says more than that there can be no further one.
            session.spend().map_err(|used_up| match last.take() {
                Some(error) => VaultError {
                    message: format!("{}; no further try: {}", error.message, used_up.message),
                    hint: match error.kind {
                        Kind::Denied => error.hint,
                        _ => used_up.hint,
                    },
                    ..used_up
                },
                None => used_up,
            })?;
            out.sent.set(false);
            let answered = timeout_at(self.deadline.end(), self.transport.exchange(link, out)).await;
            if !matches!(answered, Ok(Ok(_))) && !out.repeatable && out.sent.get() {
                lost += 1;
                self.deadline.warn(format_args!(
                    "{} had no whole answer: the server may have made a secret that nobody has, until its TTL ends",
                    step(lost)
                ));
            }
            let counted = match &answered {
                // A server that is not the active one, or limits the rate of requests, has not looked at the token.
                Ok(Ok(answer)) => !matches!(answer.status, 300..400 | 429 | 472 | 473 | 501 | 503),
                _ => out.sent.get(),
            };
            if !counted {
                session.unspend();
            }
            let failure = match answered {
                Err(_) => return Err(self.named(tries.out_of_time())),
                Ok(Err(error)) => FailedTry::Transport(error),
                Ok(Ok(answer)) => {
                    let head = answer::head(&answer);
                    match take(answer) {
                        Ok(taken) => return Ok(taken),
                        Err(failure) => failure.of(head),
                    }
                }
            };
            let verdict = self.with_namespace(classify(step(lost), &failure));
            if let Verdict::Retry(_, _, error) = &verdict {
                last = Some(error.clone());
            }
            match hurry {
                None => tries.pause(verdict).await?,
                Some(hurry) => hurry.pause(&mut tries, verdict).await?,
            }
        }
    }

    /// Closes the connection that is kept between the verbs.
    pub(crate) fn hang_up(&self) {
        self.first.set(Link::default());
    }

    /// Gives the token back: one try, within the limit.
    pub(crate) async fn revoke(&self, session: &Session, limit: Duration) -> Revoked {
        if session.batch {
            return Revoked::Refused;
        }
        let out = Outgoing {
            method: Method::POST,
            target: target("auth/token/revoke-self", None),
            body: Bytes::new(),
            token: Some(&session.token),
            jwt: None,
            index: None,
            repeatable: true,
            sent: &Cell::default(),
        };
        // After a signal in the middle of an exchange this is a new connection: the old one is of no use.
        let mut link = self.first.take();
        let outcome = timeout(limit, self.transport.exchange(&mut link, &out)).await;
        let accessor = session.accessor.as_str();
        match outcome {
            Ok(Ok(answer)) if matches!(answer.status, 200..300) && answer::is_word(&answer) => {
                tracing::debug!(accessor, "client token revoked");
                Revoked::Yes
            }
            Ok(Ok(_)) if session.is_used_up() => {
                tracing::debug!(accessor, "the client token has ended with its last use");
                Revoked::Yes
            }
            Ok(Ok(answer)) => {
                let refusal = answer::refusal(&answer, "");
                tracing::warn!(
                    accessor,
                    reason = refusal.words(),
                    from_server = refusal.from_vault,
                    ttl_s = session.ttl.as_secs(),
                    "the client token could not be revoked: it lasts until its TTL"
                );
                Revoked::Refused
            }
            Ok(Err(_)) | Err(_) => {
                // Who may try again tells of it himself.
                if let Deadline::Run(..) = self.deadline {
                    session.may_last();
                }
                Revoked::Unanswered
            }
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
            && matches!(error.kind, Kind::Denied | Kind::NotFound | Kind::NoEngine)
            && !error.hint.contains("(namespace ")
        {
            error.hint = format!("{} (namespace {namespace})", error.hint)
                .trim_start()
                .to_owned();
        }
        error
    }
}

fn reading(answer: Answered, wanted: &Wanted) -> Result<Reading, FailedTry> {
    match answer.status {
        200 => answer::reading(answer, wanted),
        201..300 if wanted.data.is_none() => Err(FailedTry::Nonsense("it is empty", Head::default())),
        // As it is with most paths that take a write.
        _ => Err(FailedTry::Refused(
            answer::refusal(&answer, wanted.path.as_str()).into(),
        )),
    }
}
