//! Names of repositories can be registered anew, ids cannot: policies, roles and paths by id, with GitHub's tokens and a real
//! OpenBao.

use serde_json::{Value, json};

use crate::job_own::{bao, ca, may_ask, pod};
use crate::job_pod::{Pod, variable};
use crate::support::github::{GitHub, OWNER_ID, REPOSITORY_ID};

/// An issuer that the server trusts at this mount, for a role that is bound like this and may read what `ci` may read.
fn trusted(mount: &str, bound: &Value) -> GitHub {
    let github = GitHub::start(ca());
    github.trusted_at(bao(), mount);
    let mut role = json!({
        "role_type": "jwt", "user_claim": "repository", "bound_audiences": ["https://vault.example.com"],
        "token_policies": ["ci"], "token_ttl": "15m",
    });
    for (key, value) in bound.as_object().unwrap() {
        role[key] = value.clone();
    }
    bao().write(&format!("auth/{mount}/role/ci"), &role);
    github
}

/// A pod whose job asks this issuer for its token, and logs in at this mount.
fn pod_at(mount: &str, github: &GitHub) -> Pod {
    let mut pod = pod().with("/job/login/mount", json!(mount)).ready();
    may_ask(&mut pod, &github.request_url(), ca());
    pod
}

/// What GitHub says of a repository that somebody registered under the name of one that is gone.
fn registered_anew(github: &GitHub, pod: &mut Pod) {
    github.claim("repository_id", json!("999111"));
    github.claim("repository_owner_id", json!("888111"));
    github.claim(
        "sub",
        json!("repo:octo-org@888111/octo-repo@999111:ref:refs/heads/main"),
    );
    pod.runner
        .set("GITHUB_REPOSITORY_ID", "999111")
        .set("GITHUB_REPOSITORY_OWNER_ID", "888111");
}

#[test]
fn a_repository_registered_anew_under_an_old_name_is_refused_by_the_ids_of_the_policy() {
    let by_name = json!({"bound_claims": {"repository": "octo-org/octo-repo"}});
    let github = trusted("named", &by_name);
    for (policy, texts) in [
        (
            json!({"repositories": ["octo-org/octo-repo"], "repositoryIds": [REPOSITORY_ID]}),
            &["the id \"999111\" of the repository is not allowed"][..],
        ),
        (
            json!({"ownerIds": [OWNER_ID]}),
            &["the id \"888111\" of the repository's owner is not allowed"],
        ),
    ] {
        let mut old = pod()
            .with("/job/login/mount", json!("named"))
            .with("/job/policies", json!([policy]))
            .ready();
        may_ask(&mut old, &github.request_url(), ca());
        old.started().succeeds();

        let asked = github.asked();
        let mut new = pod()
            .with("/job/login/mount", json!("named"))
            .with("/job/policies", json!([policy]))
            .ready();
        may_ask(&mut new, &github.request_url(), ca());
        let truth = ["sub", "repository_id", "repository_owner_id"].map(|claim| (claim, github.claimed(claim)));
        registered_anew(&github, &mut new);
        let step = new.started();
        step.fails(&["podkey 77 stage=job"]);
        step.fails(texts);
        assert!(new.left().is_empty() && step.env.unwrap().is_empty());
        assert_eq!(github.asked(), asked, "no token is requested");
        for (claim, value) in truth {
            github.claim(claim, value);
        }
    }
    // The names alone do not tell the two apart.
    let names = json!([{"repositories": ["octo-org/octo-repo"]}]);
    let mut new = pod()
        .with("/job/login/mount", json!("named"))
        .with("/job/policies", names)
        .ready();
    may_ask(&mut new, &github.request_url(), ca());
    registered_anew(&github, &mut new);
    new.started().succeeds();
}

#[test]
fn a_repository_registered_anew_is_refused_by_a_role_that_is_bound_to_the_id() {
    let github = trusted("by-id", &json!({"bound_claims": {"repository_id": REPOSITORY_ID}}));
    pod_at("by-id", &github).started().succeeds();
    let mut pod = pod_at("by-id", &github);
    registered_anew(&github, &mut pod);
    let step = pod.started();
    step.fails(&[
        "podkey 77 stage=login",
        "subject repo:octo-org@888111/octo-repo@999111:ref:refs/heads/main",
        "repository octo-org/octo-repo",
        "repository_id 999111",
        "repository_owner_id 888111",
        "ref refs/heads/main",
        "environment prod",
        "bound_claims and bound_subject of the role",
    ]);
    assert!(!step.raw.contains("eyJ"), "no token: {}", step.raw);
    assert!(pod.left().is_empty() && step.env.unwrap().is_empty());
}

