//! `podkey migrate vault-action`: what replaces the steps of vault-action in a workflow, for whoever is about to delete them.
//! It changes no file: annotations belong to a scale set's pod template, which it cannot know.
//!
//! For each step: the annotations; every `steps.ID.outputs.NAME`, with the `env.NAME` it becomes; what the operator's config
//! must have; and what cannot be carried over, with what to do instead.

mod outputs;
mod workflow;

use std::fmt::Write as _;

use self::outputs::Use;
use self::workflow::{Job, Step};
use crate::env::grammar::{self, Entry};
use crate::plan::{EnvSecret, PathTemplate, Select, ValueStep};
use crate::text::quoted;

/// What to do with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// For a person to read.
    pub text: String,
    /// Whether nothing is lost.
    pub is_whole: bool,
}

/// The file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} {1}")]
pub struct NoWorkflow(String, String);

/// Reads a workflow or a composite action. `name` stands before each line that is about a place in it.
pub fn vault_action(name: &str, text: &str) -> Result<Migration, NoWorkflow> {
    let jobs = workflow::read(text).map_err(|why| NoWorkflow(name.to_owned(), why))?;
    let mut migration = Migration {
        text: String::new(),
        is_whole: true,
    };
    let mut earlier: Vec<Earlier<'_>> = Vec::new();
    for job in &jobs {
        for step in job.steps.iter().filter(|step| step.is_vault_action()) {
            let mut replacement = Replacement::new(name, text, job, step, &earlier);
            let kept = replacement.read();
            migration.is_whole &= replacement.lost.is_empty();
            if !migration.text.is_empty() {
                migration.text.push('\n');
            }
            migration.text.push_str(&replacement.show());
            let line = step.line;
            earlier.push(Earlier { job, line, kept });
        }
    }
    if earlier.len() > 1 {
        let _ = writeln!(
            migration.text,
            "\n{name}: these are {} steps, and a pod template has each annotation once: put the entries of one key together, equal \
            ones once. All other annotations are for all entries; where they differ, give the jobs scale sets of their own",
            earlier.len()
        );
    }
    if migration.text.is_empty() {
        migration.text = format!("{name}: no step of vault-action\n");
    }
    Ok(migration)
}

/// What replaces one step.
struct Replacement<'a> {
    file: &'a str,
    text: &'a str,
    job: &'a Job,
    step: &'a Step,
    /// Keys and values, in the order shown.
    annotations: Vec<(&'static str, String)>,
    changes: Vec<String>,
    operator: Vec<String>,
    hints: Vec<String>,
    lost: Vec<String>,
    /// The steps before it.
    earlier: &'a [Earlier<'a>],
}

/// A step that was shown.
struct Earlier<'a> {
    job: &'a Job,
    line: usize,
    kept: Vec<Kept>,
}

/// An entry that podkey takes, as it was written.
struct Kept {
    written: String,
    output: String,
    secret: EnvSecret<PathTemplate>,
}

/// Who logs in for the job.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Identity {
    /// The pod, before the job: `podkey.dev/env`.
    Pod,
    /// The job, with GitHub's token: `podkey.dev/job-env`.
    Job,
}

/// Expressions that a path may have, and how podkey writes them.
const EXPRESSIONS: [(&str, &str); 4] = [
    ("github.repository", "{repository}"),
    ("github.repository_owner", "{owner}"),
    ("github.ref_name", "{ref_name}"),
    ("github.job", "{job}"),
];

/// Inputs that vault-action has; the rest are mistakes in the workflow.
const INPUTS: [&str; 27] = [
    "url",
    "secrets",
    "pki",
    "namespace",
    "method",
    "role",
    "path",
    "token",
    "roleId",
    "secretId",
    "githubToken",
    "kubernetesTokenPath",
    "username",
    "password",
    "authPayload",
    "extraHeaders",
    "exportEnv",
    "exportToken",
    "outputToken",
    "caCertificate",
    "clientCertificate",
    "clientKey",
    "tlsSkipVerify",
    "jwtPrivateKey",
    "jwtKeyPassword",
    "jwtGithubAudience",
    "jwtTtl",
];

