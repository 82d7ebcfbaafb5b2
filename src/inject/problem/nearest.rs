//! Messages about a word that is none of the known words, with the nearest of them.

use crate::plan::words::none_of;
use crate::text::{nearest, quoted};

/// That a value is not one of the fixed words, with the nearest of them.
pub(crate) fn one_of(written: &str, allowed: &[&str]) -> String {
    format!(
        "{} {}{}",
        quoted(written),
        none_of(allowed),
        did_you_mean(written, allowed.iter().copied())
    )
}

/// ` (did you mean "x"?)` with the candidate that is nearest to the written text. Empty: no candidate is near.
pub(crate) fn did_you_mean<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(written, candidates)
        .map(|candidate| format!(" (did you mean {candidate:?}?)"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_nearest_candidate_and_nothing_if_no_candidate_is_near() {
        let keys = ["role", "files", "containers"];
        assert_eq!(did_you_mean("fiels", keys), " (did you mean \"files\"?)");
        assert_eq!(did_you_mean("inject", keys), "");
    }
}
