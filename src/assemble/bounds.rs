//! What routes are held to: a rule that is unchanged goes on with what was used of it, and a route's
//! requests under way are counted on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::config::RouteSettings;
use crate::limit::{Bounds, Crowd, Limiter};
use crate::model::RateRule;

/// Those of before, by the route's name.
#[derive(Default, Debug)]
pub(super) struct Known {
    limiters: HashMap<(String, RateRule), Arc<Limiter>>,
    crowds: HashMap<String, Arc<Crowd>>,
}

impl Known {
    /// What each of these routes is held to, in their order.
    pub(super) fn build(&mut self, routes: &[RouteSettings]) -> Vec<Bounds> {
        let (before, now) = (std::mem::take(self), Instant::now());
        routes.iter().map(|route| self.of(route, &before, now)).collect()
    }

    fn of(&mut self, route: &RouteSettings, before: &Self, now: Instant) -> Bounds {
        let mut rates = Vec::with_capacity(route.bounds.rates.len());
        for rule in &route.bounds.rates {
            let key = (route.name.clone(), *rule);
            let known = before.limiters.get(&key).cloned();
            let limiter = known.unwrap_or_else(|| Arc::new(Limiter::new(rule, now)));
            self.limiters.insert(key, Arc::clone(&limiter));
            rates.push(limiter);
        }
        let crowd = route.bounds.concurrency.map(|most| {
            let crowd = before.crowds.get(&route.name).cloned().unwrap_or_default();
            self.crowds.insert(route.name.clone(), Arc::clone(&crowd));
            (crowd, most)
        });
        Bounds { rates, crowd }
    }
}
