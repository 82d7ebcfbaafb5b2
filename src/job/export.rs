//! Variables as the runner reads them from the file `GITHUB_ENV`: the lines `NAME<<DELIMITER`, the value, `DELIMITER`. The delimiter
//! is random and does not occur in the value, so a value cannot contain its own end and set another variable (CVE-2022-35954).

use zeroize::Zeroizing;

use crate::plan::EnvName;
use crate::secret::Secret;

/// The longest value in bytes. Linux accepts a variable of 128 KiB, including its name. A longer variable would make every later step
/// fail with "Argument list too long".
pub(crate) const MAX_VALUE_BYTES: usize = 64 * 1024;
/// The limit for all variables together, in bytes: arguments and environment share a quarter of the stack's limit, usually 2 MiB.
pub(crate) const MAX_ALL_BYTES: usize = 1024 * 1024;

/// Why a variable cannot be exported, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExportError {
    /// The runner reserves the variable for itself.
    #[error("the variable {0} is the runner's own: give it another name with \"| NAME\"")]
    Reserved(EnvName),
    /// The value has a NUL byte.
    #[error("the value of {0} has a NUL byte, which no variable can hold: deliver it with podkey.dev/files")]
    Nul(EnvName),
    /// The value is not UTF-8.
    #[error("the value of {0} is not UTF-8 text, and the runner would change it: deliver it with podkey.dev/files")]
    NotText(EnvName),
    /// The value has more than [`MAX_VALUE_BYTES`].
    #[error(
        "the value of {0} has {1} bytes, but a variable can have at most {MAX_VALUE_BYTES}: deliver it with podkey.dev/files"
    )]
    TooLong(EnvName, usize),
    /// All variables together have more than [`MAX_ALL_BYTES`].
    #[error(
        "with {0} all variables together have more than 1 MiB, and no later step could start: deliver some with podkey.dev/files"
    )]
    TooMuch(EnvName),
}

/// The text to append to the file. The caller appends the text after all variables were checked.
pub(crate) struct EnvFile<R> {
    random: R,
    bytes: usize,
    text: Zeroizing<Vec<u8>>,
}

impl<R: FnMut() -> u128> EnvFile<R> {
    /// A text without variables. `random` returns numbers that nobody can predict.
    pub(crate) fn new(random: R) -> Self {
        Self {
            random,
            bytes: 0,
            text: Zeroizing::default(),
        }
    }

    /// Adds a variable. If a name occurs twice, the runner uses the later value.
    pub(crate) fn push(&mut self, name: &EnvName, value: &Secret) -> Result<(), ExportError> {
        let bytes = value.expose();
        if name.is_the_runners() {
            return Err(ExportError::Reserved(name.clone()));
        }
        if bytes.len() > MAX_VALUE_BYTES {
            return Err(ExportError::TooLong(name.clone(), bytes.len()));
        }
        if bytes.contains(&0) {
            return Err(ExportError::Nul(name.clone()));
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(ExportError::NotText(name.clone()));
        };
        self.bytes += name.as_str().len() + bytes.len() + 2;
        if self.bytes > MAX_ALL_BYTES {
            return Err(ExportError::TooMuch(name.clone()));
        }
        // The delimiter ends with the number of the try, so the loop ends even if all random numbers are equal.
        let mut tries = 0_u32;
        let delimiter = loop {
            let delimiter = format!("podkey_{:032x}_{tries}", (self.random)());
            if !text.contains(&delimiter) && !name.as_str().contains(&delimiter) {
                break delimiter;
            }
            tries += 1;
        };
        for part in [name.as_str(), "<<", &delimiter, "\n", text, "\n", &delimiter, "\n"] {
            self.text.extend_from_slice(part.as_bytes());
        }
        Ok(())
    }

