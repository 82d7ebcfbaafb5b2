//! The situations that podkey is made for, complete: real tokens, real token reviews, real mounts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::api::{Api, cluster, kubernetes_host};
use crate::harness::namespace::Namespace;
use crate::harness::openbao::{ROLE, Vault};
use crate::harness::pod::{Pod, container, definition, init_containers, status};
use crate::harness::settings::settings;
use crate::harness::{LIMIT, left_out, merge, wait};

/// Pods as ARC makes them.
const DEFAULT: &str = include_str!("../inject/the-arc-runner-pod-gets-its-kubeconfig/pod.yaml");
const DIND: &str =
    include_str!("../inject/the-arc-runner-pod-with-dind-gets-its-kubeconfig-in-the-runner-alone/pod.yaml");
const KUBERNETES: &str = include_str!("../inject/the-arc-runner-pod-in-kubernetes-mode-gets-its-kubeconfig/pod.yaml");
const WORKFLOW: &str =
    include_str!("../inject/the-workflow-pod-of-kubernetes-mode-gets-its-files-in-the-job-container/pod.yaml");

/// The job's script, which knows nothing of podkey.
const JOB: &str = "id -u; echo $KUBECONFIG; kubectl get node -o wide";

/// Scenario 1: ARC's controller and a scale set, each in its namespace; a kubeconfig in OpenBao.
struct Runners {
    /// Where ARC's controller is.
    _systems: Namespace,
    /// Where the runners are.
    namespace: Namespace,
    /// The API, as ARC's controller.
    controller: Api,
    /// An object in place of the EphemeralRunner that owns a runner pod.
    owner: Value,
}

