//! What one annotation asks for, with "the value does not parse" as a case of its own: a check that needs the value stops
//! there, without a look at the problems that are reported already.

/// What one annotation asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Requested<T> {
    /// The pod does not have the annotation.
    #[default]
    Absent,
    /// The value does not parse, which is reported. Nothing can be concluded from it.
    Invalid,
    /// The value.
    Given(T),
}

impl<T> Requested<T> {
    /// The value, if there is one that parses.
    pub(crate) fn given(self) -> Option<T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// Whether the annotation is there with a value that does not parse.
    pub(crate) fn is_invalid(&self) -> bool {
        matches!(self, Self::Invalid)
    }
}

/// From a value that was parsed; the parser has reported what is wrong with it.
impl<T> From<Option<T>> for Requested<T> {
    fn from(parsed: Option<T>) -> Self {
        parsed.map_or(Self::Invalid, Self::Given)
    }
}
