//! The known word that a misspelt word was probably meant to be, for messages.

/// The most candidates that are compared with a word.
const MAX_CANDIDATES: usize = 64;
/// The longest candidate, in bytes.
const MAX_CANDIDATE_BYTES: usize = 128;
/// The longest word that is compared with candidates, in bytes. A longer word is not a misspelt one, and the comparison costs the
/// square of the length.
const MAX_MISSPELT_BYTES: usize = 64;

/// The candidate that is nearest to the written word: at most a third of its letters differ, and case does not count. None: no
/// candidate is near.
pub(crate) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if written.len() > MAX_MISSPELT_BYTES {
        return None;
    }
    let written: Vec<char> = written.to_lowercase().chars().collect();
    let near = candidates
        .into_iter()
        // Container names and fields of a secret are candidates too: there may be any number of them, of any length.
        .take(MAX_CANDIDATES)
        .filter(|candidate| candidate.len() <= MAX_CANDIDATE_BYTES)
        .filter_map(|candidate| {
            let limit = (candidate.len() / 3).max(1);
            let lowercase: Vec<char> = candidate.to_lowercase().chars().collect();
            // The distance is never less than the difference of the lengths.
            let distance =
                (lowercase.len().abs_diff(written.len()) <= limit).then(|| distance(&written, &lowercase))?;
            (distance <= limit).then_some((distance, candidate))
        });
    near.min().map(|(_, candidate)| candidate)
}

/// How many letters must be added, dropped, replaced or swapped with their neighbour to make `b` of `a` (the optimal string
/// alignment distance).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let (mut before_last, mut row) = (last.clone(), last.clone());
    for (i, x) in a.iter().enumerate() {
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before_last[j - 1] + 1);
            }
            row[j + 1] = best;
        }
        std::mem::swap(&mut before_last, &mut last);
        std::mem::swap(&mut last, &mut row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_nearest_candidate_and_nothing_if_no_candidate_is_near() {
        let keys = ["role", "files", "containers"];
        assert_eq!(nearest("fiels", keys), Some("files"));
        assert_eq!(nearest("Role", keys), Some("role"));
        assert_eq!(nearest("inject", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest(&"x".repeat(100_000), keys), None);
    }

    #[test]
    fn counts_added_dropped_replaced_and_swapped_letters() {
        for (a, b, expected) in [
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("abc", "axc", 1),
            ("abcd", "abdc", 1),
            ("abc", "cab", 2),
            ("kitten", "sitting", 3),
        ] {
            let chars = |text: &str| text.chars().collect::<Vec<char>>();
            assert_eq!(distance(&chars(a), &chars(b)), expected, "{a} {b}");
        }
    }
}
