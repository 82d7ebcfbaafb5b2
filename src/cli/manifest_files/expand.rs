//! From the files and folders of the command line to the manifests. A folder is taken as kubectl takes it: by the endings of the names,
//! in the order of the names, hidden folders too; a symlink to a folder is not followed, so that nothing is read for ever.
//! <https://github.com/kubernetes/cli-runtime>, `pkg/resource/visitor.go`, `ExpandPathsToFileVisitors`

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::Input;

/// The endings of manifests' names.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// The most manifests of one command.
const MAX_FILES: usize = 10_000;
/// The deepest folder below a named folder.
const MAX_DEPTH: usize = 64;

/// The error: too many files.
pub(super) fn expand(named: &[&PathBuf], is_recursive: bool) -> anyhow::Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for path in named {
        match path.as_os_str() == "-" {
            // Standard input can be read once.
            true if inputs.contains(&Input::Standard) => {}
            true => inputs.push(Input::Standard),
            false if path.is_dir() => add_folder(path, is_recursive, &mut inputs),
            false => inputs.push(Input::File {
                path: (*path).clone(),
                is_named: true,
            }),
        }
        if inputs.len() > MAX_FILES {
            anyhow::bail!("more than {MAX_FILES} files: name fewer folders");
        }
    }
    Ok(inputs)
}

fn add_folder(folder: &Path, is_recursive: bool, inputs: &mut Vec<Input>) {
    let depth = if is_recursive { MAX_DEPTH } else { 1 };
    let mut entries = WalkDir::new(folder).max_depth(depth).sort_by_file_name().into_iter();
    while let Some(entry) = entries.next() {
        if inputs.len() > MAX_FILES {
            return;
        }
        match entry {
            Ok(entry) if is_folder(&entry) => {
                let is_read = entry.depth() < depth;
                if is_read && is_chart(entry.path()) {
                    inputs.push(Input::Chart {
                        path: entry.path().to_owned(),
                        is_named: entry.depth() == 0,
                    });
                    entries.skip_current_dir();
                }
            }
            Ok(entry) if has_ending(entry.path()) && entry.path().is_file() => inputs.push(Input::File {
                path: entry.path().to_owned(),
                is_named: false,
            }),
            Ok(_) => {}
            Err(error) => inputs.push(Input::Unreadable(format!("cannot read {error}"))),
        }
    }
}

/// Whether the entry is a folder, or the named folder itself, which may be a symlink to a folder.
fn is_folder(entry: &DirEntry) -> bool {
    entry.file_type().is_dir() || entry.depth() == 0
}

/// Whether a folder is a Helm chart.
pub(super) fn is_chart(folder: &Path) -> bool {
    folder.join("Chart.yaml").is_file()
}

fn has_ending(path: &Path) -> bool {
    let ending = path.extension().and_then(OsStr::to_str);
    ending.is_some_and(|ending| ENDINGS.contains(&ending))
}

/// The files of a chart that may say something of podkey, in the chart's folders.
pub(super) fn files_of_chart(chart: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = WalkDir::new(chart)
        .max_depth(MAX_DEPTH)
        .into_iter()
        .filter_map(Result::ok);
    let files = entries.filter(|entry| entry.file_type().is_file());
    let texts = files.filter(|entry| has_ending(entry.path()) || entry.path().extension() == Some(OsStr::new("tpl")));
    texts.take(MAX_FILES).map(DirEntry::into_path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(root: &Path, is_recursive: bool) -> Vec<String> {
        let inputs = expand(&[&root.to_owned()], is_recursive).unwrap();
        let shown = |path: &Path| {
            path.strip_prefix(root)
                .unwrap()
                .display()
                .to_string()
                .replace('\\', "/")
        };
        let shown = inputs.iter().map(|input| match input {
            Input::File { path, .. } => shown(path),
            Input::Chart { path, .. } => format!("chart {}", shown(path)),
            other => format!("{other:?}"),
        });
        shown.collect()
    }

    #[test]
    fn a_folder_is_taken_by_the_endings_and_in_the_order_of_the_names() {
        let root = tempfile::tempdir().unwrap();
        for file in [
            "b.yml",
            "a.yaml",
            "c.json",
            "README.md",
            "x.yaml.bak",
            ".hidden/h.yaml",
            "deep/er/d.yaml",
            "web/Chart.yaml",
            "web/templates/web.yaml",
        ] {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(root.path(), root.path().join("loop")).unwrap();
        assert_eq!(expanded(root.path(), false), ["a.yaml", "b.yml", "c.json"]);
        assert_eq!(
            expanded(root.path(), true),
            [
                ".hidden/h.yaml",
                "a.yaml",
                "b.yml",
                "c.json",
                "deep/er/d.yaml",
                "chart web"
            ]
        );
        assert_eq!(expanded(&root.path().join("web"), false), ["chart "]);
    }
}
