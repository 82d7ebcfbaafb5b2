//! The calls to a test's API server, over real TLS: the requests, the results, and the log.

use std::io::Write;
use std::sync::{Arc, Mutex};

use kube::config::{AuthInfo, Config};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tracing_subscriber::layer::SubscriberExt;

use super::version::{VERSION_PAUSE, VERSION_TIMEOUT};
use super::*;
use crate::telemetry;

const TOKEN: &str = "token-canary";
const CANARY: &str = "body-canary";

/// The API server's answer to one call: the end of the status line, and the body.
type Reply = (&'static str, &'static str);

/// An API server that gives each of these answers to one call, and adds the first line of each request to `calls`.
async fn serving(replies: &'static [Reply], calls: Arc<Mutex<Vec<String>>>) -> Cluster {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let der = certified.cert.der().clone();
    let key = rustls_pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for (status, body) in replies {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut tls = acceptor.accept(tcp).await.unwrap();
            let mut request = vec![0; 16 * 1024];
            let length = tls.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            assert!(
                request.contains(&format!("\r\nauthorization: Bearer {TOKEN}\r\n")),
                "{request}"
            );
            assert!(request.contains("\r\nuser-agent: podkey/"), "{request}");
            calls.lock().unwrap().push(request.lines().next().unwrap().to_owned());
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
            tls.write_all(answer.as_bytes()).await.unwrap();
            let _ = tls.shutdown().await;
        }
    });
    at(&format!("https://localhost:{port}"), der.to_vec())
}

fn at(address: &str, ca: Vec<u8>) -> Cluster {
    let mut config = Config::new(address.parse().unwrap());
    config.root_cert = Some(vec![ca]);
    config.auth_info = AuthInfo {
        token: Some(TOKEN.into()),
        ..AuthInfo::default()
    };
    Cluster::new(config, SystemTime::now).unwrap()
}

/// An API server that gives each of these answers to one call.
pub(crate) async fn answering(replies: &'static [Reply]) -> Cluster {
    serving(replies, Arc::default()).await
}

