//! What the tests are told about the cluster: the variables in the header of `main.rs`.

use std::path::PathBuf;
use std::sync::LazyLock;

use serde_json::{Value, json};

pub struct Settings {
    pub kubeconfig: PathBuf,
    pub openbao: String,
    pub openbao_ca: String,
    pub openbao_token: String,
    pub openbao_http: Option<String>,
    pub audit_log: Option<PathBuf>,
    /// None: the kubeconfig's own.
    pub kubernetes_host: Option<String>,
    pub image: String,
    pub busybox: String,
    pub busybox_named: String,
    pub kubectl: String,
    pub arc: Option<PathBuf>,
    pub arc_image: Option<String>,
    pub arc_runner: Option<String>,
    pub host: Option<String>,
    pub control: Option<PathBuf>,
    /// Of the chart, over the tests' own.
    pub values: Value,
    pub keep: bool,
}

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let control = given("CONTROL").map(PathBuf::from);
    Settings {
        kubeconfig: required("KUBECONFIG").into(),
        openbao: required("OPENBAO_ADDR"),
        openbao_ca: file("OPENBAO_CA"),
        openbao_token: file("OPENBAO_TOKEN_FILE").trim().to_owned(),
        openbao_http: given("OPENBAO_HTTP_ADDR"),
        audit_log: given("OPENBAO_AUDIT_LOG").map(PathBuf::from),
        kubernetes_host: given("KUBERNETES_HOST"),
        image: or("IMAGE", "localhost/podkey:e2e"),
        busybox: or("BUSYBOX_IMAGE", "localhost/podkey-e2e-busybox:1"),
        busybox_named: or("BUSYBOX_NAMED_IMAGE", "localhost/podkey-e2e-busybox-named:1"),
        kubectl: or("KUBECTL_IMAGE", "localhost/podkey-e2e-kubectl:1"),
        arc: given("ARC").map(PathBuf::from),
        arc_image: given("ARC_IMAGE"),
        arc_runner: given("ARC_RUNNER_IMAGE"),
        host: given("HOST_ADDRESS"),
        control,
        values: given("VALUES").map_or_else(
            || json!({}),
            |_| serde_saphyr::from_str(&file("VALUES")).expect("PODKEY_E2E_VALUES: YAML"),
        ),
        keep: given("KEEP").is_some(),
    }
});

pub fn settings() -> &'static Settings {
    &SETTINGS
}

fn given(name: &str) -> Option<String> {
    std::env::var(format!("PODKEY_E2E_{name}"))
        .ok()
        .filter(|value| !value.is_empty())
}

fn or(name: &str, default: &str) -> String {
    given(name).unwrap_or_else(|| default.to_owned())
}

fn required(name: &str) -> String {
    given(name).unwrap_or_else(|| {
        panic!(
            "PODKEY_E2E_{name} is not set. `make e2e` makes a cluster and runs these tests in it; for a cluster of your \
             own, see the header of tests/e2e/main.rs"
        )
    })
}

fn file(name: &str) -> String {
    let path = required(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("PODKEY_E2E_{name}: {path}: {error}"))
}
