//! Measures the webhook over HTTPS beside a null handler on the same stack, alone and while others hold connections; and the
//! decision alone. `benches/run` calls this program, one mode after the other; `benches/README.md` says how each number is made.

#[path = "../cpu.rs"]
mod cpu;
mod decide;
mod heavy;
#[path = "../../tests/support/lists.rs"]
mod lists;
mod load;
mod null;
#[path = "../pods.rs"]
mod pods;
mod server;
mod siege;
#[path = "../table.rs"]
mod table;
#[path = "../versions.rs"]
mod versions;
mod whole;

use anyhow::bail;
use versions::Arguments;

// The webhook's own.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

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
    match words[..] {
        ["https"] => whole::measure(&versions, if is_quick { whole::QUICK } else { whole::FULL }),
        ["siege"] => siege::measure(&versions, if is_quick { siege::QUICK } else { siege::FULL }),
        ["decide", allocations] => decide::measure(allocations, is_quick),
        ["heavy"] => heavy::measure(is_quick),
        // The two that this program starts as processes of their own.
        ["null", listen, certificate, key, answer] => null::serve(listen, certificate, key, answer),
        ["decide-loop", which, step, times] => decide::repeat(which, step, times.parse()?),
        _ => bail!("unknown arguments: {words:?}"),
    }
}
