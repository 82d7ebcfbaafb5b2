//! Go's formats of floats: `FormatFloat` of <https://pkg.go.dev/strconv#FormatFloat>.

/// The most digits that a float has after its point, and so the most that are computed. Go prints zeros behind them; Rust's
/// formatter panics at 65,536.
const MAX_DIGITS: usize = 1_100;

/// The digits of a float and where its point is: `0.d₁d₂… × 10^point`.
struct Digits {
    digits: Vec<u8>,
    point: i32,
}

/// The shortest digits that read back as the same float, or `count` digits.
fn digits(value: f64, count: Option<usize>) -> Digits {
    let text = match count {
        Some(count) => format!("{:.*e}", count.clamp(1, MAX_DIGITS) - 1, value.abs()),
        None => format!("{:e}", value.abs()),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mut digits: Vec<u8> = mantissa.bytes().filter(|b| *b != b'.').collect();
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    let point = if digits.is_empty() {
        0
    } else {
        exponent.parse::<i32>().unwrap_or_default() + 1
    };
    Digits { digits, point }
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        return Some("NaN");
    }
    value.is_infinite().then_some(if value > 0.0 { "+Inf" } else { "-Inf" })
}

fn signed(value: f64, text: String) -> String {
    if value.is_sign_negative() {
        format!("-{text}")
    } else {
        text
    }
}

/// Go's `FormatFloat(value, format, precision, 64)` for the formats e, f and g. No precision: as many digits as needed.
pub(crate) fn format(value: f64, format: char, precision: Option<usize>) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let text = match format {
        'f' => match precision {
            Some(precision) => {
                let mut text = format!("{:.*}", precision.min(MAX_DIGITS), value.abs());
                text.extend(std::iter::repeat_n('0', precision.saturating_sub(MAX_DIGITS)));
                text
            }
            None => plain(&digits(value, None), None),
        },
        'e' | 'E' => {
            let digits = digits(value, precision.map(|p| p + 1));
            let after = precision.unwrap_or_else(|| digits.digits.len().max(1) - 1);
            scientific(&digits, after, format)
        }
        _ => general(value, precision, if format == 'G' { 'E' } else { 'e' }),
    };
    signed(value, text)
}

fn general(value: f64, precision: Option<usize>, e: char) -> String {
    let precision = precision.map(|p| p.max(1));
    let digits = digits(value, precision);
    let count = digits.digits.len();
    let mut limit = i32::try_from(precision.unwrap_or(6)).unwrap_or(i32::MAX);
    let count_i32 = i32::try_from(count).unwrap_or(i32::MAX);
    if precision.is_some() && limit > count_i32 && count_i32 >= digits.point {
        limit = count_i32;
    }
    let exponent = digits.point - 1;
    if count > 0 && (exponent < -4 || exponent >= limit) {
        return scientific(&digits, count.max(1) - 1, e);
    }
    plain(&digits, None)
}

/// `d.ddde+XX`
fn scientific(digits: &Digits, after: usize, e: char) -> String {
    let mut out = String::new();
    out.push(char::from(digits.digits.first().copied().unwrap_or(b'0')));
    if after > 0 {
        out.push('.');
        for i in 1..=after {
            out.push(char::from(digits.digits.get(i).copied().unwrap_or(b'0')));
        }
    }
    let exponent = if digits.digits.is_empty() { 0 } else { digits.point - 1 };
    out.push(e);
    out.push(if exponent < 0 { '-' } else { '+' });
    out.push_str(&format!("{:02}", exponent.abs()));
    out
}

impl Digits {
    /// The digit at this place, from 0. Zeros are before and behind all digits.
    fn at(&self, place: i32) -> char {
        let digit = usize::try_from(place).ok().and_then(|place| self.digits.get(place));
        char::from(digit.copied().unwrap_or(b'0'))
    }
}

/// `ddd.ddd`
fn plain(digits: &Digits, after: Option<usize>) -> String {
    let mut out = String::new();
    for i in 0..digits.point.max(0) {
        out.push(digits.at(i));
    }
    if out.is_empty() {
        out.push('0');
    }
    let count = i32::try_from(digits.digits.len()).unwrap_or(i32::MAX);
    let after = after.map_or_else(
        || (count - digits.point).max(0),
        |a| i32::try_from(a).unwrap_or(i32::MAX),
    );
    if after > 0 {
        out.push('.');
        for i in digits.point..digits.point + after {
            out.push(digits.at(i));
        }
    }
    out
}

