//! Which route takes a request: hosts by hash, prefixes by tree, then the contract's order.

use std::collections::HashMap;

use http::{HeaderMap, HeaderName, Method};
use regex::Regex;

use super::rank::Peers;
use super::shadow;
use super::tree::PrefixTree;
use crate::model::{CanonicalPath, EncodedSlash, HeaderMatch, HostPattern, MatchSpec, PathRule};

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
    Header(HeaderName),
}

/// All routes of a configuration.
///
/// A route that matches by host and path but not by method or headers does not end the search: the
/// next candidate is asked (the next shorter prefix, then the next wider host), as under
/// Kubernetes' Gateway API.
#[derive(Debug)]
pub struct Table {
    specs: Vec<MatchSpec>,
    exact_hosts: HashMap<Box<str>, HostRoutes>,
    /// By suffix, with its leading dot.
    wildcard_hosts: HashMap<Box<str>, HostRoutes>,
    /// Of the suffixes in `wildcard_hosts`, in bytes: no longer one need be looked for, whatever a
    /// client sends.
    longest_wildcard: usize,
    any_host: HostRoutes,
}

/// The routes that look for one host.
#[derive(Debug, Default)]
struct HostRoutes {
    exact: HashMap<Box<str>, Peers>,
    /// In the order of the file; the same expression stands here once, at its first place.
    regexes: Vec<(Regex, Peers)>,
    prefixes: PrefixTree,
}

impl Table {
    /// Builds the look-up structures.
    pub fn new(mut specs: Vec<MatchSpec>) -> Self {
        for spec in &mut specs {
            canonicalise(&mut spec.path);
        }
        let mut exact_hosts = HashMap::<Box<str>, HostRoutes>::new();
        let mut wildcard_hosts = HashMap::<Box<str>, HostRoutes>::new();
        let mut any_host = HostRoutes::default();
        // Places of regular expressions by host and text: a list to search would take 10,000
        // expressions of one host 50 million comparisons.
        let mut known = HashMap::new();
        for (place, spec) in specs.iter().enumerate() {
            let routes = match &spec.host {
                Some(HostPattern::Exact(host)) => exact_hosts.entry(host.as_str().into()).or_default(),
                Some(HostPattern::Wildcard(suffix)) => wildcard_hosts.entry(suffix.as_str().into()).or_default(),
                None => &mut any_host,
            };
            match &spec.path {
                PathRule::Exact(path) => routes.exact.entry(path.as_str().into()).or_default().insert(&specs, place),
                PathRule::Prefix(prefix) => routes.prefixes.insert(prefix, &specs, place),
                PathRule::Regex(regex) => {
                    let at = *known.entry((&spec.host, regex.as_str())).or_insert(routes.regexes.len());
                    if at == routes.regexes.len() {
                        routes.regexes.push((regex.clone(), Peers::default()));
                    }
                    if let Some((_, peers)) = routes.regexes.get_mut(at) {
                        peers.insert(&specs, place);
                    }
                }
            }
        }
        let longest_wildcard = wildcard_hosts.keys().map(|suffix| suffix.len()).max().unwrap_or(0);
        Self { specs, exact_hosts, wildcard_hosts, longest_wildcard, any_host }
    }

    /// The route that takes this request. Its cost grows with the request (its labels and segments,
    /// as far as any route has them), with the regular expressions of the request's host, and with
    /// the routes that have the very same host and path; not with the number of routes. Allocates
    /// nothing.
    pub fn find(&self, request: RequestLine<'_>) -> Option<Found> {
        self.hosts(request.host).find_map(|routes| {
            routes.candidates(request.path.as_str()).find(|place| {
                probe();
                self.specs.get(*place).is_some_and(|spec| difference(spec, request).is_none())
            })
        })
    }

