//! The kind of an API path by its segments: whether the path is for tokens, for the server itself, or for the settings of an
//! engine. A path does not show where its mount ends: a mount may have several segments, below several namespaces. So each rule
//! looks at every position.
//! Sources: the API pages of Vault's and OpenBao's engines, <https://developer.hashicorp.com/vault/api-docs/secret> and
//! <https://openbao.org/api-docs/secret>.

use super::ApiPath;

/// `auth/token/…`: all endpoints of the token store.
const TOKEN_ENDPOINTS: &[&str] = &[
    "accessors",
    "create",
    "create-orphan",
    "lookup",
    "lookup-accessor",
    "lookup-self",
    "renew",
    "renew-accessor",
    "renew-self",
    "revoke",
    "revoke-accessor",
    "revoke-orphan",
    "revoke-self",
    "roles",
    "tidy",
];

/// First segments of paths that the server itself serves, not a secrets engine.
const SERVERS_OWN: [&str; 4] = ["auth", "cubbyhole", "identity", "sys"];

/// Endpoints that answer a write with a secret. The next segment is the name of a role or a key, and may be any word.
const ANSWERING: &[&str] = &[
    "code",
    "creds",
    "decode",
    "decrypt",
    "encode",
    "encrypt",
    "hmac",
    "issue",
    "plaintext",
    "rewrap",
    "sign",
    "sign-verbatim",
    "sts",
    "verify",
    "wrapped",
];

/// Segments for the maintenance of an engine, at any position behind the mount. (The last segment behind an [`ANSWERING`] segment
/// is a name.)
const MAINTENANCE: &[&str] = &[
    "cache-config",
    "check-in",
    "destroy",
    "import",
    "import_version",
    "manage",
    "reload",
    "reset",
    "restore",
    "set-signed",
    "sign-intermediate",
    "sign-self-issued",
    "soft-delete",
    "soft-delete-restore",
    "trim",
    "undelete",
];

/// Beginnings of segments for the maintenance of an engine: `rotate-root`, `revoke-with-key`, `tidy-cancel`, `auto-tidy`.
const MAINTENANCE_BEGINNINGS: &[&str] = &["auto-tidy", "revoke", "rotate", "tidy"];

/// Segments with a name behind them: a write changes a KV v2 secret, a role or a key. The second value lists endings behind the
/// name with which the path answers with a secret after all.
const NAMED: &[(&str, &[&str])] = &[
    ("alphabet", &[]),
    ("data", &[]),
    ("delete", &[]),
    ("impersonated-account", &["token"]),
    ("keys", &[]),
    ("kms", &[]),
    ("library", &["check-out"]),
    ("metadata", &[]),
    ("role", &["credential/generate"]),
    ("roles", &[]),
    ("roleset", &["key", "token"]),
    ("static-account", &["key", "token"]),
    ("static-role", &[]),
    ("static-roles", &[]),
    ("stores", &[]),
    ("subkeys", &[]),
    ("template", &[]),
    ("transformation", &[]),
    ("transformations", &[]),
];

/// Segments that are a setting with exactly one name behind them. With more segments behind the name, the path is
/// another endpoint.
const NAMED_LAST: &[&str] = &["issuer", "key", "scope"];

/// Segments that are a setting only before one of [`OF_AUTHORITIES`]: the words are usual names of mounts and issuers too.
const AUTHORITIES: &[&str] = &["intermediate", "issuers", "root"];
const OF_AUTHORITIES: &[&str] = &["cross-sign", "generate", "import", "replace", "rotate", "set-signed"];

impl ApiPath {
    /// Whether a read of the path could reveal a client token: `auth/token/lookup-self` answers with the reader's own token. A
    /// namespace may come first, so every position counts.
    pub(crate) fn holds_tokens(&self) -> bool {
        let path = self.as_str().to_ascii_lowercase();
        let segments: Vec<&str> = path.split('/').collect();
        let token_store = |at: usize| match segments[at + 1..] {
            ["token"] => at == 0,
            ["token", endpoint, ..] => at == 0 || TOKEN_ENDPOINTS.contains(&endpoint),
            _ => false,
        };
        segments.iter().enumerate().any(|(at, segment)| match *segment {
            "auth" => token_store(at),
            "sys" => segments.get(at + 1) == Some(&"wrapping"),
            "cubbyhole" => at == 0 || at + 1 < segments.len(),
            _ => false,
        })
    }

