//! The recipes of docs/guides/recipes.md, each from its annotations to its file: the webhook's decision, a real OpenBao, the agent, and
//! where this machine has them, the programs that read such files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use podkey::inject::{Config, Decision, Pod, decide};
use podkey::plan::PLAN_ENV;
use serde_json::{Map, Value, json};

use crate::deliver::wrapped;
use crate::support::agent::Agent;
use crate::support::jwt::Claims;
use crate::support::openbao::{ACCOUNT, MOUNT, NAMESPACE, OpenBao};

/// One recipe, as the page has it.
#[derive(Default)]
struct Recipe {
    title: String,
    annotations: Map<String, Value>,
    /// By path. A value with an ellipsis stands for what [`whole`] makes.
    secrets: BTreeMap<String, Value>,
    /// By path in the container. A line with an ellipsis alone stands for any lines of base64.
    files: BTreeMap<String, String>,
}

/// The page's sections that have a fenced block, without regard to their order.
fn recipes() -> Vec<Recipe> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guides/recipes.md")).unwrap();
    let sections = page.split("\n## ").skip(1);
    sections.map(recipe).collect()
}

fn recipe(section: &str) -> Recipe {
    let (title, rest) = section.split_once('\n').unwrap();
    let mut recipe = Recipe {
        title: title.to_owned(),
        ..Recipe::default()
    };
    let mut parts = rest.split("\n```");
    let mut before = parts.next().unwrap();
    while let Some(block) = parts.next() {
        let (_language, text) = block.split_once('\n').unwrap();
        let text = format!("{text}\n");
        // The last path in the line above the block is the block's.
        let line = before.trim_end().lines().last().unwrap_or_default();
        let name = line
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| name.contains('/'))
            .last();
        match name {
            None => recipe.annotations = serde_saphyr::from_str(&text).unwrap(),
            Some(file) if file.starts_with('/') => drop(recipe.files.insert(file.to_owned(), text)),
            Some(_) => {
                let path = line.split('`').nth(1).unwrap();
                drop(
                    recipe
                        .secrets
                        .insert(path.to_owned(), serde_json::from_str(&text).unwrap()),
                );
            }
        }
        before = parts.next().unwrap_or_default();
    }
    recipe
}

/// The value that an abbreviated value of the page stands for.
fn whole(field: &str, dir: &Path) -> String {
    match field {
        _ if !has_readers() => {
            let [kind, end] = ["BEGIN", "END"].map(|word| format!("-----{word} OPENSSH PRIVATE KEY-----"));
            match field {
                "keystore" => wrapped(b"a keystore"),
                _ => format!("{kind}\nAAAA\n{end}"),
            }
        }
        "keystore" => {
            openssl(
                dir,
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=shop -keyout key -out cert",
            );
            openssl(dir, "pkcs12 -export -inkey key -in cert -out keystore.p12 -passout");
            wrapped(&fs::read(dir.join("keystore.p12")).unwrap())
        }
        // Without the line break at its end, which is what the recipe is about.
        "private_key" => {
            run(
                dir,
                "ssh-keygen",
                &["-q", "-t", "ed25519", "-N", "", "-C", "shop", "-f", "id"],
            );
            fs::read_to_string(dir.join("id")).unwrap().trim_end().to_owned()
        }
        other => panic!("no whole value for {other}"),
    }
}

const KEYSTORE_PASSWORD: &str = "lorem ipsum";

/// Runs openssl, with the keystore's password where the last word asks for one.
fn openssl(dir: &Path, words: &str) -> String {
    let mut words: Vec<&str> = words.split(' ').collect();
    let password = format!("pass:{KEYSTORE_PASSWORD}");
    if words.last().is_some_and(|last| last.starts_with("-pass")) {
        words.push(&password);
    }
    run(dir, "openssl", &words)
}