    /// The text to append. Empty if no variable was added.
    pub(crate) fn into_text(self) -> Secret {
        self.text.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads the text as the runner does (`EnvFileKeyValuePairs`), with the line ends of Linux.
    fn read(text: &str) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        let mut rest = text;
        while let Some((line, after)) = rest.split_once('\n') {
            rest = after;
            if line.is_empty() {
                continue;
            }
            let equals = line.find('=').unwrap_or(usize::MAX);
            let heredoc = line.find("<<").unwrap_or(usize::MAX);
            assert!(heredoc < equals, "{line:?}");
            let (key, delimiter) = line.split_once("<<").unwrap();
            let mut value: Vec<&str> = Vec::new();
            loop {
                let (line, after) = rest.split_once('\n').expect("the delimiter");
                rest = after;
                if line == delimiter {
                    break;
                }
                value.push(line);
            }
            pairs.push((key.to_owned(), value.join("\n")));
        }
        assert_eq!(rest, "");
        pairs
    }

    fn name(text: &str) -> EnvName {
        text.parse().unwrap()
    }

    fn written(pairs: &[(&str, &str)]) -> String {
        let mut next = 0;
        let mut file = EnvFile::new(|| {
            next += 1;
            next
        });
        for (key, value) in pairs {
            file.push(&name(key), &value.as_bytes().to_vec().into()).unwrap();
        }
        String::from_utf8(file.into_text().expose().to_vec()).unwrap()
    }

    #[test]
    fn the_runner_reads_the_values_that_were_written() {
        assert_eq!(
            written(&[("A", "x\n")]),
            "A<<podkey_00000000000000000000000000000001_0\nx\n\npodkey_00000000000000000000000000000001_0\n"
        );
        // The value contains the first delimiter.
        let nasty = "podkey_00000000000000000000000000000001_0\nEVIL=1\nEVIL<<X\nX\n";
        let text = written(&[("A", nasty), ("1NUM", ""), ("B", "\r\n%0A::add-mask::x\r")]);
        assert!(
            text.contains("A<<podkey_00000000000000000000000000000002_1\n"),
            "{text}"
        );
        let pairs = read(&text);
        assert_eq!(pairs.len(), 3);
        assert_eq!(pairs[0], ("A".to_owned(), nasty.to_owned()));
        assert_eq!(pairs[2].1, "\r\n%0A::add-mask::x\r");
    }

    #[test]
    fn a_value_that_would_break_a_job_is_refused_with_a_remedy() {
        let refused = |key: &str, value: Vec<u8>| {
            let mut file = EnvFile::new(|| 1);
            let error = file.push(&name(key), &value.into()).unwrap_err();
            assert!(file.into_text().is_empty());
            error.to_string()
        };
        assert!(refused("GITHUB_TOKEN", b"canary".to_vec()).contains("the runner's own"));
        assert!(refused("node_options", b"canary".to_vec()).contains("the runner's own"));
        assert!(refused("A", b"can\0ary".to_vec()).contains("NUL byte"));
        assert!(refused("A", b"can\xffary".to_vec()).contains("not UTF-8 text"));
        assert!(refused("A", vec![b'x'; MAX_VALUE_BYTES + 1]).contains("65537 bytes"));
        let mut file = EnvFile::new(|| 1);
        let value: Secret = vec![b'x'; MAX_VALUE_BYTES].into();
        let error = (0..17).find_map(|_| file.push(&name("A"), &value).err());
        assert_eq!(error, Some(ExportError::TooMuch(name("A"))));
    }

    proptest! {
        #[test]
        fn the_runner_reads_every_value_unchanged(values in proptest::collection::vec("([a-z=<\r\n]|podkey_|EOF){0,20}", 0..5)) {
            let mut random = 0;
            let mut file = EnvFile::new(|| { random += 1; random });
            for (index, value) in values.iter().enumerate() {
                file.push(&name(&format!("N{index}")), &value.clone().into_bytes().into()).unwrap();
            }
            let text = String::from_utf8(file.into_text().expose().to_vec()).unwrap();
            let read: Vec<String> = read(&text).into_iter().map(|(_, value)| value).collect();
            prop_assert_eq!(read, values);
        }
    }
}
