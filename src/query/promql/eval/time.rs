//! Parts of a date in UTC, of seconds since the epoch.

use super::super::ast::Function;

const DAY: i64 = 86_400;

/// A day of the proleptic Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Day {
    year: i64,
    month: i64,
    day: i64,
}

/// Seconds from Go's year zero (-292277022399) to the epoch; what is before it wraps around to the
/// other end of 64 bits.
const BEFORE_EPOCH: i128 = 9_223_372_028_715_321_600;

/// What a function of dates says of a time in seconds. Fractions are cut off towards zero, and what
/// fits no 64 bits counts as the earliest time, as Go converts floats on amd64.
pub(super) fn part(function: Function, seconds: f64) -> f64 {
    let limit = (1u64 << 63) as f64;
    let seconds = match seconds {
        s if (-limit..limit).contains(&s) => s as i64,
        _ => i64::MIN,
    };
    let mut seconds = i128::from(seconds);
    if seconds + BEFORE_EPOCH < 0 {
        seconds += 1 << 64;
    }
    let days = seconds.div_euclid(i128::from(DAY)) as i64;
    let second = seconds.rem_euclid(i128::from(DAY)) as i64;
    let date = civil(days);
    let part = match function {
        Function::Minute => second % 3_600 / 60,
        Function::Hour => second / 3_600,
        // The first of January 1970 was a Thursday.
        Function::DayOfWeek => (days + 4).rem_euclid(7),
        Function::DayOfMonth => date.day,
        Function::DayOfYear => days - days_before(date.year, 1) + 1,
        Function::DaysInMonth => {
            let (year, month) = match date.month {
                12 => (date.year + 1, 1),
                month => (date.year, month + 1),
            };
            days_before(year, month) - days_before(date.year, date.month)
        }
        Function::Month => date.month,
        _ => date.year,
    };
    part as f64
}

/// Years of March to February: the day that comes only now and then is the last.
fn civil(days: i64) -> Day {
    // From the first of March of year 0; eras of 400 years are alike.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    Day {
        year: era * 400 + year + i64::from(month <= 2),
        month,
        day: of_year - (153 * shifted + 2) / 5 + 1,
    }
}

/// Days from the epoch to the first of a month.
fn days_before(year: i64, month: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let shifted = (month + 9) % 12;
    let of_year = (153 * shifted + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_dates_follow_the_calendar() {
        let check = |seconds: i64, parts: [i64; 8]| {
            let functions = [
                Function::Year,
                Function::Month,
                Function::DayOfMonth,
                Function::DayOfYear,
                Function::DaysInMonth,
                Function::DayOfWeek,
                Function::Hour,
                Function::Minute,
            ];
            let got = functions.map(|function| part(function, seconds as f64) as i64);
            assert_eq!(got, parts, "{seconds}");
        };
        check(0, [1970, 1, 1, 1, 31, 4, 0, 0]);
        check(-1, [1969, 12, 31, 365, 31, 3, 23, 59]);
        // 2024-02-29T12:34:56Z, a leap day on a Thursday.
        check(1_709_210_096, [2024, 2, 29, 60, 29, 4, 12, 34]);
        // 2100 is no leap year.
        check(4_107_542_400, [2100, 3, 1, 60, 31, 1, 0, 0]);
    }

    #[test]
    fn what_is_no_time_is_one_anyway() {
        assert_eq!(part(Function::Year, f64::NAN), 292_277_026_596.0);
        assert_eq!(part(Function::Hour, f64::INFINITY), 15.0);
    }

    #[test]
    fn every_day_of_many_years_has_its_inverse() {
        for days in -800_000..800_000 {
            let date = civil(days);
            assert_eq!(days_before(date.year, date.month) + date.day - 1, days);
        }
    }
}
