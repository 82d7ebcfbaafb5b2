//! What the guard refuses and what it admits, asked of API servers alone, without the webhook.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::is_refusal;
use crate::harness::api::{Answer, Api};
use crate::harness::command::run;
use crate::harness::control::{Beside, control};
use crate::harness::install::{self, NAME};
use crate::harness::pod::{init_containers, pod};
use crate::harness::{LIMIT, merge, wait};

const FILES: &str = "[{secret: kv/data/web, key: password, file: password}]";
/// The API servers that the guard is shown to: the oldest that podkey supports, and the newest.
const VERSIONS: [&str; 2] = ["1.30", NEWEST];
const NEWEST: &str = "1.37";

/// An API server alone, with the guard and without the webhook.
struct Guarded {
    api: Api,
    _plane: Beside,
}

impl Guarded {
    /// None: this run may not start API servers.
    fn on(version: &str) -> Option<Self> {
        let control = control("the guard")?;
        let plane = Beside::up(control, "--control-plane", &["--kubernetes", version]);
        let kubeconfig = Path::new(&plane.env["PODKEY_E2E_KUBECONFIG"]);
        let api = Api::of(kubeconfig);
        let version = api.get("/version")["gitVersion"].clone();
        println!("Kubernetes {version}");
        for (name, labels) in [
            ("apps", json!({})),
            ("theirs", json!({"injector": "podkey"})),
            (NAME, json!({})),
        ] {
            api.create(
                "/api/v1/namespaces",
                &json!({"metadata": {"name": name, "labels": labels}}),
            );
            let account = json!({"metadata": {"name": "default"}});
            api.create(&format!("/api/v1/namespaces/{name}/serviceaccounts"), &account);
        }
        let values = json!({
            "guard": {"enabled": true}, "vaultK8s": {"enabled": true, "namespaceSelector": {"matchLabels": {"injector": "podkey"}}},
        });
        let only = [
            "--show-only",
            "templates/guard.yaml",
            "--show-only",
            "templates/ephemeralcontainers.yaml",
        ];
        let manifests = install::template(&merge(install::values(), &values), &only);
        let (_, said) = run(
            "kubectl",
            kubeconfig,
            &["apply", "--server-side", "-f", "-"],
            &manifests,
        )
        .unwrap();
        assert!(!said.contains("Warning"), "{said}");
        let guarded = Self { api, _plane: plane };
        for (namespace, pod) in [("apps", annotated()), ("theirs", annotated_for_vault_k8s())] {
            let refused = || (guarded.ask(namespace, &pod).status == 413).then_some(());
            wait(LIMIT, refused).unwrap_or_else(|| panic!("the guard never comes into force in {namespace}"));
        }
        Some(guarded)
    }

    /// Whether the pod could be created.
    fn ask(&self, namespace: &str, pod: &Value) -> Answer {
        let pod = merge(
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace}}),
            pod,
        );
        self.api
            .call("POST", &format!("/api/v1/namespaces/{namespace}/pods?dryRun=All"), &pod)
    }

    fn admits(&self, namespace: &str, what: &str, pod: &Value) {
        let answer = self.ask(namespace, pod);
        assert!(answer.is_success(), "{what}: {}", answer.text);
    }

    fn refuses(&self, namespace: &str, what: &str, pod: &Value) {
        let answer = self.ask(namespace, pod);
        assert!(is_refusal(&answer), "{what}: {}", answer.text);
    }
}

fn with_annotations(annotations: Value) -> Value {
    merge(pod("app", "true"), &json!({"metadata": {"annotations": annotations}}))
}

fn annotated() -> Value {
    with_annotations(json!({"podkey.dev/role": "reader", "podkey.dev/files": FILES}))
}

fn annotated_for_vault_k8s() -> Value {
    with_annotations(json!({
        "vault.hashicorp.com/agent-inject": "true", "vault.hashicorp.com/role": "reader",
        "vault.hashicorp.com/agent-inject-secret-web": "kv/data/web",
    }))
}

/// The pod with podkey's mark.
fn marked(pod: Value) -> Value {
    merge(
        pod,
        &json!({"metadata": {"annotations": {"podkey.dev/injected": podkey::VERSION}}}),
    )
}

/// The pod with these fields over its spec.
fn with_spec(pod: Value, spec: Value) -> Value {
    merge(pod, &json!({"spec": spec}))
}

/// A list of one container.
fn container(name: &str) -> Value {
    json!([{"name": name, "image": "busybox"}])
}

