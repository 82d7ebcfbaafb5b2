//! What the API server does with an injected pod: its policies and limits, dry runs, updates.

use serde_json::{Value, json};

use crate::harness::api::cluster;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::Vault;
use crate::harness::pod::{definition, fresh, init_containers, pod};
use crate::harness::{LIMIT, merge, wait};

/// A secret with one file of it asked for.
fn one_file(vault: &Vault<'_>) -> Value {
    vault.put("web", &json!({"password": "s3cret"}));
    json!([{"secret": "web", "key": "password", "file": "password"}])
}

const SHOW: &str = "cat /podkey/secrets/password";

#[test]
fn a_restricted_pod_stays_restricted() {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace = Namespace::labelled("restricted", &labels);
    let vault = Vault::new(&namespace);
    let files = one_file(&vault);
    let restricted = json!({"spec": {"securityContext": {
        "runAsNonRoot": true, "runAsUser": 1001, "seccompProfile": {"type": "RuntimeDefault"},
    }}});
    let mut app = merge(pod("app", SHOW), &restricted);
    app["spec"]["containers"][0]["securityContext"] =
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let app = vault.annotate(app, &files);
    assert_eq!(namespace.create(&app).succeeds(), "s3cret");
    let kept_fresh = fresh(merge(app, &json!({"metadata": {"name": "fresh"}})), "15s");
    let kept_fresh = namespace.create(&kept_fresh);
    assert_eq!(kept_fresh.succeeds(), "s3cret");
    assert_eq!(init_containers(&kept_fresh.object()), ["podkey-init", "podkey-sidecar"]);

    // The policy is really enforced: the same pod without its security context.
    let answer = namespace.try_create(&vault.annotate(pod("loose", SHOW), &files));
    let message = answer.message();
    assert!(answer.status == 403 && message.contains("PodSecurity"), "{message}");
    assert!(!message.contains("podkey-init"), "{message}");
}

