//! Secrets that stay fresh for as long as the pod lives: the sidecar in real pods, with real kubelets and controllers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::api::cluster;
use crate::harness::control::control;
use crate::harness::install::kubectl;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::Vault;
use crate::harness::pod::{Pod, container, definition, fresh, init_containers, patient, pod, status, watch};
use crate::harness::{LIMIT, merge, wait};
use crate::postgres::{ADMIN, ADMIN_PASSWORD, Postgres};

fn password() -> Value {
    json!([{"secret": "web", "key": "password", "file": "password"}])
}

/// Changes the value so often, and gives the seconds until the pod showed each. Of two changes, one at least must not take much
/// longer than the interval with its jitter. A single change may, where starting pods keep the machine busy.
#[track_caller]
fn changes(pod: &Pod<'_>, times: usize, interval: Duration, mut put: impl FnMut(&str)) -> Vec<f64> {
    let took: Vec<_> = (0..times)
        .map(|number| {
            let value = format!("changed-{number}");
            put(&value);
            pod.shows(&value)
        })
        .collect();
    let mut sorted = took.clone();
    sorted.sort_unstable();
    let (usual, longest) = (sorted[(times - 1) / 2], sorted[times - 1]);
    assert!(usual < interval + Duration::from_secs(10), "{took:?}");
    assert!(longest < interval + Duration::from_secs(30), "{took:?}");
    took.iter().map(Duration::as_secs_f64).collect()
}

/// The role's token expires after 40 s and cannot be renewed longer: another token reads the last changes.
#[test]
fn scenario_3_a_value_that_changed_is_in_the_pod_within_15_seconds() {
    let namespace = Namespace::new("eso");
    let vault = Vault::at(&namespace, &format!("eso-{}", namespace.name), &namespace.name);
    let role = json!({"audience": "vault", "token_ttl": "20s", "token_max_ttl": "40s"});
    vault.role("eso-vault", &role);
    vault.put("foo", &json!({"my-value": "first"}));
    let files = json!([{"secret": "foo", "key": "my-value", "file": "foobar"}]);
    let app = fresh(vault.annotate(pod("app", &watch("foobar")), &files), "15s");
    let app = merge(
        app,
        &json!({"metadata": {"annotations": {"podkey.dev/role": "eso-vault"}}}),
    );
    let pod = namespace.create(&app);
    pod.shows("first");
    let took = changes(&pod, 5, Duration::from_secs(15), |value| {
        vault.put("foo", &json!({"my-value": value}));
    });
    println!("a changed value is in the pod after {took:.1?} s, with refresh: 15s");
    let object = pod.object();
    assert_eq!(status(&object, "podkey-sidecar")["restartCount"], 0);
    assert_eq!(status(&object, "main")["restartCount"], 0);
}

/// Argo CD compares the applied object with the stored one.
#[test]
fn scenario_4_files_follow_within_30_seconds_and_the_deployment_does_not_drift() {
    let namespace = Namespace::new("app");
    let vault = Vault::of_scenario_4(&namespace);
    let config = |password: &str| json!({"username": "static-user", "password": password});
    vault.put("webapp/config", &config("first"));
    let files = json!([
        {"secret": "webapp/config", "file": "_raw"},
        {"secret": "webapp/config", "key": "password", "file": "password"},
    ]);
    let labels = json!({"app": "webapp"});
    let template = fresh(vault.annotate(pod("app", &watch("password")), &files), "30s");
    let mut spec = template["spec"].clone();
    spec["restartPolicy"] = json!("Always");
    let annotations = merge(
        template["metadata"]["annotations"].clone(),
        &json!({"podkey.dev/role": "role1"}),
    );
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "webapp", "namespace": namespace.name},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels, "annotations": annotations}, "spec": spec,
        }},
    })
    .to_string();
    kubectl(&["apply", "--server-side", "-f", "-"], &deployment).unwrap();
    // A controller that writes its status between the two looks of `diff` makes a difference too, once.
    let no_drift = || {
        let diff = || kubectl(&["diff", "--server-side", "-f", "-"], &deployment);
        wait(Duration::from_secs(30), || (diff().as_deref() == Ok("")).then_some(())).expect("no drift");
    };
    no_drift();
    let path = namespace.path("pods?labelSelector=app%3Dwebapp");
    let name = wait(LIMIT, || {
        let name = cluster().get(&path)["items"][0]["metadata"]["name"].clone();
        name.as_str().map(str::to_owned)
    })
    .unwrap_or_else(|| panic!("{:#?}", namespace.events()));
    let pod = namespace.pod(&name);
    pod.shows("first");
    let took = changes(&pod, 2, Duration::from_secs(30), |value| {
        vault.put("webapp/config", &config(value));
    });
    println!("a changed value is in the pod after {took:.1?} s, with refresh: 30s");
    // All files are of the same moment.
    let raw = pod.exec("main", &["cat", "/podkey/secrets/_raw"]).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&raw).unwrap(), config("changed-1"));
    no_drift();
    let generation = &cluster().get(&namespace.group_path("apps/v1", "deployments/webapp"))["metadata"]["generation"];
    assert_eq!(*generation, 1);
    assert_eq!(
        cluster().get(&path)["items"].as_array().unwrap().len(),
        1,
        "the same pod"
    );
}

