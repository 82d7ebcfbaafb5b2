//! `podkey status` on real pods: what people see of them.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::arc::scale_set::ScaleSet;
use crate::harness::api::cluster;
use crate::harness::install::OTHER_RELEASE;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::Vault;
use crate::harness::pod::{fresh, patient, pod, watch};
use crate::harness::settings::settings;
use crate::harness::{LIMIT, merge, wait};

/// What a run printed: exit code, standard output, standard error.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

fn command(kubeconfig: &std::path::Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podkey"));
    command.arg("status").arg("--kubeconfig").arg(kubeconfig).args(args);
    command
}

fn run_as(kubeconfig: &std::path::Path, args: &[&str]) -> Run {
    let output = command(kubeconfig, args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

fn run(args: &[&str]) -> Run {
    run_as(&settings().kubeconfig, args)
}

/// Waits until a line of the table has all these texts. Gives the line.
#[track_caller]
fn line(args: &[&str], texts: &[&str]) -> String {
    let mut last = None;
    let found = wait(LIMIT, || {
        let run = run(args);
        let found = run
            .out
            .lines()
            .find(|line| texts.iter().all(|text| line.contains(text)))
            .map(str::to_owned);
        last = Some(run);
        found
    });
    found.unwrap_or_else(|| panic!("no line with {texts:?} in {last:#?}"))
}

fn password() -> Value {
    json!([{"secret": "web", "key": "password", "file": "password"}])
}

fn annotated(pod: Value, annotations: &Value) -> Value {
    merge(pod, &json!({"metadata": {"annotations": annotations}}))
}

#[test]
fn each_pod_shows_whether_it_has_its_secrets_and_why_not() {
    let namespace = Namespace::new("status");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret-of-the-status"}));
    let app = |name: &str| vault.annotate(patient(name, &watch("password")), &password());
    namespace.create(&app("good"));
    let no_role = json!({"podkey.dev/role": "nope"});
    namespace.create(&annotated(app("denied"), &no_role));
    let again = json!({"spec": {"restartPolicy": "Always"}});
    namespace.create(&merge(annotated(app("again"), &no_role), &again));
    vault.role("others", &json!({"bound_service_account_names": ["nobody"]}));
    namespace.create(&annotated(app("tries"), &json!({"podkey.dev/role": "others"})));
    // While init tries again, its log says why.
    println!(
        "{}",
        line(&["-n", namespace.name.as_str()], &["tries ", " running ", "403"])
    );
    namespace.create(&fresh(app("kept"), "15s"));
    namespace.create(&pod("plain", "true"));
    let bad = json!({"podkey.dev/files": "no list"});
    let labels = json!({"app": "refused"});
    cluster().create(
        &namespace.group_path("apps/v1", "replicasets"),
        &json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "refused"},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels, "annotations": bad},
                "spec": {"containers": app("x")["spec"]["containers"]},
            }},
        }),
    );
    let table = ["-n", namespace.name.as_str()];
    let why = "the role nope does not exist";
    line(&table, &["denied ", "denied (77)", " 0/1 ", why]);
    line(&table, &["again ", "denied (77)", " 0/1 ", why]);
    line(&table, &["good ", " done ", " 1 "]);
    line(&table, &["kept ", " done ", " fresh "]);
    line(&table, &["ReplicaSet/refused ", " refused ", "podkey.dev/files"]);
    let shown = run(&table);
    println!("{}", shown.out);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert_eq!(shown.err, "");
    assert!(!shown.out.contains("plain"), "{shown:?}");
    assert!(
        shown.out.starts_with("NAME  ") && shown.out.contains("  INIT  "),
        "{shown:?}"
    );

    // The server now refuses the sidecar's reads.
    vault.api.insist(
        "POST",
        &format!("/v1/sys/policies/acl/{}", namespace.name),
        &json!({"policy": "path \"nothing\" { capabilities = [\"read\"] }"}),
    );
    let behind = line(&table, &["kept ", " done ", " behind ", "may not read"]);
    println!("{behind}");
    named_pods(&namespace);
    for output in ["wide", "json"] {
        let shown = run(&["-n", &namespace.name, "-o", output]);
        assert!(!shown.out.contains("s3cret-of-the-status"), "{shown:?}");
    }
    limited_rights(&namespace);
}

/// A name that does not exist is an error, and the other rows are printed.
fn named_pods(namespace: &Namespace) {
    let shown = run(&[
        "-n",
        &namespace.name,
        "pod/good",
        "nobody",
        "--no-headers",
        "-o",
        "json",
    ]);
    assert_eq!(shown.code, Some(1), "{shown:?}");
    assert_eq!(
        shown.err,
        format!("the pod nobody does not exist in namespace {}\n", namespace.name)
    );
    let rows: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    assert_eq!(
        (&rows[0]["name"], &rows[0]["init"]),
        (&json!("good"), &json!("done")),
        "{rows}"
    );
    assert_eq!(
        (&rows[0]["deliveredFiles"], &rows[0]["sidecar"]),
        (&json!(1), &json!("none")),
        "{rows}"
    );
}

