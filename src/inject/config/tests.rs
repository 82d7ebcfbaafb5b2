//! The operator's config: what parses, and what each error says.

use std::collections::BTreeMap;

use super::*;
use crate::inject::pod::quantity::Quantity;
use crate::plan::{AuthMethod, Budget, MAX_PLAN_BYTES};

const DOCUMENTED: &str = r#"
agent:
  image: registry.example.com/podkey:1
  imagePullPolicy: IfNotPresent
  runAsUser: 65532
  resources: { requests: {cpu: 10m, memory: 16Mi}, limits: {cpu: 500m, memory: 64Mi} }
connections:
  default:
    address: https://vault.vault.svc:8200     # http:// only with allowInsecureHttp: true
    caFile: /etc/podkey/vault-ca.pem          # only these CAs are trusted; the image's bundle if left out
    tlsServerName: ""
    namespace: ""                             # Vault Enterprise or OpenBao namespace
    budget: 5m                                # all tries of one agent together
    auth: { method: kubernetes, mount: kubernetes, audience: vault, role: "" }
    job:                                      # for the jobs of runner pods: GitHub's own token, and which jobs get secrets
      { method: jwt, mount: github, role: ci, audience: "https://vault.example.com", deadline: 30s,
        policy: { repositories: ["octo-org/*"], events: [push], protectedRefs: true, forks: deny } }
    allow:                                    # left out: Vault's policies alone decide
    - namespaces: [arc-runners]
      serviceAccounts: ["arc-runner-set-gha-rs-*"]
      roles: [actions]
      authMounts: [my-cluster/arc-runners]
      secrets: ["arc-runners/data/**"]
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, |_| Ok("-----BEGIN CERTIFICATE-----\n".into()))
}

#[test]
fn the_documented_config_parses() {
    let config = parse(DOCUMENTED).unwrap();
    assert_eq!(config.agent.run_as_user, Some(65532));
    assert_eq!(config.agent.resources, AgentResources::default());
    let connection = &config.connections["default"];
    assert_eq!(connection.audience.as_deref(), Some("vault"));
    assert_eq!(connection.role, None);
    assert_eq!(connection.server.namespace, None);
    assert!(connection.server.ca.is_some());
    assert_eq!(connection.allow.as_ref().unwrap().len(), 1);
}

#[test]
fn the_shortest_config_has_the_documented_defaults() {
    let config = parse("agent: {image: i}\nconnections: {default: {address: 'https://v'}}").unwrap();
    let connection = &config.connections["default"];
    assert_eq!(connection.method, AuthMethod::Kubernetes);
    assert_eq!(connection.mount.as_str(), "kubernetes");
    assert_eq!(connection.audience.as_deref(), Some("vault"));
    assert_eq!(connection.budget, Budget::default());
    assert!(connection.allow.is_none());
    assert_eq!(config.agent.run_as_user, Some(65532));
    let config =
        parse("agent: {image: i, runAsUser: null}\nconnections: {d: {address: 'https://v', auth: {audience: ''}}}")
            .unwrap();
    assert_eq!(config.agent.run_as_user, None);
    assert_eq!(config.connections["d"].audience, None);
}

#[test]
fn the_version_of_kubernetes_is_known_only_if_the_config_has_it() {
    let version = |text: &str| {
        let text = format!("{text}agent: {{image: i}}\nconnections: {{d: {{address: 'https://v'}}}}");
        parse(&text)
            .unwrap()
            .kubernetes_version
            .map(|version| version.to_string())
    };
    assert_eq!(version(""), None);
    assert_eq!(version("kubernetesVersion: \"\"\n"), None);
    assert_eq!(version("kubernetesVersion: \"1.33\"\n").as_deref(), Some("1.33"));
    // Without quotes the value is a YAML number, but podkey reads the text: 1.30, not 1.3.
    assert_eq!(version("kubernetesVersion: 1.30\n").as_deref(), Some("1.30"));
}

