//! `.ci/release files`: archives, chart and checksums of a release, from programs that are there already; and `.ci/sbom check`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::{refusal, root, script, stdout, text};

const PLATFORMS: [&str; 4] = ["amd64", "arm64", "darwin-amd64", "darwin-arm64"];

/// A `dist/` with a text in place of each program, as a download leaves it: without the right to run.
fn dist() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, path.file_name().unwrap().as_encoded_bytes()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    for platform in PLATFORMS {
        write(&format!("{platform}/kubectl-podkey"));
        if !platform.starts_with("darwin") {
            write(&format!("{platform}/podkey"));
            write(&format!("{platform}/podkey-agent"));
        }
    }
    for program in ["podkey", "podkey-agent", "kubectl-podkey", "kubectl-podkey-darwin"] {
        write(&format!("sbom/{program}.cdx.json"));
    }
    write("man/kubectl-podkey.1");
    write("completions/_kubectl-podkey");
    folder
}

fn pack(dist: &Path) -> Output {
    script(&root().join(".ci/release"))
        .arg("files")
        .env("DIST", dist)
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .output()
        .unwrap()
}

fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// `tar --list`, with modes and owners, without the sizes.
fn listing(archive: &Path) -> String {
    let tar = Command::new("tar")
        .args(["--list", "--verbose", "--numeric-owner", "--file"])
        .arg(archive)
        .output()
        .unwrap();
    stdout(&tar)
}

#[test]
fn a_release_has_each_platform_s_programs_with_checksums() {
    let dist = dist();
    stdout(&pack(dist.path()));
    let release = dist.path().join("release");
    let version = version();
    let mut expected: BTreeSet<String> = BTreeSet::from([
        "SHA256SUMS".to_owned(),
        format!("podkey-{version}-linux-amd64.tar.gz"),
        format!("podkey-{version}-linux-arm64.tar.gz"),
        format!("podkey-chart-{version}.tgz"),
    ]);
    for platform in ["linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"] {
        expected.insert(format!("kubectl-podkey-{version}-{platform}.tar.gz"));
    }
    for program in ["podkey", "podkey-agent", "kubectl-podkey", "kubectl-podkey-darwin"] {
        expected.insert(format!("{program}-{version}.cdx.json"));
    }
    let found = fs::read_dir(&release).unwrap();
    let found: BTreeSet<String> = found
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, expected);
    let sums = fs::read_to_string(release.join("SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), expected.len() - 1, "{sums}");
    stdout(
        &Command::new("sha256sum")
            .args(["--check", "--strict", "SHA256SUMS"])
            .current_dir(&release)
            .output()
            .unwrap(),
    );
}

#[test]
fn programs_in_an_archive_may_run_and_belong_to_nobody() {
    let dist = dist();
    stdout(&pack(dist.path()));
    let version = version();
    let archive = |name: &str| listing(&dist.path().join(format!("release/{name}-{version}-linux-arm64.tar.gz")));
    for (name, programs) in [
        ("podkey", ["podkey", "podkey-agent"].as_slice()),
        ("kubectl-podkey", &["kubectl-podkey"]),
    ] {
        let lines = archive(name);
        for line in lines.lines() {
            let program = programs.iter().any(|program| line.ends_with(&format!("/{program}")));
            let mode = if line.starts_with('d') || program {
                "rwxr-xr-x"
            } else {
                "rw-r--r--"
            };
            assert!(line[1..].starts_with(mode) && line.contains(" 0/0 "), "{line}");
            assert!(line.contains(&format!(" {name}-{version}-linux-arm64/")), "{line}");
        }
        for file in programs.iter().chain(&["LICENSE"]) {
            assert!(lines.contains(&format!("/{file}\n")), "{file}: {lines}");
        }
    }
}

#[test]
fn two_people_pack_the_same_bytes() {
    let [one, other] = [dist(), dist()];
    stdout(&pack(one.path()));
    // Later, with other rights, by somebody with another umask.
    for path in ["amd64/podkey", "man/kubectl-podkey.1"] {
        let path = other.path().join(path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        fs::File::open(&path)
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH)
            .unwrap();
    }
    let packed = Command::new("bash")
        .args(["-c", "umask 077; exec \"$0\" files"])
        .arg(root().join(".ci/release"))
        .env("PATH", script(Path::new("x")).get_envs().next().unwrap().1.unwrap())
        .env("DIST", other.path())
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .env("TZ", "Asia/Kathmandu")
        .output()
        .unwrap();
    stdout(&packed);
    let sums = |dist: &TempDir| fs::read_to_string(dist.path().join("release/SHA256SUMS")).unwrap();
    assert_eq!(sums(&one), sums(&other));
}

#[test]
fn a_release_without_one_of_its_programs_is_refused() {
    for missing in [
        "arm64/podkey-agent",
        "darwin-amd64/kubectl-podkey",
        "sbom/podkey.cdx.json",
        "completions",
    ] {
        let dist = dist();
        let path = dist.path().join(missing);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap()
        } else {
            fs::remove_file(&path).unwrap()
        }
        let message = refusal(&pack(dist.path()));
        assert!(
            message.contains(missing) && message.contains("is missing"),
            "{missing}: {message}"
        );
    }
}