#[tokio::test]
async fn the_version_is_what_the_api_server_reports() {
    const OK: &str = r#"{"major":"1","minor":"33+","gitVersion":"v1.33.5+k3s1"}"#;
    let version = async |replies| answering(replies).await.version().await;
    assert_eq!(version(&[("200 OK", OK)]).await.unwrap(), "v1.33.5+k3s1");
    let second = version(&[("503 Service Unavailable", "starting"), ("200 OK", OK)]).await;
    assert_eq!(second.unwrap(), "v1.33.5+k3s1", "not retried");
    for (replies, why) in [
        (
            &[("403 Forbidden", r#"{"message":"no"}"#)][..],
            "system:public-info-viewer",
        ),
        (
            &[("401 Unauthorized", "{}")],
            "does not accept podkey's service-account token",
        ),
        (&[("200 OK", "[]")], "is not such an object in JSON"),
    ] {
        let error = version(replies).await.unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[tokio::test]
async fn nodes_come_page_by_page_and_an_answer_that_is_no_list_is_an_error() {
    const FIRST: &str = r#"{"metadata":{"continue":"a b"},"items":[
        {"spec":{"unschedulable":true},"status":{"nodeInfo":{"kubeletVersion":"v1.35.0"},"images":[{"names":["x"]}]}},
        {"metadata":{"name":"n"},"spec":{},"status":{"nodeInfo":{"kubeletVersion":"v1.37.1"},"declaredFeatures":["F"]}}]}"#;
    const SECOND: &str = r#"{"metadata":{"continue":""},"items":[{}]}"#;
    let calls = Arc::default();
    let cluster = serving(&[("200 OK", FIRST), ("200 OK", SECOND)], Arc::clone(&calls)).await;
    let mut seen = Vec::new();
    let listed = cluster.each_node(|node| {
        let status = &node.status;
        let version = status.node_info.kubelet_version.clone();
        seen.push((version, node.spec.unschedulable, status.declared_features.join(",")));
    });
    listed.await.unwrap();
    let node = |version: &str, cordoned, features: &str| (version.to_owned(), cordoned, features.to_owned());
    assert_eq!(
        seen,
        [
            node("v1.35.0", true, ""),
            node("v1.37.1", false, "F"),
            node("", false, "")
        ]
    );
    let path = "GET /api/v1/nodes?&labelSelector=kubernetes.io%2Fos%3Dlinux%2Ctype%21%3Dvirtual-kubelet&limit=20";
    let expected = [format!("{path} HTTP/1.1"), format!("{path}&continue=a+b HTTP/1.1")];
    assert_eq!(*calls.lock().unwrap(), expected);
    for (reply, why) in [
        (
            ("403 Forbidden", r#"{"message":"no"}"#),
            "a ClusterRole with the verb list on nodes",
        ),
        (("410 Gone", r#"{"message":"expired"}"#), "cannot list the nodes"),
        (("200 OK", "{}"), "is not such an object in JSON"),
    ] {
        let replies: &'static [Reply] = Box::leak(Box::new([reply]));
        let error = answering(replies).await.each_node(|_| ()).await.unwrap_err();
        assert!(error.message.contains(why), "{}", error.message);
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_answer_delays_the_start_for_a_limited_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let cluster = at(&format!("https://localhost:{port}"), certified.cert.der().to_vec());
    let started = tokio::time::Instant::now();
    cluster.version().await.unwrap_err();
    assert!(started.elapsed() <= VERSION_TIMEOUT + VERSION_PAUSE);
}

#[tokio::test]
async fn each_call_is_one_request_about_one_named_object() {
    let calls = Arc::default();
    let secret =
        r#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"s","resourceVersion":"7"},"data":{"k":"dg=="}}"#;
    let configuration = r#"{"metadata":{"name":"c"},"webhooks":[]}"#;
    let replies: &'static [Reply] = Box::leak(Box::new([
        ("200 OK", secret),
        ("404 Not Found", r#"{"message":"no"}"#),
        ("201 Created", secret),
        ("409 Conflict", r#"{"message":"exists"}"#),
        ("200 OK", secret),
        ("404 Not Found", "{}"),
        ("200 OK", configuration),
        ("200 OK", configuration),
        ("409 Conflict", "{}"),
        ("422 Unprocessable Entity", r#"{"message":"what"}"#),
        ("429 Too Many Requests", "{}"),
    ]));
    let cluster = serving(replies, Arc::clone(&calls)).await;
    let stored = cluster.read_secret("n", "s").await.unwrap().unwrap();
    assert_eq!(stored.known.metadata.resource_version.as_deref(), Some("7"));
    assert_eq!(cluster.read_secret("n", "s").await, Ok(None));
    cluster.create_secret("n", "s", &stored).await.unwrap();
    let kind = |result: Result<(), CallError>| result.unwrap_err().kind;
    assert_eq!(
        kind(cluster.create_secret("n", "s", &stored).await),
        CallErrorKind::Conflict
    );
    cluster.update_secret("n", "s", &stored).await.unwrap();
    let gone = cluster.update_secret("n", "s", &stored).await;
    assert_eq!(kind(gone), CallErrorKind::Conflict);
    assert!(cluster.read_configuration("c").await.unwrap().is_some());
    let patch = || serde_json::from_value(json!([])).unwrap();
    cluster.patch_configuration("c", patch()).await.unwrap();
    for expected in [
        CallErrorKind::Conflict,
        CallErrorKind::Refused,
        CallErrorKind::Unreachable,
    ] {
        assert_eq!(kind(cluster.patch_configuration("c", patch()).await), expected);
    }
    let secrets = "/api/v1/namespaces/n/secrets";
    let configuration = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/c";
    let patch = format!("PATCH {configuration}?&fieldManager=podkey HTTP/1.1");
    let expected = [
        format!("GET {secrets}/s HTTP/1.1"),
        format!("GET {secrets}/s HTTP/1.1"),
        format!("POST {secrets}?&fieldManager=podkey HTTP/1.1"),
        format!("POST {secrets}?&fieldManager=podkey HTTP/1.1"),
        format!("PUT {secrets}/s?&fieldManager=podkey HTTP/1.1"),
        format!("PUT {secrets}/s?&fieldManager=podkey HTTP/1.1"),
        format!("GET {configuration} HTTP/1.1"),
        patch.clone(),
        patch.clone(),
        patch.clone(),
        patch,
    ];
    assert_eq!(*calls.lock().unwrap(), expected);
}

/// Log lines of this thread.
#[derive(Clone, Default)]
struct LogBuffer(Arc<Mutex<Vec<u8>>>);

impl Write for LogBuffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl LogBuffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Answers that kube or its libraries could log.
async fn calls_with_canaries() {
    const REPLIES: &[Reply] = &[
        ("200 OK", r#"{"kind":"Secret","data":"body-canary"}"#),
        ("200 OK", r#"{"kind":"body-canary"}"#),
        ("200 OK", "body-canary"),
        ("200 OK", "{\"data\":{\"tls.key\":\"body-canary\""),
        ("500 Internal Server Error", "body-canary"),
        (
            "422 Unprocessable Entity",
            r#"{"message":"no","details":{"name":"body-canary"}}"#,
        ),
    ];
    let cluster = answering(REPLIES).await;
    for (status, body) in REPLIES {
        let error = cluster.read_secret("n", "s").await.unwrap_err();
        assert!(error.message.contains("the Secret n/s"), "{}", error.message);
        assert!(!error.message.contains(CANARY), "{status} {body}: {}", error.message);
        tracing::warn!(%error, "called");
    }
}

async fn logged(filter: tracing_subscriber::filter::Targets) -> String {
    let buffer = LogBuffer::default();
    let writer = buffer.clone();
    let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
    let subscriber = tracing_subscriber::registry().with(filter).with(layer);
    let guard = tracing::subscriber::set_default(subscriber);
    calls_with_canaries().await;
    drop(guard);
    buffer.text()
}

#[tokio::test]
async fn no_level_of_the_log_shows_an_answer_or_the_token() {
    for level in ["error", "warn", "info", "debug", "trace"] {
        let log = logged(telemetry::targets(Some(level)).0).await;
        assert_eq!(log.contains("called"), level != "error", "{level}: {log}");
        for canary in [CANARY, TOKEN] {
            assert!(!log.contains(canary), "{level}: {log}");
        }
    }
    // Without the filter kube logs the body, which shows that this test can find the canary.
    let everything =
        tracing_subscriber::filter::Targets::new().with_default(tracing::level_filters::LevelFilter::TRACE);
    assert!(logged(everything).await.contains(CANARY));
}
