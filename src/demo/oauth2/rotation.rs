//! Refresh tokens that rotate: each use brings another one, and the one before stays good until that
//! one is used (an answer may be lost). An older one can only come from a thief or from somebody who
//! forgot the newer: all of the family die (RFC 9700 section 4.14.2).

use std::collections::HashSet;

/// A family of refresh tokens.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    /// Each descends from the one before.
    line: Vec<String>,
    /// The place in the line of the youngest that was used.
    used: usize,
    /// Given out, and replaced before they were used.
    stale: HashSet<String>,
    revoked: bool,
}

impl Rotation {
    /// The refresh token that replaces the presented one; `None` where that one is refused.
    pub(super) fn present(&mut self, first: &str, presented: &str) -> Option<String> {
        if self.line.is_empty() {
            self.line.push(first.to_owned());
        }
        let place = self.line.iter().position(|token| token == presented);
        if self.stale.contains(presented) || place.is_some_and(|place| place < self.used) {
            self.revoked = true;
        }
        let place = place.filter(|_| !self.revoked)?;
        self.used = place;
        self.stale.extend(self.line.drain(place + 1..));
        let next = format!("demo-oauth2-refresh-{:032x}", fastrand::u128(..));
        self.line.push(next.clone());
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_before_is_good_until_the_new_one_is_used() {
        let mut rotation = Rotation::default();
        let lost = rotation.present("first", "first").unwrap();
        let second = rotation.present("first", "first").unwrap();
        assert_ne!(lost, second);
        let third = rotation.present("first", &second).unwrap();
        assert!(rotation.present("first", &third).is_some());
        assert_eq!(rotation.present("first", "unknown"), None);
        assert!(rotation.present("first", &third).is_some(), "an unknown one does no harm");
    }

    #[test]
    fn an_older_one_kills_them_all() {
        for stale in [false, true] {
            let mut rotation = Rotation::default();
            let lost = rotation.present("first", "first").unwrap();
            let second = rotation.present("first", "first").unwrap();
            let third = rotation.present("first", &second).unwrap();
            assert_eq!(rotation.present("first", if stale { &lost } else { "first" }), None);
            assert_eq!(rotation.present("first", &third), None);
        }
    }
}