/// Runs a program, which must succeed, and returns its output.
fn run(dir: &Path, program: &str, words: &[&str]) -> String {
    let output = Command::new(program)
        .args(words)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether the programs are there that read the files. Otherwise that part of the test is skipped.
fn has_readers() -> bool {
    ["openssl", "python3", "ssh-keygen"].into_iter().all(has)
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// A server with an empty KV engine, and a PKI engine whose issuer is signed by another.
fn bao() -> &'static OpenBao {
    static BAO: OnceLock<OpenBao> = OnceLock::new();
    BAO.get_or_init(|| {
        let bao = OpenBao::start();
        bao.enable_kubernetes("", MOUNT, &bao.cluster);
        let policy = "path \"kv/data/shop/*\" { capabilities = [\"read\"] }\n\
                      path \"pki/issue/web\" { capabilities = [\"update\"] }";
        bao.write("sys/policies/acl/recipes", &json!({"policy": policy}));
        bao.write(
            &format!("auth/{MOUNT}/role/recipes"),
            &json!({
                "bound_service_account_names": [ACCOUNT], "bound_service_account_namespaces": [NAMESPACE],
                "audience": "vault", "token_policies": ["recipes"], "token_ttl": "20m",
            }),
        );
        bao.write("sys/mounts/kv", &json!({"type": "kv", "options": {"version": "2"}}));
        for mount in ["root", "pki"] {
            bao.write(&format!("sys/mounts/{mount}"), &json!({"type": "pki"}));
        }
        bao.write(
            "root/root/generate/internal",
            &json!({"common_name": "recipes root", "ttl": "96h", "key_type": "ec"}),
        );
        let asked = bao.write(
            "pki/intermediate/generate/internal",
            &json!({"common_name": "recipes intermediate", "key_type": "ec"}),
        );
        let signed = bao.write(
            "root/root/sign-intermediate",
            &json!({"csr": asked["data"]["csr"], "common_name": "recipes intermediate", "ttl": "48h"}),
        );
        bao.write(
            "pki/intermediate/set-signed",
            &json!({"certificate": signed["data"]["certificate"]}),
        );
        bao.write(
            "pki/roles/web",
            &json!({"allowed_domains": ["example.com"], "allow_subdomains": true, "key_type": "ec", "max_ttl": "25h"}),
        );
        bao
    })
}

/// The plan that the webhook writes into a pod with these annotations.
fn plan(recipe: &Recipe) -> Value {
    let bao = bao();
    let config = format!(
        "agent: {{image: podkey}}\nallowSharedProcessNamespace: true\nconnections:\n  default:\n    address: {}\n    caFile: ca.pem\n    \
         auth: {{mount: {MOUNT}, role: recipes}}\n",
        bao.address()
    );
    let config = Config::parse(&config, |_| Ok(bao.ca.pem())).unwrap();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "shop", "annotations": recipe.annotations},
        "spec": {
            "serviceAccountName": ACCOUNT, "shareProcessNamespace": true, "securityContext": {"runAsUser": 1000},
            "containers": [{"name": "app", "image": "app:1", "command": ["/app"]}],
        },
    })
    .to_string();
    match decide(&Pod::parse(&pod).unwrap(), NAMESPACE, &config) {
        Decision::Inject(patch, warnings) => {
            assert_eq!(warnings, Vec::<String>::new(), "{}", recipe.title);
            plan_in(&serde_json::from_slice(patch.as_json()).unwrap()).expect("a plan in the patch")
        }
        Decision::Deny(problems) => panic!("{}: {problems}", recipe.title),
        Decision::Ignore(_) => panic!("{}: not injected", recipe.title),
    }
}

/// The plan of the first container in the patch that has one.
pub(crate) fn plan_in(value: &Value) -> Option<Value> {
    if value["name"] == PLAN_ENV {
        return serde_json::from_str(value["value"].as_str()?).ok();
    }
    match value {
        Value::Array(items) => items.iter().find_map(plan_in),
        Value::Object(fields) => fields.values().find_map(plan_in),
        _ => None,
    }
}

/// The place in the agent's volume of a file that the container sees at `path`.
fn place(agent: &Agent, path: &str) -> PathBuf {
    let files = agent.plan["files"].as_array().unwrap();
    match path.strip_prefix("/podkey/secrets/") {
        Some(name) => agent.volume().join("files").join(name),
        None => {
            let index = files.iter().position(|file| file["file"] == path).unwrap();
            agent.volume().join(format!("single/{index}"))
        }
    }
}

