//! Which route takes a request: hosts by hash, prefixes by tree, then the contract's order.

use http::{HeaderMap, Method};

use crate::model::{CanonicalPath, MatchSpec};

/// What of a request decides its route.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    /// In lower case, without port and trailing dot; empty where there is none (HTTP/1.0).
    pub host: &'a str,
    /// Canonical.
    pub path: &'a CanonicalPath<'a>,
    /// Case-sensitive.
    pub method: &'a Method,
    /// All headers.
    pub headers: &'a HeaderMap,
}

/// The place of a route in the file, from 0.
pub type Found = usize;

/// Why a route does or does not take a request; for `explain`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It takes it.
    Taken,
    /// It matches, but this other route (by place) goes first.
    Behind(usize),
    /// The host differs.
    Host,
    /// The path differs.
    Path,
    /// The method differs.
    Method,
    /// This header is missing or differs.
    Header(http::HeaderName),
}

/// All routes of a configuration.
#[derive(Debug)]
pub struct Table {
    specs: Vec<MatchSpec>,
}

impl Table {
    /// Builds the look-up structures.
    pub fn new(specs: Vec<MatchSpec>) -> Self {
        Self { specs }
    }

    /// The route that takes this request. Its cost does not grow with the number of routes.
    pub fn find(&self, request: RequestLine<'_>) -> Option<Found> {
        let _ = (request, &self.specs);
        todo!()
    }

    /// A verdict for every route, in the order of the file.
    pub fn explain(&self, request: RequestLine<'_>) -> Vec<Verdict> {
        let _ = request;
        todo!()
    }

    /// Routes that can never match, each with the one that always goes first.
    pub fn shadowed(&self) -> Vec<(usize, usize)> {
        todo!()
    }
}