#[test]
fn a_connection_can_have_a_login_and_a_policy_for_jobs() {
    let job = |text: &str| {
        let text = format!("agent: {{image: i}}\nconnections: {{d: {{address: 'https://v', {text}}}}}");
        parse(&text).unwrap().connections["d"].job.clone()
    };
    let nothing = job("job: {}");
    assert!(nothing.login.is_none() && nothing.policy.is_none());
    assert_eq!(nothing.deadline.duration().as_secs(), 30);
    let login = job("job: {role: ci}").login.unwrap();
    assert_eq!((login.mount.as_str(), login.audience), ("jwt", None));
    let all = job(
        "job: {method: jwt, mount: github/, role: ci, audience: 'https://v', deadline: 1m, policy: {events: [push]}}",
    );
    let login = all.login.unwrap();
    assert_eq!(login.mount.as_str(), "github");
    assert_eq!(login.audience.unwrap().as_str(), "https://v");
    assert_eq!(all.deadline.duration().as_secs(), 60);
    assert!(all.policy.unwrap().events.unwrap()[0].matches("push"));
    // An empty list allows no job.
    assert_eq!(
        job("job: {policy: {repositories: []}}").policy.unwrap().repositories,
        Some(Vec::new())
    );
    // An id without quotes is a YAML number, but podkey reads the text: no digit is lost.
    let policy =
        job("job: {policy: {repositoryIds: [456789, '9007199254740993'], ownerIds: [18446744073709551615]}}").policy;
    assert_eq!(
        serde_json::to_value(policy.unwrap()).unwrap(),
        serde_json::json!({"repositoryIds": ["456789", "9007199254740993"], "ownerIds": ["18446744073709551615"]})
    );
}

#[test]
fn a_policy_that_names_repositories_and_no_ids_earns_a_warning() {
    let warnings = |policy: &str| {
        let text = format!(
            "agent: {{image: i}}\nconnections: {{d: {{address: 'https://v'}}, e: {{address: 'https://v', job: {{{policy}}}}}}}"
        );
        parse(&text).unwrap().warnings().collect::<Vec<_>>()
    };
    let [warning] = &warnings("policy: {repositories: [octo-org/*], events: [push]}")[..] else {
        panic!("one warning")
    };
    for text in [
        "connections.e.job.policy names repositories",
        "registers a name",
        "repositoryIds or ownerIds",
        "gh api repos/",
    ] {
        assert!(warning.contains(text), "{text}: {warning}");
    }
    for quiet in [
        "",
        "policy: {events: [push]}",
        "policy: {repositories: [octo-org/*], ownerIds: ['1']}",
        "policy: {repositories: [octo-org/x], repositoryIds: ['1']}",
        "policy: {repositoryIds: ['1']}",
    ] {
        assert!(warnings(quiet).is_empty(), "{quiet}");
    }
}

#[test]
fn inline_authentication_is_for_pods_and_jobs_alike() {
    for (auth, inline) in [("", false), ("inline: true", true), ("method: jwt, inline: true", true)] {
        let text = format!(
            "agent: {{image: i}}\nconnections: {{d: {{address: 'https://v', auth: {{{auth}}}, job: {{role: ci}}}}}}"
        );
        let config = parse(&text).unwrap();
        let connection = &config.connections["d"];
        assert_eq!(connection.inline, inline, "{auth}");
        assert_eq!(connection.job.login.as_ref().unwrap().inline, inline, "{auth}");
    }
}

#[test]
fn the_token_of_pods_with_refresh_lives_a_day_if_renewals_may_need_the_token() {
    let seconds = |auth: &str| {
        let text = format!("agent: {{image: i}}\nconnections: {{d: {{address: 'https://v', auth: {{{auth}}}}}}}");
        parse(&text).unwrap().connections["d"].refresh_token_seconds
    };
    assert_eq!(seconds(""), 86_400);
    assert_eq!(seconds("method: jwt"), 600);
    assert_eq!(seconds("method: jwt, refreshTokenSeconds: 7200"), 7200);
    assert_eq!(seconds("refreshTokenSeconds: 600"), 600);
    assert_eq!(seconds("refreshTokenSeconds: 4294967296"), 4_294_967_296);
}

