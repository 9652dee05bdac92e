//! The time range of a page: read from the address as people type it, moved and widened by links.
//! It must never guess: text it cannot read is an error with an example, and the page says so.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

use crate::serve::format::{Zone, duration};
use crate::serve::page_url::PageUrl;

const SECOND_NS: u64 = 1_000_000_000;

/// The range of a page that names none.
pub(crate) const DEFAULT_RANGE_NS: u64 = 3_600 * SECOND_NS;

/// The shortest range shown, 1 ms: a histogram needs some width to stand on.
const RANGE_NS_MIN: u64 = 1_000_000;

/// Longest text read as an instant; two RFC 3339 stamps with nanoseconds are under 80 bytes.
const INSTANT_BYTES_MAX: usize = 128;

/// The menu of ranges: `start` parameter and words.
pub(crate) const PRESETS: [(&str, &str); 10] = [
    ("5m", "5 minutes"),
    ("15m", "15 minutes"),
    ("1h", "1 hour"),
    ("3h", "3 hours"),
    ("6h", "6 hours"),
    ("12h", "12 hours"),
    ("1d", "24 hours"),
    ("7d", "7 days"),
    ("today", "Today"),
    ("yesterday", "Yesterday"),
];

/// A half-open range of nanoseconds since the epoch, with the text it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageRange {
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    /// What the address said; empty where it said nothing.
    pub(crate) start_text: String,
    pub(crate) end_text: String,
    /// It ends now and moves with the clock.
    pub(crate) live: bool,
}

/// Text that is no instant: shown under the picker, while the page shows the default range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RangeError {
    pub(crate) text: String,
}

impl std::fmt::Display for RangeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = &self.text;
        write!(
            f,
            "cannot read \"{text}\" as a time; try 15m, now-2h, yesterday, mon 9:00 or 2026-11-20 14:00"
        )
    }
}

impl PageRange {
    /// Reads `start`, `end` and `range` (both ends in one text: `mon 9:00 to 11:00`).
    pub(crate) fn from_url(
        url: &PageUrl,
        now_ns: u64,
        zone: &Zone,
    ) -> Result<PageRange, RangeError> {
        let (start, end) = match url.get("range") {
            Some(both) => split_ends(both),
            None => (
                url.get("start").unwrap_or_default(),
                url.get("end").unwrap_or_default(),
            ),
        };
        PageRange::read(start.trim(), end.trim(), now_ns, zone)
    }

    /// The last hour, used where the address says nothing or something unreadable.
    pub(crate) fn default_at(now_ns: u64) -> PageRange {
        PageRange {
            start_ns: now_ns.saturating_sub(DEFAULT_RANGE_NS),
            end_ns: now_ns,
            start_text: String::new(),
            end_text: String::new(),
            live: true,
        }
    }

    /// An empty `start` is the default length before the end; an empty `end` is the end of the
    /// named day where `start` names one, else now.
    pub(crate) fn read(
        start: &str,
        end: &str,
        now_ns: u64,
        zone: &Zone,
    ) -> Result<PageRange, RangeError> {
        let now = zoned(now_ns, zone.time_zone());
        let from = read_instant(start, &now)?;
        let to = read_instant(&with_day_of(start, end), &now)?;
        let (mut start_ns, mut end_ns) = match (from, to) {
            (None, None) => return Ok(PageRange::default_at(now_ns)),
            (None, Some(to)) => (to.ns.saturating_sub(DEFAULT_RANGE_NS), to.ns),
            (Some(from), None) => {
                let end = from.day_end_ns.filter(|end| *end < now_ns);
                (from.ns, end.unwrap_or(now_ns))
            }
            (Some(from), Some(to)) => (from.ns, to.ns),
        };
        if start_ns > end_ns {
            std::mem::swap(&mut start_ns, &mut end_ns);
        }
        let live = end_ns == now_ns;
        let end_ns = end_ns.max(start_ns.saturating_add(RANGE_NS_MIN));
        let (start_text, end_text) = (start.to_owned(), end.to_owned());
        Ok(PageRange {
            start_ns,
            end_ns,
            start_text,
            end_text,
            live,
        })
    }

