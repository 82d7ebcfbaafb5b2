//! Messages about a word that is none of the known words, with the nearest of them.

use crate::plan::words::none_of;
use crate::text::quoted;

/// The most candidates that are compared with a text.
const MAX_CANDIDATES: usize = 64;
/// The longest candidate, in bytes.
const MAX_CANDIDATE_BYTES: usize = 128;
/// The longest text that is compared with candidates, in bytes. A longer text is not a misspelt key, and the comparison costs the
/// square of the length.
const MAX_MISSPELT_BYTES: usize = 64;

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
    if written.len() > MAX_MISSPELT_BYTES {
        return String::new();
    }
    let written = written.to_lowercase();
    let length = written.chars().count();
    candidates
        .into_iter()
        // Container names are candidates too, and a pod may have any number of them, of any length.
        .take(MAX_CANDIDATES)
        .filter(|candidate| candidate.len() <= MAX_CANDIDATE_BYTES)
        .filter_map(|candidate| {
            let near = (candidate.len() / 3).max(1);
            let lowercase = candidate.to_lowercase();
            // The distance is never less than the difference of the lengths.
            let distance = (lowercase.chars().count().abs_diff(length) <= near)
                .then(|| strsim::damerau_levenshtein(&written, &lowercase))?;
            (distance <= near).then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| format!(" (did you mean {candidate:?}?)"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_nearest_candidate_and_nothing_if_no_candidate_is_near() {
        let keys = ["role", "files", "containers"];
        assert_eq!(did_you_mean("fiels", keys), " (did you mean \"files\"?)");
        assert_eq!(did_you_mean("Role", keys), " (did you mean \"role\"?)");
        assert_eq!(did_you_mean("inject", keys), "");
        assert_eq!(did_you_mean(&"x".repeat(100_000), keys), "");
    }
}