/// Whether a text is as the page has it. A line with an ellipsis alone stands for one or more lines of base64.
fn is_as_shown(arrived: &str, shown: &str) -> bool {
    let is_base64 =
        |line: &str| !line.is_empty() && line.chars().all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c));
    let mut lines = arrived.split('\n').peekable();
    for line in shown.split('\n') {
        if line != "…" {
            if lines.next() != Some(line) {
                return false;
            }
        } else if !lines.next().is_some_and(is_base64) {
            return false;
        } else {
            while lines.next_if(|line| is_base64(line)).is_some() {}
        }
    }
    lines.next().is_none()
}

/// Puts the secrets of a recipe into the server, runs `init`, and compares each file with the page.
fn deliver(recipe: &Recipe, scratch: &Path) -> Agent {
    for (path, secret) in &recipe.secrets {
        let mut secret = secret.clone();
        for (field, value) in secret.as_object_mut().unwrap() {
            if value.as_str().unwrap().ends_with('…') {
                *value = whole(field, scratch).into();
            }
        }
        bao().write(path, &json!({"data": secret}));
    }
    let mut agent = Agent::new(plan(recipe));
    agent.token(&bao().cluster.sign(&Claims::new(NAMESPACE, ACCOUNT, "vault")));
    agent.run().expect(0, &[]);
    for (path, shown) in &recipe.files {
        let arrived = fs::read_to_string(place(&agent, path)).unwrap();
        assert!(
            is_as_shown(&arrived, shown),
            "{}: {path} is not as the page has it:\n{arrived}",
            recipe.title
        );
    }
    agent
}

#[test]
fn every_recipe_delivers_what_the_page_shows() {
    let recipes = recipes();
    assert!(recipes.len() >= 13, "where have the recipes gone?");
    for recipe in &recipes {
        let scratch = tempfile::tempdir().unwrap();
        assert!(!recipe.files.is_empty(), "{} shows no file", recipe.title);
        let agent = deliver(recipe, scratch.path());
        let read = reader(&recipe.title);
        match has_readers() {
            true => read(&agent, scratch.path()),
            false => eprintln!("skipped: openssl, python3 or ssh-keygen is missing"),
        }
    }
}

