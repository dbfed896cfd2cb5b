//! Routes that can never match, because another one always goes first.
//!
//! One pass over the routes: 10,000 of them must load in less than a second, so pairs are not
//! compared. It names no route wrongly; see `Table::shadowed` for what it does not see.

use std::collections::HashMap;

use http::Method;
use regex::Regex;

use crate::model::{HostPattern, MatchSpec, PathRule};

/// Expressions that take every path: each begins with a slash, and none has a line break.
const TAKES_ALL: [&str; 11] = ["", "^", "/", "^/", ".*", "^.*", ".*$", "^.*$", "/.*", "^/.*", "^/.*$"];

/// What two routes must share for the order between them to hang on nothing but methods and place:
/// host, path, and the headers (more of them would go first, fewer be asked later).
#[derive(PartialEq, Eq, Hash)]
struct Look<'s> {
    host: Option<&'s HostPattern>,
    path: Path<'s>,
    headers: Vec<(&'s str, &'s [u8])>,
}

#[derive(PartialEq, Eq, Hash, Clone, Copy)]
enum Path<'s> {
    Prefix(&'s str),
    Exact(&'s str),
    Regex(&'s str),
}

/// The earlier routes with one look, so far.
#[derive(Default)]
struct Earlier<'s> {
    every_method: Option<usize>,
    methods: HashMap<&'s Method, usize>,
}

/// The first route of a host that takes every path, method and header by a regular expression.
struct Catch {
    /// The place of the first route with its expression: that is where the expression stands.
    expression: usize,
    route: usize,
}

/// Pairs of (route, the one that always goes first), in the order of the file.
pub(super) fn shadowed(specs: &[MatchSpec]) -> Vec<(usize, usize)> {
    let expressions = first_places(specs);
    let catches = catches(specs, &expressions);
    let mut seen = HashMap::<Look<'_>, Earlier<'_>>::new();
    let mut pairs = Vec::new();
    for (place, spec) in specs.iter().enumerate() {
        let host = spec.host.as_ref();
        let twin = seen.entry(look(spec)).or_default().before(spec, place);
        let first = twin.or_else(|| {
            let catch = catches.get(&host)?;
            let behind = match &spec.path {
                PathRule::Exact(_) => false,
                PathRule::Prefix(_) => true,
                PathRule::Regex(regex) => expressions.get(&(host, regex.as_str())) > Some(&catch.expression),
            };
            behind.then_some(catch.route)
        });
        pairs.extend(first.map(|first| (place, first)));
    }
    pairs
}

impl<'s> Earlier<'s> {
    /// Takes a route in; says which earlier one with the same look always goes before it.
    ///
    /// A route with methods goes before one for every method, wherever they stand; so only its like
    /// can hide it, and a route for every method can only be hidden by its like.
    fn before(&mut self, spec: &'s MatchSpec, place: usize) -> Option<usize> {
        if spec.methods.is_empty() {
            return self.every_method.or_else(|| {
                self.every_method = Some(place);
                None
            });
        }
        let mut hidden = true;
        for method in &spec.methods {
            hidden &= *self.methods.entry(method).or_insert(place) != place;
        }
        let owner = spec.methods.first().and_then(|method| self.methods.get(method)).copied();
        owner.filter(|_| hidden)
    }
}

fn look(spec: &MatchSpec) -> Look<'_> {
    let path = match &spec.path {
        PathRule::Prefix(prefix) => Path::Prefix(prefix.as_str()),
        PathRule::Exact(text) => Path::Exact(text),
        PathRule::Regex(regex) => Path::Regex(regex.as_str()),
    };
    let mut headers: Vec<_> = spec.headers.iter().map(|h| (h.name.as_str(), h.value.as_bytes())).collect();
    headers.sort_unstable();
    Look { host: spec.host.as_ref(), path, headers }
}

/// The expressions of a host stand in the order in which the file first names them.
type Expressions<'s> = HashMap<(Option<&'s HostPattern>, &'s str), usize>;

fn expression(spec: &MatchSpec) -> Option<&Regex> {
    if let PathRule::Regex(regex) = &spec.path { Some(regex) } else { None }
}

fn first_places(specs: &[MatchSpec]) -> Expressions<'_> {
    let mut first = HashMap::new();
    for (place, spec) in specs.iter().enumerate() {
        if let Some(regex) = expression(spec) {
            first.entry((spec.host.as_ref(), regex.as_str())).or_insert(place);
        }
    }
    first
}

fn catches<'s>(specs: &'s [MatchSpec], expressions: &Expressions<'s>) -> HashMap<Option<&'s HostPattern>, Catch> {
    let mut catches = HashMap::<_, Catch>::new();
    for (route, spec) in specs.iter().enumerate() {
        let host = spec.host.as_ref();
        let takes_all = |regex: &&Regex| TAKES_ALL.contains(&regex.as_str());
        let Some(regex) = expression(spec).filter(takes_all) else { continue };
        if !spec.methods.is_empty() || !spec.headers.is_empty() {
            continue;
        }
        let expression = expressions.get(&(host, regex.as_str())).copied().unwrap_or(route);
        let known = catches.entry(host).or_insert(Catch { expression, route });
        if expression < known.expression {
            *known = Catch { expression, route };
        }
    }
    catches
}
