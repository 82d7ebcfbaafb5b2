//! An HTTP API that speaks JSON: the cluster's, and OpenBao's, which needs no other client. Objects stay the JSON that
//! the server knows, so that no field is lost in a type. Calls block: each test is a story that is told in one thread.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::settings::settings;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
});

/// A server, and as whom we ask it.
#[derive(Clone)]
pub struct Api {
    client: kube::Client,
    headers: Vec<(&'static str, String)>,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub text: String,
    /// Kubernetes' admission warnings.
    pub warnings: Vec<String>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The message of a refusal.
    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or(&self.text).to_owned()
    }
}

/// The cluster, as its administrator.
pub fn cluster() -> &'static Api {
    static CLUSTER: LazyLock<Api> = LazyLock::new(|| Api::of(&settings().kubeconfig));
    &CLUSTER
}

/// The API server's address for OpenBao and for pods.
pub fn kubernetes_host() -> String {
    settings().kubernetes_host.clone().unwrap_or_else(|| {
        let kubeconfig = Kubeconfig::read_from(&settings().kubeconfig).unwrap();
        let cluster = kubeconfig.clusters.into_iter().next().and_then(|named| named.cluster);
        cluster
            .and_then(|cluster| cluster.server)
            .expect("a server in the kubeconfig")
    })
}

impl Api {
    /// The cluster of a kubeconfig, as its user.
    pub fn of(kubeconfig: &Path) -> Self {
        let config = RUNTIME.block_on(async {
            let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .unwrap()
        });
        Self::new(config, Vec::new())
    }

    pub(super) fn new(mut config: kube::Config, headers: Vec<(&'static str, String)>) -> Self {
        // This time includes the TLS handshake.
        config.connect_timeout = Some(Duration::from_secs(30));
        config.read_timeout = Some(Duration::from_secs(60));
        config.write_timeout = Some(Duration::from_secs(60));
        // A refusal is what many tests are about.
        config.default_retry = false;
        let _inside = RUNTIME.enter();
        Self {
            client: kube::Client::try_from(config).unwrap(),
            headers,
        }
    }

    /// The same server, asked as another user.
    pub fn impersonate(&self, user: &str) -> Self {
        let mut other = self.clone();
        other.headers.push(("Impersonate-User", user.to_owned()));
        other
    }

    /// One request. An error: no answer came.
    pub fn try_call(&self, method: &str, path: &str, body: &Value) -> Result<Answer, String> {
        let content = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let request = request.body(Body::from(body)).unwrap();
        RUNTIME.block_on(async {
            let answer = self.client.send(request).await.map_err(|error| error.to_string())?;
            let (head, body) = answer.into_parts();
            let bytes = body.collect_bytes().await.map_err(|error| error.to_string())?;
            let warnings = head.headers.get_all("warning").into_iter();
            Ok(Answer {
                status: head.status.as_u16(),
                text: String::from_utf8_lossy(&bytes).into_owned(),
                warnings: warnings
                    .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                    .collect(),
            })
        })
    }

    pub fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.try_call(method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// One request that must succeed.
    #[track_caller]
    pub fn insist(&self, method: &str, path: &str, body: &Value) -> Answer {
        let answer = self.call(method, path, body);
        assert!(
            answer.is_success(),
            "{method} {path}: {} {}",
            answer.status,
            answer.text
        );
        answer
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.insist("GET", path, &Value::Null).json()
    }

    #[track_caller]
    pub fn create(&self, path: &str, object: &Value) -> Value {
        self.insist("POST", path, object).json()
    }

    /// Changes fields of an object.
    #[track_caller]
    pub fn patch(&self, path: &str, change: &Value) -> Value {
        self.insist("PATCH", path, change).json()
    }

    #[track_caller]
    pub fn delete(&self, path: &str) {
        self.insist("DELETE", path, &Value::Null);
    }
}
