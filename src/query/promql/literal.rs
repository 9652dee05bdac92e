//! Numbers, durations and strings of PromQL from their text. Each call fails with Prometheus' words.

use super::print::quote;

/// Units of durations, largest first, in ms; they come in this order, each once.
const UNITS: &[(&str, u64)] = &[
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Largest duration in ms: Prometheus holds nanoseconds in an `i64`.
const MILLIS_MAX: u64 = (i64::MAX / 1_000_000) as u64;

/// Milliseconds of `1h30m`.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("not a valid duration string: {}", quote(text));
    match text {
        "" => return Err("empty duration string".to_owned()),
        "0" => return Ok(0),
        _ => {}
    }
    let (mut rest, mut millis, mut last) = (text, 0u64, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let value: u64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let length = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit = &rest[..length];
        rest = &rest[length..];
        let Some(place) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(match unit {
                "" => invalid(),
                unit => format!("unknown unit {} in duration {}", quote(unit), quote(text)),
            });
        };
        if place < last {
            return Err(invalid());
        }
        last = place + 1;
        let sum = value
            .checked_mul(UNITS[place].1)
            .and_then(|v| millis.checked_add(v));
        millis = sum
            .filter(|sum| *sum <= MILLIS_MAX)
            .ok_or_else(|| "duration out of range".to_owned())?;
    }
    Ok(millis as i64)
}

/// A number in one of Go's forms: decimal, with exponent, hexadecimal, octal after a zero, with
/// underscores, `Inf` and `NaN` in any case.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    let refused = |why: &str| {
        let text = quote(text);
        Err(format!(
            "error parsing number: strconv.ParseFloat: parsing {text}: {why}"
        ))
    };
    match text.to_ascii_lowercase().as_str() {
        "inf" | "+inf" => return Ok(f64::INFINITY),
        "-inf" => return Ok(f64::NEG_INFINITY),
        "nan" => return Ok(f64::from_bits(crate::model::metric::NORMAL_NAN_BITS)),
        _ => {}
    }
    let plain = text.replace('_', "");
    if let Some(hex) = plain.strip_prefix("0x").or(plain.strip_prefix("0X")) {
        return match i64::from_str_radix(hex, 16) {
            Ok(value) => Ok(value as f64),
            Err(_) => refused("invalid syntax"),
        };
    }
    let octal = plain.len() > 1 && plain.starts_with('0');
    if octal && let Ok(value) = i64::from_str_radix(&plain, 8) {
        return Ok(value as f64);
    }
    match plain.parse::<f64>() {
        Ok(value) if value.is_infinite() => refused("value out of range"),
        Ok(value) => Ok(value),
        Err(_) => refused("invalid syntax"),
    }
}

/// What a quoted string says. The lexer has checked its escapes.
pub(crate) fn unquote(text: &str) -> Result<String, String> {
    let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or("");
    if text.starts_with('`') || !inner.contains('\\') {
        return Ok(inner.to_owned());
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            escape(&mut chars, &mut bytes)
                .ok_or_else(|| format!("error unquoting string {}: invalid syntax", quote(text)))?;
        } else {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Ok(text_of(&bytes))
}

/// Bytes that are no UTF-8 stand in for themselves at the end of the private planes, so that what they
/// are compared with, and the error that refuses them, can tell them: labels never have them.
const FOREIGN_BYTE: u32 = 0x10_fe00;

fn text_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        let foreign = |byte: &u8| char::from_u32(FOREIGN_BYTE + u32::from(*byte));
        text.extend(chunk.invalid().iter().filter_map(foreign));
    }
    text
}

/// The byte that a character of an unquoted string stands for, when it is no UTF-8.
pub(crate) fn foreign_byte(c: char) -> Option<u8> {
    let byte = (c as u32).checked_sub(FOREIGN_BYTE)?;
    u8::try_from(byte).ok().filter(|byte| *byte >= 0x80)
}

/// Whether an unquoted string was UTF-8.
pub(crate) fn is_utf8(text: &str) -> bool {
    !text.chars().any(|c| foreign_byte(c).is_some())
}

/// One escape after its backslash; `\x` and octal give a byte, `\u` and `\U` a character.
fn escape(chars: &mut std::str::Chars<'_>, bytes: &mut Vec<u8>) -> Option<()> {
    let c = chars.next()?;
    let mut code = |digits: usize, base: u32| {
        let text = chars.as_str().get(..digits)?;
        *chars = chars.as_str().get(digits..)?.chars();
        u32::from_str_radix(text, base).ok()
    };
    let byte = match c {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' | '\'' | '"' => c as u8,
        '0'..='7' => {
            let low = code(2, 8)?;
            u8::try_from(c.to_digit(8)? * 64 + low).ok()?
        }
        'x' => code(2, 16)? as u8,
        'u' | 'U' => {
            let c = char::from_u32(code(if c == 'u' { 4 } else { 8 }, 16)?)?;
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(());
        }
        _ => return None,
    };
    bytes.push(byte);
    Some(())
}
