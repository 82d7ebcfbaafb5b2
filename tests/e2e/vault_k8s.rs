//! Pods with vault-k8s' annotations as they are: their files are, byte for byte, what a real `bao agent` writes with the config that
//! vault-k8s generates for these annotations.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::api::cluster;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::{ROLE, Vault};
use crate::harness::pod::{Pod, init_containers, patient, pod, status};
use crate::harness::settings::settings;
use crate::harness::{LIMIT, left_out, merge, wait};

/// One file as vault-k8s' annotations ask for it, and as vault-k8s writes it into the agent's config.
struct Wanted {
    /// The NAME in the keys of the annotations.
    name: &'static str,
    /// Annotations in front of `-NAME`, with their values.
    annotations: Vec<(&'static str, String)>,
    /// Where the containers see the file.
    path: &'static str,
    /// The entry of `template` in the agent's config, without `destination`.
    template: Value,
}

/// The template that vault-k8s makes for a secret without one: `DefaultMapTemplate` and `DefaultJSONTemplate` of
/// <https://github.com/hashicorp/vault-k8s/blob/main/agent-inject/agent/agent.go>.
fn default_template(kind: &str, path: &str) -> String {
    match kind {
        "json" => format!("{{{{ with secret \"{path}\" }}}}{{{{ .Data | toJSON }}}}\n{{{{ end }}}}"),
        _ => format!(
            "{{{{ with secret \"{path}\" }}}}{{{{ range $k, $v := .Data }}}}{{{{ $k }}}}: {{{{ $v }}}}\n{{{{ end }}}}{{{{ end }}}}"
        ),
    }
}

/// The entry of `template` in the config that vault-k8s generates.
fn entry(contents: String, more: &Value) -> Value {
    let entry = json!({"contents": contents, "left_delimiter": "{{", "right_delimiter": "}}"});
    merge(entry, more)
}

/// The mounts of a test.
struct Mounts {
    kv2: String,
    kv1: String,
    pki: String,
}

/// Values that a careless printer would change.
fn awkward() -> Value {
    json!({
        "password": "a\"b'c$d{{e}}<f>&g\\h", "user": "Zoë 🔑", "lines": "one\ntwo\n", "empty": "", "port": 5432,
        "ratio": 1.50, "yes": true, "nothing": null, "list": ["a", 1, {"b": null}], "nested": {"z": "last", "a": "first"},
        "odd.key-name": "odd",
    })
}

fn set_up(vault: &Vault<'_>, namespace: &Namespace) -> Mounts {
    let mounts = Mounts {
        kv2: vault.kv.clone(),
        kv1: format!("kv1-{}", namespace.name),
        pki: format!("pki-{}", namespace.name),
    };
    for (mount, kind) in [(&mounts.kv1, "kv"), (&mounts.pki, "pki")] {
        let path = format!("/v1/sys/mounts/{mount}");
        vault.api.insist("POST", &path, &json!({"type": kind}));
        namespace.delete_later(&vault.api, path);
    }
    let Mounts { kv2, kv1, pki } = &mounts;
    let rules = format!(
        "path \"{kv2}/data/*\" {{ capabilities = [\"read\"] }}\npath \"{kv1}/*\" {{ capabilities = [\"read\"] }}\n\
         path \"{pki}/cert/*\" {{ capabilities = [\"read\"] }}\npath \"{pki}/issue/*\" {{ capabilities = [\"create\", \"update\"] }}"
    );
    let insist = |path: &str, body: &Value| vault.api.insist("POST", &format!("/v1/{path}"), body);
    insist(
        &format!("sys/policies/acl/{}", namespace.name),
        &json!({"policy": rules}),
    );
    insist(&format!("{kv1}/app"), &awkward());
    insist(
        &format!("{pki}/root/generate/internal"),
        &json!({"common_name": "podkey e2e"}),
    );
    insist(
        &format!("{pki}/roles/web"),
        &json!({"allow_any_name": true, "max_ttl": "1h"}),
    );
    vault.put("web", &awkward());
    mounts
}

/// The files of the Deployment.
fn files(Mounts { kv2, kv1, pki }: &Mounts) -> Vec<Wanted> {
    let (web, app, ca) = (format!("{kv2}/web"), format!("{kv1}/app"), format!("{pki}/cert/ca"));
    let properties = format!(
        "{{{{- with secret \"{kv2}/data/web\" -}}}}\nuser={{{{ .Data.data.user }}}}\npassword={{{{ .Data.data.password }}}}\n\
         odd={{{{ index .Data.data \"odd.key-name\" }}}}\nport={{{{ .Data.data.port }}}}\nmissing={{{{ .Data.data.missing }}}}\n\
         nested={{{{ .Data.data.nested }}}}\nlist={{{{ .Data.data.list | toJSON }}}}\n{{{{- end }}}}\n"
    );
    let exports = format!(
        "{{{{ with secret \"{app}\" }}}}{{{{ range $k, $v := .Data }}}}export {{{{ $k | toUpper }}}}='{{{{ $v }}}}'\n{{{{ end }}}}{{{{ end }}}}"
    );
    let brackets =
        format!("literal {{{{ braces }}}} [[ with secret \"{web}\" ]][[ .Data.data.user | base64Encode ]][[ end ]]");
    vec![
        Wanted {
            name: "Default-Map",
            annotations: vec![("agent-inject-secret", web.clone())],
            path: "/vault/secrets/default-map",
            template: entry(default_template("map", &web), &json!({})),
        },
        Wanted {
            name: "v1",
            annotations: vec![("agent-inject-secret", app.clone())],
            path: "/vault/secrets/v1",
            template: entry(default_template("map", &app), &json!({})),
        },
        Wanted {
            name: "ca",
            annotations: vec![
                ("agent-inject-secret", ca.clone()),
                ("agent-inject-file", "/tls/ca.txt".to_owned()),
            ],
            path: "/vault/secrets/tls/ca.txt",
            template: entry(default_template("map", &ca), &json!({})),
        },
        Wanted {
            name: "properties",
            annotations: vec![
                ("agent-inject-template", properties.clone()),
                ("agent-inject-file", "conf/App.properties".to_owned()),
                ("agent-inject-perms", "0640".to_owned()),
            ],
            path: "/vault/secrets/conf/App.properties",
            template: entry(properties, &json!({"perms": "0640"})),
        },
        Wanted {
            name: "EXPORTS",
            annotations: vec![
                ("agent-inject-template", exports.clone()),
                ("preserve-secret-case", "true".to_owned()),
                ("secret-volume-path", "/etc/exports.d".to_owned()),
            ],
            path: "/etc/exports.d/EXPORTS",
            template: entry(exports, &json!({})),
        },
        Wanted {
            name: "brackets",
            annotations: vec![
                ("agent-inject-template", brackets.clone()),
                ("agent-template-left-delim", "[[".to_owned()),
                ("agent-template-right-delim", "]]".to_owned()),
            ],
            path: "/vault/secrets/brackets",
            template: entry(brackets, &json!({"left_delimiter": "[[", "right_delimiter": "]]"})),
        },
    ]
}

/// vault-k8s' annotations for these files.
fn annotations(vault: &Vault<'_>, wanted: &[Wanted], more: &Value) -> Value {
    let mut annotations = json!({
        "vault.hashicorp.com/agent-inject": "true", "vault.hashicorp.com/role": ROLE,
        "vault.hashicorp.com/auth-path": format!("auth/{}", vault.auth),
    });
    for Wanted {
        name,
        annotations: of_name,
        ..
    } in wanted
    {
        for (key, value) in of_name {
            annotations[format!("vault.hashicorp.com/{key}-{name}")] = json!(value);
        }
    }
    merge(annotations, more)
}

/// A file's bytes and its permissions.
type File = (Vec<u8>, u32);

/// The files that `bao agent` writes with the config that vault-k8s generates: `newConfig` of
/// <https://github.com/hashicorp/vault-k8s/blob/main/agent-inject/agent/config.go>. It runs on this machine, with a token of the
/// pod's service account, and with all paths below a folder.
fn bao_agent(vault: &Vault<'_>, namespace: &Namespace, wanted: &[Wanted]) -> BTreeMap<&'static str, File> {
    let folder = tempfile::tempdir().unwrap();
    let below = |path: &str| folder.path().join(path.trim_start_matches('/')).display().to_string();
    std::fs::write(below("ca.pem"), &settings().openbao_ca).unwrap();
    std::fs::write(below("jwt"), namespace.token("default", Some("vault"))).unwrap();
    let templates = wanted.iter().map(|wanted| {
        let destination = json!({"destination": below(wanted.path)});
        merge(wanted.template.clone(), &destination)
    });
    let config = json!({
        "auto_auth": {
            "method": {
                "type": "kubernetes", "mount_path": format!("auth/{}", vault.auth),
                "config": {"role": ROLE, "token_path": below("jwt")},
            },
            "sink": [{"type": "file", "config": {"path": below(".vault-token")}}],
        },
        "exit_after_auth": true,
        "pid_file": below(".pid"),
        "vault": {"address": settings().openbao, "ca_cert": below("ca.pem")},
        "template": templates.collect::<Vec<_>>(),
        "template_config": {"exit_on_retry_failure": true},
    });
    std::fs::write(below("config.json"), config.to_string()).unwrap();
    let output = Command::new(bao())
        .args(["agent", &format!("-config={}", below("config.json"))])
        .env_clear()
        .env("HOME", folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let read = |wanted: &Wanted| {
        let path = below(wanted.path);
        let path = Path::new(&path);
        let mode = path.metadata().unwrap().permissions().mode() & 0o7777;
        (wanted.path, (std::fs::read(path).unwrap(), mode))
    };
    wanted.iter().map(read).collect()
}

/// OpenBao's program, where `.ci/tools` puts it.
fn bao() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/bao")
}

/// The same files as a container of the pod sees them.
fn seen(pod: &Pod<'_>, wanted: &[Wanted]) -> BTreeMap<&'static str, File> {
    let read = |wanted: &Wanted| {
        let script = format!("stat -L -c %a {0} && base64 {0}", wanted.path);
        let printed = pod
            .exec("main", &["sh", "-c", &script])
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", wanted.path, pod.story()));
        let (mode, text) = printed.split_once('\n').unwrap();
        let text: String = text.split_whitespace().collect();
        let mode = u32::from_str_radix(mode, 8).unwrap();
        (wanted.path, (STANDARD.decode(text).unwrap(), mode))
    };
    wanted.iter().map(read).collect()
}

#[track_caller]
fn assert_same(podkey: &BTreeMap<&'static str, File>, bao: &BTreeMap<&'static str, File>) {
    for (path, (bytes, mode)) in bao {
        let (ours, our_mode) = &podkey[path];
        assert_eq!(
            String::from_utf8_lossy(ours),
            String::from_utf8_lossy(bytes),
            "{path}: podkey's is left"
        );
        assert_eq!(ours, bytes, "{path}");
        assert_eq!(format!("{our_mode:o}"), format!("{mode:o}"), "{path}");
    }
    assert_eq!(podkey.len(), bao.len());
}

/// The pod of a Deployment.
fn deployed<'a>(namespace: &'a Namespace, annotations: &Value) -> Pod<'a> {
    let labels = json!({"app": "web"});
    let mut spec = patient("web", "trap 'exit 0' TERM; while :; do sleep 0.2; done")["spec"].clone();
    spec["restartPolicy"] = json!("Always");
    cluster().create(
        &namespace.group_path("apps/v1", "deployments"),
        &json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels, "annotations": annotations}, "spec": spec,
            }},
        }),
    );
    let path = namespace.path("pods?labelSelector=app%3Dweb");
    let name = wait(LIMIT, || {
        let name = cluster().get(&path)["items"][0]["metadata"]["name"].clone();
        name.as_str().map(str::to_owned)
    })
    .unwrap_or_else(|| panic!("{:#?}", namespace.events()));
    namespace.pod(&name)
}

