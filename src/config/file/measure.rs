//! Durations, sizes and shares.

use std::time::Duration;

use serde_json::json;

use crate::config::file::form::{Complaint, Form, complaint};
use crate::model::{DurationError, Margin, WRITE_A_DURATION, parse_duration};

/// A duration, also none: `0s`.
pub(crate) struct Span;

/// A duration above zero.
pub(crate) struct Patience;

impl Form for Span {
    type Value = Duration;
    const WANTED: &'static str = "a duration such as 30s";

    fn read(text: &str) -> Result<Duration, Complaint> {
        parse_duration(text).map_err(|error| Complaint {
            message: error.to_string().into(),
            mend: if error == DurationError::TooLong { "write a shorter duration" } else { WRITE_A_DURATION }.into(),
        })
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^(\\s*[0-9]+(ms|s|m|h))+\\s*$|\\$\\{", "examples": ["250ms", "30s", "5m", "2h", "1m30s"] })
    }
}

impl Form for Patience {
    type Value = Duration;
    const WANTED: &'static str = Span::WANTED;

    fn read(text: &str) -> Result<Duration, Complaint> {
        match Span::read(text)? {
            Duration::ZERO => complaint("must be longer than zero", "write at least 1ms"),
            duration => Ok(duration),
        }
    }

    fn schema() -> serde_json::Value {
        Span::schema()
    }
}

/// `90s`, `5m` or `2h`: in the largest unit that says it whole, and in seconds below two minutes.
pub(crate) fn span(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    for (unit, size, least) in [("h", 3_600_000, 3_600_000), ("m", 60_000, 120_000), ("s", 1_000, 0)] {
        if milliseconds >= least && milliseconds.is_multiple_of(size) {
            return format!("{}{unit}", milliseconds / size);
        }
    }
    format!("{milliseconds}ms")
}

/// A number of bytes.
pub(crate) struct Size;

impl Form for Size {
    type Value = u64;
    const WANTED: &'static str = "a size such as 10MiB";

    fn read(text: &str) -> Result<u64, Complaint> {
        const WRITE: &str = "write a number of bytes, or one with a unit: 64KiB, 10MiB, 1GB";
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let Ok(number) = number.parse::<u64>() else { return complaint("is not a size", WRITE) };
        let unit: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kb" | "k" => 1000,
            "mb" => 1000 * 1000,
            "gb" => 1000 * 1000 * 1000,
            "kib" | "ki" => 1 << 10,
            "mib" | "mi" => 1 << 20,
            "gib" | "gi" => 1 << 30,
            "tib" | "ti" => 1 << 40,
            _ => return complaint("is not a size", WRITE),
        };
        match number.checked_mul(unit).filter(|bytes| *bytes <= 1 << 50) {
            Some(bytes) => Ok(bytes),
            None => complaint("is too large a size", "write a smaller one"),
        }
    }

    fn schema() -> serde_json::Value {
        json!({ "type": ["string", "integer"], "pattern": "^\\s*[0-9]+\\s*([kK]|[bB]|[kKmMgG][bB]|[kKmMgGtT][iI][bB]?)?\\s*$|\\$\\{", "minimum": 0, "examples": ["64KiB", "10MiB", "1GB"] })
    }
}

/// `64KiB`, as it is read back.
pub(crate) fn size(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >= 1 << shift && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// A share of all.
pub(crate) struct Share;

impl Form for Share {
    type Value = f64;
    const WANTED: &'static str = "a share such as 0.1";

    fn read(text: &str) -> Result<f64, Complaint> {
        match text.trim().parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
            _ => complaint("must be a share from 0 to 1", "write 0.1 for a tenth, or 1 for all"),
        }
    }

    fn schema() -> serde_json::Value {
        json!({ "type": ["number", "string"], "minimum": 0, "maximum": 1, "examples": [0.1] })
    }
}

/// A share of a life (`20%`, `0.2`), or a duration.
pub(crate) struct Ahead;

