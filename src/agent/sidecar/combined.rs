//! Secrets that templates combine: the sidecar keeps the last answer for each of them, because a template of several secrets is
//! made anew when one of them changes. Files that share such a secret change together or not at all.

use std::collections::BTreeMap;

use super::answer::{CombinedSecret, ServerAnswer};
use super::state::{FileOrigin, Sidecar};
use crate::schedule::SecretIndex;
use crate::vault::Wanted;

/// Whether the status of files that stay as they are says why.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TellWhy {
    Yes,
    No,
}

impl Sidecar<'_> {
    /// Makes the files of combined secrets anew whose answers came since the last call.
    pub(super) fn settle(&mut self) {
        let mut unsettled = std::mem::take(&mut self.unsettled);
        while let Some(first) = unsettled.pop() {
            let group = self.group(first);
            unsettled.retain(|other| !group.contains(other));
            self.settle_group(group);
        }
    }

    /// Takes in all newer answers of a group, or those of which files can be made: bad data of one secret keeps no other secret from
    /// its files. The status of the files says why the rest is not taken in.
    fn settle_group(&mut self, mut group: Vec<SecretIndex>) {
        if self.settle_together(&group, TellWhy::No) {
            return;
        }
        let mut before = 0;
        while group.len() > 1 && group.len() != before {
            before = group.len();
            group.retain(|secret| !self.settle_together(&[*secret], TellWhy::No));
        }
        if !group.is_empty() {
            self.settle_together(&group, TellWhy::Yes);
        }
    }

    /// Every secret with a newer answer that shares a file with this secret, or with another secret of the group.
    fn group(&self, first: SecretIndex) -> Vec<SecretIndex> {
        let mut group = vec![first];
        let mut next = 0;
        while let Some(index) = group.get(next).copied() {
            next += 1;
            for origin in self.origins_of(&[index]) {
                for other in self.sources_of(origin) {
                    let has_newer = self.combined(other).is_some_and(|secret| secret.newer.is_some());
                    if has_newer && !group.contains(&other) {
                        group.push(other);
                    }
                }
            }
        }
        group
    }

    /// Makes the files of these secrets from their newer answers, and from the shown answers of all others. Returns whether the next
    /// swap shows the files.
    fn settle_together(&mut self, secrets: &[SecretIndex], tell_why: TellWhy) -> bool {
        let origins = self.origins_of(secrets);
        let unknown = origins
            .iter()
            .flat_map(|origin| self.sources_of(*origin))
            .find(|source| {
                let shown = self.combined(*source).and_then(|secret| secret.shown.as_ref());
                !secrets.contains(source) && shown.is_none()
            });
        if let Some(path) = unknown
            .and_then(|source| self.secret(source))
            .map(|secret| secret.wanted.path.clone())
        {
            if tell_why == TellWhy::Yes {
                self.wait_for(&origins, &path);
            }
            return false;
        }
        let answers: BTreeMap<&Wanted, &ServerAnswer> = (0..self.secrets.len())
            .filter_map(|index| {
                let secret = self.secrets.get(index)?;
                let combined = secret.combined.as_ref()?;
                let newer = combined
                    .newer
                    .as_ref()
                    .filter(|_| secrets.contains(&SecretIndex(index)));
                Some((&secret.wanted, newer.or(combined.shown.as_ref())?))
            })
            .collect();
        let rendered = self.render_together(&origins, &|wanted| answers.get(wanted).copied());
        if rendered.is_refused && tell_why == TellWhy::No {
            return false;
        }
        let settled = !rendered.is_refused;
        self.show(rendered);
        if settled {
            for secret in secrets {
                let secret = self.secrets.get_mut(secret.0);
                if let Some(combined) = secret.and_then(|secret| secret.combined.as_mut())
                    && let Some(newer) = combined.newer.take()
                {
                    combined.shown = Some(newer);
                }
            }
        }
        settled
    }

    /// The origins of all files that are made of at least one of these secrets.
    pub(super) fn origins_of(&self, secrets: &[SecretIndex]) -> Vec<FileOrigin> {
        let files = (0..self.order.files.len()).map(FileOrigin::File);
        let all = files.chain((0..self.order.env.len()).map(FileOrigin::Variable));
        all.filter(|origin| self.sources_of(*origin).iter().any(|source| secrets.contains(source)))
            .collect()
    }

    /// The secrets that a file is made of.
    pub(super) fn sources_of(&self, origin: FileOrigin) -> Vec<SecretIndex> {
        let wanted = origin.wanted(&self.order);
        let secrets = self.secrets.iter().enumerate();
        let sources = secrets.filter(|(_, secret)| wanted.contains(&secret.wanted));
        sources.map(|(index, _)| SecretIndex(index)).collect()
    }

    fn combined(&self, index: SecretIndex) -> Option<&CombinedSecret> {
        self.secret(index)?.combined.as_ref()
    }
}