impl<'a> Replacement<'a> {
    fn new(file: &'a str, text: &'a str, job: &'a Job, step: &'a Step, earlier: &'a [Earlier<'a>]) -> Self {
        Self {
            file,
            text,
            job,
            step,
            annotations: Vec::new(),
            changes: Vec::new(),
            operator: Vec::new(),
            hints: Vec::new(),
            lost: Vec::new(),
            earlier,
        }
    }

    /// An input's text. GitHub takes no notice of the case of its name.
    fn input(&self, name: &str) -> Option<&'a str> {
        self.step
            .inputs
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// vault-action's rule for most of its switches.
    fn is_on(&self, name: &str) -> bool {
        self.input(name)
            .is_some_and(|value| !value.eq_ignore_ascii_case("false"))
    }

    /// What every value is decoded from. vault-action takes no notice of other words, and utf8 changes nothing.
    fn encoding(&self) -> Option<&'a str> {
        self.input("secretEncodingType")
            .filter(|encoding| matches!(*encoding, "base64" | "hex"))
    }

    /// Gives the entries that podkey takes.
    fn read(&mut self) -> Vec<Kept> {
        let identity = self.login();
        self.connection();
        let kept = self.secrets();
        let uses = match &self.step.id {
            Some(id) => outputs::uses(self.text, &self.job.lines, id),
            None => Vec::new(),
        };
        for found in &uses {
            self.replace(found, &kept);
        }
        self.deliver(&kept, identity, !uses.is_empty());
        self.decoded_later(&kept);
        self.circumstances();
        kept
    }

    /// How vault-action logs in, and how podkey does.
    fn login(&mut self) -> Identity {
        let method = self.input("method").unwrap_or("token").to_lowercase();
        let mount = self.input("path").unwrap_or(&method).to_owned();
        let mut identity = Identity::Pod;
        match method.as_str() {
            "kubernetes" => {
                if mount.contains("${{") {
                    self.lose(
                        "path",
                        "an annotation has no expressions: write the auth mount out as podkey.dev/auth-mount",
                    );
                } else if mount != "kubernetes" {
                    self.annotations.push(("podkey.dev/auth-mount", scalar(&mount)));
                }
                match self.input("role") {
                    Some(role) if role.contains("${{") => {
                        self.lose(
                            "role",
                            "an annotation has no expressions: write the role out as podkey.dev/role",
                        );
                    }
                    Some(role) => self.annotations.push(("podkey.dev/role", scalar(role))),
                    None => {}
                }
                self.operator.push(
                    "auth: { method: kubernetes, audience: vault }, and the same audience in Vault's role; audience: \"\" for a \
                    role without one"
                        .to_owned(),
                );
            }
            "jwt" if self.input("jwtPrivateKey").is_none() => {
                identity = Identity::Job;
                let role = self.input("role").unwrap_or("(the mount's default_role: name it)");
                let audience = match self.input("jwtGithubAudience") {
                    Some(audience) => format!(", audience: {}", scalar(audience)),
                    None => String::new(),
                };
                self.operator.push(format!(
                    "job: {{ method: jwt, mount: {}, role: {}{audience} }}",
                    scalar(&mount),
                    scalar(role)
                ));
                self.hints.push(
                    "the job keeps its \"permissions: id-token: write\", because it still logs in with GitHub's token"
                        .to_owned(),
                );
            }
            _ => {
                let what = match method.as_str() {
                    "jwt" => "jwtPrivateKey: podkey signs no tokens of its own",
                    "token" | "approle" | "userpass" | "ldap" | "github" => {
                        "a credential in GitHub's secrets, which podkey makes unnecessary"
                    }
                    _ => "a login that podkey does not have",
                };
                self.lose(
                    &format!("method: {method}"),
                    &format!(
                        "{what}. Let Vault know the runner's service account (auth method kubernetes) and name its role \
                        with podkey.dev/role, or let it know GitHub's tokens (auth method jwt) for podkey.dev/job-env"
                    ),
                );
            }
        }
        identity
    }

    /// Where the server is, and how it is trusted.
    fn connection(&mut self) {
        for (input, setting) in [("url", "address"), ("namespace", "namespace")] {
            match self.input(input) {
                Some(value) if value.contains("${{") => self.operator.push(format!("{setting}: what {value} holds")),
                Some(value) => self.operator.push(format!("{setting}: {}", scalar(value))),
                None => {}
            }
        }
        if self.input("url").is_some_and(|url| url.starts_with("http://")) {
            self.operator
                .push("allowInsecureHttp: true, better https: in clear text everybody on the way can read".to_owned());
        }
        if self.input("caCertificate").is_some() {
            self.operator
                .push("caFile: the PEM file that caCertificate has in base64".to_owned());
        }
        for (input, instead) in [
            (
                "tlsSkipVerify",
                "podkey always checks the server's certificate: give the operator its CA for caFile",
            ),
            (
                "exportToken",
                "no token is handed to a job: have the secrets that it was used for read by podkey",
            ),
            (
                "outputToken",
                "no token is handed to a job: have the secrets that it was used for read by podkey",
            ),
        ] {
            if self.is_on(input) {
                self.lose(input, instead);
            }
        }
        for (input, instead) in [
            (
                "clientCertificate",
                "podkey has no client certificates: let the server take the pod's token alone",
            ),
            (
                "extraHeaders",
                "podkey sends no headers of others: a proxy that wants them must do without",
            ),
            (
                "pki",
                "write an entry of podkey.dev/files with \"data:\", such as {secret: pki/issue/NAME, data: {common_name: …}, \
                file: NAME.json}",
            ),
        ] {
            if self.input(input).is_some() {
                self.lose(input, instead);
            }
        }
        let known = |name: &str| {
            INPUTS
                .iter()
                .chain(&["secretEncodingType", "ignoreNotFound"])
                .any(|input| input.eq_ignore_ascii_case(name))
        };
        let unknown: Vec<String> = self.step.inputs.keys().filter(|name| !known(name)).cloned().collect();
        for name in unknown {
            self.hints
                .push(format!("{}: vault-action has no such input", quoted(&name)));
        }
    }

    /// The entries of `secrets` that podkey takes; the others are lost.
    fn secrets(&mut self) -> Vec<Kept> {
        let mut kept: Vec<Kept> = Vec::new();
        let Some(text) = self.input("secrets") else {
            return kept;
        };
        for written in split(text) {
            let (path, rest) = written.split_at(end_of_path(&written));
            let (path, rest) = (with_placeholders(path), rest.to_owned());
            let written = format!("{path}{rest}");
            let shown = quoted(&written);
            let unknown = |expression: &str| {
                format!(
                    "podkey does not know {expression}. Paths of podkey.dev/job-env may have {{repository}}, {{owner}}, \
                    {{ref_name}}, {{job}} and {{environment}}; for others keep vault-action"
                )
            };
            let misplaced = |expression: &str| format!("{expression} is in no path: write the key and the name out");
            let why = expression(&path).map(unknown);
            if let Some(why) = why.or_else(|| expression(&rest).map(misplaced)) {
                self.lose(&format!("secrets: {shown}"), &why);
                continue;
            }
            let parsed = grammar::parse::<PathTemplate>(&written);
            let entry = grammar::entries(&written).next().and_then(Result::ok);
            match (parsed, entry) {
                (Ok(mut secrets), Some(entry)) => {
                    let Some(secret) = secrets.pop() else { continue };
                    // One pod has the variables of all of a job's steps.
                    let of_job = self
                        .earlier
                        .iter()
                        .filter(|earlier| std::ptr::eq(earlier.job, self.job));
                    let of_job = of_job
                        .flat_map(|earlier| &earlier.kept)
                        .filter(|other| other.secret != secret);
                    let same = kept
                        .iter()
                        .chain(of_job)
                        .find(|other| same_name(&other.secret, &secret));
                    if let Some(other) = same {
                        let other = other.written.clone();
                        self.lose(
                            &format!("secrets: {shown}"),
                            &format!(
                                "it has the variable of {}: give one of them another name",
                                quoted(&other)
                            ),
                        );
                        continue;
                    }
                    self.compare(&secret);
                    kept.push(Kept {
                        output: grammar::output(&entry),
                        written: rewritten(&entry),
                        secret,
                    });
                }
                (Err(problems), _) => {
                    for problem in problems {
                        self.lose(&format!("secrets: {shown}"), &problem.message);
                    }
                }
                (Ok(_), None) => {}
            }
        }
        kept
    }

    /// Says where another job has another secret in the same variable.
    fn compare(&mut self, secret: &EnvSecret<PathTemplate>) {
        let of_others = self
            .earlier
            .iter()
            .filter(|earlier| !std::ptr::eq(earlier.job, self.job));
        let mut of_others = of_others.flat_map(|earlier| earlier.kept.iter().map(|kept| (earlier.line, kept)));
        let same = of_others.find(|(_, other)| same_name(&other.secret, secret) && other.secret != *secret);
        if let (Some((line, other)), Some(name)) = (same, name_of(secret)) {
            self.hints.push(format!(
                "{name} is another secret in the step at line {line} ({}): give the two jobs scale sets of their own, or one of \
                the two another name",
                quoted(&other.written)
            ));
        }
    }

    /// One use of the step in the workflow.
    fn replace(&mut self, found: &Use<'_>, kept: &[Kept]) {
        let place = format!("{}:{}:{}", self.file, found.line, found.column);
        let Some(output) = found.output else {
            self.lost.push(format!(
                "{place}: {}: the step is gone, and with it all but its values: name each as env.NAME",
                found.text
            ));
            return;
        };
        let encoding = self.encoding();
        match variable(output, kept) {
            Some(name) if encoding.is_some() => {
                self.changes.push(format!(
                    "{place}: {}: read the file /podkey/secrets/{name} instead",
                    found.text
                ));
            }
            Some(name) => self
                .changes
                .push(format!("{place}: {} becomes {}", found.text, in_expression(&name))),
            None => self.lost.push(format!(
                "{place}: {}: no entry of secrets that podkey takes makes this output",
                found.text
            )),
        }
    }

    /// The annotations that deliver the values.
    fn deliver(&mut self, kept: &[Kept], identity: Identity, has_uses: bool) {
        let by_job = |kept: &Kept| identity == Identity::Job || kept.secret.secret.as_path().as_str().contains('{');
        if let Some(encoding) = self.encoding() {
            self.lose(
                &format!("secretEncodingType: {encoding}"),
                "a variable is delivered as it is stored; a file can be decoded, as above. Read the files at \
                /podkey/secrets/NAME",
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
                self.annotations.push(("podkey.dev/files", block(&entries)));
            }
            for kept in kept.iter().filter(|kept| file_entry(&kept.secret).is_none()) {
                self.lose(
                    &format!("secrets: {}", quoted(&kept.written)),
                    "a file is decoded from one field: name it",
                );
            }
            return;
        }
        for (key, of_job) in [("podkey.dev/env", false), ("podkey.dev/job-env", true)] {
            let entries: String = kept
                .iter()
                .filter(|kept| by_job(kept) == of_job)
                .map(|kept| format!("{} ;\n", kept.written))
                .collect();
            if !entries.is_empty() {
                self.annotations.push((key, block(&entries)));
            }
            if of_job && !entries.is_empty() && identity == Identity::Pod {
                self.hints.push(
                    "a path with a placeholder is read by the job with GitHub's token: the connection needs \"job:\", the job \
                    \"permissions: id-token: write\""
                        .to_owned(),
                );
            }
        }
        if self.input("exportEnv") == Some("false") {
            if has_uses {
                self.hints.push(
                    "exportEnv: false is left out, because env.NAME takes the place of the outputs. Where a step reads a file \
                    as well, podkey.dev/export: \"false\" leaves the values in /podkey/secrets/env/NAME instead"
                        .to_owned(),
                );
            } else {
                self.annotations.push(("podkey.dev/export", "\"false\"".to_owned()));
            }
        }
        if self.is_on("ignoreNotFound") && !kept.is_empty() {
            self.annotations
                .push(("podkey.dev/ignore-not-found", "\"true\"".to_owned()));
        }
    }

    /// A value that a later step decodes into a file is better delivered as that file.
    fn decoded_later(&mut self, kept: &[Kept]) {
        for kept in kept {
            let Some(name) = name_of(&kept.secret) else { continue };
            let mut lines = (1..).zip(self.text.lines());
            let found = lines.find(|(number, line)| {
                let decodes = ["base64 -d", "base64 --decode", "base64 -D", "base64 -di"];
                self.job.lines.contains(number)
                    && decodes.iter().any(|command| line.contains(command))
                    && (line.contains(name) || line.contains(&format!("outputs.{}", kept.output)))
            });
            let Some((number, line)) = found else { continue };
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
            self.hints.push(format!(
                "line {number} decodes {name}. podkey can deliver the file itself, so that neither the variable nor the line is \
                needed:\npodkey.dev/files: {}",
                block(&format!("{entry}  decode: base64\n  file: {file}\n{env}"))
            ));
        }
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

    /// What else is not as it was.
    fn circumstances(&mut self) {
        if let Some(condition) = &self.step.condition {
            self.hints.push(format!(
                "the step had \"if: {}\": podkey reads before the job's first step, always",
                condition.trim()
            ));
        }
        if let Some(machine) = self.job.runs_on.as_deref().filter(|machine| {
            ["ubuntu-", "windows-", "macos-"]
                .iter()
                .any(|begin| machine.starts_with(begin))
        }) {
            self.lose(
                &format!("runs-on: {machine}"),
                "this is GitHub's own machine, where podkey is not: name a scale set of yours, or keep vault-action here",
            );
        }
        if let Some(machine) = self.job.runs_on.as_deref().and_then(expression) {
            self.hints.push(format!(
                "runs-on: {machine}: where that is a machine of GitHub's own, podkey is not: name a scale set of yours"
            ));
        }
    }

    fn lose(&mut self, what: &str, instead: &str) {
        self.lost.push(format!("{what}: {instead}"));
    }

    fn show(&self) -> String {
        let mut out = String::new();
        let step = match (&self.step.name, &self.step.id) {
            (Some(name), _) => format!("step {}", quoted(name)),
            (None, Some(id)) => format!("step {}", quoted(id)),
            (None, None) => "a step".to_owned(),
        };
        let job = self
            .job
            .id
            .as_deref()
            .map_or_else(|| "composite action".to_owned(), |id| format!("job {}", quoted(id)));
        let _ = writeln!(out, "{}:{}: {job}, {step} of vault-action", self.file, self.step.line);
        if !self.annotations.is_empty() {
            let _ = writeln!(out, "  Delete it, and annotate the pod template of the scale set:");
            for (key, value) in &self.annotations {
                let _ = writeln!(out, "{}", indented(&format!("{key}: {value}"), 4));
            }
        }
        for (title, lines) in [
            ("Change in the workflow:", &self.changes),
            (
                "The operator's connection (connections.default, if podkey.dev/connection names no other):",
                &self.operator,
            ),
            ("To know:", &self.hints),
            ("Cannot be carried over:", &self.lost),
        ] {
            if !lines.is_empty() {
                let _ = writeln!(out, "  {title}");
                for line in lines {
                    let _ = writeln!(out, "{}", indented(line, 4));
                }
            }
        }
        out
    }
}

