//! Numbers and times as people read them: durations, bytes, counts, shares, rates, instants in the
//! viewer's zone. It must never be used for an API answer: those carry raw values.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Thin space: digit groups stay together and never wrap.
const GROUP: char = '\u{2009}';

/// `812 µs`, `4.31 ms`, `1.02 s`: three significant digits; from a minute on `3 m 12 s`.
pub(crate) fn duration(ns: u64) -> String {
    const SECOND_NS: u64 = 1_000_000_000;
    if ns < 1_000 {
        return format!("{ns} ns");
    }
    // Rounding to three digits can carry into the next unit: 999.6 µs is 1.00 ms.
    for (unit, size_ns) in [("µs", 1_000_u64), ("ms", 1_000_000), ("s", SECOND_NS)] {
        let value = ns as f64 / size_ns as f64;
        let limit = if unit == "s" { 59.95 } else { 999.5 };
        if value < limit {
            return format!("{} {unit}", significant(value));
        }
    }
    let seconds = ns.saturating_add(SECOND_NS / 2) / SECOND_NS;
    match seconds {
        0..3_600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {:02} m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// `141 MiB`: IEC units, three significant digits.
pub(crate) fn bytes(count: u64) -> String {
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    for unit in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 999.5 {
            return format!("{} {unit}", significant(value));
        }
        value /= 1024.0;
    }
    format!("{} PiB", significant(value))
}

/// Exact to 9 999 (`1 204`), then three digits (`12.4 k`). The exact figure belongs in the title:
/// [`exact`].
pub(crate) fn count(count: u64) -> String {
    if count < 10_000 {
        return exact(count);
    }
    let mut value = count as f64 / 1e3;
    for unit in ["k", "M", "G"] {
        if value < 999.5 {
            return format!("{} {unit}", significant(value));
        }
        value /= 1e3;
    }
    format!("{} T", significant(value))
}

/// Every digit, in groups of three: `18 240`.
pub(crate) fn exact(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(GROUP);
        }
        out.push(digit);
    }
    out
}

/// `1 span`, `1 204 spans`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", exact(count))
}

/// `3.10 %`, `61 %`; a share that is not zero never reads `0 %`.
pub(crate) fn percent(ratio: f64) -> String {
    let share = ratio * 100.0;
    match share {
        0.0 => "0 %".to_owned(),
        s if s.abs() < 0.01 => "<0.01 %".to_owned(),
        s if s.abs() < 9.995 => format!("{s:.2} %"),
        s if s.abs() < 99.95 => format!("{s:.1} %"),
        s => format!("{s:.0} %"),
    }
}

/// A rate without its unit: `12.4`, `412`, `1.24 k`, `<0.01`.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        r if r <= 0.0 => "0".to_owned(),
        r if r < 0.01 => "<0.01".to_owned(),
        r if r < 999.5 => significant(r),
        r if r < 999_500.0 => format!("{} k", significant(r / 1e3)),
        r => format!("{} M", significant(r / 1e6)),
    }
}

/// A rate in five characters at most, for the rail: `93`, `1.2 k`.
pub(crate) fn short_rate(per_second: f64) -> String {
    match per_second {
        r if r <= 0.0 => "0".to_owned(),
        r if r < 9.95 => format!("{r:.1}"),
        r if r < 999.5 => format!("{r:.0}"),
        r if r < 9_950.0 => format!("{:.1} k", r / 1e3),
        r if r < 999_500.0 => format!("{:.0} k", r / 1e3),
        r => format!("{:.1} M", r / 1e6),
    }
}

/// Three significant digits of `0.01 ..= 1023`.
fn significant(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// The zone that a page's times are written in.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    zone: TimeZone,
    /// IANA name, shown beside absolute ranges.
    pub(crate) name: String,
}

/// A `<time>` element's parts; macro `time` of `macros.html` puts them together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimeText {
    /// UTC, RFC 3339, nanoseconds.
    pub(crate) iso: String,
    /// The full local time with its offset and the UTC time.
    pub(crate) title: String,
    pub(crate) text: String,
}

impl Zone {
    pub(crate) fn utc() -> Zone {
        Zone {
            zone: TimeZone::UTC,
            name: "UTC".to_owned(),
        }
    }

    /// The named IANA zone; UTC where the name, or the machine's zone data, is missing.
    pub(crate) fn named(name: &str) -> Zone {
        match TimeZone::get(name) {
            Ok(zone) => Zone {
                zone,
                name: name.to_owned(),
            },
            Err(_) => Zone::utc(),
        }
    }

    pub(crate) fn time_zone(&self) -> &TimeZone {
        &self.zone
    }

    /// How far local time is ahead of UTC at that instant, in nanoseconds.
    pub(crate) fn offset_ns(&self, ns: u64) -> i64 {
        i64::from(self.zone.to_offset(instant(ns)).seconds()) * 1_000_000_000
    }

    /// `14:04:31.220`.
    pub(crate) fn time(&self, ns: u64) -> TimeText {
        self.text(ns, "%H:%M:%S%.3f")
    }

