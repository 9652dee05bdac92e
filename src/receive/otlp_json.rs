//! OTLP/JSON to OTLP protobuf, by OTLP's mapping and tolerant where senders are sloppy: ids in
//! either case, 64-bit integers as strings or numbers, NaN and infinities, nulls for anything, both
//! base64 alphabets, snake_case keys, unknown keys.
//!
//! Only broken JSON fails the request. A value of the wrong type makes its own record malformed
//! (the field is written with a wrong wire type), so that admission leaves that record out and
//! names it.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::json::{JsonError, Next, Reader};
use super::otlp_shape::{self, KEY_VALUE, Kind, Shape, same_name};
use crate::ingest::DEPTH_MAX;
use crate::model::{Signal, ValueRef, write};

type Result<T> = std::result::Result<T, JsonError>;

/// Transcodes an `Export{Logs,Trace}ServiceRequest`.
///
/// # Errors
/// Not JSON, or not an object at the top.
pub(crate) fn transcode(signal: Signal, json: &[u8]) -> Result<Vec<u8>> {
    // Protobuf has about half of the bytes of the JSON that says the same.
    let mut out = Vec::with_capacity(json.len() / 2);
    let mut reader = Reader::new(json);
    message(&mut reader, otlp_shape::request(signal), 1, &mut out)?;
    reader.end()?;
    Ok(out)
}

/// Transcodes an `ExportMetricsServiceRequest`.
///
/// # Errors
/// Not JSON, or not an object at the top.
pub(crate) fn transcode_metrics(json: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(json.len() / 2);
    let mut reader = Reader::new(json);
    message(&mut reader, &otlp_shape::METRICS, 1, &mut out)?;
    reader.end()?;
    Ok(out)
}

/// An object of a shape. `depth` is the level of AnyValues in it.
fn message(reader: &mut Reader<'_>, shape: &Shape, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    reader.object(|reader, key| match shape.field(key) {
        _ if reader.peek()? == Next::Null => reader.null(),
        Some((number, kind)) => field(reader, number, kind, depth, out),
        None => reader.skip(),
    })
}

fn field(
    reader: &mut Reader<'_>,
    number: u32,
    kind: Kind,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    let next = reader.peek()?;
    match (kind, next) {
        (Kind::Str, Next::String) => {
            write::bytes_field(out, number, reader.string()?.as_bytes());
        }
        (Kind::Id, Next::String) => match unhex(&reader.string()?) {
            Some(id) => write::bytes_field(out, number, &id),
            None => spoil(out, number, kind),
        },
        (Kind::Varint | Kind::Fixed64 | Kind::Fixed32, Next::String | Next::Number) => {
            number_field(out, number, kind, integer(reader)?);
        }
        (Kind::Signed64 | Kind::ZigZag | Kind::Double, Next::String | Next::Number) => {
            element(reader, number, kind, out)?;
        }
        (Kind::Bool, Next::Bool) => {
            write::varint_field(out, number, u64::from(reader.bool()?));
        }
        (Kind::Bool, Next::String) => match reader.string()?.as_ref() {
            "true" => write::varint_field(out, number, 1),
            "false" => {}
            _ => spoil(out, number, Kind::Varint),
        },
        (Kind::ManyFixed64 | Kind::ManyVarint | Kind::ManyDouble, Next::Array) => {
            reader.array(|reader| element(reader, number, kind, out))?;
        }
        (Kind::Any, Next::Object) => {
            write::try_message(out, number, |out| any_value(reader, depth, out))?;
        }
        (Kind::One(shape), Next::Object) => {
            write::try_message(out, number, |out| message(reader, shape, depth, out))?;
        }
        (Kind::Many(shape), Next::Array) => reader.array(|reader| match reader.peek()? {
            Next::Null | Next::Object => {
                write::try_message(out, number, |out| message(reader, shape, depth, out))
            }
            _ => {
                spoil(out, number, kind);
                reader.skip()
            }
        })?,
        (Kind::ManyStr, Next::Array) => reader.array(|reader| {
            if reader.peek()? != Next::String {
                spoil(out, number, kind);
                return reader.skip();
            }
            let text = reader.string()?;
            write::message_bytes(out, number, text.as_bytes());
            Ok(())
        })?,
        _ => {
            spoil(out, number, kind);
            reader.skip()?;
        }
    }
    Ok(())
}

fn number_field(out: &mut Vec<u8>, number: u32, kind: Kind, value: Option<i128>) {
    let fits = |max: u64| value.filter(|v| (0..=i128::from(max)).contains(v));
    match (kind, value) {
        // Enums are int32: negative ones are ten bytes of varint.
        (Kind::Varint, Some(v)) if (i128::from(i32::MIN)..=i128::from(u32::MAX)).contains(&v) => {
            write::varint_field(out, number, v as i64 as u64);
        }
        (Kind::Fixed64, _) if let Some(v) = fits(u64::MAX) => {
            write::fixed64_field(out, number, v as u64);
        }
        (Kind::Fixed32, _) if let Some(v) = fits(u64::from(u32::MAX)) => {
            write::fixed32_field(out, number, v as u32);
        }
        _ => spoil(out, number, kind),
    }
}