    /// Whether the server itself serves the path, not a secrets engine, also below the name of a namespace. A write there creates
    /// tokens that nobody revokes, changes policies, or revokes the agent's own token, and does not answer with a secret.
    pub(crate) fn is_the_servers_own(&self) -> bool {
        let path = self.as_str().to_ascii_lowercase();
        let (directories, last) = path.rsplit_once('/').unwrap_or(("", &path));
        SERVERS_OWN.contains(&last) && directories.is_empty()
            || directories.split('/').any(|segment| SERVERS_OWN.contains(&segment))
    }

    /// The segment that makes a write to the path change the engine: a KV v2 secret or its versions, a role, a key, the
    /// configuration of an engine, a rotation. None of these endpoints answers with a secret to deliver. (A KV v1 secret has no
    /// such segment: the rules of the operator and of the server decide which paths `data` may write.)
    ///
    /// A mount that has such a word behind its first segment (`prod/config/pki`) counts too, because a path does not show where
    /// its mount ends.
    pub(crate) fn changes_its_engine(&self) -> Option<&str> {
        let path = self.as_str().to_ascii_lowercase();
        let words: Vec<&str> = path.split('/').collect();
        // The first segment belongs to a mount or a namespace.
        let at = (1..words.len()).find(|at| is_setting(&words, *at))?;
        self.segments().nth(at)
    }
}