impl Runners {
    fn new() -> Self {
        let systems = Namespace::new("arc-systems");
        let namespace = Namespace::new("arc-runners");
        let user = systems.service_account("arc-gha-rs-controller");
        // What the scale set's chart gives the controller, of what it needs to make a pod.
        namespace.allow(
            &user,
            &json!([
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "delete", "get", "list"]},
                {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "get", "list", "update", "delete"]},
            ]),
        );
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ephemeral-runner"}});
        let owner = cluster().create(&namespace.path("configmaps"), &owner);
        Self {
            _systems: systems,
            namespace,
            controller: cluster().impersonate(&user),
            owner: json!([{
                "apiVersion": "v1", "kind": "ConfigMap", "name": "ephemeral-runner", "uid": owner["metadata"]["uid"],
                "controller": true, "blockOwnerDeletion": true,
            }]),
        }
    }

    /// OpenBao as in the scenario: a nested auth mount, the secret as `base64` writes it, and two roles.
    fn vault(&self, account: &str) -> Vault<'_> {
        let name = &self.namespace.name;
        let vault = Vault::at(&self.namespace, &format!("my-cluster/{name}"), name);
        let config = base64_as_the_tool_writes_it(&self.kubeconfig());
        vault.put("kubeconfig/rancher-cluster", &json!({"config": config}));
        let bound = json!({"bound_service_account_names": [account]});
        vault.role("actions", &bound);
        vault.role("actions-vault", &merge(bound, &json!({"audience": "vault"})));
        vault
    }

    /// A kubeconfig for this cluster, with an identity that may list nodes.
    fn kubeconfig(&self) -> String {
        self.namespace.service_account("node-viewer");
        let rules = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}]);
        let role = self.namespace.cluster_role("node-viewer", &rules);
        self.namespace.bind_cluster_role("node-viewer", &role);
        let token = self.namespace.token("node-viewer", None);
        let ca = cluster().get(&self.namespace.path("configmaps/kube-root-ca.crt"))["data"]["ca.crt"].clone();
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: rancher-cluster\n  cluster:\n    server: {}\n    \
             certificate-authority-data: {}\ncontexts:\n- name: rancher-cluster\n  context: {{cluster: rancher-cluster, \
             user: ci}}\ncurrent-context: rancher-cluster\nusers:\n- name: ci\n  user:\n    token: {token}\n",
            kubernetes_host(),
            STANDARD.encode(ca.as_str().unwrap()),
        )
    }

    /// A pod as ARC's controller creates it: without the fields that the API server had added, and with images and commands
    /// that run here.
    fn pod(&self, made: &str, vault: &Vault<'_>, role: &str) -> Value {
        let mut pod: Value = serde_saphyr::from_str(made).unwrap();
        let metadata = pod["metadata"].as_object_mut().unwrap();
        metadata.remove("managedFields");
        metadata.remove("namespace");
        if metadata.remove("ownerReferences").is_some() {
            metadata.insert("ownerReferences".to_owned(), self.owner.clone());
        }
        let spec = pod["spec"].as_object_mut().unwrap();
        spec.remove("nodeName");
        spec["terminationGracePeriodSeconds"] = json!(1);
        let of_the_api_server = |object: &Value| {
            object["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("kube-api-access-"))
        };
        let volumes = spec["volumes"].as_array_mut().unwrap();
        volumes.retain(|volume| !of_the_api_server(volume));
        for volume in volumes.iter_mut().filter(|volume| volume["name"] == "work") {
            // The claim is the storage's business, and there may be no storage.
            *volume = json!({"name": "work", "emptyDir": {}});
        }
        for list in ["initContainers", "containers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                container["imagePullPolicy"] = json!("IfNotPresent");
                container["volumeMounts"]
                    .as_array_mut()
                    .unwrap()
                    .retain(|mount| !of_the_api_server(mount));
                match container["name"].as_str().unwrap() {
                    "runner" => {
                        container["image"] = json!(settings().kubectl);
                        container["command"] = json!(["sh", "-c", JOB]);
                    }
                    _ => container["image"] = json!(settings().busybox),
                }
            }
        }
        let annotations = pod["metadata"]
            .as_object_mut()
            .unwrap()
            .entry("annotations")
            .or_insert_with(|| json!({}))
            .as_object_mut()
            .unwrap();
        annotations.retain(|key, _| !key.starts_with("podkey.dev/"));
        annotations.insert("podkey.dev/role".to_owned(), json!(role));
        annotations.insert("podkey.dev/auth-mount".to_owned(), json!(vault.auth));
        annotations.insert(
            "podkey.dev/files".to_owned(),
            json!(format!(
                "- secret: {}/data/kubeconfig/rancher-cluster\n  key: config\n  decode: base64\n  file: /tmp/kubeconfig\n  env: KUBECONFIG\n",
                vault.kv
            )),
        );
        pod
    }

    /// Creates a runner pod as ARC does: first the secret with its configuration, then the pod.
    fn start(&self, pod: &Value) -> Pod<'_> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": pod["metadata"]["name"]},
            "stringData": {"jitToken": "jit"},
        });
        self.controller.create(&self.namespace.path("secrets"), &secret);
        self.namespace.create_as(&self.controller, pod)
    }
}

/// With a line break every 76 characters and at the end.
fn base64_as_the_tool_writes_it(text: &str) -> String {
    let encoded = STANDARD.encode(text);
    let lines = encoded.as_bytes().chunks(76);
    lines
        .map(|line| String::from_utf8_lossy(line).into_owned() + "\n")
        .collect()
}

/// The job ran as the runner's user with its own `KUBECONFIG`, and saw the nodes.
#[track_caller]
fn saw_the_nodes(log: &str) {
    let mut lines = log.lines();
    assert_eq!(lines.next(), Some("1001"), "{log}");
    assert_eq!(lines.next(), Some("/tmp/kubeconfig"), "{log}");
    let nodes = cluster().get("/api/v1/nodes");
    let node = nodes["items"][0]["metadata"]["name"].as_str().unwrap();
    assert!(log.contains("KERNEL-VERSION") && log.contains(node), "{log}");
}