/// A number of metrics, alone or one of many: written when it is zero too.
fn element(reader: &mut Reader<'_>, number: u32, kind: Kind, out: &mut Vec<u8>) -> Result<()> {
    let scalar = matches!(reader.peek()?, Next::String | Next::Number);
    let found = match kind {
        _ if !scalar => {
            reader.skip()?;
            None
        }
        Kind::Double | Kind::ManyDouble => double(reader)?.map(f64::to_bits),
        Kind::Signed64 => integer(reader)?
            .and_then(|n| i64::try_from(n).ok())
            .map(|n| n as u64),
        Kind::ZigZag => {
            let n = integer(reader)?.and_then(|n| i32::try_from(n).ok());
            n.map(|n| u64::from((n << 1 ^ n >> 31) as u32))
        }
        _ => integer(reader)?.and_then(|n| u64::try_from(n).ok()),
    };
    let varint = matches!(kind, Kind::ZigZag | Kind::ManyVarint);
    match found {
        Some(n) if varint => {
            write::varint(out, u64::from(number << 3));
            write::varint(out, n);
        }
        Some(n) => {
            write::varint(out, u64::from(number << 3 | 1));
            out.extend_from_slice(&n.to_le_bytes());
        }
        None => spoil(out, number, if varint { Kind::Varint } else { kind }),
    }
    Ok(())
}

/// Writes a field with a wire type that is not its own: admission sees the record as malformed.
fn spoil(out: &mut Vec<u8>, number: u32, kind: Kind) {
    match kind {
        Kind::Varint => write::fixed32_field(out, number, 1),
        _ => write::varint_field(out, number, 1),
    }
}

/// An integer as a JSON number or string, also as `1.0` or `1e3`; `None`: it is none.
fn integer(reader: &mut Reader<'_>) -> Result<Option<i128>> {
    let text = match reader.peek()? {
        Next::String => reader.string()?,
        _ => reader.number()?.into(),
    };
    let text = text.trim();
    if let Ok(value) = text.parse::<i128>() {
        return Ok(Some(value));
    }
    let float = text.parse::<f64>().ok();
    // 2^63: what an f64 can say beyond has no meaning as a count or a stamp.
    let float = float.filter(|v| v.fract() == 0.0 && v.abs() < 9.3e18);
    Ok(float.map(|v| v as i128))
}

/// A double, also as a string; `None`: it is none.
fn double(reader: &mut Reader<'_>) -> Result<Option<f64>> {
    let text = match reader.peek()? {
        Next::String => reader.string()?,
        _ => reader.number()?.into(),
    };
    Ok(match text.trim() {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        // Rust also reads "inf" and "nan", which JSON's mapping does not have.
        text if text.contains(|c: char| c.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    })
}

/// The content of an AnyValue. Past the last level an empty one stands for it: admission cuts there
/// and marks the record.
fn any_value(reader: &mut Reader<'_>, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    if depth > DEPTH_MAX {
        return reader.skip();
    }
    reader.object(|reader, key| {
        let next = reader.peek()?;
        if next == Next::Null {
            return reader.null();
        }
        let is = |camel: &str| key == camel || same_name(camel, key);
        let scalar = matches!(next, Next::String | Next::Number);
        if is("stringValue") && next == Next::String {
            write::any_value(out, ValueRef::Str(&reader.string()?));
        } else if is("intValue") && scalar {
            match integer(reader)?.and_then(|v| i64::try_from(v).ok()) {
                Some(value) => write::any_value(out, ValueRef::Int(value)),
                None => spoil(out, 3, Kind::Varint),
            }
        } else if is("boolValue") && next == Next::Bool {
            write::any_value(out, ValueRef::Bool(reader.bool()?));
        } else if is("boolValue") && next == Next::String {
            match reader.string()?.as_ref() {
                "true" => write::any_value(out, ValueRef::Bool(true)),
                "false" => write::any_value(out, ValueRef::Bool(false)),
                _ => spoil(out, 2, Kind::Varint),
            }
        } else if is("doubleValue") && scalar {
            match double(reader)? {
                Some(value) => write::any_value(out, ValueRef::Double(value)),
                None => spoil(out, 4, Kind::Fixed64),
            }
        } else if is("bytesValue") && next == Next::String {
            match unbase64(&reader.string()?) {
                Some(bytes) => write::any_value(out, ValueRef::Bytes(&bytes)),
                None => spoil(out, 7, Kind::Str),
            }
        } else if is("arrayValue") && next == Next::Object {
            write::try_message(out, 5, |out| {
                values(reader, out, |reader, out| any_value(reader, depth + 1, out))
            })?;
        } else if is("kvlistValue") && next == Next::Object {
            write::try_message(out, 6, |out| {
                values(reader, out, |reader, out| {
                    message(reader, &KEY_VALUE, depth + 1, out)
                })
            })?;
        } else if key.ends_with("Value") || key.ends_with("_value") {
            spoil(out, 1, Kind::Str);
            reader.skip()?;
        } else {
            reader.skip()?;
        }
        Ok(())
    })
}

/// `{"values":[...]}` of arrays and maps.
fn values(
    reader: &mut Reader<'_>,
    out: &mut Vec<u8>,
    mut each: impl FnMut(&mut Reader<'_>, &mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    reader.object(|reader, key| {
        if key != "values" {
            return reader.skip();
        }
        reader.array(|reader| match reader.peek()? {
            Next::Null | Next::Object => write::try_message(out, 1, |out| each(reader, out)),
            _ => {
                spoil(out, 1, Kind::Str);
                reader.skip()
            }
        })
    })
}

/// Hexadecimal of either case.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| (c as char).to_digit(16).map(|d| d as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match *pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

/// Either alphabet, padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let standard: Vec<u8> = text
        .bytes()
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => byte,
        })
        .collect();
    BASE64.decode(standard).ok()
}
