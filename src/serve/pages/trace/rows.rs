//! The rows of the waterfall as the template takes them: tree guides, label, bars, duration and
//! what a screen reader says. Only the rows of one page are made; web/static/trace.js makes the
//! others from the columns.

use std::fmt::Write as _;

use crate::query::Layout;
use crate::serve::format;
use crate::serve::page_url::PageUrl;

use super::chart::{self, Bars, Zoom};
use super::fold::{Folds, Line, Place};

/// Left edge of the first chevron's middle, and what each level adds (ui.md, decision 6).
const BASE: u32 = 28;
const INDENT: u32 = 16;
/// Widest indentation: deeper traces get narrower levels, so that names keep their room.
const INDENT_WIDTH_MAX: u32 = 176;

/// One line of the waterfall.
pub(crate) struct RowView {
    /// `r12`, `rg40`, `rs7`: also the browser's name for the place.
    pub(crate) id: String,
    pub(crate) class: String,
    pub(crate) index: usize,
    pub(crate) level: u32,
    pub(crate) position: u32,
    pub(crate) size: u32,
    pub(crate) selected: bool,
    pub(crate) guides: String,
    pub(crate) indent: u32,
    pub(crate) twist: Option<Twist>,
    pub(crate) service_class: &'static str,
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) href: String,
    /// `+14 spans folded`, instead of service and name.
    pub(crate) rest: Option<String>,
    /// `×312`.
    pub(crate) times: Option<String>,
    /// `+9` spans below a folded row.
    pub(crate) more: Option<String>,
    /// Failed spans here or folded below; the number is shown from 2 on.
    pub(crate) errors: u32,
    pub(crate) bars: Bars,
    pub(crate) duration: String,
    /// Where it starts, for those who do not see the bar.
    pub(crate) offset: String,
}

/// The link that opens or folds a line.
pub(crate) struct Twist {
    pub(crate) href: String,
    pub(crate) open: bool,
}

/// What all rows of a page share.
pub(crate) struct Drawing<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) folds: &'a Folds,
    pub(crate) hues: &'a [&'static str],
    pub(crate) zoom: Zoom,
    /// The page's own address.
    pub(crate) url: &'a PageUrl,
    pub(crate) selected: Option<u32>,
}

impl Drawing<'_> {
    /// Views of `lines[from..]`, at most `max`.
    pub(crate) fn rows(&self, lines: &[Line], from: usize, max: usize) -> Vec<RowView> {
        let deepest = lines
            .iter()
            .map(|line| line.level)
            .max()
            .unwrap_or(0)
            .max(1);
        let step = INDENT.min((INDENT_WIDTH_MAX / deepest).max(2));
        let shown = lines.iter().enumerate().skip(from).take(max);
        shown
            .map(|(at, line)| self.row(lines, at, line, step))
            .collect()
    }

    fn row(&self, lines: &[Line], at: usize, line: &Line, step: u32) -> RowView {
        let layout = self.layout;
        let first = match line.place {
            Place::Row(row) => row,
            Place::Bundle(bundle) => self.folds.bundles[bundle as usize].rows.start,
        };
        let facts = &layout.rows[first as usize];
        let selected = line.place == Place::Row(first) && self.selected == Some(first);
        let mut view = RowView {
            id: format!("r{}", self.folds.mark(line.place)),
            class: String::new(),
            index: at + 1,
            level: line.level + 1,
            position: line.position,
            size: line.size,
            selected,
            guides: guides(lines, at, step),
            indent: BASE + line.level * step,
            twist: line.open.map(|open| self.twist(line.place, open)),
            service_class: self.hues[facts.service as usize],
            service: layout.services[facts.service as usize].name.clone(),
            name: layout.operations[facts.operation as usize].clone(),
            href: format!("/trace/{}/span/{}", layout.trace_id, facts.id),
            rest: None,
            times: None,
            more: None,
            errors: u32::from(facts.error),
            bars: Bars::default(),
            duration: format::duration(facts.duration_ns),
            offset: format!("starts at +{}", format::duration(facts.start_ns)),
        };
        match line.place {
            Place::Row(row) => self.fill_span(&mut view, row, line.open == Some(false)),
            Place::Bundle(bundle) => self.fill_bundle(&mut view, bundle),
        }
        view.class = match (view.errors > 0, selected) {
            (true, true) => "r bad sel",
            (true, false) => "r bad",
            (false, true) => "r sel",
            (false, false) => "r",
        }
        .to_owned();
        view
    }

    fn fill_span(&self, view: &mut RowView, row: u32, folded: bool) {
        let facts = &self.layout.rows[row as usize];
        view.bars = chart::span_bars(self.layout, row, folded, self.zoom);
        if folded {
            view.more = Some(format!("+{}", format::exact(u64::from(facts.descendants))));
            view.errors += facts.errors_below;
        }
    }

    fn fill_bundle(&self, view: &mut RowView, bundle: u32) {
        let layout = self.layout;
        let bundle = &self.folds.bundles[bundle as usize];
        view.errors = layout.rows[bundle.rows.start as usize..bundle.rows.end as usize]
            .iter()
            .map(|row| u32::from(row.error))
            .sum();
        let whole = chart::extent(layout, bundle.rows.clone());
        view.duration = format::duration(whole.end - whole.start);
        match bundle.group {
            Some(group) => {
                let group = &layout.groups[group as usize];
                view.times = Some(format!("×{}", format::exact(u64::from(group.count))));
                view.bars = chart::group_bars(layout, group, self.zoom);
            }
            None => {
                let spans = format::exact(bundle.rows.len() as u64);
                view.rest = Some(format!("+{spans} spans folded"));
                view.bars = chart::rest_bars(layout, bundle.rows.clone(), self.zoom);
            }
        }
    }

    /// The page's address with this place turned over; a mark that is there already is taken out.
    fn twist(&self, place: Place, open: bool) -> Twist {
        let mark = self.folds.mark(place);
        let marks = self.url.get("fold").unwrap_or_default();
        let mut kept: Vec<&str> = marks.split('.').filter(|m| !m.is_empty()).collect();
        let before = kept.len();
        kept.retain(|m| *m != mark);
        if kept.len() == before {
            kept.push(&mark);
        }
        let url = self.url.with("fold", &kept.join("."));
        let href = format!("{url}#r{mark}");
        Twist { href, open }
    }
}

/// Lines from the ancestors that have more children, the elbow to this line, and the start of the
/// line to its own children.
fn guides(lines: &[Line], at: usize, step: u32) -> String {
    let line = &lines[at];
    let x = |level: u32| BASE + level * step;
    let mut path = String::new();
    if line.level > 0 {
        let from = x(line.level - 1);
        let _ = write!(
            path,
            "M{from} 0V13M{from} 13h{}",
            if step > 8 { 8 } else { step - 1 }
        );
    }
    let mut above = Some(at);
    while let Some(here) = above {
        let ancestor = &lines[here];
        if ancestor.level > 0 && ancestor.position < ancestor.size {
            let _ = write!(path, "M{} 0V26", x(ancestor.level - 1));
        }
        above = ancestor.parent;
    }
    if line.open == Some(true) {
        let _ = write!(path, "M{} 19V26", x(line.level));
    }
    path
}
