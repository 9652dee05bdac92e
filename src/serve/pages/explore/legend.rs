//! The legend: one row for each line, with the figures of its range, and a link that isolates it.

use crate::query::explore::plot::{Line, Plot, name_of};
use crate::query::explore::unit::Unit;
use crate::serve::page_url::PageUrl;
use crate::serve::palette;

use super::ask::Asked;
use super::{letter, value};

pub(crate) struct Legend {
    pub(crate) rows: Vec<Entry>,
    /// The letter stands before each name.
    pub(crate) lettered: bool,
    /// All lines again, where some are isolated.
    pub(crate) reset: Option<String>,
}

pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) letter: char,
    /// Colour and dash.
    pub(crate) class: String,
    pub(crate) name: String,
    pub(crate) last: String,
    pub(crate) min: String,
    pub(crate) max: String,
    pub(crate) avg: String,
    pub(crate) on: bool,
    /// Shows it alone, or all again.
    pub(crate) href: String,
}

/// The class of the line at a place: eight hues, then the same dashed.
pub(crate) fn class(at: usize) -> String {
    let hue = palette::service_class(at as u32);
    match at / palette::HUES as usize % 3 {
        0 => hue.to_owned(),
        1 => format!("{hue} dash"),
        _ => format!("{hue} dots"),
    }
}

/// A name for a line that stays the same when other lines come and go.
pub(crate) fn id(letter: char, name: &str) -> String {
    // FNV-1a: a link needs no more than to tell lines of one page apart.
    let fold = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let bytes = [letter as u8].into_iter().chain(name.bytes());
    format!("{:08x}", bytes.fold(0x811c_9dc5, fold))
}

impl Legend {
    pub(crate) fn new(plot: Option<&Plot>, asked: &Asked, url: &PageUrl) -> Legend {
        let lines = plot.map_or(&[][..], |plot| &plot.lines);
        let bare = url.without("only");
        let mut rows: Vec<Entry> = Vec::with_capacity(lines.len());
        for (at, line) in lines.iter().enumerate() {
            let outcome = plot.and_then(|plot| plot.outcomes.get(line.of));
            let text = outcome.map_or("", |outcome| &outcome.text);
            let unit = outcome.map_or(Unit::default(), |outcome| outcome.unit.clone());
            let name = name_of(&line.labels, text);
            let id = id(letter(line.of), &name);
            let alone = asked.only.len() == 1 && asked.only[0] == id;
            rows.push(Entry {
                href: match alone {
                    true => bare.to_string(),
                    false => bare.with("only", &id).to_string(),
                },
                letter: letter(line.of),
                class: class(at),
                on: true,
                name,
                id,
                ..figures(line, &unit)
            });
        }
        // An isolated line that is gone hides no other.
        let isolated = rows.iter().any(|row| asked.only.contains(&row.id));
        if isolated {
            for row in &mut rows {
                row.on = asked.only.contains(&row.id);
            }
        }
        Legend {
            lettered: asked.texts.len() > 1,
            reset: isolated.then(|| bare.to_string()),
            rows,
        }
    }
}

fn figures(line: &Line, unit: &Unit) -> Entry {
    let known = line.values.iter().copied().filter(|value| !value.is_nan());
    let (mut min, mut max, mut sum, mut count, mut last) =
        (f64::NAN, f64::NAN, 0.0, 0_u32, f64::NAN);
    for value in known {
        min = min.min(value);
        max = max.max(value);
        sum += value;
        count += 1;
        last = value;
    }
    let text = |value: f64| value::text(value, unit);
    Entry {
        id: String::new(),
        letter: 'A',
        class: String::new(),
        name: String::new(),
        last: text(last),
        min: text(min),
        max: text(max),
        avg: text(sum / f64::from(count.max(1))),
        on: true,
        href: String::new(),
    }
}
