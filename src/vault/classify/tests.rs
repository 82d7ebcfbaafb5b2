//! Which failure is retried, how long, and what it is called in the end: the table.

use super::*;
use crate::plan::AuthMethod;
use crate::vault::error::{GoneVersion, Head, Meaning};

fn login(method: AuthMethod) -> Login {
    Login {
        method,
        mount: "my-cluster/arc-runners".parse().unwrap(),
        role: "actions".parse().unwrap(),
    }
}

const IDENTITY: &str = "service account runner in namespace arc with audience vault";

fn at_login(status: u16, errors: &[&str]) -> Verdict {
    let login = login(AuthMethod::Kubernetes);
    let step = Step::Login {
        login: &login,
        identity: IDENTITY,
    };
    classify(step, &refused(status, errors))
}

fn at_read(status: u16, errors: &[&str]) -> Verdict {
    classify(read(Duration::from_secs(60)), &refused(status, errors))
}

fn wanted(data: Option<&str>) -> &'static Wanted {
    Box::leak(Box::new(Wanted {
        path: "kv/data/web".parse().unwrap(),
        version: None,
        data: data.map(|data| serde_json::from_str(data).unwrap()),
    }))
}

fn read(since_login: Duration) -> Step<'static> {
    Step::Read {
        wanted: wanted(None),
        role: "actions",
        since_login,
        lost: 0,
    }
}

