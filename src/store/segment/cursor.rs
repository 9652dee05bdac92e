//! Reading small things out of bytes from a disk. Never panics, never allocates.

/// Why bytes of a segment are not what was written; the reader adds file and offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damage(pub(crate) &'static str);

/// A place in a byte string; every read moves it forward.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], Damage> {
        let (head, rest) = self
            .rest
            .split_at_checked(n)
            .ok_or(Damage("a field runs past its end"))?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(Damage("a field runs past its end"))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Damage> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Damage> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Damage> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A base-128 varint, least significant group first.
    pub(crate) fn varint(&mut self) -> Result<u64, Damage> {
        let mut value = 0u64;
        for i in 0..10 {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Damage("a varint has more than 10 bytes"))
    }

    /// A varint that counts or numbers things in memory.
    pub(crate) fn number(&mut self) -> Result<u32, Damage> {
        u32::try_from(self.varint()?).map_err(|_| Damage("a number is larger than 32 bits"))
    }

    /// A byte string behind its length.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Damage> {
        let n = self.number()?;
        self.take(n as usize)
    }

    /// A text behind its length.
    pub(crate) fn str(&mut self) -> Result<&'a str, Damage> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damage("a text is not UTF-8"))
    }
}

/// The inverse of [`Cursor::bytes`].
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) use crate::model::write::varint as put_varint;

/// Signed to unsigned with small results for small magnitudes: 0, -1, 1, -2 become 0, 1, 2, 3.
pub(crate) const fn zigzag(v: i64) -> u64 {
    (v << 1 ^ v >> 63) as u64
}

/// The inverse of [`zigzag`].
pub(crate) const fn unzigzag(v: u64) -> i64 {
    (v >> 1) as i64 ^ -((v & 1) as i64)
}
