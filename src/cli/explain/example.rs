//! The example of each name as a whole manifest or config, made from the example in the name's table. Each of them goes through
//! `podkey inject` and `podkey lint --strict` as it is shown: `tests/tool/explain.rs`.

use serde_json::{Map, Value, json};

use crate::inject::vocabulary::{DocumentedKey, Scope, Suffix, Treatment, VAULT_K8S_PREFIXES, VaultK8sKey};
use crate::inject::{keys, names};
use crate::plan::ExitCode;

/// An entry of `podkey.dev/files` that needs nothing else.
const FILE: &str = "- { secret: kv/data/web, file: web.json }";
/// How people who install ARC by its chart use the example.
const CHART: &str = "# In the values of ARC's chart gha-runner-scale-set: `template` alone.\n";
/// What jobs that log in need of the operator.
const JOB_ROLE: &str = "# Jobs log in: the operator's config has connections.default.job.role.\n";
/// A line of `podkey.dev/env`.
const VARIABLE: &str = "kv/data/web token | TOKEN";

/// A pod with the annotation. None: podkey writes the annotation.
pub(super) fn annotation(key: &DocumentedKey) -> Option<String> {
    if key.scope == Scope::Information {
        return None;
    }
    let mut pod = ExamplePod::of(key.scope);
    match key.key {
        keys::FILES | keys::ENV | keys::JOB_ENV => {}
        keys::EXPORT | keys::ENV_DELIVERY => pod.annotate(keys::ENV, VARIABLE),
        _ => pod.annotate(keys::FILES, FILE),
    }
    if matches!(key.key, keys::JOB_HOOKS | keys::EXPORT) {
        pod.runner = true;
    }
    pod.job_reads |= key.key == keys::JOB_ENV;
    // The table's example switches the hooks off.
    let value = if key.key == keys::JOB_HOOKS {
        "true"
    } else {
        key.example
    };
    pod.annotate(key.key, value);
    Some(pod.manifest())
}

/// A pod with one file that has the field.
pub(super) fn file_field(key: &DocumentedKey) -> Option<String> {
    let mut entry: Vec<(&str, &str)> = match key.key {
        "template" | "delims" => vec![("file", "web.env")],
        "data" => vec![("secret", "pki/issue/web"), ("file", "web.json")],
        "decode" => vec![("secret", "kv/data/web"), ("key", "config"), ("file", "config")],
        "key" => vec![("secret", "kv/data/web"), ("file", "password")],
        "secret" => vec![("file", "web.json")],
        "file" => vec![("secret", "kv/data/web"), ("format", "dotenv")],
        _ => vec![("secret", "kv/data/web"), ("file", "web.json")],
    };
    if key.key == "delims" {
        entry.push((
            "template",
            "user=[[ with secret \"kv/data/web\" ]][[ .Data.data.user ]][[ end ]]",
        ));
    }
    entry.push((key.key, key.example));
    let lines = entry.iter().map(|(field, value)| format!("{field}: {value}"));
    let mut pod = ExamplePod::of(key.scope);
    pod.job_reads |= key.key == "as";
    // With this mode, readers are in the group.
    pod.fs_group = (key.key == "mode").then_some(1000);
    pod.annotate(keys::FILES, &format!("- {}", lines.collect::<Vec<_>>().join("\n  ")));
    Some(pod.manifest())
}

/// A runner pod whose policy has the field.
pub(super) fn job_policy_field(key: &DocumentedKey) -> Option<String> {
    let mut pod = ExamplePod::of(key.scope);
    pod.annotate(keys::FILES, FILE);
    pod.annotate(keys::JOB_POLICY, &format!("{}: {}", key.key, key.example));
    Some(pod.manifest())
}

/// A config with the key.
pub(super) fn config_key(key: &DocumentedKey) -> Option<String> {
    let mut config = json!({
        "agent": {"image": "registry.example.com/podkey:0.2.0"},
        "connections": {"default": {"address": "https://vault.vault.svc:8200"}},
    });
    // Job keys other than the role have no effect without a role.
    if key.key.starts_with("connections.NAME.job.") {
        config["connections"]["default"]["job"] = json!({"role": "ci"});
    }
    let path = key.key.replace("NAME", "default");
    let example = serde_saphyr::from_str(key.example).ok()?;
    let example = path
        .rsplit('.')
        .fold(example, |value, step| match step.strip_suffix("[]") {
            Some(list) => json!({list: [value]}),
            None => json!({step: value}),
        });
    merge(&mut config, example);
    serde_saphyr::to_string(&config).ok()
}

/// Puts the members of `from` into `into`. Members that both have, and that are objects, become one object.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// A pod with the annotation. None: the annotation does nothing that podkey does, too.
pub(super) fn vault_k8s(key: &VaultK8sKey) -> Option<String> {
    if matches!(key.treatment, Treatment::Ignored | Treatment::Refused) {
        return None;
    }
    let [prefix, _] = VAULT_K8S_PREFIXES;
    let suffix = match key.suffix {
        Suffix::Name => "-web",
        Suffix::None | Suffix::OptionalName | Suffix::Parameter => "",
    };
    let mut annotations = Map::new();
    let pairs = [
        ("agent-inject", "true"),
        ("role", "web"),
        ("agent-inject-secret-web", "kv/data/web"),
    ];
    for (name, value) in pairs {
        annotations.insert(format!("{prefix}{name}"), value.into());
    }
    if key.key.ends_with("-delim") {
        for (name, value) in [
            (
                "agent-inject-template-web",
                "user=[[ with secret \"kv/data/web\" ]][[ .Data.data.user ]][[ end ]]",
            ),
            ("agent-template-left-delim-web", "[["),
            ("agent-template-right-delim-web", "]]"),
        ] {
            annotations.insert(format!("{prefix}{name}"), value.into());
        }
    }
    let value = vault_k8s_value(key.key)?;
    annotations.insert(format!("{prefix}{}{suffix}", key.key), value.into());
    yaml(&web(&annotations, false))
}

