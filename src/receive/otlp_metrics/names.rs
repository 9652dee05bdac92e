//! Names of OpenTelemetry as Prometheus has them: "OpenTelemetry: Prometheus and OpenMetrics
//! Compatibility" in the strategy UnderscoreEscapingWithSuffixes, the default of Prometheus 3.5.

use std::borrow::Cow;

/// What decides about a name's suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Gauge,
    /// A monotonic sum.
    Counter,
    Other,
}

/// UCUM units and the words that Prometheus' naming rules want for them.
const UNITS: &[(&str, &str)] = &[
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
];

/// Behind a slash, in the singular.
const PER_UNITS: &[(&str, &str)] = &[
    ("s", "second"),
    ("m", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

/// A metric's name with unit and type; `None`: nothing of it can stand in a name.
pub(super) fn metric(name: &str, unit: &str, shape: Shape) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == ':';
    let mut parts: Vec<Cow<'_, str>> = name
        .split(|c| !fits(c))
        .filter(|part| !part.is_empty())
        .map(Cow::Borrowed)
        .collect();
    let (main, per) = unit_suffixes(unit);
    for suffix in [main, per] {
        if !suffix.is_empty() && !parts.contains(&Cow::Borrowed(suffix.as_str())) {
            parts.push(Cow::Owned(suffix));
        }
    }
    let last = match shape {
        Shape::Counter => Some("total"),
        // Senders use the unit 1 for counts of things; only gauges are taken for ratios.
        Shape::Gauge if unit == "1" => Some("ratio"),
        Shape::Gauge | Shape::Other => None,
    };
    if let Some(last) = last {
        parts.retain(|part| part != last);
        parts.push(Cow::Borrowed(last));
    }
    let mut joined = parts.join("_");
    if joined.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        joined.insert(0, '_');
    }
    joined.bytes().any(|b| b != b'_').then_some(joined)
}

/// The words for a unit and for what it is per, each may be empty.
fn unit_suffixes(unit: &str) -> (String, String) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let plain = |text: &str| !text.is_empty() && !text.contains(['{', '}']);
    let word = |text: &str, table: &[(&str, &str)]| {
        let known = table.iter().find(|(unit, _)| *unit == text);
        known.map_or(text, |(_, word)| word).to_owned()
    };
    let (main, per) = (main.trim(), per.trim());
    let mut main = if plain(main) {
        clean(&word(main, UNITS))
    } else {
        String::new()
    };
    let per = if plain(per) {
        clean(&word(per, PER_UNITS))
    } else {
        String::new()
    };
    if per.is_empty() {
        return (main, String::new());
    }
    main.truncate(main.trim_end_matches('_').len());
    (main, format!("per_{}", per.trim_end_matches('_')))
}

/// A unit of letters, digits and single underscores.
fn clean(unit: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == ':';
    let mut out = String::with_capacity(unit.len());
    for c in unit.chars() {
        match fits(c) {
            true => out.push(c),
            false if out.ends_with('_') || out.is_empty() => {}
            false => out.push('_'),
        }
    }
    out
}

/// A label's name: what cannot stand in one becomes an underscore.
pub(super) fn label(name: &str) -> Cow<'_, str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = name.as_bytes().first();
    let reserved = name.starts_with('_') && !name.starts_with("__");
    let digit = starts.is_some_and(u8::is_ascii_digit);
    if name.chars().all(fits) && !reserved && !digit {
        return Cow::Borrowed(name);
    }
    let escaped: String = name
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect();
    Cow::Owned(if digit {
        format!("key_{escaped}")
    } else if escaped.starts_with('_') && !escaped.starts_with("__") {
        format!("key{escaped}")
    } else {
        escaped
    })
}
