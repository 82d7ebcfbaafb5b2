//! What a path of the API is for, as far as its segments say it: a token's, the server's own, or an engine's settings. A path
//! names no mount: an engine may be mounted at several segments, below several namespaces, so each rule looks at every position.
//! Sources: the API pages of Vault's and OpenBao's engines, <https://developer.hashicorp.com/vault/api-docs/secret> and
//! <https://openbao.org/api-docs/secret>.

use super::ApiPath;

/// `auth/token/…`: every endpoint of the token store.
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

/// Path segments that only the server itself serves.
const OWN: [&str; 4] = ["auth", "cubbyhole", "identity", "sys"];

/// Endpoints that answer a write with a secret; the next segment is the name of a role or a key, whatever it is called.
const ANSWERING: &[&str] = &[
    "code",
    "creds",
    "datakey",
    "decode",
    "decrypt",
    "encode",
    "encrypt",
    "hmac",
    "issue",
    "rewrap",
    "sign",
    "sign-verbatim",
    "sts",
    "verify",
];

/// Last segments that answer with a secret below a name that is a setting otherwise: `gcp/roleset/NAME/token`,
/// `ldap/library/NAME/check-out`, `kmip/scope/NAME/role/NAME/credential/generate`.
const ANSWERING_LAST: &[&str] = &["check-out", "credential/generate", "key", "token"];

/// Segments that make a path one of an engine's settings or of its upkeep, wherever they stand behind the mount.
const UPKEEP: &[&str] = &[
    "check-in",
    "config",
    "destroy",
    "import",
    "import_version",
    "manage",
    "reset",
    "restore",
    "set-signed",
    "soft-delete",
    "soft-delete-restore",
    "trim",
    "undelete",
];

/// The same by how the segment begins: `config-…`, `rotate-root`, `revoke-with-key`, `tidy-cancel`, `auto-tidy`.
const UPKEEP_BEGINNINGS: &[&str] = &["auto-tidy", "config-", "config_", "revoke", "rotate", "tidy"];

/// Segments with a name behind them: what is written is a KV v2 secret, a role, a key or an issuer.
const NAMED_SETTINGS: &[&str] = &[
    "alphabet",
    "data",
    "delete",
    "impersonated-account",
    "intermediate",
    "issuers",
    "keys",
    "library",
    "metadata",
    "role",
    "roles",
    "roleset",
    "root",
    "static-account",
    "static-role",
    "static-roles",
    "subkeys",
    "template",
    "transformation",
];

impl ApiPath {
    /// Whether reading it as a secret could give away a client token: `auth/token/lookup-self` answers with the reader's own. A
    /// namespace may stand before it, so it is looked for at every position.
    pub fn holds_tokens(&self) -> bool {
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

    /// Whether it is the server's own rather than a secrets engine's, also below the name of a namespace. Written to, these
    /// make tokens that nobody revokes, change policies, or end the agent's own token; what they answer is no secret.
    pub fn is_the_servers_own(&self) -> bool {
        let path = self.as_str().to_ascii_lowercase();
        let (directories, last) = path.rsplit_once('/').unwrap_or(("", &path));
        OWN.contains(&last) && directories.is_empty() || directories.split('/').any(|segment| OWN.contains(&segment))
    }

    /// The segment by which a write here changes an engine rather than asks it for a secret: a KV v2 secret or one of its
    /// versions, a role, a key, an engine's configuration, a rotation. None of these endpoints answers with a secret to deliver.
    /// (A KV v1 secret has no such segment: which paths `data` may write is for the rules of the operator and of the server.)
    pub fn changes_its_engine(&self) -> Option<&str> {
        let segments: Vec<&str> = self.segments().collect();
        let is = |segment: &str, words: &[&str]| words.iter().any(|word| segment.eq_ignore_ascii_case(word));
        let last = segments.len() - 1;
        let end = segments[last.saturating_sub(1)..].join("/");
        let answers = last > 2 && (is(segments[last], ANSWERING_LAST) || is(&end, ANSWERING_LAST));
        // The first segment is a mount's, or a namespace's.
        (1..segments.len())
            .map(|at| (at, segments[at]))
            .find_map(|(at, segment)| {
                let is_a_name = at > 1 && at == last && is(segments[at - 1], ANSWERING);
                let begins = |word: &&str| {
                    segment
                        .get(..word.len())
                        .is_some_and(|start| start.eq_ignore_ascii_case(word))
                };
                let upkeep = is(segment, UPKEEP) || UPKEEP_BEGINNINGS.iter().any(begins);
                let named = at < last && is(segment, NAMED_SETTINGS) && !answers;
                (!is_a_name && (upkeep || named)).then_some(segment)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ApiPath {
        text.parse().unwrap()
    }

    #[test]
    fn the_server_s_own_paths_are_told_from_those_of_engines() {
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
    fn no_path_gives_a_token_away_whatever_stands_before_it() {
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
    fn a_write_that_changes_an_engine_is_told_from_one_that_asks_for_a_secret() {
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
            // Names that are words above.
            "pki/issue/config",
            "ssh/sign/roles",
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