    pub(crate) fn length_ns(&self) -> u64 {
        self.end_ns - self.start_ns
    }

    /// `Last 1 h`, or the two ends.
    pub(crate) fn label(&self, zone: &Zone) -> String {
        let relative = self.start_text.is_empty()
            || is_length(
                self.start_text
                    .strip_prefix("now-")
                    .unwrap_or(&self.start_text),
            );
        if self.live && relative {
            return format!("Last {}", short_length(self.length_ns()));
        }
        match (self.start_text.as_str(), self.end_text.is_empty()) {
            ("today", true) => "Today".to_owned(),
            ("yesterday", true) => "Yesterday".to_owned(),
            _ => self.ends(zone),
        }
    }

    /// [`PageRange::label`] within a sentence, after "in": `the last 1 h`, `13:04 – 14:04`.
    pub(crate) fn in_words(&self, zone: &Zone) -> String {
        let label = self.label(zone);
        match label.strip_prefix("Last ") {
            Some(length) => format!("the last {length}"),
            None => label.to_lowercase(),
        }
    }

    /// `13:04 – 14:04`, with the date where it is not one day.
    pub(crate) fn ends(&self, zone: &Zone) -> String {
        let day = |ns| zone.print(ns, "%Y-%m-%d");
        let pattern = match self.length_ns() < 120 * SECOND_NS {
            true => "%H:%M:%S",
            false => "%H:%M",
        };
        let end = zone.print(self.end_ns, pattern);
        let start = zone.print(self.start_ns, pattern);
        if day(self.start_ns) == day(self.end_ns) {
            return format!("{start} – {end}");
        }
        let dated = |ns, time: String| format!("{} {time}", zone.print(ns, "%-d %b"));
        format!(
            "{} – {}",
            dated(self.start_ns, start),
            dated(self.end_ns, end)
        )
    }

    /// The same page one length earlier.
    pub(crate) fn previous(&self, url: &PageUrl) -> PageUrl {
        let length = self.length_ns();
        pinned(
            url,
            self.start_ns.saturating_sub(length),
            self.end_ns.saturating_sub(length),
        )
    }

    /// One length later; `None` where that has not happened yet.
    pub(crate) fn next(&self, url: &PageUrl, now_ns: u64) -> Option<PageUrl> {
        let length = self.length_ns();
        (self.end_ns < now_ns).then(|| {
            pinned(
                url,
                self.start_ns.saturating_add(length),
                self.end_ns.saturating_add(length),
            )
        })
    }

    /// Twice as long around the same middle, not past now.
    pub(crate) fn wider(&self, url: &PageUrl, now_ns: u64) -> PageUrl {
        let half = self.length_ns() / 2;
        let end = self
            .end_ns
            .saturating_add(half)
            .min(now_ns.max(self.end_ns));
        pinned(url, end.saturating_sub(self.length_ns() * 2), end)
    }

    /// A link that shows the same records tomorrow.
    pub(crate) fn pin(&self, url: &PageUrl) -> PageUrl {
        pinned(url, self.start_ns, self.end_ns)
    }
}

/// `url` with both ends as RFC 3339.
pub(crate) fn pinned(url: &PageUrl, start_ns: u64, end_ns: u64) -> PageUrl {
    let text = |ns: u64| timestamp(ns).to_string();
    url.without("range")
        .without("cursor")
        .with("start", &text(start_ns))
        .with("end", &text(end_ns))
}

struct Instant {
    ns: u64,
    /// Where the text named a whole day: its last instant.
    day_end_ns: Option<u64>,
}

