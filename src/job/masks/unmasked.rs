//! The warning about parts of a secret that stay unmasked: line numbers and counts, never a value.

use std::collections::BTreeMap;
use std::fmt;

/// The parts of one secret that stay unmasked. `Display` shows line numbers and counts, never a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Unmasked {
    pub(super) name: String,
    pub(super) too_short: LineNumbers,
    pub(super) common: LineNumbers,
    pub(super) names: LineNumbers,
    /// Lines that may have a password inside.
    pub(super) inside: LineNumbers,
    pub(super) binary: bool,
    pub(super) not_encoded: bool,
    pub(super) not_wrapped: bool,
    pub(super) not_spelled: bool,
    pub(super) cut: bool,
    pub(super) deep: bool,
}

/// The number of texts, and the lines of the first few.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct LineNumbers {
    count: usize,
    lines: Vec<usize>,
}

impl LineNumbers {
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

    /// Whether there is nothing to warn about.
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::new(&self.name)
    }

    /// The parts that stay unmasked, with the reasons.
    fn reasons(&self) -> String {
        let mut parts: Vec<String> = [
            (&self.too_short, "too short"),
            (&self.common, "too common a word"),
            (&self.names, "a name in a Kubernetes object"),
            (
                &self.inside,
                "may be a password inside a text that is masked as a whole",
            ),
        ]
        .into_iter()
        .filter(|(lines, _)| lines.count > 0)
        .map(|(numbers, why)| {
            let lines: Vec<String> = numbers.lines.iter().map(usize::to_string).collect();
            let more = if numbers.count > numbers.lines.len() {
                " …"
            } else {
                ""
            };
            format!("{} {why} (line {}{more})", numbers.count, lines.join(", "))
        })
        .collect();
        for (yes, text) in [
            (self.binary, "it is binary: only its base64 and hex are masked"),
            (
                self.not_encoded,
                "other forms of texts longer than 16 KiB, and passwords inside such a line",
            ),
            (self.not_wrapped, "wrapped base64: this job has too much of it"),
            (
                self.not_spelled,
                "spellings by shells and JSON: this job has too many of them",
            ),
            (self.cut, "everything after its first 8192 lines and values"),
            (self.deep, "values more than 8 levels deep inside others"),
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
        write!(f, "{}: left unmasked: {}", self.name, self.reasons())
    }
}

/// Secrets with equal reasons share a line.
pub(super) fn warnings(unmasked: &[Unmasked]) -> Vec<String> {
    const NAMED: usize = 8;
    let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for unmasked in unmasked {
        let names = alike.entry(unmasked.reasons()).or_default();
        // The values of one template have its name.
        if names.last() != Some(&unmasked.name.as_str()) {
            names.push(&unmasked.name);
        }
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
