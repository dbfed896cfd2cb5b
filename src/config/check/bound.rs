//! How often, how many at once.

use std::num::NonZeroU32;

use crate::config::check::{Check, Inherited};
use crate::config::file::{RateLimit, Rates, RouteLimits};
use crate::config::spot::Spot;
use crate::config::tree::Node;
use crate::config::{BoundSettings, GuessSettings};
use crate::model::{Per, Rate, RateRule};

/// Wrong keys of one address.
const WRONG_KEYS: GuessSettings = GuessSettings { rate: Rate::a_minute(10), burst: 30 };

/// The wrong keys that an address may present.
pub(super) fn wrong_keys(rate: Option<Rate>, burst: Option<NonZeroU32>) -> GuessSettings {
    GuessSettings { rate: rate.unwrap_or(WRONG_KEYS.rate), burst: burst.map_or(WRONG_KEYS.burst, NonZeroU32::get) }
}

/// What a route's requests are held to, each part by its own word or else by what all inherit.
pub(super) fn bounds(own: Option<&RouteLimits>, inherited: &RouteLimits) -> BoundSettings {
    let own_rate = own.and_then(|own| own.rate.as_ref());
    let rate = own_rate.or(inherited.rate.as_ref());
    // A burst belongs to its rate: a route with a rate of its own has nobody else's.
    let burst = own.and_then(|own| own.burst).or(inherited.burst.filter(|_| own_rate.is_none()));
    let concurrency = own.and_then(|own| own.concurrency).or(inherited.concurrency).map(NonZeroU32::get);
    let mut rates: Vec<RateRule> = match rate {
        None => Vec::new(),
        Some(Rates::Plain(rate)) => vec![of(*rate, burst, Per::Route)],
        Some(Rates::Each(each, _)) => each.iter().filter_map(rule).collect(),
    };
    // Whoever asks too much alone is refused before he takes anything from all.
    rates.sort_by_key(|rule| rule.per);
    BoundSettings { rates, concurrency }
}

/// A rule as it is meant; `None` for one without a rate.
fn rule(written: &RateLimit) -> Option<RateRule> {
    Some(of(written.rate.as_ref()?.0, written.burst, written.per.map(Into::into).unwrap_or_default()))
}

fn of(rate: Rate, burst: Option<NonZeroU32>, per: Per) -> RateRule {
    RateRule { rate, burst: burst.map_or(rate.in_a_second(), NonZeroU32::get), per }
}

impl Check<'_> {
    /// Tells what is wrong with rates and bursts as they are written here, in `node`.
    pub(super) fn told_bounds(
        &mut self,
        spot: &Spot<'_>,
        limits: &RouteLimits,
        node: Option<&Node>,
        inherited: &Inherited,
    ) {
        let at = spot.key("limits");
        self.told_burst(&at, limits.burst);
        let rate = limits.rate.as_ref().or(inherited.limits.rate.as_ref());
        let told = node.is_some_and(|node| node.told_of("rate")) || (limits.rate.is_none() && inherited.told_rate);
        if limits.burst.is_some() && !matches!(rate, Some(Rates::Plain(_))) && !told {
            let (message, mend) = match rate {
                None => ("belongs to a plain `rate`, and there is none", "add `rate: 100/s` beside it, or take it out"),
                Some(_) => (
                    "belongs to a plain `rate`, and this one is none",
                    "put it into the map of its rate: {rate: 100/s, burst: 200}",
                ),
            };
            self.report.error(&at.key("burst"), message, mend);
        }
        let Some(Rates::Each(each, is_list)) = &limits.rate else { return };
        let rate = at.key("rate");
        if each.is_empty() {
            self.report.error(&rate, "the list is empty", "write 100/s, or take it out");
        }
        for (index, one) in each.iter().enumerate() {
            let element = rate.index(index);
            let here = if *is_list { &element } else { &rate };
            if one.rate.is_none() {
                self.report.error(here, "`rate` is missing", "write {rate: 100/s, per: address}");
            }
            self.told_burst(here, one.burst);
            if each.iter().take(index).filter_map(rule).any(|before| Some(before) == rule(one)) {
                self.report.error(here, "is the same rule as one before it", "take one of them out");
            }
        }
    }

    fn told_burst(&mut self, at: &Spot<'_>, burst: Option<NonZeroU32>) {
        if burst.is_some_and(|burst| burst.get() > Rate::MOST) {
            self.report.error(&at.key("burst"), "is more than a burst may be", "write 1000000 at most");
        }
    }
}