impl Form for Ahead {
    type Value = Margin;
    const WANTED: &'static str = "a share such as 20%, or a duration such as 5m";

    fn read(text: &str) -> Result<Margin, Complaint> {
        let text = text.trim();
        let share = match text.strip_suffix('%') {
            Some(percent) => percent.trim_end().parse::<f64>().ok().map(|percent| percent / 100.0),
            None if text.contains('.') => text.parse::<f64>().ok(),
            None => {
                return Span::read(text).map(Margin::Fixed).or(complaint(
                    "is neither a share nor a duration",
                    "write a share of the life such as 20%, or a duration such as 5m",
                ));
            }
        };
        match share {
            Some(share) if (0.0..1.0).contains(&share) => Ok(Margin::Share(share)),
            _ => complaint("must be a share from 0% to less than 100%", "write 20%, or a duration such as 5m"),
        }
    }

    fn schema() -> serde_json::Value {
        json!({
            "type": ["string", "number"],
            "pattern": "^\\s*[0-9.]+\\s*%\\s*$|^\\s*0?\\.[0-9]+\\s*$|^(\\s*[0-9]+(ms|s|m|h))+\\s*$|\\$\\{",
            "minimum": 0,
            "exclusiveMaximum": 1,
            "examples": ["20%", "5m"]
        })
    }
}

/// `20%` or `5m`.
pub(crate) fn margin(margin: Margin) -> String {
    match margin {
        Margin::Share(share) => format!("{}%", (share * 10_000.0).round() / 100.0),
        Margin::Fixed(duration) => span(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_may_be_compound() {
        for (text, milliseconds) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1m30s", 90_000),
            ("1h 5ms", 3_600_005),
            ("0s", 0),
        ] {
            assert_eq!(Span::read(text), Ok(Duration::from_millis(milliseconds)), "{text}");
            assert_eq!(Span::read(&span(Duration::from_millis(milliseconds))), Ok(Duration::from_millis(milliseconds)));
        }
        for text in [
            "",
            "5",
            "0",
            "1.5s",
            "-1s",
            "s",
            "5 parsecs",
            "1d",
            "30S",
            "99999999999999999999s",
            "9000h",
            "18446744073709551615h",
            "\u{663}s",
        ] {
            assert!(Span::read(text).is_err(), "{text}");
        }
        assert_eq!(Span::read("5").unwrap_err().message, "a duration needs a unit");
        assert!(Patience::read("0ms").is_err());
    }

    #[test]
    fn sizes_are_bytes_unless_they_have_a_unit() {
        for (text, bytes) in
            [("0", 0), ("1024", 1024), ("64KiB", 65_536), ("10MiB", 10 << 20), ("1GB", 1_000_000_000), ("1 kib", 1024)]
        {
            assert_eq!(Size::read(text), Ok(bytes), "{text}");
            assert_eq!(Size::read(&size(bytes)), Ok(bytes), "{text}");
        }
        for text in ["", "-1", "1.5MiB", "ten", "1XB", "99999999999GiB"] {
            assert!(Size::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_is_a_number_from_0_to_1() {
        for (text, share) in [("0", 0.0), ("0.1", 0.1), ("1", 1.0), ("1e-3", 0.001)] {
            assert_eq!(Share::read(text), Ok(share), "{text}");
        }
        for text in ["", "-0.1", "1.1", "10%", "nan", "inf", "all"] {
            assert!(Share::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_margin_is_a_share_or_a_duration() {
        assert_eq!(Ahead::read("20%"), Ok(Margin::Share(0.2)));
        assert_eq!(Ahead::read("0.25"), Ok(Margin::Share(0.25)));
        assert_eq!(Ahead::read("5m"), Ok(Margin::Fixed(Duration::from_secs(300))));
        assert_eq!(margin(Margin::Share(0.2)), "20%");
        for text in ["100%", "-1%", "20", "1.5", "%", "nan%"] {
            assert!(Ahead::read(text).is_err(), "{text}");
        }
    }
}
