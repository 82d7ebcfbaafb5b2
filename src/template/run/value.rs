//! The values that a template computes with: those of Go that consul-template's data and functions can make.

use std::rc::Rc;

use crate::template::error::Fault;

/// A Go string: any bytes. It knows whether it is, or was made of, a value of a secret.
#[derive(Clone)]
pub(crate) struct GoText {
    bytes: Rc<[u8]>,
    secret: bool,
}

impl GoText {
    pub(crate) fn new(bytes: impl AsRef<[u8]>, secret: bool) -> Self {
        Self {
            bytes: bytes.as_ref().into(),
            secret,
        }
    }

    pub(crate) fn plain(bytes: impl AsRef<[u8]>) -> Self {
        Self::new(bytes, false)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn is_secret(&self) -> bool {
        self.secret
    }
}

/// A Go value.
#[derive(Clone)]
pub(crate) enum GoValue {
    /// Nothing at all: Go's zero `reflect.Value`, the untyped nil.
    Invalid,
    /// A nil in an interface: JSON's null, and a missing field.
    Null,
    Bool(bool),
    Int(i64),
    /// A byte of a string.
    Byte(u8),
    Uint(u64),
    Float(f64),
    /// A number as the server wrote it: Go's `json.Number`, which is a text.
    Number(GoText),
    Text(GoText),
    List(Rc<Vec<Self>>),
    /// What `split` makes: `[]string`.
    Strings(Rc<Vec<GoText>>),
    Map(Rc<GoMap>),
    /// What `parseYAML` makes: `map[interface {}]interface {}`.
    AnyMap(Rc<Vec<(Self, Self)>>),
    Secret(Rc<SecretAnswer>),
    Certificate(Rc<Certificate>),
}

/// Go's `map[string]interface {}`, in the order of the names' bytes. It is as small as it can be: a secret may have many fields.
#[derive(Clone, Default)]
pub(crate) struct GoMap {
    entries: Box<[(Box<str>, GoValue)]>,
    /// The names come from a secret's value, which was parsed. (The names of a secret's fields are no secrets.)
    secret_keys: bool,
}

impl GoMap {
    /// Makes a map. Of equal names the last one counts.
    pub(crate) fn new(mut entries: Vec<(Box<str>, GoValue)>, secret_keys: bool) -> Self {
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        entries.reverse();
        entries.dedup_by(|(a, _), (b, _)| a == b);
        entries.reverse();
        Self {
            entries: entries.into(),
            secret_keys,
        }
    }

    /// Whether the names are values of a secret.
    pub(crate) fn has_secret_keys(&self) -> bool {
        self.secret_keys
    }

    pub(crate) fn get(&self, name: &str) -> Option<&GoValue> {
        let at = self.entries.binary_search_by(|(n, _)| (**n).cmp(name)).ok()?;
        self.entries.get(at).map(|(_, value)| value)
    }

    pub(crate) fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &GoValue)> {
        self.entries.iter().map(|(name, value)| (&**name, value))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &GoValue> {
        self.iter().map(|(_, value)| value)
    }
}

/// A secret as a template sees it.
pub struct SecretAnswer {
    pub(crate) lease_id: GoText,
    pub(crate) lease_duration: i64,
    pub(crate) renewable: bool,
    pub(crate) data: Rc<GoMap>,
    /// How many JSON values the answer has.
    pub(crate) size: usize,
}

/// What `pkiCert` gives.
pub(crate) struct Certificate {
    pub(crate) cert: GoText,
    pub(crate) key: GoText,
    pub(crate) ca: GoText,
}

impl GoValue {
    pub(crate) fn text(bytes: impl AsRef<[u8]>, secret: bool) -> Self {
        Self::Text(GoText::new(bytes, secret))
    }

