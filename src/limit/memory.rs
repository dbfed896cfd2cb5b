//! When there is too little memory for new work.
//!
//! What was given back need not become less to the kernel: the allocator keeps it, for the next
//! requests. So once nothing is under way any more, new work is taken whatever the figure says. Until
//! the figure has fallen, the bound is a sixteenth higher, and at least a little above what was kept.

/// What has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryNews {
    /// New work is refused from now on.
    Over,
    /// New work is taken again.
    Relieved,
}

/// Judges what the kernel says of this process's memory, in bytes.
#[derive(Debug, Default)]
pub struct MemoryGauge {
    over: bool,
    /// What was in use when nothing was under way, if that was more than there may be.
    kept: Option<u64>,
}

impl MemoryGauge {
    /// One look. `idle` says whether nothing is under way.
    pub fn look(&mut self, used: u64, most: Option<u64>, idle: bool) -> Option<MemoryNews> {
        let before = self.over;
        match most {
            None => *self = Self::default(),
            Some(most) => {
                let margin = most / 16;
                if used <= most - margin {
                    *self = Self::default();
                } else if self.over && idle {
                    (self.over, self.kept) = (false, Some(used));
                } else if used > self.bound(most, margin) && !idle {
                    self.over = true;
                }
            }
        }
        match (before, self.over) {
            (false, true) => Some(MemoryNews::Over),
            (true, false) => Some(MemoryNews::Relieved),
            _ => None,
        }
    }

    fn bound(&self, most: u64, margin: u64) -> u64 {
        self.kept.map_or(most, |kept| most.saturating_add(margin).max(kept.saturating_add(kept / 64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Option<u64> = Some(1600);

    #[test]
    fn it_is_over_above_the_bound_and_relieved_well_below() {
        let mut gauge = MemoryGauge::default();
        assert_eq!(gauge.look(1600, MOST, false), None);
        assert_eq!(gauge.look(1601, MOST, false), Some(MemoryNews::Over));
        assert_eq!(gauge.look(1550, MOST, false), None, "not for a few bytes less");
        assert_eq!(gauge.look(1500, MOST, false), Some(MemoryNews::Relieved));
        assert_eq!(gauge.look(1550, MOST, false), None);
    }

    #[test]
    fn what_the_allocator_keeps_with_nothing_under_way_does_not_refuse_for_ever() {
        let mut gauge = MemoryGauge::default();
        assert_eq!(gauge.look(1650, MOST, true), None, "nothing is under way");
        assert_eq!(gauge.look(1650, MOST, false), Some(MemoryNews::Over));
        assert_eq!(gauge.look(1650, MOST, true), Some(MemoryNews::Relieved));
        assert_eq!(gauge.look(1650, MOST, false), None, "that much is the allocator's");
        assert_eq!(gauge.look(1701, MOST, false), Some(MemoryNews::Over), "and that is not");
        assert_eq!(gauge.look(1400, MOST, false), Some(MemoryNews::Relieved));
        assert_eq!(gauge.look(1601, MOST, false), Some(MemoryNews::Over));
    }

    #[test]
    fn what_the_allocator_keeps_may_be_far_more_and_is_used_again() {
        let mut gauge = MemoryGauge::default();
        assert_eq!(gauge.look(3000, MOST, false), Some(MemoryNews::Over));
        assert_eq!(gauge.look(3000, MOST, true), Some(MemoryNews::Relieved));
        assert_eq!(gauge.look(3046, MOST, false), None);
        assert_eq!(gauge.look(3047, MOST, false), Some(MemoryNews::Over));
    }

    #[test]
    fn a_bound_that_is_taken_away_relieves() {
        let mut gauge = MemoryGauge::default();
        gauge.look(1601, MOST, false);
        assert_eq!(gauge.look(1601, None, false), Some(MemoryNews::Relieved));
    }
}