#[test]
fn a_pod_is_no_injected_pod_by_half_of_podkey_s_parts() {
    for version in VERSIONS {
        let Some(guarded) = Guarded::on(version) else { return };
        let init = json!({"initContainers": container("podkey-init")});
        let volume = |source: Value| json!({"volumes": [merge(json!({"name": "podkey-bin"}), &source)]});
        let image = json!({"image": {"reference": "registry.example.com/podkey:1", "pullPolicy": "IfNotPresent"}});

        guarded.admits("apps", "a plain pod", &pod("app", "true"));
        guarded.admits("apps", "the mark alone asks for nothing", &marked(pod("app", "true")));
        guarded.admits(NAME, "podkey's own namespace", &annotated());
        guarded.admits("apps", "injected", &with_spec(marked(annotated()), init.clone()));
        let by_image = guarded.ask("apps", &with_spec(marked(annotated()), volume(image.clone())));
        // The oldest API servers do not know the field, and make an emptyDir of the volume.
        assert_eq!(
            by_image.is_success(),
            version == NEWEST,
            "the agent by an image volume: {}",
            by_image.text
        );
        assert!(version == NEWEST || is_refusal(&by_image), "{}", by_image.text);
        for (what, pod) in [
            ("annotated", annotated()),
            (
                "a mistake in an annotation",
                with_annotations(json!({"podkey.dev/fils": "x"})),
            ),
            ("the mark without the parts", marked(annotated())),
            ("podkey-init without the mark", with_spec(annotated(), init)),
            (
                "an image volume without the mark",
                with_spec(annotated(), volume(image)),
            ),
            (
                "another volume of that name",
                with_spec(marked(annotated()), volume(json!({"emptyDir": {"medium": "Memory"}}))),
            ),
            (
                "podkey-init among the containers",
                with_spec(marked(annotated()), json!({"containers": container("podkey-init")})),
            ),
            (
                "the sidecar without podkey-init",
                with_spec(
                    marked(annotated()),
                    json!({"initContainers": container("podkey-sidecar")}),
                ),
            ),
            (
                "a container like podkey-init",
                with_spec(
                    marked(annotated()),
                    json!({"initContainers": container("podkey-init-2")}),
                ),
            ),
        ] {
            guarded.refuses("apps", what, &pod);
        }
    }
}

#[test]
fn the_guard_sees_pods_of_vault_k8s_that_podkey_injects_and_no_others() {
    for version in VERSIONS {
        let Some(guarded) = Guarded::on(version) else { return };
        guarded.admits("apps", "vault-k8s' annotations elsewhere", &annotated_for_vault_k8s());
        guarded.refuses("theirs", "vault-k8s' annotations", &annotated_for_vault_k8s());
        for list in ["initContainers", "containers"] {
            for name in ["vault-agent-init", "vault-agent", "openbao-agent-init", "openbao-agent"] {
                let injected = with_spec(annotated_for_vault_k8s(), json!({list: container(name)}));
                guarded.admits("theirs", &format!("injected by others: {name} in {list}"), &injected);
            }
        }
        for (switch, value, refused) in [
            ("agent-inject-secret-web", "kv/data/web", true),
            (
                "agent-inject-template-web",
                "{{ with secret `kv/data/web` }}{{ end }}",
                true,
            ),
            ("agent-inject-token", "true", true),
            ("agent-inject-token", "false", false),
            ("agent-inject-secret-web", " ", false),
            ("agent-configmap", "my-agent", true),
            ("agent-configmap", "0", true),
            ("agent-configmap", " ", false),
            ("agent-inject-file-web", "web", false),
            ("agent-inject", "1", false),
        ] {
            for family in ["vault.hashicorp.com", "openbao.org"] {
                let annotations =
                    json!({format!("{family}/agent-inject"): "true", format!("{family}/{switch}"): value});
                let answer = guarded.ask("theirs", &with_annotations(annotations));
                assert_eq!(is_refusal(&answer), refused, "{family}/{switch}: {value}");
            }
        }
        for (own, refused) in [("false", false), ("true", true)] {
            let both = merge(
                annotated_for_vault_k8s(),
                &json!({"metadata": {"annotations": {"openbao.org/agent-inject": own}}}),
            );
            assert_eq!(
                is_refusal(&guarded.ask("theirs", &both)),
                refused,
                "openbao.org/agent-inject: {own}"
            );
        }
    }
}

