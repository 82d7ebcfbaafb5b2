//! Holds the picture in `src/lib.rs`: which room may use which, that no files use each other in a loop, and that the lower half
//! is pure. Reads `src/` with a parser.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod checks;
mod circles;
mod modules;
mod paths;
mod rooms;

use std::path::{Path, PathBuf};

use self::modules::Crate;

#[test]
fn the_arrows_point_downward() {
    let wrong: Vec<String> = production().iter().flat_map(checks::arrows).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// So that the table, and the picture, show only arrows that exist.
#[test]
fn every_arrow_of_the_table_is_used() {
    let used: Vec<(&str, &str)> = production().iter().flat_map(checks::used).collect();
    let all = rooms::MAY_USE
        .iter()
        .flat_map(|(from, to)| to.iter().map(|to| (*from, *to)));
    let unused: Vec<_> = all.filter(|arrow| !used.contains(arrow)).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn the_lower_half_is_pure() {
    let wrong: Vec<String> = production().iter().flat_map(checks::impurities).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_volume_knows_its_layout() {
    let wrong: Vec<String> = production().iter().flat_map(checks::layout).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Without loops, a reader can read each file after the files that the file uses.
#[test]
fn no_file_imports_another_in_a_loop() {
    let files = production().into_iter();
    let circles = circles::circles(&files.collect::<Vec<_>>());
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

/// The page is for those who do not read the code: both show one picture.
#[test]
fn the_page_has_the_picture_of_the_library() {
    let read = |path: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let picture = |text: &str| -> Vec<String> {
        let lines = text.lines().skip_while(|line| !line.contains("kube-apiserver  "));
        lines.take_while(|line| *line != "```").map(str::to_owned).collect()
    };
    let library: Vec<String> = read("src/lib.rs")
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned())
        .collect();
    let (page, library) = (
        picture(&read("docs/design/architecture.md")),
        picture(&library.join("\n")),
    );
    assert!(library.len() > 20, "src/lib.rs has no picture");
    assert_eq!(page, library, "docs/design/architecture.md, and src/lib.rs");
}

#[test]
fn every_room_of_the_table_exists() {
    for (room, _) in rooms::MAY_USE {
        let path = Path::new("src").join(room.replace("::", "/"));
        assert!(
            path.is_dir() || path.with_extension("rs").is_file(),
            "there is no {}",
            path.display()
        );
    }
}

/// A file that no `mod` names is compiled by nobody, and checked by none of these tests.
#[test]
fn every_file_belongs_to_the_crate() {
    let reached = Crate::read(Path::new("src"));
    for path in rust_files(Path::new("src")) {
        let is_program = [Path::new("src/main.rs"), Path::new("src/serve.rs")].contains(&path.as_path())
            || path.starts_with("src/bin");
        assert!(
            is_program || reached.files.contains(&path),
            "no mod reaches {}",
            path.display()
        );
    }
}

#[test]
fn every_file_says_why_it_exists() {
    for path in rust_files(Path::new("src"))
        .into_iter()
        .chain(rust_files(Path::new("tests")))
    {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} does not begin with //!", path.display());
    }
}

/// The modules that are compiled without `cfg(test)`.
fn production() -> Vec<modules::Module> {
    Crate::read(Path::new("src")).production
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
