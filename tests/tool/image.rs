//! The image's podkey is small: what the workstation's commands need is no part of it.

use std::process::Command;

#[test]
fn the_image_s_podkey_has_no_second_client_of_vault_and_no_completions() {
    let tree = |features: &str| {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let args = [
            "tree",
            "--locked",
            "--offline",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--no-default-features",
            "--features",
            features,
        ];
        let output = Command::new(cargo)
            .args(args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let has = |tree: &str, name: &str| tree.lines().any(|line| line.split(' ').next() == Some(name));
    let (image, tool) = (tree("webhook"), tree("cli"));
    for name in [
        "reqwest",
        "vaultrs",
        "clap_complete",
        "clap_mangen",
        "tabwriter",
        "anstream",
    ] {
        assert!(
            has(&tool, name),
            "{name} is no part of the tool: drop it from this list"
        );
        assert!(!has(&image, name), "{name} is part of the image's podkey");
    }
}