/// The paths of all files below the folder, as they are in a package.
fn chart(folder: &Path, into: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            chart(&path, into);
        } else {
            let path = path.strip_prefix(root().join("manifests/chart")).unwrap();
            into.insert(format!("podkey/{}", path.display()));
        }
    }
}

/// What .helmignore names may be left out, but nothing that helm installs.
#[test]
fn the_chart_s_package_has_what_helm_installs_and_nothing_else() {
    let dist = dist();
    stdout(&pack(dist.path()));
    let package = dist.path().join(format!("release/podkey-chart-{}.tgz", version()));
    let mut files = BTreeSet::new();
    chart(&root().join("manifests/chart"), &mut files);
    let list = stdout(
        &Command::new("tar")
            .arg("--list")
            .arg("--file")
            .arg(&package)
            .output()
            .unwrap(),
    );
    let packed: BTreeSet<String> = list.lines().map(str::to_owned).collect();
    assert!(packed.is_subset(&files), "{packed:?}");
    for file in &files {
        let installed = ["templates/", "dashboards/", "Chart.yaml", "values"];
        let installed = installed
            .iter()
            .any(|start| file.starts_with(&format!("podkey/{start}")));
        assert!(!installed || packed.contains(file), "{file} is not in the package");
    }
    let shown = script(Path::new("helm"))
        .args(["show", "chart"])
        .arg(&package)
        .output()
        .unwrap();
    assert!(stdout(&shown).contains(&format!("\nversion: {}\n", version())));
}

/// A list of contents that says less than the lock file, or something else, is no list of contents.
#[test]
fn a_list_of_contents_that_lacks_a_crate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("podkey-agent.cdx.json");
    let lock = text("Cargo.lock");
    let checksum = lock
        .split("name = \"hyper\"\n")
        .nth(1)
        .unwrap()
        .split("checksum = \"")
        .nth(1)
        .unwrap();
    let hyper = |hash: &str| {
        serde_json::json!({"name": "hyper", "version": "1.0.0", "purl": "pkg:cargo/hyper@1.0.0",
            "hashes": [{"alg": "SHA-256", "content": hash}], "licenses": [{"expression": "MIT"}]})
    };
    for components in [vec![], vec![hyper(&checksum[..64])], vec![hyper("0"), hyper("0")]] {
        let list = serde_json::json!({"bomFormat": "CycloneDX", "specVersion": "1.5", "components": components,
            "metadata": {"component": {"name": "podkey-agent", "version": version()}}});
        fs::write(&path, list.to_string()).unwrap();
        let checked = script(&root().join(".ci/sbom"))
            .arg("check")
            .arg(&path)
            .output()
            .unwrap();
        let message = refusal(&checked);
        assert!(message.contains("hyper") && message.contains("tokio"), "{message}");
    }
}

#[test]
fn the_agent_s_list_of_contents_has_the_lock_file_s_values() {
    let folder = tempfile::tempdir().unwrap();
    let made = script(&root().join(".ci/sbom"))
        .arg("podkey-agent")
        .env("DIST", folder.path())
        .output()
        .unwrap();
    stdout(&made);
    let list = fs::read_to_string(folder.path().join("sbom/podkey-agent.cdx.json")).unwrap();
    let list: Value = serde_json::from_str(&list).unwrap();
    let components = list["components"].as_array().unwrap();
    let lock = text("Cargo.lock");
    let mut names = BTreeSet::new();
    for component in components {
        let [name, version] = ["name", "version"].map(|key| component[key].as_str().unwrap());
        let package = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        let package = lock
            .split("[[package]]\n")
            .find(|one| one.starts_with(&package))
            .unwrap();
        let checksum = component["hashes"][0]["content"].as_str().unwrap();
        assert!(package.contains(&format!("checksum = \"{checksum}\"")), "{component}");
        assert_ne!(component["licenses"][0]["expression"], "", "{component}");
        assert!(names.insert((name, version)), "{name} twice");
    }
    let scope = |name: &str| {
        components
            .iter()
            .find(|one| one["name"] == name)
            .map(|one| one["scope"].as_str().unwrap())
    };
    // Its code is in the agent; it builds the agent; it is the webhook's.
    assert_eq!(
        (scope("hyper"), scope("cc"), scope("kube")),
        (Some("required"), Some("excluded"), None)
    );
}
