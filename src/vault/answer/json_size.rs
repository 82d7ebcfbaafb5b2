//! How much a JSON text holds: counted without recursion, and before anything of the text is kept in memory.

#[derive(Default)]
pub(super) struct JsonSize {
    /// The deepest nesting of lists and objects.
    pub(super) depth: usize,
    /// The number of commas: about the number of values and names, less one for each list and object.
    pub(super) values: usize,
}

impl JsonSize {
    pub(super) fn of(json: &[u8]) -> Self {
        let mut size = Self::default();
        let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
        for byte in json {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                _ if in_string => {}
                b',' => size.values += 1,
                b'{' | b'[' => {
                    depth += 1;
                    size.depth = size.depth.max(depth);
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        size
    }
}
