//! The guard (`guard.enabled`): no pod that asks for secrets starts without podkey's parts, and no other pod is held up.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::api::{Answer, Api, cluster};
use crate::harness::command::run;
use crate::harness::control::{Beside, control};
use crate::harness::install::{self, CHART, NAME, OTHER_RELEASE, helm};
use crate::harness::namespace::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, Namespace};
use crate::harness::openbao::Vault;
use crate::harness::pod::{init_containers, pod};
use crate::harness::{LIMIT, merge, wait};
use crate::install::{inventory, nothing_left};

/// Part of the guard's words.
const REFUSED: &str = "podkey has not injected the pod";
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
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("values.yaml");
        fs::write(&file, merge(install::values(), &values).to_string()).unwrap();
        let file = file.to_str().unwrap();
        let template = [
            "template",
            NAME,
            CHART,
            "--namespace",
            NAME,
            "--values",
            file,
            "--show-only",
            "templates/guard.yaml",
        ];
        let manifests = helm(&template).unwrap();
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

/// Whether the guard refused the pod, so that the pod's controller tries again.
fn is_refusal(answer: &Answer) -> bool {
    answer.status == 413 && answer.message().contains(REFUSED)
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

#[test]
fn a_pod_is_no_injected_pod_by_half_of_podkey_s_parts() {
    for version in VERSIONS {
        let Some(guarded) = Guarded::on(version) else { return };
        let marked = |pod: Value| {
            merge(
                pod,
                &json!({"metadata": {"annotations": {"podkey.dev/injected": "0.1.0"}}}),
            )
        };
        let over = |pod: Value, spec: Value| merge(pod, &json!({"spec": spec}));
        let container = |name: &str| json!([{"name": name, "image": "busybox"}]);
        let init = json!({"initContainers": container("podkey-init")});
        let volume = |source: Value| json!({"volumes": [merge(json!({"name": "podkey-bin"}), &source)]});
        let image = json!({"image": {"reference": "registry.example.com/podkey:1", "pullPolicy": "IfNotPresent"}});

        guarded.admits("apps", "a plain pod", &pod("app", "true"));
        guarded.admits("apps", "the mark alone asks for nothing", &marked(pod("app", "true")));
        guarded.admits(NAME, "podkey's own namespace", &annotated());
        guarded.admits("apps", "injected", &over(marked(annotated()), init.clone()));
        let by_image = guarded.ask("apps", &over(marked(annotated()), volume(image.clone())));
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
            ("podkey-init without the mark", over(annotated(), init)),
            ("an image volume without the mark", over(annotated(), volume(image))),
            (
                "another volume of that name",
                over(marked(annotated()), volume(json!({"emptyDir": {"medium": "Memory"}}))),
            ),
            (
                "podkey-init among the containers",
                over(marked(annotated()), json!({"containers": container("podkey-init")})),
            ),
            (
                "the sidecar without podkey-init",
                over(
                    marked(annotated()),
                    json!({"initContainers": container("podkey-sidecar")}),
                ),
            ),
            (
                "a container like podkey-init",
                over(
                    marked(annotated()),
                    json!({"initContainers": container("podkey-init-2")}),
                ),
            ),
        ] {
            guarded.refuses("apps", what, &pod);
        }
        guarded.admits("apps", "vault-k8s' annotations elsewhere", &annotated_for_vault_k8s());
        guarded.refuses("theirs", "vault-k8s' annotations", &annotated_for_vault_k8s());
        for list in ["initContainers", "containers"] {
            for name in ["vault-agent-init", "vault-agent", "openbao-agent-init", "openbao-agent"] {
                let injected = over(annotated_for_vault_k8s(), json!({list: container(name)}));
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

/// All pods of the decision's golden cases: what podkey injects passes once it is injected and not before, and what podkey leaves
/// alone passes as it is.
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
            } else if case.join("ignored").exists() && is_pod(&before) {
                assert!(before.is_success(), "{name}: {}", before.text);
                *seen.entry("left alone").or_default() += 1;
            }
        }
        println!("{seen:?}");
        assert!(
            seen["asks"] > 100 && seen["injected"] > 100 && seen["left alone"] > 8,
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

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

/// A release of the test's own, with the guard.
struct Release {
    namespace: Namespace,
    values: Value,
}

impl Release {
    fn new() -> Self {
        let namespace = Namespace::bare("guard", &json!({}));
        let name = &namespace.name;
        let guards = ["-guard", "-guard-vault-k8s", "-ephemeral-containers"];
        let kinds = ["validatingadmissionpolicies", "validatingadmissionpolicybindings"];
        for kind in kinds {
            for suffix in guards {
                namespace.delete_later(cluster(), format!("{ADMISSION}/{kind}/podkey.{name}{suffix}"));
            }
        }
        for kind in [
            &format!("{ADMISSION}/mutatingwebhookconfigurations"),
            CLUSTER_ROLES,
            CLUSTER_ROLE_BINDINGS,
        ] {
            namespace.delete_later(cluster(), format!("{kind}/podkey.{name}"));
        }
        let selector = json!({"matchExpressions": null, "matchLabels": {OTHER_RELEASE: name}});
        let ours = json!({"guard": {"enabled": true}, "webhook": {"namespaceSelector": selector}});
        let values = merge(install::values(), &ours);
        Self { namespace, values }
    }

    /// What `helm install` and `helm upgrade` do.
    fn apply(&self) {
        let name = &self.namespace.name;
        install::upgrade(name, name, &self.values).unwrap_or_else(|error| panic!("helm: {error}"));
    }

    /// README's first command of an emergency.
    fn delete_configuration(&self) {
        cluster().delete(&format!(
            "{ADMISSION}/mutatingwebhookconfigurations/podkey.{}",
            self.namespace.name
        ));
    }

    /// README's second command.
    fn delete_bindings(&self) {
        for suffix in ["-guard", "-guard-vault-k8s"] {
            let name = format!("podkey.{}{suffix}", self.namespace.name);
            cluster().delete(&format!("{ADMISSION}/validatingadmissionpolicybindings/{name}"));
        }
    }
}

/// Waits until the answer about this pod is as told: API servers learn of a change a moment later.
#[track_caller]
fn until(what: &str, namespace: &Namespace, pod: &Value, is: impl Fn(&Answer) -> bool) {
    let mut last = None;
    wait(LIMIT, || {
        let answer = last.insert(namespace.try_create_as(cluster(), pod, "?dryRun=All"));
        is(answer).then_some(())
    })
    .unwrap_or_else(|| panic!("not {what}: {last:?}"));
}

#[test]
fn without_the_webhook_s_configuration_the_guard_holds_annotated_pods_until_it_is_back() {
    install::podkey();
    let release = Release::new();
    let name = release.namespace.name.clone();
    let before = inventory(&name);
    let apps = Namespace::labelled("guarded-apps", &json!({OTHER_RELEASE: name}));
    let vault = Vault::new(&apps);
    vault.put("web", &json!({"password": "s3cret"}));
    let files = json!([{"secret": "web", "key": "password", "file": "password"}]);
    let annotated = |name: &str, script: &str| vault.annotate(pod(name, script), &files);
    let asked = annotated("asked", "true");
    let is_injected = |answer: &Answer| answer.is_success() && init_containers(&answer.json()) == ["podkey-init"];
    let is_plain = |answer: &Answer| answer.is_success() && init_containers(&answer.json()).is_empty();

    release.apply();
    until("injected", &apps, &asked, is_injected);
    assert_eq!(
        apps.create(&annotated("injected", "cat /podkey/secrets/password"))
            .succeeds(),
        "s3cret"
    );

    release.delete_configuration();
    until("refused by the guard", &apps, &asked, is_refusal);
    apps.create(&pod("plain", "true")).succeeds();
    let template = annotated("held", "trap 'exit 0' TERM; while :; do sleep 1; done");
    let template = merge(
        template,
        &json!({"metadata": {"name": null, "labels": {"app": "held"}}, "spec": {"restartPolicy": null}}),
    );
    let deployments = apps.group_path("apps/v1", "deployments");
    cluster().create(
        &deployments,
        &json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "held"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "held"}}, "template": template},
        }),
    );
    let way_out = format!("validatingadmissionpolicybinding podkey.{name}-guard podkey.{name}-guard-vault-k8s");
    let told = || {
        apps.events()
            .into_iter()
            .find(|event| event.contains("FailedCreate") && event.contains(REFUSED))
    };
    let event = wait(LIMIT, told).unwrap_or_else(|| panic!("{:?}", apps.events()));
    assert!(event.starts_with("ReplicaSet") && event.contains(&way_out), "{event}");

    release.apply();
    until("injected", &apps, &asked, is_injected);
    wait(LIMIT, || {
        let deployment = cluster().get(&format!("{deployments}/held"));
        (deployment["status"]["readyReplicas"] == 1).then_some(())
    })
    .unwrap_or_else(|| panic!("{:?}", apps.events()));

    // The way out of an emergency: the first command does not let annotated pods in, the second does.
    release.delete_configuration();
    until("refused by the guard", &apps, &asked, is_refusal);
    release.delete_bindings();
    until("let in", &apps, &asked, is_plain);
    apps.create(&annotated("let-in", "test ! -e /podkey")).succeeds();
    release.apply();
    until("injected", &apps, &asked, is_injected);

    helm(&["uninstall", &name, "--namespace", &name, "--wait", "--timeout", "3m"]).unwrap();
    until("without podkey", &apps, &asked, is_plain);
    nothing_left(&name, &before);
}
