//! Kubernetes quantities: `500m` of a CPU, `64Mi` of memory.
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A quantity such as `500m`, `64Mi`, `1.5` or `1e3`, as the operator wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Quantity(String);

impl TryFrom<String> for Quantity {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for Quantity {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match amount(text) {
            Some(amount) if amount >= 0.0 && amount.is_finite() => Ok(Self(text.to_owned())),
            _ => Err("is not a quantity such as 500m or 64Mi"),
        }
    }
}

impl Quantity {
    /// The amount: finite, and never negative.
    pub(crate) fn amount(&self) -> f64 {
        amount(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The amount of a quantity. Floating point is exact enough to compare amounts: two spellings of one amount differ by a power
/// of ten or two.
fn amount(text: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    // An exponent takes the place of a suffix. f64 would also parse "inf" and "nan".
    let (digits, factor, others) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor, "+-.")))
        .unwrap_or((text, 1.0, "+-.eE"));
    if !digits.chars().all(|c| c.is_ascii_digit() || others.contains(c)) {
        return None;
    }
    digits.parse::<f64>().ok().map(|number| number * factor)
}

/// Whether two quantities in the pod's JSON (strings or numbers) are the same amount.
pub(crate) fn same(a: &RawValue, b: &RawValue) -> bool {
    let amount = |raw: &RawValue| amount(raw.get().trim_matches('"'));
    match (amount(a), amount(b)) {
        (Some(a), Some(b)) => (a - b).abs() <= f64::EPSILON * a.abs().max(b.abs()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_compared_by_amount() {
        let same = |a: &str, b: &str| {
            same(
                &RawValue::from_string(a.into()).unwrap(),
                &RawValue::from_string(b.into()).unwrap(),
            )
        };
        assert!(same("\"1\"", "1"));
        assert!(same("\"1000m\"", "\"1\""));
        assert!(same("\"1Gi\"", "\"1024Mi\""));
        assert!(same("\"1e3\"", "\"1k\""));
        assert!(same("\"0.1\"", "\"100m\""));
        assert!(!same("\"1G\"", "\"1Gi\""));
        assert!(!same("\"x\"", "\"x\""));
    }

    #[test]
    fn text_that_is_not_a_quantity_is_refused() {
        for good in ["10m", "16Mi", "1", "1.5", "1e3", "0"] {
            assert!(good.parse::<Quantity>().is_ok(), "{good}");
        }
        for bad in [
            "", "lots", "-1", "1 Gi", "inf", "nan", "1Xi", "0x10", "1e3Ki", "1e999", ".",
        ] {
            assert!(bad.parse::<Quantity>().is_err(), "{bad}");
        }
    }
}