#[test]
fn a_deployment_of_vault_k8s_has_the_files_that_bao_agent_writes_and_follows_a_change() {
    if !bao().is_file() {
        left_out("files beside bao agent's", ".tools/bin/bao is missing: run make once");
        return;
    }
    let namespace = Namespace::new("vk8s");
    let vault = Vault::new(&namespace);
    let wanted = files(&set_up(&vault, &namespace));
    let interval = json!({"vault.hashicorp.com/template-static-secret-render-interval": "15s"});
    let pod = deployed(&namespace, &annotations(&vault, &wanted, &interval));
    pod.running();
    let object = pod.object();
    assert_eq!(init_containers(&object), ["podkey-init", "podkey-sidecar"]);
    assert_same(&seen(&pod, &wanted), &bao_agent(&vault, &namespace, &wanted));

    let changed = merge(awkward(), &json!({"password": "s3cret-of-after", "more": "new"}));
    vault.put("web", &changed);
    let after = bao_agent(&vault, &namespace, &wanted);
    wait(LIMIT, || (seen(&pod, &wanted) == after).then_some(()));
    assert_same(&seen(&pod, &wanted), &after);
    for container in ["podkey-sidecar", "main"] {
        assert_eq!(status(&pod.object(), container)["restartCount"], 0, "{container}");
    }
    for name in ["podkey-init", "podkey-sidecar"] {
        assert!(!pod.log(name).contains("s3cret-of-after"), "{}", pod.log(name));
    }
}

