//! With the memo, every answer is the answer without it.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The golden cases that are pods, each with its config.
fn golden() -> Vec<(Value, Arc<Config>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inject");
    let shared = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let mut cases = Vec::new();
    for folder in fs::read_dir(&root).unwrap() {
        let folder = folder.unwrap().path();
        let Ok(pod) = fs::read_to_string(folder.join("pod.yaml")) else {
            continue;
        };
        let config = fs::read_to_string(folder.join("config.yaml")).unwrap_or_else(|_| {
            let is_vault_k8s = folder.file_name().unwrap().to_string_lossy().starts_with("vault-k8s-");
            shared(if is_vault_k8s { "vault-k8s.yaml" } else { "config.yaml" })
        });
        let pod: Option<Value> = serde_saphyr::from_str(&pod).ok();
        let config = Config::parse(&config, |_| Ok(String::new()));
        if let (Some(pod), Ok(config)) = (pod.filter(|pod| pod["kind"] == "Pod"), config) {
            cases.push((pod, Arc::new(config)));
        }
    }
    assert!(cases.len() > 400, "where have the cases gone? {}", cases.len());
    cases
}

fn config() -> Arc<Config> {
    let text = "agent: {image: i}\nconnections: {default: {address: 'https://v', auth: {role: r}}}";
    Arc::new(Config::parse(text, |_| Err(String::new())).unwrap())
}

/// A pod that asks for one secret, with an annotation of its own.
fn asking(other: &str) -> Value {
    json!({
        "metadata": {"annotations": {"other": other, "podkey.dev/files": "- {secret: a/b, key: k, file: c}"}},
        "spec": {"containers": [{"name": "main"}]},
    })
}

/// The review of a pod of this template: `number` is in each name.
fn review_of(template: &Value, number: u32) -> Vec<u8> {
    let mut pod = template.clone();
    let name = format!("web-{number:05}");
    let token_volume = format!("kube-api-access-{number:05}");
    let metadata = &mut pod["metadata"];
    metadata["name"] = json!(name);
    let uid = format!("5f0d9f5e-0b0e-4d6b-9a55-{number:012}");
    metadata["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Runner", "name": name, "uid": uid}]);
    metadata["managedFields"] = json!([{
        "time": format!("2026-06-01T09:15:02.{number:05}Z"),
        "fieldsV1": {"f:metadata": {"f:ownerReferences": {format!("k:{{\"uid\":\"{uid}\"}}"): {}, "f:\u{e9}\\u0061": {}}}},
    }]);
    let spec = &mut pod["spec"];
    let append = |list: &mut Value, item: Value| match list.as_array_mut() {
        Some(items) => items.push(item),
        None => *list = json!([item]),
    };
    append(&mut spec["volumes"], json!({"name": token_volume, "projected": {}}));
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        let mount = json!({"name": token_volume, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"});
        append(&mut container["volumeMounts"], mount);
        let secret = json!({"secretKeyRef": {"name": name, "key": "jitToken"}});
        append(&mut container["env"], json!({"name": "JITCONFIG", "valueFrom": secret}));
    }
    let review = json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {"uid": format!("2c1f6d3e-{number:05}"), "name": name, "namespace": "ns", "operation": "CREATE", "object": pod},
    });
    let text = serde_json::to_string(&review).unwrap();
    text.replace('\u{e9}', r"\u00e9").into_bytes()
}

/// All that an answer says, but its duration.
type Said = (String, Outcome, bool, String, String, String, Option<String>);

fn said(answer: Result<ReviewAnswer, ReviewError>) -> Said {
    let ReviewAnswer {
        body,
        outcome,
        counts,
        log,
    } = answer.unwrap();
    let body = String::from_utf8(body).unwrap();
    (body, outcome, counts, log.uid, log.namespace, log.name, log.problems)
}

fn is_recalled(memo: &Memo, body: &[u8], config: &Arc<Config>) -> bool {
    memo.table().find(body.len(), config).recall(body).is_some()
}

#[test]
fn no_decision_depends_on_a_name_that_a_template_leaves_out() {
    let mut recalled = 0;
    for (pod, config) in golden() {
        let memo = Memo::default();
        for number in [0, 1, 90_210] {
            let review = review_of(&pod, number);
            recalled += usize::from(is_recalled(&memo, &review, &config));
            let with = said(memo.answer(&review, &config));
            assert_eq!(with, said(review::answer(&review, &config)), "{pod}");
        }
    }
    // Two of three, of all pods that are not refused.
    assert!(recalled > 400, "{recalled}");
}

