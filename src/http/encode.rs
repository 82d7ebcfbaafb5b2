//! Percent-encoding of paths and query values in a URL. RFC 3986, section 2.1.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

/// All but the unreserved characters (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// Encodes a path. Slashes stay: they separate the segments.
pub(crate) fn encode_path(path: &str) -> PercentEncode<'_> {
    utf8_percent_encode(path, RESERVED_IN_PATH)
}

/// Encodes a value of a query.
pub(super) fn encode_query(value: &str) -> PercentEncode<'_> {
    utf8_percent_encode(value, RESERVED)
}
