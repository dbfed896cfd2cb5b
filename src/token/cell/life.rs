//! How long a token lives, and when its renewal begins.

use std::time::Duration;

use crate::model::Margin;
use crate::token::Moment;
use crate::vendor::{Grant, LifetimeSource};

/// No vendor's word is taken for longer: a token that was revoked meanwhile would be found out only
/// by its refusal.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// The largest margin that a share of the life makes.
const SHARE_LONGEST: Duration = Duration::from_secs(5 * 60);
/// The margin is made longer or shorter by up to this share of itself, so that replicas and cells
/// that logged in together do not renew together.
const JITTER: f64 = 0.1;
/// A fetch may take this much of the time that the slowest recent one took.
const HEADROOM: f64 = 1.25;
/// At least this share of the life is served before a renewal. A margin that leaves less counts as
/// longer than the life.
const SERVED: f64 = 0.1;

/// The life of a granted token and where it is known from; `None` is for ever.
pub(super) fn lifetime(grant: &Grant, configured: Option<Duration>) -> (Option<Duration>, LifetimeSource) {
    match grant.lifetime {
        // A vendor's reader drops a zero already; here it would be a token that is never alive.
        Some((life, source)) if !life.is_zero() => (Some(life.min(LONGEST)), source),
        _ => (configured, LifetimeSource::Configured),
    }
}

/// When the renewal of a token begins that ends at `end` and lives for `life` in all: `margin` before
/// its end, and never less than a fetch as slow as `slowest` may take. `None` where the
/// margin takes up the life: then it is served to its end, without a fetch a request.
pub(super) fn renewal(
    end: Moment,
    life: Duration,
    margin: Margin,
    slowest: Duration,
    rng: &mut fastrand::Rng,
) -> Option<Moment> {
    let wanted = match margin {
        Margin::Share(share) => part(life, share).min(SHARE_LONGEST),
        Margin::Fixed(margin) => margin,
    };
    let slowest = part(slowest, HEADROOM);
    let most = life.saturating_sub(part(life, SERVED));
    if wanted.max(slowest) > most {
        return None;
    }
    let margin = part(wanted, 1.0 + JITTER * (2.0 * rng.f64() - 1.0)).max(slowest).min(most);
    Some(end.before(margin))
}

/// How long the change of an exclusive token may wait for requests under way: as configured, and never
/// more than a tenth of the token's life.
pub(super) fn drain(configured: Duration, life: Duration) -> Duration {
    configured.min(life / 10)
}

/// How long the answer to a login is waited for with the gate closed: a good deal longer than logins
/// took lately, and in any case as long as half a drain.
pub(super) fn patience(drain: Duration, slowest: Duration) -> Duration {
    (drain / 2).max(part(slowest, HEADROOM))
}

/// Until when a quiet moment is looked for before an exclusive token is replaced: then half of the
/// margin is left for the login and its failures, after requests under way were waited for.
pub(super) fn closing(end: Moment, renew: Option<Moment>, drain: Duration, slowest: Duration) -> Moment {
    let Some(renew) = renew else { return Moment::BOOT };
    let needed = renew.until(end) / 2 + drain + part(slowest, HEADROOM);
    end.before(needed).max(renew)
}