#[test]
fn an_error_names_the_place() {
    let connection = |text: &str| format!("agent: {{image: i}}\nconnections:\n  d: {{address: 'https://v', {text}}}");
    for (text, expected) in [
        (DOCUMENTED.replace("imagePullPolicy", "imagePullPolice"), "line 4"),
        (DOCUMENTED.replace("budget", "budgt"), "line 13"),
        (DOCUMENTED.replace("serviceAccounts", "serviceAccount"), "line 20"),
        (DOCUMENTED.replace("method: kubernetes", "method: ldap"), "line 14"),
        ("agent: {image: i}".into(), "connections"),
        ("agent: {image: i}\nconnections: {}".into(), "connections: is empty"),
        ("connections: {d: {address: 'https://v'}}".into(), "agent"),
        (
            "agent: {image: ''}\nconnections: {d: {address: 'https://v'}}".into(),
            "agent.image: is empty",
        ),
        (
            "kubernetesVersion: '1.35'\nagent: {image: i, binary: imageVolume}\nconnections: {d: {address: 'https://v'}}".into(),
            "agent.binary: is imageVolume, which needs Kubernetes 1.36",
        ),
        (
            "kubernetesVersion: '1.34'\nrestartAllContainers: true\nagent: {image: i}\nconnections: {d: {address: 'https://v'}}".into(),
            "restartAllContainers: is true, which needs Kubernetes 1.35 or later, and kubernetesVersion is 1.34: write false",
        ),
        (
            "agent: {image: i, freshnessProbe: 1s}\nconnections: {d: {address: 'https://v'}}".into(),
            "is shorter than 5s",
        ),
        (
            "agent: {image: i, freshnessProbe: 29s}\nconnections: {d: {address: 'https://v'}}".into(),
            "agent.freshnessProbe: is shorter than 30s",
        ),
        (
            "agent: {image: i, freshnessProbe: 10m}\nconnections: {d: {address: 'https://v'}}".into(),
            "agent.freshnessProbe: is longer than 5m",
        ),
        (
            "agent: {image: i, runAsUser: 0}\nconnections: {d: {address: 'https://v'}}".into(),
            "agent.runAsUser: is not a user ID",
        ),
        (
            "agent: {image: i}\nconnections: {d: {address: 'http://v'}}".into(),
            "connections.d.address: is http://",
        ),
        (
            "agent: {image: i}\nconnections: {d: {address: 'v:8200'}}".into(),
            "connections.d.address: \"v:8200\" does not begin with https://",
        ),
        (
            "agent: {image: i}\nconnections: {'d d': {address: 'https://v'}}".into(),
            "is not a name",
        ),
        (
            connection("namespace: a//b"),
            "connections.d.namespace: \"a//b\" has an empty segment",
        ),
        (
            connection("tlsServerName: 'a b'"),
            "connections.d.tlsServerName: \"a b\" is neither",
        ),
        (
            connection("budget: 1h"),
            "connections.d.budget: \"1h\" is longer than 15m",
        ),
        (
            connection("auth: {mount: ../x}"),
            "connections.d.auth.mount: \"../x\" has a segment",
        ),
        (connection("auth: {role: \"a\\nb\"}"), "connections.d.auth.role"),
        (
            connection("allow: [{roles: ['']}]"),
            "is an empty pattern, which matches nothing",
        ),
        (connection("job: {mount: github}"), "connections.d.job.role: is missing"),
        (connection("job: {method: jwt}"), "connections.d.job.role: is missing"),
        (connection("job: {role: r, method: kubernetes}"), "line 3"),
        (
            connection("job: {role: r, mount: a//b}"),
            "connections.d.job.mount: \"a//b\" has an empty",
        ),
        (
            connection("job: {role: r, audience: \"a\\nb\"}"),
            "connections.d.job.audience",
        ),
        (
            connection("job: {deadline: 1h}"),
            "connections.d.job.deadline: \"1h\" is longer than 15m",
        ),
        (connection("job: {policy: }"), "policy is there without a field"),
        (connection("job: {policy: {repository: [a/b]}}"), "line 3"),
        (connection("job: {policy: {events: ['']}}"), "is an empty pattern"),
        (connection("job: {policy: {forks: maybe}}"), "line 3"),
        (connection("surprise: 1"), "line 3"),
        (
            connection("auth: {refreshTokenSeconds: 599}"),
            "connections.d.auth.refreshTokenSeconds: is not a number of seconds from 600",
        ),
        (
            connection("auth: {refreshTokenSeconds: 4294967297}"),
            "connections.d.auth.refreshTokenSeconds: is not a number of seconds from 600",
        ),
        (
            connection("auth: {refreshTokenSeconds: 18446744073709551615}"),
            "connections.d.auth.refreshTokenSeconds: is not a number",
        ),
        (connection("auth: {refreshTokenSeconds: -1}"), "line 3"),
        (connection("auth: {refreshTokenSeconds: 1d}"), "line 3"),
        (
            format!("kubernetesVersion: new\n{}", connection("")),
            "kubernetesVersion: \"new\" is not a version of Kubernetes (for example \"1.33\")",
        ),
        (connection("allow: "), "allow is there without a rule"),
        (connection("allow: [{secrets: }]"), "line 3"),
        (
            "agent: {image: i, resources: {limits: {cpu: lots}}}\nconnections: {d: {address: 'https://v'}}".into(),
            "line 1",
        ),
    ] {
        let error = parse(&text).expect_err(&text).to_string();
        assert!(error.contains(expected), "{text}\n=> {error}");
    }
}

