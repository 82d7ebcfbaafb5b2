//! A template in a plan: its text, and the secrets that it reads.

use std::str::FromStr;
use std::sync::Arc;

use super::{ApiPath, Data, Invalid, SecretRequest, Value, invalid};
use crate::template::{MissingField, SecretCall, Template, TemplateError};

/// The text of a template that parses, with one request for each secret that it reads.
#[derive(Clone)]
pub struct TemplateContent<P = ApiPath> {
    text: String,
    delims: Option<[String; 2]>,
    missing: MissingField,
    parsed: Arc<Template>,
    /// In the order of [`Template::calls`].
    requests: Vec<SecretRequest<P>>,
}

/// Why a text is not a template that podkey can deliver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// The template itself: what is wrong, and where.
    #[error("{0}")]
    Template(#[from] TemplateError),
    /// The path or the data of a call: the place of the call, what is written, and why it is not valid.
    #[error("line {line}, column {column}: {written:?} {problem}")]
    Request {
        /// The line of the call, from 1.
        line: usize,
        /// The column of the call, from 1.
        column: usize,
        /// The path.
        written: String,
        /// The end of a sentence that begins with the path.
        problem: String,
    },
}

impl<P> TemplateContent<P> {
    /// Parses the text of a template. `path` parses the path of each secret; its error ends a sentence that begins with the path.
    pub(crate) fn parse(
        text: &str,
        delims: Option<[String; 2]>,
        missing: MissingField,
        path: impl Fn(&str) -> Result<P, String>,
    ) -> Result<Self, InvalidTemplate> {
        let (left, right) = delims
            .as_ref()
            .map_or(("{{", "}}"), |[left, right]| (left.as_str(), right.as_str()));
        let parsed = Template::parse(text, (left, right))?;
        let requests = parsed.calls().iter().map(|call| {
            request(call, &path).map_err(|problem| InvalidTemplate::Request {
                line: call.line,
                column: call.column,
                written: call.path.chars().take(200).collect(),
                problem,
            })
        });
        let requests = requests.collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.to_owned(),
            delims,
            missing,
            parsed: Arc::new(parsed),
            requests,
        })
    }

    /// The text as the author wrote it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What replaces `{{` and `}}`.
    pub(crate) fn delims(&self) -> Option<&[String; 2]> {
        self.delims.as_ref()
    }

    /// What a missing field does.
    pub(crate) fn missing(&self) -> MissingField {
        self.missing
    }

    /// The template, parsed.
    pub(crate) fn parsed(&self) -> &Template {
        &self.parsed
    }

    /// One request for each call of `secret` and `pkiCert`, in the order of [`Template::calls`]. Equal requests are sent once.
    pub fn requests(&self) -> &[SecretRequest<P>] {
        &self.requests
    }
}

fn request<P>(call: &SecretCall, path: impl Fn(&str) -> Result<P, String>) -> Result<SecretRequest<P>, String> {
    let data = call.data.as_ref().map(|data| {
        let texts = data
            .iter()
            .map(|(name, text)| (name.clone(), Value::Text(text.clone())));
        Data::written(texts.collect()).map_err(|why| format!("is written with data that {why}"))
    });
    let version = call.version.map(|version| {
        let version = version.try_into();
        version.map_err(|_| "has a version of 0: versions begin with 1".to_owned())
    });
    Ok(SecretRequest {
        secret: path(&call.path)?,
        version: version.transpose()?,
        data: data.transpose()?,
    })
}

impl<P: FromStr<Err = Invalid>> TemplateContent<P> {
    /// As [`Self::parse`], with the parser of the path's type.
    pub(super) fn of_plan(text: &str, delims: Option<[String; 2]>, missing: MissingField) -> Result<Self, Invalid> {
        let parsed = Self::parse(text, delims, missing, |path| {
            path.parse().map_err(|why: Invalid| why.to_string())
        });
        parsed.or_else(|why| invalid(format!("the template is not valid: {why}")))
    }
}

impl<P: PartialEq> PartialEq for TemplateContent<P> {
    /// The rest follows from the text, the delimiters and the type of the paths.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.delims == other.delims && self.missing == other.missing
    }
}

impl<P: Eq> Eq for TemplateContent<P> {}

impl<P> std::fmt::Debug for TemplateContent<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TemplateContent")
            .field("text", &self.text)
            .field("delims", &self.delims)
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}
