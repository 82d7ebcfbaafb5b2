//! The delivery of the values to the job: variables, decoded files, and other differences from a step of vault-action.

use super::expressions::expression;
use super::kept_entry::{KeptEntry, file_entry, name_of, secret_file};
use super::replacement::Replacement;
use super::server::LoginBy;
use crate::cli::migrate::output::{block, scalar};
use crate::inject::keys::{ENV, EXPORT, FILES, IGNORE_NOT_FOUND, JOB_ENV};
use crate::plan::ENV_DIR;
use crate::text::quoted;

/// Beginnings of the labels of GitHub's own machines.
const GITHUB_HOSTED: [&str; 3] = ["ubuntu-", "windows-", "macos-"];

/// Commands that decode base64 in a job's script.
const DECODES: [&str; 4] = ["base64 -d", "base64 --decode", "base64 -D", "base64 -di"];

impl<'a> Replacement<'a> {
    /// The annotations that deliver the values.
    pub(super) fn deliver(&mut self, kept: &[KeptEntry], login: LoginBy, has_uses: bool) {
        let by_job = |kept: &KeptEntry| login == LoginBy::Job || kept.secret.secret.as_path().as_str().contains('{');
        if let Some(encoding) = self.encoding() {
            self.deliver_decoded(encoding, kept, by_job);
            return;
        }
        for (key, of_job) in [(ENV, false), (JOB_ENV, true)] {
            let entries: String = kept
                .iter()
                .filter(|kept| by_job(kept) == of_job)
                .map(|kept| format!("{} ;\n", kept.written))
                .collect();
            if entries.is_empty() {
                continue;
            }
            self.annotations.push((key, block(&entries)));
            if of_job && login == LoginBy::Pod {
                self.notes.push(
                    "a path with a placeholder is read by the job with GitHub's token: the connection needs \"job:\", the job \
                    needs \"permissions: id-token: write\""
                        .to_owned(),
                );
            }
        }
        if self.input("exportEnv") == Some("false") {
            self.not_exported(has_uses);
        }
        if self.is_on("ignoreNotFound") && !kept.is_empty() {
            self.annotations.push((IGNORE_NOT_FOUND, "\"true\"".to_owned()));
        }
    }

    fn not_exported(&mut self, has_uses: bool) {
        if has_uses {
            let path = secret_file(&format!("{ENV_DIR}/NAME"));
            self.notes.push(format!(
                "exportEnv: false is left out, because env.NAME takes the place of the outputs. Where a step can read a file \
                instead, {EXPORT}: \"false\" leaves the values in {path} only"
            ));
        } else {
            self.annotations.push((EXPORT, "\"false\"".to_owned()));
        }
    }

    /// Every value as a file, because podkey decodes files only.
    fn deliver_decoded(&mut self, encoding: &str, kept: &[KeptEntry], by_job: impl Fn(&KeptEntry) -> bool) {
        self.lose(
            &format!("secretEncodingType: {encoding}"),
            &format!(
                "a variable is delivered as it is stored; a file can be decoded, as above. Read the files at {}",
                secret_file("NAME")
            ),
        );
        let entries: String = kept
            .iter()
            .filter_map(|kept| {
                let as_job = if by_job(kept) { "  as: job\n" } else { "" };
                Some(format!(
                    "{}  decode: {encoding}\n  file: {}\n{as_job}",
                    file_entry(&kept.secret)?,
                    scalar(name_of(&kept.secret)?)
                ))
            })
            .collect();
        if !entries.is_empty() {
            self.annotations.push((FILES, block(&entries)));
        }
        for kept in kept.iter().filter(|kept| file_entry(&kept.secret).is_none()) {
            self.lose(
                &format!("secrets: {}", quoted(&kept.written)),
                "a file is decoded from one field: name the field",
            );
        }
    }

    /// Proposes a decoded file for each value that a later step decodes.
    pub(super) fn decoded_later(&mut self, kept: &[KeptEntry]) {
        for kept in kept {
            let Some(name) = name_of(&kept.secret) else { continue };
            let Some((number, line)) = self.decoding_line(name, &kept.output) else {
                continue;
            };
            let path = line
                .rsplit_once('>')
                .map(|(_, path)| path.trim().trim_matches(['"', '\'']))
                .filter(|path| path.starts_with('/') && !path.contains(['$', ' ']));
            let Some(entry) = file_entry(&kept.secret) else {
                continue;
            };
            let file = path.map_or_else(|| scalar(name), scalar);
            let env = path
                .and_then(|path| self.variable_with(path))
                .map_or(String::new(), |env| format!("  env: {}\n", scalar(env)));
            self.notes.push(format!(
                "line {number} decodes {name}. podkey can deliver the file itself, so that neither the variable nor the line is \
                needed:\n{FILES}: {}",
                block(&format!("{entry}  decode: base64\n  file: {file}\n{env}"))
            ));
        }
    }

    /// The number and the text of the line of the job that decodes this variable or output.
    fn decoding_line(&self, name: &str, output: &str) -> Option<(usize, &'a str)> {
        let output = format!("outputs.{output}");
        (1..).zip(self.text.lines()).find(|(number, line)| {
            self.job.lines.contains(number)
                && DECODES.iter().any(|command| line.contains(command))
                && (line.contains(name) || line.contains(&output))
        })
    }

    /// The variable that a line of the job sets to this path through `GITHUB_ENV`.
    fn variable_with(&self, path: &str) -> Option<&'a str> {
        let assigned = format!("={path}");
        (1..).zip(self.text.lines()).find_map(|(number, line)| {
            let (before, _) = line.split_once(&assigned)?;
            let name = before
                .rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .next()?;
            (self.job.lines.contains(&number) && line.contains("GITHUB_ENV") && !name.is_empty()).then_some(name)
        })
    }

    /// Notes about the step's condition, and about the machine of its job.
    pub(super) fn circumstances(&mut self) {
        if let Some(condition) = &self.step.condition {
            self.notes.push(format!(
                "the step had \"if: {}\": podkey always reads, before the job's first step",
                condition.trim()
            ));
        }
        let Some(machine) = self.job.runs_on.as_deref() else {
            return;
        };
        if GITHUB_HOSTED.iter().any(|begin| machine.starts_with(begin)) {
            self.lose(
                &format!("runs-on: {machine}"),
                "this is GitHub's own machine, where podkey does not run: name a scale set of yours, or keep vault-action here",
            );
        }
        if let Some(machine) = expression(machine) {
            self.notes.push(format!(
                "runs-on: {machine}: if that is one of GitHub's own machines, podkey does not run there: name a scale set of yours"
            ));
        }
    }
}
