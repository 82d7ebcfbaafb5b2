//! ARC, installed once a run, and a scale set of a test's own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::github::GitHub;
use crate::harness::api::cluster;
use crate::harness::install::{helm, kubectl};
use crate::harness::namespace::Namespace;
use crate::harness::openbao::Vault;
use crate::harness::settings::settings;
use crate::harness::{LIMIT, left_out, merge, wait};

/// The controller's namespace and that of its listeners.
const SYSTEMS: &str = "podkey-e2e-arc";
/// On the namespaces of scale sets.
const LABEL: &str = "podkey-e2e-arc";
/// The release of each scale set, in a namespace of its own.
const NAME: &str = "set";
pub const SECRET: &str = "s3cret-of-the-job";
/// A step that knows nothing of podkey.
pub const STEP: &str = r#"test "$(cat /podkey/secrets/password)" = s3cret-of-the-job; test "$PASSWORD" = s3cret-of-the-job
echo "password: $PASSWORD"; echo delivered"#;
const GROUP: &str = "/apis/actions.github.com/v1alpha1";

/// What `.ci/tools arc` built.
struct Arc {
    dir: PathBuf,
    image: String,
    runner: String,
    host: String,
}

/// None where this cluster was not told of ARC.
static ARC: LazyLock<Option<Arc>> = LazyLock::new(|| {
    let settings = settings();
    let arc = Arc {
        dir: settings.arc.clone()?,
        image: settings.arc_image.clone()?,
        runner: settings.arc_runner.clone()?,
        host: settings.host.clone()?,
    };
    arc.install();
    Some(arc)
});

impl Arc {
    fn chart(&self, name: &str) -> String {
        self.dir.join("charts").join(name).to_str().unwrap().to_owned()
    }

    fn install(&self) {
        crate::harness::install::podkey();
        sweep();
        let chart = self.chart("gha-runner-scale-set-controller");
        // Helm leaves those of another version as they are.
        let crds = format!("{chart}/crds");
        let applied = kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &crds], "");
        applied.unwrap_or_else(|error| panic!("{error}"));
        let (repository, tag) = self.image.rsplit_once(':').unwrap();
        let repository = format!("image.repository={repository}");
        let tag = format!("image.tag={tag}");
        let installed = helm(&[
            "upgrade",
            "--install",
            "arc",
            &chart,
            "--namespace",
            SYSTEMS,
            "--create-namespace",
            "--skip-crds",
            "--set",
            &repository,
            "--set",
            &tag,
            "--wait",
            "--timeout",
            "3m",
        ]);
        installed.unwrap_or_else(|error| panic!("helm: {error}"));
        println!("ARC {tag}");
    }
}

/// Takes away the scale sets that a killed run left: their stand-in for GitHub is gone, so ARC's controller cannot.
fn sweep() {
    let left = cluster().get(&format!("/api/v1/namespaces?labelSelector={LABEL}"));
    for namespace in left["items"].as_array().into_iter().flatten() {
        let name = namespace["metadata"]["name"].as_str().unwrap();
        let _ = cluster().call("DELETE", &format!("/api/v1/namespaces/{name}"), &Value::Null);
        unprotect(name);
    }
    let _ = cluster().call(
        "DELETE",
        &format!("{GROUP}/namespaces/{SYSTEMS}/autoscalinglisteners"),
        &Value::Null,
    );
    for object in objects(&format!("{GROUP}/namespaces/{SYSTEMS}/autoscalinglisteners")) {
        take_finalizers(&format!("{GROUP}/namespaces/{SYSTEMS}/autoscalinglisteners"), &object);
    }
}

/// Lets everything of a namespace go that ARC protects.
fn unprotect(namespace: &str) {
    let of = |group: &str, kind: &str| format!("{group}/namespaces/{namespace}/{kind}");
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    for path in [
        of(GROUP, "autoscalingrunnersets"),
        of(GROUP, "ephemeralrunnersets"),
        of(GROUP, "ephemeralrunners"),
        of("/api/v1", "secrets"),
        of("/api/v1", "serviceaccounts"),
        of(rbac, "rolebindings"),
        of(rbac, "roles"),
    ] {
        for object in try_objects(&path).unwrap_or_default() {
            take_finalizers(&path, &object);
        }
    }
}

fn take_finalizers(path: &str, object: &Value) {
    if object["metadata"]["finalizers"].is_array() {
        let path = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
        let _ = cluster().try_call("PATCH", &path, &json!({"metadata": {"finalizers": null}}));
    }
}

