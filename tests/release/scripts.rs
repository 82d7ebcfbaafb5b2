//! Scripts whose exit code is a verdict: what went wrong with it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use super::{root, script};

/// An executable file of the shell.
fn program(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{}\n{out}{err}", output.status)
}

/// Runs fuzz/run with targets that are shell scripts, each with a name and a text. Nothing is built.
fn fuzz(targets: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir_all(at("fuzz/src/bin")).unwrap();
    fs::copy(root().join("fuzz/run"), at("fuzz/run")).unwrap();
    for (name, text) in [("cargo", ""), ("rustc", "echo host: host"), ("c++", "")] {
        program(&at("bin").join(name), text);
    }
    program(&at("target/host/release/examples/seeds"), "");
    for (name, text) in targets {
        fs::write(at("fuzz/src/bin").join(format!("{name}.rs")), "").unwrap();
        program(&at("target/host/release").join(name), text);
        fs::create_dir_all(at("fuzz/artifacts").join(name)).unwrap();
        fs::write(at("fuzz/artifacts").join(name).join("crash-of-an-earlier-run"), "").unwrap();
    }
    let paths = format!("{}:{}", at("bin").display(), std::env::var("PATH").unwrap());
    // By bash: a file that was written just now may be open still in a process that another test is about to start.
    script(Path::new("bash"))
        .arg(at("fuzz/run"))
        .arg("1")
        .env("PATH", paths)
        .env("CARGO_TARGET_DIR", at("target"))
        .output()
        .unwrap()
}

#[test]
fn a_fuzz_target_that_dies_without_an_artifact_fails_the_run() {
    for (death, code) in [("exit 77", 77), ("kill -9 $$", 137)] {
        let output = fuzz(&[("good", ""), ("bad", death)]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("bad FAILED with code {code}")), "{said}");
        assert!(!said.contains("good FAILED"), "{said}");
    }
}

#[test]
fn an_artifact_of_an_earlier_run_does_not_fail_a_fuzz_run() {
    let output = fuzz(&[("good", "")]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

/// Runs benches/soak/chart on samples of so many minutes, whose memory grows by so many KiB an hour, beside waves of 200 KiB.
fn soak(minutes: u64, growth: f64) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("soak.csv");
    let lines = (0..minutes * 6).map(|number| {
        let seconds = number * 10;
        let hours = seconds as f64 / 3600.0;
        let memory = 6000.0 + growth * hours + 100.0 * (hours * 60.0).sin();
        format!("{seconds},{memory:.0},9000,{memory:.0},{number},up\n")
    });
    let head = "seconds,rss_kib,peak_kib,anon_kib,rounds,server\n";
    fs::write(&file, head.to_owned() + &lines.collect::<String>()).unwrap();
    script(&root().join("benches/soak/chart")).arg(file).output().unwrap()
}

#[test]
fn a_soak_whose_memory_grows_fails() {
    for (minutes, growth, code, verdict) in [
        (480, 0.0, 0, "verdict: no growth"),
        (480, 30.0, 0, "verdict: no growth"),
        (480, 200.0, 1, "verdict: rss_kib GROWS: +"),
        (120, 200.0, 1, "verdict: anon_kib GROWS: +"),
        (480, -200.0, 0, "verdict: no growth"),
        (60, 0.0, 1, "are too few"),
    ] {
        let output = soak(minutes, growth);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{growth}: {said}");
        assert!(said.contains(verdict), "{growth}: {said}");
    }
}

#[test]
fn the_version_script_refuses_an_argument_that_it_does_not_know() {
    for arguments in [["--chekc"].as_slice(), &["--check", "all"], &["--help"]] {
        let output = script(&root().join(".ci/version")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains("usage: .ci/version [--check]"));
    }
}

/// Not by `make --dry-run`, which runs a recipe that calls make.
#[test]
fn lint_needs_no_registry_and_sees_the_fuzz_targets() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let (_, rest) = makefile.split_once("\nlint: rust ##").unwrap();
    let (recipe, _) = rest.split_once("\n\n").unwrap();
    assert!(
        recipe.contains("fmt --check --manifest-path fuzz/Cargo.toml"),
        "{recipe}"
    );
    for registry in [".ci/tools", "workflows", "$(MAKE)"] {
        assert!(!recipe.contains(registry), "{registry} in {recipe}");
    }
}
