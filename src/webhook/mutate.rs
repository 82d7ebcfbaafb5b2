//! `POST /mutate`: from a request to its answer, its line in the log, and its place in the metrics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use super::account::{Account, Hold};
use super::body::{self, Refusal};
use super::connection::{Answer, Service};
use super::limits::{REQUEST_TIMEOUT, SMALL_BODY_BYTES, USUAL_ANSWER_BYTES};
use super::metrics::{AdmissionResult, Metrics};
use super::places::Connection;
use super::review::{self, MAX_PROBLEMS_BYTES, bounded};
use crate::inject::Config;

/// What all requests share.
pub(super) struct Mutate {
    config: Config,
    metrics: Arc<Metrics>,
    account: Account,
    /// One large review is decided at a time: the other threads are free for the usual ones, and what a decision takes
    /// besides the body is there once.
    large: Semaphore,
    stopping: Arc<AtomicBool>,
}

impl Mutate {
    pub(super) fn new(config: Config, metrics: Arc<Metrics>, stopping: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self {
            config,
            account: Account::new(&metrics.account),
            metrics,
            large: Semaphore::new(1),
            stopping,
        })
    }
}

/// Counts a request as long as it is there, also where its connection is cut.
struct InFlight<'a>(&'a Gauge);

impl<'a> InFlight<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// There is no room for what was asked for.
const BUSY: Refusal = Refusal(
    StatusCode::SERVICE_UNAVAILABLE,
    "podkey is overloaded: other clients send large reviews or do not read their answers. Try again; if this goes on, set networkPolicy.apiServerCidrs",
);

impl Service for Arc<Mutate> {
    async fn answer(&self, connection: Arc<Connection>, request: Request<Incoming>) -> Answer {
        let mut answer = match (request.uri().path(), request.method()) {
            ("/mutate", &Method::POST) => self.mutate(&connection, request).await,
            ("/mutate", _) => {
                let mut answer = plain(&connection, StatusCode::METHOD_NOT_ALLOWED, "");
                answer
                    .headers_mut()
                    .insert(header::ALLOW, HeaderValue::from_static("POST"));
                answer
            }
            _ => plain(&connection, StatusCode::NOT_FOUND, ""),
        };
        if self.stopping.load(Ordering::Relaxed) {
            // Moves the API server's open connections to the other replicas while we are still here.
            answer
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

impl Mutate {
    async fn mutate(&self, connection: &Arc<Connection>, request: Request<Incoming>) -> Answer {
        let started = Instant::now();
        let _in_flight = InFlight::new(&self.metrics.in_flight);
        let deadline = tokio::time::Instant::from_std(started) + REQUEST_TIMEOUT;
        let body = match timeout_at(deadline, body::read(&self.account, connection, request)).await {
            Ok(Ok(body)) => body,
            Ok(Err(refusal)) => return self.refuse(connection, refusal, started),
            Err(_) => {
                const LATE: Refusal = Refusal(
                    StatusCode::REQUEST_TIMEOUT,
                    "the body did not arrive in time, or there was no memory for it because other clients send large reviews: try again",
                );
                return self.refuse(connection, LATE, started);
            }
        };
        connection.deciding();
        match timeout_at(deadline, self.decide(connection, &body.bytes)).await {
            Ok(answer) => answer,
            Err(_) => self.refuse(connection, BUSY, started),
        }
    }

    /// Decides, and finds room for the answer. A decision is a function of the pod alone: an answer that finds no room is
    /// not kept until there is some, but made again.
    async fn decide(&self, connection: &Arc<Connection>, body: &[u8]) -> Answer {
        let mut room: Option<Hold> = None;
        loop {
            let turn = match body.len() > SMALL_BODY_BYTES {
                true => self.large.acquire().await.ok(),
                false => None,
            };
            let started = Instant::now();
            // A panic is our fault and this request's end; the others go on.
            let answer = catch_unwind(AssertUnwindSafe(|| review::answer(body, &self.config)));
            let duration = started.elapsed();
            drop(turn);
            let answer = match answer {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => return self.no_review(connection, &error, duration),
                Err(_) => return self.panicked(connection, duration),
            };
            let bytes = answer.body.capacity();
            if room.is_none() && bytes > USUAL_ANSWER_BYTES {
                room = self.account.answers.try_take(connection, bytes);
                if room.is_none() {
                    drop(answer);
                    room = self.account.answers.take(connection, bytes).await;
                    match room {
                        Some(_) => continue,
                        None => return self.refuse(connection, BUSY, started),
                    }
                }
            }
            connection.proved();
            return self.admit(connection, answer, room, duration);
        }
    }

    fn admit(
        &self,
        connection: &Arc<Connection>,
        answer: review::Answer,
        room: Option<Hold>,
        duration: Duration,
    ) -> Answer {
        self.metrics.admission(answer.result, duration);
        if let Some(pod) = answer.pod {
            self.metrics.pod(pod);
        }
        let (log, decision) = (&answer.log, answer.result.as_str());
        let short = |text: &'_ Option<String>| {
            text.as_deref()
                .map(|text| bounded(text, MAX_PROBLEMS_BYTES).into_owned())
        };
        let (problems, rules, asker) = (short(&log.problems), short(&log.rules), log.asker.as_ref());
        tracing::info!(
            uid = log.uid,
            namespace = log.namespace,
            name = log.name,
            decision,
            problems,
            rules,
            connection = asker.map(|asker| asker.connection.as_str()),
            role = asker.map(|asker| asker.role.as_str()),
            service_account = asker.map(|asker| asker.service_account.as_str()),
            owner = asker.map(|asker| asker.owner.as_str()),
            duration_us = duration.as_micros() as u64,
            "admission"
        );
        let mut response = Response::new(body::outgoing(connection, answer.body, room));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    fn no_review(&self, connection: &Arc<Connection>, error: &review::NoReview, duration: Duration) -> Answer {
        tracing::warn!(%error, "no admission request");
        self.metrics.admission(AdmissionResult::Invalid, duration);
        plain(connection, StatusCode::BAD_REQUEST, format!("{error}\n"))
    }

    fn panicked(&self, connection: &Arc<Connection>, duration: Duration) -> Answer {
        self.metrics.panics.inc();
        self.metrics.admission(AdmissionResult::Invalid, duration);
        tracing::error!("a request made podkey panic: please report it");
        plain(
            connection,
            StatusCode::INTERNAL_SERVER_ERROR,
            "podkey failed on this request\n",
        )
    }

    fn refuse(&self, connection: &Arc<Connection>, Refusal(status, message): Refusal, started: Instant) -> Answer {
        tracing::warn!(status = status.as_u16(), error = message, "no admission request");
        self.metrics.admission(AdmissionResult::Invalid, started.elapsed());
        plain(connection, status, format!("{message}\n"))
    }
}

/// An answer in plain text.
pub(super) fn plain(connection: &Arc<Connection>, status: StatusCode, text: impl Into<String>) -> Answer {
    let mut response = Response::new(body::outgoing(connection, text.into().into_bytes(), None));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