/// None at all where there is no such kind.
fn objects(path: &str) -> Vec<Value> {
    try_objects(path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
}

fn try_objects(path: &str) -> Result<Vec<Value>, String> {
    let answer = cluster().try_call("GET", path, &Value::Null)?.json();
    Ok(answer["items"].as_array().cloned().unwrap_or_default())
}

/// A scale set with its own GitHub.
pub struct ScaleSet {
    pub namespace: Namespace,
    pub github: GitHub,
    arc: &'static Arc,
}

impl ScaleSet {
    /// Without a release yet. None where there is no ARC, which is said.
    pub fn new(test: &str) -> Option<Self> {
        let Some(arc) = &*ARC else {
            left_out(test, "PODKEY_E2E_ARC, its images or PODKEY_E2E_HOST_ADDRESS is not set");
            return None;
        };
        let github = GitHub::start(&arc.dir.join("arc-lab"), &arc.host);
        let namespace = Namespace::labelled("arc", &json!({LABEL: "scale-set"}));
        let ca = json!({"metadata": {"name": "github"}, "data": {"ca.pem": github.ca}});
        cluster().create(&namespace.path("configmaps"), &ca);
        Some(Self { namespace, github, arc })
    }

    /// Whether ARC is older than this version of its charts.
    pub fn is_older_than(&self, major: u64, minor: u64, patch: u64) -> bool {
        let version = self.arc.image.rsplit_once(':').unwrap().1;
        let parts: Vec<u64> = version.split('.').map_while(|part| part.parse().ok()).collect();
        parts < vec![major, minor, patch]
    }

    /// OpenBao with the password, and a role for the set's service account.
    pub fn vault(&self) -> Vault<'_> {
        let vault = Vault::new(&self.namespace);
        vault.put("web", &json!({"password": SECRET, "next": "the-next-s3cret"}));
        self.role(&vault, crate::harness::openbao::ROLE);
        vault
    }

    pub fn role(&self, vault: &Vault<'_>, name: &str) {
        vault.role(
            name,
            &json!({"audience": "vault", "bound_service_account_names": ["*"]}),
        );
    }

    /// Annotations for the file and the variable that [`STEP`] wants.
    pub fn annotations(&self, vault: &Vault<'_>) -> Value {
        let file = json!([{"secret": "web", "key": "password", "file": "password"}]);
        let env = json!({"podkey.dev/env": format!("{}/data/web password | PASSWORD", vault.kv)});
        merge(vault.annotations(&file), &env)
    }

    /// `helm upgrade --install` of ARC's chart with these annotations of the runner pods, and these values.
    pub fn install(&self, annotations: &Value, values: &Value) {
        let values = merge(
            json!({
                "githubConfigUrl": format!("{}/octo-org", self.github.url),
                "githubConfigSecret": {"github_token": "pat"},
                "githubServerTLS": {
                    "certificateFrom": {"configMapKeyRef": {"name": "github", "key": "ca.pem"}},
                    "runnerMountPath": "/usr/local/share/ca-certificates/",
                },
                "controllerServiceAccount": {"name": "arc-gha-rs-controller", "namespace": SYSTEMS},
                "template": {
                    "metadata": {"annotations": annotations},
                    "spec": {
                        "terminationGracePeriodSeconds": 5, "securityContext": {"runAsUser": 1001},
                        "containers": [{"name": "runner", "image": self.arc.runner, "command": ["/home/runner/run.sh"]}],
                    },
                },
            }),
            values,
        );
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        std::fs::write(file.path(), values.to_string()).unwrap();
        let chart = self.arc.chart("gha-runner-scale-set");
        let path = file.path().to_str().unwrap();
        let args = [
            "upgrade",
            "--install",
            NAME,
            &chart,
            "--namespace",
            &self.namespace.name,
            "--values",
            path,
        ];
        helm(&args).unwrap_or_else(|error| panic!("helm: {error}"));
    }

    pub fn runner_image(&self) -> &str {
        &self.arc.runner
    }

    /// Queues jobs, once the set is registered.
    pub fn queue(&self, count: usize, script: &str) {
        self.queue_in(count, script, "");
    }

    pub fn queue_in(&self, count: usize, script: &str, container: &str) {
        let path = self.namespace.path("").replacen("/api/v1", GROUP, 1) + "autoscalingrunnersets/" + NAME;
        let registered = || {
            let set = cluster().get(&path);
            set["metadata"]["annotations"]["runner-scale-set-id"]
                .is_string()
                .then_some(())
        };
        wait(LIMIT, registered).unwrap_or_else(|| panic!("ARC registers no scale set\n{}", self.story()));
        self.github.queue(NAME, count, script, container);
    }

    /// Waits until all jobs are completed. Gives them, and every runner pod that was seen meanwhile, by UID.
    #[track_caller]
    pub fn finish(&self) -> (Vec<Value>, BTreeMap<String, Value>) {
        let mut seen = BTreeMap::new();
        let done = wait(LIMIT, || {
            let pods = self.pods().into_iter();
            seen.extend(pods.map(|pod| (pod["metadata"]["uid"].as_str().unwrap().to_owned(), pod)));
            let jobs = self.github.jobs();
            jobs.iter().all(|job| job["state"] == "completed").then_some(jobs)
        });
        let jobs = done.unwrap_or_else(|| panic!("jobs are not done\n{}", self.story()));
        (jobs, seen)
    }

    /// The same, and each job must have had its secrets.
    #[track_caller]
    pub fn delivers(&self) -> (Vec<Value>, BTreeMap<String, Value>) {
        let (jobs, seen) = self.finish();
        for job in &jobs {
            let log = job["log"].as_str().unwrap();
            assert_eq!(job["result"], "succeeded", "{log}");
            assert!(
                log.contains("\npassword: ***\ndelivered\n") && !log.contains(SECRET),
                "{log}"
            );
        }
        (jobs, seen)
    }

    /// Waits until no runner and no pod is left. Gives how long that took.
    #[track_caller]
    pub fn empties(&self) -> Duration {
        let begun = Instant::now();
        let gone = || (self.runners().is_empty() && self.pods().is_empty()).then_some(());
        wait(LIMIT, gone).unwrap_or_else(|| panic!("runners are left\n{}", self.story()));
        begun.elapsed()
    }

    /// The EphemeralRunners.
    pub fn runners(&self) -> Vec<Value> {
        objects(&format!("{GROUP}/namespaces/{}/ephemeralrunners", self.namespace.name))
    }

    /// What `kubectl get` and `describe` tell of each EphemeralRunner's state.
    pub fn told(&self) -> Vec<String> {
        let runners = self.runners().into_iter();
        let told = runners.map(|runner| {
            let status = &runner["status"];
            let [phase, reason, message] =
                ["phase", "reason", "message"].map(|key| status[key].as_str().unwrap_or("-"));
            format!("{phase} {reason} {message} failures: {}", status["failures"])
        });
        told.collect()
    }

    /// Deletes every EphemeralRunner, as a person does where those that failed stay.
    pub fn delete_runners(&self) {
        let path = format!("{GROUP}/namespaces/{}/ephemeralrunners", self.namespace.name);
        cluster().delete(&path);
    }

    /// The runner pods.
    pub fn pods(&self) -> Vec<Value> {
        objects(
            &self
                .namespace
                .path("pods?labelSelector=actions-ephemeral-runner%3DTrue"),
        )
    }

    /// Waits for a runner pod that is as told.
    #[track_caller]
    pub fn pod(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let found = wait(LIMIT, || self.pods().into_iter().find(|pod| is(pod)));
        found.unwrap_or_else(|| panic!("no pod that is {what}\n{}", self.story()))
    }

    /// The lines of the controller's log about this scale set that contain a text.
    pub fn controller_says(&self, text: &str) -> Vec<String> {
        let log = kubectl(
            &["logs", "-n", SYSTEMS, "deploy/arc-gha-rs-controller", "--tail=20000"],
            "",
        )
        .unwrap();
        let ours = log
            .lines()
            .filter(|line| line.contains(&self.namespace.name) && line.contains(text));
        ours.map(str::to_owned).collect()
    }

    fn story(&self) -> String {
        let pods = self.pods();
        let pods: Vec<_> = pods.iter().map(|pod| pod["status"].to_string()).collect();
        let errors = self.controller_says("ERROR");
        format!(
            "runners: {:#?}\npods: {pods:#?}\nevents: {:#?}\njobs: {:#?}\ncontroller: {:#?}",
            self.told(),
            self.namespace.events(),
            self.github.jobs(),
            &errors[errors.len().saturating_sub(10)..]
        )
    }
}

/// ARC takes its objects away while its GitHub is still there; what it leaves loses its protection.
impl Drop for ScaleSet {
    fn drop(&mut self) {
        if std::thread::panicking() && settings().keep {
            return;
        }
        let _ = helm(&["uninstall", NAME, "--namespace", &self.namespace.name]);
        let path = format!("{GROUP}/namespaces/{}/autoscalingrunnersets", self.namespace.name);
        let _ = wait(Duration::from_secs(20), || {
            try_objects(&path).is_ok_and(|left| left.is_empty()).then_some(())
        });
        unprotect(&self.namespace.name);
    }
}
