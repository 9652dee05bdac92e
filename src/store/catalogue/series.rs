//! Series and the metadata of metrics in the catalogue: docs/formats/catalogue.md. Their samples are in
//! segments, which know them by number; labels are found in memory, from what is read at a start.

use std::path::Path;

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use crate::model::metric::{Labels, Metadata};
use crate::store::error::StoreError;
use crate::store::metrics::{metadata_bytes, read_metadata};

/// Number of a series -> its labels, packed.
const SERIES: TableDefinition<u32, &[u8]> = TableDefinition::new("metrics.series");
/// Name of a metric -> what it says of itself.
const METADATA: TableDefinition<&str, &[u8]> = TableDefinition::new("metrics.metadata");
/// `next` -> the number that the next series gets at least.
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("metrics.numbers");
const NEXT: &str = "next";

/// What one transaction says of series.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeriesEdit {
    pub(crate) insert: Vec<(u32, Labels)>,
    /// Series that no segment has samples of.
    pub(crate) remove: Vec<u32>,
    pub(crate) metadata: Vec<Metadata>,
}

impl SeriesEdit {
    fn is_empty(&self) -> bool {
        self.insert.is_empty() && self.remove.is_empty() && self.metadata.is_empty()
    }
}

/// What a start finds.
#[derive(Debug, Default)]
pub(crate) struct SeriesContent {
    /// By number.
    pub(crate) series: Vec<(u32, Labels)>,
    pub(crate) metadata: Vec<Metadata>,
    pub(crate) next: u32,
}

pub(super) fn make_tables(txn: &WriteTransaction) -> Result<(), StoreError> {
    txn.open_table(SERIES)?;
    txn.open_table(METADATA)?;
    txn.open_table(NUMBERS)?;
    Ok(())
}

pub(super) fn read(txn: &ReadTransaction, path: &Path) -> Result<SeriesContent, StoreError> {
    let damaged = |what| StoreError::corrupt(path, 0, what);
    let mut content = SeriesContent::default();
    for entry in txn.open_table(SERIES)?.iter()? {
        let (number, packed) = entry?;
        let labels = Labels::unpack(packed.value()).ok_or_else(|| damaged("labels of a series"))?;
        content.series.push((number.value(), labels));
    }
    for entry in txn.open_table(METADATA)?.iter()? {
        let metadata = read_metadata(entry?.1.value());
        let metadata = metadata.ok_or_else(|| damaged("metadata of a metric"))?;
        content.metadata.push(metadata);
    }
    let next = txn.open_table(NUMBERS)?.get(NEXT)?.map_or(0, |v| v.value());
    content.next = u32::try_from(next).map_err(|_| damaged("number of the next series"))?;
    Ok(content)
}

pub(super) fn write(txn: &WriteTransaction, edit: &SeriesEdit) -> Result<(), StoreError> {
    if edit.is_empty() {
        return Ok(());
    }
    let mut series = txn.open_table(SERIES)?;
    for number in &edit.remove {
        series.remove(number)?;
    }
    for (number, labels) in &edit.insert {
        series.insert(number, labels.packed())?;
    }
    if let Some(newest) = edit.insert.iter().map(|(number, _)| *number).max() {
        let mut numbers = txn.open_table(NUMBERS)?;
        let next = numbers.get(NEXT)?.map_or(0, |v| v.value());
        numbers.insert(NEXT, next.max(u64::from(newest) + 1))?;
    }
    let mut metadata = txn.open_table(METADATA)?;
    for said in &edit.metadata {
        metadata.insert(&*said.metric, &metadata_bytes(said)[..])?;
    }
    Ok(())
}