#[test]
fn scenario_1_a_runner_lists_the_nodes_with_the_kubeconfig_from_openbao() {
    let runners = Runners::new();
    let account = "arc-runner-set-gha-rs-no-permission";
    runners.namespace.service_account(account);
    let vault = runners.vault(account);

    let pod = runners.start(&runners.pod(DEFAULT, &vault, "actions-vault"));
    saw_the_nodes(&pod.succeeds());
    let object = pod.object();
    assert_eq!(status(&object, "podkey-init")["state"]["terminated"]["exitCode"], 0);

    // The role without an audience takes a token for any: OpenBao has it reviewed for the audience that it is for.
    let any = merge(
        runners.pod(DEFAULT, &vault, "actions"),
        &json!({"metadata": {"name": "any-audience"}}),
    );
    saw_the_nodes(&runners.start(&any).succeeds());

    // So also the API server's own, which the operator's connection asks for, and is warned of.
    let other = merge(
        runners.pod(DEFAULT, &vault, "actions"),
        &json!({"metadata": {"name": "no-audience", "annotations": {"podkey.dev/connection": "no-audience"}}}),
    );
    let answer = runners
        .namespace
        .try_create_as(&runners.controller, &other, "?dryRun=All");
    assert!(
        answer.warnings.iter().any(|warning| warning.contains("audience")),
        "no warning: {answer:?}"
    );
    saw_the_nodes(&runners.start(&other).succeeds());
}

#[test]
fn scenario_1_a_runner_over_plain_http_when_the_operator_allows_it() {
    if settings().openbao_http.is_none() {
        return left_out("scenario 1 over http", "PODKEY_E2E_OPENBAO_HTTP_ADDR is not set");
    }
    let runners = Runners::new();
    let account = "arc-runner-set-gha-rs-no-permission";
    runners.namespace.service_account(account);
    let vault = runners.vault(account);
    let pod = merge(
        runners.pod(DEFAULT, &vault, "actions-vault"),
        &json!({"metadata": {"annotations": {"podkey.dev/connection": "http"}}}),
    );
    saw_the_nodes(&runners.start(&pod).succeeds());
}

