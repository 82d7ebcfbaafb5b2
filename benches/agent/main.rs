//! Measures `podkey-agent init` beside other programs that fetch the same secret from the same OpenBao server; and, as `inline`,
//! reads with one request beside logins with three. `benches/run` calls it; `benches/README.md` says how each number is made.

#[path = "../bao_agent.rs"]
mod bao_agent;
mod bench;
#[path = "../cpu.rs"]
mod cpu;
mod init;
mod inline;
#[path = "../plans.rs"]
mod plans;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../table.rs"]
mod table;
#[path = "../versions.rs"]
mod versions;
#[path = "../volumes.rs"]
mod volumes;

use std::io::Write as _;

use anyhow::bail;
use versions::Arguments;

fn main() -> anyhow::Result<()> {
    let Some(Arguments {
        versions,
        is_quick,
        words,
    }) = Arguments::read()?
    else {
        return Ok(());
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let text = match words[..] {
        ["init", measure, go] => init::measure(measure, go, &versions, is_quick)?,
        ["inline", measure, null] => inline::measure(measure, null, &versions, is_quick)?,
        _ => bail!("unknown arguments: {words:?}"),
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