/// A certificate is another one each time that it is issued: the two have the same shape, and the same issuer.
#[test]
fn a_pod_of_vault_k8s_without_a_sidecar_has_json_and_a_certificate() {
    if !bao().is_file() {
        left_out("files beside bao agent's", ".tools/bin/bao is missing: run make once");
        return;
    }
    let namespace = Namespace::new("vk8s-once");
    let vault = Vault::new(&namespace);
    let mounts = set_up(&vault, &namespace);
    let (web, app) = (format!("{}/web", mounts.kv2), format!("{}/app", mounts.kv1));
    let json_of = |name, path: &str, file| Wanted {
        name,
        annotations: vec![("agent-inject-secret", path.to_owned())],
        path: file,
        template: entry(default_template("json", path), &json!({})),
    };
    let wanted = [
        json_of("web.json", &web, "/app/secrets/web.json"),
        json_of("app.json", &app, "/app/secrets/app.json"),
    ];
    let issue = format!(
        "{{{{ with secret \"{}/issue/web\" \"common_name=web.example.com\" \"ttl=10m\" }}}}{{{{ .Data.certificate }}}}\n\
         {{{{ .Data.issuing_ca }}}}\n{{{{ .Data.private_key }}}}{{{{ end }}}}",
        mounts.pki
    );
    let certificate = [Wanted {
        name: "tls.pem",
        annotations: vec![("agent-inject-template", issue.clone())],
        path: "/app/secrets/tls.pem",
        template: entry(issue, &json!({})),
    }];
    let more = json!({
        "vault.hashicorp.com/agent-pre-populate-only": "true", "vault.hashicorp.com/agent-inject-default-template": "JSON",
        "vault.hashicorp.com/secret-volume-path": "/app/secrets",
    });
    let asked = merge(
        annotations(&vault, &wanted, &more),
        &annotations(&vault, &certificate, &json!({})),
    );
    let definition = merge(
        pod("once", "trap 'exit 0' TERM; while :; do sleep 0.2; done"),
        &json!({"metadata": {"annotations": asked}}),
    );
    let pod = namespace.create(&definition);
    pod.running();
    assert_eq!(init_containers(&pod.object()), ["podkey-init"]);
    assert_same(&seen(&pod, &wanted), &bao_agent(&vault, &namespace, &wanted));

    let lines = |files: BTreeMap<&'static str, File>| {
        let (bytes, mode) = files["/app/secrets/tls.pem"].clone();
        let text = String::from_utf8(bytes).unwrap();
        let marks: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("-----"))
            .map(str::to_owned)
            .collect();
        let issuer = text.split("-----BEGIN CERTIFICATE-----").nth(2).unwrap().to_owned();
        let issuer = issuer.split("-----END").next().unwrap().to_owned();
        (marks, issuer, text.ends_with('\n'), mode)
    };
    assert_eq!(
        lines(seen(&pod, &certificate)),
        lines(bao_agent(&vault, &namespace, &certificate))
    );
}

