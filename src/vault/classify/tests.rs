//! The table: which failure is retried, how long, and what its message says.

use super::*;
use crate::http::{ResponseHead, TlsError, TransportError};
use crate::plan::AuthMethod;
use crate::vault::error_response::{GoneVersion, Meaning};

fn login(method: AuthMethod) -> Login {
    Login {
        inline: false,
        method,
        mount: "my-cluster/arc-runners".parse().unwrap(),
        role: "actions".parse().unwrap(),
    }
}

const IDENTITY: &str = "service account runner in namespace arc with audience vault";

fn at_login(status: u16, errors: &[&str]) -> Classified {
    let login = login(AuthMethod::Kubernetes);
    let operation = Operation::Login {
        login: &login,
        identity: IDENTITY,
    };
    classify(operation, &refused(status, errors))
}

fn at_read(status: u16, errors: &[&str]) -> Classified {
    classify(read(Duration::from_secs(60)), &refused(status, errors))
}

fn wanted(data: Option<&str>) -> &'static Wanted {
    Box::leak(Box::new(Wanted {
        path: "kv/data/web".parse().unwrap(),
        version: None,
        data: data.map(|data| serde_json::from_str(data).unwrap()),
    }))
}

fn read(since_login: Duration) -> Operation<'static> {
    Operation::Read {
        wanted: wanted(None),
        role: "actions",
        since_login,
        lost: 0,
    }
}