#[test]
fn scenario_1_with_dind_the_kubeconfig_is_in_the_runner_alone() {
    let runners = Runners::new();
    let account = "arc-dind-gha-rs-no-permission";
    runners.namespace.service_account(account);
    let vault = runners.vault(account);

    let mut pod = runners.pod(DIND, &vault, "actions-vault");
    for container in pod["spec"]["initContainers"].as_array_mut().unwrap() {
        match container["name"].as_str().unwrap() {
            "init-dind-externals" => container["args"] = json!(["-r", "/etc/passwd", "/home/runner/tmpDir/"]),
            _ => {
                // dockerd's stand-in: its socket in the shared /var/run, and what it sees of podkey's, for the runner.
                container["args"] = json!(null);
                container["command"] = json!(["sh", "-c",
                    "(ls -d /tmp/kubeconfig /podkey; env | grep -i -e podkey -e KUBECONFIG) > /home/runner/_work/seen 2>&1
                     touch /var/run/docker.sock; trap 'exit 0' TERM; while :; do sleep 1; done"]);
                container["startupProbe"] = json!({
                    "exec": {"command": ["test", "-e", "/var/run/docker.sock"]}, "periodSeconds": 1, "failureThreshold": 60,
                });
            }
        }
    }
    for container in pod["spec"]["containers"].as_array_mut().unwrap() {
        container["command"] = json!([
            "sh",
            "-c",
            format!("{JOB}; ls /var/run; echo SEEN; cat /home/runner/_work/seen")
        ]);
    }
    let pod = runners.start(&pod);
    let log = pod.succeeds();
    let (job, seen) = log.split_once("SEEN\n").unwrap();
    saw_the_nodes(job);
    assert!(job.contains("docker.sock"), "{job}");
    assert!(
        seen.lines().all(|line| line.contains("No such file")) && !seen.contains("KUBECONFIG"),
        "dind sees {seen}"
    );
    assert_eq!(
        init_containers(&pod.object()),
        ["podkey-init", "init-dind-externals", "dind"]
    );
}

#[test]
fn scenario_1_in_kubernetes_mode_runner_and_workflow_pod_each_get_their_own() {
    let runners = Runners::new();
    let account = "arc-k8s-gha-rs-kube-mode";
    let user = runners.namespace.service_account(account);
    // Of the kubernetes mode's role, what is used here.
    runners.namespace.allow(
        &user,
        &json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "create", "delete"]}]),
    );
    let vault = runners.vault(account);
    vault.role("workflow", &json!({"audience": "vault"}));

    // The workflow pod that the runner's hook will create, with the annotations of its hook template.
    let mut workflow = runners.pod(WORKFLOW, &vault, "workflow");
    for container in workflow["spec"]["containers"].as_array_mut().unwrap() {
        let script = match container["name"].as_str().unwrap() {
            "job" => JOB,
            _ => "ls -d /tmp/kubeconfig /podkey; true",
        };
        container["image"] = json!(settings().kubectl);
        container["command"] = json!(["sh", "-c", script]);
        container["args"] = json!(null);
        // There is no repository in the empty volume.
        container["workingDir"] = json!(null);
    }
    let file = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "workflow"},
        "data": {"pod.json": workflow.to_string()},
    });
    cluster().create(&runners.namespace.path("configmaps"), &file);

    let mut runner = runners.pod(KUBERNETES, &vault, "actions-vault");
    let volume = json!({"name": "workflow", "configMap": {"name": "workflow"}});
    runner["spec"]["volumes"].as_array_mut().unwrap().push(volume);
    let container = &mut runner["spec"]["containers"][0];
    let mount = json!({"name": "workflow", "mountPath": "/workflow"});
    container["volumeMounts"].as_array_mut().unwrap().push(mount);
    // The hook asks its own cluster, by its service account; not the one of KUBECONFIG.
    container["command"] = json!([
        "sh",
        "-c",
        format!(
            "{JOB}; KUBECONFIG= kubectl --server {} --certificate-authority /var/run/secrets/kubernetes.io/serviceaccount/ca.crt \
         --token $(cat /var/run/secrets/kubernetes.io/serviceaccount/token) --namespace {} create --validate=false -f /workflow/pod.json",
            kubernetes_host(),
            runners.namespace.name
        )
    ]);
    saw_the_nodes(&runners.start(&runner).succeeds());

    let workflow = runners.namespace.pod(workflow["metadata"]["name"].as_str().unwrap());
    saw_the_nodes(&workflow.succeeds());
    let services = workflow.log("postgres");
    assert_eq!(
        services.matches("No such file").count(),
        2,
        "a service container sees {services}"
    );
}

#[test]
fn scenario_2_both_replicas_of_a_deployment_find_their_token_in_a_file() {
    let namespace = Namespace::new("github-runners");
    let vault = Vault::new(&namespace);
    vault.put("runner", &json!({"pat": "ghp_e2e"}));
    let labels = json!({"app": "github-runner", "environment": "stg"});
    let file = json!([{"secret": "runner", "key": "pat", "file": "github-pat", "env": "GITHUB_PAT_FILE"}]);
    let mut container = container(
        "runner",
        "IFS= read -r GITHUB_PAT < \"$GITHUB_PAT_FILE\" || true; export GITHUB_PAT
         echo \"$(id -un) $GLOBAL_ENVIRONMENT $(env | grep GITHUB_PAT=)\"; trap 'exit 0' TERM; while :; do sleep 1; done",
    );
    container["image"] = json!(settings().busybox_named);
    container["env"] = json!([{"name": "GLOBAL_ENVIRONMENT", "value": "stg"}]);
    let deployments = namespace.group_path("apps/v1", "deployments");
    cluster().create(
        &deployments,
        &json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "github-runner", "labels": labels},
            "spec": {
                "replicas": 2, "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels, "annotations": vault.annotations(&file)},
                    "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
                },
            },
        }),
    );
    let path = format!("{deployments}/github-runner");
    wait(LIMIT, || {
        (cluster().get(&path)["status"]["readyReplicas"] == 2).then_some(())
    })
    .unwrap_or_else(|| panic!("{}", namespace.events().join("\n")));
    let pods = cluster().get(&namespace.path("pods"));
    let pods = pods["items"].as_array().unwrap();
    assert_eq!(pods.len(), 2);
    for pod in pods {
        let name = pod["metadata"]["name"].as_str().unwrap();
        // A container is ready before its shell has written.
        let says = || (namespace.pod(name).log("runner") == "github stg GITHUB_PAT=ghp_e2e\n").then_some(());
        wait(LIMIT, says).unwrap_or_else(|| panic!("{}", namespace.pod(name).log("runner")));
        assert!(
            !definition(pod, "runner").to_string().contains("ghp_e2e"),
            "the secret is in the pod's definition"
        );
    }
}

