//! The operator's config.

use std::path::Path;

use super::input;
use crate::inject::{Config, Pod, decide};

/// A pod that asks for something of each kind.
const POD: &str = r#"{"metadata":{"annotations":{"podkey.dev/role":"web","podkey.dev/files":"- {secret: kv/data/a, key: k, file: a}","podkey.dev/env":"kv/data/a k | A"}},"spec":{"containers":[{"name":"web","command":["/app"]}]}}"#;

/// The first record is the config, the second the text of the CA files that the config names. Laws: a message is not empty; a config
/// that parses decides about a pod without a panic.
pub fn config(bytes: &[u8]) {
    let Some(text) = input::text(bytes) else { return };
    let (written, authorities) = input::first_record(text);
    let read_ca = |_: &Path| match authorities {
        "" => Err("is not there".to_owned()),
        authorities => Ok(authorities.to_owned()),
    };
    match Config::parse(written, read_ca) {
        Ok(config) => {
            config.warnings().for_each(|warning| input::insist_on_a_line(&warning));
            if let Ok(pod) = Pod::parse(POD) {
                decide(&pod, "ns", &config);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