/// Reads one instant; `None` for empty text.
fn read_instant(text: &str, now: &Zoned) -> Result<Option<Instant>, RangeError> {
    if text.is_empty() {
        return Ok(None);
    }
    let lower = text.to_ascii_lowercase();
    let wrong = || RangeError {
        text: text.chars().take(INSTANT_BYTES_MAX).collect(),
    };
    if text.len() > INSTANT_BYTES_MAX {
        return Err(wrong());
    }
    let now_ns = ns_of(now.timestamp());
    let instant = |ns| {
        Some(Instant {
            ns,
            day_end_ns: None,
        })
    };
    let found = match lower.as_str() {
        "now" => instant(now_ns),
        "today" => day(now.date(), now.time_zone()),
        "yesterday" => day(now.date().saturating_sub(1.day()), now.time_zone()),
        relative if relative.starts_with("now-") => {
            length_ns(&relative[4..]).and_then(|ns| instant(now_ns.saturating_sub(ns)))
        }
        relative if relative.starts_with("now+") => {
            length_ns(&relative[4..]).and_then(|ns| instant(now_ns.saturating_add(ns)))
        }
        _ => epoch_ns(&lower)
            .or_else(|| length_ns(&lower).map(|ns| now_ns.saturating_sub(ns)))
            .and_then(instant)
            .or_else(|| calendar(text, now)),
    };
    found.map(Some).ok_or_else(wrong)
}

/// RFC 3339, a date, a date and time, a time of today, a weekday with or without a time.
fn calendar(text: &str, now: &Zoned) -> Option<Instant> {
    let zone = now.time_zone();
    if let Ok(stamp) = text.parse::<Timestamp>() {
        return Some(Instant {
            ns: ns_of(stamp),
            day_end_ns: None,
        });
    }
    if let (10, Ok(date)) = (text.len(), text.parse::<Date>()) {
        return day(date, zone);
    }
    if let Ok(at) = text.parse::<DateTime>() {
        return civil(at, zone);
    }
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let date = match weekday(first) {
        Some(named) => {
            let back = named.until(now.date().weekday());
            now.date().saturating_sub(i64::from(back).days())
        }
        None if rest.is_empty() => return civil(now.date().to_datetime(clock(first)?), zone),
        None => return None,
    };
    match rest.trim() {
        "" => day(date, zone),
        time => civil(date.to_datetime(clock(time)?), zone),
    }
}

/// `9`, `9:00`, `09:00:30`.
fn clock(text: &str) -> Option<Time> {
    let mut parts = text.split(':').map(|part| part.parse::<i8>().ok());
    let (hour, minute, second) = (
        parts.next()??,
        parts.next().unwrap_or(Some(0))?,
        parts.next().unwrap_or(Some(0))?,
    );
    (text.contains(':') && parts.next().is_none())
        .then(|| Time::new(hour, minute, second, 0).ok())
        .flatten()
}

fn weekday(text: &str) -> Option<Weekday> {
    const DAYS: [(&str, Weekday); 7] = [
        ("monday", Weekday::Monday),
        ("tuesday", Weekday::Tuesday),
        ("wednesday", Weekday::Wednesday),
        ("thursday", Weekday::Thursday),
        ("friday", Weekday::Friday),
        ("saturday", Weekday::Saturday),
        ("sunday", Weekday::Sunday),
    ];
    let lower = text.to_ascii_lowercase();
    DAYS.into_iter()
        .find(|(name, _)| lower.len() >= 3 && name.starts_with(&lower))
        .map(|(_, weekday)| weekday)
}

fn day(date: Date, zone: &TimeZone) -> Option<Instant> {
    let start = date.to_zoned(zone.clone()).ok()?;
    let end = date.tomorrow().ok()?.to_zoned(zone.clone()).ok()?;
    Some(Instant {
        ns: ns_of(start.timestamp()),
        day_end_ns: Some(ns_of(end.timestamp())),
    })
}

fn civil(at: DateTime, zone: &TimeZone) -> Option<Instant> {
    let at = at.to_zoned(zone.clone()).ok()?;
    Some(Instant {
        ns: ns_of(at.timestamp()),
        day_end_ns: None,
    })
}

