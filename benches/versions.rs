//! What `benches/run` says to a benchmark: the versions of podkey that stand beside each other in the tables, and how much is
//! measured.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context;

/// One version: its name in the tables, and its programs.
pub(crate) struct Version {
    pub(crate) name: String,
    #[allow(
        dead_code,
        reason = "one of the programs that share this file has its plan written by hand"
    )]
    pub(crate) podkey: PathBuf,
    #[allow(
        dead_code,
        reason = "only some of the programs that share this file measure the agent"
    )]
    pub(crate) agent: PathBuf,
}

/// What `benches/run` says: `NAME=FOLDER` for each version, the one that is judged first; `--quick`; and words.
pub(crate) struct Arguments {
    pub(crate) versions: Vec<Version>,
    pub(crate) is_quick: bool,
    #[allow(dead_code, reason = "only some of the programs that share this file take any")]
    pub(crate) words: Vec<String>,
}

impl Arguments {
    /// `None` where cargo asks: `cargo test --benches` and `cargo bench` without arguments measure nothing.
    pub(crate) fn read() -> anyhow::Result<Option<Self>> {
        let mut arguments = Self {
            versions: Vec::new(),
            is_quick: false,
            words: Vec::new(),
        };
        for argument in std::env::args().skip(1) {
            match argument.split_once('=') {
                Some((name, folder)) => {
                    let folder = fs::canonicalize(folder).with_context(|| format!("{folder:?} is not a folder"))?;
                    arguments.versions.push(Version {
                        name: name.to_owned(),
                        podkey: folder.join("podkey"),
                        agent: folder.join("podkey-agent"),
                    });
                }
                None if argument == "--quick" => arguments.is_quick = true,
                None if argument == "--bench" || argument == "--test" => {}
                None => arguments.words.push(argument),
            }
        }
        if arguments.versions.is_empty() && arguments.words.is_empty() {
            writeln!(std::io::stderr(), "benches/run calls this with arguments")?;
            return Ok(None);
        }
        Ok(Some(arguments))
    }
}