/// `0x1.8p+01`; the digits after the point are as many as needed, or `precision`.
pub(crate) fn hexadecimal(value: f64, precision: Option<usize>) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let (mut mantissa, mut exponent) = parts(value);
    // The leading one is bit 60.
    if mantissa == 0 {
        exponent = 0;
    } else {
        let shift = mantissa.leading_zeros() - 3;
        mantissa <<= shift;
        exponent += 60 - i32::try_from(shift).unwrap_or_default();
    }
    if let Some(precision @ 0..15) = precision {
        let shift = u32::try_from(precision * 4).unwrap_or_default();
        let extra = (mantissa << shift) & ((1 << 60) - 1);
        mantissa >>= 60 - shift;
        if extra | (mantissa & 1) > 1 << 59 {
            mantissa += 1;
        }
        mantissa <<= 60 - shift;
        if mantissa & (1 << 61) != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let mut text = format!("0x{}", (mantissa >> 60) & 1);
    mantissa <<= 4;
    if precision.map_or(mantissa != 0, |precision| precision > 0) {
        text.push('.');
    }
    let mut left = precision;
    while left.map_or(mantissa != 0, |left| left > 0) {
        text.push_str(&format!("{:x}", mantissa >> 60));
        mantissa <<= 4;
        left = left.map(|left| left - 1);
    }
    text.push_str(&format!(
        "p{}{:02}",
        if exponent < 0 { '-' } else { '+' },
        exponent.abs()
    ));
    signed(value, text)
}

/// `4503599627370496p-52`
pub(crate) fn binary(value: f64) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let (mantissa, exponent) = parts(value);
    signed(value, format!("{mantissa}p{exponent:+}"))
}

/// A float as `mantissa × 2^exponent`.
fn parts(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or_default();
    let mantissa = bits & ((1 << 52) - 1);
    if exponent == 0 {
        (mantissa, -1074)
    } else {
        (mantissa | (1 << 52), exponent - 1075)
    }
}

/// Go's `#` for floats: a point is always there, and the formats g and x keep their zeros.
pub(crate) fn sharp(text: &str, verb: char, precision: Option<usize>) -> String {
    let mut wanted = if matches!(verb, 'v' | 'g' | 'G' | 'x') {
        i64::try_from(precision.unwrap_or(6)).unwrap_or(i64::MAX)
    } else {
        0
    };
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |t| ("-", t));
    let end = text
        .find(['p', 'P'])
        .or_else(|| {
            if matches!(verb, 'x' | 'X') {
                None
            } else {
                text.find(['e', 'E'])
            }
        })
        .unwrap_or(text.len());
    let (number, tail) = text.split_at(end);
    let mut seen = false;
    for c in number.chars().filter(|c| *c != '.') {
        seen |= c != '0';
        wanted -= i64::from(seen);
    }
    let mut out = format!("{sign}{number}");
    if !number.contains('.') {
        wanted -= i64::from(number == "0");
        out.push('.');
    }
    for _ in 0..wanted.max(0) {
        out.push('0');
    }
    out.push_str(tail);
    out
}

/// A float as Go's encoding/json writes it.
pub(crate) fn json(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format(value, 'e', None);
        // e-09 is written e-9.
        return match text.rsplit_once("e-0") {
            Some((start, digit)) => format!("{start}e-{digit}"),
            None => text,
        };
    }
    format(value, 'f', None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_go_s() {
        for (value, f, precision, text) in [
            (1e20, 'g', None, "1e+20"),
            (12_345_678_901.0, 'g', None, "1.2345678901e+10"),
            (100_000.0, 'g', None, "100000"),
            (1e6, 'g', None, "1e+06"),
            (0.0001, 'g', None, "0.0001"),
            (0.00001, 'g', None, "1e-05"),
            (0.0, 'g', None, "0"),
            (-0.0, 'g', None, "-0"),
            (1.5, 'e', Some(6), "1.500000e+00"),
            (1234.5678, 'f', Some(2), "1234.57"),
            (1234.5678, 'g', Some(3), "1.23e+03"),
            (100.0, 'g', Some(3), "100"),
            (123_456_789.0, 'f', None, "123456789"),
            (f64::INFINITY, 'g', None, "+Inf"),
        ] {
            assert_eq!(format(value, f, precision), text);
        }
        for (value, text) in [
            (1e21, "1e+21"),
            (1e20, "100000000000000000000"),
            (1e-7, "1e-7"),
            (1e-10, "1e-10"),
            (0.5, "0.5"),
        ] {
            assert_eq!(json(value), text);
        }
    }
}
