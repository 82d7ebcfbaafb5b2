//! Entries of several steps that make one variable: a pod has one variable of a name, for every job.

use super::block::Block;
use super::part::{Item, ItemList};
use crate::text::quoted;

impl Block<'_> {
    /// Why an entry cannot be beside the others: an equal variable of another secret.
    pub(super) fn conflict(&self, others: &[(usize, Item)], of: usize, item: &Item) -> Option<String> {
        let job_of = |number: usize| self.parts[number].found.job;
        let Some(name) = item.name.as_ref() else {
            let prefix = item.prefix.as_ref()?;
            let (number, other) = others.iter().find(|(number, other)| {
                let overlaps = |other: &String| other.starts_with(prefix) || prefix.starts_with(other);
                job_of(*number) != job_of(of) && other.prefix.as_ref().is_some_and(overlaps)
            })?;
            return Some(format!(
                "{} at {} may make variables of the same names for another job, and podkey then fails every job on this runner: give one of \
                the two a prefix (\"| PREFIX_\"), or run the two jobs on two scale sets, each with a block of its own",
                quoted(&other.written),
                self.parts[*number].found.place(),
            ));
        };
        let rename = match item.list {
            ItemList::Files => "\"env:\" of the file",
            ItemList::Env | ItemList::JobEnv => "\"| NAME\"",
        };
        let (number, other) = others.iter().find(|(_, other)| other.name.as_ref() == Some(name))?;
        if job_of(*number) == job_of(of) {
            return Some(format!(
                "{name} is also made of {} at {} in the same job: give one of the two another name ({rename}), and let the steps choose, as \
                in ${{{{ CONDITION && env.ONE || env.OTHER }}}}",
                quoted(&other.written),
                self.parts[*number].found.place(),
            ));
        }
        Some(format!(
            "{name} is also made of {} at {}, and every job on this runner would get the same value: give one of the two another name ({}), \
            or run the two jobs on two scale sets, each with a block of its own",
            quoted(&other.written),
            self.parts[*number].found.place(),
            rename,
        ))
    }

    /// Variables of one job whose names a wildcard of another job may make too.
    pub(super) fn wildcards(&mut self) {
        let wildcards = self
            .items
            .iter()
            .filter_map(|(number, item)| Some((*number, item, item.prefix.as_ref()?)));
        for (number, item, prefix) in wildcards {
            let named = self.items.iter().filter(|(of, named)| {
                let name = named.name.as_ref().map(|name| name.to_uppercase());
                self.parts[*of].found.job != self.parts[number].found.job
                    && name.is_some_and(|name| name.starts_with(prefix))
            });
            let names: Vec<&str> = named.filter_map(|(_, named)| named.name.as_deref()).collect();
            if !names.is_empty() {
                self.notes.push(format!(
                    "not checked: whether {} makes a variable of another job: {}: podkey then fails every job on this runner",
                    quoted(&item.written),
                    names.join(", ")
                ));
            }
        }
    }
}
