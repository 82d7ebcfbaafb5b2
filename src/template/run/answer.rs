//! From the body of a server's answer to the secret that a template sees.

use std::rc::Rc;

use crate::template::output::json;
use crate::template::run::value::{GoText, GoValue, SecretAnswer};

impl SecretAnswer {
    /// Reads the body of the server's answer: an object with `data`, `lease_id`, `lease_duration`, `renewable`.
    /// Numbers stay as they are written.
    ///
    /// # Errors
    ///
    /// The body is not a JSON object, or its `data` is not one, or a bound is exceeded.
    pub fn from_answer(body: &[u8]) -> Result<Self, String> {
        let Some((answer, size)) = json::answer(body)? else {
            return Err("the answer is not a JSON object".to_owned());
        };
        let data = match answer.get("data") {
            Some(GoValue::Map(data)) => Rc::clone(data),
            None | Some(GoValue::Null) => Rc::default(),
            Some(_) => return Err("the data of the answer is not a JSON object".to_owned()),
        };
        let lease_id = match answer.get("lease_id") {
            Some(GoValue::Text(id)) => GoText::plain(id.bytes()),
            _ => GoText::plain(""),
        };
        let lease_duration = match answer.get("lease_duration") {
            Some(GoValue::Number(n)) => std::str::from_utf8(n.bytes())
                .ok()
                .and_then(|n| n.parse().ok())
                .unwrap_or_default(),
            _ => 0,
        };
        Ok(Self {
            lease_id,
            lease_duration,
            renewable: matches!(answer.get("renewable"), Some(GoValue::Bool(true))),
            data,
            size,
        })
    }

    /// How many JSON values the answer has: its memory is up to 60 bytes for each.
    pub fn size(&self) -> usize {
        self.size
    }
}
