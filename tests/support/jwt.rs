//! A cluster as far as tokens go: it signs service-account tokens, and reviews them like the API server does.

use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};

use super::http::Request;

/// The audience of tokens that are for the API server itself.
pub const API_AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";

/// A key that signs tokens (ES256).
pub struct SigningKey {
    key: EcdsaKeyPair,
    public_pem: String,
}

impl SigningKey {
    pub fn generate() -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let rng = SystemRandom::new();
        Self {
            key: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pair.serialized_der(), &rng).unwrap(),
            public_pem: pair.public_key_pem(),
        }
    }

    /// A token with this payload.
    pub fn sign(&self, payload: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!(
            "{}.{}",
            encode(&json!({"alg": "ES256", "kid": "test"})),
            encode(payload)
        );
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// The public half as a JSON Web Key Set.
    pub fn jwks(&self) -> Value {
        // An uncompressed point: 4, x, y.
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "test",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]})
    }
}

/// Signs tokens and answers TokenReviews.
pub struct Cluster {
    key: SigningKey,
    /// Where OpenBao's kubernetes auth method finds the API server.
    pub url: String,
    /// While it is set, every review fails as if the reviewer had no right to ask.
    pub broken: Arc<AtomicBool>,
}

/// A service account's token.
#[derive(Clone)]
pub struct Claims {
    pub namespace: String,
    pub name: String,
    pub audience: String,
    /// Seconds from now; negative ones are over.
    pub lifetime: i64,
    /// The pod that the token is bound to.
    pub pod: String,
}

/// The UID of every pod that a token is bound to.
pub const POD_UID: &str = "0f1e2d3c-4b5a-4968-8776-655443322110";

impl Claims {
    pub fn new(namespace: &str, name: &str, audience: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            audience: audience.into(),
            lifetime: 600,
            pod: "runner-1".into(),
        }
    }
}

impl Cluster {
    /// Starts the TokenReview endpoint on a socket of its own.
    pub fn start() -> Self {
        let key = SigningKey::generate();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let broken = Arc::new(AtomicBool::new(false));
        let (public, is_broken) = (key.key.public_key().as_ref().to_vec(), Arc::clone(&broken));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (public, is_broken) = (public.clone(), Arc::clone(&is_broken));
                std::thread::spawn(move || {
                    let mut writer = stream.try_clone().unwrap();
                    let mut reader = BufReader::new(stream);
                    while let Some(request) = Request::read(&mut reader) {
                        let (status, body) = match is_broken.load(Ordering::SeqCst) {
                            true => (403, json!({"kind": "Status", "status": "Failure", "code": 403})),
                            false => (201, review(&public, &request)),
                        };
                        let body = body.to_string();
                        let head = format!(
                            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                            body.len()
                        );
                        if writer.write_all((head + &body).as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { key, url, broken }
    }

    /// For `jwt_validation_pubkeys`.
    pub fn public_pem(&self) -> &str {
        &self.key.public_pem
    }

    /// A signed token, shaped like the ones that the API server projects.
    pub fn sign(&self, claims: &Claims) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let Claims {
            namespace,
            name,
            audience,
            lifetime,
            pod,
        } = claims;
        let exp = now + lifetime;
        // One that is over was made before.
        let made = if *lifetime > 0 { now } else { exp - 600 };
        let payload = json!({
            "aud": [audience], "exp": exp, "iat": made, "nbf": made,
            "iss": "https://kubernetes.default.svc.cluster.local",
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
            "kubernetes.io": {
                "namespace": namespace, "serviceaccount": {"name": name, "uid": "7c3e"},
                "pod": {"name": pod, "uid": POD_UID}, "node": {"name": "node-1", "uid": "7c3f"},
            },
        });
        self.key.sign(&payload)
    }
}

/// What the API server answers: signature, expiry and audience have to be right.
fn review(public: &[u8], request: &Request) -> Value {
    let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let token = asked["spec"]["token"].as_str().unwrap_or_default();
    let audiences: Vec<String> = match &asked["spec"]["audiences"] {
        Value::Array(list) if !list.is_empty() => list.iter().filter_map(|a| a.as_str().map(str::to_owned)).collect(),
        _ => vec![API_AUDIENCE.to_owned()],
    };
    let status = match verify(public, token, &audiences) {
        Ok(claims) => json!({
            "authenticated": true,
            "audiences": claims["aud"],
            "user": {
                "username": claims["sub"], "uid": "7c3e",
                "groups": ["system:serviceaccounts", "system:authenticated"],
            },
        }),
        Err(why) => json!({"authenticated": false, "error": why}),
    };
    json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status})
}

fn verify(public: &[u8], token: &str, audiences: &[String]) -> Result<Value, &'static str> {
    let (signed, signature) = token.rsplit_once('.').ok_or("no JWT")?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "no base64")?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| "bad signature")?;
    let payload = signed.split('.').nth(1).ok_or("no payload")?;
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).map_err(|_| "no base64")?).map_err(|_| "no JSON")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    if claims["exp"].as_i64().is_none_or(|exp| exp < now) {
        return Err("token has expired");
    }
    let has = |audience: &String| {
        claims["aud"]
            .as_array()
            .is_some_and(|list| list.iter().any(|a| a == audience))
    };
    match audiences.iter().any(has) {
        true => Ok(claims),
        false => Err("invalid audience"),
    }
}