/// A write of which this many answers were lost.
fn write(lost: u32) -> Operation<'static> {
    Operation::Read {
        wanted: wanted(Some(r#"{"common_name":"web"}"#)),
        role: "actions",
        since_login: 60 * SECOND,
        lost,
    }
}

fn refused(status: u16, errors: &[&str]) -> FailedTry {
    FailedTry::Refused(Box::new(ErrorResponse {
        head: head(status, "application/json"),
        from_vault: true,
        errors: errors.iter().map(ToString::to_string).collect(),
        ..ErrorResponse::default()
    }))
}

fn head(status: u16, content_type: &str) -> ResponseHead {
    ResponseHead {
        status,
        content_type: content_type.to_owned(),
    }
}

/// An answer of something in front of the server.
fn foreign(status: u16, content_type: &str) -> FailedTry {
    FailedTry::Refused(Box::new(ErrorResponse {
        head: head(status, content_type),
        ..ErrorResponse::default()
    }))
}

fn parts(decision: &Classified) -> (Option<(Pause, RetryWindow)>, VaultErrorKind, String) {
    match decision {
        RetryDecision::GiveUp(error) => (None, error.kind, format!("{} {}", error.message, error.hint)),
        RetryDecision::Retry(pause, patience, error) => (
            Some((*pause, *patience)),
            error.kind,
            format!("{} {}", error.message, error.hint),
        ),
    }
}

#[track_caller]
fn check(decision: &Classified, retry: Option<(Pause, RetryWindow)>, kind: VaultErrorKind, texts: &[&str]) {
    let (is_retry, is_kind, text) = parts(decision);
    assert_eq!((is_retry, is_kind), (retry, kind), "{text}");
    for part in texts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

const SECOND: Duration = Duration::from_secs(1);
const TO_BUDGET: Option<(Pause, RetryWindow)> = Some((Pause::Jitter, RetryWindow::Budget));

#[test]
fn refused_logins() {
    let named = Some((Pause::Fixed(2 * SECOND), RetryWindow::Once));
    let bare = Some((Pause::Jitter, RetryWindow::SinceFirst(30 * SECOND)));
    let no_mount = Some((Pause::Jitter, RetryWindow::SinceFirst(10 * SECOND)));
    for (status, error, retry, kind, texts) in [
        (
            400,
            "invalid role name \"actions\"",
            None,
            VaultErrorKind::Denied,
            &["role actions", "auth/my-cluster/arc-runners"][..],
        ),
        (
            400,
            "role \"actions\" could not be found",
            None,
            VaultErrorKind::Denied,
            &["role actions does not exist"],
        ),
        (
            403,
            "service account name not authorized",
            named,
            VaultErrorKind::Denied,
            &["namespace arc", "runner"],
        ),
        (
            403,
            "namespace not authorized",
            named,
            VaultErrorKind::Denied,
            &["namespace arc"],
        ),
        (
            403,
            "invalid audience (aud) claim: audience claim does not match any expected audience",
            named,
            VaultErrorKind::Denied,
            &["audience vault"],
        ),
        (
            403,
            "permission denied",
            bare,
            VaultErrorKind::Denied,
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
            VaultErrorKind::NoEngine,
            &["no auth method", "my-cluster/arc-runners"],
        ),
        (403, "no handler for route", no_mount, VaultErrorKind::NoEngine, &[]),
        (
            400,
            "audience claim found in JWT but no audiences bound to the role",
            None,
            VaultErrorKind::Denied,
            &["bound_audiences", "audience vault"],
        ),
        (
            400,
            "error validating token: invalid audience (aud) claim",
            None,
            VaultErrorKind::Denied,
            &["bound_audiences"],
        ),
        (
            400,
            "error validating token: token is expired (exp)",
            None,
            VaultErrorKind::Denied,
            &["clocks"],
        ),
        (
            400,
            "error validating claims: claim \"repository_id\" does not match any associated bound claim values",
            None,
            VaultErrorKind::Denied,
            &["bound_claims and bound_subject of the role", IDENTITY],
        ),
        (
            400,
            "error validating token: invalid subject (sub) claim",
            None,
            VaultErrorKind::Denied,
            &[
                "bound_claims and bound_subject of the role",
                "bind repository_id rather than sub",
            ],
        ),
        (
            400,
            "error validating claims: claim \"sub\" does not match any associated bound claim values",
            None,
            VaultErrorKind::Denied,
            &["bind repository_id rather than sub"],
        ),
        (
            400,
            "error validating token: no known key successfully validated the token signature",
            None,
            VaultErrorKind::Denied,
            &["jwt_validation_pubkeys"],
        ),
        (400, "missing jwt", None, VaultErrorKind::Denied, &["missing jwt"]),
    ] {
        check(&at_login(status, &[error]), retry, kind, texts);
    }
    check(
        &at_login(400, &[]),
        None,
        VaultErrorKind::Denied,
        &["was refused (status 400"],
    );
    let other_claim =
        "error validating claims: claim \"subscription\" does not match any associated bound claim values";
    let (_, _, text) = parts(&at_login(400, &[other_claim]));
    assert!(!text.contains("GitHub writes ids"), "{text}");
}

#[test]
fn servers_that_cannot_answer_now() {
    for decision in [at_login, at_read] {
        check(
            &decision(503, &["Vault is sealed"]),
            TO_BUDGET,
            VaultErrorKind::Unavailable,
            &["Vault is sealed"],
        );
        check(
            &decision(400, &["Vault is not initialized"]),
            TO_BUDGET,
            VaultErrorKind::Unavailable,
            &["not initialised"],
        );
        check(
            &decision(501, &[]),
            TO_BUDGET,
            VaultErrorKind::Unavailable,
            &["not initialised"],
        );
        check(
            &decision(500, &["internal error"]),
            TO_BUDGET,
            VaultErrorKind::Failing,
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
            check(
                &decision(status, &[text]),
                TO_BUDGET,
                VaultErrorKind::Unavailable,
                &[text],
            );
        }
        check(
            &decision(503, &["namespace is sealed"]),
            TO_BUDGET,
            VaultErrorKind::Unavailable,
            &["the namespace is sealed"],
        );
        check(
            &decision(
                400,
                &[
                    "error validating token: fetching keys oidc: get keys failed Get \"https://x\": dial tcp: connection refused",
                ],
            ),
            TO_BUDGET,
            VaultErrorKind::Failing,
            &["does not reach"],
        );
        check(
            &decision(502, &[]),
            TO_BUDGET,
            VaultErrorKind::Unavailable,
            &["status 502 (application/json)"],
        );
        check(&decision(504, &[]), TO_BUDGET, VaultErrorKind::Unavailable, &[]);
        check(&decision(473, &[]), TO_BUDGET, VaultErrorKind::Unavailable, &[]);
        check(
            &decision(412, &[]),
            Some((Pause::Short, RetryWindow::Budget)),
            VaultErrorKind::Unavailable,
            &[],
        );
        check(
            &decision(429, &[]),
            Some((Pause::Throttled(None), RetryWindow::Budget)),
            VaultErrorKind::RateLimited,
            &["quota"],
        );
        check(
            &decision(429, &["lease count quota exceeded"]),
            None,
            VaultErrorKind::RateLimited,
            &["lease"],
        );
        for status in [301, 302, 308] {
            check(
                &decision(status, &[]),
                None,
                VaultErrorKind::NotVault,
                &["redirect refused"],
            );
        }
        check(
            &decision(307, &[]),
            Some((Pause::Jitter, RetryWindow::SinceFirst(30 * SECOND))),
            VaultErrorKind::NotVault,
            &["redirect refused", "standby nodes"],
        );
    }
}

#[test]
fn refused_reads() {
    let early = classify(read(2 * SECOND), &refused(403, &["permission denied"]));
    let window = Some((Pause::Jitter, RetryWindow::FromNow(3 * SECOND)));
    check(&early, window, VaultErrorKind::Denied, &["kv/data/web", "role actions"]);
    check(
        &at_read(403, &["permission denied"]),
        None,
        VaultErrorKind::Denied,
        &["kv/data/web", "role actions"],
    );
    check(
        &at_read(404, &[]),
        None,
        VaultErrorKind::NotFound,
        &["no secret at kv/data/web", "KV v1"],
    );
    check(
        &at_read(404, &["namespace not found"]),
        None,
        VaultErrorKind::NotFound,
        &["namespace not found"],
    );
    check(
        &at_read(405, &["unsupported operation"]),
        None,
        VaultErrorKind::NotReadable,
        &["unsupported operation"],
    );
    check(
        &at_read(400, &["bad role"]),
        None,
        VaultErrorKind::Refused,
        &["bad role"],
    );
    check(
        &at_read(400, &[]),
        None,
        VaultErrorKind::Refused,
        &["refuses to read", "400"],
    );
    check(
        &at_read(413, &["http: request body too large"]),
        None,
        VaultErrorKind::Refused,
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
        let response = ErrorResponse {
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
            ..ErrorResponse::default()
        };
        let decision = classify(read(SECOND), &FailedTry::Refused(Box::new(response)));
        check(&decision, None, VaultErrorKind::NotFound, &texts);
    }
    let response = ErrorResponse {
        head: head(404, ""),
        from_vault: true,
        warnings: vec!["Invalid path for a versioned K/V secrets engine. See the API docs".into()],
        ..ErrorResponse::default()
    };
    let decision = classify(read(SECOND), &FailedTry::Refused(Box::new(response)));
    check(&decision, None, VaultErrorKind::NotFound, &["<mount>/data/<secret>"]);
    let response = ErrorResponse {
        head: head(404, ""),
        ..ErrorResponse::default()
    };
    let decision = classify(read(SECOND), &FailedTry::Refused(Box::new(response)));
    check(&decision, None, VaultErrorKind::NotVault, &["is not from Vault"]);
}

#[test]
fn refused_writes() {
    let decision = |status, errors: &[&str]| classify(write(0), &refused(status, errors));
    check(
        &decision(403, &["permission denied"]),
        None,
        VaultErrorKind::Denied,
        &["may not write kv/data/web", "`update`"],
    );
    check(
        &decision(400, &["common name web not allowed by this role"]),
        None,
        VaultErrorKind::Refused,
        &["refuses to write kv/data/web", "not allowed by this role", "`data`"],
    );
    check(
        &decision(404, &["no handler for route"]),
        None,
        VaultErrorKind::NoEngine,
        &["no handler"],
    );
    check(
        &decision(405, &["unsupported operation"]),
        None,
        VaultErrorKind::NotReadable,
        &["cannot be written", "leave `data` out"],
    );
    check(
        &decision(204, &[]),
        None,
        VaultErrorKind::NotReadable,
        &["answered with no data"],
    );
    check(
        &decision(503, &["Vault is sealed"]),
        TO_BUDGET,
        VaultErrorKind::Unavailable,
        &["sealed"],
    );
}

#[test]
fn a_write_is_not_repeated_without_end_when_its_answers_are_lost() {
    let cut = FailedTry::Transport(TransportError::Cut("eof".into()));
    let decision = |lost| classify(write(lost), &cut);
    for lost in 0..3 {
        check(&decision(lost), TO_BUDGET, VaultErrorKind::Unavailable, &["eof"]);
    }
    check(
        &decision(3),
        None,
        VaultErrorKind::Unavailable,
        &["3 answers to the write of kv/data/web", "eof", "no further"],
    );
    // With such an answer the server has made nothing.
    let sealed = classify(write(3), &refused(503, &["Vault is sealed"]));
    check(&sealed, TO_BUDGET, VaultErrorKind::Unavailable, &["sealed"]);
}

#[test]
fn answers_that_did_not_arrive() {
    let once = Some((Pause::Jitter, RetryWindow::Once));
    let quarter = Some((Pause::Jitter, RetryWindow::QuarterBudget));
    let name = TlsError::Name {
        expected: "vault".into(),
        presented: vec!["a".into(), "b".into()],
    };
    for (error, retry, kind, text) in [
        (
            TransportError::Resolve("vault: no such host".into()),
            TO_BUDGET,
            VaultErrorKind::Unavailable,
            "no such host",
        ),
        (
            TransportError::Connect("refused".into()),
            TO_BUDGET,
            VaultErrorKind::Unavailable,
            "refused",
        ),
        (
            TransportError::TimedOut("the request", 30 * SECOND),
            TO_BUDGET,
            VaultErrorKind::Unavailable,
            "30s",
        ),
        (
            TransportError::Cut("eof".into()),
            TO_BUDGET,
            VaultErrorKind::Unavailable,
            "eof",
        ),
        (
            TransportError::TooLarge(4 * 1024 * 1024),
            None,
            VaultErrorKind::NotVault,
            "4 MiB",
        ),
        (TransportError::NotHttp, None, VaultErrorKind::NotVault, "not HTTP"),
        (
            TransportError::Tls(TlsError::UnknownAuthority),
            once,
            VaultErrorKind::Trust,
            "caFile",
        ),
        (
            TransportError::Tls(TlsError::Time("the server's certificate expired at x".into())),
            quarter,
            VaultErrorKind::Trust,
            "expired at x",
        ),
        (
            TransportError::Tls(name),
            None,
            VaultErrorKind::Trust,
            "not for vault but for a, b",
        ),
        (
            TransportError::Tls(TlsError::NotTls),
            None,
            VaultErrorKind::Trust,
            "does not speak TLS",
        ),
        (
            TransportError::Tls(TlsError::NothingInCommon),
            once,
            VaultErrorKind::Trust,
            "RSA keys of 2048",
        ),
        (
            TransportError::Tls(TlsError::WantsClientCertificate),
            once,
            VaultErrorKind::Trust,
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
            &FailedTry::Malformed("it is empty", head(200, "text/html")),
        ),
        None,
        VaultErrorKind::NotVault,
        &["it is empty", "kv/data/web", "status 200 (text/html)"],
    );
}

#[test]
fn refused_renewals() {
    let lease = Operation::RenewLease { path: "db/creds/web" };
    for (operation, what) in [
        (Operation::RenewToken, "the client token"),
        (lease, "the lease of db/creds/web"),
    ] {
        for (status, error, kind) in [
            (403, "permission denied", VaultErrorKind::Denied),
            (400, "lease not found", VaultErrorKind::NotFound),
            (400, "lease expired", VaultErrorKind::NotFound),
            (400, "invalid lease ID", VaultErrorKind::NotFound),
            (400, "lease is not renewable", VaultErrorKind::NotFound),
            (404, "no handler for route", VaultErrorKind::NotFound),
            (
                400,
                "failed to renew entry: dial tcp: connection refused",
                VaultErrorKind::Failing,
            ),
            (418, "", VaultErrorKind::Refused),
        ] {
            let decision = classify(operation, &refused(status, &[error]));
            check(&decision, None, kind, &[what, "cannot be renewed", error]);
        }
        check(
            &classify(operation, &refused(500, &["x"])),
            TO_BUDGET,
            VaultErrorKind::Failing,
            &["x"],
        );
        if let Operation::RenewToken = operation {
            // OpenBao 2.6.4 and 2.7.1, of a token that an older version has issued: whatever the status, no further try helps.
            let words =
                "failed to renew entry: failed to fetch jwt during renewal; existing auth tokens need to be re-issued";
            for status in [400, 403, 500] {
                let decision = classify(operation, &refused(status, &[words]));
                check(
                    &decision,
                    None,
                    VaultErrorKind::Denied,
                    &["the client token cannot be renewed", "re-issued"],
                );
            }
        }
        check(
            &classify(operation, &refused(503, &["Vault is sealed"])),
            TO_BUDGET,
            VaultErrorKind::Unavailable,
            &[],
        );
        check(
            &classify(operation, &FailedTry::Malformed("it is empty", ResponseHead::default())),
            None,
            VaultErrorKind::NotVault,
            &["to the renewal of"],
        );
    }
}

#[test]
fn an_answer_of_something_in_between_is_called_so_whatever_its_status() {
    let login = login(AuthMethod::Jwt);
    let operations = [
        Operation::Login {
            login: &login,
            identity: IDENTITY,
        },
        read(SECOND),
        write(0),
        Operation::RenewToken,
        Operation::RenewLease { path: "db/creds/web" },
    ];
    for operation in operations {
        for status in [400, 401, 403, 404, 405, 407, 409, 410, 412, 413, 418, 422, 431, 451] {
            let words = format!("status {status} (text/plain)");
            let decision = classify(operation, &foreign(status, "text/plain"));
            check(
                &decision,
                None,
                VaultErrorKind::NotVault,
                &["is not from Vault", &words],
            );
        }
        for status in [500, 501, 505, 508, 511] {
            let decision = classify(operation, &foreign(status, "text/html"));
            check(
                &decision,
                TO_BUDGET,
                VaultErrorKind::NotVault,
                &["is not from Vault", "(text/html)"],
            );
        }
        // A gateway reports that the server behind it is away.
        for status in [408, 502, 503, 504, 520, 521, 530] {
            let decision = classify(operation, &foreign(status, ""));
            check(
                &decision,
                TO_BUDGET,
                VaultErrorKind::Unavailable,
                &["(no content type)", "load balancer"],
            );
        }
        for status in [472, 473] {
            check(
                &classify(operation, &foreign(status, "")),
                TO_BUDGET,
                VaultErrorKind::Unavailable,
                &["this node"],
            );
        }
        let throttled = Some((Pause::Throttled(None), RetryWindow::Budget));
        let decision = classify(operation, &foreign(429, "text/plain"));
        check(
            &decision,
            throttled,
            VaultErrorKind::RateLimited,
            &["in front of the server"],
        );
    }
}

#[test]
fn a_known_meaning_comes_before_the_status() {
    let with = |status, meaning| {
        FailedTry::Refused(Box::new(ErrorResponse {
            head: head(status, "text/plain"),
            from_vault: matches!(meaning, Meaning::SecondFactor(_) | Meaning::Unversioned),
            meaning: Some(meaning),
            ..ErrorResponse::default()
        }))
    };
    let at_login = login(AuthMethod::Jwt);
    let login = Operation::Login {
        login: &at_login,
        identity: IDENTITY,
    };
    for (operation, status, meaning, kind, texts) in [
        (login, 400, Meaning::WantsTls, VaultErrorKind::Trust, &["https://"][..]),
        (
            login,
            400,
            Meaning::WantsTlsBehind,
            VaultErrorKind::NotVault,
            &["load balancer", "clear text"],
        ),
        (
            login,
            400,
            Meaning::WantsClientCertificate,
            VaultErrorKind::Trust,
            &["client certificate"],
        ),
        (
            login,
            404,
            Meaning::MetricsListener,
            VaultErrorKind::NotVault,
            &["only its metrics"],
        ),
        (
            login,
            200,
            Meaning::SecondFactor(vec!["people".into()]),
            VaultErrorKind::Denied,
            &["second factor", "enforcement people", "login-enforcement"],
        ),
        (
            read(SECOND),
            200,
            Meaning::Unversioned,
            VaultErrorKind::NotReadable,
            &["no versions at kv/data/web", "leave `version` out"],
        ),
    ] {
        check(&classify(operation, &with(status, meaning)), None, kind, texts);
    }
}

#[test]
fn an_endpoint_without_json_is_named_with_the_one_to_use() {
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
        let operation = Operation::Read {
            wanted: &wanted,
            role: "actions",
            since_login: SECOND,
            lost: 0,
        };
        let decision = classify(
            operation,
            &FailedTry::Malformed("it is not the JSON it should be", head(200, content_type)),
        );
        check(&decision, None, VaultErrorKind::NotVault, texts);
        let decision = classify(operation, &FailedTry::Malformed("x", head(200, "text/html")));
        check(&decision, None, VaultErrorKind::NotVault, &["is not from Vault"]);
    }
}
