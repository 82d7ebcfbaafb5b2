//! Enums whose values are fixed words, such as the formats of a file. Each word is written once, beside its meaning. Parsers, the
//! plan's JSON and messages take the words from here.

/// Defines an enum of fixed words. The doc comment of a value is the meaning that people read: write a sentence about the file,
/// the job or the secret, not about the code.
///
/// ```ignore
/// words! {
///     /// How a file is written.
///     pub enum Format {
///         /// The field's bytes and nothing else.
///         Raw = "raw",
///         /// JSON, numbers as the server wrote them.
///         Json = "json",
///     }
///     default Raw
/// }
/// ```
///
/// The enum gets `NAMES` and `MEANINGS` in the order of the definition, `word`, `FromStr`, `Display` and serde's two traits.
macro_rules! words {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident {
            $( $(#[doc = $meaning:literal])+ $variant:ident = $word:literal, )+
        }
        $(default $default:ident)?
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        $visibility enum $name {
            $( $(#[doc = $meaning])+ #[serde(rename = $word)] $variant, )+
        }

        impl $name {
            /// Each word, as people write it.
            pub(crate) const NAMES: &'static [&'static str] = &[$($word),+];

            /// Each word with its meaning, for people.
            #[allow(dead_code, reason = "only podkey explain and tests read the meanings")]
            pub(crate) const MEANINGS: &'static [(&'static str, &'static str)] =
                &[$(($word, concat!($($meaning),+).trim_ascii())),+];

            /// The word that stands for the value.
            #[allow(dead_code, reason = "not every enum is written by podkey itself")]
            pub(crate) const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        $(
            impl Default for $name {
                fn default() -> Self {
                    Self::$default
                }
            }
        )?

        impl std::str::FromStr for $name {
            type Err = $crate::plan::Invalid;

            fn from_str(text: &str) -> Result<Self, $crate::plan::Invalid> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::plan::words::none_of(Self::NAMES)),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}
pub(crate) use words;

use super::Invalid;

/// The error of a text that is none of these words: the end of a sentence that begins with the text.
pub(crate) fn none_of(names: &[&str]) -> Invalid {
    Invalid(format!("is none of {}", names.join(", ")).into())
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::str::FromStr;

    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use crate::plan::rules::ReadBy;
    use crate::plan::{AuthMethod, Decode, Forks, Format, Invalid, Mask, OnFailure, Placeholder, Signal, WhenGone};

    fn check<T>(names: &[&str], meanings: &[(&str, &str)])
    where
        T: FromStr<Err = Invalid> + fmt::Debug + fmt::Display + PartialEq + Serialize + DeserializeOwned,
    {
        assert_eq!(names.len(), meanings.len());
        for (name, (word, meaning)) in names.iter().zip(meanings) {
            assert_eq!(name, word);
            assert!(meaning.len() > 3 && !meaning.starts_with(' '), "{name}: {meaning:?}");
            let value: T = name.parse().unwrap();
            assert_eq!(value.to_string(), *name);
            let json = format!("\"{name}\"");
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
            assert_eq!(serde_json::from_str::<T>(&json).unwrap(), value);
        }
        let error = "?".parse::<T>().unwrap_err().to_string();
        assert_eq!(error, format!("is none of {}", names.join(", ")));
    }

    #[test]
    fn every_word_has_a_meaning_and_parses_to_its_own_value() {
        check::<AuthMethod>(AuthMethod::NAMES, AuthMethod::MEANINGS);
        check::<Decode>(Decode::NAMES, Decode::MEANINGS);
        check::<Forks>(Forks::NAMES, Forks::MEANINGS);
        check::<Format>(Format::NAMES, Format::MEANINGS);
        check::<Mask>(Mask::NAMES, Mask::MEANINGS);
        check::<OnFailure>(OnFailure::NAMES, OnFailure::MEANINGS);
        check::<Placeholder>(Placeholder::NAMES, Placeholder::MEANINGS);
        check::<ReadBy>(ReadBy::NAMES, ReadBy::MEANINGS);
        check::<Signal>(Signal::NAMES, Signal::MEANINGS);
        check::<WhenGone>(WhenGone::NAMES, WhenGone::MEANINGS);
        assert_eq!(Format::MEANINGS[0], ("raw", "The field's bytes and nothing else."));
    }
}
