//! The guard, as the chart renders it: it looks at the pods that the webhook is asked about, and at no others. `tests/e2e/guard/`
//! has what an API server makes of it.

use podkey::inject::{INJECTED, PREFIX};
use serde_json::{Value, json};

use super::chart::notes;
use super::rendered::{Manifests, knows_every_field, root};

const POLICY: &str = "ValidatingAdmissionPolicy";
const BINDING: &str = "ValidatingAdmissionPolicyBinding";

fn guarded(values: Value) -> Manifests {
    let mut all = json!({"guard": {"enabled": true}});
    json_patch::merge(&mut all, &values);
    let manifests = Manifests::chart_in("platform", all);
    manifests.0.iter().for_each(knows_every_field);
    manifests
}

fn names(manifests: &Manifests, kind: &str) -> Vec<String> {
    let named = manifests
        .of_kind(kind)
        .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned());
    named.filter(|name| name.contains("guard")).collect()
}

/// The expressions of a policy's conditions, by their names.
fn condition<'m>(policy: &'m Value, name: &str) -> &'m str {
    let conditions = policy["spec"]["matchConditions"].as_array().unwrap();
    let found = conditions.iter().find(|condition| condition["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {conditions:#?}"))["expression"]
        .as_str()
        .unwrap()
}

#[test]
fn the_guard_is_there_only_where_the_operator_wants_it_and_twice_with_vault_k8s() {
    for off in [json!({}), json!({"guard": null}), json!({"guard": {"enabled": false}})] {
        let manifests = Manifests::chart(off.clone());
        assert!(
            names(&manifests, POLICY).is_empty() && names(&manifests, BINDING).is_empty(),
            "{off}"
        );
    }
    let one = guarded(json!({}));
    let two = guarded(json!({"vaultK8s": {"enabled": true}}));
    for kind in [POLICY, BINDING] {
        assert_eq!(names(&one, kind), ["podkey.platform-guard"]);
        assert_eq!(
            names(&two, kind),
            ["podkey.platform-guard", "podkey.platform-guard-vault-k8s"]
        );
    }
    for name in names(&two, POLICY) {
        let binding = &two.named(BINDING, &name)["spec"];
        assert_eq!(binding, &json!({"policyName": name, "validationActions": ["Deny"]}));
    }
}

#[test]
fn the_guard_sees_the_namespaces_and_pods_that_the_webhook_sees() {
    let manifests = guarded(json!({
        "webhook": {"excludedNamespaces": ["kube-system"], "namespaceSelector": {
            "matchLabels": {"team": "a"}, "matchExpressions": [{"key": "b", "operator": "Exists"}],
        }},
        "vaultK8s": {"enabled": true, "namespaceSelector": {"matchLabels": {"injector": "podkey"}}},
    }));
    let webhooks = manifests.one("MutatingWebhookConfiguration")["webhooks"]
        .as_array()
        .unwrap();
    let policies: Vec<_> = names(&manifests, POLICY)
        .into_iter()
        .map(|name| manifests.named(POLICY, &name))
        .collect();
    assert_eq!(webhooks.len(), policies.len());
    for (webhook, policy) in webhooks.iter().zip(&policies) {
        let constraints = &policy["spec"]["matchConstraints"];
        assert_eq!(constraints["namespaceSelector"], webhook["namespaceSelector"]);
        assert_eq!(constraints["resourceRules"], webhook["rules"]);
        assert_eq!(constraints["matchPolicy"], webhook["matchPolicy"]);
        assert_eq!(policy["spec"]["failurePolicy"], "Fail");
    }
    let mark = format!("k.startsWith('{PREFIX}') && k != '{INJECTED}'");
    assert!(condition(policies[0], "podkey-annotation").contains(&mark));
    let switch = condition(policies[1], "vault-k8s-annotation");
    let falses = "['', '0', 'f', 'F', 'FALSE', 'false', 'False']";
    assert!(
        switch.contains(falses) && webhooks[1].to_string().contains(falses),
        "{switch}"
    );
}

#[test]
fn the_guard_s_words_name_what_to_restore_and_the_way_out() {
    let manifests = guarded(json!({"vaultK8s": {"enabled": true}}));
    for name in names(&manifests, POLICY) {
        let validation = &manifests.named(POLICY, &name)["spec"]["validations"][0];
        let message = validation["message"].as_str().unwrap();
        for part in [
            "podkey has not injected the pod",
            "restore the MutatingWebhookConfiguration podkey.platform (",
            "kubectl delete validatingadmissionpolicybinding podkey.platform-guard podkey.platform-guard-vault-k8s",
        ] {
            assert!(message.contains(part), "no {part:?} in {message}");
        }
        assert!(message.is_ascii() && message.len() < 512, "{} bytes", message.len());
        // ARC gives a runner up for good after 403 and 422.
        assert_eq!(validation["reason"], "RequestEntityTooLarge");
    }
}

/// Whoever is in an emergency reads docs/operate/emergency.md, or what Helm printed.
#[test]
fn the_way_out_is_told_with_the_guard_s_own_names() {
    let two = guarded(json!({"vaultK8s": {"enabled": true}}));
    let told = notes(&json!({"guard": {"enabled": true}, "vaultK8s": {"enabled": true}}));
    let command = format!(
        "kubectl delete validatingadmissionpolicybinding {}\n",
        names(&two, BINDING).join(" ")
    );
    assert!(told.contains(&command), "no {command:?} in {told}");
    assert!(!notes(&json!({})).contains("validatingadmissionpolicybinding"));
    let page = std::fs::read_to_string(root().join("docs/operate/emergency.md")).unwrap();
    let own = Manifests::chart(json!({"guard": {"enabled": true}, "vaultK8s": {"enabled": true}}));
    let [one, theirs] = &names(&own, BINDING)[..] else {
        panic!()
    };
    let command = format!("kubectl delete validatingadmissionpolicybinding {one} ");
    assert!(
        page.contains(&command) && page.contains(&format!("and {theirs},")),
        "{command}"
    );
}
