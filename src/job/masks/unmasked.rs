//! What of a secret stays in sight, for a warning: places and numbers, never a value.

use std::collections::BTreeMap;
use std::fmt;

/// What of one secret stays in sight, for a warning. Its `Display` has places and numbers, never a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unmasked {
    name: String,
    pub(super) too_short: Places,
    pub(super) common: Places,
    pub(super) names: Places,
    /// Lines that may have a password inside.
    pub(super) inside: Places,
    pub(super) binary: bool,
    pub(super) not_encoded: bool,
    pub(super) not_wrapped: bool,
    pub(super) not_spelled: bool,
    pub(super) cut: bool,
    pub(super) deep: bool,
}

/// How many, and the lines of the first few.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Places {
    count: usize,
    lines: Vec<usize>,
}

impl Places {
    pub(super) fn add(&mut self, line: usize) {
        self.count += 1;
        if self.lines.len() < 5 && self.lines.last() != Some(&line) {
            self.lines.push(line);
        }
    }
}

impl Unmasked {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Whether nothing that a warning would say stays in sight.
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::new(&self.name)
    }

    /// The name that the secret was added by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is left, and why.
    fn what(&self) -> String {
        let mut parts: Vec<String> = [
            (&self.too_short, "too short"),
            (&self.common, "too common a word"),
            (&self.names, "a name in a Kubernetes object"),
            (&self.inside, "may be a password inside of what is masked as a whole"),
        ]
        .into_iter()
        .filter(|(places, _)| places.count > 0)
        .map(|(places, why)| {
            let lines: Vec<String> = places.lines.iter().map(usize::to_string).collect();
            let more = if places.count > places.lines.len() { " …" } else { "" };
            format!("{} {why} (line {}{more})", places.count, lines.join(", "))
        })
        .collect();
        for (yes, text) in [
            (self.binary, "it is no text: only its base64 and hex are masked"),
            (
                self.not_encoded,
                "other forms of what is longer than 16 KiB, and passwords inside of such a line",
            ),
            (self.not_wrapped, "wrapped base64, of which this job has too much"),
            (
                self.not_spelled,
                "how shells and JSON spell it, of which this job has too much",
            ),
            (self.cut, "all after its first 8192 lines and values"),
            (self.deep, "values that are more than 8 levels deep in others"),
        ] {
            if yes {
                parts.push(text.to_owned());
            }
        }
        parts.join("; ")
    }
}

impl fmt::Display for Unmasked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: left unmasked: {}", self.name, self.what())
    }
}

/// What is left in words: a line for all secrets of which the same is left.
pub(super) fn warnings(unmasked: &[Unmasked]) -> Vec<String> {
    const NAMED: usize = 8;
    let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for unmasked in unmasked {
        alike.entry(unmasked.what()).or_default().push(&unmasked.name);
    }
    let line = |(what, names): (String, Vec<&str>)| {
        let more = match names.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!(
            "{}{more}: left unmasked: {what}",
            names[..names.len().min(NAMED)].join(", ")
        )
    };
    alike.into_iter().map(line).collect()
}
