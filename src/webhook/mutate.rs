//! `POST /mutate`: from a request to its answer, its log line and its metrics.

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
use super::body::{self, HttpRefusal};
use super::connection::{HttpAnswer, OpenConnection, Responder};
use super::known_cluster::CurrentConfig;
use super::limits::{REQUEST_TIMEOUT, SMALL_BODY_BYTES, USUAL_ANSWER_BYTES};
use super::memo::Memo;
use super::metrics::{InvalidReason, Metrics};
use super::review::{MAX_PROBLEMS_BYTES, ReviewAnswer, ReviewError, bounded};
use crate::inject::RefusalReason;

/// Answers reviews. All requests share this value.
pub(super) struct Mutate {
    config: CurrentConfig,
    memo: Memo,
    metrics: Arc<Metrics>,
    account: Account,
    /// One permit, so that podkey decides only one large review at a time: the other threads stay free for usual reviews, and only
    /// one large decision needs memory.
    large: Semaphore,
    stopping: Arc<AtomicBool>,
}

impl Mutate {
    pub(super) fn new(config: CurrentConfig, metrics: Arc<Metrics>, stopping: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self {
            config,
            memo: Memo::default(),
            account: Account::new(&metrics.connections.account),
            metrics,
            large: Semaphore::new(1),
            stopping,
        })
    }
}

/// Counts a request in the gauge until dropped, which also happens when the connection is cut.
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

impl Responder for Arc<Mutate> {
    async fn answer(&self, connection: Arc<OpenConnection>, request: Request<Incoming>) -> HttpAnswer {
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
            // Moves the API server's connections to other replicas while this replica still serves.
            answer
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

impl Mutate {
    async fn mutate(&self, connection: &Arc<OpenConnection>, request: Request<Incoming>) -> HttpAnswer {
        let started = Instant::now();
        let _in_flight = InFlight::new(&self.metrics.in_flight);
        let deadline = tokio::time::Instant::from_std(started) + REQUEST_TIMEOUT;
        let body = match body::read(&self.account, connection, request, deadline).await {
            Ok(body) => body,
            Err(refusal) => return self.refuse(connection, refusal, started),
        };
        connection.deciding();
        match timeout_at(deadline, self.decide(connection, &body.bytes)).await {
            Ok(answer) => answer,
            Err(_) => self.refuse(connection, HttpRefusal::BUSY, started),
        }
    }

    /// Decides, and takes memory for the answer. A decision depends only on the review: if there is no memory for the answer,
    /// podkey drops the answer, waits for memory, and decides again.
    async fn decide(&self, connection: &Arc<OpenConnection>, body: &[u8]) -> HttpAnswer {
        let mut room: Option<Hold> = None;
        loop {
            let turn = match body.len() > SMALL_BODY_BYTES {
                true => self.large.acquire().await.ok(),
                false => None,
            };
            let started = Instant::now();
            // A panic is a bug of podkey and ends only this request.
            let answer = catch_unwind(AssertUnwindSafe(|| self.memo.answer(body, &self.config.load())));
            let duration = started.elapsed();
            drop(turn);
            let answer = match answer {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => return self.not_a_review(connection, &error, duration),
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
                        None => return self.refuse(connection, HttpRefusal::BUSY, started),
                    }
                }
            }
            connection.proved();
            return self.admit(connection, answer, room, duration);
        }
    }

    fn admit(
        &self,
        connection: &Arc<OpenConnection>,
        answer: ReviewAnswer,
        room: Option<Hold>,
        duration: Duration,
    ) -> HttpAnswer {
        let result = answer.outcome.result();
        self.metrics.admission(result, duration);
        if let Some(pod) = answer.pod() {
            self.metrics.pod(pod, &answer.log.namespace);
        }
        let (log, decision) = (&answer.log, result.as_str());
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
            reason = answer.outcome.reason().map(RefusalReason::as_str),
            problems,
            rules,
            connection = asker.map(|asker| asker.connection.as_str()),
            role = asker.map(|asker| asker.role.as_str()),
            service_account = asker.map(|asker| asker.service_account.as_str()),
            owner = asker.map(|asker| asker.owner.as_str()),
            duration_us = duration.as_micros() as u64,
            "admission"
        );
        let mut response = Response::new(body::answer_body(connection, answer.body, room));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    fn not_a_review(&self, connection: &Arc<OpenConnection>, error: &ReviewError, duration: Duration) -> HttpAnswer {
        tracing::warn!(%error, "not an admission request");
        self.metrics.invalid(InvalidReason::NotAReview, duration);
        plain(connection, StatusCode::BAD_REQUEST, format!("{error}\n"))
    }

    fn panicked(&self, connection: &Arc<OpenConnection>, duration: Duration) -> HttpAnswer {
        self.metrics.panics.inc();
        self.metrics.invalid(InvalidReason::Fault, duration);
        tracing::error!("podkey panicked on a request: please report it");
        plain(
            connection,
            StatusCode::INTERNAL_SERVER_ERROR,
            "podkey failed on this request\n",
        )
    }

    fn refuse(
        &self,
        connection: &Arc<OpenConnection>,
        HttpRefusal {
            status,
            reason,
            message,
        }: HttpRefusal,
        started: Instant,
    ) -> HttpAnswer {
        tracing::warn!(status = status.as_u16(), error = message, "request refused");
        self.metrics.invalid(reason, started.elapsed());
        plain(connection, status, format!("{message}\n"))
    }
}

/// An HTTP answer in plain text.
pub(super) fn plain(connection: &Arc<OpenConnection>, status: StatusCode, text: impl Into<String>) -> HttpAnswer {
    let mut response = Response::new(body::answer_body(connection, text.into().into_bytes(), None));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
