//! The kubelet reads back what podkey writes, and podkey refuses what the kubelet would read otherwise. The table beside this file is
//! what the parser of Kubernetes 1.37.1 makes of files, run in Go; the parser below is a port, held to that table.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// A file, a name, and what the kubelet's parser returns. None: an error.
#[derive(Deserialize)]
struct Row {
    file: String,
    key: String,
    value: Option<String>,
}

fn table() -> Vec<Row> {
    serde_json::from_str(include_str!("read_by_kubernetes_1.37.1.json")).unwrap()
}

/// `bufio.ScanLines`: lines without their line feed, and without one carriage return before it.
fn lines(file: &str) -> impl Iterator<Item = &str> {
    let file = file.strip_suffix('\n').unwrap_or(file);
    let lines = (!file.is_empty()).then(|| file.split('\n'));
    lines
        .into_iter()
        .flatten()
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
}

/// `ParseEnv` of `pkg/kubelet/util/env`. A variable that is missing is empty, as there.
fn parse_env(file: &str, key: &str) -> Result<String, ()> {
    const BLANK: [char; 2] = [' ', '\t'];
    let mut lines = lines(file);
    while let Some(line) = lines.next() {
        let line = line.trim_start_matches(BLANK);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, written) = line.split_once('=').ok_or(())?;
        if name.is_empty() || name.ends_with(BLANK) {
            return Err(());
        }
        if written.starts_with(BLANK) {
            if name == key {
                return Ok(String::new());
            }
            continue;
        }
        let mut rest = written.strip_prefix('\'').ok_or(())?;
        let mut value = String::new();
        let behind = loop {
            match rest.split_once('\'') {
                Some((last, behind)) => {
                    value.push_str(last);
                    break behind;
                }
                None => {
                    value.push_str(rest);
                    value.push('\n');
                    rest = lines.next().ok_or(())?;
                }
            }
        };
        let behind = behind.trim_start_matches(BLANK);
        if !behind.is_empty() && !behind.starts_with('#') {
            return Err(());
        }
        if name == key {
            return Ok(value);
        }
    }
    Ok(String::new())
}

/// The file without any check of the value.
fn unchecked(name: &str, value: &str) -> String {
    format!("{name}='{value}'\n")
}

fn secret(value: &str) -> Secret {
    Secret::from(value.as_bytes().to_vec())
}

fn rendered(variables: &[(&str, &str)]) -> Result<String, KubeletEnvError> {
    let secrets: Vec<_> = variables.iter().map(|(name, value)| (*name, secret(value))).collect();
    let file = render(secrets.iter().map(|(name, value)| (*name, value))).map_err(|(_, error)| error)?;
    Ok(String::from_utf8(file.expose().to_vec()).unwrap())
}

#[test]
fn the_port_of_the_parser_reads_as_kubernetes_reads() {
    let rows = table();
    assert!(rows.len() > 40, "{}", rows.len());
    for Row { file, key, value } in rows {
        assert_eq!(parse_env(&file, &key).ok(), value, "{key} of {file:?}");
    }
}

/// Each value of the table that podkey writes is read back by Kubernetes' own parser, and no value that it reads otherwise is written.
#[test]
fn kubernetes_reads_back_each_value_that_is_written_and_no_other() {
    let mut written = 0;
    for Row { file, key, value } in table().into_iter().filter(|row| row.key == "NAME") {
        let Some(meant) = file.strip_prefix("NAME='").and_then(|rest| rest.strip_suffix("'\n")) else {
            continue;
        };
        let is_read_back = value.as_deref() == Some(meant) && !meant.is_empty();
        assert_eq!(check(&secret(meant)).is_ok(), is_read_back, "{meant:?}");
        if is_read_back {
            assert_eq!(rendered(&[(&key, meant)]).unwrap(), file);
            written += 1;
        }
    }
    assert!(written > 10, "{written}");
}

#[test]
fn values_that_no_variable_can_hold_are_refused_and_no_message_shows_them() {
    for (value, expected) in [
        (&b""[..], KubeletEnvError::Empty),
        (b"can'ary", KubeletEnvError::Apostrophe),
        (b"canary\r\n", KubeletEnvError::CarriageReturn),
        (b"canary\0", KubeletEnvError::Nul),
        (b"canary\xff", KubeletEnvError::NotText),
        (&[b'x'; MAX_VALUE + 1], KubeletEnvError::TooLong(MAX_VALUE + 1)),
    ] {
        let error = check(&Secret::from(value.to_vec())).unwrap_err();
        assert_eq!(error, expected);
        assert!(!error.to_string().contains("canary"), "{error}");
    }
    assert_eq!(check(&Secret::from(vec![b'x'; MAX_VALUE])), Ok(()));
}

#[test]
fn a_file_that_is_too_long_for_the_kubelet_is_refused_with_the_name_of_a_variable() {
    let value = secret(&"x".repeat(MAX_VALUE));
    let (name, error) = render([("A", &value), ("B", &value)]).unwrap_err();
    assert_eq!((name, error), ("B", KubeletEnvError::FileTooLong(2 * MAX_VALUE + 10)));
    let rest = secret(&"x".repeat(MAX_VALUE - 10));
    assert_eq!(render([("A", &value), ("B", &rest)]).unwrap().len(), MAX_FILE);
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(values in prop::collection::vec("[a-c'#=$\\\\ \t\r\n\u{e4}\"]{0,12}", 0..6)) {
        let names = ["A", "B-1", "c.d", "=", "A1", "É"];
        let fit = names.iter().zip(&values).filter(|(_, value)| check(&secret(value)).is_ok());
        let variables: Vec<_> = fit.filter(|(name, _)| **name != "=").map(|(name, value)| (*name, value.as_str())).collect();
        let file = rendered(&variables).unwrap();
        for (name, value) in &variables {
            prop_assert_eq!(parse_env(&file, name), Ok((*value).to_owned()));
        }
        prop_assert_eq!(parse_env(&file, "OTHER"), Ok(String::new()));
    }

    /// A value is refused only where the kubelet would set another value, none, or fail.
    #[test]
    fn only_values_that_the_kubelet_changes_are_refused(value in "[ab'# =\r\n]{0,8}") {
        let read = parse_env(&unchecked("NAME", &value), "NAME");
        let is_read_back = !value.is_empty() && read.as_deref() == Ok(value.as_str());
        prop_assert_eq!(check(&secret(&value)).is_ok(), is_read_back);
    }
}
