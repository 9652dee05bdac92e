//! Looking for spans in a block: the test first, over no more columns than it looks at, then the rest
//! of the columns where something has passed, and views of those rows alone.

use std::ops::ControlFlow;

use crate::model::{SpanView, TimeRange};
use crate::store::{SpanAsk, SpanColumns, StoreError};

use super::SpanBlock;
use super::decode::{Columns, Views};

/// Answers by kind of span that are remembered, at their place by shape and resource: a block has
/// about a hundred kinds.
const KINDS_KEPT: usize = 1024;

pub(super) fn select(
    block: &SpanBlock,
    range: TimeRange,
    ask: SpanAsk,
    test: &mut dyn FnMut(&SpanView<'_>) -> bool,
    each: &mut dyn FnMut(&SpanView<'_>) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let entry = block.entry();
    let corrupt = block.segment.frame().corrupt(entry.offset);
    let dictionary = block.segment.dictionary(&block.loaded, entry.part)?;
    let is_cut = !range.contains(entry.first) || !range.contains(entry.last);
    let find = if is_cut {
        ask.find.with(SpanColumns::TIMES)
    } else {
        ask.find
    };
    let mut columns = Columns::read(block, dictionary)?;
    let rows = columns.rows_of(block.only);
    if rows.is_empty() {
        return Ok(());
    }
    columns.more(block, dictionary, find)?;
    let mut views = Views::new(dictionary, &columns).map_err(&corrupt)?;
    let mut kinds = ask.by_kind.then(Kinds::default);
    let mut found = Vec::new();
    for row in rows {
        let shape = columns.shapes[row];
        let is_raw = dictionary.shapes[shape as usize].columns.is_none();
        let kind = (shape, columns.resources[row]);
        let known = kinds.as_ref().and_then(|kinds| kinds.get(kind));
        let passes = match known {
            Some(passes) if !is_raw && !is_cut => passes,
            _ => {
                let mut test = |span: &SpanView<'_>| {
                    let passes = test(span);
                    (passes, !is_cut || range.contains(span.at))
                };
                let (passes, is_inside) = views.show(row, &mut test).map_err(&corrupt)?;
                if let Some(kinds) = kinds.as_mut().filter(|_| !is_raw) {
                    kinds.set(kind, passes);
                }
                passes && is_inside
            }
        };
        if passes {
            found.push(row);
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    columns.more(block, dictionary, ask.show)?;
    let mut views = Views::new(dictionary, &columns).map_err(&corrupt)?;
    for row in found {
        if views.show(row, each).map_err(&corrupt)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// What a test has said of kinds of spans: of each place the kind that asked last.
#[derive(Debug)]
struct Kinds(Vec<Option<((u32, u32), bool)>>);

impl Default for Kinds {
    fn default() -> Kinds {
        Kinds(vec![None; KINDS_KEPT])
    }
}

impl Kinds {
    fn place((shape, resource): (u32, u32)) -> usize {
        (shape.wrapping_mul(31).wrapping_add(resource)) as usize % KINDS_KEPT
    }

    fn get(&self, kind: (u32, u32)) -> Option<bool> {
        self.0[Kinds::place(kind)]
            .filter(|(known, _)| *known == kind)
            .map(|(_, passes)| passes)
    }

    fn set(&mut self, kind: (u32, u32), passes: bool) {
        self.0[Kinds::place(kind)] = Some((kind, passes));
    }
}
