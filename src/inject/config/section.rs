//! One section of the config file: the structure that serde reads, and beside it the table of its keys. Each key is spelt once.

/// Makes a structure `$Section` for serde, and the static `$KEYS`, which has a [`DocumentedKey`] for each field under the
/// field's name. The doc comment of a field is the key's meaning. `$path` is what stands before the section's keys.
///
/// [`DocumentedKey`]: crate::inject::words::DocumentedKey
macro_rules! section {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $Section:ident, $KEYS:ident: $Keys:ident at $path:literal {
            $(
                $(#[doc = $meaning:literal])+
                $(#[serde($($serde:tt)+)])?
                $field_visibility:vis $field:ident: $Type:ty = $key:literal: $scope:ident, default $default:literal, example $example:literal $(, value $value:literal)? $(, details $details:literal)?;
            )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        $visibility struct $Section {
            $(
                $(#[doc = $meaning])+
                #[serde(rename = $key)]
                $(#[serde($($serde)+)])?
                $field_visibility $field: $Type,
            )+
        }

        /// The keys, each under the name of its field.
        pub(crate) struct $Keys {
            $(pub(crate) $field: $crate::inject::words::DocumentedKey,)+
        }

        pub(crate) static $KEYS: $Keys = $Keys {
            $($field: $crate::inject::words::DocumentedKey {
                key: concat!($path, $key),
                meaning: concat!($($meaning),+).trim_ascii(),
                default: $default,
                scope: $crate::inject::words::Scope::$scope,
                example: $example,
                value: concat!($($value)?),
                details: concat!($($details)?),
            },)+
        };

        impl $Keys {
            pub(super) const ALL: &[&$crate::inject::words::DocumentedKey] = &[$(&$KEYS.$field),+];
        }
    };
}
pub(super) use section;

/// An empty text means the same as no text.
pub(super) fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}
