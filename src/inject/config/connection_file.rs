//! One connection as the config file has it, not yet checked.

use std::path::PathBuf;

use serde::Deserialize;

use super::allow::AllowRule;
use super::auth::AuthSection;
use super::job::JobSection;
use super::section::section;

section! {
    pub(super) struct ConnectionFile, CONNECTION: ConnectionKeys at "connections.NAME." {
        /// Scheme, host and port of the server.
        pub(super) address: String = "address": AllPods, default "required", example "'https://vault.vault.svc:8200'",
            value "`https://HOST:PORT`",
            details "Plain `http://` needs `allowInsecureHttp: true`.";
        /// A file with the only CA certificates to trust.
        #[serde(default)]
        pub(super) ca_file: Option<PathBuf> = "caFile": AllPods, default "the bundle of the image", example "/etc/podkey/vault-ca.pem",
            value "the path of a PEM file",
            details "A certificate that stands in the file byte for byte is trusted as the server's own. Running pods keep the bundle that they started with: to change the CA, add the new CA, let pods be created again, and then change the server's certificate.";
        /// The name to expect in the server's certificate.
        #[serde(default)]
        pub(super) tls_server_name: Option<String> = "tlsServerName": AllPods, default "the host of the address",
            example "vault.example.com",
            value "a host name";
        /// The namespace of Vault Enterprise or OpenBao.
        #[serde(default)]
        pub(super) namespace: Option<String> = "namespace": AllPods, default "none", example "team",
            value "a path";
        /// The time for all tries of one agent together, at most 15m.
        #[serde(default)]
        pub(super) budget: Option<String> = "budget": AllPods, default "`5m`", example "2m",
            value "a duration, at most `15m`";
        /// Whether the address may be `http://`, so that secrets cross the network in clear text.
        #[serde(default)]
        pub(super) allow_insecure_http: bool = "allowInsecureHttp": AllPods, default "`false`", example "true";
        /// How pods log in.
        #[serde(default)]
        pub(super) auth: AuthSection = "auth": AllPods, default "the method `kubernetes`", example "{method: jwt}",
            value "a set of keys";
        /// What the job hooks of runner pods do.
        #[serde(default)]
        pub(super) job: JobSection = "job": JobHooks, default "the job has no identity of its own", example "{role: ci}",
            value "a set of keys";
        /// The rules that say which pods may use the connection, and for what.
        #[serde(default, deserialize_with = "rules")]
        pub(super) allow: Option<Vec<AllowRule>> = "allow": AllPods, default "Vault's policies alone decide", example "[{namespaces: [web]}]",
            value "a list of rules",
            details "A pod needs one rule whose fields all match, for every secret of the pod. `[]` allows nobody.";
    }
}

/// An `allow` whose rules are all commented out must not allow everything.
fn rules<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<AllowRule>>, D::Error> {
    match Option::deserialize(deserializer)? {
        Some(rules) => Ok(Some(rules)),
        None => Err(serde::de::Error::custom(
            "allow is there without a rule: write [] to allow nobody, or remove it to let Vault's policies alone decide",
        )),
    }
}