/// Entries as vault-action splits them, but for a `;` inside an expression.
fn split(text: &str) -> Vec<String> {
    let mut entries = vec![String::new()];
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = match rest.starts_with("${{").then(|| rest.find("}}")).flatten() {
            Some(end) => &rest[..end + 2],
            None => &rest[..c.len_utf8()],
        };
        rest = &rest[taken.len()..];
        match taken {
            ";" => entries.push(String::new()),
            _ => {
                if let Some(last) = entries.last_mut() {
                    last.push_str(taken);
                }
            }
        }
    }
    entries.retain(|entry| !entry.trim().is_empty());
    entries.iter().map(|entry| entry.trim().to_owned()).collect()
}

/// Where the path of an entry ends: at the first white space that is in no expression.
fn end_of_path(entry: &str) -> usize {
    let mut at = 0;
    while let Some(c) = entry[at..].chars().next().filter(|c| !c.is_whitespace()) {
        at += match entry[at..].starts_with("${{") {
            true => expression(&entry[at..]).map_or(1, str::len),
            false => c.len_utf8(),
        };
    }
    at
}

/// The first expression in a text.
fn expression(text: &str) -> Option<&str> {
    let begin = text.find("${{")?;
    let end = text[begin..].find("}}").map_or(text.len(), |end| begin + end + 2);
    Some(&text[begin..end])
}