    /// `Fri 20 Nov 14:04:31`.
    pub(crate) fn date_time(&self, ns: u64) -> TimeText {
        self.text(ns, "%a %-d %b %H:%M:%S")
    }

    /// `20 Nov 2026`.
    pub(crate) fn date(&self, ns: u64) -> TimeText {
        self.text(ns, "%-d %b %Y")
    }

    /// How long before `now_ns`, in one unit: `40 s ago`; the instant itself is in the title.
    pub(crate) fn ago(&self, ns: u64, now_ns: u64) -> TimeText {
        let seconds = now_ns.saturating_sub(ns) / 1_000_000_000;
        let text = match seconds {
            0 => "now".to_owned(),
            1..60 => format!("{seconds} s ago"),
            60..3_600 => format!("{} m ago", seconds / 60),
            3_600..86_400 => format!("{} h ago", seconds / 3_600),
            _ => format!("{} d ago", seconds / 86_400),
        };
        TimeText {
            text,
            ..self.date_time(ns)
        }
    }

    /// Seconds east of UTC at that instant.
    pub(crate) fn offset_s(&self, ns: u64) -> i64 {
        i64::from(self.zone.to_offset(instant(ns)).seconds())
    }

    /// The instant printed by a `strftime` pattern.
    pub(crate) fn print(&self, ns: u64, pattern: &str) -> String {
        instant(ns)
            .to_zoned(self.zone.clone())
            .strftime(pattern)
            .to_string()
    }

    fn text(&self, ns: u64, pattern: &str) -> TimeText {
        let at = instant(ns);
        let local = at.to_zoned(self.zone.clone());
        let mut title = local.strftime("%a %-d %b %Y %H:%M:%S%.6f %:z").to_string();
        if self.name != "UTC" {
            title.push_str(&at.strftime(" (%H:%M:%S UTC)").to_string());
        }
        TimeText {
            iso: at.to_string(),
            title,
            text: local.strftime(pattern).to_string(),
        }
    }
}

/// Senders write any number into a time field; what the calendar cannot hold shows as its end.
fn instant(ns: u64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(ns)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Zone, bytes, count, duration, exact, percent, rate};

    #[test]
    fn durations_have_three_significant_digits() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (812_000, "812 µs"),
            (999_499, "999 µs"),
            (999_600, "1.00 ms"),
            (4_310_000, "4.31 ms"),
            (60_000_000, "60.0 ms"),
            (1_020_000_000, "1.02 s"),
            (59_940_000_000, "59.9 s"),
            (59_960_000_000, "1 m 00 s"),
            (192_000_000_000, "3 m 12 s"),
            (7_500_000_000_000, "2 h 05 m"),
            (273_600_000_000_000, "3 d 4 h"),
            (u64::MAX, "213503 d 23 h"),
        ] {
            assert_eq!(duration(ns), text, "{ns}");
        }
    }

    #[test]
    fn bytes_are_iec() {
        for (n, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (6_246, "6.10 KiB"),
            (1_048_064, "1.00 MiB"),
            (147_849_216, "141 MiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(bytes(n), text, "{n}");
        }
    }

    #[test]
    fn counts_are_exact_first_and_short_later() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1_204, "1\u{2009}204"),
            (12_432, "12.4 k"),
            (999_600, "1.00 M"),
            (4_100_000, "4.10 M"),
        ] {
            assert_eq!(count(n), text, "{n}");
        }
        assert_eq!(exact(1_234_567), "1\u{2009}234\u{2009}567");
    }

    #[test]
    fn a_share_that_is_not_zero_never_reads_zero() {
        for (ratio, text) in [
            (0.0, "0 %"),
            (0.000_01, "<0.01 %"),
            (0.0042, "0.42 %"),
            (0.031, "3.10 %"),
            (0.6149, "61.5 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(percent(ratio), text, "{ratio}");
        }
        assert_eq!(
            [0.0, 0.001, 4.1, 93.2, 412.0, 1_240.0].map(rate),
            ["0", "<0.01", "4.10", "93.2", "412", "1.24 k"]
        );
    }

    #[test]
    fn times_are_in_the_viewers_zone_and_say_the_other() {
        let ns = 1_795_183_471_220_000_000; // 2026-11-20T14:04:31.22Z
        let time = Zone::named("Europe/Berlin").time(ns);
        assert_eq!(time.text, "15:04:31.220");
        assert_eq!(time.iso, "2026-11-20T14:04:31.22Z");
        assert_eq!(
            time.title,
            "Fri 20 Nov 2026 15:04:31.220000 +01:00 (14:04:31 UTC)"
        );
        assert_eq!(Zone::named("No/Where").name, "UTC");
        assert_eq!(Zone::utc().date_time(ns).text, "Fri 20 Nov 14:04:31");
        assert_eq!(Zone::utc().ago(ns, ns + 90_000_000_000).text, "1 m ago");
        assert!(!Zone::utc().time(u64::MAX).text.is_empty());
    }
}
