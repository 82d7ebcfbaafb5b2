//! Templates: at admission, and with the secrets that they read.

use serde_json::Value;

use super::input;
use crate::plan::{ApiPath, Invalid, InvalidTemplate, PathTemplate, TemplateContent};
use crate::render::render_template as render;
use crate::template::{Bounds, MissingField};

/// A shorter text may stand in a file or in a message by chance.
const LONG_TEXT: usize = 12;

/// The first record is a template, as the webhook reads it; the others are the delimiters of the author. Laws: an error has a place in the text, and is one line; the same text makes the
/// same requests.
pub fn template(bytes: &[u8]) {
    let Some(text) = input::text(bytes) else { return };
    let mut records = text.split(input::SEPARATOR);
    let written = records.next().unwrap_or_default();
    let of_pods = parsed::<ApiPath>(written, None);
    let of_jobs = parsed::<PathTemplate>(written, None);
    if let (Some(one), Some(two)) = (&of_pods, &of_jobs) {
        assert_eq!(one.requests().len(), two.requests().len());
    }
    let [left, right] = [records.next(), records.next()];
    let delims = [left.unwrap_or("[["), right.unwrap_or("]]")];
    parsed::<ApiPath>(written, Some(delims.map(str::to_owned)));
}

/// The first record is a template, the others are the bodies of the server's answers, in the order of the template's calls. Laws: the
/// file is bounded; no error has a value of a secret; each long value of a secret in the file is among the printed values, which the
/// job's log hides.
pub fn render_template(bytes: &[u8]) {
    let Some(text) = input::text(bytes) else { return };
    let mut records = text.split(input::SEPARATOR);
    let written = records.next().unwrap_or_default();
    let Some(template) = parsed::<ApiPath>(written, None) else {
        return;
    };
    let answers: Vec<&str> = records.collect();
    // A call without an answer of its own gets the last one: calls may be many.
    let answer = |index: usize| {
        answers
            .get(index)
            .or_else(|| answers.last())
            .filter(|answer| !answer.is_empty())
    };
    let bodies: Vec<Option<&[u8]>> = (0..template.requests().len())
        .map(|index| answer(index).map(|body| body.as_bytes()))
        .collect();
    let values = secret_texts(written, &answers);
    match render(&template, &bodies) {
        Ok(file) => {
            assert!(file.bytes.len() <= Bounds::default().output);
            let file_text = String::from_utf8_lossy(file.bytes.expose());
            for value in values.iter().filter(|value| file_text.contains(value.as_str())) {
                let is_hidden = file.printed.iter().any(|printed| {
                    let printed = String::from_utf8_lossy(printed.expose());
                    printed.contains(value.as_str())
                });
                assert!(is_hidden, "{value:?} is in the file, and not among the printed values");
            }
        }
        Err(error) => {
            let message = error.to_string();
            input::insist_on_a_line(&message);
            for value in &values {
                assert!(
                    !message.contains(value.as_str()),
                    "the message has {value:?}: {message}"
                );
            }
        }
    }
}

/// The long texts of the answers that are values, and nothing else: no name, and no part of the template.
fn secret_texts(template: &str, answers: &[&str]) -> Vec<String> {
    let (mut names, mut texts) = (vec![template.to_owned()], Vec::new());
    for answer in answers {
        if let Ok(answer) = serde_json::from_str::<Value>(answer) {
            let data = answer.get("data").cloned().unwrap_or_default();
            collect(&data, &mut names, &mut texts);
        }
    }
    texts.retain(|text| text.len() >= LONG_TEXT && text.chars().all(char::is_alphanumeric));
    texts.retain(|text| !names.iter().any(|name| name.contains(text.as_str())));
    texts
}

fn collect(value: &Value, names: &mut Vec<String>, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, names, texts)),
        Value::Object(members) => {
            for (name, member) in members {
                names.push(name.clone());
                collect(member, names, texts);
            }
        }
        _ => {}
    }
}

fn parsed<P: std::str::FromStr<Err = Invalid>>(text: &str, delims: Option<[String; 2]>) -> Option<TemplateContent<P>> {
    let path = |path: &str| path.parse::<P>().map_err(|why| why.to_string());
    match TemplateContent::parse(text, delims, MissingField::Fail, path) {
        Ok(template) => Some(template),
        Err(error) => {
            input::insist_on_a_line(&error.to_string());
            let (line, column) = match &error {
                InvalidTemplate::Template(error) => (error.line, error.column),
                InvalidTemplate::Request { line, column, .. } => (*line, *column),
            };
            let at = text.split('\n').nth(line.saturating_sub(1));
            let width = at.map_or(0, |line| line.chars().count());
            assert!(at.is_some() && (1..=width + 1).contains(&column), "{error}");
            None
        }
    }
}