/// A value of an annotation of vault-k8s that podkey takes. None: the value depends on the operator's config, or podkey writes it.
fn vault_k8s_value(key: &str) -> Option<&'static str> {
    Some(match key {
        "agent-inject-secret" => "kv/data/web",
        "agent-inject-template" => "user={{ with secret \"kv/data/web\" }}{{ .Data.data.user }}{{ end }}",
        "agent-inject-default-template" => "json",
        "agent-inject-file" => "web.json",
        "agent-inject-perms" => "0444",
        "agent-inject-command" => "touch /vault/secrets/reload",
        "agent-inject-containers" => "web",
        "agent-template-left-delim" => "[[",
        "agent-template-right-delim" => "]]",
        "secret-volume-path" => "/run/secrets/web",
        "agent-run-as-user" => "1000",
        "role" => "web",
        "auth-type" => "kubernetes",
        "auth-path" => "auth/kubernetes",
        "agent-inject"
        | "agent-init-first"
        | "agent-pre-populate"
        | "agent-pre-populate-only"
        | "error-on-missing-key"
        | "preserve-secret-case"
        | "agent-auto-auth-exit-on-err" => "true",
        "template-config-exit-on-retry-failure" => "true",
        "template-static-secret-render-interval" => "5m",
        "agent-inject-token" | "agent-run-as-same-user" | "agent-share-process-namespace" => "false",
        _ => return None,
    })
}

/// The commands that show what the agent reported.
pub(super) fn exit_code(code: ExitCode) -> String {
    let container = match code {
        ExitCode::Restart => names::SIDECAR,
        _ => names::INIT_CONTAINER,
    };
    format!(
        "kubectl logs POD -c {container}\n\
         kubectl get pod POD -o jsonpath='{{.status.initContainerStatuses[?(@.name==\"{container}\")]}}'\n\
         kubectl podkey doctor POD\n"
    )
}

/// A pod that shows one annotation.
struct ExamplePod {
    annotations: Map<String, Value>,
    /// Whether the pod is the template of a scale set of ARC.
    runner: bool,
    /// Whether jobs log in themselves.
    job_reads: bool,
    fs_group: Option<u32>,
}

impl ExamplePod {
    /// A pod in which keys of this scope have an effect.
    fn of(scope: Scope) -> Self {
        let mut pod = Self {
            annotations: Map::new(),
            runner: scope == Scope::JobHooks,
            job_reads: false,
            fs_group: None,
        };
        pod.annotate(keys::ROLE, "web");
        if scope == Scope::Refresh {
            pod.annotate(keys::REFRESH, "30s");
        }
        pod
    }

    /// Adds the annotation, or replaces its value. A value that has a structure is a text of several lines.
    fn annotate(&mut self, key: &str, value: &str) {
        let end = if value.contains(['{', '|', '\n', ' ']) && !value.contains(", ") || value.starts_with("- ") {
            "\n"
        } else {
            ""
        };
        self.annotations.insert(key.to_owned(), format!("{value}{end}").into());
    }

    fn manifest(&self) -> String {
        let (chart, mut manifest) = match self.runner {
            true => (CHART, runner(&self.annotations)),
            false => ("", web(&self.annotations, self.has_command())),
        };
        if let Some(group) = self.fs_group {
            manifest["spec"]["securityContext"] = json!({"fsGroup": group});
        }
        let role = if self.job_reads { JOB_ROLE } else { "" };
        format!("{chart}{role}{}", yaml(&manifest).unwrap_or_default())
    }

    /// Whether the container names its command, in front of which the agent can stand.
    fn has_command(&self) -> bool {
        self.annotations.contains_key(keys::ENV)
    }
}

fn web(annotations: &Map<String, Value>, has_command: bool) -> Value {
    let mut container = json!({"name": "web", "image": "registry.example.com/web:1.0.0"});
    if has_command {
        container["command"] = json!(["/bin/web"]);
    }
    let mut spec = json!({"serviceAccountName": "web"});
    let named = annotations
        .get(keys::CONTAINERS)
        .and_then(Value::as_str)
        .unwrap_or_default();
    let others = named.split(", ").filter(|name| !name.is_empty() && *name != "web");
    let others: Vec<_> = others
        .map(|name| json!({"name": name, "image": "registry.example.com/web:1.0.0"}))
        .collect();
    if !others.is_empty() {
        spec["initContainers"] = others.into();
    }
    spec["containers"] = json!([container]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "annotations": annotations}, "spec": spec})
}

/// The template of a scale set, as in the values of its chart.
fn runner(annotations: &Map<String, Value>) -> Value {
    let image = "ghcr.io/actions/actions-runner:latest";
    let container = json!({"name": "runner", "image": image, "command": ["/home/runner/run.sh"]});
    json!({
        "apiVersion": "actions.github.com/v1alpha1",
        "kind": "AutoscalingRunnerSet",
        "metadata": {"name": "runners"},
        "spec": {"template": {
            "metadata": {"annotations": annotations},
            "spec": {"serviceAccountName": "runners", "containers": [container]},
        }},
    })
}

fn yaml(manifest: &Value) -> Option<String> {
    serde_saphyr::to_string(manifest).ok()
}