/// Digits alone are an epoch time; how many there are tells the unit (s, ms, µs, ns).
fn epoch_ns(text: &str) -> Option<u64> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let scale = match text.len() {
        9..=10 => SECOND_NS,
        12..=13 => 1_000_000,
        15..=16 => 1_000,
        18..=19 => 1,
        _ => return None,
    };
    text.parse::<u64>().ok()?.checked_mul(scale)
}

/// `15m`, `1h30m`, `2d`.
fn length_ns(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let value: u64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..]
            .bytes()
            .take_while(u8::is_ascii_alphabetic)
            .count();
        let unit_ns = match &rest[digits..digits + unit] {
            "ms" => 1_000_000,
            "s" => SECOND_NS,
            "m" | "min" => 60 * SECOND_NS,
            "h" => 3_600 * SECOND_NS,
            "d" => 86_400 * SECOND_NS,
            "w" => 7 * 86_400 * SECOND_NS,
            _ => return None,
        };
        total = total.checked_add(value.checked_mul(unit_ns)?)?;
        rest = &rest[digits + unit..];
    }
    (total > 0).then_some(total)
}

fn is_length(text: &str) -> bool {
    length_ns(text).is_some()
}

/// `1 h`, `15 m`, `7 d` where the length is whole, else as a duration.
fn short_length(ns: u64) -> String {
    let units = [
        (86_400 * SECOND_NS, "d"),
        (3_600 * SECOND_NS, "h"),
        (60 * SECOND_NS, "m"),
    ];
    for (unit_ns, unit) in units {
        if ns >= unit_ns && ns.is_multiple_of(unit_ns) {
            let value = ns / unit_ns;
            return match (value, unit) {
                (1, "d") => "24 h".to_owned(),
                _ => format!("{value} {unit}"),
            };
        }
    }
    duration(ns)
}

/// `A to B`, `A .. B`, `A – B`, two stamps with a comma or spaced dash between.
fn split_ends(text: &str) -> (&str, &str) {
    [" to ", "..", " – ", " — ", " - ", ","]
        .into_iter()
        .find_map(|between| text.split_once(between))
        .unwrap_or((text, ""))
}

/// `mon 9:00 to 11:00`: an end that is only a time is on the day of the start.
fn with_day_of(start: &str, end: &str) -> String {
    let day = start.split_once([' ', 'T']).map(|(day, _)| day);
    match (day, clock(end)) {
        (Some(day), Some(_)) => format!("{day} {end}"),
        _ => end.to_owned(),
    }
}

fn zoned(ns: u64, zone: &TimeZone) -> Zoned {
    timestamp(ns).to_zoned(zone.clone())
}

fn timestamp(ns: u64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(ns)).unwrap_or(Timestamp::MAX)
}

