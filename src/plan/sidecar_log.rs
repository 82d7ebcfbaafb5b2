//! The lines of the sidecar's log that `podkey status` understands.

/// The end of each warning about something that failed: the sidecar tries again.
pub(crate) const TRIED_AGAIN: &str = "the files stay as they are, and it is tried again";
/// Nothing fails any more.
pub(crate) const ANSWERS_AGAIN: &str = "the server answers as it should again";
/// One file is denied, gone, expired or cannot be rendered.
pub(crate) const NOT_FRESH: &str = "the file is not fresh";
/// That file is as the server has it again.
pub(crate) const FRESH_AGAIN: &str = "the file is fresh again";
/// The sidecar cannot start.
pub(crate) const NOTHING_REFRESHES: &str = "the files stay as they are: nothing keeps them fresh";
/// The beginning of the line of a sidecar that has started.
pub(crate) const KEEPING_FRESH: &str = "keeping the files fresh";
/// The beginning of a warning that does not concern the files.
pub(crate) const NOT_REVOKED: &str = "a client token that was replaced is not revoked yet";
