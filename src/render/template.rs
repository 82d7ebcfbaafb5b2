//! From a template and the answers of the server to the bytes of a file.

use std::rc::Rc;

use super::RenderError;
use crate::plan::TemplateContent;
use crate::secret::Secret;
use crate::template::{Bounds, SecretAnswer, SecretCall};

/// A file that a template has made.
pub(crate) struct RenderedTemplate {
    pub(crate) bytes: Secret,
    /// Every value of a secret that the template printed, and every text that a function made of one.
    pub(crate) printed: Vec<Secret>,
}

/// Renders a template. `answers` has the body of the server's answer to each request of the template, in their order. None: there
/// is no such secret, and that is no failure.
pub(crate) fn render_template<P>(
    template: &TemplateContent<P>,
    answers: &[Option<&[u8]>],
) -> Result<RenderedTemplate, RenderError> {
    let secrets = parsed(answers)?;
    let calls = template.parsed().calls();
    let lookup = |call: &SecretCall| {
        let index = calls.iter().position(|known| known == call)?;
        secrets.get(index)?.clone()
    };
    let output = template
        .parsed()
        .render(&lookup, template.missing(), Bounds::default())?;
    Ok(RenderedTemplate {
        bytes: output.bytes.into(),
        printed: output.secrets.into_iter().map(Secret::from).collect(),
    })
}

/// The most JSON values of all secrets of one template: they are in memory together.
const MAX_VALUES: usize = 250_000;

/// The answers, each parsed once.
fn parsed(answers: &[Option<&[u8]>]) -> Result<Vec<Option<Rc<SecretAnswer>>>, RenderError> {
    let mut parsed: Vec<Option<Rc<SecretAnswer>>> = Vec::with_capacity(answers.len());
    let mut values = 0;
    for answer in answers {
        let same = answers
            .iter()
            .take(parsed.len())
            .position(|earlier| is_same(earlier, answer));
        if let Some(earlier) = same.and_then(|index| parsed.get(index)) {
            parsed.push(earlier.clone());
            continue;
        }
        let secret = answer.map(SecretAnswer::from_answer).transpose();
        let secret = secret.map_err(|_| RenderError::Plan("an answer of the server is not a JSON object"))?;
        values += secret.as_ref().map_or(0, SecretAnswer::size);
        if values > MAX_VALUES {
            return Err(RenderError::TooManyValues(MAX_VALUES));
        }
        parsed.push(secret.map(Rc::new));
    }
    Ok(parsed)
}

/// Whether two answers are one buffer: calls with equal requests have one answer.
fn is_same(a: &Option<&[u8]>, b: &Option<&[u8]>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if std::ptr::eq(*a, *b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::MissingField;

    fn template(calls: usize) -> TemplateContent {
        let text = "{{ with secret \"kv/data/a\" }}{{ .Data.k }}{{ end }}".repeat(calls);
        TemplateContent::parse(&text, None, MissingField::Fail, |path| {
            path.parse().map_err(|why: crate::plan::Invalid| why.to_string())
        })
        .unwrap()
    }

    #[test]
    fn an_answer_that_many_calls_share_counts_once() {
        let answer = format!("{{\"data\":{{\"k\":\"v\",\"list\":[{}1]}}}}", "1,".repeat(60_000));
        let answers = vec![Some(answer.as_bytes()); 64];
        assert_eq!(
            render_template(&template(64), &answers).unwrap().bytes.expose(),
            "v".repeat(64).as_bytes()
        );
        let copies: Vec<String> = vec![answer; 5];
        let answers: Vec<_> = copies.iter().map(|copy| Some(copy.as_bytes())).collect();
        let error = render_template(&template(5), &answers).map(drop).unwrap_err();
        assert_eq!(error, RenderError::TooManyValues(MAX_VALUES));
    }
}
