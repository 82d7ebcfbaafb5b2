//! Manifests with more than one object, and what the doctor makes of their namespaces and of a user's own text.

use serde_json::{Value, json};

use super::bench::Doctor;
use super::pods::annotated;
use crate::harness::merge;
use crate::harness::namespace::Namespace;

/// A Deployment with this pod.
fn deployment(name: &str, pod: &Value) -> Value {
    let labels = json!({"app": name});
    let mut template = merge(pod.clone(), &json!({"metadata": {"name": null, "labels": labels}}));
    template["spec"]["restartPolicy"] = json!("Always");
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    })
}

/// The doctor for a file with these objects.
fn doctor(namespace: &Namespace, objects: &[Value]) -> Doctor {
    let doctor = Doctor::of(&namespace.name, &json!({}));
    let documents: Vec<String> = objects.iter().map(Value::to_string).collect();
    std::fs::write(doctor.folder.path().join("pod.yaml"), documents.join("\n---\n")).unwrap();
    doctor
}

#[test]
fn an_account_that_the_same_manifest_makes_is_no_fault() {
    let namespace = Namespace::new("makes");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web"}});
    let pod = merge(annotated(&namespace), &json!({"spec": {"serviceAccountName": "web"}}));
    doctor(&namespace, &[account, deployment("web", &pod)]).is_content();
}

#[test]
fn the_old_field_of_the_account_names_the_account() {
    let namespace = Namespace::new("old");
    let pod = merge(annotated(&namespace), &json!({"spec": {"serviceAccount": "old"}}));
    Doctor::of(&namespace.name, &pod).mends("service-account", &["kubectl create serviceaccount old"]);
}

#[test]
fn every_deployment_of_a_list_is_examined() {
    let namespace = Namespace::new("two");
    let pod = annotated(&namespace);
    let bad = merge(pod.clone(), &json!({"spec": {"shareProcessNamespace": true}}));
    let list = json!({
        "apiVersion": "v1", "kind": "List", "items": [deployment("good", &pod), deployment("bad", &bad)],
    });
    let seen = doctor(&namespace, &[list]).examine();
    let fault = seen
        .first_fault()
        .unwrap_or_else(|| panic!("no fault\n{}", seen.story()));
    assert!(fault.message.contains("shareProcessNamespace"), "{}", seen.story());
    assert_eq!(fault.objects, ["Deployment/bad"], "{}", seen.story());
    let both = |check: &str| {
        let found = seen.findings.iter().find(|finding| finding.check == check);
        found.unwrap_or_else(|| panic!("{check}")).objects.len()
    };
    assert_eq!(both("webhook"), 2, "{}", seen.story());
}

#[test]
fn a_manifest_of_another_namespace_is_a_usage_error_as_for_kubectl() {
    let namespace = Namespace::new("mine");
    let pod = merge(annotated(&namespace), &json!({"metadata": {"namespace": "another"}}));
    let run = Doctor::of(&namespace.name, &pod).run_text();
    assert_eq!(run.code, Some(64), "{}", run.stderr);
    assert!(run.stderr.contains("\"another\""), "{}", run.stderr);
    // Without --namespace the manifest's own counts.
    let pod = merge(pod, &json!({"metadata": {"namespace": namespace.name}}));
    Doctor::of(&namespace.name, &pod).without_namespace().is_content();
}

#[test]
fn a_typo_beside_the_right_annotation_does_not_overwrite_the_right_value() {
    let namespace = Namespace::new("both");
    let pod = merge(
        annotated(&namespace),
        &json!({"metadata": {"annotations": {"podkey.dev/rol": "x"}}}),
    );
    let seen = Doctor::of(&namespace.name, &pod).examine();
    let fault = seen
        .first_fault()
        .unwrap_or_else(|| panic!("no fault\n{}", seen.story()));
    assert_eq!(
        fault.command.as_deref(),
        Some("podkey explain role"),
        "{}",
        seen.story()
    );
}

#[test]
fn the_last_line_counts_and_says_that_vault_was_not_examined() {
    let namespace = Namespace::new("closing");
    let run = Doctor::of(&namespace.name, &annotated(&namespace)).run_text();
    let last = run.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("0 faults, 0 warnings, "), "{}", run.stderr);
    assert!(
        last.contains("Vault was ") && last.contains(": set VAULT_ADDR and VAULT_TOKEN"),
        "{}",
        run.stderr
    );
}
