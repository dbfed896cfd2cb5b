//! What routes are held to: a rule that is unchanged goes on with what was used of it, and a route's
//! requests under way are counted on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::config::RouteSettings;
use crate::limit::{Bounds, Clients, Crowd, Limiter};
use crate::model::RateRule;

/// Those of before, by the route's name.
#[derive(Debug)]
pub(super) struct Known {
    clients: Arc<Clients>,
    limiters: HashMap<(String, RateRule), Arc<Limiter>>,
    crowds: HashMap<String, Arc<Crowd>>,
}

impl Default for Known {
    fn default() -> Self {
        Self { clients: Clients::new(Instant::now()), limiters: HashMap::new(), crowds: HashMap::new() }
    }
}

impl Known {
    /// What each of these routes is held to, in their order.
    pub(super) fn build(&mut self, routes: &[RouteSettings]) -> Vec<Bounds> {
        let before = std::mem::take(&mut self.limiters);
        // Whoever is under way holds its crowd: a rule that goes and comes back meets them again.
        self.crowds.retain(|_, crowd| Arc::strong_count(crowd) > 1);
        routes.iter().map(|route| self.of(route, &before)).collect()
    }

    fn of(&mut self, route: &RouteSettings, before: &HashMap<(String, RateRule), Arc<Limiter>>) -> Bounds {
        let mut rates = Vec::with_capacity(route.bounds.rates.len());
        for rule in &route.bounds.rates {
            let key = (route.name.clone(), *rule);
            let known = before.get(&key).cloned();
            let limiter = known.unwrap_or_else(|| Arc::new(Limiter::new(rule, &self.clients)));
            self.limiters.insert(key, Arc::clone(&limiter));
            rates.push(limiter);
        }
        let crowd = route.bounds.concurrency.map(|most| {
            let crowd = self.crowds.entry(route.name.clone()).or_default();
            (Arc::clone(crowd), most)
        });
        Bounds { rates, crowd }
    }
}