#[test]
fn a_review_with_another_byte_outside_of_names_is_not_recalled() {
    let review = review_of(&asking("x"), 1);
    let template = Template::of(&review).unwrap();
    let blank = String::from_utf8(template.text().to_vec()).unwrap();
    // Of a text in `managedFields`, escapes stay: the key is `k:{"uid":"…"}`, then `f:\u00e9` and a backslash.
    assert!(
        blank.contains(r#""xx{\"xxx\"x\"xx"#) && blank.contains(r#""xx\u00e9\\xxxxx""#),
        "{blank}"
    );
    for at in 0..review.len() {
        let mut other = review.clone();
        for byte in [b'"', b'\\', b'$', b' ', 0xc3] {
            other[at] = byte;
            assert!(byte == review[at] || !template.matches(&other), "{at}: {blank}");
        }
        other[at] = b'a';
        let is_name = template.text()[at] != review[at] || review[at] == b'x';
        assert!(
            is_name || review[at] == b'a' || !template.matches(&other),
            "{at}: {blank}"
        );
    }
    assert!(!template.matches(&review[1..]));
    assert!(template.matches(&review));
}

#[test]
fn a_mount_of_another_volume_than_the_tokens_is_not_recalled() {
    let memo = Memo::default();
    let text = String::from_utf8(review_of(&asking("x"), 7)).unwrap();
    memo.answer(text.as_bytes(), &config()).unwrap();
    let (before, after) = text.rsplit_once("kube-api-access-00007").unwrap();
    let template = Template::of(text.as_bytes()).unwrap();
    assert!(template.matches(text.replace("access-00007", "access-0000x").as_bytes()));
    assert!(!template.matches(format!("{before}kube-api-access-0000x{after}").as_bytes()));
    // A second volume of such a name: neither is a name, because they may change places.
    let two = text.replace(r#""volumes":["#, r#""volumes":[{"name":"kube-api-access-zzzzz"},"#);
    let template = Template::of(two.as_bytes()).unwrap();
    assert!(!template.matches(two.replace("access-00007", "access-0000x").as_bytes()));
}

#[test]
fn a_mount_that_spells_the_token_volumes_name_with_an_escape_is_not_overlooked() {
    // The file's folder is on the mount, and the decision depends on whether the mount's volume is the token's.
    let review = |suffix: &str| {
        let pod = json!({
            "metadata": {"annotations": {"podkey.dev/files": "- {secret: a/b, key: k, file: /data/x/y}"}},
            "spec": {
                "containers": [{"name": "main", "volumeMounts": [{"name": "ESCAPED", "mountPath": "/data"}]}],
                "volumes": [{"name": format!("kube-api-access-{suffix}"), "projected": {}}],
            },
        });
        let text = String::from_utf8(plain_review("u-1", &pod)).unwrap();
        text.replace("ESCAPED", r"kube\u002dapi-access-zzzzz").into_bytes()
    };
    let (memo, config) = (Memo::default(), config());
    assert_eq!(said(memo.answer(&review("aaaaa"), &config)).1, Outcome::Injected);
    assert!(matches!(
        said(memo.answer(&review("zzzzz"), &config)).1,
        Outcome::Denied(_)
    ));
}

#[test]
fn a_list_in_the_place_of_an_object_has_no_template() {
    // serde takes the list's items for the fields, and the third is `annotations` for the decision, `managedFields` here.
    let files = r#"{"podkey.dev/files": "- {secret: a/b, key: k, file: c}"}"#;
    let review = format!(
        r#"{{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {{"uid": "u", "operation": "CREATE",
            "object": {{"metadata": ["a", null, {files}], "spec": {{"containers": [{{"name": "c"}}]}}}}}}}}"#
    );
    assert!(Template::of(review.as_bytes()).is_none());
}

#[test]
fn another_config_forgets_all_answers() {
    let memo = Memo::default();
    let (first, second) = (config(), config());
    let review = review_of(&asking("x"), 1);
    memo.answer(&review, &first).unwrap();
    assert!(is_recalled(&memo, &review, &first));
    assert!(!is_recalled(&memo, &review, &second));
    assert!(!is_recalled(&memo, &review, &first));
}

#[test]
fn a_refusal_is_never_remembered() {
    let memo = Memo::default();
    let mut pod = asking("x");
    pod["metadata"]["annotations"]["podkey.dev/role"] = json!("not a role");
    let review = review_of(&pod, 1);
    assert!(matches!(said(memo.answer(&review, &config())).1, Outcome::Denied(_)));
    assert!(!is_recalled(&memo, &review, &config()));
}

