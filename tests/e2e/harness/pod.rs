//! A pod, what became of it, and why.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::api::cluster;
use super::namespace::Namespace;
use super::settings::settings;
use super::{LIMIT, install, merge, wait};

/// A pod of one container, `main`, that runs a shell script once.
pub fn pod(name: &str, script: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
            "containers": [container("main", script)],
        },
    })
}

/// The same with as much time to end as usual.
pub fn patient(name: &str, script: &str) -> Value {
    merge(
        pod(name, script),
        &json!({"spec": {"terminationGracePeriodSeconds": 30}}),
    )
}

/// Shows a file of `/podkey/secrets` each time that its content is another, until it is asked to end.
pub fn watch(file: &str) -> String {
    format!(
        r#"trap 'exit 0' TERM; last=
        while :; do now=$(cat /podkey/secrets/{file} 2>&1); [ "$now" = "$last" ] || {{ echo "$now"; last=$now; }}; sleep 0.2; done"#
    )
}

/// The pod with its secrets kept fresh.
pub fn fresh(pod: Value, interval: &str) -> Value {
    merge(
        pod,
        &json!({"metadata": {"annotations": {"podkey.dev/refresh": interval}}}),
    )
}

/// A container that runs a shell script.
pub fn container(name: &str, script: &str) -> Value {
    json!({"name": name, "image": settings().busybox, "command": ["sh", "-c", script]})
}

pub struct Pod<'a> {
    pub namespace: &'a Namespace,
    pub name: String,
}

/// How a container ended.
#[derive(Debug)]
pub struct End {
    pub code: i64,
    /// What `kubectl describe pod` shows.
    pub message: String,
}

impl Pod<'_> {
    pub fn path(&self) -> String {
        self.namespace.path(&format!("pods/{}", self.name))
    }

    pub fn object(&self) -> Value {
        cluster().get(&self.path())
    }

    /// Waits until the pod is as told; fails with the pod's whole story.
    #[track_caller]
    pub fn until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let found = wait(LIMIT, || {
            let answer = cluster().try_call("GET", &self.path(), &Value::Null).ok()?;
            let pod = answer.is_success().then(|| answer.json())?;
            // Nothing comes after the end.
            (is(&pod) || ended(&pod)).then_some(pod)
        });
        match found {
            Some(pod) if is(&pod) => pod,
            _ => panic!("pod {}: not {what}\n{}", self.name, self.story()),
        }
    }

    /// Waits for success, and gives the log of the only container.
    #[track_caller]
    pub fn succeeds(&self) -> String {
        let pod = self.until("succeeded", |pod| pod["status"]["phase"] == "Succeeded");
        self.log(pod["spec"]["containers"][0]["name"].as_str().unwrap())
    }

    /// Waits until podkey-init has failed for good, and gives its last word.
    #[track_caller]
    pub fn refused(&self) -> End {
        self.until("refused", |pod| {
            pod["status"]["phase"] == "Failed" && init_end(pod).is_some_and(|end| end.code != 0)
        });
        self.init_end().unwrap()
    }

    #[track_caller]
    pub fn running(&self) -> Value {
        self.until("running", |pod| pod["status"]["phase"] == "Running" && all_ready(pod))
    }

    pub fn init_end(&self) -> Option<End> {
        init_end(&self.object())
    }

    pub fn log(&self, container: &str) -> String {
        let path = format!("{}/log?container={container}", self.path());
        cluster().call("GET", &path, &Value::Null).text
    }

    /// Waits until the last line of the log of `main` is this. Gives how long that took.
    #[track_caller]
    pub fn shows(&self, text: &str) -> Duration {
        let begun = Instant::now();
        wait(LIMIT, || (self.log("main").lines().last() == Some(text)).then_some(()))
            .unwrap_or_else(|| panic!("{} never shows {text}\n{}", self.name, self.story()));
        begun.elapsed()
    }

    /// Runs a command in a container. Gives what it printed, and what kubectl said.
    pub fn exec(&self, container: &str, command: &[&str]) -> Result<String, String> {
        let pod = [
            "exec",
            "--namespace",
            &self.namespace.name,
            &self.name,
            "-c",
            container,
            "--",
        ];
        install::kubectl(&[&pod[..], command].concat(), "")
    }

    pub fn delete(&self) {
        cluster().delete(&format!("{}?gracePeriodSeconds=1", self.path()));
    }

    /// Everything that explains why a pod is as it is.
    pub fn story(&self) -> String {
        let answer = cluster().call("GET", &self.path(), &Value::Null);
        let pod = answer.json();
        let mut story = format!("status: {:#}\n", pod["status"]);
        for event in self.namespace.events() {
            let _ = writeln!(story, "event: {event}");
        }
        for list in ["initContainers", "containers"] {
            for container in pod["spec"][list].as_array().into_iter().flatten() {
                let name = container["name"].as_str().unwrap_or_default();
                let _ = writeln!(story, "log of {name}:\n{}", self.log(name));
            }
        }
        story
    }
}

/// How a container stands, by name.
pub fn status<'a>(pod: &'a Value, container: &str) -> &'a Value {
    let of = |list: &str| pod["status"][list].as_array().into_iter().flatten();
    of("initContainerStatuses")
        .chain(of("containerStatuses"))
        .find(|status| status["name"] == container)
        .unwrap_or(&Value::Null)
}

/// A container's definition, by name.
pub fn definition<'a>(pod: &'a Value, container: &str) -> &'a Value {
    let of = |list: &str| pod["spec"][list].as_array().into_iter().flatten();
    of("initContainers")
        .chain(of("containers"))
        .find(|definition| definition["name"] == container)
        .unwrap_or(&Value::Null)
}

/// The names of the init containers, in their order.
pub fn init_containers(pod: &Value) -> Vec<&str> {
    let all = pod["spec"]["initContainers"].as_array().into_iter().flatten();
    all.filter_map(|container| container["name"].as_str()).collect()
}

fn ended(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

fn all_ready(pod: &Value) -> bool {
    let statuses = pod["status"]["containerStatuses"].as_array();
    statuses.is_some_and(|all| all.iter().all(|status| status["ready"] == true))
}

fn init_end(pod: &Value) -> Option<End> {
    let status = status(pod, "podkey-init");
    let end = [&status["state"]["terminated"], &status["lastState"]["terminated"]]
        .into_iter()
        .find(|end| end.is_object())?;
    Some(End {
        code: end["exitCode"].as_i64()?,
        message: end["message"].as_str().unwrap_or_default().to_owned(),
    })
}
