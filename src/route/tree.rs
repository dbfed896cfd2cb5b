//! The prefixes of one host, by segment: the longest that a path lies under, then the next shorter.
//! A look-up hashes each segment of the path at most once, however many prefixes there are.

use std::collections::HashMap;

use super::rank::Peers;
use super::table::probe;
use crate::model::{MatchSpec, PathPrefix};

/// Where a node stands in its tree. The root is 0.
type NodeId = usize;

const ROOT: NodeId = 0;

/// A segment tree. Nodes stand in one vector and know their parent, so that the way back up from
/// the deepest match needs no list of what was passed.
#[derive(Debug)]
pub(super) struct PrefixTree {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// `None` for the root.
    parent: Option<NodeId>,
    children: HashMap<Box<str>, NodeId>,
    routes: Peers,
}

impl Default for PrefixTree {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl PrefixTree {
    /// Takes a route with this prefix in.
    pub(super) fn insert(&mut self, prefix: &PathPrefix, specs: &[MatchSpec], place: usize) {
        let mut at = ROOT;
        // The text begins with a slash; the root's is empty and has no segment.
        for segment in prefix.as_str().split('/').skip(1) {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return };
            let child = *node.children.entry(segment.into()).or_insert(next);
            if child == next {
                self.nodes.push(Node { parent: Some(at), ..Node::default() });
            }
            at = child;
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.routes.insert(specs, place);
        }
    }

    /// The routes whose prefix this canonical path lies under, longest prefix first.
    pub(super) fn above(&self, path: &str) -> impl Iterator<Item = usize> + '_ {
        let deepest = self.deepest(path);
        let climb = std::iter::successors(deepest, |node| node.parent.and_then(|up| self.nodes.get(up)));
        climb.flat_map(|node| node.routes.iter())
    }

    fn deepest(&self, path: &str) -> Option<&Node> {
        let mut node = self.nodes.get(ROOT)?;
        for segment in path.split('/').skip(1) {
            probe();
            match node.children.get(segment).and_then(|id| self.nodes.get(*id)) {
                Some(child) => node = child,
                None => break,
            }
        }
        Some(node)
    }
}
