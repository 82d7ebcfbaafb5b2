//! The static binaries that `make dist` builds deliver secrets too: amd64 directly, arm64 under qemu-user.

use std::path::{Path, PathBuf};

use crate::deliver::{KUBECONFIG, bao, kubeconfig};
use crate::support::agent::Agent;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn delivers(words: &[PathBuf]) {
    let agent = Agent::for_bao(bao()).file(kubeconfig()).program(words);
    agent.run().expect(0, &["delivered 1 file"]).stage("write");
    assert_eq!(agent.delivered("single/0"), KUBECONFIG);
    assert_eq!(agent.mode("single/0"), 0o400);
}

pub(crate) fn dist(architecture: &str) -> PathBuf {
    let dist = std::env::var_os("PODKEY_DIST").map_or_else(|| root().join("dist"), PathBuf::from);
    dist.join(architecture).join("podkey-agent")
}

#[test]
#[ignore = "needs `make dist`"]
fn the_static_agent_for_amd64_delivers() {
    if cfg!(target_arch = "x86_64") {
        delivers(&[dist("amd64")]);
    }
}

#[test]
#[ignore = "needs `make dist`"]
fn the_static_agent_for_arm64_delivers() {
    if cfg!(target_arch = "aarch64") {
        delivers(&[dist("arm64")]);
    } else {
        delivers(&[root().join(".tools/bin/qemu-aarch64-static"), dist("arm64")]);
    }
}