#[test]
fn scenario_3_one_connection_of_the_operator_serves_any_namespace() {
    for topic in ["eso-a", "eso-b"] {
        let namespace = Namespace::new(topic);
        let vault = Vault::new(&namespace);
        vault.put("foo", &json!({"my-value": topic}));
        let pod = crate::harness::pod::pod("app", "cat /podkey/secrets/foobar");
        let files = json!([{"secret": "foo", "key": "my-value", "file": "foobar"}]);
        assert_eq!(namespace.create(&vault.annotate(pod, &files)).succeeds(), topic);
    }
}

/// OpenBao asks the API server about the pod's token within the read.
#[test]
fn scenario_3_without_a_client_token() {
    let namespace = Namespace::new("inline");
    let vault = Vault::new(&namespace);
    vault.put("foo", &json!({"my-value": "of one request"}));
    let pod = crate::harness::pod::pod("app", "cat /podkey/secrets/foobar");
    let files = json!([{"secret": "foo", "key": "my-value", "file": "foobar"}]);
    let inline = json!({"metadata": {"annotations": {"podkey.dev/connection": "inline"}}});
    let pod = namespace.create(&merge(vault.annotate(pod, &files), &inline));
    assert_eq!(pod.succeeds(), "of one request");
    let log = pod.log("podkey-init");
    assert!(
        log.contains("read without a client token") && !log.contains("logged in"),
        "{log}"
    );
    assert_eq!(vault.tokens(), 0);

    // Another account: the read is refused as a login is.
    vault.role(
        ROLE,
        &json!({"audience": "vault", "bound_service_account_names": ["other"]}),
    );
    let pod = crate::harness::pod::pod("refused", "true");
    let pod = namespace.create(&merge(vault.annotate(pod, &files), &inline));
    let message = pod.refused().message;
    assert!(message.contains("podkey 77 stage=login connection=inline"), "{message}");
}

#[test]
fn scenario_4_the_whole_secret_arrives_for_the_default_service_account() {
    let namespace = Namespace::new("app");
    let vault = Vault::of_scenario_4(&namespace);
    vault.put(
        "webapp/config",
        &json!({"username": "static-user", "password": "it's $HOME"}),
    );
    let files = json!([
        {"secret": "webapp/config", "file": "_raw"},
        {"secret": "webapp/config", "file": "config.env", "format": "dotenv"},
    ]);
    let pod = crate::harness::pod::pod(
        "app",
        "cat /podkey/secrets/_raw; echo; . /podkey/secrets/config.env; echo $username $password",
    );
    let pod = merge(
        vault.annotate(pod, &files),
        &json!({"metadata": {"annotations": {"podkey.dev/role": "role1"}}}),
    );
    let log = namespace.create(&pod).succeeds();
    let (raw, shell) = log.trim_end().rsplit_once('\n').unwrap();
    let raw: Value = serde_json::from_str(raw).unwrap();
    assert_eq!(raw, json!({"username": "static-user", "password": "it's $HOME"}));
    assert_eq!(shell, "static-user it's $HOME");
}