/// GitHub writes ids into `sub` of repositories that are new or renamed since July 2026.
#[test]
fn a_role_that_is_bound_to_the_old_form_of_sub_is_reported_with_the_new_form() {
    let old = "repo:octo-org/octo-repo:ref:refs/heads/main";
    for (mount, bound) in [
        ("by-subject", json!({"bound_subject": old})),
        ("by-sub", json!({"bound_claims": {"sub": old}})),
    ] {
        let github = trusted(mount, &bound);
        pod_at(mount, &github).started().succeeds();
        let new = format!("repo:octo-org@{OWNER_ID}/octo-repo@{REPOSITORY_ID}:ref:refs/heads/main");
        github.claim("sub", json!(new));
        pod_at(mount, &github).started().fails(&[
            "podkey 77 stage=login",
            &format!("subject {new}"),
            "repository_id 456789",
            "bind repository_id rather than sub",
        ]);
    }
}

#[test]
fn a_policy_that_asks_for_an_id_refuses_a_runner_that_gives_none() {
    for (variable, policy) in [
        ("GITHUB_REPOSITORY_ID", json!({"repositoryIds": [REPOSITORY_ID]})),
        ("GITHUB_REPOSITORY_OWNER_ID", json!({"ownerIds": [OWNER_ID]})),
    ] {
        let mut pod = pod().with("/job/policies", json!([policy])).ready();
        pod.runner.unset(variable);
        pod.started()
            .fails(&["podkey 77 stage=job", variable, "update the runner"]);
        assert!(pod.left().is_empty());
    }
    // Where nothing asks for an id, an old runner is good enough.
    let mut pod = pod().ready();
    pod.runner
        .unset("GITHUB_REPOSITORY_ID")
        .unset("GITHUB_REPOSITORY_OWNER_ID");
    pod.started().succeeds();
}

#[test]
fn a_token_of_another_repository_than_the_runner_s_is_refused() {
    for (variable, claim) in [
        ("GITHUB_REPOSITORY_ID", "repository_id"),
        ("GITHUB_REPOSITORY_OWNER_ID", "repository_owner_id"),
    ] {
        let mut pod = pod().ready();
        pod.runner.set(variable, "777");
        let step = pod.started();
        step.fails(&[
            "podkey 77 stage=login",
            claim,
            variable,
            "\"777\"",
            "for another repository",
        ]);
        assert!(pod.left().is_empty() && step.env.unwrap().is_empty());
    }
}

#[test]
fn a_path_may_have_the_ids_of_the_job() {
    bao().write(
        "ci/data/octo-org/octo-repo/123456-456789",
        &json!({"data": {"KEY": "canary-of-the-id"}}),
    );
    let entry = json!([variable("ci/data/{repository}/{owner_id}-{repository_id}", "KEY", "K")]);
    let by_id = || {
        pod()
            .with("/job/files", json!([]))
            .with("/job/env", entry.clone())
            .ready()
    };
    let step = by_id().started();
    step.succeeds();
    assert_eq!(step.variable("K"), Some("canary-of-the-id"));
    let mut old = by_id();
    old.runner.unset("GITHUB_REPOSITORY_ID");
    old.started()
        .fails(&["podkey 65", "{repository_id} in a path: the job has no such value"]);
}

/// The role and the policy that docs/guides/job-identity.md shows: the server decides by the id in the path, whatever the repository's name.
#[test]
fn a_policy_of_the_server_may_be_by_id_too() {
    let mount = "readme";
    let github = GitHub::start(ca());
    github.trusted_at(bao(), mount);
    bao().write(
        &format!("auth/{mount}/role/ci"),
        &json!({
            "role_type": "jwt", "user_claim": "repository_id", "bound_audiences": ["https://vault.example.com"],
            "bound_claims": {"repository_owner_id": OWNER_ID}, "token_policies": ["by-id"], "token_ttl": "15m",
            "claim_mappings": {"repository": "repository", "repository_id": "repository_id"},
        }),
    );
    let (_, mounts) = bao().call_in("", "GET", "sys/auth", &Value::Null);
    let accessor = mounts[format!("{mount}/")]["accessor"].as_str().unwrap();
    let rule = format!(
        "path \"ci/data/{{{{identity.entity.aliases.{accessor}.metadata.repository_id}}}}/*\" {{ capabilities = [\"read\"] }}"
    );
    bao().write("sys/policies/acl/by-id", &json!({"policy": rule}));
    for id in [REPOSITORY_ID, "456790"] {
        bao().write(
            &format!("ci/data/{id}/deploy"),
            &json!({"data": {"KEY": format!("canary-of-the-id-{id}")}}),
        );
    }
    let reading = |path: &str| {
        let mut pod = pod()
            .with("/job/login/mount", json!(mount))
            .with("/job/files", json!([]))
            .with("/job/env", json!([variable(path, "KEY", "K")]))
            .ready();
        may_ask(&mut pod, &github.request_url(), ca());
        pod.started()
    };
    let step = reading("ci/data/{repository_id}/deploy");
    step.succeeds();
    assert_eq!(step.variable("K"), Some("canary-of-the-id-456789"));
    reading("ci/data/456790/deploy").fails(&["podkey 77 stage=read", "ci/data/456790/deploy"]);
}
