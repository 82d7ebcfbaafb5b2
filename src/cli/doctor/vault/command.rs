//! The commands that mend the server's side, for the command line of that server, quoted for `sh`.

use crate::cli::doctor::words::quote;

/// The command line of the server: `bao` or `vault`, in the namespace of the connection.
pub(super) struct ServerCommand {
    /// Whether the server is OpenBao.
    pub(super) is_openbao: bool,
    /// The namespace of the connection.
    pub(super) namespace: Option<String>,
    /// The user's variables name a namespace, and the connection has none.
    pub(super) without_namespace_variable: bool,
}

impl ServerCommand {
    /// `words`: the subcommand, such as `policy write`. `arguments` are quoted.
    pub(super) fn line<A: AsRef<str>>(&self, words: &str, arguments: impl IntoIterator<Item = A>) -> String {
        let mut line = String::new();
        if self.without_namespace_variable {
            line.push_str("env -u VAULT_NAMESPACE -u BAO_NAMESPACE ");
        }
        line.push_str(if self.is_openbao { "bao " } else { "vault " });
        line.push_str(words);
        if let Some(namespace) = &self.namespace {
            line.push_str(" -namespace=");
            line.push_str(&quote(namespace));
        }
        for argument in arguments {
            line.push(' ');
            line.push_str(&quote(argument.as_ref()));
        }
        line
    }

    /// Writes some fields of a role; the server keeps the others. A field is `name=value`; a value that is a JSON object needs a body.
    pub(super) fn write<A: AsRef<str>>(&self, path: &str, fields: impl IntoIterator<Item = A>) -> String {
        let fields: Vec<String> = fields.into_iter().map(|field| field.as_ref().to_owned()).collect();
        if !fields.iter().any(|field| field.contains("={")) {
            return self.line("write", std::iter::once(path.to_owned()).chain(fields));
        }
        let body = fields.iter().filter_map(|field| {
            let (name, value) = field.split_once('=')?;
            let object = value.starts_with('{').then(|| serde_json::from_str(value).ok());
            Some((name.to_owned(), object.flatten().unwrap_or_else(|| value.into())))
        });
        let body: serde_json::Map<String, serde_json::Value> = body.collect();
        let body = serde_json::Value::Object(body).to_string();
        format!("printf %s {} | {}", quote(&body), self.line("write", [path, "-"]))
    }

    /// Adds rules to a policy. `exists`: the policy keeps its other rules.
    pub(super) fn add_to_policy(&self, policy: &str, rules: &[(String, &str)], exists: bool) -> String {
        let rules = rules.iter().map(|(path, capabilities)| {
            let path = path.replace('\\', "\\\\").replace('"', "\\\"");
            quote(&format!("path \"{path}\" {{ capabilities = [{capabilities}] }}"))
        });
        let rules = format!("printf '%s\\n' {}", rules.collect::<Vec<_>>().join(" "));
        let write = self.line("policy write", [policy, "-"]);
        match exists {
            false => format!("{rules} | {write}"),
            true => {
                let read = self.line("policy read", [policy]);
                // Where the policy cannot be read, nothing is written.
                let rules = rules.replacen("'%s\\n'", "'%s\\n' \"$rules\"", 1);
                format!("rules=\"$({read})\" && {rules} | {write}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_becomes_a_command() {
        let command = ServerCommand {
            is_openbao: true,
            namespace: Some("team a".to_owned()),
            without_namespace_variable: false,
        };
        assert_eq!(
            command.write("auth/k/role/x", ["bound_service_account_names=a;reboot", "b=it's"]),
            r"bao write -namespace='team a' auth/k/role/x 'bound_service_account_names=a;reboot' 'b=it'\''s'"
        );
        let rules = [("kv/data/web".to_owned(), r#""read""#)];
        assert_eq!(
            command.add_to_policy("p", &rules, true),
            r#"rules="$(bao policy read -namespace='team a' p)" && printf '%s\n' "$rules" 'path "kv/data/web" { capabilities = ["read"] }' | bao policy write -namespace='team a' p -"#
        );
    }
}
