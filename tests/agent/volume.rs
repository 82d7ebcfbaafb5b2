//! Volumes that are full, read-only, gone, or tampered with.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::deliver::{KUBECONFIG, bao, kubeconfig};
use crate::support::agent::Agent;

/// A tmpfs over the agent's volume, if this machine lets us mount one.
pub(crate) struct Tmpfs<'a>(&'a Path);

impl<'a> Tmpfs<'a> {
    pub(crate) fn mount(at: &'a Path, options: &str) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "podkey-test"])
            .arg(at)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at)),
            _ => {
                eprintln!("skipped: a tmpfs cannot be mounted here (needs root)");
                None
            }
        }
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_volume_is_reported_and_left_empty() {
    let bao = bao();
    bao.write("arc-runners/data/big", &json!({"data": {"a": "x".repeat(300_000)}}));
    let agent = Agent::for_bao(bao)
        .file(kubeconfig())
        .file(json!({"secret": "arc-runners/data/big", "key": "a", "format": "raw", "file": "big", "mode": "0400"}));
    let volume = agent.volume();
    let Some(_mounted) = Tmpfs::mount(&volume, "size=128k") else {
        return;
    };
    agent
        .run()
        .expect(73, &["files/big", "full", "sizeLimit"])
        .stage("write");
    assert!(agent.all_files().is_empty());
}

#[test]
fn a_read_only_volume_is_reported() {
    let agent = Agent::for_bao(bao()).file(kubeconfig());
    let volume = agent.volume();
    let Some(_mounted) = Tmpfs::mount(&volume, "ro") else {
        return;
    };
    agent.run().expect(73, &["read-only"]).stage("write");
}

#[test]
fn a_planted_symlink_is_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("0"), "untouched").unwrap();
    for plant in ["single", "single/0"] {
        let agent = Agent::for_bao(bao()).file(kubeconfig());
        let link = agent.volume().join(plant);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let target = if plant == "single" {
            outside.path().to_owned()
        } else {
            outside.path().join("0")
        };
        symlink(target, &link).unwrap();
        agent.run().expect(73, &["symbolic link"]).stage("write");
        assert_eq!(fs::read(outside.path().join("0")).unwrap(), b"untouched");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }
    let agent = Agent::for_bao(bao()).file(kubeconfig());
    fs::remove_dir(agent.volume()).unwrap();
    symlink(outside.path(), agent.volume()).unwrap();
    agent.run().expect(73, &[]);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn a_directory_that_the_kubelet_made_is_reported() {
    let agent = Agent::for_bao(bao()).file(kubeconfig());
    fs::create_dir_all(agent.volume().join("single/0")).unwrap();
    agent.run().expect(73, &["is a directory", "kubelet"]);
}

#[test]
fn the_files_of_an_earlier_run_whole_or_partial_are_replaced() {
    let agent = Agent::for_bao(bao()).file(kubeconfig());
    fs::create_dir_all(agent.volume().join("single")).unwrap();
    fs::write(agent.volume().join("single/0"), "old").unwrap();
    fs::write(agent.volume().join("single/.podkey-tmp-00000000000000ff"), "half").unwrap();
    agent.run().expect(0, &[]);
    assert_eq!(agent.delivered("single/0"), KUBECONFIG);
    assert_eq!(agent.all_files(), ["single/0"]);
}

#[test]
fn a_failed_run_keeps_the_files_of_an_earlier_run() {
    let agent = Agent::for_bao(bao()).file(kubeconfig());
    agent.run().expect(0, &[]);
    let denied = agent.with("/login/role", json!("nope"));
    denied.run().expect(77, &[]);
    assert_eq!(denied.delivered("single/0"), KUBECONFIG);
}