#[test]
fn a_quota_and_a_limit_range_count_podkey_init_as_any_init_container() {
    let namespace = Namespace::new("quota");
    let vault = Vault::new(&namespace);
    let files = one_file(&vault);
    cluster().create(
        &namespace.path("resourcequotas"),
        &json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"},
            "spec": {"hard": {
                "pods": "1", "requests.cpu": "100m", "limits.cpu": "500m", "requests.memory": "64Mi", "limits.memory": "64Mi",
            }},
        }),
    );
    // Until it is counted, nothing is admitted under it.
    let counted = || {
        let quota = cluster().get(&namespace.path("resourcequotas/quota"));
        quota["status"]["hard"].is_object().then_some(())
    };
    wait(LIMIT, counted).expect("the quota is counted");
    let mut app = pod("app", SHOW);
    app["spec"]["containers"][0]["resources"] =
        json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}});
    // It fits to the last: an init container counts only where it needs more than all containers together.
    assert_eq!(namespace.create(&vault.annotate(app, &files)).succeeds(), "s3cret");

    let namespace = Namespace::new("limit-range");
    let vault = Vault::new(&namespace);
    let files = one_file(&vault);
    let range = |min: &str| {
        json!({
            "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "range"},
            "spec": {"limits": [{
                "type": "Container", "min": {"cpu": min}, "max": {"cpu": "500m", "memory": "64Mi"},
                "default": {"cpu": "100m", "memory": "32Mi"}, "defaultRequest": {"cpu": "50m", "memory": "32Mi"},
            }]},
        })
    };
    cluster().create(&namespace.path("limitranges"), &range("10m"));
    let within = namespace.create(&vault.annotate(pod("app", SHOW), &files));
    assert_eq!(within.succeeds(), "s3cret");
    assert_eq!(
        definition(&within.object(), "podkey-init")["resources"],
        json!({"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}}),
        "the range's defaults replaced the operator's"
    );

    // A range that podkey-init is outside of refuses the pod, and says by what.
    cluster().delete(&namespace.path("limitranges/range"));
    cluster().create(&namespace.path("limitranges"), &range("20m"));
    let below = vault.annotate(pod("below", SHOW), &files);
    // The API server may know the range of before a moment longer.
    let refused = wait(LIMIT, || {
        let answer = namespace.try_create_as(cluster(), &below, "?dryRun=All");
        (answer.status == 403).then(|| answer.message())
    })
    .expect("the pod is refused");
    println!("below a LimitRange's minimum: {refused}");
    assert!(
        refused.contains("minimum cpu usage per Container is 20m, but request is 10m"),
        "{refused}"
    );
}

#[test]
fn a_dry_run_shows_the_injected_pod_and_makes_none() {
    let namespace = Namespace::new("dry-run");
    let vault = Vault::new(&namespace);
    let app = vault.annotate(pod("app", SHOW), &one_file(&vault));
    let answer = namespace.try_create_as(cluster(), &app, "?dryRun=All");
    assert!(answer.is_success(), "{}", answer.text);
    assert_eq!(init_containers(&answer.json()), ["podkey-init"]);
    assert_eq!(cluster().get(&namespace.path("pods"))["items"], json!([]));
}

#[test]
fn pods_with_a_generated_name_are_injected() {
    let namespace = Namespace::new("generate-name");
    let vault = Vault::new(&namespace);
    let files = one_file(&vault);
    let generated = json!({"metadata": {"name": null, "generateName": "app-"}});
    let app = merge(vault.annotate(pod("app", SHOW), &files), &generated);
    let pods = [namespace.create(&app), namespace.create(&app)];
    for pod in &pods {
        assert!(pod.name.starts_with("app-"));
        assert_eq!(pod.succeeds(), "s3cret");
    }
}

#[test]
fn what_is_updated_is_left_alone() {
    let namespace = Namespace::new("update");
    let vault = Vault::new(&namespace);
    let files = one_file(&vault);
    let forever = "trap 'exit 0' TERM; while :; do sleep 1; done";
    let old = namespace.create(&pod("old", forever));
    let injected = namespace.create(&vault.annotate(pod("injected", forever), &files));
    old.running();
    injected.running();

    // Annotated after its creation: too late for secrets, but no reason to refuse.
    let annotations = json!({"metadata": {"annotations": vault.annotations(&files)}});
    let updated = cluster().patch(&old.path(), &annotations);
    assert!(updated["spec"]["initContainers"].is_null());
    assert!(updated["metadata"]["annotations"]["podkey.dev/injected"].is_null());

    // Even annotations that would deny a new pod.
    let wrong = json!({"metadata": {"annotations": {"podkey.dev/fils": "x"}, "labels": {"a": "b"}}});
    let before = injected.object();
    let after = cluster().patch(&injected.path(), &wrong);
    assert_eq!(after["spec"], before["spec"]);
    cluster().patch(&old.path(), &wrong);
}

#[test]
fn a_pod_with_a_mistake_is_refused_with_every_problem_at_once() {
    let namespace = Namespace::new("mistakes");
    let vault = Vault::new(&namespace);
    let mistaken = merge(
        vault.annotate(
            pod("app", SHOW),
            &json!([{"secret": "web", "fle": "x", "file": "/proc/x"}]),
        ),
        &json!({"metadata": {"annotations": {"podkey.dev/rol": "x", "podkey.dev/connection": "defalt"}}}),
    );
    let answer = namespace.try_create(&mistaken);
    // ARC shows the message of a 403 in its runners' status, and takes the mended template.
    assert_eq!(answer.status, 403, "{}", answer.text);
    let message = answer.message();
    for part in [
        "pods.podkey.dev",
        "podkey.dev/rol:",
        "\"role\"",
        "files[0].fle",
        "/proc",
        "\"default\"",
    ] {
        assert!(message.contains(part), "no {part} in {message}");
    }

    // Where a controller makes the pods, its events say so.
    let labels = json!({"app": "mistaken"});
    cluster().create(
        &namespace.group_path("apps/v1", "replicasets"),
        &json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "mistaken"},
            "spec": {
                "replicas": 1, "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels, "annotations": mistaken["metadata"]["annotations"]},
                    "spec": {"containers": mistaken["spec"]["containers"]},
                },
            },
        }),
    );
    wait(LIMIT, || {
        namespace
            .events()
            .iter()
            .any(|event| event.starts_with("ReplicaSet mistaken: FailedCreate") && event.contains("podkey.dev/rol"))
            .then_some(())
    })
    .unwrap_or_else(|| panic!("{:#?}", namespace.events()));
}