#[test]
fn a_client_that_sends_ever_other_texts_fills_a_bounded_memo_and_displaces_nothing_that_is_used() {
    let (memo, config) = (Memo::default(), config());
    let used = review_of(&asking("used"), 1);
    memo.answer(&used, &config).unwrap();
    let mut learned = 0;
    let learned_all = |memo: &Memo| {
        memo.table()
            .remembered
            .iter()
            .map(|known| Arc::as_ptr(known) as usize)
            .collect::<Vec<_>>()
    };
    for number in 0..600_u32 {
        // Of many lengths, and long, so that the memo is full soon.
        let other = format!("{number:0>width$}", width = 6_000 + number as usize % 40);
        let before = learned_all(&memo);
        memo.answer(&review_of(&asking(&other), number), &config).unwrap();
        learned += usize::from(learned_all(&memo) != before);
        assert!(
            memo.answer(&used, &config).is_ok() && is_recalled(&memo, &used, &config),
            "{number}"
        );
        let table = memo.table();
        let bytes: usize = table.remembered.iter().map(|known| known.bytes).sum();
        assert!(table.bytes == bytes && bytes <= MEMO_BYTES, "{bytes}");
        let of_length = |length| table.remembered.iter().filter(|known| known.length() == length).count();
        assert!(
            table
                .remembered
                .iter()
                .all(|known| of_length(known.length()) <= SAME_LENGTH)
        );
    }
    // Some 80 until the memo was full, then one of 64.
    assert!((60..100).contains(&learned), "{learned}");
}

/// A review of this pod, whose uid and names are as they are.
fn plain_review(uid: &str, pod: &Value) -> Vec<u8> {
    let request = json!({"uid": uid, "namespace": "ns", "operation": "CREATE", "object": pod});
    let review = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request});
    review.to_string().into_bytes()
}

#[test]
fn texts_that_are_never_learned_do_not_get_a_second_decision_each() {
    const REVIEWS: usize = 400;
    type Kind = fn(&mut Value);
    let kinds: [(&str, &str, usize, Kind); 4] = [
        ("names take more memory than there is", "u", TRIES_AT_ONCE, |pod| {
            pod["metadata"]["managedFields"] = json!(["a/".repeat(12_000)]);
        }),
        ("the uid is not a name", "u u", TRIES_AT_ONCE, |_| ()),
        ("a refusal", "u", 0, |pod| {
            pod["metadata"]["annotations"]["podkey.dev/role"] = json!("not a role");
        }),
        ("a large answer", "u", 0, |pod| {
            let containers = (0..100).map(|number| json!({"name": format!("c-{number}")}));
            pod["spec"]["containers"] = containers.collect();
        }),
    ];
    for (kind, uid, at_once, change) in kinds {
        let (memo, config) = (Memo::default(), config());
        for number in 0..REVIEWS {
            let mut pod = asking(&number.to_string());
            change(&mut pod);
            memo.answer(&plain_review(uid, &pod), &config).unwrap();
        }
        let (table, unknown) = (memo.table(), memo.unknown.load(Ordering::Relaxed));
        assert!(table.remembered.is_empty(), "{kind}: is learned");
        // A review that is not worth learning does not use up the turn of one that is.
        let turns = if at_once == 0 { 0 } else { REVIEWS };
        assert_eq!(unknown, turns as u64, "{kind}");
        let most = at_once + turns / LEARN_EVERY as usize;
        assert!(table.tries <= most, "{kind}: {} tries", table.tries);
    }
}

proptest! {
    /// Any sequence of reviews of any templates, under configs that change.
    #[test]
    fn with_the_memo_every_answer_is_the_answer_without_it(
        sequence in prop::collection::vec((0..3_usize, 0..2_usize, "[a-c]{1,2}", 0..100_000_u32), 1..40),
    ) {
        let (memo, configs) = (Memo::default(), [config(), config()]);
        for (kind, which, text, number) in sequence {
            let mut pod = asking(&text);
            match kind {
                0 => pod["metadata"]["annotations"] = json!({"other": text}),
                1 => pod["metadata"]["annotations"]["podkey.dev/role"] = json!(text),
                _ => (),
            }
            let (review, config) = (review_of(&pod, number), &configs[which]);
            prop_assert_eq!(said(memo.answer(&review, config)), said(review::answer(&review, config)));
        }
    }
}
