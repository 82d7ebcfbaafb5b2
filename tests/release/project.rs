//! The files around the code: the versions that several of them need, and pages that repeat a script.

use super::text;

/// The value after `key`, up to the next character that cannot be part of a version.
fn version_after(text: &str, key: &str) -> String {
    let rest = text.split_once(key).unwrap_or_else(|| panic!("no {key:?}")).1;
    rest.chars()
        .take_while(|character| character.is_ascii_digit() || *character == '.')
        .collect()
}

/// The oldest Rust that builds podkey is the one that it is tested and released with.
#[test]
fn all_files_name_the_same_rust() {
    let oldest = version_after(&text("Cargo.toml"), "\nrust-version = \"");
    let toolchain = version_after(&text("rust-toolchain.toml"), "channel = \"");
    assert_eq!(toolchain, format!("{oldest}.0"));
    let image = version_after(&text("Dockerfile"), "docker.io/library/rust:");
    assert_eq!(image, toolchain, "the Dockerfile's base image");
    assert!(
        text("Dockerfile").contains(&format!("rust:{image}-bookworm@sha256:")),
        "the base image has no digest: a tag can be moved"
    );
    let told = version_after(&text("CONTRIBUTING.md"), "Rust ");
    assert_eq!(told, oldest, "CONTRIBUTING.md");
}

/// What the page tells readers to run is what the release workflow runs after each release.
#[test]
fn the_page_about_verifying_has_the_commands_that_the_release_runs() {
    let page = text("docs/operate/verify.md");
    let script = text(".ci/release");
    let verify = script
        .split_once("\nverify() {")
        .unwrap()
        .1
        .split_once("\n}\n")
        .unwrap()
        .0;
    let commands = |text: &str| -> Vec<String> {
        let whole = text.replace("\\\n", " ");
        let lines = whole
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines
            .filter(|line| {
                ["cosign ", "sha256sum --check", "gh attestation", "IDENTITY=", "ISSUER="]
                    .iter()
                    .any(|start| line.starts_with(start))
            })
            .collect()
    };
    let (shown, run) = (commands(&page), commands(verify));
    assert!(run.len() >= 10, "{run:?}");
    for command in &shown {
        assert!(run.contains(command), "the release does not run: {command}");
    }
    for command in &run {
        assert!(shown.contains(command), "the page does not have: {command}");
    }
}

/// A version in .ci/tools without such a line gets old without anybody's notice.
#[test]
fn every_pinned_tool_says_where_newer_versions_are() {
    let tools = text(".ci/tools");
    let lines: Vec<&str> = tools.lines().collect();
    let mut pinned = 0;
    for pair in lines.windows(2).filter(|pair| {
        pair[1].split_once("_VERSION=").is_some_and(|(name, version)| {
            name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
                && version.starts_with(|first: char| first.is_ascii_digit())
        })
    }) {
        pinned += 1;
        assert!(pair[0].starts_with("# renovate: datasource="), "{}", pair[1]);
    }
    assert!(pinned >= 8, "{pinned}");
    serde_json::from_str::<serde_json::Value>(&text(".github/renovate.json")).unwrap();
}
