//! Which clients keep their connections when there are more than the table holds: from outside, over real sockets and TLS.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::support::webhook::{Connection, Webhook, eventually, tcp_from};
use super::{bytes, pod, review};

/// More connections than the table holds.
const MANY: usize = 1100;

fn answers(connection: &mut Connection) -> bool {
    connection.post(&bytes(&review(pod()))).status == 200
}

fn cuts(webhook: &Webhook, reason: &str) -> f64 {
    webhook.metric(&format!("podkey_connection_cuts_total{{reason=\"{reason}\"}}"))
}

#[test]
fn idle_connections_do_not_keep_a_new_client_out() {
    let webhook = Webhook::start();
    let mut first = webhook.connect();
    assert!(answers(&mut first));
    let idle: Vec<_> = (0..MANY).map(|_| webhook.connect()).collect();
    for _ in 0..20 {
        assert!(answers(&mut webhook.connect()));
    }
    assert!(answers(&mut first), "a proven connection stays");
    // On a slow machine, podkey cuts some of these connections earlier, because no request came.
    assert!(cuts(&webhook, "no_place") + cuts(&webhook, "unproven") >= 700.0);
    // The oldest made room.
    assert!(!idle[0].is_open());
    assert!(idle[MANY - 30].is_open());
    assert_eq!(webhook.admin_get("/healthz").status, 200);
    assert!(webhook.metric("podkey_connections_open") <= 352.0);
}

#[test]
fn half_open_and_stalled_connections_do_not_keep_a_new_client_out() {
    let webhook = Webhook::start();
    let mut first = webhook.connect();
    assert!(answers(&mut first));
    let silent: Vec<_> = (0..MANY).map(|_| TcpStream::connect(webhook.listen).unwrap()).collect();
    let stalled: Vec<_> = (0..100)
        .map(|_| {
            let mut connection = webhook.connect();
            connection
                .write(b"POST /mutate HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 8000000\r\n\r\n{")
                .unwrap();
            connection
        })
        .collect();
    for _ in 0..20 {
        assert!(answers(&mut webhook.connect()));
    }
    assert!(answers(&mut first));
    drop((silent, stalled));
}

#[test]
fn a_connection_without_a_valid_review_is_cut_after_seconds() {
    let webhook = Webhook::start();
    let mut proven = webhook.connect();
    assert!(answers(&mut proven));
    let idle = webhook.connect();
    let silent = TcpStream::connect(webhook.listen).unwrap();
    // An answer does not prove the connection: the request was not a review.
    let mut other = webhook.connect();
    assert_eq!(other.request("GET /", "", b"").status, 404);
    eventually("handshake", || cuts(&webhook, "handshake") == 1.0);
    eventually("unproven", || cuts(&webhook, "unproven") == 2.0);
    assert!(!idle.is_open() && !other.is_open());
    assert!(answers(&mut proven));
    drop(silent);
}

#[test]
fn an_address_with_many_proven_connections_does_not_fill_the_table() {
    let webhook = Webhook::start();
    let mut first = webhook.connect();
    assert!(answers(&mut first));
    // The address loses only the connections that it has beyond the others.
    let mut hogs: Vec<_> = (0..450)
        .map(|_| {
            let mut connection = webhook.connect_from("127.0.0.2");
            assert!(answers(&mut connection));
            connection
        })
        .collect();
    let mut others: Vec<_> = (0..100).map(|_| webhook.connect()).collect();
    // A quarter of the table is for unproven connections.
    for other in others.iter_mut().skip(20) {
        assert!(answers(other));
    }
    for other in others.iter_mut().skip(20) {
        assert!(answers(other), "an address with few connections lost one");
    }
    assert!(answers(&mut first));
    assert!(!hogs[0].is_open());
    assert!(answers(hogs.last_mut().unwrap()));
}

