//! Entries as text for people, as `kubectl explain` shows fields, and as JSON for machines.

use std::io::Write;

use tabwriter::TabWriter;

use super::ExplainOutput;
use super::entry::{Entry, Kind, Part};
use crate::cli::completion::called;
use crate::cli::terminal::HEADING;

/// Prints each entry in full.
pub(super) fn show(entries: &[&Entry], output: ExplainOutput) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout().lock();
    if output == ExplainOutput::Json {
        writeln!(stdout, "{}", serde_json::to_string_pretty(entries)?)?;
        return Ok(());
    }
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            writeln!(stdout)?;
        }
        show_one(&mut stdout, entry)?;
    }
    Ok(())
}

fn show_one(stdout: &mut impl Write, entry: &Entry) -> anyhow::Result<()> {
    let lines = [
        ("NAME", Some(entry.name.as_str())),
        ("KIND", Some(entry.kind.words())),
        ("FOR", entry.pods),
        ("MEANING", Some(entry.meaning)),
        ("DETAILS", entry.details),
        ("VALUE", entry.value),
        ("DEFAULT", entry.default),
        ("PODKEY", entry.treatment),
        ("CHECK", entry.check),
    ];
    for (heading, text) in lines {
        if let Some(text) = text {
            let blanks = " ".repeat(9 - heading.len());
            writeln!(stdout, "{HEADING}{heading}:{HEADING:#}{blanks}{text}")?;
        }
    }
    for (heading, parts) in [("WORDS", &entry.words), ("FIELDS", &entry.fields)] {
        if !parts.is_empty() {
            writeln!(stdout, "{HEADING}{heading}:{HEADING:#}")?;
            table(stdout, parts)?;
        }
    }
    if let Some(example) = &entry.example {
        // Not indented, so that people can copy the example as it is.
        writeln!(stdout, "{HEADING}EXAMPLE:{HEADING:#}\n{}", example.trim_end())?;
    }
    Ok(())
}

/// Prints all names, kind by kind.
pub(super) fn list(all: &[Entry], output: ExplainOutput) -> anyhow::Result<()> {
    if output == ExplainOutput::Json {
        let all: Vec<_> = all.iter().collect();
        return show(&all, output);
    }
    let mut stdout = anstream::stdout().lock();
    for (index, kind) in Kind::ALL.into_iter().enumerate() {
        let gap = if index > 0 { "\n" } else { "" };
        writeln!(stdout, "{gap}{HEADING}{}:{HEADING:#}", kind.words().to_uppercase())?;
        let of_kind = all.iter().filter(|entry| entry.kind == kind);
        let rows: Vec<_> = of_kind
            .map(|entry| Part {
                name: entry.name.clone(),
                meaning: entry.meaning.into(),
            })
            .collect();
        table(&mut stdout, &rows)?;
    }
    writeln!(
        stdout,
        "\n{} explain NAME shows all about one of them, with an example.",
        called()
    )?;
    Ok(())
}

fn table(stdout: &mut impl Write, parts: &[Part]) -> anyhow::Result<()> {
    let mut table = TabWriter::new(Vec::new()).padding(2);
    for part in parts {
        writeln!(table, "  {}\t{}", part.name, part.meaning)?;
    }
    stdout.write_all(&table.into_inner().map_err(|error| anyhow::anyhow!(error.to_string()))?)?;
    Ok(())
}