#[test]
fn a_text_that_another_program_would_take_is_refused_with_the_text_to_write() {
    let connection = |text: &str| format!("agent: {{image: i}}\nconnections:\n  d: {{address: 'https://v', {text}}}");
    for (text, expected) in [
        (
            "agent: {image: i}\nconnections: {d: {address: 'https://v:8200/v1'}}".into(),
            "connections.d.address: \"https://v:8200/v1\" has something after host and port, where podkey puts /v1/ and the \
             path itself: write \"https://v:8200\"",
        ),
        (
            "agent: {image: i}\nconnections: {d: {address: 'http://v/ui/vault'}}".into(),
            "write \"http://v\"",
        ),
        (
            "agent: {image: i}\nconnections: {d: {address: '${VAULT_ADDR}'}}".into(),
            "connections.d.address: \"${VAULT_ADDR}\" has \"${VAULT_ADDR}\", which nobody fills in here",
        ),
        (
            connection("auth: {mount: auth/kubernetes}"),
            "connections.d.auth.mount: \"auth/kubernetes\" is the path of a login: write the mount alone, without v1/, auth/ \
             and /login: \"kubernetes\"",
        ),
        (
            connection("job: {role: r, mount: auth/github/login}"),
            "connections.d.job.mount: \"auth/github/login\" is the path of a login",
        ),
        (
            connection("auth: {role: auth/kubernetes/role/web}"),
            "connections.d.auth.role: \"auth/kubernetes/role/web\" has a /, which no role has: write the role alone, \"web\"",
        ),
        (
            connection("job: {role: '{{ x }}'}"),
            "connections.d.job.role: \"{{ x }}\" has {{ … }}",
        ),
        (
            connection("allow: [{secrets: ['a/**']}, {secrets: ['v1/secret/**']}]"),
            "connections.d.allow[1].secrets: \"v1/secret/**\" begins with v1/, which podkey puts in front of each path: write \
             \"secret/**\"",
        ),
        (
            connection("allow: [{secrets: ['secret/data/']}]"),
            "connections.d.allow[0].secrets: \"secret/data/\" ends with a slash, and no path does: write \"secret/data/**\"",
        ),
        (
            connection("allow: [{authMounts: ['auth/*']}]"),
            "connections.d.allow[0].authMounts: \"auth/*\" is the path of a login",
        ),
        (
            connection("allow: [{serviceAccounts: ['system:serviceaccount:web:app']}]"),
            "connections.d.allow[0].serviceAccounts: \"system:serviceaccount:web:app\" is more than the name of a service account: \
             write \"app\"",
        ),
    ] {
        let error = parse(&text).expect_err(&text).to_string();
        assert!(error.contains(expected), "{text}\n=> {error}");
    }
    for good in [
        "auth: {mount: authentik}",
        "allow: [{secrets: ['**', 'v1/data/*', 'kv/data/100%']}]",
        "namespace: team/",
    ] {
        assert!(parse(&connection(good)).is_ok(), "{good}");
    }
}