/// Mounts an engine that makes users of this database, with these TTLs. Gives its path.
fn database(vault: &Vault<'_>, postgres: &Postgres, ttl: &str, max_ttl: &str) -> String {
    let mount = vault.engine("database", "creds/app", "read");
    let insist = |path: &str, body: &Value| vault.api.insist("POST", &format!("/v1/{mount}/{path}"), body);
    insist(
        "config/main",
        &json!({
            "plugin_name": "postgresql-database-plugin", "allowed_roles": "*",
            "connection_url": format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable", postgres.port),
            "username": ADMIN, "password": ADMIN_PASSWORD,
        }),
    );
    let create = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
    insist(
        "roles/app",
        &json!({"db_name": "main", "default_ttl": ttl, "max_ttl": max_ttl, "creation_statements": create}),
    );
    format!("{mount}/creds/app")
}

/// A user of a real PostgreSQL: one user while its lease can be renewed, then another user, and no user after the pod.
#[test]
fn scenario_4_dynamic_credentials_are_renewed_replaced_and_gone_with_the_pod() {
    if control("a database beside OpenBao").is_none() {
        return;
    }
    let postgres = Postgres::start();
    let namespace = Namespace::new("dynamic");
    let vault = Vault::new(&namespace);
    let secret = database(&vault, &postgres, "30s", "120s");
    let files = json!([
        {"secret": secret, "key": "username", "file": "username"},
        {"secret": secret, "key": "password", "file": "password"},
    ]);
    let annotations = json!({"metadata": {"annotations": vault.annotations_of(&files)}});
    let pod = namespace.create(&fresh(merge(patient("app", &watch("username")), &annotations), "1h"));
    pod.running();
    let users = || postgres.admin("select count(*) from pg_roles where rolname like 'v-%'");
    let works = || {
        let read = |file: &str| pod.exec("main", &["cat", &format!("/podkey/secrets/{file}")]).unwrap();
        let (user, password) = (read("username"), read("password"));
        postgres.ask(&user, &password, "select 1").map(|_| user)
    };
    let first = works().unwrap();
    assert_eq!(users(), "1", "read once, by podkey-init");
    // More than twice its TTL.
    std::thread::sleep(Duration::from_secs(65));
    assert_eq!(works().as_deref(), Ok(first.as_str()));
    assert_eq!(users(), "1");
    assert_eq!(pod.log("main").lines().count(), 1, "the files stayed");

    wait(LIMIT, || (pod.log("main").lines().count() == 2).then_some(())).unwrap_or_else(|| panic!("{}", pod.story()));
    let second = works().unwrap();
    assert_ne!(second, first);
    cluster().delete(&pod.path());
    wait(LIMIT, || {
        (users() == "0" && vault.tokens() == 0 && vault.leases(&secret) == 0).then_some(())
    })
    .unwrap_or_else(|| panic!("{} users, {} tokens are left", users(), vault.tokens()));
}

