//! Patterns of names, as the server compares them.

/// `*` is any text, as in <https://github.com/ryanuber/go-glob>, which the server uses.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(last) = pieces.next_back() else {
        return pattern == text;
    };
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_names_are_patterns_as_for_the_server() {
        for (pattern, text, matches) in [
            ("web", "web", true),
            ("web", "web2", false),
            ("*", "web", true),
            ("arc-*", "arc-x-y", true),
            ("*-rs-*", "gha-rs-no", true),
            ("a*a", "a", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("", "web", false),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
    }
}
