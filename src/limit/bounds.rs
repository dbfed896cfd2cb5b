//! All that holds of one route.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::crowd::{Crowd, Present};
use super::limiter::{Limiter, Who};

/// What a route's requests are held to. Without any of it a request costs nothing here.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// By what they tell apart, addresses first: who asks too much alone takes nothing from all.
    pub rates: Vec<Arc<Limiter>>,
    /// Those under way, and how many there may be.
    pub crowd: Option<(Arc<Crowd>, u32)>,
}

/// Which bound a request is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    /// Too often; one may come again after this time.
    Rate(Duration),
    /// Too many at once.
    Crowd,
}

impl Bounds {
    /// Lets one request in; what is returned is to be held until it is over.
    pub fn admit(&self, who: Who) -> Result<Option<Present>, Over> {
        let present = match &self.crowd {
            None => None,
            Some((crowd, most)) => Some(crowd.enter(*most).ok_or(Over::Crowd)?),
        };
        if !self.rates.is_empty() {
            let now = Instant::now();
            self.rates.iter().try_for_each(|rate| rate.take(who, now)).map_err(Over::Rate)?;
        }
        Ok(present)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Clients;
    use crate::model::{Per, Rate, RateRule};

    #[test]
    fn whoever_is_refused_for_himself_takes_nothing_from_the_route() {
        let clients = Clients::new(Instant::now());
        let rule = |burst, per| RateRule { rate: Rate::parse("1/h").unwrap(), burst, per };
        let limiter = |burst, per| Arc::new(Limiter::new(&rule(burst, per), &clients));
        let crowd = Arc::<Crowd>::default();
        let rates = vec![limiter(1, Per::Key), limiter(2, Per::Route)];
        let bounds = Bounds { rates, crowd: Some((Arc::clone(&crowd), 10)) };
        let by = |key| bounds.admit(Who { address: None, key: Some(key) });
        by(1).unwrap();
        for _ in 0..100 {
            assert!(matches!(by(1), Err(Over::Rate(_))));
        }
        by(2).unwrap();
        assert!(matches!(by(3), Err(Over::Rate(_))));
        assert_eq!(crowd.count(), 0, "whoever was refused is not under way");
    }
}
