//! Text of others for a terminal, and ages as kubectl writes ages.

use crate::text::visible_line;

/// The longest text of others, in characters: more than a termination message or an event has (1 KiB).
const MAX_CHARS: usize = 2048;

/// The text on one line: line breaks and tabs become spaces, control and invisible characters are escaped, and the text is cut after
/// [`MAX_CHARS`].
pub(in crate::cli::status) fn clean(text: &str) -> String {
    visible_line(text, MAX_CHARS)
}

/// The text until the first full stop that ends a sentence, without the full stop.
pub(in crate::cli::status) fn first_sentence(text: &str) -> &str {
    let first = text.split_once(". ").map_or(text, |(first, _)| first);
    first.strip_suffix('.').unwrap_or(first)
}

/// A time span as kubectl writes it: one unit, or two where the first is small
/// (<https://github.com/kubernetes/apimachinery/blob/master/pkg/util/duration/duration.go>).
pub(in crate::cli::status) fn age(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let two = |large: i64, unit: char, small: i64, small_unit: char| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{small_unit}"),
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, 'm', seconds % 60, 's'),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => two(days, 'd', hours % 24, 'h'),
        () if years < 2 => format!("{days}d"),
        () if years < 8 => two(years, 'y', days % 365, 'd'),
        () => format!("{years}y"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_those_of_kubectl() {
        for (seconds, expected) in [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (600, "10m"),
            (3 * 3600 - 1, "179m"),
            (3 * 3600, "3h"),
            (5 * 3600 + 60, "5h1m"),
            (47 * 3600, "47h"),
            (50 * 3600, "2d2h"),
            (9 * 86400, "9d"),
            (800 * 86400, "2y70d"),
            (9 * 365 * 86400, "9y"),
        ] {
            assert_eq!(age(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn text_of_others_cannot_steer_the_terminal_and_stays_on_one_line() {
        assert_eq!(
            clean(" a\nb\u{1b}[2J\u{202e}\u{9b}1m "),
            "a b\\u{1b}[2J\\u{202e}\\u{9b}1m"
        );
        assert_eq!(clean(&"ä".repeat(5000)).chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn a_full_stop_inside_a_name_ends_no_sentence() {
        for (text, expected) in [
            ("no secret at kv/data/a.b. check the path", "no secret at kv/data/a.b"),
            ("denied.", "denied"),
            ("", ""),
        ] {
            assert_eq!(first_sentence(text), expected);
        }
    }
}