/// How long the next test runs. The kubelet replaces a token of 600 s after 480 s: with 1620, three times.
fn renewals_for() -> Duration {
    let seconds = std::env::var("PODKEY_E2E_RENEWALS").map_or(90, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

/// OpenBao ≥ 2.6.4 and 2.7.1 ask the API server at each renewal of a client token whether the service-account token of its login is
/// still valid. A client logs in to the database every second with the credentials in the file, and never fails.
#[test]
fn leases_outlive_the_service_account_token_and_no_moment_is_without_a_valid_credential() {
    if control("a database beside OpenBao").is_none() {
        return;
    }
    let postgres = Postgres::start();
    let namespace = Namespace::new("proof");
    let vault = Vault::new(&namespace);
    vault.role(
        crate::harness::openbao::ROLE,
        &json!({"audience": "vault", "token_ttl": "60s", "token_max_ttl": "10h"}),
    );
    let secret = database(&vault, &postgres, "80s", "10h");
    let annotations = vault.annotations_of(&json!([{"secret": secret, "file": "db.json"}]));
    let ask = |name: &str, connection: &str| {
        let annotations = merge(annotations.clone(), &json!({"podkey.dev/connection": connection}));
        fresh(
            merge(
                patient(name, &watch("db.json")),
                &json!({"metadata": {"annotations": annotations}}),
            ),
            "1h",
        )
    };
    let seconds = |pod: &Pod<'_>| {
        let object = pod.object();
        let volumes = object["spec"]["volumes"].as_array().unwrap().clone();
        let token = volumes
            .into_iter()
            .find(|volume| volume["name"] == "podkey-token")
            .unwrap();
        token["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"].clone()
    };
    let day = namespace.create(&ask("day", "default"));
    let brief = namespace.create(&ask("brief", "brief"));
    day.running();
    brief.running();
    assert_eq!((seconds(&day), seconds(&brief)), (json!(86_400), json!(600)));

    let (begun, mut tries) = (Instant::now(), 0);
    let mut users = BTreeMap::from([("day", Vec::new()), ("brief", Vec::new())]);
    while begun.elapsed() < renewals_for() {
        for pod in [&day, &brief] {
            let found = pod.exec("main", &["cat", "/podkey/secrets/db.json"]).unwrap();
            let found: Value = serde_json::from_str(&found).unwrap();
            let text = |field: &str| found[field].as_str().unwrap().to_owned();
            let login = postgres.ask(&text("username"), &text("password"), "select 1");
            assert!(
                login.is_ok(),
                "{} after {:?}: {login:?}\n{}",
                pod.name,
                begun.elapsed(),
                pod.log("podkey-sidecar")
            );
            tries += 1;
            let users = users.get_mut(pod.name.as_str()).unwrap();
            if users.last() != Some(&text("username")) {
                users.push(text("username"));
            }
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let turns = renewals_for().as_secs() / 480;
    for (pod, most) in [(&day, 0), (&brief, turns + 1)] {
        let log = pod.log("podkey-sidecar");
        let logins = log.matches("\"logged in\"").count() as u64;
        let made = users[pod.name.as_str()].len() as u64;
        println!(
            "{}: {tries} logins to the database in all; {logins} of the sidecar in {:?}, {made} users",
            pod.name,
            begun.elapsed()
        );
        assert!(
            logins <= most && (pod.name == "day" || logins >= turns.saturating_sub(1)),
            "{logins} logins: {log}"
        );
        assert_eq!(made, logins + 1, "one user for each client token: {log}");
        assert!(!log.contains("\"WARN\""), "{log}");
    }
}

#[test]
fn a_job_with_the_sidecar_completes() {
    let namespace = Namespace::new("job");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let template = fresh(
        vault.annotate(patient("job", "cat /podkey/secrets/password"), &password()),
        "5s",
    );
    let jobs = namespace.group_path("batch/v1", "jobs");
    cluster().create(
        &jobs,
        &json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"},
            "spec": {"backoffLimit": 0, "completions": 2, "parallelism": 2, "template": {
                "metadata": {"annotations": template["metadata"]["annotations"]}, "spec": template["spec"],
            }},
        }),
    );
    wait(LIMIT, || {
        let status = &cluster().get(&format!("{jobs}/job"))["status"];
        assert!(status["failed"].is_null(), "{status}");
        (status["succeeded"] == 2 && status["completionTime"].is_string()).then_some(())
    })
    .unwrap_or_else(|| panic!("{:#?}", namespace.events()));
    for pod in cluster().get(&namespace.path("pods"))["items"].as_array().unwrap() {
        let ended = &status(pod, "podkey-sidecar")["state"]["terminated"];
        assert_eq!(
            (&ended["exitCode"], &ended["reason"]),
            (&json!(0), &json!("Completed")),
            "{ended}"
        );
        let log = namespace.pod(pod["metadata"]["name"].as_str().unwrap()).log("main");
        assert_eq!(log, "s3cret");
    }
    // Whatever it was given ended with it.
    wait(LIMIT, || (vault.tokens() == 0).then_some(())).expect("no token is left");
}

/// The kernel kills like this when memory is short. The job must not notice, and the pod must not count as failed.
#[test]
fn a_sidecar_that_is_killed_comes_back_and_the_main_container_does_not_notice() {
    let namespace = Namespace::new("killed");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "first"}));
    let pod = namespace.create(&fresh(
        vault.annotate(pod("app", &watch("password")), &password()),
        "5s",
    ));
    pod.shows("first");
    kill(&pod, "podkey-agent");
    let object = pod.until("with a sidecar that is there again", |pod| {
        let sidecar = status(pod, "podkey-sidecar");
        sidecar["restartCount"] == 1 && sidecar["state"]["running"].is_object()
    });
    assert_eq!(
        status(&object, "podkey-sidecar")["lastState"]["terminated"]["exitCode"],
        137
    );
    assert_eq!(object["status"]["phase"], "Running");
    assert_eq!(status(&object, "podkey-init")["restartCount"], 0);
    assert_eq!(status(&object, "main")["restartCount"], 0);
    // It saw one content, not a moment without.
    assert_eq!(pod.log("main"), "first\n");
    vault.put("web", &json!({"password": "second"}));
    pod.shows("second");

    // And a job ends well that loses its sidecar.
    let lines = "until [ -e /tmp/go ]; do sleep 0.2; done; cat /podkey/secrets/password";
    let definition = fresh(
        vault.annotate(crate::harness::pod::pod("job", lines), &password()),
        "5s",
    );
    let job = namespace.create(&definition);
    job.running();
    kill(&job, "podkey-agent");
    job.exec("main", &["touch", "/tmp/go"]).unwrap();
    assert_eq!(job.succeeds(), "second");
}

