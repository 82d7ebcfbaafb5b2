//! How much memory a client can make the webhook hold, and when the memory is free again: from outside, over real sockets and
//! TLS.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::webhook::{Connection, Webhook, eventually};
use super::{bytes, pod, response, review};

const MIB: u64 = 1024;

fn answers(connection: &mut Connection) -> bool {
    connection.post(&bytes(&review(pod()))).status == 200
}

fn cuts(webhook: &Webhook, reason: &str) -> f64 {
    webhook.metric(&format!("podkey_connection_cuts_total{{reason=\"{reason}\"}}"))
}

fn held(webhook: &Webhook, part: &str) -> f64 {
    webhook.metric(&format!("podkey_account_bytes{{part=\"{part}\"}}"))
}

/// A pod whose patch is large: each container gets each file.
fn pod_with(containers: usize, files: usize) -> Value {
    let mut pod = pod();
    let mut lines = String::new();
    for file in 0..files {
        let _ = writeln!(lines, "- {{secret: arc-runners/data/a, key: k, file: /tmp/f{file}}}");
    }
    pod["metadata"]["annotations"] = json!({"podkey.dev/files": lines});
    pod["metadata"]["labels"] = json!({});
    let containers = (0..containers).map(|number| json!({"name": format!("c{number}"), "image": "i"}));
    pod["spec"]["containers"] = containers.collect();
    pod
}

/// A review of about so many bytes.
fn review_of(size: usize) -> Vec<u8> {
    let mut pod = pod();
    pod["metadata"]["managedFields"] = json!(["x".repeat(size)]);
    bytes(&review(pod))
}

fn request(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn unfinished_headers_on_every_connection_do_not_fill_the_memory() {
    let webhook = Webhook::start();
    assert!(answers(&mut webhook.connect()));
    let before = webhook.peak_memory();
    // The largest header that may still become a request, and a header without end.
    let header = |size: usize| [b"POST /mutate HTTP/1.1\r\nX: ".as_slice(), &vec![b'x'; size]].concat();
    let headers = [header(8000), header(300 * 1024)];
    let unfinished: Vec<_> = (0..450)
        .map(|number| {
            let mut connection = webhook.connect();
            connection.write_what_is_taken(&headers[number % 2], Duration::from_millis(200));
            connection
        })
        .collect();
    assert!(answers(&mut webhook.connect()));
    let peak = webhook.peak_memory();
    assert!(peak < before + 40 * MIB, "{before} KiB, then {peak} KiB");
    drop(unfinished);
}

#[test]
fn headers_without_end_are_cut_off() {
    let webhook = Webhook::start();
    let mut large = webhook.connect();
    large.write_what_is_taken(b"POST /mutate HTTP/1.1\r\nX: ", Duration::from_secs(1));
    for _ in 0..100 {
        large.write_what_is_taken(&[b'x'; 1000], Duration::from_secs(1));
    }
    assert!(large.read_reply().map_or(true, |reply| reply.status == 431));
    let mut many = webhook.connect();
    many.write_what_is_taken(b"POST /mutate HTTP/1.1\r\n", Duration::from_secs(1));
    many.write_what_is_taken("A: b\r\n".repeat(100).as_bytes(), Duration::from_secs(1));
    many.write_what_is_taken(b"\r\n", Duration::from_secs(1));
    assert!(many.read_reply().map_or(true, |reply| reply.status == 431));
    // A header that grows by a byte now and then is cut too, also on a proven connection.
    let mut slow = webhook.connect();
    assert!(answers(&mut slow));
    slow.write(b"POST /mutate HTTP/1.1\r\nX: ").unwrap();
    eventually("slow_request", || {
        slow.write_what_is_taken(b"x", Duration::from_secs(1));
        cuts(&webhook, "slow_request") == 1.0
    });
}

#[test]
fn a_client_that_never_reads_is_cut_and_its_answer_s_memory_is_free_again() {
    let webhook = Webhook::start();
    let large = request(&bytes(&review(pod_with(35, 64))));
    let mut readers: Vec<_> = (0..30)
        .map(|_| {
            let mut connection = webhook.connect();
            connection.write(&large).unwrap();
            connection
        })
        .collect();
    eventually("answers that wait", || held(&webhook, "answers") > 0.0);
    assert!(held(&webhook, "answers") <= 4096.0 * 1024.0);
    assert!(
        answers(&mut webhook.connect()),
        "a usual answer needs no part of the account"
    );
    // A client that reads gets a large answer too.
    assert!(
        response(
            &webhook
                .connect_from("127.0.0.2")
                .post(&bytes(&review(pod_with(35, 64))))
        )["patch"]
            .is_string()
    );
    eventually("given back", || held(&webhook, "answers") == 0.0);
    assert!(cuts(&webhook, "no_memory") + cuts(&webhook, "slow_answer") >= 1.0);
    assert!(readers.iter_mut().any(|reader| reader.read_reply().is_err()));
}

#[test]
fn a_client_that_reads_a_byte_now_and_then_is_cut() {
    let webhook = Webhook::start();
    let mut reader = webhook.connect();
    reader.write(&request(&bytes(&review(pod_with(35, 64))))).unwrap();
    eventually("slow_answer", || {
        let _ = reader.read_byte();
        cuts(&webhook, "slow_answer") == 1.0
    });
    assert_eq!(held(&webhook, "answers"), 0.0);
}

#[test]
fn pipelined_requests_of_a_client_that_never_reads_do_not_fill_the_memory() {
    let webhook = Webhook::start();
    assert!(answers(&mut webhook.connect()));
    let before = webhook.peak_memory();
    let usual = request(&bytes(&review(pod()))).repeat(200);
    let clients: Vec<_> = (0..60)
        .map(|_| {
            let mut connection = webhook.connect();
            connection.write_what_is_taken(&usual, Duration::from_millis(20));
            connection
        })
        .collect();
    assert!(answers(&mut webhook.connect()));
    let peak = webhook.peak_memory();
    assert!(peak < before + 16 * MIB, "{before} KiB, then {peak} KiB");
    drop(clients);
}

#[test]
fn parallel_reviews_of_the_largest_size_are_all_answered_within_the_memory() {
    let webhook = Webhook::start();
    assert!(answers(&mut webhook.connect()));
    let before = webhook.peak_memory();
    let largest = review_of(3 * 1024 * 1024);
    thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| assert!(response(&webhook.post(&largest))["patch"].is_string()));
        }
    });
    let peak = webhook.peak_memory();
    assert!(peak < before + 40 * MIB, "{before} KiB, then {peak} KiB");
    assert_eq!(held(&webhook, "large_bodies"), 0.0);
    for reason in ["no_memory", "slow_request", "no_place", "turned_away"] {
        assert_eq!(cuts(&webhook, reason), 0.0, "{reason}");
    }
}