/// The match condition of the chart, in a real API server.
#[test]
fn pods_of_vault_k8s_are_sent_to_podkey_by_their_switch_alone() {
    let namespace = Namespace::new("vk8s-switch");
    let ask = |annotations: Value| {
        let definition = merge(pod("asked", "true"), &json!({"metadata": {"annotations": annotations}}));
        let answer = namespace.try_create_as(cluster(), &definition, "?dryRun=All");
        match answer.is_success() {
            true => init_containers(&answer.json()).join(","),
            false => answer.message(),
        }
    };
    for prefix in ["vault.hashicorp.com", "openbao.org"] {
        let with = |switch: Value| {
            let key = |name: &str| format!("{prefix}/{name}");
            let mut annotations = json!({key("role"): "r", key("agent-inject-secret-a"): "kv/data/a"});
            annotations[key("agent-inject")] = switch;
            annotations
        };
        for no in ["false", "0", "f", "F", "FALSE", "False", ""] {
            assert_eq!(ask(with(json!(no))), "", "{prefix}: {no:?}");
        }
        assert_eq!(ask(with(Value::Null)), "", "{prefix}: no switch");
        for yes in ["true", "1", "t"] {
            assert_eq!(ask(with(json!(yes))), "podkey-init,podkey-sidecar", "{prefix}: {yes:?}");
        }
        let wrong = ask(with(json!("tRuE")));
        assert!(wrong.contains(&format!("{prefix}/agent-inject")), "{wrong}");
    }
    assert_eq!(ask(json!({})), "");
    assert_eq!(ask(Value::Null), "");
}
