//! Requests as they came, one behind the other: what heads are written as until the columnar
//! segments take over.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::disk::File;
use super::error::StoreError;
use super::head::{Entry, Group};
use super::partition::Partition;
use super::segment::{Sealed, SegmentFacts};
use crate::model::chunk::{Chunk, Request};
use crate::model::wire::WireError;
use crate::model::{ProjectId, Timestamp};

pub(super) fn seal<E: Entry>(
    chunks: &[Arc<Chunk<E>>],
    partition: &dyn Fn(Timestamp) -> Partition,
) -> Vec<Sealed> {
    let mut sealed: Vec<(Partition, Group<E>)> = Vec::new();
    for chunk in chunks.iter().filter(|chunk| !chunk.entries.is_empty()) {
        let home = partition(chunk.entries[0].at());
        let at = sealed.iter().position(|(p, _)| *p == home);
        let at = at.unwrap_or_else(|| {
            sealed.push((home, Group::default()));
            sealed.len() - 1
        });
        sealed[at].1.push(chunk.clone());
    }
    sealed
        .into_iter()
        .map(|(partition, group)| {
            let mut bytes = Vec::new();
            write(&group, &mut bytes);
            let facts = facts(&group, &bytes);
            Sealed {
                partition,
                bytes,
                facts,
            }
        })
        .collect()
}

fn facts<E>(group: &Group<E>, bytes: &[u8]) -> SegmentFacts {
    SegmentFacts {
        rows: group.rows,
        first: group.first,
        last: group.last,
        bytes: bytes.len() as u64,
        raw_bytes: group.bytes,
        crc: crc32fast::hash(bytes),
    }
}

fn write<E>(group: &Group<E>, out: &mut Vec<u8>) {
    for chunk in &group.chunks {
        let request = &chunk.request;
        out.extend_from_slice(&request.received.0.to_le_bytes());
        out.extend_from_slice(&request.project.0.to_le_bytes());
        out.extend_from_slice(&(request.bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(&request.bytes);
    }
}

pub(super) fn merge<E: Entry>(groups: &[Arc<Group<E>>], out: &mut Vec<u8>) -> SegmentFacts {
    let mut all = Group::default();
    for chunk in groups.iter().flat_map(|group| &group.chunks) {
        all.push(chunk.clone());
    }
    write(&all, out);
    facts(&all, out)
}

pub(super) fn open<E: Entry>(
    file: &File,
    crc: u32,
    parse: fn(Request) -> Result<Chunk<E>, WireError>,
) -> Result<Arc<Group<E>>, StoreError> {
    let path = file.path();
    let len = file.len().map_err(StoreError::io("measure", path))?;
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0)
        .map_err(StoreError::io("read", path))?;
    if crc32fast::hash(&bytes) != crc {
        return Err(StoreError::corrupt(path, 0, "checksum"));
    }
    let mut group = Group::default();
    let all = Bytes::from(bytes);
    let mut at = 0;
    while at < all.len() {
        let (request, next) = read(&all, at, path)?;
        let chunk = parse(request).map_err(|_| StoreError::corrupt(path, at as u64, "request"))?;
        group.push(Arc::new(chunk));
        at = next;
    }
    Ok(Arc::new(group))
}

fn read(all: &Bytes, at: usize, path: &Path) -> Result<(Request, usize), StoreError> {
    let short = || StoreError::corrupt(path, at as u64, "request cut short");
    let header: &[u8; 16] = all[at..].first_chunk().ok_or_else(short)?;
    let received = u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| header[i]));
    let project = u32::from_le_bytes([8, 9, 10, 11].map(|i| header[i]));
    let len = u32::from_le_bytes([12, 13, 14, 15].map(|i| header[i])) as usize;
    let end = at + 16 + len;
    if end > all.len() {
        return Err(short());
    }
    let request = Request {
        bytes: all.slice(at + 16..end),
        project: ProjectId(project),
        received: Timestamp(received),
    };
    Ok((request, end))
}
