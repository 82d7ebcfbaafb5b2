//! How `podkey lint` prints what it found. What cannot be read goes to stderr, and for GitHub to the annotations.

use std::io::Write as _;

use serde_json::{Value, json};

use super::LintOutput;
use crate::cli::inject::offline::Place;
use crate::cli::terminal::{FAINT, FAULT, WARNING};
use crate::cli::visible::visible;

/// One thing to print. Object, key and message may be anything.
pub(super) struct Line<'l> {
    /// None: standard input, or the message names the file.
    pub(super) file: Option<&'l str>,
    pub(super) at: Option<Place>,
    pub(super) level: LineLevel,
    /// None: the whole file.
    pub(super) object: Option<String>,
    /// The annotation or the field.
    pub(super) key: Option<String>,
    pub(super) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineLevel {
    Error,
    Warning,
    /// What belongs to the line before.
    Note,
    /// The file or the object cannot be read.
    Unusable,
}

impl LineLevel {
    fn word(self) -> &'static str {
        match self {
            Self::Error | Self::Unusable => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// Prints lines as they come. A list of JSON comes at the end.
pub(super) struct Report {
    output: LintOutput,
    list: Vec<Value>,
}

impl Report {
    pub(super) fn new(output: LintOutput) -> Self {
        Self {
            output,
            list: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, line: &Line<'_>) -> anyhow::Result<()> {
        match (self.output, line.level) {
            (LintOutput::Github, _) => writeln!(std::io::stdout(), "{}", line.github())?,
            (_, LineLevel::Unusable) => writeln!(std::io::stderr(), "{}{}", line.place(), line.sentence())?,
            (LintOutput::Json, _) => self.list.push(line.json()),
            (LintOutput::Text, level) => {
                let style = match level {
                    LineLevel::Error | LineLevel::Unusable => FAULT,
                    LineLevel::Warning => WARNING,
                    LineLevel::Note => FAINT,
                };
                let (place, word, sentence) = (line.place(), level.word(), line.sentence());
                writeln!(anstream::stdout(), "{place}{style}{word}{style:#}: {sentence}")?;
            }
        }
        Ok(())
    }

    /// Prints what is left to print.
    pub(super) fn end(self) -> anyhow::Result<()> {
        if self.output == LintOutput::Json {
            writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&self.list)?)?;
        }
        Ok(())
    }
}

impl Line<'_> {
    /// `web.yaml:7:5: `, as compilers print places, which editors understand.
    fn place(&self) -> String {
        match (self.file, self.at) {
            (None, None) => String::new(),
            (None, Some(Place { line, column })) => format!("standard input:{line}:{column}: "),
            (Some(file), None) => format!("{file}: "),
            (Some(file), Some(Place { line, column })) => format!("{file}:{line}:{column}: "),
        }
    }

    /// Object, key and message, on one line.
    fn sentence(&self) -> String {
        let parts = [self.object.as_deref(), self.key.as_deref(), Some(&self.message)];
        visible(&parts.into_iter().flatten().collect::<Vec<_>>().join(": "))
    }

    fn json(&self) -> Value {
        json!({
            "file": self.file,
            "line": self.at.map(|at| at.line),
            "column": self.at.map(|at| at.column),
            "level": self.level.word(),
            "object": self.object,
            "key": self.key,
            "message": self.message,
        })
    }

    /// A workflow command, on one line.
    /// <https://docs.github.com/actions/reference/workflow-commands-for-github-actions#setting-an-error-message>
    fn github(&self) -> String {
        let mut properties = vec!["title=podkey".to_owned()];
        properties.extend(self.file.map(|file| format!("file={}", property(file))));
        // Without a file, GitHub would show the line of another one.
        if let Some(Place { line, column }) = self.at.filter(|_| self.file.is_some()) {
            properties.push(format!("line={line}"));
            properties.push(format!("col={column}"));
        }
        let command = match self.level {
            LineLevel::Note => "notice",
            level => level.word(),
        };
        format!("::{command} {}::{}", properties.join(","), data(&self.sentence()))
    }
}

/// The text of a command, as the runner takes it back apart
/// (<https://github.com/actions/toolkit>, `packages/core/src/command.ts`).
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<'l>(file: Option<&'l str>, message: &str) -> Line<'l> {
        Line {
            file,
            at: Some(Place { line: 7, column: 5 }),
            level: LineLevel::Error,
            object: Some("Pod/web".to_owned()),
            key: Some("podkey.dev/env".to_owned()),
            message: message.to_owned(),
        }
    }

    #[test]
    fn a_text_of_others_makes_no_second_workflow_command() {
        let shown = line(Some("a,b:c%.yaml"), "100%\r\n::stop-commands::x").github();
        assert_eq!(
            shown,
            "::error title=podkey,file=a%2Cb%3Ac%25.yaml,line=7,col=5::Pod/web: podkey.dev/env: 100%25\\u{d}\\u{a}::stop-commands::x"
        );
        assert_eq!(shown.lines().count(), 1);
        assert_eq!(
            line(None, "x").github(),
            "::error title=podkey::Pod/web: podkey.dev/env: x"
        );
    }

    #[test]
    fn a_line_begins_with_its_place_as_compilers_print_places() {
        let shown = line(Some("web.yaml"), "is empty");
        assert_eq!(shown.place(), "web.yaml:7:5: ");
        assert_eq!(shown.sentence(), "Pod/web: podkey.dev/env: is empty");
    }
}
