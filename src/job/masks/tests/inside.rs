//! Passwords inside one line: which are hidden, which are reported as possible, and which texts must not be hidden.

use base64::engine::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

/// Whether the log shows a line that is only this text.
fn shows(masks: &Masks, text: &str) -> bool {
    shown(masks, &format!("a {text} b")) != "a *** b"
}

#[test]
fn a_password_inside_one_line_is_hidden() {
    let basic = STANDARD.encode("svc-app:hunter-22");
    let docker = format!(r#"{{"auths":{{"r.io":{{"auth":"{basic}"}}}}}}"#);
    let in_yaml = format!("a: 1\nauth: {basic}\n");
    for (value, passwords) in [
        // URLs.
        ("postgres://app:hunter-22@db.internal:5432/web", vec!["hunter-22"]),
        ("redis://:hunter-22@cache:6379/0", vec!["hunter-22"]),
        ("https://app:p%40ss%2Fw0rd@host/x", vec!["p%40ss%2Fw0rd", "p@ss/w0rd"]),
        ("mysql://app:p@ss/w0rd@db/x", vec!["p@ss/w0rd"]),
        ("amqp://app:hunter#22@mq", vec!["hunter#22"]),
        (
            "https://x-access-token:ghs_16C7e42F292c6912E7@github.com/o/r",
            vec!["ghs_16C7e42F292c6912E7"],
        ),
        (
            "https://ghp_16C7e42F292c6912E7710c838347Ae178B4a@github.com/o/r.git",
            vec!["ghp_16C7e42F292c6912E7710c838347Ae178B4a"],
        ),
        (
            "mongodb+srv://app:hunter-22@a.example,b.example/?w=1",
            vec!["hunter-22"],
        ),
        (
            "https://a:hunter-22@x\nhttps://b:hunter-33@y\n",
            vec!["hunter-22", "hunter-33"],
        ),
        (
            "first https://a:hunter-22@x then https://b:hunter-33@y",
            vec!["hunter-22", "hunter-33"],
        ),
        ("DATABASE_URL=postgres://app:hunter-22@db/web\nA=b\n", vec!["hunter-22"]),
        (r#"{"url": "postgres://app:hunter-22@db/web"}"#, vec!["hunter-22"]),
        // A user and a password.
        ("svc-app:hunter-22", vec!["hunter-22"]),
        ("svc-app:/hunter+22", vec!["/hunter+22"]),
        ("svc-app:correcthorsebattery", vec!["correcthorsebattery"]),
        ("me@example.com:Hunter22", vec!["Hunter22"]),
        ("app:hunter-22@tcp(127.0.0.1:3306)/db", vec!["hunter-22"]),
        ("one:hunter-22\ntwo:hunter-33\n", vec!["hunter-22", "hunter-33"]),
        // docker, npm, netrc, PostgreSQL.
        (docker.as_str(), vec!["hunter-22"]),
        (in_yaml.as_str(), vec!["hunter-22"]),
        ("//registry.npmjs.org/:_authToken=npm_s3cret99", vec!["npm_s3cret99"]),
        (
            "//r.io/:username=app\n//r.io/:_password=aHVudGVyLTIy\n",
            vec!["hunter-22"],
        ),
        ("always-auth=true\n_auth = c3ZjOmh1bnRlci0yMg==\n", vec!["hunter-22"]),
        (
            "machine api.example.com login app password hunter-22",
            vec!["hunter-22"],
        ),
        (
            "# mine\nmachine a\n  login app\n  password hunter-22\ndefault login b password \"hunter\\\"33\"\n",
            vec!["hunter-22", "hunter\"33"],
        ),
        ("db.internal:5432:web:app:hunter-22", vec!["hunter-22"]),
        (
            "*:*:*:app:hunter\\:2\\\\2\nb:5432:*:app:hunter-33",
            vec!["hunter\\:2\\\\2", "hunter:2\\2", "hunter-33"],
        ),
        // Connection strings.
        (
            "Server=db;User Id=app;Password=hunter-22;Encrypt=true",
            vec!["hunter-22"],
        ),
        ("Server=db;Uid=app;Pwd=hunter 22", vec!["hunter 22"]),
        ("Server=db;Password=hunter&22;", vec!["hunter&22"]),
        ("Server=db;Password='hunter;''22';A=b", vec!["hunter;'22"]),
        ("Driver={PG};Pwd={hunter;}}22};A=b", vec!["hunter;}22"]),
        (
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=aHVudGVyMjJodW50ZXIyMg==;EndpointSuffix=x",
            vec!["aHVudGVyMjJodW50ZXIyMg=="],
        ),
        (
            "Endpoint=sb://a.example/;SharedAccessKeyName=Root;SharedAccessKey=aHVudGVyMjI=",
            vec!["aHVudGVyMjI="],
        ),
        (
            "https://a.example/c?sv=2022&sig=hunter%2B22&se=2030",
            vec!["hunter%2B22", "hunter+22"],
        ),
        (
            "host=db port=5432 user=app password='hunt\\'er 22' sslmode=require",
            vec!["hunt'er 22"],
        ),
        ("host=db password=hunter-22 user=app", vec!["hunter-22"]),
        (
            "jdbc:postgresql://db/web?user=app&password=hunter-22",
            vec!["hunter-22"],
        ),
        (
            "jdbc:sqlserver://db:1433;user=app;password=hunter-22;",
            vec!["hunter-22"],
        ),
        // Headers, options, XML.
        ("Authorization: Bearer hunter-22.abc", vec!["hunter-22.abc"]),
        ("Bearer hunter-22.abc", vec!["hunter-22.abc"]),
        (
            r#"curl -H "Authorization: Bearer hunter-22.abc" x"#,
            vec!["hunter-22.abc"],
        ),
        (
            &format!("Authorization: Basic {basic}"),
            vec![basic.as_str(), "hunter-22"],
        ),
        (&format!("Basic {basic}"), vec!["hunter-22"]),
        ("header = \"Authorization: token hunter-22\"", vec!["hunter-22"]),
        ("curl --user app:hunter-22 --silent x", vec!["hunter-22"]),
        ("mysql --host db --password hunter-22 web", vec!["hunter-22"]),
        (
            "<server>\n  <password>hunter&amp;22</password>\n</server>",
            vec!["hunter&22", "hunter&amp;22"],
        ),
        (
            "<add key=\"ClearTextPassword\" value=\"hunter-22\" />",
            vec!["hunter-22"],
        ),
        // JSON that is escaped once.
        (r#"{\"user\":\"app\",\"p\":\"hunter\\\"22\"}"#, vec!["hunter\"22"]),
        (r#"body={\"p\":\"hunter-22\"}"#, vec!["hunter-22"]),
    ] {
        let masks = smart(value);
        for password in passwords {
            assert!(!shows(&masks, password), "{password} of {value:?}");
        }
        assert!(!masks.warnings().iter().any(|text| text.contains("hunter")));
    }
}

#[test]
fn a_possible_password_inside_a_line_is_reported() {
    for value in [
        "admin:changeme",
        "role:administrator",
        "svc-app:hunter-22 and more",
        "the password is rosebud",
        "CREATE USER app PASSWORD rosebud",
        "https://registry:5000/@scope/package",
    ] {
        let warning = unmasked(value);
        assert!(warning.contains("1 may be a password inside"), "{value:?}: {warning}");
        assert!(
            warning.contains("(line 1)") && !warning.contains("rosebud"),
            "{warning}"
        );
        // The line itself is hidden.
        assert!(!shows(&smart(value), value));
    }
    assert!(unmasked("x: y\nadmin:changeme\n").contains("inside a text that is masked as a whole (line 2)"));
    // The name of the field shows that the value is a login.
    assert!(!shows(&smart("{\"auth\": \"admin:changeme\"}"), "changeme"));
}

#[test]
fn a_text_that_is_not_a_password_is_neither_hidden_nor_reported() {
    for (value, seen) in [
        ("db.internal:5432", vec!["db.internal", "5432"]),
        ("db.internal:5432/web", vec!["db.internal", "5432", "web"]),
        ("nginx:1.25.3-alpine", vec!["nginx", "1.25.3-alpine"]),
        ("nginx:latest", vec!["nginx", "latest"]),
        ("https://db.internal:8200/v1/sys", vec!["db.internal", "8200", "https"]),
        (
            "https://git@github.com/octo-org/octo-repo",
            vec!["github.com", "octo-repo"],
        ),
        ("git@github.com:octo-org/octo-repo.git", vec!["octo-org/octo-repo.git"]),
        (
            "postgres://app:hunter-22@db.internal:5432/web",
            vec!["postgres", "app", "db.internal", "5432", "web"],
        ),
        ("svc-app:hunter-22", vec!["svc-app"]),
        ("10:30:45", vec!["30:45", "10:30"]),
        ("2026-11-29T06:54:50Z", vec!["54:50Z"]),
        ("fe80::1:2", vec![":1:2"]),
        ("02:42:ac:11:00:02", vec!["42:ac:11:00:02"]),
        (
            "Server=db.internal;User Id=app-user;Password=hunter-22;Encrypt=true",
            vec!["db.internal", "app-user", "true", "Server"],
        ),
        (
            "machine api.example.com login app-user password hunter-22",
            vec!["api.example.com", "app-user", "machine"],
        ),
        (
            "db.internal:5432:web:app-user:hunter-22",
            vec!["db.internal", "app-user"],
        ),
        ("unix:/var/run/docker.sock", vec!["/var/run/docker.sock"]),
        ("Basic understanding", vec!["understanding"]),
        ("authorization is required here", vec!["required", "here"]),
        ("Bearer of news", vec!["of news", "news"]),
        ("a: 1\n# the password is below\n", vec!["password", "below"]),
        ("password: rosebud7\nx: y", vec!["password"]),
        ("C:\\Users\\runneradmin", vec!["runneradmin"]),
    ] {
        let masks = smart(value);
        for text in seen {
            let line = format!("a {text} b");
            assert_eq!(shown(&masks, &line), line, "{value:?}");
        }
        assert!(!unmasked(value).contains("may be"), "{value:?}: {}", unmasked(value));
    }
}

#[test]
fn values_are_hidden_as_shells_and_json_writers_spell_them() {
    for (value, forms) in [
        (
            "it's s3cret",
            vec![r"it'\''s s3cret", r#"it'"'"'s s3cret"#, r"it\'s\ s3cret"],
        ),
        (
            "pa$w`rd\\\"x",
            vec![r#"pa\$w\`rd\\\"x"#, r#"pa$w`rd\\\"x"#, r#"pa$w`rd\\\\\\\"x"#],
        ),
        (
            "a&b<c>defg",
            vec![r"a\u0026b\u003cc\u003edefg", r"a\\u0026b\\u003cc\\u003edefg"],
        ),
        ("tab\there'99", vec![r"tab\there\'99"]),
        ("p\u{e4}ssw0rd", vec![r"p\303\244ssw0rd", r"p\u00e4ssw0rd"]),
    ] {
        for text in [value.to_owned(), format!("{value}\nanother line")] {
            let masks = smart(&text);
            for form in &forms {
                assert!(!shows(&masks, form), "{form}: {:?}", texts(&text));
            }
        }
    }
}
