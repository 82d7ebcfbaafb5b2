//! A file to deliver: what is in it, where it goes, and its permissions.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

use super::{
    ApiPath, Content, Data, Decode, Destination, Format, Invalid, Keys, Mode, Part, SecretContent, SecretRequest,
    TemplateContent, WhenGone, invalid,
};
use crate::template::MissingField;

/// A file to deliver. `P` is [`ApiPath`] for a file of `init`, and `PathTemplate` for a file that the job reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFile<P = ApiPath> {
    /// What is in the file.
    pub content: Content<P>,
    /// Where the containers see the file.
    pub file: Destination,
    /// The permissions of the file.
    pub mode: Mode,
    /// What happens to the file when a secret is gone.
    pub when_gone: WhenGone,
}

impl<P> PlannedFile<P> {
    /// The requests whose answers the file is made of.
    pub fn requests(&self) -> &[SecretRequest<P>] {
        self.content.requests()
    }
}

/// The file in the JSON of a plan: the fields of an entry of `podkey.dev/files`, with the defaults filled in.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileJson<'a, P: Clone> {
    #[serde(default = "absent", skip_serializing_if = "Option::is_none")]
    secret: Option<Cow<'a, P>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<NonZeroU64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Cow<'a, Data>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keys: Option<Cow<'a, Keys>>,
    #[serde(default, skip_serializing_if = "Decode::is_none")]
    decode: Decode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    template: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delims: Option<Cow<'a, [String; 2]>>,
    #[serde(default, skip_serializing_if = "MissingField::is_fail")]
    missing: MissingField,
    file: Cow<'a, Destination>,
    mode: Mode,
    #[serde(default, skip_serializing_if = "WhenGone::is_keep")]
    when_gone: WhenGone,
}

fn absent<T>() -> Option<T> {
    None
}

impl<P: Clone + Serialize> Serialize for PlannedFile<P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = FileJson::<P> {
            secret: None,
            version: None,
            data: None,
            key: None,
            keys: None,
            decode: Decode::None,
            format: None,
            template: None,
            delims: None,
            missing: MissingField::Fail,
            file: Cow::Borrowed(&self.file),
            mode: self.mode,
            when_gone: self.when_gone,
        };
        match &self.content {
            Content::Secret(content) => {
                json.secret = Some(Cow::Borrowed(&content.request.secret));
                json.version = content.request.version;
                json.data = content.request.data.as_ref().map(Cow::Borrowed);
                match &content.part {
                    Part::Whole => {}
                    Part::Key(key) => json.key = Some(Cow::Borrowed(key)),
                    Part::Keys(keys) => json.keys = Some(Cow::Borrowed(keys)),
                }
                (json.decode, json.format) = (content.decode, Some(content.format));
            }
            Content::Template(template) => {
                json.template = Some(Cow::Borrowed(template.text()));
                json.delims = template.delims().map(Cow::Borrowed);
                json.missing = template.missing();
            }
        }
        json.serialize(serializer)
    }
}

impl<'de, P: Clone + Deserialize<'de> + FromStr<Err = Invalid>> Deserialize<'de> for PlannedFile<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut json = FileJson::deserialize(deserializer)?;
        Ok(Self {
            content: content(&mut json).map_err(D::Error::custom)?,
            file: json.file.into_owned(),
            mode: json.mode,
            when_gone: json.when_gone,
        })
    }
}

