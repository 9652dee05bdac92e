//! Texts that are numbers in disguise: hexadecimal, UUIDs, decimal integers, IPv4 addresses. Each
//! form is taken for a whole column, and only where the text can be rebuilt to the byte.

use super::super::cursor::{Cursor, Damage};
use super::{Decoder, Encoder, ints};

/// Tags of the forms on disk; 0 is plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    /// Lower-case hexadecimal of one even length, 8 to 128 digits: half the bytes.
    Hex {
        digits: usize,
    },
    /// `8-4-4-4-12` lower-case hexadecimal: 16 bytes.
    Uuid,
    /// What u64 prints.
    Decimal,
    /// What std's `Ipv4Addr` prints: 4 bytes.
    Ipv4,
}

const UUID_LEN: usize = 36;
const UUID_DASHES: [usize; 4] = [8, 13, 18, 23];
const HEX_DIGITS_MAX: usize = 128;

impl Form {
    pub(super) const fn tag(self) -> u8 {
        match self {
            Form::Plain => 0,
            Form::Hex { .. } => 1,
            Form::Uuid => 2,
            Form::Decimal => 3,
            Form::Ipv4 => 4,
        }
    }

    /// The one form that all of `texts` have.
    pub(super) fn of<'a>(texts: impl Iterator<Item = &'a [u8]> + Clone) -> Form {
        let Some(first) = texts.clone().next() else {
            return Form::Plain;
        };
        let candidates = [
            Form::Hex {
                digits: first.len(),
            },
            Form::Uuid,
            Form::Decimal,
            Form::Ipv4,
        ];
        candidates
            .into_iter()
            .find(|form| texts.clone().all(|text| form.holds(text)))
            .unwrap_or(Form::Plain)
    }

    fn holds(self, text: &[u8]) -> bool {
        match self {
            Form::Plain => true,
            Form::Hex { digits } => {
                text.len() == digits
                    && digits.is_multiple_of(2)
                    && (8..=HEX_DIGITS_MAX).contains(&digits)
                    && text.iter().all(|c| nibble(*c).is_some())
            }
            Form::Uuid => {
                text.len() == UUID_LEN
                    && text.iter().enumerate().all(|(i, c)| {
                        if UUID_DASHES.contains(&i) {
                            *c == b'-'
                        } else {
                            nibble(*c).is_some()
                        }
                    })
            }
            Form::Decimal => decimal(text).is_some(),
            Form::Ipv4 => ipv4(text).is_some(),
        }
    }

    /// Writes texts that all have this form; not for [`Form::Plain`].
    pub(super) fn put<'a>(self, encoder: &mut Encoder, texts: impl Iterator<Item = &'a [u8]>) {
        match self {
            Form::Plain => unreachable!("plain text is written by its column"),
            Form::Hex { digits } => {
                encoder.codes.push(digits as u8);
                texts.for_each(|text| put_hex(&mut encoder.bits, text));
            }
            Form::Uuid => texts.for_each(|text| put_hex(&mut encoder.bits, text)),
            Form::Decimal => {
                let mut numbers = encoder.buffer();
                numbers.extend(texts.filter_map(decimal));
                ints::put_plain(encoder, &numbers);
                encoder.give_back(numbers);
            }
            Form::Ipv4 => {
                let mut numbers = encoder.buffer();
                numbers.extend(texts.filter_map(ipv4));
                ints::put_plain(encoder, &numbers);
                encoder.give_back(numbers);
            }
        }
    }
}

/// Reads `n` texts of the form with this tag; calls `each` with every text.
pub(super) fn decode(
    tag: u8,
    decoder: &mut Decoder<'_>,
    n: usize,
    mut each: impl FnMut(&[u8]),
) -> Result<(), Damage> {
    let mut text = Vec::new();
    let mut show = |fill: &dyn Fn(&mut Vec<u8>)| {
        text.clear();
        fill(&mut text);
        each(&text);
    };
    match tag {
        1 => {
            let digits = usize::from(decoder.codes.u8()?);
            if digits == 0 || digits % 2 != 0 {
                return Err(Damage("a column of hexadecimal has no even length"));
            }
            for id in decoder.bits.take(n * digits / 2)?.chunks_exact(digits / 2) {
                show(&|out| push_hex(out, id));
            }
        }
        2 => {
            for id in decoder.bits.take(n * 16)?.chunks_exact(16) {
                show(&|out| push_uuid(out, id));
            }
        }
        3 => {
            for number in ints::decode_plain(decoder, n)? {
                show(&|out| out.extend_from_slice(number.to_string().as_bytes()));
            }
        }
        4 => {
            for number in ints::decode_plain(decoder, n)? {
                let address = u32::try_from(number)
                    .map_err(|_| Damage("an IPv4 address has more than 32 bits"))?;
                let address = std::net::Ipv4Addr::from_bits(address).to_string();
                show(&|out| out.extend_from_slice(address.as_bytes()));
            }
        }
        _ => return Err(Damage("a column of texts has an unknown form")),
    }
    Ok(())
}

const fn nibble(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}

fn put_hex(out: &mut Vec<u8>, text: &[u8]) {
    let mut digits = text.iter().filter_map(|c| nibble(*c));
    while let (Some(high), Some(low)) = (digits.next(), digits.next()) {
        out.push(high << 4 | low);
    }
}

/// Appends the lower-case hexadecimal of `bytes`.
pub(crate) fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

fn push_uuid(out: &mut Vec<u8>, id: &[u8]) {
    let mut rest = Cursor::new(id);
    for (i, n) in [4, 2, 2, 2, 6].into_iter().enumerate() {
        if i > 0 {
            out.push(b'-');
        }
        push_hex(out, rest.take(n).unwrap_or_default());
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    let canonical = match text {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < 20 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn ipv4(text: &[u8]) -> Option<u64> {
    if text.len() > 15 || !text.contains(&b'.') {
        return None;
    }
    let address: std::net::Ipv4Addr = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(u64::from(address.to_bits()))
}