/// Kills the processes of that name in a pod, from a pod that sees the node's processes.
fn kill(pod: &Pod<'_>, program: &str) {
    let uid = pod.object()["metadata"]["uid"].as_str().unwrap().replace('-', "[-_]");
    let script = format!(
        "for p in /proc/[0-9]*; do grep -q {uid} $p/cgroup 2>/dev/null && [ \"$(cat $p/comm)\" = {program} ] && \
         kill -9 ${{p#/proc/}} && echo killed; done; true"
    );
    let name = format!("kill-{}", pod.name);
    let mut killer = merge(
        crate::harness::pod::pod(&name, &script),
        &json!({"spec": {"hostPID": true}}),
    );
    killer["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    assert_eq!(pod.namespace.create(&killer).succeeds(), "killed\n");
}

/// Scenario 5: a runner that waits for its job. The job gets, masked, the value that is in OpenBao when the job starts.
#[test]
fn a_warm_runner_s_job_gets_the_value_of_now() {
    const RUNNER: &str = r#"
        trap 'exit 0' TERM; until [ -e /tmp/job ]; do sleep 0.2; done
        export GITHUB_ACTIONS=true GITHUB_REPOSITORY=octo-org/octo-repo GITHUB_EVENT_NAME=push GITHUB_REF=refs/heads/main
        export GITHUB_RUN_ID=1 GITHUB_RUN_ATTEMPT=1 GITHUB_JOB=build RUNNER_TEMP=/tmp
        export GITHUB_ENV=/tmp/env GITHUB_STEP_SUMMARY=/tmp/summary GITHUB_EVENT_PATH=/tmp/event.json
        : >$GITHUB_ENV; : >$GITHUB_STEP_SUMMARY; echo '{}' >$GITHUB_EVENT_PATH
        echo "== started"; sh -e $ACTIONS_RUNNER_HOOK_JOB_STARTED 2>&1; echo "exit $?"
        echo "== variables"; cat $GITHUB_ENV
        echo "== job"; cat /podkey/secrets/password; echo
        echo "== completed"; sh -e $ACTIONS_RUNNER_HOOK_JOB_COMPLETED 2>&1; echo "exit $?"; echo "== end"
    "#;
    let namespace = Namespace::new("warm");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret-of-before"}));
    let mut runner = merge(
        fresh(vault.annotate(pod("runner", ""), &password()), "5s"),
        &json!({
            "metadata": {
                "labels": {"actions-ephemeral-runner": "True"},
                "annotations": {"podkey.dev/env": format!("{}/data/web password | PASSWORD", vault.kv)},
            },
            "spec": {"securityContext": {"runAsUser": 1001}},
        }),
    );
    runner["spec"]["containers"] = json!([container("runner", RUNNER)]);
    let pod = namespace.create(&runner);
    pod.running();
    vault.put("web", &json!({"password": "s3cret-of-now"}));
    wait(LIMIT, || {
        let seen = pod.exec("runner", &["cat", "/podkey/secrets/password"]).ok()?;
        (seen == "s3cret-of-now").then_some(())
    })
    .unwrap_or_else(|| panic!("{}", pod.story()));
    pod.exec("runner", &["touch", "/tmp/job"]).unwrap();
    pod.until("succeeded", |pod| pod["status"]["phase"] == "Succeeded");
    let log = pod.log("runner");
    println!("{log}");
    let section = |name: &str| {
        let (_, rest) = log.split_once(&format!("== {name}\n")).expect(name);
        rest.split("== ").next().unwrap()
    };
    let started = section("started");
    assert!(started.ends_with("exit 0\n"), "{log}");
    assert!(started.contains("::add-mask::s3cret-of-now\n"), "{log}");
    assert_eq!(section("job"), "s3cret-of-now\n", "{log}");
    assert!(section("variables").contains("s3cret-of-now"), "{log}");
    assert!(section("completed").ends_with("exit 0\n"), "{log}");
}

/// Only podkey's containers can read the handover of init and the token that init and sidecar log in with.
#[test]
fn the_handover_and_the_tokens_are_seen_by_podkey_s_own_containers_alone() {
    let namespace = Namespace::new("handover");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let definition_of = |name: &str| {
        let app = merge(
            pod(name, &watch("password")),
            &json!({"spec": {"securityContext": {"runAsUser": 0}}}),
        );
        fresh(vault.annotate(app, &password()), "5s")
    };
    let pod = namespace.create(&definition_of("app"));
    pod.shows("s3cret");
    let object = pod.object();
    assert_eq!(init_containers(&object), ["podkey-init", "podkey-sidecar"]);
    let mounts = |name: &str| {
        let mounts = definition(&object, name)["volumeMounts"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let names = mounts.iter().map(|mount| mount["name"].as_str().unwrap().to_owned());
        let mut names: Vec<_> = names.filter(|name| name.starts_with("podkey-")).collect();
        names.sort_unstable();
        names
    };
    for name in ["podkey-init", "podkey-sidecar"] {
        assert_eq!(
            mounts(name),
            ["podkey-handover", "podkey-secrets", "podkey-token"],
            "{name}"
        );
    }
    assert_eq!(mounts("main"), ["podkey-secrets"]);
    let look = pod
        .exec(
            "main",
            &[
                "sh",
                "-c",
                "ls -A /podkey; ls -A /podkey/secrets; for p in /proc/[0-9]*; do readlink $p/exe; done; env",
            ],
        )
        .unwrap();
    assert!(look.starts_with("secrets\n"), "{look}");
    assert!(
        !look.contains("handover") && !look.contains("podkey-agent") && !look.contains("PODKEY"),
        "{look}"
    );
    // Nor by one who debugs the pod.
    for volume in ["podkey-handover", "podkey-secrets", "podkey-token"] {
        let debug = json!({"name": "spy", "image": "busybox", "volumeMounts": [{"name": volume, "mountPath": "/spy"}]});
        let path = format!("{}/ephemeralcontainers?dryRun=All", pod.path());
        let answer = cluster().call("PATCH", &path, &json!({"spec": {"ephemeralContainers": [debug]}}));
        assert!(
            !answer.is_success() && answer.message().contains("podkey"),
            "{volume}: {}",
            answer.text
        );
    }
    // Nor by a container that says in its definition that it wants to.
    let mut other = definition_of("other");
    other["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "podkey-handover", "mountPath": "/spy"}]);
    let refused = namespace.try_create(&other);
    assert!(!refused.is_success(), "{}", refused.text);

    // What anybody who may read the pod sees.
    let shown = pod.object().to_string()
        + &pod.log("podkey-init")
        + &pod.log("podkey-sidecar")
        + &namespace.events().join("\n");
    for secret in ["s3cret", "eyJhbGciOi", "hvs.", "\"s."] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}