/// What reads the files of a recipe, and checks what it reads.
fn reader(title: &str) -> fn(&Agent, &Path) {
    match title {
        "Variables for a shell" => |agent, dir| {
            let script = format!(". {}; printf '%s' \"$PGPASSWORD\"", secret(agent, "db.sh"));
            assert_eq!(run(dir, "sh", &["-c", &script]), PASSWORD);
        },
        "A connection string" => |agent, dir| {
            let script =
                "from urllib.parse import urlsplit, unquote; u = urlsplit(s.strip()); print(end=unquote(u.password))";
            assert_eq!(python(dir, &secret(agent, "database-url"), script), PASSWORD);
        },
        "nginx: certificate with chain, and key" => certificates,
        "~/.aws/credentials" => |agent, dir| {
            let script = "import configparser; c = configparser.ConfigParser(); c.read_string(s); \
                          print(end=c['default']['aws_secret_access_key'])";
            let key = python(dir, &secret(agent, "aws/credentials"), script);
            assert_eq!(key, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        },
        "Docker's config.json" => |agent, _| {
            let text = fs::read(place(agent, "/home/app/.docker/config.json")).unwrap();
            let config: Value = serde_json::from_slice(&text).unwrap();
            let auth = config["auths"]["registry.example.com"]["auth"].as_str().unwrap();
            assert_eq!(STANDARD.decode(auth).unwrap(), b"puller:lorem:ipsum");
        },
        "Maven's settings.xml" => |agent, dir| {
            let script =
                "import xml.etree.ElementTree as e; print(end=e.fromstring(s).find('servers/server/password').text)";
            let file = place(agent, "/home/app/.m2/settings.xml").display().to_string();
            assert_eq!(python(dir, &file, script), "<it's> & more");
        },
        ".netrc" => |agent, dir| {
            let file = place(agent, "/home/app/.netrc").display().to_string();
            let script = "import netrc; print(end=netrc.netrc(f).authenticators('git.example.com')[2])";
            assert_eq!(python(dir, &file, script), "glpat-bG9yZW0gaXBzdW0");
        },
        "A kubeconfig from its parts" => |agent, dir| {
            if has("kubectl") {
                let file = secret(agent, "kubeconfig");
                let shown = run(
                    dir,
                    "kubectl",
                    &[
                        "config",
                        "view",
                        "--raw",
                        "--minify",
                        "-o",
                        "json",
                        "--kubeconfig",
                        &file,
                    ],
                );
                let shown: Value = serde_json::from_str(&shown).unwrap();
                assert_eq!(shown["users"][0]["user"]["token"], "bG9yZW0gaXBzdW0gZG9sb3Igc2l0");
            }
        },
        "A Java keystore" => |agent, dir| {
            let file = secret(agent, "keystore.p12");
            assert_eq!(fs::read(&file).unwrap(), fs::read(dir.join("keystore.p12")).unwrap());
            openssl(dir, &format!("pkcs12 -in {file} -nodes -passin"));
        },
        "An ssh key" => |agent, dir| {
            let file = place(agent, "/home/app/.ssh/id_ed25519").display().to_string();
            let public = run(dir, "ssh-keygen", &["-y", "-f", &file]);
            assert_eq!(
                public.trim_end(),
                fs::read_to_string(dir.join("id.pub")).unwrap().trim_end()
            );
        },
        // The comparison with the page is the whole test: no reader of these is at hand.
        "PEM for Java: key and chain in one file" => |agent, dir| {
            openssl(dir, &format!("pkey -in {} -noout", secret(agent, "kafka.pem")));
        },
        "A field that may be missing" | "Spring's application.properties" | ".npmrc" | ".pgpass" => |_, _| {},
        other => panic!("{other} has no reader in the test"),
    }
}

/// The password of the page's database.
const PASSWORD: &str = "it's $5: \"50%\" & more\\";

/// Where a file is that the container sees below `/podkey/secrets/`.
fn secret(agent: &Agent, name: &str) -> String {
    place(agent, &format!("/podkey/secrets/{name}")).display().to_string()
}

/// Runs a script of Python with the file's path as `f` and its text as `s`.
fn python(dir: &Path, file: &str, script: &str) -> String {
    let script = format!("import sys; f = sys.argv[1]; s = open(f, newline='').read(); {script}");
    run(dir, "python3", &["-c", &script, file])
}

/// The certificate comes first, the chain leads to the root, and the key is the certificate's.
fn certificates(agent: &Agent, dir: &Path) {
    let (certificate, key) = (secret(agent, "tls.crt"), secret(agent, "tls.key"));
    let (_, root) = bao().call_in("", "GET", "root/cert/ca", &Value::Null);
    fs::write(dir.join("root.pem"), root["data"]["certificate"].as_str().unwrap()).unwrap();
    openssl(
        dir,
        &format!("verify -CAfile root.pem -untrusted {certificate} {certificate}"),
    );
    let public = openssl(dir, &format!("x509 -in {certificate} -noout -pubkey"));
    assert_eq!(public, openssl(dir, &format!("pkey -in {key} -pubout")));
    let subject = openssl(dir, &format!("x509 -in {certificate} -noout -subject"));
    assert!(subject.contains("web.example.com"), "{subject}");
}

#[test]
fn a_page_that_shows_another_file_than_the_one_that_arrives_fails() {
    assert!(is_as_shown("a\nAb+/=\nAb\n-b\n", "a\n…\n-b\n"));
    for other in [
        "a\n\n-b\n",
        "a\n-b\n",
        "a\nA b\n-b\n",
        "a\n…\n-b\n",
        "a\nAb\n-b\n\n",
        "a\nAb\n-b",
    ] {
        assert!(!is_as_shown(other, "a\n…\n-b\n"), "{other:?}");
    }
}