fn content<P: Clone + FromStr<Err = Invalid>>(json: &mut FileJson<'_, P>) -> Result<Content<P>, Invalid> {
    let FileJson { secret, template, .. } = json;
    match (secret.take(), template.take()) {
        (Some(secret), None) => {
            if json.delims.is_some() || json.missing != MissingField::Fail {
                return invalid("a file without a template has delims or missing");
            }
            let part = match (json.key.take(), json.keys.take()) {
                (None, None) => Part::Whole,
                (Some(key), None) => Part::Key(key.into_owned()),
                (None, Some(keys)) => Part::Keys(keys.into_owned()),
                (Some(_), Some(_)) => return invalid("a file has key and keys"),
            };
            let Some(format) = json.format else {
                return invalid("a file with a secret has no format");
            };
            Ok(Content::Secret(SecretContent {
                request: SecretRequest {
                    secret: secret.into_owned(),
                    version: json.version,
                    data: json.data.take().map(Cow::into_owned),
                },
                part,
                decode: json.decode,
                format,
            }))
        }
        (None, Some(text)) => {
            let of_secret = json.version.is_some() || json.data.is_some() || json.key.is_some() || json.keys.is_some();
            if of_secret || json.decode != Decode::None || json.format.is_some() {
                return invalid("a template stands in place of version, data, key, keys, decode and format");
            }
            let delims = json.delims.take().map(Cow::into_owned);
            TemplateContent::of_plan(&text, delims, json.missing).map(Content::Template)
        }
        _ => invalid("a file has a secret or a template: one of the two"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::{NamedField, PathTemplate};

    fn template<P: FromStr<Err = Invalid> + Clone>(
        path: &str,
        around: &str,
        delims: Option<[String; 2]>,
        missing: MissingField,
    ) -> Content<P> {
        let (left, right) = delims.as_ref().map_or(("{{", "}}"), |[left, right]| (left, right));
        let text = format!("{around}{left} with secret \"{path}\" {right}{left} .Data.a {right}{left} end {right}");
        Content::Template(TemplateContent::of_plan(&text, delims, missing).unwrap())
    }

    fn delims() -> impl Strategy<Value = Option<[String; 2]>> {
        prop_oneof![
            Just(None),
            Just(Some(["[[", "]]"])),
            Just(Some(["<%", "%>"])),
            Just(Some(["((", "))"]))
        ]
        .prop_map(|delims| delims.map(|delims| delims.map(str::to_owned)))
    }

    fn missing() -> impl Strategy<Value = MissingField> {
        prop_oneof![
            Just(MissingField::Fail),
            Just(MissingField::FailField),
            Just(MissingField::Print)
        ]
    }

    fn keys() -> impl Strategy<Value = Content> {
        let names = proptest::collection::btree_map("[A-Z$ .é]{1,8}", "[a-z$ .é]{1,8}", 1..5);
        let formats = [
            Format::Json,
            Format::Yaml,
            Format::Dotenv,
            Format::Shell,
            Format::Properties,
        ];
        (names, proptest::sample::select(formats.to_vec())).prop_map(|(names, format)| {
            let names = names.into_iter().map(|(name, field)| NamedField { name, field });
            Content::Secret(SecretContent {
                request: SecretRequest::read("kv/data/web".parse().unwrap()),
                part: Part::Keys(names.rev().collect::<Vec<_>>().try_into().unwrap()),
                decode: Decode::None,
                format,
            })
        })
    }

    /// The file comes back from its JSON. Returns the JSON.
    fn survives<P>(content: Content<P>) -> String
    where
        P: Clone + Serialize + for<'de> Deserialize<'de> + FromStr<Err = Invalid> + std::fmt::Debug + PartialEq,
    {
        let file = PlannedFile {
            content,
            file: "a/b".parse().unwrap(),
            mode: Mode::OWNER,
            when_gone: WhenGone::Keep,
        };
        let json = serde_json::to_string(&file).unwrap();
        let read: PlannedFile<P> = serde_json::from_str(&json).unwrap();
        assert_eq!(read, file, "{json}");
        json
    }

    proptest! {
        #[test]
        fn a_template_survives_the_json_of_a_plan(around in "[a-zé\\\\\"$'&|#\n\t ]{0,20}", delims in delims(), missing in missing()) {
            let json = survives::<ApiPath>(template("kv/data/web", &around, delims.clone(), missing));
            survives::<PathTemplate>(template("ci/data/{repository}/x", &around, delims.clone(), missing));
            // What the author did not write is not in the plan.
            prop_assert_eq!(json.contains("\"delims\""), delims.is_some());
            prop_assert_eq!(json.contains("\"missing\""), missing != MissingField::Fail);
        }

        #[test]
        fn chosen_fields_survive_the_json_of_a_plan_in_their_order(content in keys()) {
            survives(content);
        }
    }

    #[test]
    fn a_file_is_a_secret_or_a_template_and_has_the_fields_of_one_of_the_two() {
        let template = r#"{"template":"{{ secret \"kv/data/web\" }}","file":"a","mode":"0400""#;
        let secret = r#"{"secret":"kv/data/web","format":"json","file":"a","mode":"0400""#;
        for field in [
            "version\":1",
            "data\":{\"a\":\"b\"}",
            "key\":\"a\"",
            "keys\":[{\"name\":\"A\",\"field\":\"a\"}]",
            "decode\":\"hex\"",
            "format\":\"json\"",
        ] {
            let json = format!("{template},\"{field}}}");
            let error = serde_json::from_str::<PlannedFile>(&json).unwrap_err().to_string();
            assert!(
                error.contains("in place of") || error.contains("duplicate"),
                "{json}: {error}"
            );
        }
        for field in ["delims\":[\"[[\",\"]]\"]", "missing\":\"print\"", "template\":\"x\""] {
            let json = format!("{secret},\"{field}}}");
            let error = serde_json::from_str::<PlannedFile>(&json).unwrap_err().to_string();
            assert!(error.contains("template"), "{json}: {error}");
        }
        assert!(serde_json::from_str::<PlannedFile>(r#"{"file":"a","mode":"0400"}"#).is_err());
    }
}
