//! The order in which routes are asked: the contract's sentence, as far as it concerns routes that
//! look for the same host and the same path.
//!
//! Whether a method or a header matches depends on the request, but a route that lists methods and
//! matches always matches by a method, and one that lists headers by all of them. So the order of
//! two routes is known before the first request comes.

use crate::model::MatchSpec;

/// Routes with one host pattern and one path rule, by place in the file, first asked first: those
/// with a method before those for every method, then most headers, then the order of the file.
#[derive(Debug, Default)]
pub(super) struct Peers(Vec<usize>);

impl Peers {
    /// Takes a route in.
    pub(super) fn insert(&mut self, specs: &[MatchSpec], place: usize) {
        let key = |place: usize| specs.get(place).map(|spec| order(spec, place));
        let at = self.0.partition_point(|peer| key(*peer) < key(place));
        self.0.insert(at, place);
    }

    /// The routes, first asked first.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().copied()
    }
}

/// Sorts peers: smaller goes first.
fn order(spec: &MatchSpec, place: usize) -> (bool, std::cmp::Reverse<usize>, usize) {
    (spec.methods.is_empty(), std::cmp::Reverse(spec.headers.len()), place)
}
