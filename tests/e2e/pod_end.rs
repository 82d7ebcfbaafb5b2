//! The end of a pod whose secrets are refreshed: podkey does not delay it, and nothing is left in OpenBao. These tests measure
//! times and count objects, so no other test may run at the same time.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::api::cluster;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::{ROLE, Vault};
use crate::harness::pod::{Pod, fresh, patient, pod};
use crate::harness::{LIMIT, merge, wait};

const FOREVER: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

fn median(values: &mut [Duration]) -> Duration {
    values.sort_unstable();
    values[values.len() / 2]
}

/// The time from the request to the moment when the API does not show the pod any more.
fn deletion(pod: &Pod<'_>) -> Duration {
    let begun = Instant::now();
    cluster().delete(&pod.path());
    let gone = || cluster().call("GET", &pod.path(), &Value::Null).status == 404;
    wait(LIMIT, || gone().then_some(())).expect("the pod goes");
    begun.elapsed()
}

#[test]
fn a_pod_with_the_sidecar_is_deleted_as_fast_as_one_without_podkey() {
    let namespace = Namespace::new("deletion");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let files = json!([{"secret": "web", "key": "password", "file": "password"}]);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..7 {
        let plain = patient(&format!("plain-{round}"), FOREVER);
        let injected = fresh(
            vault.annotate(patient(&format!("fresh-{round}"), FOREVER), &files),
            "5s",
        );
        let [plain, injected] = [plain, injected].map(|pod| namespace.create(&pod));
        plain.running();
        injected.running();
        // The kubelet looks at its containers once a second: each begins at another part of it.
        std::thread::sleep(Duration::from_millis(140 * round));
        without.push(deletion(&plain));
        with.push(deletion(&injected));
    }
    let (with, without) = (median(&mut with), median(&mut without));
    println!("deletion, median of 7: {with:.2?} with the sidecar, {without:.2?} without podkey");
    // What must not happen is that the kubelet waits for its grace to end.
    assert!(with < without + Duration::from_secs(5), "{with:?} against {without:?}");
}

/// The kinds of end, and how many pods come to each.
const NORMAL: usize = 20;
const CANCELLED: usize = 20;
const KILLED: usize = 10;

/// Certificates with leases: OpenBao revokes them together with the token that made them.
struct Certificates<'a> {
    namespace: &'a Namespace,
    vault: Vault<'a>,
    mount: String,
}

impl<'a> Certificates<'a> {
    /// `ttl`: how long a token lives.
    fn new(namespace: &'a Namespace, ttl: &str) -> Self {
        let vault = Vault::new(namespace);
        let mount = vault.engine("pki", "issue/app", "update");
        let insist = |path: &str, body: Value| vault.api.insist("POST", &format!("/v1/{mount}/{path}"), &body);
        insist(
            "root/generate/internal",
            json!({"common_name": "podkey e2e", "key_type": "ec"}),
        );
        insist(
            "roles/app",
            json!({"allow_any_name": true, "key_type": "ec", "generate_lease": true, "ttl": "1h"}),
        );
        vault.role(
            ROLE,
            &json!({"audience": "vault", "token_ttl": ttl, "token_max_ttl": ttl}),
        );
        Self {
            namespace,
            vault,
            mount,
        }
    }

    fn pod(&self, name: &str, script: &str) -> Value {
        let file = json!([{
            "secret": format!("{}/issue/app", self.mount), "data": {"common_name": "app.example.com"}, "file": "web.json",
        }]);
        let annotations = self.vault.annotations_of(&file);
        fresh(
            merge(
                patient(name, script),
                &json!({"metadata": {"annotations": annotations}}),
            ),
            "5s",
        )
    }

    #[track_caller]
    fn start(&self, kind: &str, count: usize, script: &str) -> Vec<Pod<'a>> {
        let names = (0..count).map(|number| format!("{kind}-{number}"));
        names
            .map(|name| self.namespace.create(&self.pod(&name, script)))
            .collect()
    }

    fn leases(&self) -> usize {
        self.vault.leases(&format!("{}/issue/app", self.mount))
    }

    /// Waits until nothing is left. Gives the seconds that took.
    #[track_caller]
    fn none_left(&self) -> f64 {
        let begun = Instant::now();
        let mut left = (0, 0);
        wait(LIMIT, || {
            left = (self.vault.tokens(), self.leases());
            (left == (0, 0)).then_some(())
        })
        .unwrap_or_else(|| panic!("tokens and leases left: {left:?}"));
        begun.elapsed().as_secs_f64()
    }
}

#[test]
fn no_lease_and_no_token_outlives_a_pod_but_that_of_a_killed_one_which_ends_by_itself() {
    let [namespace, other] = ["left", "left-killed"].map(Namespace::new);
    // So short is what is left of killed pods; what is left of others would be seen.
    let (certificates, of_killed) = (Certificates::new(&namespace, "20m"), Certificates::new(&other, "90s"));

    // First those whose tokens end last.
    let killed = of_killed.start("killed", KILLED, FOREVER);
    kill(&killed);
    let begun = Instant::now();
    let after_killed = (of_killed.vault.tokens(), of_killed.leases());

    let normal = certificates.start("normal", NORMAL, "grep -q certificate /podkey/secrets/web.json");
    normal.iter().for_each(|pod| {
        pod.succeeds();
    });
    let after_normal = certificates.none_left();

    let cancelled = certificates.start("cancelled", CANCELLED, FOREVER);
    cancelled.iter().for_each(|pod| {
        pod.running();
    });
    // That we would see them.
    assert_eq!(
        (certificates.vault.tokens(), certificates.leases()),
        (CANCELLED, CANCELLED)
    );
    cancelled.iter().for_each(|pod| cluster().delete(&pod.path()));
    let after_cancelled = certificates.none_left();

    of_killed.none_left();
    println!(
        "tokens and leases left after {NORMAL} pods that end: none {after_normal:.0} s later; {CANCELLED} deleted: none \
         {after_cancelled:.0} s later; {KILLED} killed: {after_killed:?}, and none {:.0} s later",
        begun.elapsed().as_secs_f64()
    );
}

/// Kills all processes of running pods, also those of the sandboxes, from a pod that sees the node's processes.
fn kill(pods: &[Pod<'_>]) {
    let uid = |pod: &Pod<'_>| pod.running()["metadata"]["uid"].as_str().unwrap().replace('-', "[-_]");
    let uids: Vec<_> = pods.iter().map(|pod| format!("-e {}", uid(pod))).collect();
    let script = format!(
        "for p in /proc/[0-9]*; do grep -q {} $p/cgroup 2>/dev/null && kill -9 ${{p#/proc/}}; done; true",
        uids.join(" ")
    );
    let mut killer = merge(pod("killer", &script), &json!({"spec": {"hostPID": true}}));
    killer["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    pods[0].namespace.create(&killer).succeeds();
}