    /// A verdict for every route, in the order of the file.
    pub fn explain(&self, request: RequestLine<'_>) -> Vec<Verdict> {
        let found = self.find(request);
        let judge = |(place, spec): (usize, &MatchSpec)| match found {
            Some(taken) if taken == place => Verdict::Taken,
            _ if !host_matches(spec.host.as_ref(), request.host) => Verdict::Host,
            _ if !path_matches(&spec.path, request.path.as_str()) => Verdict::Path,
            _ => match difference(spec, request) {
                Some(Difference::Method) => Verdict::Method,
                Some(Difference::Header(name)) => Verdict::Header(name.clone()),
                // What matches in everything is taken, unless another one is.
                None => found.map_or(Verdict::Taken, Verdict::Behind),
            },
        };
        self.specs.iter().enumerate().map(judge).collect()
    }

    /// Routes that can never match, each with the one that always goes first (where several do so
    /// only together, a method each, with one of them). Both are places in the file. It is sure of
    /// those it names; it does not know of every such route: whether one regular expression takes
    /// all that another does is not asked, unless it takes everything.
    pub fn shadowed(&self) -> Vec<(usize, usize)> {
        shadow::shadowed(&self.specs)
    }

    /// The routes of this host, exact before wildcard (longest first) before none.
    fn hosts<'t>(&'t self, host: &'t str) -> impl Iterator<Item = &'t HostRoutes> {
        probe();
        let exact = self.exact_hosts.get(host);
        // At least one byte of a label stands before the suffix.
        let first = host.len().saturating_sub(self.longest_wildcard).max(1);
        let dots = host.bytes().enumerate().skip(first).filter(|(_, byte)| *byte == b'.');
        let suffixes = dots.filter_map(|(dot, _)| host.get(dot..));
        let wildcards = suffixes.filter_map(|suffix| {
            probe();
            self.wildcard_hosts.get(suffix)
        });
        exact.into_iter().chain(wildcards).chain(std::iter::once(&self.any_host))
    }
}

impl HostRoutes {
    /// The routes whose path rule takes this path, first asked first.
    fn candidates<'t>(&'t self, path: &'t str) -> impl Iterator<Item = usize> + 't {
        probe();
        let exact = self.exact.get(path).into_iter().flat_map(Peers::iter);
        let by_regex = |(regex, _): &&(Regex, Peers)| {
            probe();
            regex.is_match(path)
        };
        let regexes = self.regexes.iter().filter(by_regex).flat_map(|(_, peers)| peers.iter());
        // Lazily: most requests to an exact path never come to the tree.
        let prefixes = std::iter::once(&self.prefixes).flat_map(|tree| tree.above(path));
        exact.chain(regexes).chain(prefixes)
    }
}

/// An exact path is compared with canonical paths, so it must be one. One that cannot be (the
/// configuration's check refuses it) is left as it is, and matches nothing.
fn canonicalise(rule: &mut PathRule) {
    if let PathRule::Exact(text) = rule {
        let canonical = CanonicalPath::parse(text, EncodedSlash::Allow).ok().map(|path| path.as_str().to_owned());
        if let Some(canonical) = canonical {
            *text = canonical;
        }
    }
}

fn host_matches(pattern: Option<&HostPattern>, host: &str) -> bool {
    pattern.is_none_or(|pattern| pattern.matches(host))
}

fn path_matches(rule: &PathRule, path: &str) -> bool {
    match rule {
        PathRule::Prefix(prefix) => prefix.matches(path),
        PathRule::Exact(text) => text == path,
        PathRule::Regex(regex) => regex.is_match(path),
    }
}

/// What keeps a route from a request whose host and path it takes.
enum Difference<'s> {
    Method,
    Header(&'s HeaderName),
}

fn difference<'s>(spec: &'s MatchSpec, request: RequestLine<'_>) -> Option<Difference<'s>> {
    if !spec.methods.is_empty() && !spec.methods.contains(request.method) {
        return Some(Difference::Method);
    }
    let differs = |wanted: &&HeaderMatch| !request.headers.get_all(&wanted.name).iter().any(|v| *v == wanted.value);
    spec.headers.iter().find(differs).map(|wanted| Difference::Header(&wanted.name))
}

/// Counts, in tests, what a look-up did: hash look-ups, expressions tried, routes compared.
#[inline]
pub(super) fn probe() {
    #[cfg(test)]
    tests::PROBES.with(|probes| probes.set(probes.get() + 1));
}

#[cfg(test)]
mod tests;