/// Times before 1970 are before any record.
fn ns_of(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{PageRange, SECOND_NS};
    use crate::serve::format::Zone;
    use crate::serve::page_url::PageUrl;

    /// Fri 2026-11-20 14:04:31 UTC.
    const NOW_NS: u64 = 1_795_183_471 * SECOND_NS;

    #[track_caller]
    fn check(query: &str, expect: &str) {
        let zone = Zone::named("Europe/Berlin");
        let read = PageRange::from_url(&PageUrl::new("/logs", query), NOW_NS, &zone);
        let text = match read {
            Ok(range) => format!(
                "{} {} {}",
                super::timestamp(range.start_ns),
                super::timestamp(range.end_ns),
                range.label(&zone)
            ),
            Err(error) => error.to_string(),
        };
        assert_eq!(text, expect, "{query}");
    }

    #[test]
    fn ranges_are_read_as_people_type_them() {
        check("", "2026-11-20T13:04:31Z 2026-11-20T14:04:31Z Last 1 h");
        check(
            "start=15m",
            "2026-11-20T13:49:31Z 2026-11-20T14:04:31Z Last 15 m",
        );
        check(
            "start=now-1h30m&end=now",
            "2026-11-20T12:34:31Z 2026-11-20T14:04:31Z Last 90 m",
        );
        check(
            "start=1d",
            "2026-11-19T14:04:31Z 2026-11-20T14:04:31Z Last 24 h",
        );
        check(
            "start=2h&end=1h",
            "2026-11-20T12:04:31Z 2026-11-20T13:04:31Z 13:04 – 14:04",
        );
        check(
            "start=yesterday",
            "2026-11-18T23:00:00Z 2026-11-19T23:00:00Z Yesterday",
        );
        check(
            "start=today",
            "2026-11-19T23:00:00Z 2026-11-20T14:04:31Z Today",
        );
        check(
            "range=mon+9:00+to+11:00",
            "2026-11-16T08:00:00Z 2026-11-16T10:00:00Z 09:00 – 11:00",
        );
        check(
            "range=2026-11-20T08:00:00Z..2026-11-20T09:00:00Z",
            "2026-11-20T08:00:00Z 2026-11-20T09:00:00Z 09:00 – 10:00",
        );
        check(
            "start=2026-11-01",
            "2026-10-31T23:00:00Z 2026-11-01T23:00:00Z 1 Nov 00:00 – 2 Nov 00:00",
        );
        for epoch in [
            "1795183411",
            "1795183411000",
            "1795183411000000",
            "1795183411000000000",
        ] {
            let text = "2026-11-20T14:03:31Z 2026-11-20T14:04:31Z 15:03:31 – 15:04:31";
            check(&format!("start={epoch}"), text);
        }
        check(
            "start=now&end=2h",
            "2026-11-20T12:04:31Z 2026-11-20T14:04:31Z 13:04 – 15:04",
        );
    }

    #[test]
    fn the_day_the_clocks_change_has_25_hours() {
        check(
            "start=2026-10-25",
            "2026-10-24T22:00:00Z 2026-10-25T23:00:00Z 25 Oct 00:00 – 26 Oct 00:00",
        );
    }

    #[test]
    fn unreadable_text_is_an_error_with_an_example() {
        for (query, text) in [
            ("start=soon", "soon"),
            ("end=12:99", "12:99"),
            ("start=5x", "5x"),
        ] {
            check(
                query,
                &format!(
                    "cannot read \"{text}\" as a time; try 15m, now-2h, yesterday, mon 9:00 or 2026-11-20 14:00"
                ),
            );
        }
        let endless = format!("start={}", "9".repeat(10_000));
        let url = PageUrl::new("/", &endless);
        assert!(PageRange::from_url(&url, NOW_NS, &Zone::utc()).is_err());
    }

    #[test]
    fn links_move_and_widen_the_range() {
        let url = PageUrl::new("/logs", "query=a&start=1h");
        let zone = Zone::utc();
        let range = PageRange::from_url(&url, NOW_NS, &zone).expect("a range");
        let previous = range.previous(&url);
        assert_eq!(
            previous.to_string(),
            "/logs?query=a&start=2026-11-20T12%3A04%3A31Z&end=2026-11-20T13%3A04%3A31Z"
        );
        assert_eq!(range.next(&url, NOW_NS), None, "the future is empty");
        let earlier = PageRange::from_url(&previous, NOW_NS, &zone).expect("a range");
        let back = earlier.next(&previous, NOW_NS).expect("there is a next");
        let back = PageRange::from_url(&back, NOW_NS, &zone).expect("a range");
        assert_eq!((back.start_ns, back.end_ns), (range.start_ns, range.end_ns));
        let wide = PageRange::from_url(&range.wider(&url, NOW_NS), NOW_NS, &zone).expect("a range");
        assert_eq!(
            (wide.length_ns(), wide.end_ns),
            (2 * range.length_ns(), NOW_NS)
        );
    }
}
