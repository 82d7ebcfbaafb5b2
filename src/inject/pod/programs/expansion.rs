//! References to variables, `$(NAME)`, replaced as the kubelet replaces them.

use std::borrow::Cow;
use std::cell::OnceCell;

use crate::inject::pod::container::Container;
use crate::inject::pod::variables::Variables;

/// The most that references add to the texts of one container, in bytes.
const MAX_BYTES: usize = 16 * 1024;
/// How often a value may name a variable whose value names another variable.
const MAX_DEPTH: usize = 8;

/// Replaces `$(NAME)` in texts of one container by the values of the container's plain variables.
pub(crate) struct Expansion<'c, 'a> {
    container: &'c Container<'a>,
    /// Read at the first reference. Most containers have none, and a container may have thousands of variables.
    variables: OnceCell<Variables<'a>>,
    /// How many bytes the values may still add.
    room: usize,
}

impl<'c, 'a> Expansion<'c, 'a> {
    pub(crate) fn of(container: &'c Container<'a>) -> Self {
        Self {
            container,
            variables: OnceCell::new(),
            room: MAX_BYTES,
        }
    }

    /// The text with the values in the place of the references.
    pub(crate) fn expand<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        if !text.contains("$(") {
            return Cow::Borrowed(text);
        }
        let variables = self.variables.get_or_init(|| self.container.variables(|_| true));
        let mut out = String::with_capacity(text.len());
        expand_into(&mut out, text, variables, MAX_DEPTH, &mut self.room);
        Cow::Owned(out)
    }
}

fn expand_into(out: &mut String, text: &str, variables: &Variables<'_>, depth: usize, room: &mut usize) {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, reference) = rest.split_at(at);
        out.push_str(before);
        if let Some(escaped) = reference.strip_prefix("$$") {
            out.push('$');
            rest = escaped;
            continue;
        }
        let name = reference.strip_prefix("$(").and_then(|inner| inner.split_once(')'));
        let value = name.and_then(|(name, after)| Some((variables.get(name)?.value.as_deref()?, after)));
        match value.filter(|(value, _)| depth > 0 && value.len() < *room) {
            Some((value, after)) => {
                *room -= value.len() + 1;
                expand_into(out, value, variables, depth - 1, room);
                rest = after;
            }
            None => {
                out.push('$');
                rest = &reference[1..];
            }
        }
    }
    out.push_str(rest);
}
