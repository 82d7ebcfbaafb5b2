//! A page: its text, and the code blocks, links and headings in it.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::root;

/// The pages that are not below one of [`FOLDERS`].
const FILES: [&str; 4] = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];
/// The folders whose pages are checked, with all folders below.
const FOLDERS: [&str; 4] = ["docs", "manifests", "certs", "benches"];

/// The beginning of a comment on the line before a block that is not checked; behind it the reason.
const NOT_CHECKED: &str = "<!-- not checked: ";

pub(crate) struct Page {
    /// From the root of the repository.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A block of code between fences.
pub(crate) struct Block {
    /// The first word behind the fence: `yaml`, `sh`.
    pub(crate) language: String,
    pub(crate) text: String,
    /// The number of the line with the opening fence.
    pub(crate) line: usize,
    /// Why the block is not checked, where the author says so.
    pub(crate) not_checked: Option<String>,
}

/// A link or a picture.
pub(crate) struct Link {
    pub(crate) to: String,
    pub(crate) line: usize,
}

/// All pages, by path.
pub(crate) fn all() -> Vec<Page> {
    let mut paths: Vec<String> = FILES.map(str::to_owned).into();
    for folder in FOLDERS {
        for entry in walkdir::WalkDir::new(root().join(folder)).sort_by_file_name() {
            let entry = entry.unwrap();
            if entry.path().extension().is_some_and(|extension| extension == "md") {
                let path = entry.path().strip_prefix(root()).unwrap();
                paths.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    assert!(paths.len() > 10, "{paths:?}");
    paths.iter().map(|path| Page::read(path)).collect()
}

impl Page {
    pub(crate) fn read(path: &str) -> Self {
        let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self {
            path: path.to_owned(),
            text,
        }
    }

    /// Whether the page is the book's list of pages, which mdBook wants in a form of its own.
    pub(crate) fn is_summary(&self) -> bool {
        self.path == crate::book::SUMMARY
    }

    /// The folder of the page, from the root of the repository.
    pub(crate) fn folder(&self) -> &Path {
        Path::new(&self.path).parent().unwrap()
    }

    fn events(&self) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
        Parser::new_ext(&self.text, Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES).into_offset_iter()
    }

    /// The number of the line at the byte.
    fn line(&self, byte: usize) -> usize {
        self.text[..byte].matches('\n').count() + 1
    }

    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (event, range) in self.events() {
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    open = Some(Block {
                        language: info.split([' ', ',']).next().unwrap_or_default().to_owned(),
                        text: String::new(),
                        line: self.line(range.start),
                        not_checked: self.reason_before(range.start),
                    });
                }
                Event::Text(text) => {
                    if let Some(block) = &mut open {
                        block.text.push_str(&text);
                    }
                }
                Event::End(TagEnd::CodeBlock) => blocks.extend(open.take()),
                _ => {}
            }
        }
        blocks
    }

    /// The reason in the comment on the line before the byte.
    fn reason_before(&self, byte: usize) -> Option<String> {
        let start = self.text[..byte].rfind('\n')?;
        let line = self.text[..start].rsplit('\n').next()?.trim();
        let reason = line.strip_prefix(NOT_CHECKED)?.strip_suffix("-->")?.trim();
        (!reason.is_empty()).then(|| reason.to_owned())
    }

    /// The targets of links and pictures, those in HTML included.
    pub(crate) fn links(&self) -> Vec<Link> {
        let mut links = Vec::new();
        for (event, range) in self.events() {
            let line = self.line(range.start);
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => links.push(Link {
                    to: dest_url.into_string(),
                    line,
                }),
                Event::Html(html) | Event::InlineHtml(html) => {
                    let targets = attributes(&html, &["src", "href", "srcset"]);
                    links.extend(targets.map(|to| Link { to, line }));
                }
                _ => {}
            }
        }
        links
    }

    /// The anchors of the page: those of its headings as a forge makes them, and those in HTML.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut anchors = Vec::new();
        let mut heading: Option<String> = None;
        for (event, _) in self.events() {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let slug = slug(&heading.take().unwrap_or_default());
                    let count = seen.entry(slug.clone()).or_default();
                    anchors.push(match *count {
                        0 => slug,
                        _ => format!("{slug}-{count}"),
                    });
                    *count += 1;
                }
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::Html(html) | Event::InlineHtml(html) => anchors.extend(attributes(&html, &["id", "name"])),
                _ => {}
            }
        }
        anchors
    }
}

/// The anchor that GitHub makes of a heading: lower case, blanks as dashes, and no other character than letters, digits, `-` and `_`.
/// <https://docs.github.com/en/get-started/writing-on-github/getting-started-with-writing-and-formatting-on-github/basic-writing-and-formatting-syntax#section-links>
pub(crate) fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    });
    kept.flat_map(char::to_lowercase).collect()
}

/// The values of the attributes in a piece of HTML.
fn attributes(html: &str, names: &[&str]) -> impl Iterator<Item = String> {
    let mut values = Vec::new();
    for name in names {
        for (at, found) in html.match_indices(&format!("{name}=\"")) {
            let begins = html[..at].ends_with(char::is_whitespace);
            let value = html[at + found.len()..].split('"').next().unwrap_or_default();
            if begins {
                values.push(value.to_owned());
            }
        }
    }
    values.into_iter()
}

#[test]
fn anchors_are_as_a_forge_makes_them() {
    for (heading, wanted) in [
        ("Who can do what", "who-can-do-what"),
        ("`podkey explain NAME`", "podkey-explain-name"),
        ("Pods, and more: a list", "pods-and-more-a-list"),
        ("connections.NAME.allow[].secrets", "connectionsnameallowsecrets"),
        ("vault-k8s' own test_cases", "vault-k8s-own-test_cases"),
        ("A – B", "a--b"),
    ] {
        let text = format!("# {heading}\n");
        let page = Page {
            path: "a.md".to_owned(),
            text,
        };
        assert_eq!(page.anchors(), [wanted]);
    }
    let text = "# A\n\n## B\n\n## B\n\n<a id=\"c\"></a>\n\n```\n# no heading\n```\n".to_owned();
    let page = Page {
        path: "a.md".to_owned(),
        text,
    };
    assert_eq!(page.anchors(), ["a", "b", "b-1", "c"]);
}