/// The words of the YAML library are for programmers: no message contains them, and each message names the key and what to write.
#[test]
fn a_value_of_the_wrong_type_is_refused_in_plain_words() {
    let connection = |text: &str| format!("agent: {{image: i}}\nconnections:\n  d: {{address: 'https://v', {text}}}");
    for (text, expected) in [
        (
            connection("allow: [{secrets: }]"),
            "line 3, column 45: secrets has a value of the wrong type: write a list, such as [a, b]",
        ),
        (
            connection("allow: {secrets: [a]}"),
            "allow has a value of the wrong type: write a list",
        ),
        (
            connection("allow: [{secrets: a}]"),
            "secrets has a value of the wrong type: write a list",
        ),
        (
            connection("auth: kubernetes"),
            "auth has a value of the wrong type: write fields below it",
        ),
        (
            connection("auth: {role: [a]}"),
            "role has a value of the wrong type: write one text, in quotes",
        ),
        (
            connection("allowInsecureHttp: maybe"),
            "allowInsecureHttp has a value of the wrong type: write true or false",
        ),
        (
            connection("job: {policy: {repositories: a}}"),
            "repositories has a value of the wrong type: write a list",
        ),
        (
            connection("job: {policy: {repositoryIds: 456789}}"),
            "repositoryIds has a value of the wrong type: write a list",
        ),
        (
            connection("job: {policy: {repositoryIds: [octo-org/octo-repo]}}"),
            "is not an id, which has digits alone",
        ),
        (
            connection("job: {policy: {ownerIds: [007]}}"),
            "is not an id, which has digits alone",
        ),
        (
            connection("job: {policy: {ownerIds: [1_000]}}"),
            "is not an id, which has digits alone",
        ),
        (
            connection("job: {policy: {ownerIds: [1e3]}}"),
            "is not an id, which has digits alone",
        ),
        (
            connection("job: {policy: {protectedRefs: 1}}"),
            "protectedRefs has a value of the wrong type",
        ),
        (
            connection("auth: {method: ldap}"),
            "\"ldap\" is none of kubernetes, jwt",
        ),
        (
            connection("budgt: 1m"),
            "\"budgt\" is not a key here (did you mean \"budget\"?): the keys are address, caFile",
        ),
        (
            connection("allow: [{roles: ['']}]"),
            "is an empty pattern, which matches nothing",
        ),
        (connection("allow: "), "allow is there without a rule"),
        (connection("job: {policy: }"), "policy is there without a field"),
        (
            "agent: {image: i}\nconnections: [a]".into(),
            "connections has a value of the wrong type: write fields",
        ),
        (
            "agent: i\nconnections: {}".into(),
            "agent has a value of the wrong type: write fields",
        ),
        (
            "agent: {image: i, runAsUser: root}\nconnections: {}".into(),
            "runAsUser has a value of the wrong type: write a whole number",
        ),
        (
            "agent: {imagePullPolicy: always, image: i}\nconnections: {}".into(),
            "\"always\" is none of Always, IfNotPresent, Never (did you mean \"Always\"?)",
        ),
        (
            "agent: {image: i, resources: {limits: {cpu: lots}}}\nconnections: {}".into(),
            "cpu is not a quantity such as 500m or 64Mi",
        ),
        (
            "agent: {imagePullPolicy: Always}\nconnections: {}".into(),
            "the key image is missing",
        ),
        ("agent: {image: i}".into(), "the key connections is missing"),
        (
            "just text".into(),
            "the value has the wrong type: write fields below it",
        ),
        ("- a".into(), "the value has the wrong type: write fields below it"),
        ("agent: {image: i".into(), "it is not valid YAML in line"),
        ("agent: {image: \"i}\n".into(), "it is not valid YAML in line"),
        ("agent: {image: *i}".into(), "a reference (*name) has no anchor"),
        (
            "agent: {image: i}\nconnections: {}\n---\na: b".into(),
            "a second document begins: write only one",
        ),
    ] {
        let error = parse(&text).expect_err(&text).to_string();
        assert!(error.contains(expected), "{text}\n=> {error}");
        for library in [
            "expected",
            "invalid type",
            "mapping",
            "sequence",
            "scalar",
            "unknown field",
            "missing field",
            "variant",
            '`'.to_string().as_str(),
        ] {
            assert!(!error.contains(library), "{text}\n=> {error}");
        }
    }
}

