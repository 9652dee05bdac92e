//! Columns of times: the first, then the steps, packed. Scraped at even times they are 9 bytes.

use super::packed::{self, Plan};
use crate::store::segment::cursor::{Cursor, Damage, put_varint, unzigzag, zigzag};

/// Appends rising times; their number is known to the reader.
pub(crate) fn encode(times: &[i64], steps: &mut Vec<i64>, out: &mut Vec<u8>) {
    let Some(first) = times.first() else {
        return;
    };
    put_varint(out, zigzag(*first));
    steps.clear();
    steps.extend(times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])));
    if !steps.is_empty() {
        Plan::of(steps).put(steps, out);
    }
}

/// The `n` times that [`encode`] wrote.
///
/// # Errors
/// They do not rise, or there are other bytes.
pub(crate) fn decode(bytes: &[u8], n: usize) -> Result<Vec<i64>, Damage> {
    let mut times = Vec::with_capacity(n);
    if n == 0 {
        return Ok(times);
    }
    let mut cursor = Cursor::new(bytes);
    times.push(unzigzag(cursor.varint()?));
    if n > 1 {
        packed::decode(&mut cursor, n - 1, &mut times)?;
    }
    if !cursor.is_empty() {
        return Err(Damage("bytes behind a column of times"));
    }
    for i in 1..n {
        let (before, step) = (times[i - 1], times[i]);
        // As steps were taken: one of more than half of all times is negative here.
        times[i] = before.wrapping_add(step);
        if times[i] <= before {
            return Err(Damage("times do not rise"));
        }
    }
    Ok(times)
}