/// The text with each expression that podkey knows as its placeholder.
fn with_placeholders(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(found) = expression(rest) {
        let at = rest.find(found).unwrap_or_default();
        out.push_str(&rest[..at]);
        let inside = found.trim_start_matches("${{").trim_end_matches("}}").trim();
        let known = EXPRESSIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(inside));
        out.push_str(known.map_or(found, |(_, placeholder)| placeholder));
        rest = &rest[at + found.len()..];
    }
    out + rest
}

fn rewritten(entry: &Entry<'_>) -> String {
    let name = entry.name.map_or(String::new(), |name| format!(" | {name}"));
    format!("{} {}{name}", entry.path, entry.selector)
}

fn name_of(secret: &EnvSecret<PathTemplate>) -> Option<&str> {
    match &secret.select {
        Select::Value { name, .. } => Some(name.as_str()),
        Select::UpperCase { .. } | Select::KeepCase { .. } => None,
    }
}

fn same_name(a: &EnvSecret<PathTemplate>, b: &EnvSecret<PathTemplate>) -> bool {
    name_of(a).is_some_and(|name| name_of(b) == Some(name))
}

/// The variable that an output of vault-action's becomes.
fn variable(output: &str, kept: &[Kept]) -> Option<String> {
    let named = kept.iter().find_map(|kept| {
        let name = name_of(&kept.secret)?;
        kept.output.eq_ignore_ascii_case(output).then(|| name.to_owned())
    });
    named.or_else(|| {
        let wildcards = kept.iter().filter_map(|kept| match &kept.secret.select {
            Select::Value { .. } => None,
            Select::UpperCase { prefix } => Some((grammar::normalized(prefix), true)),
            Select::KeepCase { prefix } => Some((grammar::normalized(prefix), false)),
        });
        let output_lower = output.to_lowercase();
        // The longest prefix is the likeliest.
        let (_, upper_case) = wildcards
            .filter(|(prefix, _)| output_lower.starts_with(&prefix.to_lowercase()))
            .max_by_key(|(prefix, _)| prefix.len())?;
        Some(if upper_case {
            output.to_uppercase()
        } else {
            output.to_owned()
        })
    })
}