/// The kubelet reads the file of a `fileKeyRef` as root, for a container that mounts nothing.
#[test]
fn an_ephemeral_container_takes_no_secret_from_podkey_s_volumes() {
    for version in VERSIONS {
        let Some(guarded) = Guarded::on(version) else { return };
        let path = "/api/v1/namespaces/apps/pods";
        let volumes = ["podkey-env", "podkey-secrets", "own"].map(|name| json!({"name": name, "emptyDir": {}}));
        let app = with_spec(pod("app", "true"), json!({"volumes": volumes}));
        guarded
            .api
            .create(path, &merge(json!({"apiVersion": "v1", "kind": "Pod"}), &app));
        let debug = |fields: Value| {
            let container = merge(json!({"name": "debug", "image": "busybox"}), &fields);
            let path = format!("{path}/app/ephemeralcontainers?dryRun=All");
            guarded
                .api
                .call("PATCH", &path, &json!({"spec": {"ephemeralContainers": [container]}}))
        };
        let mount = |name: &str| debug(json!({"volumeMounts": [{"name": name, "mountPath": "/spy"}]}));
        let variable = |volume: &str| {
            let file = json!({"volumeName": volume, "path": "variables.env", "key": "TOKEN"});
            debug(json!({"env": [{"name": "PLAIN", "value": "x"}, {"name": "SPY", "valueFrom": {"fileKeyRef": file}}]}))
        };
        let is_by_policy = |answer: &Answer| {
            answer.status == 403
                && answer
                    .message()
                    .contains("podkey: an ephemeral container must not mount")
        };
        wait(LIMIT, || is_by_policy(&mount("podkey-env")).then_some(())).expect("the policy comes into force");
        for volume in ["podkey-env", "podkey-secrets"] {
            assert!(is_by_policy(&mount(volume)), "{volume}");
            let answer = variable(volume);
            println!("{version}, {volume}: {} {}", answer.status, answer.message());
            // The oldest API servers do not know the field, and refuse what is left of the variable.
            assert!(!answer.is_success(), "{volume}: {}", answer.text);
            assert_eq!(is_by_policy(&answer), version == NEWEST, "{volume}: {}", answer.text);
        }
        assert_eq!(variable("own").is_success(), version == NEWEST);
        let field = json!({"env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]});
        for (what, answer) in [
            ("a volume of the author's", mount("own")),
            ("a field", debug(field)),
            ("nothing", debug(json!({}))),
        ] {
            assert!(answer.is_success(), "{what}: {}", answer.text);
        }
    }
}

/// Whoever updates or deletes a pod of before must not meet the guard.
#[test]
fn the_guard_looks_at_new_pods_alone() {
    let Some(guarded) = Guarded::on(NEWEST) else { return };
    guarded.api.create(
        &format!("/api/v1/namespaces/{NAME}/pods"),
        &merge(json!({"apiVersion": "v1", "kind": "Pod"}), &annotated()),
    );
    let path = "/api/v1/namespaces/apps/pods";
    let plain = merge(json!({"apiVersion": "v1", "kind": "Pod"}), &pod("app", "true"));
    guarded.api.create(path, &plain);
    let path = format!("{path}/app");
    guarded.api.patch(
        &path,
        &json!({"metadata": {"annotations": {"podkey.dev/role": "reader"}, "finalizers": ["a.example.com/b"]}}),
    );
    guarded.api.delete(&format!("{path}?gracePeriodSeconds=0"));
    guarded.api.patch(&path, &json!({"metadata": {"finalizers": null}}));
    wait(LIMIT, || {
        (guarded.api.call("GET", &path, &Value::Null).status == 404).then_some(())
    })
    .expect("the pod is gone");
}

/// All pods of the decision's golden cases: what podkey injects passes once it is injected and not before, what podkey denies does not
/// pass, and what podkey leaves alone passes as it is.
#[test]
fn the_guard_agrees_with_the_webhook_on_every_golden_case() {
    for version in VERSIONS {
        let Some(guarded) = Guarded::on(version) else { return };
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inject");
        for case in fs::read_dir(&cases)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
        {
            let name = case.file_name().unwrap().to_string_lossy().into_owned();
            let config = case.join("config.yaml");
            let is_theirs = match config.exists() {
                true => fs::read_to_string(config).unwrap().contains("vaultK8s:"),
                false => name.starts_with("vault-k8s-"),
            };
            let namespace = if is_theirs { "theirs" } else { "apps" };
            let (Some(pod), patched) = (golden(&case.join("pod.yaml")), golden(&case.join("patched.yaml"))) else {
                continue;
            };
            let before = guarded.ask(namespace, &pod);
            // Some cases are no pods for an API server, which says so before the guard is asked.
            let is_pod =
                |answer: &Answer| answer.is_success() || answer.message().contains("ValidatingAdmissionPolicy");
            if let Some(patched) = patched {
                let after = guarded.ask(namespace, &patched);
                let is_new = patched != pod;
                if is_pod(&before) && is_new && !is_injected(&pod) {
                    assert!(is_refusal(&before), "{name}: not refused: {}", before.text);
                    *seen.entry("asks").or_default() += 1;
                }
                // An API server that does not know image volumes makes an emptyDir of them. Without podkey-init, such a pod has no agent.
                let has_agent = version == NEWEST || init_containers(&patched).contains(&"podkey-init");
                if is_pod(&after) && has_agent {
                    assert!(after.is_success(), "{name}, injected: {}", after.text);
                    *seen.entry("injected").or_default() += 1;
                }
            } else if case.join("denied.txt").exists() && is_pod(&before) && !is_injected(&pod) {
                assert!(is_refusal(&before), "{name}: not refused: {}", before.text);
                *seen.entry("denied").or_default() += 1;
            } else if case.join("ignored").exists() && is_pod(&before) {
                assert!(before.is_success(), "{name}: {}", before.text);
                *seen.entry("left alone").or_default() += 1;
            }
        }
        println!("{seen:?}");
        assert!(
            seen["asks"] > 100 && seen["injected"] > 100 && seen["denied"] > 100 && seen["left alone"] > 8,
            "{seen:?}"
        );
    }
}

/// A pod of a case, for the namespaces and accounts that there are. None: the case has no such pod.
fn golden(file: &Path) -> Option<Value> {
    let mut pod: Value = serde_saphyr::from_str(&fs::read_to_string(file).ok()?).ok()?;
    if pod["kind"] != "Pod" {
        return None;
    }
    for (object, fields) in [
        (
            "metadata",
            &[
                "namespace",
                "ownerReferences",
                "uid",
                "creationTimestamp",
                "managedFields",
            ][..],
        ),
        (
            "spec",
            &[
                "serviceAccountName",
                "serviceAccount",
                "priority",
                "priorityClassName",
                "nodeName",
            ],
        ),
    ] {
        for field in fields {
            pod[object].as_object_mut()?.remove(*field);
        }
    }
    pod["metadata"]["name"] = json!("app");
    Some(pod)
}

fn is_injected(pod: &Value) -> bool {
    pod["metadata"]["annotations"]["podkey.dev/injected"].is_string()
}

/// The API server gives each expression a budget, and the guard would refuse a pod that exceeds it. Pods that Kubernetes allows (256
/// KiB of annotations) are far below. (With 78,000 annotations the API server itself takes half a minute for each such expression, the
/// webhook's match condition too, because CEL takes quadratic time. 10,000 take one second.)
#[test]
fn the_largest_pods_are_within_the_budget_of_expressions() {
    let Some(guarded) = Guarded::on(NEWEST) else { return };
    let filled = |key: &dyn Fn(usize) -> String, value: &str| {
        let mut left = 256 * 1024 - 64;
        let fits = |key: &String| {
            left -= i64::try_from(key.len() + value.len()).unwrap();
            left >= 0
        };
        let keys = (0..10_000).map(key).take_while(fits);
        Value::Object(keys.map(|key| (key, json!(value))).collect())
    };
    let containers = |prefix: &str| {
        let name = |number| json!({"name": format!("{prefix}{number}"), "image": "busybox"});
        (0..1500).map(name).collect::<Vec<_>>()
    };
    let many = json!({"spec": {"initContainers": containers("i"), "containers": containers("c")}});
    let switch = json!({"metadata": {"annotations": {"vault.hashicorp.com/agent-inject": "true"}}});
    for annotations in [
        filled(&|number| format!("{number:x}"), ""),
        filled(&|number| format!("vault.hashicorp.com/{number:x}"), ""),
        filled(
            &|number| format!("vault.hashicorp.com/agent-inject-secret-{number:x}"),
            " ",
        ),
        filled(&|number| format!("openbao.org/agent-inject-token{number:x}"), ""),
    ] {
        let pod = merge(merge(with_annotations(annotations), &many), &switch);
        guarded.admits("theirs", "as many annotations as there can be", &pod);
    }
}