#[test]
fn new_connections_do_not_cut_each_other_while_one_address_holds_all_that_it_can() {
    let webhook = Webhook::start();
    let _hogs: Vec<_> = (0..352)
        .map(|_| {
            let mut connection = webhook.connect_from("127.0.0.2");
            assert!(answers(&mut connection));
            connection
        })
        .collect();
    // A new connection that is slower than fifty others.
    let mut slow = webhook.connect();
    let flood: Vec<_> = (0..50).map(|_| webhook.connect_from("127.0.0.3")).collect();
    assert!(answers(&mut slow));
    drop(flood);
}

#[test]
fn connections_that_end_leave_the_table() {
    let webhook = Webhook::start();
    let idle: Vec<_> = (0..100).map(|_| webhook.connect()).collect();
    assert_eq!(webhook.metric("podkey_connections_open"), 100.0);
    drop(idle);
    eventually("an empty table", || webhook.metric("podkey_connections_open") == 0.0);
    assert_eq!(cuts(&webhook, "no_place"), 0.0);
}

#[test]
fn a_soft_limit_of_1024_files_is_raised() {
    let (_, hard) = Webhook::start().open_files_limit();
    let webhook = Webhook::start_after("ulimit -S -n 1024");
    assert_eq!(webhook.open_files_limit(), (hard.clone(), hard.clone()));
    if hard != "unlimited" {
        assert_eq!(webhook.serving["open_files"].to_string(), hard);
    }
    assert_eq!(webhook.serving["most_clients"], 352);
}

#[test]
fn under_a_hard_limit_of_files_podkey_serves_fewer_connections() {
    let webhook = Webhook::start_after("ulimit -n 200");
    let most = webhook.serving["most_clients"].as_u64().unwrap();
    assert!(most < 120, "{most}");
    let idle: Vec<_> = (0..MANY).map(|_| TcpStream::connect(webhook.listen).unwrap()).collect();
    let probes: Vec<_> = (0..100).map(|_| TcpStream::connect(webhook.admin).unwrap()).collect();
    assert_eq!(webhook.admin_get("/healthz").status, 200);
    for _ in 0..20 {
        assert!(answers(&mut webhook.connect()));
    }
    assert!(!webhook.log().iter().any(|line| line.contains("cannot accept")));
    drop((idle, probes));
}

#[test]
fn too_few_files_neither_stop_the_server_nor_keep_a_core_busy() {
    let webhook = Webhook::start_after("ulimit -n 24");
    let idle: Vec<_> = (0..40)
        .map(|_| tcp_from("127.0.0.2", webhook.listen).unwrap())
        .collect();
    webhook.wait_for_log("cannot accept a connection");
    drop(idle);
    eventually("an answer", || {
        let connection = webhook.try_connect(&["http/1.1"]);
        connection.is_ok_and(|mut connection| answers(&mut connection))
    });
    let log = webhook.log();
    let lines = log.iter().filter(|line| line.contains("cannot accept")).count();
    assert!(lines < 5, "{lines} lines");
}

/// An API server has at most so many changes under way (`--max-mutating-requests-inflight`).
#[test]
fn two_hundred_reviews_at_once_are_all_answered_while_another_address_floods() {
    let webhook = Webhook::start();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut silent = VecDeque::new();
            while !is_over.load(Ordering::Relaxed) {
                silent.extend(tcp_from("127.0.0.2", webhook.listen));
                silent.truncate(MANY);
            }
        });
        let clients: Vec<_> = (0..200)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = webhook.connect();
                    (0..5).all(|_| answers(&mut connection)) && connection.is_open()
                })
            })
            .collect();
        let answered = clients.into_iter().filter_map(|client| client.join().ok());
        let answered = answered.filter(|answered| *answered).count();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(answered, 200);
    });
    for reason in ["no_memory", "slow_request", "slow_answer", "turned_away"] {
        assert_eq!(cuts(&webhook, reason), 0.0, "{reason}");
    }
}