/// `env.NAME`, or `env['NAME']` where an expression needs that.
fn in_expression(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    match is_plain {
        true => format!("env.{name}"),
        false => format!("env['{name}']"),
    }
}

/// The beginning of an entry of `podkey.dev/files`, where it is about one field of a secret.
fn file_entry(secret: &EnvSecret<PathTemplate>) -> Option<String> {
    let Select::Value { at, .. } = &secret.select else {
        return None;
    };
    let [ValueStep::Key(key)] = at.as_slice() else {
        return None;
    };
    let version = secret
        .version
        .map_or(String::new(), |version| format!("  version: {version}\n"));
    let path = secret.secret.to_string();
    Some(format!(
        "- secret: {}\n  key: {}\n{version}",
        scalar(&path),
        scalar(key)
    ))
}

/// A text as a scalar of YAML.
fn scalar(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_./:-".contains(&b))
        && !text.ends_with(':')
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .iter()
            .any(|word| text.eq_ignore_ascii_case(word));
    match is_plain {
        true => text.to_owned(),
        false => serde_json::Value::from(text).to_string(),
    }
}

/// A text of several lines as a block scalar of YAML.
fn block(text: &str) -> String {
    format!("|\n{}", indented(text.trim_end(), 2))
}

fn indented(text: &str, by: usize) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("{:by$}{line}", "")).collect();
    lines.join("\n")
}