#[test]
fn stalled_uploads_do_not_hold_up_a_small_review() {
    let webhook = Webhook::start();
    let stalled = |size: usize, count: usize| -> Vec<_> {
        let body = request(&review_of(size));
        let stalls = (0..count).map(|_| {
            let mut connection = webhook.connect();
            connection.write_what_is_taken(&body[..body.len() - 100], Duration::from_millis(50));
            connection
        });
        stalls.collect()
    };
    let large = stalled(7 * 1024 * 1024, 8);
    assert!(answers(&mut webhook.connect()));
    assert_eq!(webhook.post(&review_of(100 * 1024)).status, 200);
    assert_eq!(webhook.post(&review_of(1024 * 1024)).status, 200, "a large one too");
    let small = stalled(200 * 1024, 40);
    assert!(answers(&mut webhook.connect()));
    assert_eq!(webhook.post(&review_of(100 * 1024)).status, 200);
    assert!(cuts(&webhook, "no_memory") >= 1.0);
    drop((large, small));
    eventually("given back", || {
        held(&webhook, "small_bodies") + held(&webhook, "large_bodies") == 0.0
    });
}

#[test]
fn slow_uploads_of_one_address_do_not_hold_up_another_address_s_large_review() {
    let webhook = Webhook::start();
    let body = request(&review_of(7 * 1024 * 1024));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut connection = webhook.connect_from("127.0.0.2");
                for part in body.chunks(64 * 1024) {
                    if is_over.load(Ordering::Relaxed) || connection.write(part).is_err() {
                        return;
                    }
                    thread::sleep(Duration::from_millis(50));
                }
            });
        }
        eventually("held", || held(&webhook, "large_bodies") > 0.0);
        let reply = webhook.post(&review_of(6 * 1024 * 1024));
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(reply.status, 200);
        assert!(cuts(&webhook, "no_memory") >= 1.0);
    });
}

#[test]
fn a_uid_of_a_megabyte_is_refused() {
    let webhook = Webhook::start();
    for size in [129, 1024 * 1024] {
        let mut long = review(pod());
        long["request"]["uid"] = "u".repeat(size).into();
        assert_eq!(webhook.post(&bytes(&long)).status, 400);
        long["request"]["operation"] = "DELETE".into();
        assert_eq!(webhook.post(&bytes(&long)).status, 400);
    }
    let line = "uid is longer";
    webhook.wait_for_log(line);
    assert!(webhook.log().iter().all(|line| line.len() < 4096));
}

#[test]
fn names_of_a_megabyte_are_cut_in_the_log() {
    let webhook = Webhook::start();
    let long = "ä".repeat(512 * 1024);
    let mut named = review(pod());
    named["request"]["name"] = long.clone().into();
    named["request"]["namespace"] = long.clone().into();
    named["request"]["object"]["metadata"]["name"] = long.clone().into();
    let reply = webhook.post(&bytes(&named));
    assert!(reply.body.len() < 64 * 1024, "{}", reply.body.len());
    webhook.wait_for_log("\"name\":\"ä");
    let mut odd = review(pod());
    odd["request"]["object"]["metadata"]["annotations"] = json!({ format!("podkey.dev/{long}"): long });
    let reply = webhook.post(&bytes(&odd));
    assert!(reply.body.len() < 64 * 1024, "{}", reply.body.len());
    webhook.wait_for_log("is no annotation of podkey");
    for line in webhook.log() {
        assert!(line.len() < 32 * 1024, "{} bytes", line.len());
    }
    assert!(webhook.log().iter().any(|line| line.contains("ä…")));
}

#[test]
fn a_patch_that_is_too_large_for_any_pod_is_denied() {
    let webhook = Webhook::start();
    let answer = response(&webhook.post(&bytes(&review(pod_with(255, 64)))));
    assert!(answer["allowed"] == false, "a patch of more than a mebibyte");
    let message = answer["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("podkey.dev/containers") && message.contains("name fewer containers"),
        "{message}"
    );
    assert!(response(&webhook.post(&bytes(&review(pod_with(35, 64)))))["patch"].is_string());
}
