//! The user's way to the server: the variables of the server's own command line, and the token that its `login` left.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::wire::shown;
use crate::plan::Address;

/// The longest token and the longest list of authorities that the doctor reads, in bytes.
const MAX_TOKEN_BYTES: u64 = 64 * 1024;
const MAX_CA_BYTES: u64 = 1024 * 1024;

/// What the variables say. `BAO_NAME` comes before `VAULT_NAME`, as for OpenBao's command line.
pub(super) struct Environment {
    /// None: the plan's own address is used.
    pub(super) address: Option<Address>,
    /// Why the variable is not an address: a whole sentence.
    pub(super) unusable_address: Option<String>,
    /// The user's token.
    pub(super) token: Option<Zeroizing<String>>,
    /// PEM certificates of the authorities that the user trusts.
    pub(super) ca: Option<String>,
    /// The name in the server's certificate, where it is not that of the address.
    pub(super) server_name: Option<String>,
    /// The namespace that the user's commands have without `-namespace`.
    pub(super) namespace: Option<String>,
}

impl Environment {
    pub(super) fn read() -> Self {
        Self::of(
            &|name| std::env::var(name).ok(),
            std::env::home_dir().map(|home| home.join(".vault-token")),
        )
    }

    fn of(variable: &dyn Fn(&str) -> Option<String>, token_file: Option<PathBuf>) -> Self {
        let given = |name: &str| {
            ["BAO", "VAULT"]
                .iter()
                .find_map(|prefix| variable(&format!("{prefix}_{name}")).filter(|value| !value.is_empty()))
        };
        let address = given("ADDR");
        let parsed = address
            .as_deref()
            .and_then(|text| with_scheme_in_lower_case(text.trim()).parse().ok());
        let token = given("TOKEN").or_else(|| text_of(&token_file?, MAX_TOKEN_BYTES));
        let token = token
            .map(Zeroizing::new)
            .map(|token| Zeroizing::new(token.trim().to_owned()));
        Self {
            unusable_address: address.filter(|_| parsed.is_none()).map(|text| unusable(&text)),
            address: parsed,
            // Another text can be no token, and could be no header.
            token: token.filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())),
            ca: given("CACERT").and_then(|file| text_of(&PathBuf::from(file), MAX_CA_BYTES)),
            server_name: given("TLS_SERVER_NAME"),
            namespace: given("NAMESPACE").map(|namespace| namespace.trim_matches('/').to_owned()),
        }
    }
}

fn with_scheme_in_lower_case(text: &str) -> String {
    match text.split_once("://") {
        Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()),
        None => text.to_owned(),
    }
}

fn unusable(text: &str) -> String {
    let text = shown(text);
    match text.contains("://") {
        true => format!(
            "VAULT_ADDR (or BAO_ADDR) is {text}, which is not an address such as https://vault.example.com:8200"
        ),
        false => format!("VAULT_ADDR (or BAO_ADDR) is {text}, which does not say http or https: write https://{text}"),
    }
}

/// The text of a file that is not larger. None: there is no such file.
fn text_of(file: &PathBuf, max_bytes: u64) -> Option<String> {
    let metadata = std::fs::metadata(file).ok()?;
    (metadata.is_file() && metadata.len() <= max_bytes)
        .then(|| std::fs::read_to_string(file).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openbaos_variables_come_first_and_an_empty_one_does_not_count() {
        let of = |set: &[(&str, &str)]| {
            let set: Vec<(String, String)> = set.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            let variable = move |name: &str| set.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
            Environment::of(&variable, None)
        };
        let both = of(&[
            ("VAULT_TOKEN", "hvs.v"),
            ("BAO_TOKEN", "s.b"),
            ("BAO_ADDR", ""),
            ("VAULT_ADDR", "https://v:8200/"),
        ]);
        assert_eq!(both.token.unwrap().as_str(), "s.b");
        assert_eq!(both.address.unwrap().to_string(), "https://v:8200");
        let bad = of(&[("VAULT_ADDR", "vault:8200"), ("VAULT_TOKEN", "a\nb")]);
        assert!(bad.unusable_address.unwrap().ends_with("write https://vault:8200"));
        assert!(bad.address.is_none() && bad.token.is_none());
        let loud = of(&[("BAO_ADDR", "HTTPS://vault:8200"), ("VAULT_TLS_SERVER_NAME", "v.test")]);
        assert_eq!(loud.address.unwrap().to_string(), "https://vault:8200");
        assert_eq!(loud.server_name.as_deref(), Some("v.test"));
    }
}