/// A user who may list the pods of one namespace, and nothing else.
fn limited_rights(namespace: &Namespace) {
    namespace.service_account("viewer");
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]);
    namespace.allow(&format!("system:serviceaccount:{}:viewer", namespace.name), &rules);
    let kubeconfig = kubeconfig(&namespace.token("viewer", None));
    let all = run_as(kubeconfig.path(), &["-A"]);
    assert_eq!(all.code, Some(64), "{all:?}");
    assert!(
        all.err.contains("you may not list pods in all namespaces") && all.err.contains("-n NAMESPACE"),
        "{all:?}"
    );
    let mut last = None;
    let shown = wait(LIMIT, || {
        let run = run_as(kubeconfig.path(), &["-n", &namespace.name]);
        let good = (run.code == Some(0)).then_some(());
        last = Some(run);
        good
    });
    let last = last.unwrap();
    shown.unwrap_or_else(|| panic!("{last:?}"));
    assert!(
        last.out
            .lines()
            .any(|line| line.starts_with("kept ") && line.contains(" ? ")),
        "{last:?}"
    );
    assert!(last.err.contains("you may not get pods/log"), "{last:?}");
    assert!(last.err.contains("you may not list events"), "{last:?}");
}

fn kubeconfig(token: &str) -> tempfile::NamedTempFile {
    let admin: Value = serde_saphyr::from_str(&std::fs::read_to_string(&settings().kubeconfig).unwrap()).unwrap();
    let mut cluster = admin["clusters"][0].clone();
    cluster["name"] = json!("c");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": [cluster],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": token}}],
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config.to_string()).unwrap();
    file
}

#[test]
fn a_pod_that_the_webhook_did_not_see_shows_as_not_injected() {
    let namespace = Namespace::bare("status-missed", &json!({OTHER_RELEASE: "none"}));
    let asks = json!({"podkey.dev/role": "reader", "podkey.dev/files": password().to_string()});
    namespace.create(&annotated(pod("missed", "true"), &asks));
    let line = line(&["-A", "--no-headers"], &["missed ", " not-injected "]);
    assert!(
        line.starts_with(&namespace.name) && line.contains("podkey doctor"),
        "{line}"
    );
}

#[test]
fn watch_prints_a_new_pod_and_what_becomes_of_it() {
    let namespace = Namespace::new("status-watch");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let mut child = command(&settings().kubeconfig, &["-n", &namespace.name, "-w"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let app = namespace.create(&vault.annotate(patient("late", &watch("password")), &password()));
    let mut seen = Vec::new();
    let mut until = |text: &str, seen: &mut Vec<String>| {
        let line = lines
            .by_ref()
            .inspect(|line| seen.push(line.clone()))
            .find(|line| line.contains(text));
        line.unwrap_or_else(|| panic!("no line with {text:?}: {seen:#?}"))
    };
    until(" done ", &mut seen);
    app.delete();
    until(" deleted ", &mut seen);
    println!("{}", seen.join("\n"));
    assert!(seen[0].starts_with("NAME "), "{seen:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_runner_shows_its_job() {
    let Some(set) = ScaleSet::new("status of a runner") else {
        return;
    };
    let vault = set.vault();
    set.install(&set.annotations(&vault), &json!({}));
    // The job runs until `podkey status` has shown the job.
    set.queue(1, "while [ ! -e /tmp/go ]; do sleep 0.2; done");
    let shown = line(&["-n", &set.namespace.name], &["-runner-", " run ", " done "]);
    println!("{shown}");
    assert!(shown.contains("octo-org/"), "{shown}");
    let runner = set.github.jobs()[0]["runner"].as_str().unwrap().to_owned();
    set.namespace
        .pod(&runner)
        .exec("runner", &["touch", "/tmp/go"])
        .unwrap();
    set.finish();
}

#[test]
fn a_cluster_out_of_reach_is_exit_code_69() {
    let token = kubeconfig("none");
    let text = std::fs::read_to_string(token.path()).unwrap();
    let server = text
        .split("\"server\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    std::fs::write(token.path(), text.replace(&server, "https://127.0.0.1:9")).unwrap();
    let begun = std::time::Instant::now();
    let shown = run_as(token.path(), &[]);
    assert_eq!(shown.code, Some(69), "{shown:?}");
    assert!(
        shown
            .err
            .contains("the API server at https://127.0.0.1:9/ does not answer"),
        "{shown:?}"
    );
    println!("{} after {:.1?}", shown.err, begun.elapsed());
}
