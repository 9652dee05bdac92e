//! Questions and answers of DNS as bytes (RFC 1035; SRV: RFC 2782; AAAA: RFC 3596). Only what
//! discovery asks for: a resolver crate brings 40 others for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::scrape::config::RecordType;

/// Pointers followed in one name: a loop of them must end.
const JUMPS_MAX: usize = 32;

/// Bytes of a name as text (RFC 1035, section 3.1).
const NAME_BYTES_MAX: usize = 255;

/// Bytes of an answer over UDP that we take (EDNS, RFC 6891).
pub(super) const UDP_BYTES: u16 = 4096;

const CLASS_INTERNET: u16 = 1;
const TYPE_OPT: u16 = 41;

/// What a record says. Names end in a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Address(IpAddr),
    Service { target: String, port: u16 },
    Mail(String),
    Nameserver(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// It does not fit UDP: ask again over TCP.
    Truncated,
    Records(Vec<Record>),
    /// There is no such name.
    NoName,
    /// Any other code: SERVFAIL, REFUSED.
    Failed(u8),
}

const fn number(records: RecordType) -> u16 {
    match records {
        RecordType::A => 1,
        RecordType::Ns => 2,
        RecordType::Mx => 15,
        RecordType::Aaaa => 28,
        RecordType::Srv => 33,
    }
}

/// A question. `None`: the name is none.
pub(super) fn question(id: u16, name: &str, records: RecordType) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(&id.to_be_bytes());
    // Recursion desired; one question, one additional record.
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|n| (1..64).contains(n))?;
        out.push(length);
        out.extend_from_slice(label.as_bytes());
    }
    if out.len() - 12 >= NAME_BYTES_MAX {
        return None;
    }
    out.push(0);
    out.extend_from_slice(&number(records).to_be_bytes());
    out.extend_from_slice(&CLASS_INTERNET.to_be_bytes());
    out.push(0);
    out.extend_from_slice(&TYPE_OPT.to_be_bytes());
    out.extend_from_slice(&UDP_BYTES.to_be_bytes());
    out.extend_from_slice(&[0; 6]);
    Some(out)
}

/// Reads an answer to the question of that number; `None` when it is none.
pub(super) fn reply(bytes: &[u8], id: u16, records: RecordType) -> Option<Reply> {
    let mut at = Cursor { bytes, at: 0 };
    let (got, flags) = (at.u16()?, at.u16()?);
    let (questions, answers) = (at.u16()?, at.u16()?);
    at.skip(4)?;
    if got != id || flags & 0x8000 == 0 {
        return None;
    }
    if flags & 0x0200 != 0 {
        return Some(Reply::Truncated);
    }
    match flags & 0xf {
        0 => {}
        3 => return Some(Reply::NoName),
        code => return Some(Reply::Failed(code as u8)),
    }
    for _ in 0..questions {
        at.name()?;
        at.skip(4)?;
    }
    let mut found = Vec::new();
    for _ in 0..answers {
        at.name()?;
        let (kind, class) = (at.u16()?, at.u16()?);
        at.skip(4)?;
        let length = usize::from(at.u16()?);
        let end = at
            .at
            .checked_add(length)
            .filter(|end| *end <= bytes.len())?;
        // Others are the aliases on the way to what was asked for.
        if kind == number(records) && class == CLASS_INTERNET {
            found.push(at.record(records, length)?);
        }
        at.at = end;
    }
    Some(Reply::Records(found))
}

struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Cursor<'_> {
    fn u8(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    fn skip(&mut self, n: usize) -> Option<()> {
        self.at = self
            .at
            .checked_add(n)
            .filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    /// A name with its pointers followed; the cursor stands behind it.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut back = None;
        for _ in 0..JUMPS_MAX {
            loop {
                let length = self.u8()?;
                match length {
                    0 => {
                        self.at = back.unwrap_or(self.at);
                        return Some(if name.is_empty() {
                            ".".to_owned()
                        } else {
                            name
                        });
                    }
                    1..64 => {
                        let label = self.bytes.get(self.at..self.at + usize::from(length))?;
                        name.push_str(std::str::from_utf8(label).ok()?);
                        name.push('.');
                        self.at += usize::from(length);
                        if name.len() > NAME_BYTES_MAX {
                            return None;
                        }
                    }
                    192.. => {
                        let low = self.u8()?;
                        back.get_or_insert(self.at);
                        self.at = usize::from(length & 0x3f) << 8 | usize::from(low);
                        break;
                    }
                    _ => return None,
                }
            }
        }
        None
    }

    fn record(&mut self, records: RecordType, length: usize) -> Option<Record> {
        Some(match records {
            RecordType::A => {
                let octets: [u8; 4] = self.bytes.get(self.at..self.at + length)?.try_into().ok()?;
                Record::Address(Ipv4Addr::from(octets).into())
            }
            RecordType::Aaaa => {
                let octets: [u8; 16] =
                    self.bytes.get(self.at..self.at + length)?.try_into().ok()?;
                Record::Address(Ipv6Addr::from(octets).into())
            }
            RecordType::Srv => {
                self.skip(4)?;
                let port = self.u16()?;
                Record::Service {
                    target: self.name()?,
                    port,
                }
            }
            RecordType::Mx => {
                self.skip(2)?;
                Record::Mail(self.name()?)
            }
            RecordType::Ns => Record::Nameserver(self.name()?),
        })
    }
}
