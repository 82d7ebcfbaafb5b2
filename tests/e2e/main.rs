//! podkey on a real Kubernetes with a real OpenBao: what no other test can show. `make e2e` runs these tests.
//!
//! These tests use nothing but a cluster's API, so that they run on the cluster of `make cluster` and on any other (kind,
//! k3s, RKE2). They read these variables; `tests/cluster/cluster env` prints them for the cluster of `make cluster`:
//!
//! | variable | what | without it |
//! | --- | --- | --- |
//! | `PODKEY_E2E_KUBECONFIG` | kubeconfig of a cluster administrator | an error |
//! | `PODKEY_E2E_OPENBAO_ADDR` | OpenBao's or Vault's address, as this machine and the pods reach it | an error |
//! | `PODKEY_E2E_OPENBAO_CA` | the CA of that address, a PEM file | an error |
//! | `PODKEY_E2E_OPENBAO_TOKEN_FILE` | file with a token that may set up mounts, roles and policies | an error |
//! | `PODKEY_E2E_OPENBAO_AUDIT_LOG` | the server's audit log, a file on this machine | the test of the audit log is skipped |
//! | `PODKEY_E2E_OPENBAO_HTTP_ADDR` | the same server without TLS, as the pods reach it | tests of plain http are skipped |
//! | `PODKEY_E2E_KUBERNETES_HOST` | the API server as OpenBao and the pods reach it | the kubeconfig's |
//! | `PODKEY_E2E_IMAGE` | podkey's image, on the nodes or where they can pull it | `localhost/podkey:e2e` |
//! | `PODKEY_E2E_BUSYBOX_IMAGE` | an image with a shell and `stat` | `localhost/podkey-e2e-busybox:1` |
//! | `PODKEY_E2E_BUSYBOX_NAMED_IMAGE` | such an image, whose user is a name: `github`, UID 1002 | `localhost/podkey-e2e-busybox-named:1` |
//! | `PODKEY_E2E_KUBECTL_IMAGE` | an image with a shell, kubectl, and the user 1001 | `localhost/podkey-e2e-kubectl:1` |
//! | `PODKEY_E2E_ARC` | what `.ci/tools arc` built | tests with ARC are skipped |
//! | `PODKEY_E2E_ARC_IMAGE`, `…_ARC_RUNNER_IMAGE` | images of ARC's controller, and of the tests' runner | the same |
//! | `PODKEY_E2E_HOST_ADDRESS` | this machine as the API server and the pods reach it | tests with ARC or with a second webhook are skipped |
//! | `PODKEY_E2E_VALUES` | a file with values of podkey's chart, over those of the tests | none |
//! | `PODKEY_E2E_CONTROL` | `tests/cluster/cluster`, for tests that stop and start the cluster's parts | such tests are skipped |
//! | `PODKEY_E2E_RENEWALS` | for how many seconds one test watches renewals: 1620 for three tokens of the kubelet | 90 |
//! | `PODKEY_E2E_KEEP` | set: the objects of a failed test stay, so that you can look at them | they are deleted |
//!
//! A test that is skipped prints that. podkey is installed by the first test, with Helm (`helm` in PATH), into the
//! namespace `podkey`. `reach` reads its metrics through the API server: where a network plugin forbids that, have
//! `networkPolicy: {enabled: false}` in `PODKEY_E2E_VALUES`. Each test has a namespace and mounts of its own, and deletes
//! them. The modules `burst`, `doctor_webhook`, `faults`, `install_plain`, `pod_end`, `raft` and `reach` must not run beside other tests: `make e2e` runs
//! them last, one test at a time.
#![allow(unreachable_pub, reason = "one test binary, in several files")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking, and print what they measured"
)]

mod arc;
mod audit_trail;
#[path = "../support/ca.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod ca;
mod harness;
#[path = "../support/http.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod http;

mod doctor;
mod doctor_webhook;
mod faults;
mod guard;
mod hooks;
mod image;
mod install;
mod install_plain;
mod job_view;
mod pod_end;
mod pods;
#[path = "../support/postgres.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod postgres;
mod raft;
mod reach;
mod refresh;
mod refusals;
mod restart;
mod scenarios;
mod status;
mod tls_modes;
mod user_namespaces;
mod variables;
mod vault_k8s;
mod versions;
