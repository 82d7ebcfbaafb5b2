//! GitHub as far as a job's ID token goes: an OIDC issuer over TLS that signs tokens for jobs that may ask, with its
//! discovery document and its keys.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::ca::Ca;
use super::fake_vault::{FakeVault, Reply, json as answer};
use super::http::Request;
use super::jwt::SigningKey;
use super::openbao::OpenBao;

/// What the runner puts into `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
pub const BEARER: &str = "canary-request-token-of-the-job";
/// A name that its certificate is for, and that no DNS has.
pub const NAME: &str = "ghes.example.com";
/// Where the auth method for jobs is mounted in [`GitHub::trusted_by`].
pub const JOB_MOUNT: &str = "github";

/// The id of `octo-org/octo-repo`, as the runner has it too.
pub const REPOSITORY_ID: &str = "456789";
/// The id of `octo-org`.
pub const OWNER_ID: &str = "123456";

/// A running issuer.
pub struct GitHub {
    server: FakeVault,
    claims: Arc<Mutex<Value>>,
    asked: Arc<AtomicUsize>,
    key: Arc<SigningKey>,
    ca: String,
}

impl GitHub {
    /// Its certificate is signed by `ca`.
    pub fn start(ca: &Ca) -> Self {
        let key = Arc::new(SigningKey::generate());
        let claims = Arc::new(Mutex::new(json!({
            "sub": "repo:octo-org/octo-repo:ref:refs/heads/main", "repository": "octo-org/octo-repo",
            "repository_owner": "octo-org", "actor": "octocat", "environment": "prod",
            "repository_id": REPOSITORY_ID, "repository_owner_id": OWNER_ID, "ref": "refs/heads/main",
        })));
        let asked = Arc::new(AtomicUsize::new(0));
        let (of_job, count, signer) = (Arc::clone(&claims), Arc::clone(&asked), Arc::clone(&key));
        let config = ca.leaf(&["localhost", "127.0.0.1", NAME]).server_config();
        // By whatever name it is asked, it is one issuer.
        let address: Arc<OnceLock<String>> = Arc::default();
        let own = Arc::clone(&address);
        let server = FakeVault::tls(config, move |request, _| {
            let issuer = own.get().cloned().unwrap_or_default();
            if request.target.starts_with("/idtoken") {
                count.fetch_add(1, Ordering::SeqCst);
                return id_token(request, &issuer, &of_job.lock().unwrap(), &signer);
            }
            match request.target.as_str() {
                "/.well-known/openid-configuration" => answer(
                    200,
                    &json!({
                        "issuer": issuer, "jwks_uri": format!("{issuer}/.well-known/jwks"),
                        "id_token_signing_alg_values_supported": ["ES256"], "response_types_supported": ["id_token"],
                        "subject_types_supported": ["public"],
                    })
                    .to_string(),
                ),
                "/.well-known/jwks" => answer(200, &signer.jwks().to_string()),
                _ => answer(404, "{}"),
            }
        });
        address.set(server.address()).unwrap();
        Self {
            server,
            claims,
            asked,
            key,
            ca: ca.pem(),
        }
    }

    /// What the next tokens say.
    pub fn claim(&self, name: &str, value: Value) {
        self.claims.lock().unwrap()[name] = value;
    }

    /// What they say now; null where it is said anew for each.
    pub fn claimed(&self, name: &str) -> Value {
        self.claims.lock().unwrap()[name].clone()
    }

    /// A token as a step of a job gets it: for this audience, with these claims instead of those of the next tokens.
    pub fn token(&self, audience: &str, over: &Value) -> String {
        let mut claims = self.claims.lock().unwrap().clone();
        claims
            .as_object_mut()
            .unwrap()
            .extend(over.as_object().unwrap().clone());
        sign(claims, &self.server.address(), audience, &self.key)
    }

    /// How many tokens were asked for.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// `ACTIONS_ID_TOKEN_REQUEST_URL`.
    pub fn request_url(&self) -> String {
        format!("{}/idtoken?api-version=2.0", self.server.address())
    }

    /// Lets an OpenBao server trust this issuer: a mount for jobs, and a role that reads `ci/data/<repository>/*`.
    pub fn trusted_by(&self, bao: &OpenBao) {
        self.trusted_at(bao, JOB_MOUNT);
        bao.write("sys/mounts/ci", &json!({"type": "kv", "options": {"version": "2"}}));
        bao.write(
            "sys/policies/acl/ci",
            &json!({"policy": "path \"ci/data/octo-org/octo-repo/*\" { capabilities = [\"read\"] }\n\
                               path \"ci/data/by-branch/*\" { capabilities = [\"read\"] }"}),
        );
    }

    /// Likewise, at a mount of its own beside the first.
    pub fn trusted_at(&self, bao: &OpenBao, mount: &str) {
        bao.write(&format!("sys/auth/{mount}"), &json!({"type": "jwt"}));
        bao.write(
            &format!("auth/{mount}/config"),
            &json!({"oidc_discovery_url": self.server.address(), "oidc_discovery_ca_pem": self.ca, "bound_issuer": self.server.address()}),
        );
        bao.write(
            &format!("auth/{mount}/role/ci"),
            &json!({
                "role_type": "jwt", "user_claim": "repository", "bound_audiences": ["https://vault.example.com"],
                "bound_claims": {"repository_owner": "octo-org"}, "claim_mappings": {"repository": "repository"},
                "token_policies": ["ci"], "token_ttl": "15m",
            }),
        );
    }
}

fn id_token(request: &Request, issuer: &str, claims: &Value, key: &SigningKey) -> Reply {
    if request.header("authorization") != Some(&format!("Bearer {BEARER}")) {
        return answer(401, r#"{"message":"Bad credentials"}"#);
    }
    let audience = request
        .target
        .split_once("&audience=")
        .map(|(_, audience)| audience.replace("%3A", ":").replace("%2F", "/"));
    let audience = audience.unwrap_or_else(|| "https://github.com/octo-org".to_owned());
    let mut claims = claims.clone();
    // GitHub knows the run by the bearer. Here the URL says it.
    let run = request
        .target
        .split(['?', '&'])
        .find_map(|part| part.strip_prefix("run_id="));
    if let Some(run) = run {
        claims["run_id"] = run.into();
    }
    answer(
        200,
        &json!({"count": 2000, "value": sign(claims, issuer, &audience, key)}).to_string(),
    )
}

fn sign(mut claims: Value, issuer: &str, audience: &str, key: &SigningKey) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for (name, value) in [("iat", now), ("nbf", now - 300), ("exp", now + 300)] {
        if claims[name].is_null() {
            claims[name] = value.into();
        }
    }
    if claims["iss"].is_null() {
        claims["iss"] = issuer.into();
    }
    if claims["aud"].is_null() {
        claims["aud"] = audience.into();
    }
    key.sign(&claims)
}
