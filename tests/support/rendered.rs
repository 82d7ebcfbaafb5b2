//! The file that podkey makes of a secret.

use podkey::plan::{Decode, Format, Mode, PlannedFile, WhenGone};
use podkey::render::{Fields, render};

/// The file of a secret, or of one of its fields. None: the format cannot hold the value.
pub fn rendered(secret: &str, key: Option<&str>, format: Format) -> Option<Vec<u8>> {
    let file: PlannedFile = PlannedFile {
        secret: "kv/data/web".parse().unwrap(),
        version: None,
        data: None,
        key: key.map(str::to_owned),
        decode: Decode::None,
        format,
        file: "web".parse().unwrap(),
        mode: Mode::OWNER,
        when_gone: WhenGone::Keep,
    };
    let content = render(&file, &Fields::parse(secret).unwrap()).ok()?;
    Some(content.expose().to_vec())
}