/// This share of a duration; none for a share that is no number or below zero.
fn part(of: Duration, share: f64) -> Duration {
    if share > 0.0 {
        Duration::try_from_secs_f64(of.as_secs_f64() * share).unwrap_or(Duration::MAX)
    } else {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    const BEGUN: Moment = Moment::BOOT;

    /// The earliest and latest margin, in milliseconds, over many draws of the jitter.
    fn margins(life: Duration, margin: Margin, slowest: Duration) -> Option<(u128, u128)> {
        let mut rng = fastrand::Rng::with_seed(7);
        let end = BEGUN.after(life);
        let mut draws =
            (0..1000).map(|_| renewal(end, life, margin, slowest, &mut rng).map(|at| at.until(end).as_millis()));
        let first = draws.next().unwrap()?;
        Some(draws.fold((first, first), |(least, most), draw| (least.min(draw.unwrap()), most.max(draw.unwrap()))))
    }

    #[test]
    fn the_margin_is_a_share_of_the_life_up_to_five_minutes_give_or_take_a_tenth() {
        let seconds = Duration::from_secs;
        for (life, margin, about) in [
            (seconds(60), Margin::default(), 12_000),
            (seconds(3600), Margin::default(), 300_000),
            (seconds(86_400), Margin::default(), 300_000),
            (seconds(1), Margin::default(), 200),
            (seconds(100), Margin::Share(0.5), 50_000),
            (seconds(3600), Margin::Fixed(seconds(1000)), 1_000_000),
            (seconds(60), Margin::Fixed(seconds(50)), 50_000),
        ] {
            let (least, most) = margins(life, margin, Duration::ZERO).unwrap();
            assert!(least >= about * 9 / 10 && most <= about * 11 / 10, "{life:?} {margin:?}: {least}..{most}");
            assert!(least < about && most > about, "{life:?} {margin:?}: jitter goes both ways");
        }
    }

    #[test]
    fn the_margin_is_never_less_than_a_slow_fetch_took() {
        let slow = Duration::from_secs(20);
        assert_eq!(margins(Duration::from_secs(60), Margin::default(), slow), Some((25_000, 25_000)));
    }

    #[test]
    fn a_life_shorter_than_the_margin_is_served_to_its_end() {
        let seconds = Duration::from_secs;
        for (life, margin, slowest) in [
            (seconds(60), Margin::Fixed(seconds(60)), Duration::ZERO),
            (seconds(60), Margin::Fixed(seconds(59)), Duration::ZERO),
            (seconds(60), Margin::Fixed(Duration::MAX), Duration::ZERO),
            (seconds(5), Margin::default(), seconds(9)),
            (seconds(60), Margin::Share(1.0), Duration::ZERO),
            (seconds(60), Margin::Share(f64::INFINITY), seconds(61)),
        ] {
            assert_eq!(margins(life, margin, slowest), None, "{life:?} {margin:?}");
        }
    }

    #[test]
    fn a_quiet_moment_is_looked_for_while_half_the_margin_is_left() {
        let (seconds, at) = (Duration::from_secs, |time: u64| BEGUN.after(Duration::from_secs(time)));
        assert_eq!(closing(at(1800), Some(at(1500)), seconds(2), seconds(4)), at(1800 - 150 - 2 - 5));
        // A short margin has no time for it.
        assert_eq!(closing(at(10), Some(at(8)), seconds(1), seconds(1)), at(8));
        assert_eq!(closing(at(10), None, seconds(1), seconds(1)), BEGUN);
        assert_eq!(drain(seconds(2), seconds(1800)), seconds(2));
        assert_eq!(drain(seconds(2), seconds(10)), seconds(1));
    }

    #[test]
    fn odd_numbers_make_no_panic() {
        for life in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            for share in [f64::NAN, f64::INFINITY, -1.0, 0.0, 2.0] {
                if let Some((least, most)) = margins(life, Margin::Share(share), Duration::ZERO) {
                    assert!(least <= most && most <= life.as_millis());
                }
            }
        }
    }

    #[test]
    fn a_life_is_the_answers_then_the_tokens_then_the_configured() {
        let hour = Duration::from_secs(3600);
        let grant = |lifetime| Grant::new(Secret::new("t"), lifetime);
        for (granted, configured, expected) in [
            (Some((hour, LifetimeSource::Answer)), None, (Some(hour), LifetimeSource::Answer)),
            (Some((hour, LifetimeSource::Token)), Some(hour / 2), (Some(hour), LifetimeSource::Token)),
            (Some((hour * 999, LifetimeSource::Answer)), None, (Some(hour * 24), LifetimeSource::Answer)),
            (Some((Duration::ZERO, LifetimeSource::Answer)), Some(hour), (Some(hour), LifetimeSource::Configured)),
            (None, Some(hour * 999), (Some(hour * 999), LifetimeSource::Configured)),
            (None, None, (None, LifetimeSource::Configured)),
        ] {
            assert_eq!(lifetime(&grant(granted), configured), expected);
        }
    }
}
