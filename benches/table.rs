//! Medians, and tables in Markdown.

/// The middle of some measurements; 0 of none.
#[allow(dead_code, reason = "one of the programs that share this file has no middle to tell")]
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    quantile(values, 0.5)
}

/// The smallest measurement that so great a share of them does not exceed.
pub(crate) fn quantile(values: impl IntoIterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// A table with its head.
pub(crate) struct Table {
    lines: Vec<String>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        let rule = format!("|{}", " --- |".repeat(head.len()));
        Self {
            lines: vec![row(head.iter().copied()), rule],
        }
    }

    pub(crate) fn row(&mut self, cells: &[String]) {
        self.lines.push(row(cells.iter().map(String::as_str)));
    }

    pub(crate) fn text(&self) -> String {
        format!("\n{}\n", self.lines.join("\n"))
    }
}

fn row<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
}

/// The last two cells of a row: the aim, and whether the measurement is within it.
#[allow(dead_code, reason = "one of the programs that share this file has no aims")]
pub(crate) fn aim(value: f64, at_most: f64, unit: &str) -> [String; 2] {
    let met = if value <= at_most { "met" } else { "**missed**" };
    [format!("≤ {at_most}{unit}"), met.to_owned()]
}

/// The same for what should be large.
#[allow(dead_code, reason = "only one of the programs that share this file needs it")]
pub(crate) fn aim_at_least(value: f64, at_least: f64) -> [String; 2] {
    let met = if value >= at_least { "met" } else { "**missed**" };
    [format!("≥ {at_least}"), met.to_owned()]
}

#[allow(dead_code, reason = "one of the programs that share this file has no aims")]
pub(crate) fn no_aim() -> [String; 2] {
    [String::new(), String::new()]
}
