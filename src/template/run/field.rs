//! Fields of values: `.Data.data.password`.

use std::rc::Rc;

use crate::template::error::Fault;
use crate::template::run::value::{Certificate, GoMap, GoValue, SecretAnswer};
use crate::text::{nearest, unquoted};

/// The most names that an error lists.
const MAX_NAMES: usize = 20;

/// Which field, and how strictly.
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    /// Whether a missing field is an error.
    pub(crate) strict: bool,
    /// Whether arguments follow the field, as only a function has them.
    pub(crate) with_arguments: bool,
    /// Whether a null is an error, because a field of the null follows.
    pub(crate) null_fails: bool,
}

/// Gives a field of a value.
pub(crate) fn get(value: &GoValue, field: &Field<'_>) -> Result<GoValue, Fault> {
    let name = field.name;
    let shown = unquoted(name);
    match value {
        GoValue::Invalid if field.strict => {
            return Err(
                Fault::missing(format!("there is nothing here that could have the field {shown}"))
                    .hint("Read a secret first: {{ with secret \"path\" }} … {{ end }}"),
            );
        }
        GoValue::Invalid => return Ok(GoValue::Invalid),
        GoValue::Null => {
            return Err(Fault::missing(format!("the value before .{shown} is missing or null")));
        }
        _ if field.with_arguments => {
            return Err(Fault::value(format!(
                "the field {shown} is followed by arguments, but only a function takes some"
            )));
        }
        _ => {}
    }
    match value {
        GoValue::Map(map) => of_map(map, field),
        GoValue::AnyMap(map) => match map
            .iter()
            .find(|(k, _)| matches!(k, GoValue::Text(t) if t.bytes() == name.as_bytes()))
        {
            Some((_, value)) => Ok(value.clone()),
            None if field.strict => Err(Fault::missing(format!("there is no field {shown}"))),
            None => Ok(GoValue::Null),
        },
        GoValue::Secret(secret) => of_secret(secret, name),
        GoValue::Certificate(certificate) => of_certificate(certificate, name),
        GoValue::Number(number) if name == "String" => Ok(GoValue::Text(number.clone())),
        other => Err(Fault::value(format!(
            "there is no field {shown}: the value before it is {}",
            other.kind_name()
        ))),
    }
}

fn of_map(map: &GoMap, field: &Field<'_>) -> Result<GoValue, Fault> {
    let name = field.name;
    match map.get(name) {
        Some(GoValue::Null) if field.null_fails => Err(Fault::missing(format!(
            "the field {} is null, so that it has no fields",
            unquoted(name)
        ))),
        Some(value) => Ok(value.clone()),
        None if !field.strict => Ok(GoValue::Null),
        None => Err(missing(map, name)),
    }
}

fn missing(map: &GoMap, name: &str) -> Fault {
    if map.has_secret_keys() {
        return Fault::missing(format!("there is no field {}", unquoted(name)));
    }
    let mut names: Vec<String> = map.keys().take(MAX_NAMES).map(unquoted).collect();
    if map.len() > MAX_NAMES {
        names.push("…".to_owned());
    }
    let shown = unquoted(name);
    let fields = if names.is_empty() {
        "it has none".to_owned()
    } else {
        format!("the fields are: {}", names.join(", "))
    };
    let problem = Fault::missing(format!("there is no field {shown}; {fields}"));
    if let Some(GoValue::Map(inner)) = map.get("data")
        && inner.contains_key(name)
    {
        return problem.hint(format!(
            "The fields of KV version 2 are one deeper: write .Data.data.{shown}"
        ));
    }
    match nearest(name, map.keys()) {
        Some(near) => problem.hint(format!("Did you mean {}?", unquoted(near))),
        None => problem,
    }
}

fn of_secret(secret: &Rc<SecretAnswer>, name: &str) -> Result<GoValue, Fault> {
    let shown = unquoted(name);
    match name {
        "Data" => Ok(GoValue::Map(Rc::clone(&secret.data))),
        "LeaseID" => Ok(GoValue::Text(secret.lease_id.clone())),
        "LeaseDuration" => Ok(GoValue::Int(secret.lease_duration)),
        "Renewable" => Ok(GoValue::Bool(secret.renewable)),
        _ => Err(Fault::missing(format!(
            "a secret has no field {shown}; it has Data, LeaseID, LeaseDuration, Renewable"
        ))
        .hint(format!(
            "Did you mean .Data.{shown}, or .Data.data.{shown} for KV version 2?"
        ))),
    }
}

fn of_certificate(certificate: &Rc<Certificate>, name: &str) -> Result<GoValue, Fault> {
    match name {
        "Cert" => Ok(GoValue::Text(certificate.cert.clone())),
        "Key" => Ok(GoValue::Text(certificate.key.clone())),
        "CA" => Ok(GoValue::Text(certificate.ca.clone())),
        "Data" => Ok(GoValue::Certificate(Rc::clone(certificate))),
        _ => Err(Fault::missing(format!(
            "a certificate has no field {}; it has Cert, Key, CA",
            unquoted(name)
        ))
        .hint("With {{ secret \"pki/issue/ROLE\" \"common_name=…\" }} every field of the answer is there")),
    }
}
