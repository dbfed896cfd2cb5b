//! How often something may happen.

use std::fmt;

/// So many in a second, a minute or an hour.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rate {
    count: u32,
    /// In seconds.
    period: u32,
}

/// Why a text is no rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RateError {
    /// Not `COUNT/UNIT`.
    #[error("is not a rate")]
    Form,
    /// None at all.
    #[error("would let nothing through")]
    Zero,
    /// More than [`Rate::MOST`].
    #[error("is more than a rate may be")]
    TooMany,
}

impl Rate {
    /// The largest count, and the largest burst.
    pub const MOST: u32 = 1_000_000;

    /// So many a minute.
    pub const fn a_minute(count: u32) -> Self {
        Self { count, period: 60 }
    }

    /// Reads `100/s`, `10/m` or `1000/h`.
    pub fn parse(text: &str) -> Result<Self, RateError> {
        let (count, unit) = text.trim().split_once('/').ok_or(RateError::Form)?;
        let period = match unit.trim_start() {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(RateError::Form),
        };
        let count = count.trim_end();
        if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(RateError::Form);
        }
        match count.parse::<u32>() {
            Ok(0) => Err(RateError::Zero),
            Ok(count @ 1..=Self::MOST) => Ok(Self { count, period }),
            Ok(_) | Err(_) => Err(RateError::TooMany),
        }
    }

    /// From one to the next, in nanoseconds.
    pub fn interval(self) -> u64 {
        u64::from(self.period) * 1_000_000_000 / u64::from(self.count)
    }

    /// As many as come in a second, at least one.
    pub fn in_a_second(self) -> u32 {
        (self.count / self.period).max(1)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.period {
            1 => "s",
            60 => "m",
            _ => "h",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

/// Whose requests are counted together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Per {
    /// Those of one client address, an IPv6 network of 64 bits as one.
    Address,
    /// Those that the same key let in.
    Key,
    /// All of the route.
    #[default]
    Route,
}

impl Per {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Key => "key",
            Self::Route => "route",
        }
    }
}

/// One bound on how often a route may be used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RateRule {
    /// How often on average.
    pub rate: Rate,
    /// How many at once, at least one.
    pub burst: u32,
    /// Of whom.
    pub per: Per,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_as_it_is_written() {
        for (text, interval, second) in [
            ("100/s", 10_000_000, 100),
            (" 10 / m ", 6_000_000_000, 1),
            ("1000/h", 3_600_000_000, 1),
            ("600/m", 100_000_000, 10),
            ("1000000/s", 1000, 1_000_000),
        ] {
            let rate = Rate::parse(text).unwrap();
            assert_eq!((rate.interval(), rate.in_a_second()), (interval, second), "{text}");
            assert_eq!(Rate::parse(&rate.to_string()), Ok(rate));
        }
        for text in ["", "/s", "10", "10/", "10/d", "10/S", "-1/s", "+1/s", "1.5/s", "1/s/s", "ten/s", "1 0/s"] {
            assert_eq!(Rate::parse(text), Err(RateError::Form), "{text:?}");
        }
        assert_eq!(Rate::parse("0/s"), Err(RateError::Zero));
        for text in ["1000001/s", "99999999999999999999/s"] {
            assert_eq!(Rate::parse(text), Err(RateError::TooMany), "{text}");
        }
    }
}
