//! The pod's service-account token, which the kubelet writes into a file and replaces before it expires.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::error::{VaultError, VaultErrorKind};
use crate::http::{Jwt, JwtLifetime, MAX_JWT};

/// Whether the token in this file expires later than a token of this lifetime: the kubelet has replaced the file since.
pub(crate) fn is_later(file: &Path, than: JwtLifetime) -> bool {
    let lifetime = read(file).ok().and_then(|token| token.lifetime());
    lifetime.is_some_and(|lifetime| lifetime.exp > than.exp)
}

/// Reads the token in this file.
pub(super) fn read(file: &Path) -> Result<Jwt, VaultError> {
    let shown = file.display();
    let error = |message: String| {
        VaultError::new(
            VaultErrorKind::Setup,
            message,
            "is the volume podkey-token mounted in this container, with a serviceAccountToken projection that this user may read?",
        )
    };
    let mut bytes = read_at_most(file, MAX_JWT).map_err(|io| match io.kind() {
        std::io::ErrorKind::NotFound => error(format!("there is no service-account token at {shown}")),
        _ => error(format!("the service-account token {shown} cannot be read: {io}")),
    })?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(error(format!("the service-account token {shown} is empty")));
    }
    if bytes.len() > MAX_JWT {
        let limit = crate::http::size(MAX_JWT);
        return Err(error(format!(
            "the service-account token {shown} is longer than {limit}"
        )));
    }
    let length = bytes.trim_ascii_end().len();
    bytes.truncate(length);
    if let Some(at) = bytes.iter().position(|b| !b.is_ascii_graphic()) {
        return Err(error(format!(
            "the service-account token {shown} is not a token: byte {} is not a character of a token",
            at + 1
        )));
    }
    Jwt::new(bytes).ok_or_else(|| error(format!("the service-account token {shown} is not a token")))
}

/// Reads a regular file. Reads one byte more than the limit, so that the caller sees a longer file.
fn read_at_most(file: &Path, limit: usize) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(2048));
    // Without NONBLOCK, a pipe in place of the file would block the run past its budget.
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(file)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    #[test]
    fn only_a_file_with_a_later_token_is_worth_another_login() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let than = JwtLifetime { exp: 1600, iat: None };
        assert!(!is_later(&file, than), "no file");
        for (payload, later) in [
            (r#"{"exp":1600}"#, false),
            (r#"{"exp":1599}"#, false),
            (r#"{"exp":1601}"#, true),
            ("{}", false),
        ] {
            let payload_text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(payload);
            std::fs::write(&file, format!("e30.{payload_text}.canary")).unwrap();
            assert_eq!(is_later(&file, than), later, "{payload}");
        }
        std::fs::write(&file, "no token at all").unwrap();
        assert!(!is_later(&file, than));
    }
}
