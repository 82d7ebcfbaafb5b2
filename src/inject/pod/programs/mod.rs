//! The programs that a container runs, as far as the pod shows them: the command, the commands of probes and lifecycle hooks, and the
//! scripts that these begin with.
//!
//! A path that a program only gets as an argument, such as `--config /etc/app.yaml` or `. /etc/app.env`, is not a program.

mod expansion;
mod search;
mod words;

use serde::Deserialize;
use serde_json::value::RawValue;

pub(crate) use expansion::Expansion;
use search::ProgramSearch;

use crate::inject::pod::container::Container;
use crate::inject::pod::text::Text;
use crate::plan::EXEC;

/// Calls `found` with the path of each program that the container runs.
pub(crate) fn for_each_program(container: &Container<'_>, mut found: impl FnMut(&str)) {
    let mut expansion = Expansion::of(container);
    let mut search = ProgramSearch::new(&mut found);
    if let Some(directory) = container.working_dir.as_deref().filter(|path| path.starts_with('/')) {
        search.enter(directory);
    }
    search_command(container, &mut expansion, &mut search);
    let hooks: LifecycleHooks<'_> = parsed(container.lifecycle).unwrap_or_default();
    for action in [
        parsed(container.liveness_probe),
        parsed(container.readiness_probe),
        parsed(container.startup_probe),
        hooks.post_start,
        hooks.pre_stop,
    ] {
        let Some(exec) = action.and_then(|action: ContainerAction<'_>| action.exec) else {
            continue;
        };
        let words: Vec<_> = exec.command.iter().map(|word| expansion.expand(word)).collect();
        let words: Vec<&str> = words.iter().map(|word| &**word).collect();
        search.run(&words);
    }
}

fn search_command(container: &Container<'_>, expansion: &mut Expansion<'_, '_>, search: &mut ProgramSearch<'_>) {
    let (command, args) = (container.command(), container.args());
    let words = command.iter().chain(&args);
    let words: Vec<_> = words.map(|word| expansion.expand(word)).collect();
    let words: Vec<&str> = words.iter().map(|word| &**word).collect();
    let words = words.strip_prefix(&EXEC[..]).unwrap_or(&words);
    if let Some(name) = words.first().filter(|word| !word.contains('/')) {
        let path = container.variables(|var| var.name == "PATH");
        let path = path.get("PATH").and_then(|var| var.value.as_deref());
        let path = path.map(|path| expansion.expand(path));
        for directory in path.iter().flat_map(|path| path.split(':')) {
            search.add(&format!("{directory}/{name}"));
        }
    }
    // Without a command, the image's own command gets the arguments. They may begin with a script for it.
    if !command.is_empty() || words.first().is_some_and(|word| words::may_run(word)) {
        search.run(words);
    }
}

/// A probe or a lifecycle hook.
#[derive(Deserialize)]
struct ContainerAction<'a> {
    #[serde(borrow, default)]
    exec: Option<ExecAction<'a>>,
}

#[derive(Deserialize)]
struct ExecAction<'a> {
    #[serde(borrow, default)]
    command: Vec<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LifecycleHooks<'a> {
    #[serde(borrow, default)]
    post_start: Option<ContainerAction<'a>>,
    #[serde(borrow, default)]
    pre_stop: Option<ContainerAction<'a>>,
}

