//! Figures as people read them. Exact numbers stay reachable: every rounded one stands beside, or has in its `title`, the full one.

use crate::i18n::Lang;

/// A point in time and how long ago it was when the page was made; negative ages lie ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// RFC 3339, UTC.
    pub iso: String,
    pub age_seconds: i64,
}

impl Moment {
    pub fn new(iso: impl Into<String>, age_seconds: i64) -> Self {
        Moment { iso: iso.into(), age_seconds }
    }

    /// `3 min ago`, `in 5 s`.
    pub fn relative(&self, lang: Lang) -> String {
        match self.age_seconds {
            age if age < 0 => lang.with("time.ahead", &[("time", &duration(lang, age.unsigned_abs()))]),
            0 => lang.t("time.now").to_owned(),
            age => lang.with("time.ago", &[("time", &duration(lang, age.unsigned_abs()))]),
        }
    }

    /// `2025-11-23 20:46:05` from the ISO form; the whole text where it has another shape.
    pub fn clock(&self) -> String {
        match (self.iso.get(0..10), self.iso.get(10..11), self.iso.get(11..19)) {
            (Some(day), Some("T"), Some(time)) => format!("{day} {time}"),
            _ => self.iso.clone(),
        }
    }
}

/// The two largest units: `42 s`, `3 min 20 s`, `5 h 2 min`, `12 d 4 h`.
pub fn duration(lang: Lang, seconds: u64) -> String {
    let units = [(86_400, "unit.day"), (3_600, "unit.hour"), (60, "unit.minute"), (1, "unit.second")];
    let first = units.iter().position(|(size, _)| seconds >= *size).unwrap_or(units.len() - 1);
    let (size, unit) = units[first];
    let mut text = format!("{} {}", seconds / size, lang.t(unit));
    if let Some((next_size, next_unit)) = units.get(first + 1) {
        let rest = seconds % size / next_size;
        // Twelve days and four seconds are twelve days.
        if rest > 0 && seconds / size < 30 {
            text.push_str(&format!(" {rest} {}", lang.t(next_unit)));
        }
    }
    text
}

/// `840 ns`, `12.4 µs`, `3.07 ms`, `1.20 s`.
pub fn nanos(nanos: u64) -> String {
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{} µs", significant(nanos as f64 / 1e3)),
        1_000_000..1_000_000_000 => format!("{} ms", significant(nanos as f64 / 1e6)),
        _ => format!("{} s", significant(nanos as f64 / 1e9)),
    }
}

/// Binary units, as the kernel counts memory: `9.54 MiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", significant(value), UNITS[unit])
}

/// Three significant digits, without empty decimals: `9.54`, `64`, `128`, `1023`.
fn significant(value: f64) -> String {
    let text = if value < 10.0 {
        format!("{value:.2}")
    } else if value < 100.0 {
        format!("{value:.1}")
    } else {
        return format!("{value:.0}");
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `10,000,000`: the full number, in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Processors in use or allowed: `0.5`, `1.25`, `0.003`.
pub fn cores(cores: f64) -> String {
    let text = if cores < 0.1 { format!("{cores:.3}") } else { format!("{cores:.2}") };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `part` of `whole` in percent, 0 to 100; `None` without a whole.
pub fn percent(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0 && part.is_finite()).then(|| (part / whole * 100.0).clamp(0.0, 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_three_digits() {
        for (value, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (10_000_000, "9.54 MiB"),
            (64 << 20, "64 MiB"),
            ((1 << 20) - 1, "1 MiB"),
            (3 << 30, "3 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(value), text, "{value}");
        }
    }

    #[test]
    fn numbers_are_grouped_in_threes() {
        assert_eq!([grouped(0), grouped(999), grouped(1000), grouped(10_000_000)], ["0", "999", "1,000", "10,000,000"]);
    }

    #[test]
    fn durations_name_two_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (200, "3 min 20 s"),
            (18_120, "5 h 2 min"),
            (86_401, "1 d"),
            (86_400 * 45 + 7200, "45 d"),
        ] {
            assert_eq!(duration(Lang::En, seconds), text);
        }
        assert_eq!(duration(Lang::Zh, 200), "3 分 20 秒");
    }

    #[test]
    fn short_times_have_their_unit() {
        assert_eq!([nanos(840), nanos(12_400), nanos(3_070_000), nanos(1_200_000_000)], ["840 ns", "12.4 µs", "3.07 ms", "1.2 s"]);
    }

    #[test]
    fn moments_are_told_from_now() {
        assert_eq!(Moment::new("2025-11-23T20:46:05Z", 200).relative(Lang::En), "3 min 20 s ago");
        assert_eq!(Moment::new("2025-11-23T20:46:05Z", -5).relative(Lang::En), "in 5 s");
        assert_eq!(Moment::new("2025-11-23T20:46:05Z", 0).clock(), "2025-11-23 20:46:05");
    }

    #[test]
    fn cores_and_percent() {
        assert_eq!([cores(0.5), cores(2.0), cores(0.0034)], ["0.5", "2", "0.003"]);
        assert_eq!(percent(1.0, 0.0), None);
        assert_eq!(percent(3.0, 2.0), Some(100.0));
    }
}
