//! The file that podkey makes of a secret.

use podkey::plan::{Decode, Format, Part, SecretContent, SecretRequest};
use podkey::render::{Fields, render};

/// The file of a secret, or of one of its fields. None: the format cannot hold the value.
pub fn rendered(secret: &str, key: Option<&str>, format: Format) -> Option<Vec<u8>> {
    let part = key.map_or(Part::Whole, |key| Part::Key(key.to_owned()));
    let content: SecretContent = SecretContent {
        request: SecretRequest::read("kv/data/web".parse().unwrap()),
        part,
        decode: Decode::None,
        format,
    };
    let content = render(&content, &Fields::parse(secret).unwrap()).ok()?;
    Some(content.expose().to_vec())
}