/// Whether the segment at this position makes the path a setting.
fn is_setting(words: &[&str], at: usize) -> bool {
    let (word, last) = (words[at], words.len() - 1);
    let is_a_name = at > 1 && at == last && ANSWERING.contains(&words[at - 1]);
    let maintenance = MAINTENANCE.contains(&word)
        || MAINTENANCE_BEGINNINGS
            .iter()
            .any(|beginning| word.starts_with(beginning));
    let named = NAMED.iter().any(|(setting, endings)| {
        *setting == word && at < last && !endings.contains(&words[(at + 2).min(last + 1)..].join("/").as_str())
    });
    word == "config"
        || maintenance && !is_a_name
        || named
        || NAMED_LAST.contains(&word) && at + 1 == last
        || AUTHORITIES.contains(&word) && words.get(at + 1).is_some_and(|next| OF_AUTHORITIES.contains(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ApiPath {
        text.parse().unwrap()
    }

    #[test]
    fn paths_of_the_server_differ_from_paths_of_engines() {
        for text in [
            "sys/policies/acl/x",
            "auth/approle/role/web/secret-id",
            "AUTH/kubernetes/login",
            "identity/entity",
            "identity",
            "cubbyhole/x",
            "team-a/sys/seal",
            "team-a/sub/auth/token/create",
        ] {
            assert!(path(text).is_the_servers_own(), "{text}");
        }
        for text in [
            "pki/issue/web",
            "ssh/sign/sys",
            "transit/sign/auth",
            "system/x",
            "kv/data/authors/x",
        ] {
            assert!(!path(text).is_the_servers_own(), "{text}");
        }
    }

    #[test]
    fn paths_that_reveal_a_token_are_known_below_any_namespace() {
        for before in ["", "ns1/", "ns1/team/", "ns1/data/", "a/b/c/d/e/"] {
            for text in [
                "auth/token/lookup",
                "auth/token/lookup-self",
                "Auth/Token/Lookup",
                "auth/token/lookup-accessor/x",
                "auth/token/create",
                "auth/token/create/web",
                "auth/token/create-orphan",
                "auth/token/renew-self",
                "auth/token/accessors",
                "auth/token/roles/web",
                "sys/wrapping/unwrap",
                "sys/wrapping/lookup",
                "SYS/wrapping/rewrap",
                "cubbyhole/response",
                "cubbyhole/a/b",
            ] {
                let text = format!("{before}{text}");
                assert!(path(&text).holds_tokens(), "{text}");
            }
        }
        for text in ["auth/token", "auth/token/of-a-later-server", "cubbyhole"] {
            assert!(path(text).holds_tokens(), "{text}");
        }
        for text in [
            "kv/data/auth/token",
            "kv/auth/token/github",
            "kv/data/ci/auth/token",
            "auth/tokens/x",
            "kv/data/sys/wrappings",
            "kv/data/my-cubbyhole/x",
            "kv/data/cubbyhole",
        ] {
            assert!(!path(text).holds_tokens(), "{text}");
        }
    }

    #[test]
    fn writes_that_change_an_engine_differ_from_writes_that_ask_for_a_secret() {
        for before in ["", "ns1/", "ns1/team/"] {
            for text in [
                // KV v2
                "kv/data/web",
                "team/kv/data/web/db",
                "kv/DATA/web",
                "kv/metadata/web",
                "kv/delete/web",
                "kv/undelete/web",
                "kv/destroy/web",
                "kv/subkeys/web",
                "kv/config",
                // roles, configuration, rotation, keys
                "database/config/pg",
                "database/roles/web",
                "database/static-roles/web",
                "database/rotate-root/pg",
                "database/rotate-role/web",
                "database/reset/pg",
                "pki/config/urls",
                "pki/config/ca",
                "pki/roles/web",
                "pki/root/generate/internal",
                "pki/root/rotate/exported",
                "pki/root/replace",
                "pki/root/sign-intermediate",
                "pki/intermediate/set-signed",
                "pki/issuers/import/bundle",
                "pki/keys/generate/exported",
                "pki/crl/rotate",
                "pki/revoke",
                "pki/revoke-with-key",
                "pki/tidy",
                "pki/tidy-cancel",
                "pki/config/auto-tidy",
                "ssh/config/ca",
                "ssh/roles/web",
                "ssh/config/zeroaddress",
                "transit/keys/web",
                "transit/keys/web/rotate",
                "transit/keys/web/config",
                "transit/keys/web/trim",
                "transit/restore/web",
                "transit/config/keys",
                "totp/keys/web",
                "aws/config/root",
                "aws/config/rotate-root",
                "aws/roles/web",
                "ldap/config",
                "ldap/role/web",
                "ldap/static-role/web",
                "ldap/rotate-root",
                "ldap/rotate-role/web",
                "ldap/library/web",
                "ldap/library/manage/web/check-in",
                "kubernetes/config",
                "kubernetes/roles/web",
                "gcp/roleset/web",
                "gcp/roleset/web/rotate",
                "gcp/roleset/web/rotate-key",
                "gcp/static-account/web",
                "azure/rotate-root",
                "consul/config/access",
                "nomad/role/web",
                "terraform/role/web",
                "terraform/rotate-role/web",
                "rabbitmq/config/connection",
                "transform/role/web",
                "transform/template/web",
                "transform/stores/web",
                "transform/transformations/fpe/web",
                "pki/issuer/web",
                "pki/issuer/web/sign-intermediate",
                "pki/key/web",
                "pki/intermediate/generate/internal",
                "pki/intermediate/cross-sign",
                "pki/issuers/generate/root/internal",
                "ssh/issuer/web",
                "transit/cache-config",
                "transit/keys/sign/rotate",
                "database/reload/postgresql",
                "kmip/scope/web",
                "keymgmt/key/web",
                "keymgmt/kms/web",
                // Secrets whose names are words of other engines.
                "kv/data/ci/token",
                "kv/data/web/key",
                "kv/data/a/check-out",
                "kv/data/sign/web",
                "kv/metadata/ci/token",
                "kv/delete/ci/token",
                "kv/data/x/credential/generate",
                "database/roles/a/token",
                // Mounts with names that are words of other engines.
                "team/creds/data/web",
                "team/creds/config",
                "team/sign/metadata/web",
            ] {
                let text = format!("{before}{text}");
                assert!(path(&text).changes_its_engine().is_some(), "{text}");
            }
        }
        for text in [
            "pki/issue/web",
            "pki/sign/web",
            "pki/sign-verbatim/web",
            "pki/sign-verbatim",
            "pki/issuer/default/issue/web",
            "pki/issuer/default/sign/web",
            "team/pki/issue/web",
            "ssh/sign/web",
            "ssh/issue/web",
            "ssh/creds/web",
            "transit/sign/web",
            "transit/sign/web/sha2-256",
            "transit/encrypt/web",
            "transit/decrypt/web",
            "transit/hmac/web/sha2-512",
            "transit/datakey/plaintext/web",
            "transit/random/32",
            "transit/hash/sha2-256",
            "transit/rewrap/web",
            "totp/code/web",
            "aws/creds/web",
            "aws/sts/web",
            "database/creds/web",
            "kubernetes/creds/web",
            "gcp/roleset/web/token",
            "gcp/roleset/web/key",
            "gcp/static-account/web/token",
            "gcp/impersonated-account/web/token",
            "ldap/library/web/check-out",
            "ldap/creds/web",
            "kmip/scope/web/role/admin/credential/generate",
            // Names of roles and keys that are words of the tables above.
            "ssh/sign/roles",
            "pki/root/issue/web",
            "pki/intermediate/issue/web",
            "pki/issuer/root/issue/web",
            "pki/issuer/intermediate/sign/web",
            "transit/sign/config-service/sha2-256",
            "transit/datakey/plaintext/rotated",
            "config/issue/web",
            "data/issue/web",
            "transit/encrypt/rotate-me",
            "venafi/issue/web",
            "custom/anything/web",
        ] {
            assert_eq!(path(text).changes_its_engine(), None, "{text}");
        }
    }
}
