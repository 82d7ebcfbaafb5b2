//! The annotations of vault-k8s 1.8.0: one row for each of its 75 keys, with what podkey does with the key, the meaning there, and
//! the parser. Messages, warnings and the page about vault-k8s read this table.
//! <https://developer.hashicorp.com/vault/docs/deploy/kubernetes/injector/annotations>

use crate::inject::pod::quantity::Quantity;
use crate::inject::request::vault_k8s::draft::{self, VaultK8sDraft};
use crate::inject::request::vault_k8s::go;
use crate::inject::request::vault_k8s::value::TheirValue;
use crate::inject::words::vault_k8s as words;

/// What podkey does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// podkey does the same.
    Translated,
    /// podkey does the same within what the operator allows.
    Limited,
    /// The key has no effect, and the pod's author gets a warning if that makes a difference.
    Ignored,
    /// The pod is refused.
    Refused,
}

/// What may follow a key of the table, after a dash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suffix {
    /// Nothing.
    None,
    /// The NAME of a secret; without NAME the key is for all secrets.
    OptionalName,
    /// The NAME of a secret.
    Name,
    /// The name of a parameter.
    Parameter,
}

/// One key.
pub struct VaultK8sKey {
    /// Without prefix and suffix.
    pub key: &'static str,
    /// What may follow the key.
    pub suffix: Suffix,
    /// What podkey does with the key.
    pub treatment: Treatment,
    /// What the key means in vault-k8s.
    pub meaning: &'static str,
    pub(super) parse: Parse,
}

