//! The numbers by which the schedule names secrets and client tokens.

/// A secret to keep fresh: its index in the list that the schedule was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SecretIndex(pub(crate) usize);

/// A client token, by the number of its login. The token of the handover has the default number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenNumber(pub(super) u32);
