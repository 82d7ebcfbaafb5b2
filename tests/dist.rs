//! What `make dist` builds and `make test` then looks at: static binaries that start on their machine, are small, and
//! tell nothing about the machine they were built on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const PROGRAMS: [(&str, u64); 2] = [("podkey", 14_000_000), ("podkey-agent", 3_250_000)];
const ARCHITECTURES: [(&str, u16); 2] = [("amd64", 62), ("arm64", 183)];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn binary(architecture: &str, program: &str) -> PathBuf {
    let dist = env::var_os("PODKEY_DIST").map_or_else(|| root().join("dist"), PathBuf::from);
    dist.join(architecture).join(program)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// The types of an ELF file's program headers (elf(5), `e_phoff`, `e_phentsize`, `e_phnum`).
fn program_headers(elf: &[u8]) -> Vec<u32> {
    let (offset, size, count) = (
        u64_at(elf, 32) as usize,
        u16_at(elf, 54) as usize,
        u16_at(elf, 56) as usize,
    );
    (0..count)
        .map(|n| u32::from_le_bytes(elf[offset + n * size..][..4].try_into().unwrap()))
        .collect()
}

#[test]
#[ignore = "needs `make dist`"]
fn binaries_are_static_and_of_their_machine() {
    const PT_INTERP: u32 = 3;
    for (architecture, machine) in ARCHITECTURES {
        for (program, _) in PROGRAMS {
            let elf = fs::read(binary(architecture, program)).unwrap();
            assert_eq!(&elf[..5], b"\x7fELF\x02", "{architecture}/{program}");
            assert_eq!(u16_at(&elf, 18), machine, "{architecture}/{program}");
            assert!(
                !program_headers(&elf).contains(&PT_INTERP),
                "{architecture}/{program} asks for a loader"
            );
        }
    }
}

#[test]
#[ignore = "needs `make dist`"]
fn binaries_are_small() {
    for (architecture, _) in ARCHITECTURES {
        for (program, limit) in PROGRAMS {
            let size = fs::metadata(binary(architecture, program)).unwrap().len();
            assert!(
                size <= limit,
                "{architecture}/{program}: {size} bytes, {limit} are allowed"
            );
        }
    }
}

#[test]
#[ignore = "needs `make dist`"]
fn binaries_name_no_folder_of_the_machine_they_were_built_on() {
    let home = env::var("HOME").unwrap();
    let cargo = env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    for (architecture, _) in ARCHITECTURES {
        for (program, _) in PROGRAMS {
            let bytes = fs::read(binary(architecture, program)).unwrap();
            for folder in [cargo.as_str(), env!("CARGO_MANIFEST_DIR")] {
                let found = bytes.windows(folder.len()).any(|window| window == folder.as_bytes());
                assert!(!found, "{architecture}/{program} names {folder}");
            }
        }
    }
}

#[test]
#[ignore = "needs `make dist`"]
fn binaries_start_and_tell_their_version() {
    let here = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    for (architecture, _) in ARCHITECTURES {
        for (program, _) in PROGRAMS {
            let path = binary(architecture, program);
            let mut command = match (architecture, here) {
                (wanted, here) if wanted == here => Command::new(&path),
                ("arm64", _) => {
                    let mut qemu = Command::new(root().join(".tools/bin/qemu-aarch64-static"));
                    qemu.arg(&path);
                    qemu
                }
                // There is no emulator for amd64 among the tools: an arm64 machine leaves this one out.
                _ => continue,
            };
            let output = command.arg("--version").env_clear().output().unwrap();
            assert!(output.status.success(), "{architecture}/{program}: {}", output.status);
            assert_eq!(
                String::from_utf8_lossy(&output.stdout),
                format!("{program} {}\n", env!("CARGO_PKG_VERSION")),
                "{architecture}"
            );
        }
    }
}

/// The tool for workstations is built for this machine at least.
fn tool() -> PathBuf {
    let here = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    binary(here, "kubectl-podkey")
}

#[test]
#[ignore = "needs `make dist`"]
fn the_tool_for_workstations_is_static_small_and_a_plugin() {
    const PT_INTERP: u32 = 3;
    const LIMIT: u64 = 32_000_000;
    let elf = fs::read(tool()).unwrap();
    assert!(
        !program_headers(&elf).contains(&PT_INTERP),
        "the tool asks for a loader"
    );
    assert!((elf.len() as u64) < LIMIT, "{} bytes, {LIMIT} are allowed", elf.len());
    let help = Command::new(tool()).arg("--help").env_clear().output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(
        help.contains("Usage: kubectl podkey ") && help.contains("doctor"),
        "{help}"
    );
}

#[test]
#[ignore = "needs `make dist`"]
fn the_tool_has_manual_pages_and_completions() {
    let dist = tool().ancestors().nth(2).unwrap().to_owned();
    for file in [
        "man/podkey.1",
        "man/podkey-explain.1",
        "completions/podkey.bash",
        "completions/_kubectl-podkey",
    ] {
        assert!(fs::metadata(dist.join(file)).unwrap().len() > 100, "{file}");
    }
}

#[test]
#[ignore = "needs `make dist`"]
fn the_image_s_podkey_has_no_command_of_the_tool() {
    let podkey = tool().with_file_name("podkey");
    let help = Command::new(&podkey).arg("--help").env_clear().output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(
        help.contains("  serve ") && help.contains("  inject ") && !help.contains("doctor"),
        "{help}"
    );
    for command in ["doctor", "explain", "completion"] {
        let refused = Command::new(&podkey).arg(command).env_clear().output().unwrap();
        assert_eq!(refused.status.code(), Some(64), "{command}");
    }
}
