//! Durations as people write them: `250ms`, `30s`, `1m30s`.

use std::time::Duration;

/// A longer wait than this is a slip, and would overflow clocks further on.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// How to write a duration, for mends.
pub const WRITE_A_DURATION: &str = "write a number with a unit: 250ms, 30s, 5m, 2h or 1m30s";

/// Why a text is no duration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DurationError {
    /// There is nothing.
    #[error("is empty, not a duration")]
    Empty,
    /// A number alone.
    #[error("a duration needs a unit")]
    NoUnit,
    /// Something else.
    #[error("is not a duration")]
    Malformed,
    /// Longer than anybody means.
    #[error("is longer than a year")]
    TooLong,
}

/// Reads a duration, also none: `0s`.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(DurationError::Empty);
    }
    if rest.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(DurationError::NoUnit);
    }
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at(digits);
        let letters = behind.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, behind) = behind.split_at(letters);
        let number: u64 = number.parse().map_err(|_| DurationError::Malformed)?;
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(DurationError::Malformed),
        };
        let part = number.checked_mul(milliseconds).map(Duration::from_millis);
        let longer = part.and_then(|part| sum.checked_add(part)).filter(|sum| *sum <= LONGEST);
        sum = longer.ok_or(DurationError::TooLong)?;
        rest = behind.trim_start();
    }
    Ok(sum)
}
