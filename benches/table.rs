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

/// What a number should be.
#[allow(dead_code, reason = "only some of the programs that share this file need it")]
#[derive(Clone, Copy)]
pub(crate) enum Aim {
    /// The first program's own number, with its unit.
    AtMost(f64, &'static str),
    AtLeast(f64, &'static str),
    /// The first program's number beside that of the program with this name.
    Ratio(&'static str, f64),
}

/// One number of a table in which programs stand beside each other: how it is made of one turn of a program.
#[allow(dead_code, reason = "only some of the programs that share this file need it")]
pub(crate) struct Row<'a, T> {
    pub(crate) name: String,
    pub(crate) of: fn(&T) -> f64,
    pub(crate) digits: usize,
    pub(crate) aims: &'a [Aim],
}

/// A row without an aim.
#[allow(dead_code, reason = "only some of the programs that share this file need it")]
pub(crate) fn number<T>(name: &str, digits: usize, of: fn(&T) -> f64) -> Row<'static, T> {
    with_aims(name, digits, of, &[])
}

#[allow(dead_code, reason = "only some of the programs that share this file need it")]
pub(crate) fn with_aims<'a, T>(name: &str, digits: usize, of: fn(&T) -> f64, aims: &'a [Aim]) -> Row<'a, T> {
    let name = name.to_owned();
    Row { name, of, digits, aims }
}

/// A table of the programs' medians, the ratios of the first program to each other one, and the aims.
#[allow(dead_code, reason = "only some of the programs that share this file need it")]
pub(crate) struct Beside<'a> {
    names: Vec<&'a str>,
    table: Table,
}

#[allow(dead_code, reason = "only some of the programs that share this file need it")]
impl<'a> Beside<'a> {
    pub(crate) fn new(what: &str, names: &[&'a str]) -> Self {
        let ratios = names[1..].iter().map(|name| format!("{} / {name}", names[0]));
        let head: Vec<String> = [what.to_owned()]
            .into_iter()
            .chain(names.iter().map(|name| (*name).to_owned()))
            .chain(ratios)
            .chain(["aim".to_owned(), String::new()])
            .collect();
        Self {
            names: names.to_vec(),
            table: Table::new(&head.iter().map(String::as_str).collect::<Vec<_>>()),
        }
    }

    /// Rows of the turns of all programs, in the order of their names. A program without turns has an empty cell.
    pub(crate) fn rows<T>(&mut self, programs: &[Vec<T>], rows: &[Row<'_, T>]) {
        for row in rows {
            let middle = |turns: &[T]| median(turns.iter().map(row.of));
            let ratio_to = |turns: &[T]| ratio(&programs[0], turns, row.of);
            let mut cells = vec![row.name.clone()];
            cells.extend(programs.iter().map(|turns| match turns[..] {
                [] => String::new(),
                _ => format!("{:.*}", row.digits, middle(turns)),
            }));
            cells.extend(programs[1..].iter().map(|turns| shown(ratio_to(turns))));
            let judged = row.aims.iter().filter_map(|aim| match *aim {
                Aim::AtMost(at_most, unit) => Some((middle(&programs[0]) <= at_most, format!("≤ {at_most}{unit}"))),
                Aim::AtLeast(at_least, unit) => Some((middle(&programs[0]) >= at_least, format!("≥ {at_least}{unit}"))),
                Aim::Ratio(name, at_most) => {
                    let index = self.names.iter().position(|other| *other == name)?;
                    Some((ratio_to(&programs[index]) <= at_most, format!("≤ {at_most} × {name}")))
                }
            });
            let (met, aims): (Vec<&str>, Vec<String>) = judged
                .map(|(is_met, aim)| (if is_met { "met" } else { "**missed**" }, aim))
                .unzip();
            cells.extend([aims.join("; "), met.join("; ")]);
            self.table.row(&cells);
        }
    }

    pub(crate) fn text(&self) -> String {
        self.table.text()
    }
}

/// The same, all rows of the same turns.
#[allow(dead_code, reason = "only some of the programs that share this file need it")]
pub(crate) fn beside<T>(what: &str, names: &[&str], programs: &[Vec<T>], rows: &[Row<'_, T>]) -> String {
    let mut beside = Beside::new(what, names);
    beside.rows(programs, rows);
    beside.text()
}

/// The middle of the ratios of neighbouring turns; of programs with different numbers of turns, the ratio of the middles.
fn ratio<T>(first: &[T], other: &[T], of: fn(&T) -> f64) -> f64 {
    if first.len() == other.len() {
        median(first.iter().zip(other).map(|(first, other)| of(first) / of(other)))
    } else {
        median(first.iter().map(of)) / median(other.iter().map(of))
    }
}

fn shown(ratio: f64) -> String {
    match ratio {
        _ if !ratio.is_finite() => String::new(),
        _ if ratio < 0.1 => format!("{ratio:.3}"),
        _ => format!("{ratio:.2}"),
    }
}