    /// The name of the value's Go type, for `%T` and for messages.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Invalid | Self::Null => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Byte(_) => "uint8",
            Self::Uint(_) => "uint64",
            Self::Float(_) => "float64",
            Self::Number(_) => "json.Number",
            Self::Text(_) => "string",
            Self::List(_) => "[]interface {}",
            Self::Strings(_) => "[]string",
            Self::Map(_) => "map[string]interface {}",
            Self::AnyMap(_) => "map[interface {}]interface {}",
            Self::Secret(_) => "*dependency.Secret",
            Self::Certificate(_) => "dependency.PemEncoded",
        }
    }

    /// The type in a person's words, for messages.
    pub(crate) fn kind_name(&self) -> &'static str {
        match self {
            Self::Invalid | Self::Null => "nothing (a missing or null value)",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Byte(_) | Self::Uint(_) | Self::Float(_) => "a number",
            Self::Number(_) => "a number of a secret (its own kind of text)",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Strings(_) => "a list of strings",
            Self::Map(_) | Self::AnyMap(_) => "a map",
            Self::Secret(_) => "a whole secret",
            Self::Certificate(_) => "a whole certificate",
        }
    }

    /// Whether Go takes the value as true: it is not the zero value of its type. Numbers of a secret are texts, so `0` is true.
    pub(crate) fn truth(&self) -> bool {
        match self {
            Self::Invalid | Self::Null => false,
            Self::Bool(b) => *b,
            Self::Int(i) => *i != 0,
            Self::Byte(b) => *b != 0,
            Self::Uint(u) => *u != 0,
            Self::Float(f) => *f != 0.0,
            Self::Number(t) | Self::Text(t) => !t.bytes().is_empty(),
            Self::List(l) => !l.is_empty(),
            Self::Strings(l) => !l.is_empty(),
            Self::Map(m) => !m.is_empty(),
            Self::AnyMap(m) => !m.is_empty(),
            Self::Secret(_) | Self::Certificate(_) => true,
        }
    }

    pub(crate) fn is_nil(&self) -> bool {
        matches!(self, Self::Invalid | Self::Null)
    }

    /// What a pipeline makes of its result: a nil in an interface becomes nothing at all.
    pub(crate) fn settled(self) -> Self {
        if matches!(self, Self::Null) {
            Self::Invalid
        } else {
            self
        }
    }

    /// Whether the value contains a value of a secret.
    pub(crate) fn is_secret(&self) -> bool {
        match self {
            Self::Number(t) | Self::Text(t) => t.is_secret(),
            Self::List(l) => l.iter().any(Self::is_secret),
            Self::Strings(l) => l.iter().any(GoText::is_secret),
            Self::Map(m) => (m.secret_keys && !m.is_empty()) || m.values().any(Self::is_secret),
            Self::AnyMap(m) => m.iter().any(|(k, v)| k.is_secret() || v.is_secret()),
            Self::Certificate(_) => true,
            _ => false,
        }
    }

    /// Gives every secret text in it to `each`.
    pub(crate) fn secrets(&self, each: &mut impl FnMut(&GoText)) {
        match self {
            Self::Number(t) | Self::Text(t) if t.is_secret() => each(t),
            Self::List(l) => l.iter().for_each(|v| v.secrets(each)),
            Self::Strings(l) => l.iter().filter(|t| t.is_secret()).for_each(each),
            Self::Map(m) => m.iter().for_each(|(name, value)| {
                if m.secret_keys {
                    each(&GoText::new(name, true));
                }
                value.secrets(each);
            }),
            Self::AnyMap(m) => m.iter().for_each(|(k, v)| {
                k.secrets(each);
                v.secrets(each);
            }),
            Self::Certificate(c) => [&c.cert, &c.key, &c.ca].into_iter().for_each(each),
            _ => {}
        }
    }

    /// A string, as the functions of strings want it: a number of a secret is none.
    pub(crate) fn as_text(&self) -> Result<&GoText, Fault> {
        match self {
            Self::Text(t) => Ok(t),
            Self::Number(_) => {
                Err(Fault::value("expected a string, got a number of a secret")
                    .hint("Write (print VALUE) in its place"))
            }
            other => Err(Fault::value(format!("expected a string, got {}", other.kind_name()))),
        }
    }
}