/// A write whose answer was lost so often.
fn write(lost: u32) -> Step<'static> {
    Step::Read {
        wanted: wanted(Some(r#"{"common_name":"web"}"#)),
        role: "actions",
        since_login: 60 * SECOND,
        lost,
    }
}

fn refused(status: u16, errors: &[&str]) -> FailedTry {
    FailedTry::Refused(Box::new(Refusal {
        head: head(status, "application/json"),
        from_vault: true,
        errors: errors.iter().map(ToString::to_string).collect(),
        ..Refusal::default()
    }))
}

fn head(status: u16, content_type: &str) -> Head {
    Head {
        status,
        content_type: content_type.to_owned(),
    }
}

/// What something in front of the server answers.
fn foreign(status: u16, content_type: &str) -> FailedTry {
    FailedTry::Refused(Box::new(Refusal {
        head: head(status, content_type),
        ..Refusal::default()
    }))
}

fn told(verdict: &Verdict) -> (Option<(Pause, Patience)>, Kind, String) {
    match verdict {
        Verdict::Fatal(error) => (None, error.kind, format!("{} {}", error.message, error.hint)),
        Verdict::Retry(pause, patience, error) => (
            Some((*pause, *patience)),
            error.kind,
            format!("{} {}", error.message, error.hint),
        ),
    }
}

#[track_caller]
fn check(verdict: &Verdict, retry: Option<(Pause, Patience)>, kind: Kind, texts: &[&str]) {
    let (is_retry, is_kind, text) = told(verdict);
    assert_eq!((is_retry, is_kind), (retry, kind), "{text}");
    for part in texts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

const SECOND: Duration = Duration::from_secs(1);
const TO_BUDGET: Option<(Pause, Patience)> = Some((Pause::Jitter, Patience::Budget));

#[test]
fn refused_logins() {
    let named = Some((Pause::Fixed(2 * SECOND), Patience::Once));
    let bare = Some((Pause::Jitter, Patience::For(30 * SECOND)));
    let no_mount = Some((Pause::Jitter, Patience::For(10 * SECOND)));
    for (status, error, retry, kind, texts) in [
        (
            400,
            "invalid role name \"actions\"",
            None,
            Kind::Denied,
            &["role actions", "auth/my-cluster/arc-runners"][..],
        ),
        (
            400,
            "role \"actions\" could not be found",
            None,
            Kind::Denied,
            &["role actions does not exist"],
        ),
        (
            403,
            "service account name not authorized",
            named,
            Kind::Denied,
            &["namespace arc", "runner"],
        ),
        (403, "namespace not authorized", named, Kind::Denied, &["namespace arc"]),
        (
            403,
            "invalid audience (aud) claim: audience claim does not match any expected audience",
            named,
            Kind::Denied,
            &["audience vault"],
        ),
        (
            403,
            "permission denied",
            bare,
            Kind::Denied,
            &[
                "system:auth-delegator",
                "cannot review itself",
                "Kubernetes API",
                "audience vault",
                "the pod and its service account still exist",
            ],
        ),
        (
            404,
            "no handler for route \"auth/x/login\"",
            no_mount,
            Kind::NoEngine,
            &["no auth method", "my-cluster/arc-runners"],
        ),
        (403, "no handler for route", no_mount, Kind::NoEngine, &[]),
        (
            400,
            "audience claim found in JWT but no audiences bound to the role",
            None,
            Kind::Denied,
            &["bound_audiences", "audience vault"],
        ),
        (
            400,
            "error validating token: invalid audience (aud) claim",
            None,
            Kind::Denied,
            &["bound_audiences"],
        ),
        (
            400,
            "error validating token: token is expired (exp)",
            None,
            Kind::Denied,
            &["clocks"],
        ),
        (
            400,
            "error validating token: no known key successfully validated the token signature",
            None,
            Kind::Denied,
            &["jwt_validation_pubkeys"],
        ),
        (400, "missing jwt", None, Kind::Denied, &["missing jwt"]),
    ] {
        check(&at_login(status, &[error]), retry, kind, texts);
    }
    check(&at_login(400, &[]), None, Kind::Denied, &["was refused (status 400"]);
}

#[test]
fn servers_that_cannot_answer_now() {
    for verdict in [at_login, at_read] {
        check(
            &verdict(503, &["Vault is sealed"]),
            TO_BUDGET,
            Kind::Unavailable,
            &["Vault is sealed"],
        );
        check(
            &verdict(400, &["Vault is not initialized"]),
            TO_BUDGET,
            Kind::Unavailable,
            &["not initialised"],
        );
        check(&verdict(501, &[]), TO_BUDGET, Kind::Unavailable, &["not initialised"]);
        check(
            &verdict(500, &["internal error"]),
            TO_BUDGET,
            Kind::Failing,
            &["internal error"],
        );
        for (status, text) in [
            (500, "local node not active but active cluster node not found"),
            (
                400,
                "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period",
            ),
            (
                400,
                "Waiting for the primary to upgrade from non-versioned to versioned data.",
            ),
            (400, "path disabled in replication DR secondary mode"),
            (400, "Vault is in standby mode"),
            (500, "please forward to the active node"),
            (500, "cannot forward request; no connection or address not known"),
            (
                500,
                "token hmac key has not been initialized or has not been replicated yet to the active node",
            ),
        ] {
            check(&verdict(status, &[text]), TO_BUDGET, Kind::Unavailable, &[text]);
        }
        check(
            &verdict(503, &["namespace is sealed"]),
            TO_BUDGET,
            Kind::Unavailable,
            &["the namespace is sealed"],
        );
        check(
            &verdict(
                400,
                &[
                    "error validating token: fetching keys oidc: get keys failed Get \"https://x\": dial tcp: connection refused",
                ],
            ),
            TO_BUDGET,
            Kind::Failing,
            &["does not reach"],
        );
        check(
            &verdict(502, &[]),
            TO_BUDGET,
            Kind::Unavailable,
            &["status 502 (application/json)"],
        );
        check(&verdict(504, &[]), TO_BUDGET, Kind::Unavailable, &[]);
        check(&verdict(473, &[]), TO_BUDGET, Kind::Unavailable, &[]);
        check(
            &verdict(412, &[]),
            Some((Pause::Short, Patience::Budget)),
            Kind::Unavailable,
            &[],
        );
        check(
            &verdict(429, &[]),
            Some((Pause::Throttled(None), Patience::Budget)),
            Kind::RateLimited,
            &["quota"],
        );
        check(
            &verdict(429, &["lease count quota exceeded"]),
            None,
            Kind::RateLimited,
            &["lease"],
        );
        for status in [301, 302, 308] {
            check(&verdict(status, &[]), None, Kind::NotVault, &["redirect refused"]);
        }
        check(
            &verdict(307, &[]),
            Some((Pause::Jitter, Patience::For(30 * SECOND))),
            Kind::NotVault,
            &["redirect refused", "standby nodes"],
        );
    }
}

#[test]
fn refused_reads() {
    let early = classify(read(2 * SECOND), &refused(403, &["permission denied"]));
    let window = Some((Pause::Jitter, Patience::More(3 * SECOND)));
    check(&early, window, Kind::Denied, &["kv/data/web", "role actions"]);
    check(
        &at_read(403, &["permission denied"]),
        None,
        Kind::Denied,
        &["kv/data/web", "role actions"],
    );
    check(
        &at_read(404, &[]),
        None,
        Kind::NotFound,
        &["no secret at kv/data/web", "KV v1"],
    );
    check(
        &at_read(404, &["namespace not found"]),
        None,
        Kind::NotFound,
        &["namespace not found"],
    );
    check(
        &at_read(405, &["unsupported operation"]),
        None,
        Kind::NotReadable,
        &["unsupported operation"],
    );
    check(&at_read(400, &["bad role"]), None, Kind::Refused, &["bad role"]);
    check(&at_read(400, &[]), None, Kind::Refused, &["refuses to read", "400"]);
    check(
        &at_read(413, &["http: request body too large"]),
        None,
        Kind::Refused,
        &["too large"],
    );
    for (destroyed, texts) in [
        (
            false,
            [
                "version 3 of kv/data/web was deleted at 2026-11-22T04:20:10Z",
                "undelete",
            ],
        ),
        (
            true,
            ["version 3 of kv/data/web was destroyed", "write the secret again"],
        ),
    ] {
        let refusal = Refusal {
            head: head(404, ""),
            from_vault: true,
            gone: Some(GoneVersion {
                version: 3,
                destroyed,
                at: if destroyed {
                    String::new()
                } else {
                    "2026-11-22T04:20:10Z".into()
                },
            }),
            ..Refusal::default()
        };
        let verdict = classify(read(SECOND), &FailedTry::Refused(Box::new(refusal)));
        check(&verdict, None, Kind::NotFound, &texts);
    }
    let refusal = Refusal {
        head: head(404, ""),
        from_vault: true,
        warnings: vec!["Invalid path for a versioned K/V secrets engine. See the API docs".into()],
        ..Refusal::default()
    };
    let verdict = classify(read(SECOND), &FailedTry::Refused(Box::new(refusal)));
    check(&verdict, None, Kind::NotFound, &["<mount>/data/<secret>"]);
    let refusal = Refusal {
        head: head(404, ""),
        ..Refusal::default()
    };
    let verdict = classify(read(SECOND), &FailedTry::Refused(Box::new(refusal)));
    check(&verdict, None, Kind::NotVault, &["is no Vault answer"]);
}

#[test]
fn refused_writes() {
    let verdict = |status, errors: &[&str]| classify(write(0), &refused(status, errors));
    check(
        &verdict(403, &["permission denied"]),
        None,
        Kind::Denied,
        &["may not write kv/data/web", "`update`"],
    );
    check(
        &verdict(400, &["common name web not allowed by this role"]),
        None,
        Kind::Refused,
        &["refuses to write kv/data/web", "not allowed by this role", "`data`"],
    );
    check(
        &verdict(404, &["no handler for route"]),
        None,
        Kind::NoEngine,
        &["no handler"],
    );
    check(
        &verdict(405, &["unsupported operation"]),
        None,
        Kind::NotReadable,
        &["cannot be written", "leave `data` out"],
    );
    check(&verdict(204, &[]), None, Kind::NotReadable, &["answered with no data"]);
    check(
        &verdict(503, &["Vault is sealed"]),
        TO_BUDGET,
        Kind::Unavailable,
        &["sealed"],
    );
}

#[test]
fn a_write_is_not_repeated_without_end_when_its_answers_are_lost() {
    let cut = FailedTry::Transport(TransportError::Cut("eof".into()));
    let verdict = |lost| classify(write(lost), &cut);
    for lost in 0..3 {
        check(&verdict(lost), TO_BUDGET, Kind::Unavailable, &["eof"]);
    }
    check(
        &verdict(3),
        None,
        Kind::Unavailable,
        &["3 answers to the write of kv/data/web", "eof", "no further"],
    );
    // A server that answers says that it has not made anything.
    let sealed = classify(write(3), &refused(503, &["Vault is sealed"]));
    check(&sealed, TO_BUDGET, Kind::Unavailable, &["sealed"]);
}

#[test]
fn answers_that_did_not_arrive() {
    let once = Some((Pause::Jitter, Patience::Once));
    let quarter = Some((Pause::Jitter, Patience::QuarterBudget));
    let name = TlsFailure::Name {
        expected: "vault".into(),
        presented: vec!["a".into(), "b".into()],
    };
    for (error, retry, kind, text) in [
        (
            TransportError::Resolve("vault: no such host".into()),
            TO_BUDGET,
            Kind::Unavailable,
            "no such host",
        ),
        (
            TransportError::Connect("refused".into()),
            TO_BUDGET,
            Kind::Unavailable,
            "refused",
        ),
        (
            TransportError::TimedOut("the request", 30 * SECOND),
            TO_BUDGET,
            Kind::Unavailable,
            "30s",
        ),
        (TransportError::Cut("eof".into()), TO_BUDGET, Kind::Unavailable, "eof"),
        (TransportError::TooLarge("4 MiB"), None, Kind::NotVault, "4 MiB"),
        (TransportError::NotHttp, None, Kind::NotVault, "not HTTP"),
        (
            TransportError::Tls(TlsFailure::UnknownAuthority),
            once,
            Kind::Trust,
            "caFile",
        ),
        (
            TransportError::Tls(TlsFailure::Time("the server's certificate expired at x".into())),
            quarter,
            Kind::Trust,
            "expired at x",
        ),
        (
            TransportError::Tls(name),
            None,
            Kind::Trust,
            "not for vault but for a, b",
        ),
        (
            TransportError::Tls(TlsFailure::NotTls),
            None,
            Kind::Trust,
            "does not speak TLS",
        ),
        (
            TransportError::Tls(TlsFailure::NothingInCommon),
            once,
            Kind::Trust,
            "RSA keys of 2048",
        ),
        (
            TransportError::Tls(TlsFailure::wants_client_certificate()),
            once,
            Kind::Trust,
            "mutual TLS",
        ),
    ] {
        check(
            &classify(read(SECOND), &FailedTry::Transport(error)),
            retry,
            kind,
            &[text],
        );
    }
    check(
        &classify(
            read(SECOND),
            &FailedTry::Nonsense("it is empty", head(200, "text/html")),
        ),
        None,
        Kind::NotVault,
        &["it is empty", "kv/data/web", "status 200 (text/html)"],
    );
}

#[test]
fn refused_renewals() {
    let lease = Step::RenewLease { path: "db/creds/web" };
    for (step, what) in [
        (Step::RenewToken, "the client token"),
        (lease, "the lease of db/creds/web"),
    ] {
        for (status, error, kind) in [
            (403, "permission denied", Kind::Denied),
            (400, "lease not found", Kind::NotFound),
            (400, "lease expired", Kind::NotFound),
            (400, "invalid lease ID", Kind::NotFound),
            (400, "lease is not renewable", Kind::NotFound),
            (404, "no handler for route", Kind::NotFound),
            (
                400,
                "failed to renew entry: dial tcp: connection refused",
                Kind::Failing,
            ),
            (418, "", Kind::Refused),
        ] {
            let verdict = classify(step, &refused(status, &[error]));
            check(&verdict, None, kind, &[what, "cannot be renewed", error]);
        }
        check(&classify(step, &refused(500, &["x"])), TO_BUDGET, Kind::Failing, &["x"]);
        if let Step::RenewToken = step {
            // OpenBao 2.6.4 and 2.7.1, of a token that an older version has issued: whatever the status, no further try helps.
            let words =
                "failed to renew entry: failed to fetch jwt during renewal; existing auth tokens need to be re-issued";
            for status in [400, 403, 500] {
                let verdict = classify(step, &refused(status, &[words]));
                check(
                    &verdict,
                    None,
                    Kind::Denied,
                    &["the client token cannot be renewed", "re-issued"],
                );
            }
        }
        check(
            &classify(step, &refused(503, &["Vault is sealed"])),
            TO_BUDGET,
            Kind::Unavailable,
            &[],
        );
        check(
            &classify(step, &FailedTry::Nonsense("it is empty", Head::default())),
            None,
            Kind::NotVault,
            &["to the renewal of"],
        );
    }
}

#[test]
fn what_is_not_the_servers_is_told_so_whatever_its_status() {
    let login = login(AuthMethod::Jwt);
    let steps = [
        Step::Login {
            login: &login,
            identity: IDENTITY,
        },
        read(SECOND),
        write(0),
        Step::RenewToken,
        Step::RenewLease { path: "db/creds/web" },
    ];
    for step in steps {
        for status in [400, 401, 403, 404, 405, 407, 409, 410, 412, 413, 418, 422, 431, 451] {
            let words = format!("status {status} (text/plain)");
            let verdict = classify(step, &foreign(status, "text/plain"));
            check(&verdict, None, Kind::NotVault, &["is no Vault answer", &words]);
        }
        for status in [500, 501, 505, 508, 511] {
            let verdict = classify(step, &foreign(status, "text/html"));
            check(
                &verdict,
                TO_BUDGET,
                Kind::NotVault,
                &["is no Vault answer", "(text/html)"],
            );
        }
        // A gateway's word that the server behind it is away.
        for status in [408, 502, 503, 504, 520, 521, 530] {
            let verdict = classify(step, &foreign(status, ""));
            check(
                &verdict,
                TO_BUDGET,
                Kind::Unavailable,
                &["(no content type)", "load balancer"],
            );
        }
        for status in [472, 473] {
            check(
                &classify(step, &foreign(status, "")),
                TO_BUDGET,
                Kind::Unavailable,
                &["this node"],
            );
        }
        let throttled = Some((Pause::Throttled(None), Patience::Budget));
        let verdict = classify(step, &foreign(429, "text/plain"));
        check(&verdict, throttled, Kind::RateLimited, &["in front of the server"]);
    }
}

#[test]
fn answers_of_a_known_meaning_are_told_by_it() {
    let with = |status, meaning| {
        FailedTry::Refused(Box::new(Refusal {
            head: head(status, "text/plain"),
            from_vault: matches!(meaning, Meaning::SecondFactor(_) | Meaning::Unversioned),
            meaning: Some(meaning),
            ..Refusal::default()
        }))
    };
    let at_login = login(AuthMethod::Jwt);
    let login = Step::Login {
        login: &at_login,
        identity: IDENTITY,
    };
    for (step, status, meaning, kind, texts) in [
        (login, 400, Meaning::WantsTls, Kind::Trust, &["https://"][..]),
        (
            login,
            400,
            Meaning::WantsTlsBehind,
            Kind::NotVault,
            &["load balancer", "clear text"],
        ),
        (
            login,
            400,
            Meaning::WantsClientCertificate,
            Kind::Trust,
            &["client certificate"],
        ),
        (
            login,
            404,
            Meaning::MetricsListener,
            Kind::NotVault,
            &["only its metrics"],
        ),
        (
            login,
            200,
            Meaning::SecondFactor(vec!["people".into()]),
            Kind::Denied,
            &["second factor", "enforcement people", "login-enforcement"],
        ),
        (
            read(SECOND),
            200,
            Meaning::Unversioned,
            Kind::NotReadable,
            &["no versions at kv/data/web", "leave `version` out"],
        ),
    ] {
        check(&classify(step, &with(status, meaning)), None, kind, texts);
    }
}

#[test]
fn endpoints_without_json_are_told_with_the_one_to_use() {
    for (path, content_type, texts) in [
        (
            "pki/ca/pem",
            "application/pem-certificate-chain",
            &["read pki/cert/ca instead", "`certificate`"][..],
        ),
        (
            "a/b/ca_chain",
            "application/pkix-cert",
            &["read a/b/cert/ca_chain instead"],
        ),
        ("pki/crl/pem", "", &["read pki/cert/crl instead"]),
        (
            "pki/cert/17:ab/raw/pem",
            "application/pem-certificate-chain",
            &["read pki/cert/17:ab instead"],
        ),
        (
            "pki/issuer/default/pem",
            "application/pem-certificate-chain",
            &["read pki/issuer/default/json instead"],
        ),
        (
            "ssh/public_key",
            "text/plain; charset=utf-8",
            &["read ssh/config/ca instead", "`public_key`"],
        ),
        ("other/thing", "application/pkix-crl", &["answers raw"]),
    ] {
        let wanted = Wanted {
            path: path.parse().unwrap(),
            version: None,
            data: None,
        };
        let step = Step::Read {
            wanted: &wanted,
            role: "actions",
            since_login: SECOND,
            lost: 0,
        };
        let verdict = classify(
            step,
            &FailedTry::Nonsense("it is not the JSON it should be", head(200, content_type)),
        );
        check(&verdict, None, Kind::NotVault, texts);
        let verdict = classify(step, &FailedTry::Nonsense("x", head(200, "text/html")));
        check(&verdict, None, Kind::NotVault, &["no Vault answer"]);
    }
}
