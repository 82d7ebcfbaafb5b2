//! The findings as text for people and as JSON for machines.

use std::io::Write as _;

use super::DoctorOutput;
use super::finding::{Findings, Level};
use crate::cli::terminal::{FAINT, FAULT, OK, WARNING};

/// Prints the findings on standard output.
pub(super) fn show(findings: &Findings, output: DoctorOutput) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout().lock();
    match output {
        DoctorOutput::Json => writeln!(stdout, "{}", serde_json::to_string_pretty(findings.all())?)?,
        DoctorOutput::Text => {
            for finding in findings.all() {
                let style = match finding.level {
                    Level::Ok => OK,
                    Level::Warning => WARNING,
                    Level::Fault => FAULT,
                    Level::Unseen => FAINT,
                };
                let objects = match finding.objects.join(", ") {
                    objects if objects.is_empty() => objects,
                    objects => format!(" ({objects})"),
                };
                writeln!(
                    stdout,
                    "{style}{}{style:#}: {}{objects}",
                    finding.level, finding.message
                )?;
                if let Some(command) = &finding.command {
                    writeln!(stdout, "    run: {command}")?;
                }
            }
            stdout.flush()?;
            drop(stdout);
            writeln!(std::io::stderr(), "{}", closing(findings))?;
        }
    }
    Ok(())
}

/// The last line. Who does not read the rest must not take silence about Vault for health.
fn closing(findings: &Findings) -> String {
    let number = |level, word: &str| match findings.count(level) {
        1 => format!("1 {word}"),
        number => format!("{number} {word}s"),
    };
    let counts = [
        number(Level::Fault, "fault"),
        number(Level::Warning, "warning"),
        format!("{} not checked", findings.count(Level::Unseen)),
    ];
    let vault = || {
        findings
            .all()
            .iter()
            .filter(|finding| finding.check.starts_with("vault"))
    };
    let is_seen = vault().any(|finding| finding.level != Level::Unseen);
    let needs_token = vault().any(|finding| finding.level == Level::Unseen && finding.check == "vault-token");
    let vault = match (is_seen, vault().any(|finding| finding.level == Level::Unseen)) {
        (_, false) => "",
        (false, true) => "; Vault was not examined",
        (true, true) => "; Vault was examined in part only",
    };
    let how = if needs_token {
        ": set VAULT_ADDR and VAULT_TOKEN, or BAO_ADDR and BAO_TOKEN"
    } else {
        ""
    };
    format!("{}{vault}{how}", counts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_says_that_vault_was_not_examined() {
        let mut findings = Findings::default();
        findings.ok("cluster", "answers");
        findings.unseen("vault-token", "auth methods: set VAULT_TOKEN", None);
        assert_eq!(
            closing(&findings),
            "0 faults, 0 warnings, 1 not checked; Vault was not examined: set VAULT_ADDR and VAULT_TOKEN, or BAO_ADDR and BAO_TOKEN"
        );
        findings.fault("vault-connection", "no answer", None);
        assert!(closing(&findings).starts_with("1 fault, 0 warnings, 1 not checked; Vault was examined in part only"));
    }
}
