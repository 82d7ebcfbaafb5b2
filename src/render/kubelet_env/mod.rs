//! The file of variables that the kubelet puts into containers (`valueFrom.fileKeyRef`): `NAME='value'` lines in the kubelet's own
//! dialect, which has no escapes. The kubelet must read back exactly the value that was written.
//! <https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/util/env/env_util.go>

use zeroize::Zeroizing;

use crate::secret::Secret;

/// The longest file, in bytes (KEP-3721).
const MAX_FILE: usize = 64 * 1024;
/// The longest value, in bytes (KEP-3721).
const MAX_VALUE: usize = 32 * 1024;

/// Why the kubelet cannot set a variable. Contains no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KubeletEnvError {
    /// The value ends at the first apostrophe.
    #[error("has an apostrophe, which the kubelet's file of variables cannot hold")]
    Apostrophe,
    /// The kubelet drops the carriage return.
    #[error("has a line that ends with a carriage return, which the kubelet would drop")]
    CarriageReturn,
    /// The kubelet takes an empty value for a variable that is not there.
    #[error("is empty, which the kubelet takes for a missing variable")]
    Empty,
    /// No variable can hold a NUL.
    #[error("has a NUL byte, which no variable can hold")]
    Nul,
    /// The kubelet hands variables to the container runtime as text.
    #[error("is not UTF-8, and the kubelet hands variables on as text")]
    NotText,
    /// More than [`MAX_VALUE`].
    #[error("has {0} bytes, and a variable that the kubelet sets has at most {max}", max = MAX_VALUE)]
    TooLong(usize),
    /// All variables together are more than [`MAX_FILE`].
    #[error("and the other variables have {0} bytes together, and the kubelet reads at most {max}", max = MAX_FILE)]
    FileTooLong(usize),
}

/// Refuses a value that the kubelet would not read back as it is.
pub(crate) fn check(value: &Secret) -> Result<(), KubeletEnvError> {
    let bytes = value.expose();
    let reasons = [
        (bytes.is_empty(), KubeletEnvError::Empty),
        (bytes.contains(&b'\''), KubeletEnvError::Apostrophe),
        (
            bytes.windows(2).any(|pair| pair == b"\r\n"),
            KubeletEnvError::CarriageReturn,
        ),
        (bytes.contains(&0), KubeletEnvError::Nul),
        (std::str::from_utf8(bytes).is_err(), KubeletEnvError::NotText),
        (bytes.len() > MAX_VALUE, KubeletEnvError::TooLong(bytes.len())),
    ];
    let mut broken = reasons.into_iter().filter(|(is_broken, _)| *is_broken);
    broken.next().map_or(Ok(()), |(_, reason)| Err(reason))
}

/// The file with these variables. The error has the name of a variable that the file cannot hold.
pub(crate) fn render<'a>(
    variables: impl IntoIterator<Item = (&'a str, &'a Secret)>,
) -> Result<Secret, (&'a str, KubeletEnvError)> {
    let mut file = Zeroizing::new(Vec::with_capacity(MAX_FILE));
    for (name, value) in variables {
        check(value).map_err(|error| (name, error))?;
        let bytes = file.len() + name.len() + value.len() + "=''\n".len();
        if bytes > MAX_FILE {
            return Err((name, KubeletEnvError::FileTooLong(bytes)));
        }
        for part in [name.as_bytes(), b"='", value.expose(), b"'\n"] {
            file.extend_from_slice(part);
        }
    }
    Ok(Secret::from(file))
}

#[cfg(test)]
mod tests;
