//! Commands that the scan of a script finds, and commands that the scan must not report.

use super::*;

fn writes(script: &str) -> Vec<String> {
    let commands = commands(script);
    let writes = commands.iter().filter_map(ShellCommand::write);
    writes
        .map(|write| format!("{} {:?} {}", write.value, write.decode.unwrap_or("-"), write.path))
        .collect()
}

#[test]
fn a_command_that_writes_one_value_into_a_file_is_found() {
    for (script, expected) in [
        ("echo \"$A\" | base64 -d > /tmp/a", "$A \"base64\" /tmp/a"),
        ("echo -n ${A} | base64 --decode >/tmp/a", "${A} \"base64\" /tmp/a"),
        (
            "mkdir -p ~/.kube && echo '${{ steps.x.outputs.k }}' > ~/.kube/config",
            "${{ steps.x.outputs.k }} \"-\" ~/.kube/config",
        ),
        ("base64 -d <<< \"$A\" > $RUNNER_TEMP/a", "$A \"base64\" $RUNNER_TEMP/a"),
        (
            "printf '%s' \"$A\" | base64 -d | tee \"${RUNNER_TEMP}/a b\" > /dev/null",
            "$A \"base64\" ${RUNNER_TEMP}/a b",
        ),
        ("printf \"%s\\n\" \"$A\" > a", "$A \"-\" a"),
        ("cat <<EOF > a\n$A\nEOF\necho x", "$A \"-\" a"),
        ("cat > a <<-'EOF'\n  ${{ env.A }}\n  EOF", "${{ env.A }} \"-\" a"),
        ("echo $A | tr -d '\\r' > a # comment; echo $B > b", "$A \"-\" a"),
        ("echo $A | openssl base64 -d -A > a", "$A \"base64\" a"),
        ("echo $A | xxd -r -p > a", "$A \"hex\" a"),
        ("echo $A | sudo tee /etc/a >/dev/null", "$A \"-\" /etc/a"),
        ("echo $A \\\n  | base64 -d \\\n > a", "$A \"base64\" a"),
        (
            "echo ${{ steps.a.outputs.b && 'x; y' }} > a",
            "${{ steps.a.outputs.b && 'x; y' }} \"-\" a",
        ),
    ] {
        assert_eq!(writes(script), [expected], "{script}");
    }
}

#[test]
fn what_the_scan_does_not_know_is_not_reported() {
    for script in [
        "echo $A",
        "echo \"$A and more\" > a",
        "echo $A $B > a",
        "echo $A >> a",
        "echo $A | base64 > a",
        "echo $A | base64 -d | gunzip > a",
        "echo $A | base64 -d | base64 -d > a",
        "echo $A > $GITHUB_ENV",
        "echo $A > \"$GITHUB_OUTPUT\"",
        "echo $A > /dev/stderr",
        "echo '$A' >",
        "base64 -d $A > a",
        "cat $A > a",
        "cat <<EOF > a\nuser=$A\nEOF",
        "# echo $A > a",
        "echo \"",
        "echo ${{ a",
        "<<",
        "|>|<<<",
    ] {
        assert!(writes(script).is_empty(), "{script}");
    }
}

proptest::proptest! {
    #[test]
    fn no_script_ends_the_scan_with_a_panic(script in "([ -~\\n]|[$]\\{\\{|<<|é|[\"'|;>]){0,60}") {
        for command in commands(&script) {
            let _ = (command.write(), command.is_upkeep());
            let _ = command.assignment();
        }
    }
}

#[test]
fn exports_and_assignments_are_found() {
    let found = |text: &str| {
        let commands = commands(text);
        let assigned = commands[0].assignment()?;
        Some(format!("{} {} {}", assigned.name, assigned.value, assigned.is_exported))
    };
    for (text, expected) in [
        (
            "echo \"KUBECONFIG=/tmp/a\" >> \"$GITHUB_ENV\"",
            Some("KUBECONFIG /tmp/a true"),
        ),
        ("echo KUBECONFIG=$F >> ${GITHUB_ENV}", Some("KUBECONFIG $F true")),
        ("F=\"$RUNNER_TEMP/a\"", Some("F $RUNNER_TEMP/a false")),
        ("export KUBECONFIG=/tmp/a", Some("KUBECONFIG /tmp/a false")),
        ("echo A=b >> c", None),
        ("echo a", None),
        ("A=$(b | c)", None),
    ] {
        assert_eq!(found(text).as_deref(), expected, "{text}");
    }
}