/// Parses the value, reports what is wrong with it, and keeps the result in the draft.
pub(super) type Parse = for<'a, 'p> fn(TheirValue<'a, 'p>, &mut VaultK8sDraft<'a>);

const fn key(
    key: &'static str,
    suffix: Suffix,
    treatment: Treatment,
    meaning: &'static str,
    parse: Parse,
) -> VaultK8sKey {
    VaultK8sKey {
        key,
        suffix,
        treatment,
        meaning,
        parse,
    }
}

/// The row of a key as it is written, without its prefix, and what follows the key of the row. None: vault-k8s does not know the key.
pub(crate) fn find(name: &str) -> Option<(&'static VaultK8sKey, Option<&str>)> {
    let whole = |row: &&VaultK8sKey| row.key == name && matches!(row.suffix, Alone | OptionalName);
    if let Some(row) = KEYS.iter().find(whole) {
        return Some((row, None));
    }
    KEYS.iter().filter(|row| row.suffix != Suffix::None).find_map(|row| {
        let suffix = name.strip_prefix(row.key)?.strip_prefix('-')?;
        (!suffix.is_empty()).then_some((row, Some(suffix)))
    })
}

use Suffix::{Name, None as Alone, OptionalName, Parameter};
use Treatment::{Ignored, Limited, Refused, Translated};

const CACHE: &str =
    "starts a proxy that adds the pod's token to every request: let the program log in itself, or write \"false\"";
const TRUST: &str = "The certificates and names that the agent trusts.";

/// A key whose beginning is another key stands before that other key.
#[rustfmt::skip]
pub(crate) static KEYS: &[VaultK8sKey] = &[
    key(words::INJECT, Alone, Translated, "Whether the pod is injected.",
        |mut value, _| { value.boolean(); }),
    key(words::STATUS, Alone, Translated, "The mark of a pod that is injected. podkey writes it, and decides nothing by it.",
        |_, _| {}),
    key("agent-request-namespace", Alone, Ignored, "The namespace of the request, which the injector writes.",
        |value, draft| value.ignore(draft)),
    key("agent-inject-containers", Alone, Translated, "The containers that get the files, with commas between the names. Init containers always get them.",
        |value, draft| draft.containers = Some(value.written.text.split(',').map(str::to_owned).collect())),
    key("agent-init-first", Alone, Translated, "Whether the injector's init container comes first. podkey's always does.",
        |mut value, _| { value.boolean(); }),
    key("agent-pre-populate", Alone, Translated, "Whether an init container writes the files. Where false, podkey-init still does, but the pod's init containers do not get them.",
        |mut value, draft| draft.pre_populate = value.boolean().unwrap_or(true)),
    key("agent-pre-populate-only", Alone, Translated, "Whether the files are written once, without a sidecar.",
        |mut value, draft| draft.pre_populate_only = value.boolean().unwrap_or_default()),
    key("agent-inject-secret", Name, Limited, "The path of a secret.",
        |value, draft| value.named(draft).secret = Some(value.written)),
    key("agent-inject-template-file", Name, Refused, "A template in a file of the agent's container.",
        |value, draft| value.named(draft).template_file = Some(value.written)),
    key("agent-inject-template", Name, Limited, "The template of a file.",
        |value, draft| value.named(draft).template = Some(value.written)),
    key("agent-inject-default-template", Alone, Translated, "The template of secrets without one: `map` or `json`.",
        |mut value, draft| draft.default_template = value.checked(draft::default_template)),
    key("agent-inject-file", Name, Translated, "The name of a file below the mount path.",
        |value, draft| value.named(draft).file = Some(value.written)),
    key("agent-inject-perms", Name, Translated, "The permissions of a file.",
        |value, draft| value.named(draft).perms = Some(value.written)),
    key("agent-inject-command", Name, Limited, "A command that the agent runs after a file changed. podkey does those that mean a signal, a touch or a local POST.",
        |value, draft| value.named(draft).command = Some(value.written)),
    key("agent-template-left-delim", Name, Translated, "What stands for `{{` in a template.",
        |value, draft| value.named(draft).left = Some(value.written)),
    key("agent-template-right-delim", Name, Translated, "What stands for `}}` in a template.",
        |value, draft| value.named(draft).right = Some(value.written)),
    key("error-on-missing-key", Name, Translated, "Whether a missing field is an error. Otherwise `<no value>` is printed.",
        |value, draft| value.named(draft).missing = Some(value.written)),
    key("secret-volume-path", OptionalName, Limited, "The directory that the files are mounted at, for all secrets or for one.",
        |value, draft| match value.suffix {
            None => draft.directory = Some(value.written),
            Some(_) => value.named(draft).directory = Some(value.written),
        }),
    key("preserve-secret-case", OptionalName, Translated, "Whether upper case in a NAME stays in the name of the file. A value that is no boolean counts as false.",
        |value, draft| {
            let keep = go::boolean(value.written.text).unwrap_or_default();
            match value.suffix {
                None => draft.keep_case = keep,
                Some(_) => value.named(draft).keep_case = Some(keep),
            }
        }),
    key(words::INJECT_TOKEN, Alone, Limited, "Whether the client token is written to a file, too. Only where the operator allows that.",
        |mut value, draft| if value.boolean() == Some(true) { draft.token = Some(value.written) }),
    key("agent-image", Alone, Refused, "The image of the agent.",
        |value, _| value.refuse("chooses the program that gets the pod's token, which the operator alone does: remove it")),
    key("agent-binary", Alone, Refused, "The program in the image of the agent.",
        |value, _| if value.written.text != "vault" && value.written.text != "bao" {
            value.refuse("chooses the program that gets the pod's token, which the operator alone does: remove it");
        }),
    key("agent-configmap", Alone, Refused, "A ConfigMap with the agent's whole configuration.",
        |value, _| value.refuse("is a configuration of another agent, which podkey does not read: write annotations")),
    key("agent-extra-secret", Alone, Refused, "A Secret that is mounted into the agent's containers.",
        |value, _| value.refuse("mounts a Secret into the agent, and podkey-init mounts nothing of the pod's: remove it")),
    key("agent-copy-volume-mounts", Alone, Refused, "A container whose mounts the agent's containers get, too.",
        |value, _| value.refuse("mounts the pod's volumes into the agent, and podkey-init mounts nothing of the pod's: remove it")),
    key("agent-json-patch", Alone, Refused, "A JSON Patch of the sidecar.", |value, _| value.refuse_patch()),
    key("agent-init-json-patch", Alone, Refused, "A JSON Patch of the init container.", |value, _| value.refuse_patch()),
    key("agent-limits-cpu", Alone, Ignored, "The most CPU of the agent.", quantity),
    key("agent-limits-mem", Alone, Ignored, "The most memory of the agent.", quantity),
    key("agent-limits-ephemeral", Alone, Ignored, "The most storage of the agent.", quantity),
    key("agent-requests-cpu", Alone, Ignored, "The CPU that is set aside for the agent.", quantity),
    key("agent-requests-mem", Alone, Ignored, "The memory that is set aside for the agent.", quantity),
    key("agent-requests-ephemeral", Alone, Ignored, "The storage that is set aside for the agent.", quantity),
    key("agent-run-as-user", Alone, Limited, "The user of the agent, to whom the files belong. Not 0.",
        |mut value, draft| draft.run_as_user = value.checked(draft::user)),
    key("agent-run-as-group", Alone, Ignored, "The group of the agent. podkey's containers have the group of the pod. Not 0.",
        |mut value, draft| if value.checked(draft::user).is_some() { value.ignore(draft) }),
    key("agent-run-as-same-user", Alone, Translated, "Whether the agent runs as the user of the first container.",
        |mut value, draft| draft.run_as_same_user = value.boolean().unwrap_or_default()),
    key("agent-set-security-context", Alone, Ignored, "Whether the agent gets a security context. podkey's containers always do.",
        |value, draft| value.always(true, draft)),
    key("agent-share-process-namespace", Alone, Limited, "Whether the pod's containers see each other's processes. Only where the operator allows that.",
        |mut value, draft| draft.shares_processes = value.boolean()),
    key("agent-service-account-token-volume-name", Alone, Ignored, "The volume with the token for the login. podkey projects a token of its own.",
        |value, draft| if !value.written.text.is_empty() { draft.token_volume = true }),
    key("agent-revoke-on-shutdown", Alone, Ignored, "Whether the token is revoked at the end. podkey always does that.",
        |value, draft| value.always(true, draft)),
    key("agent-revoke-grace", Alone, Ignored, "How many seconds pass before the token is revoked.",
        |mut value, draft| if value.checked(go::unsigned).is_some() { value.ignore(draft) }),
    key("service", Alone, Limited, "The address of the server. It chooses the operator's connection with that address.",
        |mut value, draft| draft.service = value.optional(|text| text.trim().parse().map_err(|why| draft::said(text, &why)))),
    key("namespace", Alone, Limited, "The namespace of Vault Enterprise or OpenBao. It must be a connection's.",
        |mut value, draft| draft.namespace = value.optional(draft::namespace)),
    key("role", Alone, Limited, "The role to log in as.",
        |mut value, draft| draft.role = draft::given(value.checked(draft::role))),
    key("auth-type", Alone, Limited, "The auth method. It must be the connection's.",
        |mut value, draft| draft.method = value.checked(draft::method)),
    key("auth-path", Alone, Limited, "Where the auth method is mounted.",
        |mut value, draft| draft.auth_mount = value.checked(draft::auth_mount)),
    key("auth-config", Parameter, Refused, "A parameter of the login. podkey takes `auth-config-role` only.",
        |mut value, draft| match value.suffix {
            Some("role") => draft.config_role = draft::given(value.checked(draft::role)),
            _ => value.problem("changes how the pod logs in, which the operator alone does: remove it"),
        }),
    key("auth-min-backoff", Alone, Ignored, "The shortest pause between two tries to log in.",
        |value, draft| value.check_and_ignore(draft, go::duration)),
    key("auth-max-backoff", Alone, Ignored, "The longest pause between two tries to log in.",
        |value, draft| value.check_and_ignore(draft, go::duration)),
    key("agent-auto-auth-exit-on-err", Alone, Translated, "Whether a login that fails ends the agent. podkey ends when the connection's budget is used up.",
        |value, draft| value.always(true, draft)),
    key("tls-skip-verify", Alone, Ignored, "Whether the server's certificate is not verified. podkey always verifies it.",
        |value, draft| value.always(false, draft)),
    key("tls-secret", Alone, Ignored, TRUST, |value, draft| value.check_and_ignore(draft, Ok)),
    key("ca-cert", Alone, Ignored, TRUST, |value, draft| value.check_and_ignore(draft, Ok)),
    key("ca-key", Alone, Ignored, TRUST, |value, draft| value.check_and_ignore(draft, Ok)),
    key("client-cert", Alone, Refused, "The certificate that the agent shows to the server.",
        |value, _| value.refuse("is a certificate for the server, and podkey shows none: remove it")),
    key("client-key", Alone, Refused, "The key of the certificate that the agent shows to the server.",
        |value, _| value.refuse("is the key of a certificate for the server, and podkey shows none: remove it")),
    key("tls-server-name", Alone, Ignored, TRUST, |value, draft| value.check_and_ignore(draft, Ok)),
    key("proxy-address", Alone, Refused, "The proxy between agent and server.",
        |value, _| value.refuse("would send the pod's token through a proxy of the author's: remove it")),
    key("client-max-retries", Alone, Ignored, "How often a request is tried again.",
        |value, draft| value.check_and_ignore(draft, Ok)),
    key("client-timeout", Alone, Ignored, "How long a request may take.", |value, draft| value.check_and_ignore(draft, Ok)),
    key("go-max-procs", Alone, Ignored, "The threads of the agent.", |value, draft| value.check_and_ignore(draft, Ok)),
    key("log-level", Alone, Ignored, "How much the agent logs.", |value, draft| value.check_and_ignore(draft, Ok)),
    key("log-format", Alone, Ignored, "The form of the agent's log.", |value, draft| value.check_and_ignore(draft, Ok)),
    key("agent-cache-enable", Alone, Refused, "Whether the agent offers a proxy that adds the token to requests.",
        |mut value, _| if value.boolean() == Some(true) { value.problem(CACHE) }),
    key("agent-cache-use-auto-auth-token", Alone, Ignored, "Whether the agent's proxy adds the token.",
        |value, draft| value.check_and_ignore(draft, Ok)),
    key("agent-cache-listener-port", Alone, Ignored, "The port of the agent's proxy.",
        |value, draft| value.check_and_ignore(draft, Ok)),
    key("agent-cache-exit-on-err", Alone, Ignored, "Whether a broken cache ends the agent.",
        |value, draft| value.always(false, draft)),
    key("agent-enable-quit", Alone, Ignored, "Whether a request ends the agent. podkey-sidecar ends with the pod's containers.",
        |value, draft| value.always(false, draft)),
    key("agent-disable-idle-connections", Alone, Ignored, "Which parts of the agent keep no idle connection.",
        |value, draft| value.check_and_ignore(draft, Ok)),
    key("agent-disable-keep-alives", Alone, Ignored, "Which parts of the agent open a connection for each request.",
        |value, draft| value.check_and_ignore(draft, Ok)),
    key("template-max-connections-per-host", Alone, Ignored, "The most connections of the agent.",
        |value, draft| value.check_and_ignore(draft, go::integer)),
    key("template-config-exit-on-retry-failure", Alone, Translated, "Whether a template that fails ends the agent. Where false, podkey-init still ends when the budget is used up.",
        |value, draft| value.always(true, draft)),
    key("template-static-secret-render-interval", Alone, Translated, "How often secrets without a lease are read again.",
        |mut value, draft| draft.interval = value.optional(draft::interval)),
    key("template-lease-renewal-threshold", Alone, Ignored, "After which part of a lease a secret is read again. podkey: two thirds.",
        |mut value, draft| if value.checked(go::float).is_some() { value.ignore(draft) }),
    key("agent-telemetry", Parameter, Ignored, "A setting of the agent's metrics.", |value, draft| value.check_and_ignore(draft, Ok)),
];

/// A quantity, which is checked and has no effect: podkey's containers have the operator's resources.
fn quantity<'a>(value: TheirValue<'a, '_>, draft: &mut VaultK8sDraft<'a>) {
    let shown = value.quoted();
    value.check_and_ignore(draft, |text| {
        text.parse::<Quantity>().map_err(|why| format!("{shown} {why}"))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_each_of_the_75_keys_once() {
        let mut keys: Vec<_> = KEYS.iter().map(|row| row.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!((KEYS.len(), keys.len()), (75, 75));
    }

    #[test]
    fn a_key_is_found_with_its_suffix_as_vault_k8s_finds_it() {
        let found = |name| find(name).map(|(row, suffix)| (row.key, suffix));
        assert_eq!(found("role"), Some(("role", None)));
        assert_eq!(
            found("agent-inject-secret-DB"),
            Some(("agent-inject-secret", Some("DB")))
        );
        assert_eq!(
            found("agent-inject-template-file-x"),
            Some(("agent-inject-template-file", Some("x")))
        );
        assert_eq!(
            found("agent-inject-template-x"),
            Some(("agent-inject-template", Some("x")))
        );
        assert_eq!(found("secret-volume-path"), Some(("secret-volume-path", None)));
        assert_eq!(found("secret-volume-path-x"), Some(("secret-volume-path", Some("x"))));
        for unknown in [
            "agent-inject-secret",
            "agent-inject-secret-",
            "agent-inject-TEMPLATE-x",
            "Role",
            "role-x",
            "agent-prepopulate-only",
        ] {
            assert_eq!(found(unknown), None, "{unknown}");
        }
    }
}
