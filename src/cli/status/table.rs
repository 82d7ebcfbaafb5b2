//! The rows as kubectl writes tables: a header in capitals, three spaces between columns. A table that follows keeps its widths.

use std::io::Write;

use anstyle::Style;
use k8s_openapi::jiff::Timestamp;

use super::rows::{Health, Job, Row, Sidecar, age, first_sentence};
use crate::cli::terminal::{FAINT, FAULT, OK};

/// The space between columns.
const GAP: usize = 3;

/// Which columns the table has.
#[derive(Debug, Clone, Copy)]
pub(super) struct TableStyle {
    /// With the column NAMESPACE.
    pub(super) all_namespaces: bool,
    /// With all columns, and with whole reasons.
    pub(super) is_wide: bool,
    pub(super) has_header: bool,
    /// To how many characters a line is cut. None: the reader is no terminal.
    pub(super) width: Option<usize>,
}

/// Writes rows.
pub(super) struct Table {
    style: TableStyle,
    /// Of all columns but the last.
    widths: Vec<usize>,
    has_begun: bool,
}

struct Cell {
    text: String,
    style: Style,
}

impl Table {
    pub(super) fn new(style: TableStyle) -> Self {
        Self {
            style,
            widths: Vec::new(),
            has_begun: false,
        }
    }

    /// Writes the rows, below the header the first time.
    pub(super) fn write(&mut self, rows: &[Row], now: Timestamp, out: &mut dyn Write) -> std::io::Result<()> {
        let mut lines: Vec<Vec<Cell>> = Vec::with_capacity(rows.len() + 1);
        if self.style.has_header && !self.has_begun {
            lines.push(self.header());
        }
        self.has_begun = true;
        lines.extend(rows.iter().map(|row| self.cells(row, now)));
        for line in &lines {
            self.widths.resize(line.len().saturating_sub(1), 0);
            for (width, cell) in self.widths.iter_mut().zip(line) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        for line in &lines {
            self.write_line(line, out)?;
        }
        Ok(())
    }

    fn write_line(&self, line: &[Cell], out: &mut dyn Write) -> std::io::Result<()> {
        let Some((last, cells)) = line.split_last() else {
            return Ok(());
        };
        let mut begin = 0;
        for (index, (cell, width)) in cells.iter().zip(&self.widths).enumerate() {
            let Cell { text, style } = cell;
            let ends_line = index + 1 == cells.len() && last.text.is_empty();
            let space = match ends_line {
                true => 0,
                false => width.saturating_sub(text.chars().count()) + GAP,
            };
            write!(out, "{style}{text}{style:#}{:space$}", "")?;
            begin += width + GAP;
        }
        let (text, style) = (self.cut(&last.text, begin), last.style);
        writeln!(out, "{style}{text}{style:#}")
    }

    /// The last cell, cut to what is left of the line. At least 20 characters are left.
    fn cut(&self, text: &str, begin: usize) -> String {
        let Some(width) = self.style.width.filter(|_| !self.style.is_wide) else {
            return text.to_owned();
        };
        let room = width.saturating_sub(begin).max(20);
        if text.chars().count() <= room {
            return text.to_owned();
        }
        let start: String = text.chars().take(room - 1).collect();
        format!("{}…", start.trim_end())
    }

    fn header(&self) -> Vec<Cell> {
        let names = ["NAMESPACE", "NAME", "INIT", "FILES", "SIDECAR", "JOB", "SINCE"];
        let wide = ["VARIABLES", "TRIES", "AGE", "NODE"];
        let names = names.into_iter().skip(usize::from(!self.style.all_namespaces));
        let wide = wide.into_iter().filter(|_| self.style.is_wide);
        names
            .chain(wide)
            .chain(["WHY"])
            .map(|name| plain(name.to_owned()))
            .collect()
    }

    fn cells(&self, row: &Row, now: Timestamp) -> Vec<Cell> {
        let since = |time: Option<Timestamp>| match time {
            Some(time) => plain(age(now.duration_since(time).as_secs())),
            None => plain("-".to_owned()),
        };
        let count = |number: Option<usize>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let mut cells = Vec::new();
        if self.style.all_namespaces {
            cells.push(plain(row.namespace.clone()));
        }
        let name = match row.kind.as_str() {
            "Pod" => row.name.clone(),
            kind => format!("{kind}/{}", row.name),
        };
        let files = match (row.delivered_files, row.planned_files) {
            (Some(delivered), _) => delivered.to_string(),
            (None, Some(planned)) => format!("0/{planned}"),
            (None, None) => "-".to_owned(),
        };
        cells.extend([plain(name), init(row), plain(files), sidecar(&row.sidecar, now)]);
        cells.extend([plain(self.job(row.job.as_ref())), since(row.since)]);
        if self.style.is_wide {
            let tries = row.tries.map_or_else(|| "-".to_owned(), |tries| tries.to_string());
            cells.extend([plain(count(row.delivered_variables)), plain(tries), since(row.created)]);
            cells.push(plain(row.node.clone().unwrap_or_else(|| "-".to_owned())));
        }
        let why = row.why.as_deref().unwrap_or_default();
        let why = if self.style.is_wide { why } else { first_sentence(why) };
        cells.push(plain(why.to_owned()));
        cells
    }

    fn job(&self, job: Option<&Job>) -> String {
        match job {
            None => "-".to_owned(),
            Some(Job::Unknown) => "?".to_owned(),
            Some(Job::Idle) => "idle".to_owned(),
            Some(Job::Known(job)) if self.style.is_wide => {
                format!("{} run {}: {} ({})", job.repository, job.run, job.name, job.workflow)
            }
            Some(Job::Known(job)) => format!("{} run {}", job.repository, job.run),
        }
    }
}

fn plain(text: String) -> Cell {
    Cell {
        text,
        style: Style::new(),
    }
}

fn init(row: &Row) -> Cell {
    let text = match row.init.code {
        Some(code) => format!("{} ({code})", row.init.word),
        None => row.init.word.clone(),
    };
    let style = match row.init.health {
        Health::Good => OK,
        Health::Neutral => FAINT,
        Health::Bad => FAULT,
    };
    Cell { text, style }
}

fn sidecar(sidecar: &Sidecar, now: Timestamp) -> Cell {
    let styled = |text: &str, style| Cell {
        text: text.to_owned(),
        style,
    };
    match sidecar {
        Sidecar::None => styled("-", Style::new()),
        Sidecar::Waiting => styled("waiting", FAINT),
        Sidecar::Fresh => styled("fresh", OK),
        Sidecar::Behind { since, is_longer } => {
            let since = age(now.duration_since(*since).as_secs());
            let more = if *is_longer { ">" } else { "" };
            let text = format!("behind {more}{since}");
            styled(&text, FAULT)
        }
        Sidecar::Restarting => styled("restarting", FAULT),
        Sidecar::Ended => styled("ended", FAINT),
        Sidecar::Failed { code } => styled(&format!("failed ({code})"), FAULT),
        Sidecar::Unknown => styled("?", FAINT),
    }
}