/// None if the field is absent, or does not parse: the API server will refuse such a pod.
fn parsed<'a, T: Deserialize<'a>>(text: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(text?.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::pod::Pod;

    fn programs(container: &str) -> Vec<String> {
        let pod = format!(r#"{{"spec":{{"containers":[{{"name":"web",{container}}}]}}}}"#);
        let pod = Pod::parse(&pod).unwrap();
        let mut programs = Vec::new();
        for_each_program(&pod.spec.containers[0], |path| programs.push(path.to_owned()));
        // The search may find a word in two ways.
        programs.dedup();
        programs
    }

    #[test]
    fn programs_are_found_and_data_files_are_not() {
        for (container, expected) in [
            (r#""command":["/app/run"]"#, &["/app/run"][..]),
            (
                r#""command":["/app//bin/../run","--config","/etc/app.yaml"]"#,
                &["/app/run"],
            ),
            (
                r#""command":["./run.sh"],"workingDir":"/home/runner""#,
                &["/home/runner/run.sh"],
            ),
            (r#""command":["./run.sh"]"#, &[]),
            (
                r#""command":["app"],"env":[{"name":"PATH","value":"/opt/app:/bin"}]"#,
                &["/opt/app/app", "/bin/app"],
            ),
            (
                r#""command":["bash","-eu","/app/start.sh","/etc/app.env"]"#,
                &["/app/start.sh"],
            ),
            (
                r#""command":["/bin/sh"],"args":["-ec","exec /app/run --x /etc/x"]"#,
                &["/bin/sh", "/app/run"],
            ),
            (
                r#""command":["sh","-c","A=1 /a/b && if [ -f /x ]; then sudo -E /c/d; fi\n. /run/web.env; \"/e/f\" | /g/h"]"#,
                &["/a/b", "/c/d", "/e/f", "/g/h"],
            ),
            (
                r#""command":["sh","-c","cat /etc/passwd; bash /a.sh /etc/a"]"#,
                &["/a.sh"],
            ),
            (r#""command":["bash","-euo","pipefail","-c","sh -c '/a -b'"]"#, &["/a"]),
            (
                r#""command":["tini","-g","--","env","A=b","timeout","5","python3.12","-u","/app/main.py","/x"]"#,
                &["/app/main.py"],
            ),
            (r#""command":["python","-m","app","/etc/app.yaml"]"#, &[]),
            (r#""command":["java","-jar","/app.jar","/etc/app.yaml"]"#, &["/app.jar"]),
            (
                r#""command":["/podkey/bin/podkey-agent","exec","--","/app/run"]"#,
                &["/app/run"],
            ),
            (r#""args":["/app/start.sh","/x"]"#, &["/app/start.sh"]),
            (r#""args":["/etc/redis/redis.conf"]"#, &[]),
            (
                r#""livenessProbe":{"exec":{"command":["/probe"]}},"startupProbe":{"httpGet":{"path":"/no"}},
                "readinessProbe":{"exec":{"command":["sh","-c","/ready"]}},
                "lifecycle":{"preStop":{"exec":{"command":["/stop"]}},"postStart":{"exec":{"command":["/start"]}}}"#,
                &["/probe", "/ready", "/start", "/stop"],
            ),
            (
                r#""command":["sh","-c","cd /srv/arc && ./run.sh; cd sub; ./x"],"preStop":1"#,
                &["/srv/arc/run.sh", "/srv/arc/x", "/srv/arc/sub/x"],
            ),
            (
                r#""command":["sh","-c","(cd /a); ./b"],"workingDir":"/w""#,
                &["/w/b", "/a/b"],
            ),
            (
                r#""command":["$(DIR)/run.sh"],"env":[{"name":"BASE","value":"/srv"},{"name":"DIR","value":"$(BASE)/arc"}]"#,
                &["/srv/arc/run.sh"],
            ),
            (
                r#""command":["/a/$$(DIR)/$(NONE)/$(SELF)"],"env":[{"name":"DIR","value":"/x"},{"name":"SELF","value":"s"}]"#,
                &["/a/$(DIR)/$(NONE)/s"],
            ),
            (
                r#""command":["sudo","-u","app","/app/run","--x","/etc/x"]"#,
                &["/app/run"],
            ),
            (r#""command":["nice","-n","10","/app/run"]"#, &["/app/run"]),
            (r#""command":["env","-u","X","/app/run"]"#, &["/app/run"]),
            (r#""command":["setpriv","--reuid","1","/app/run"]"#, &["/app/run"]),
            (r#""command":["timeout","-k","5","10","/app/run"]"#, &["/app/run"]),
            (r#""command":["timeout","--foreground","5","/app/run"]"#, &["/app/run"]),
            (
                r#""command":["timeout","--foreground","5","sh","-c","cd /a; ./b"]"#,
                &["/a/b"],
            ),
            (
                r#""command":["su","app","-c","/app/run --x"]"#,
                &["/app/run --x", "/app/run"],
            ),
            (r#""command":["su","-c","/app/run","app"]"#, &["/app/run"]),
            (
                r#""command":["runuser","-u","app","--","/app/run","/x"]"#,
                &["/app/run"],
            ),
            (r#""command":["flock","/lock","/app/run","/x"]"#, &["/lock", "/app/run"]),
            (r#""command":["xargs","-n","1","/app/run"]"#, &["/app/run"]),
            (r#""command":["s6-setuidgid","app","/app/run"]"#, &["/app/run"]),
            (r#""command":["gosu","app","sh","/app/run"]"#, &["/app/run"]),
            (r#""command":["su-exec","app","/app/run","/x"]"#, &["/app/run"]),
            (r#""command":["chroot","/root","/app/run"]"#, &["/root", "/app/run"]),
            (r#""command":["stdbuf","-oL","/app/run"]"#, &["/app/run"]),
            (r#""command":["ionice","-c","3","/app/run"]"#, &["/app/run"]),
            (r#""command":["taskset","-c","0","/app/run"]"#, &["/app/run"]),
            (r#""command":["unshare","-r","/app/run"]"#, &["/app/run"]),
            (r#""command":["nsenter","-t","1","-m","/app/run"]"#, &["/app/run"]),
            (r#""command":["catatonit","--","/app/run","--x","/x"]"#, &["/app/run"]),
            (
                r#""command":["/tini","-s","--","sudo","-u","a","/app/run"]"#,
                &["/tini", "/app/run"],
            ),
            (r#""command":["dumb-init","/app/run","--x","/x"]"#, &["/app/run"]),
            (r#""livenessProbe":7,"lifecycle":[],"command":{}"#, &[]),
        ] {
            assert_eq!(programs(container), expected, "{container}");
        }
    }

    #[test]
    fn variables_that_name_variables_are_expanded_to_a_limit() {
        let doubling: Vec<String> = (0..40)
            .map(|n| format!(r#"{{"name":"V{n}","value":"$(V{0})$(V{0})"}}"#, n + 1))
            .collect();
        let container = format!(r#""command":["/a/$(V0)","/b"],"env":[{}]"#, doubling.join(","));
        assert_eq!(programs(&container).len(), 1);
        let itself = r#""command":["/a/$(V)"],"env":[{"name":"V","value":"/x/$(V)"}]"#;
        assert_eq!(programs(itself).len(), 1);
    }
}
