//! Trace, span and project ids. Never carries an invalid id: an all-zero OTLP id is "no id".

use std::fmt;

/// A W3C trace id: 16 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TraceId(pub(crate) [u8; 16]);

/// A W3C span id: 8 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SpanId(pub(crate) [u8; 8]);

/// The project a batch belongs to. Everything is stored under one (1 by default), so that
/// separating projects never has to be added to a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ProjectId(pub(crate) u32);

impl ProjectId {
    pub(crate) const DEFAULT: ProjectId = ProjectId(1);
}

/// An id field whose length is neither zero nor the id's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadIdLength(pub(crate) usize);

macro_rules! id {
    ($name:ident, $n:literal) => {
        impl $name {
            /// Reads an OTLP id field: empty or all zero is "no id".
            pub(crate) fn from_field(bytes: &[u8]) -> Result<Option<$name>, BadIdLength> {
                if bytes.is_empty() {
                    return Ok(None);
                }
                let id: [u8; $n] = bytes.try_into().map_err(|_| BadIdLength(bytes.len()))?;
                Ok((id != [0; $n]).then_some($name(id)))
            }

            /// Reads hexadecimal of either case; the whole text must be the id.
            pub(crate) fn from_hex(text: &str) -> Option<$name> {
                let text = text.as_bytes();
                if text.len() != 2 * $n {
                    return None;
                }
                let mut id = [0; $n];
                for (byte, pair) in id.iter_mut().zip(text.chunks_exact(2)) {
                    *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
                }
                (id != [0; $n]).then_some($name(id))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(TraceId, 16);
id!(SpanId, 8);

fn hex_digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        b'A'..=b'F' => Some(c - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_of_either_case_reads_back() {
        let text = "5B8EFFF798038103d269b633813fc60c";
        let id = TraceId::from_hex(text).expect("32 hex digits");
        assert_eq!(id.to_string(), text.to_lowercase());
        assert_eq!(TraceId::from_hex(&text[1..]), None);
        assert_eq!(TraceId::from_hex(&"0".repeat(32)), None);
        assert_eq!(SpanId::from_hex("zz19b7ec3c1b1740"), None);
    }

    #[test]
    fn field_of_wrong_length_is_an_error_and_zero_is_none() {
        assert_eq!(SpanId::from_field(&[]), Ok(None));
        assert_eq!(SpanId::from_field(&[0; 8]), Ok(None));
        assert_eq!(SpanId::from_field(&[1; 5]), Err(BadIdLength(5)));
    }
}
