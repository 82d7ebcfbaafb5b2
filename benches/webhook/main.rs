//! Measures the webhook over HTTPS beside a null handler on the same stack, alone and while others hold connections; and the
//! decision alone. `benches/run` calls
//! it, one mode after the other; `benches/README.md` says how each number is made.

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
mod whole;

use anyhow::{Context, bail};

// The webhook's own.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["https", podkey] => whole::measure(podkey, whole::FULL),
        ["https", podkey, "--quick"] => whole::measure(podkey, whole::QUICK),
        ["siege", podkey] => siege::measure(podkey, siege::FULL),
        ["siege", podkey, "--quick"] => siege::measure(podkey, siege::QUICK),
        ["decide", allocations] => decide::measure(allocations, false),
        ["decide", allocations, "--quick"] => decide::measure(allocations, true),
        ["heavy"] => heavy::measure(false),
        ["heavy", "--quick"] => heavy::measure(true),
        // The two that this program starts as processes of their own.
        ["null", listen, certificate, key, answer] => null::serve(listen, certificate, key, answer),
        ["decide-loop", which, step, times] => decide::repeat(which, step, times.parse()?),
        // `cargo test --benches` and `cargo bench` without arguments measure nothing.
        [] | ["--bench" | "--test", ..] => {
            use std::io::Write;
            writeln!(std::io::stderr(), "benches/run calls this with arguments")
        }
        .context("cannot write"),
        _ => bail!("unknown arguments: {args:?}"),
    }
}
