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
    let mut secrets = Vec::with_capacity(answers.len());
    for answer in answers {
        let secret = answer.map(SecretAnswer::from_answer).transpose();
        secrets.push(
            secret
                .map_err(|_| RenderError::Plan("an answer of the server is not a JSON object"))?
                .map(Rc::new),
        );
    }
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