#[test]
fn resources_with_which_no_pod_would_start_are_refused() {
    let resources = |text: &str| {
        parse(&format!(
            "agent: {{image: i, resources: {text}}}\nconnections: {{d: {{address: 'https://v'}}}}"
        ))
        .map(|config| config.agent.resources)
    };
    for (text, expected) in [
        (
            "{requests: {memory: 128Mi}}",
            "agent.resources.requests.memory: 128Mi is more than the limit of 64Mi, which is the default: set \
             agent.resources.limits.memory to 128Mi or more",
        ),
        (
            "{requests: {cpu: 2}, limits: {cpu: 1500m}}",
            "agent.resources.requests.cpu: 2 is more than the limit of 1500m: set agent.resources.limits.cpu to 2 or more",
        ),
        (
            "{limits: {memroy: 64Mi}}",
            "agent.resources.limits.memroy: is none of cpu, memory, ephemeral-storage (did you mean \"memory\"?)",
        ),
        ("{limits: {cpu: 0m}}", "agent.resources.limits.cpu: is 0: leave it out"),
        (
            "{limits: {memory: 64m}}",
            "agent.resources.limits.memory: \"64m\" is less than 1Ki",
        ),
        ("{limit: {cpu: 1}}", "line 1"),
    ] {
        let error = resources(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}\n=> {error}");
    }
    for (text, requests, limits) in [
        ("{}", "10m 16Mi", "500m 64Mi"),
        ("{requests: null}", "10m 16Mi", "500m 64Mi"),
        ("{requests: {cpu: 0, memory: 64Mi}}", "0 64Mi", "500m 64Mi"),
        ("{requests: {memory: 65536Ki}}", "65536Ki", "500m 64Mi"),
        ("{limits: {memory: 8Mi}}", "10m", "8Mi"),
        ("{limits: {}}", "10m 16Mi", ""),
        ("{limits: {ephemeral-storage: 1Mi}}", "10m 16Mi", "1Mi"),
        ("{requests: {memory: 128Mi}, limits: {cpu: 1}}", "128Mi", "1"),
    ] {
        let parsed = resources(text).expect(text);
        let shown = |from: &BTreeMap<String, Quantity>| {
            let all: Vec<_> = from.values().map(Quantity::to_string).collect();
            all.join(" ")
        };
        assert_eq!(
            (shown(&parsed.requests), shown(&parsed.limits)),
            (requests.to_owned(), limits.to_owned()),
            "{text}"
        );
    }
}

#[test]
fn a_probe_in_a_sidecar_without_memory_for_it_is_refused() {
    let config = |probe: &str, memory: &str| {
        let text = format!("{{image: i, {probe}resources: {{limits: {memory}}}}}");
        parse(&format!("agent: {text}\nconnections: {{d: {{address: 'https://v'}}}}"))
    };
    let error = config("freshnessProbe: 1m, ", "{memory: 16Mi}")
        .expect_err("too little")
        .to_string();
    assert!(
        error.contains(
            "agent.resources.limits.memory: 16Mi is too little for agent.freshnessProbe, which starts a second process in \
             podkey-sidecar: write 32Mi or more, or leave agent.freshnessProbe out"
        ),
        "{error}"
    );
    for (probe, memory) in [
        ("", "{memory: 16Mi}"),
        ("freshnessProbe: 1m, ", "{memory: 32Mi}"),
        ("freshnessProbe: 30s, ", "{cpu: 1}"),
        ("freshnessProbe: 5m, ", "{}"),
    ] {
        assert!(config(probe, memory).is_ok(), "{probe}{memory}");
    }
    assert!(config("freshnessProbe: 1m, ", "{memory: 31.9Mi}").is_err());
    assert!(config("freshnessProbe: 1m, ", "{memory: 33554431}").is_err());
}

#[test]
fn a_ca_bundle_that_is_too_large_for_a_pod_is_refused() {
    let error = Config::parse(DOCUMENTED, |_| Ok("x".repeat(MAX_PLAN_BYTES)))
        .expect_err("too large")
        .to_string();
    assert!(error.contains("connections.default.caFile: has 98304 bytes"), "{error}");
    let error = Config::parse(DOCUMENTED, |_| Err("is empty".into()))
        .expect_err("bad")
        .to_string();
    assert_eq!(error, "connections.default.caFile: /etc/podkey/vault-ca.pem is empty");
}

#[test]
fn pods_of_vault_k8s_are_read_only_where_the_operator_says_so() {
    let config = |section: &str| {
        parse(&format!(
            "agent: {{image: i}}\nconnections: {{default: {{address: 'https://v'}}, b: {{address: 'https://b'}}}}\n{section}"
        ))
    };
    assert!(!config("").unwrap().reads_vault_k8s());
    assert_eq!(config("vaultK8s: {}").unwrap().vault_k8s.unwrap().connection, "default");
    let allows_tokens = |section: &str| config(section).unwrap().vault_k8s.unwrap().allow_tokens;
    assert!(!allows_tokens("vaultK8s: {}"));
    assert!(allows_tokens("vaultK8s: {allowTokens: true}"));
    assert_eq!(
        config("vaultK8s: {connection: b}")
            .unwrap()
            .vault_k8s
            .unwrap()
            .connection,
        "b"
    );
    for (section, why) in [
        (
            "vaultK8s: {connection: c}",
            "vaultK8s.connection: \"c\" is not one of the connections",
        ),
        ("vaultK8s:", "vaultK8s is there without a key"),
        ("vaultK8s: {conection: b}", "conection"),
    ] {
        let error = config(section).unwrap_err().to_string();
        assert!(error.contains(why), "{section}: {error}");
    }
}
