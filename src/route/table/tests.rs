use std::cell::Cell;
use std::cmp::Reverse;

use http::HeaderValue;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::model::PathPrefix;

thread_local! {
    pub(super) static PROBES: Cell<usize> = const { Cell::new(0) };
}

fn route(host: &str, path: PathRule, methods: &[&str], headers: &[(&str, &str)]) -> MatchSpec {
    MatchSpec {
        host: (!host.is_empty()).then(|| HostPattern::parse(host).unwrap()),
        path,
        methods: methods.iter().map(|m| m.parse().unwrap()).collect(),
        headers: headers
            .iter()
            .map(|(name, value)| HeaderMatch {
                name: name.parse().unwrap(),
                value: HeaderValue::from_str(value).unwrap(),
            })
            .collect(),
    }
}

fn prefix(text: &str) -> PathRule {
    PathRule::Prefix(PathPrefix::parse(text).unwrap())
}

fn exact(text: &str) -> PathRule {
    PathRule::Exact(text.to_owned())
}

fn regex(text: &str) -> PathRule {
    PathRule::Regex(Regex::new(text).unwrap())
}

/// A request as a client might send it.
#[derive(Debug, Clone)]
struct Request {
    host: String,
    path: String,
    method: Method,
    headers: HeaderMap,
}

impl Request {
    fn new(method: &str, host: &str, path: &str) -> Self {
        Self {
            host: host.to_owned(),
            path: path.to_owned(),
            method: method.parse().unwrap(),
            headers: HeaderMap::default(),
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        self
    }

    fn line<T>(&self, ask: impl FnOnce(RequestLine<'_>) -> T) -> T {
        let path = CanonicalPath::parse(&self.path, EncodedSlash::Allow).unwrap();
        ask(RequestLine { host: &self.host, path: &path, method: &self.method, headers: &self.headers })
    }
}

fn find(table: &Table, request: &Request) -> Option<Found> {
    request.line(|line| table.find(line))
}

fn get(table: &Table, host: &str, path: &str) -> Option<Found> {
    find(table, &Request::new("GET", host, path))
}

#[test]
fn an_exact_host_goes_before_a_wildcard_the_longest_first_before_none() {
    let table = Table::new(vec![
        route("", exact("/a"), &["GET"], &[]),
        route("*.internal", exact("/a"), &["GET"], &[]),
        route("*.crm.internal", prefix("/"), &[], &[]),
        route("eu.crm.internal", prefix("/"), &[], &[]),
    ]);
    assert_eq!(get(&table, "eu.crm.internal", "/a"), Some(3), "the host comes before all else");
    assert_eq!(get(&table, "us.crm.internal", "/a"), Some(2));
    assert_eq!(get(&table, "a.b.crm.internal", "/a"), Some(2), "a star is one label or more");
    assert_eq!(get(&table, "crm.internal", "/a"), Some(1));
    assert_eq!(get(&table, "internal", "/a"), Some(0), "but not none");
    assert_eq!(get(&table, "", "/a"), Some(0));
    assert_eq!(get(&table, "internal", "/b"), None);
}

#[test]
fn an_exact_path_goes_before_regexes_in_the_order_of_the_file_before_the_longest_prefix() {
    let table = Table::new(vec![
        route("", prefix("/v1"), &["GET"], &[]),
        route("", prefix("/v1/a/b"), &[], &[]),
        route("", regex("^/v[0-9]+/a$"), &[], &[]),
        route("", regex("^/v1/"), &["GET"], &[]),
        route("", exact("/v1/a/x"), &[], &[]),
        route("", regex("/c$"), &["POST"], &[]),
        route("", regex("^/v1/"), &["POST"], &[]),
    ]);
    assert_eq!(get(&table, "h", "/v1/a/x"), Some(4));
    assert_eq!(get(&table, "h", "/v1/a"), Some(2), "the first of two that match");
    assert_eq!(get(&table, "h", "/v1/a/b"), Some(3));
    assert_eq!(get(&table, "h", "/v1"), Some(0));
    assert_eq!(get(&table, "h", "/v1x"), None, "a prefix ends at a segment's end");
    let delete = |path| find(&table, &Request::new("DELETE", "h", path));
    assert_eq!(delete("/v1/a/b/c"), Some(1));
    assert_eq!(delete("/v1/a/bc"), None);
    let post = |path| find(&table, &Request::new("POST", "h", path));
    assert_eq!(post("/v1/b/c"), Some(6), "one expression stands where the file first names it");
    assert_eq!(post("/v2/c"), Some(5));
}

#[test]
fn a_method_goes_before_headers_and_most_headers_before_the_order_of_the_file() {
    let table = Table::new(vec![
        route("", prefix("/"), &[], &[]),
        route("", prefix("/"), &[], &[("x-tenant", "acme"), ("x-env", "test")]),
        route("", prefix("/"), &["GET", "PUT"], &[]),
        route("", prefix("/"), &["GET"], &[("x-tenant", "acme")]),
        route("", prefix("/"), &[], &[("x-tenant", "acme")]),
        route("", prefix("/"), &[], &[("X-Tenant", "acme")]),
    ]);
    let ask = |method: &str, headers: &[(&str, &str)]| {
        let request = headers.iter().fold(Request::new(method, "h", "/"), |request, (n, v)| request.with(n, v));
        find(&table, &request)
    };
    assert_eq!(ask("PUT", &[("x-tenant", "acme"), ("x-env", "test")]), Some(2), "a method before any header");
    assert_eq!(ask("GET", &[("x-tenant", "acme"), ("x-env", "test")]), Some(3));
    assert_eq!(ask("POST", &[("x-tenant", "acme"), ("x-env", "test")]), Some(1));
    assert_eq!(ask("POST", &[("x-tenant", "acme")]), Some(4), "of equals the first in the file");
    assert_eq!(ask("POST", &[("x-tenant", "other"), ("x-tenant", "acme")]), Some(4), "any line of a header will do");
    assert_eq!(ask("POST", &[("x-tenant", "Acme")]), Some(0), "values are exact");
    assert_eq!(ask("get", &[]), Some(0), "methods are case-sensitive");
}

#[test]
fn a_route_that_does_not_take_the_method_leaves_the_request_to_the_next_one() {
    let table = Table::new(vec![
        route("crm.internal", exact("/a/b"), &["POST"], &[]),
        route("crm.internal", prefix("/a/b"), &["POST"], &[]),
        route("crm.internal", prefix("/a"), &[], &[("x-tenant", "acme")]),
        route("*.internal", prefix("/a"), &[], &[]),
    ]);
    assert_eq!(get(&table, "crm.internal", "/a/b"), Some(3));
    let tenant = Request::new("GET", "crm.internal", "/a/b").with("x-tenant", "acme");
    assert_eq!(find(&table, &tenant), Some(2));
}

#[test]
fn paths_are_compared_in_their_canonical_form() {
    let table = Table::new(vec![
        route("", exact("/%7euser"), &[], &[]),
        route("", prefix("/%61"), &[], &[]),
        route("", prefix("//b"), &[], &[]),
        route("", exact("/no/../path"), &[], &[]),
    ]);
    assert_eq!(get(&table, "", "/~user"), Some(0));
    assert_eq!(get(&table, "", "/%7Euser"), Some(0));
    assert_eq!(get(&table, "", "/a/x"), Some(1));
    assert_eq!(get(&table, "", "/%61"), Some(1));
    assert_eq!(get(&table, "", "//b/"), Some(2), "two slashes stay two");
    assert_eq!(get(&table, "", "/b"), None);
    assert_eq!(get(&table, "", "/A"), None, "paths are case-sensitive");
}

#[test]
fn an_explanation_says_of_every_route_why_it_is_not_taken() {
    let table = Table::new(vec![
        route("crm.internal", prefix("/"), &[], &[]),
        route("", prefix("/b"), &[], &[]),
        route("", prefix("/a"), &["POST"], &[]),
        route("", prefix("/a"), &[], &[("x-env", "test"), ("x-tenant", "acme")]),
        route("", prefix("/a"), &[], &[]),
        route("", prefix("/"), &[], &[]),
    ]);
    let request = Request::new("GET", "h", "/a/x").with("x-env", "test");
    let verdicts = request.line(|line| table.explain(line));
    assert_eq!(
        verdicts,
        [
            Verdict::Host,
            Verdict::Path,
            Verdict::Method,
            Verdict::Header("x-tenant".parse().unwrap()),
            Verdict::Taken,
            Verdict::Behind(4)
        ]
    );
}

/// What a look-up of this request costs.
fn cost(table: &Table, request: &Request) -> usize {
    PROBES.set(0);
    find(table, request);
    PROBES.get()
}

#[test]
fn a_look_up_does_no_more_among_ten_thousand_routes_than_among_one() {
    let by_prefix = |n: usize| (0..n).map(|i| route("", prefix(&format!("/api/v1/t{i}")), &["GET"], &[])).collect();
    let by_host = |n: usize| (0..n).map(|i| route(&format!("t{i}.internal"), prefix("/api"), &["GET"], &[])).collect();
    let by_wildcard =
        |n: usize| (0..n).map(|i| route(&format!("*.t{i}.internal"), prefix("/api"), &["GET"], &[])).collect();
    let by_exact = |n: usize| (0..n).map(|i| route("", exact(&format!("/api/t{i}")), &["GET"], &[])).collect();
    let tables: [(Vec<MatchSpec>, Vec<MatchSpec>, &str, &str); 4] = [
        (by_prefix(1), by_prefix(10_000), "h", "/api/v1/t0/employees"),
        (by_host(1), by_host(10_000), "t0.internal", "/api/employees"),
        (by_wildcard(1), by_wildcard(10_000), "a.t0.internal", "/api/employees"),
        (by_exact(1), by_exact(10_000), "h", "/api/t0"),
    ];
    for (one, many, host, path) in tables {
        let (one, many) = (Table::new(one), Table::new(many));
        for method in ["GET", "POST"] {
            let request = Request::new(method, host, path);
            assert_eq!(find(&one, &request), (method == "GET").then_some(0));
            assert_eq!(find(&many, &request), find(&one, &request));
            assert_eq!(cost(&many, &request), cost(&one, &request), "{method} {host}{path}");
            assert!(cost(&many, &request) < 12, "{}", cost(&many, &request));
        }
    }
}

#[test]
fn a_long_host_or_path_costs_no_more_than_the_longest_route_has() {
    let table =
        Table::new(vec![route("*.b.internal", prefix("/"), &["GET"], &[]), route("", prefix("/a/b"), &["GET"], &[])]);
    let request = Request::new("POST", &"a.".repeat(10_000), &"/a".repeat(10_000));
    assert!(cost(&table, &request) < 20, "{}", cost(&table, &request));
}

#[test]
fn duplicates_are_shadowed_and_what_differs_is_not() {
    let tenant = [("x-tenant", "acme"), ("x-env", "test")];
    let turned = [("x-env", "test"), ("X-Tenant", "acme")];
    let table = Table::new(vec![
        route("", prefix("/a"), &[], &[]),
        route("", prefix("/a/"), &[], &[]),                      // a duplicate of 0
        route("", prefix("/a"), &["GET", "POST"], &[]),          // goes before 0
        route("", prefix("/a"), &["POST"], &[]),                 // 2 has it
        route("", prefix("/a"), &["POST", "PUT"], &[]),          // PUT is its own
        route("", prefix("/a"), &["PUT", "GET"], &[]),           // 4 and 2 have them
        route("", prefix("/a"), &[], &tenant),                   // goes before 0
        route("", prefix("/a"), &[], &turned),                   // 6 turned round
        route("h", prefix("/a"), &[], &[]),                      // another host
        route("", prefix("/a/b"), &[], &[]),                     // longer
        route("", exact("/a"), &[], &[]),                        // exact
        route("", exact("/%61"), &[], &[]),                      // 10 in another spelling
        route("", prefix("/a"), &["GET"], &[("x-env", "test")]), // more headers than 2
    ]);
    assert_eq!(table.shadowed(), [(1, 0), (3, 2), (5, 4), (7, 6), (11, 10)]);
}

#[test]
fn an_expression_that_takes_every_path_shadows_the_prefixes_and_later_expressions_of_its_host() {
    let table = Table::new(vec![
        route("", regex("^/a"), &[], &[]),
        route("", prefix("/b"), &["GET"], &[]),
        route("", regex("^/"), &["POST"], &[]),
        route("", regex("b$"), &["POST"], &[]),
        route("", regex("^/"), &[], &[]),
        route("", exact("/x"), &[], &[]),
        route("h", prefix("/"), &[], &[]),
    ]);
    assert_eq!(table.shadowed(), [(1, 4), (3, 4)]);
}

#[test]
fn ten_thousand_routes_are_built_and_searched_for_shadows_in_one_pass() {
    let twins = (0..10_000).map(|i| route("", prefix(&format!("/t{}", i % 5000)), &[], &[])).collect();
    let table = Table::new(twins);
    let pairs = table.shadowed();
    assert_eq!(pairs.len(), 5000);
    assert!(pairs.iter().all(|(later, first)| later - first == 5000));
}

/// The contract's sentence, route by route, without any look-up structure.
fn oracle(specs: &[MatchSpec], request: &Request) -> Option<Found> {
    let path = CanonicalPath::parse(&request.path, EncodedSlash::Allow).unwrap();
    let path = path.as_str();
    let matches = |spec: &MatchSpec| {
        let host = match &spec.host {
            None => true,
            Some(HostPattern::Exact(name)) => *name == request.host,
            Some(HostPattern::Wildcard(suffix)) => {
                request.host.strip_suffix(suffix).is_some_and(|label| !label.is_empty())
            }
        };
        let path = match &spec.path {
            PathRule::Exact(text) => text == path,
            PathRule::Prefix(p) => path == p.as_str() || path.starts_with(&format!("{}/", p.as_str())),
            PathRule::Regex(regex) => regex.is_match(path),
        };
        let method = spec.methods.is_empty() || spec.methods.contains(&request.method);
        let line = |h: &HeaderMatch| request.headers.iter().any(|(name, value)| *name == h.name && *value == h.value);
        host && path && method && spec.headers.iter().all(line)
    };
    let key = |place: &usize| {
        let spec = &specs[*place];
        let host = match &spec.host {
            Some(HostPattern::Exact(_)) => (0, Reverse(0)),
            Some(HostPattern::Wildcard(suffix)) => (1, Reverse(suffix.len())),
            None => (2, Reverse(0)),
        };
        let same = |other: &MatchSpec, text: &str| {
            other.host == spec.host && matches!(&other.path, PathRule::Regex(r) if r.as_str() == text)
        };
        let path = match &spec.path {
            PathRule::Exact(_) => (0, Reverse(0), 0),
            PathRule::Regex(regex) => {
                (1, Reverse(0), specs.iter().position(|other| same(other, regex.as_str())).unwrap())
            }
            PathRule::Prefix(prefix) => (2, Reverse(prefix.as_str().len()), 0),
        };
        (host, path, spec.methods.is_empty(), Reverse(spec.headers.len()), *place)
    };
    let mut all: Vec<usize> = (0..specs.len()).filter(|place| matches(&specs[*place])).collect();
    all.sort_by_key(key);
    all.first().copied()
}

const HEADERS: [(&str, &str); 3] = [("x-t", "1"), ("x-t", "2"), ("x-u", "1")];

prop_compose! {
    fn some_path()(segments in prop::collection::vec(select(vec!["a", "b", "", "%61", "a%2Fb"]), 1..4)) -> String {
        segments.iter().flat_map(|segment| ["/", segment]).collect()
    }
}

fn some_rule() -> impl Strategy<Value = PathRule> {
    prop_oneof![
        3 => some_path().prop_map(|text| prefix(&text)),
        1 => Just(prefix("/")),
        2 => some_path().prop_map(|text| exact(CanonicalPath::parse(&text, EncodedSlash::Allow).unwrap().as_str())),
        2 => select(vec!["^/a", "b$", "^/", "/a/", ".*", "^/a/b"]).prop_map(regex),
    ]
}

prop_compose! {
    fn some_route()(
        host in select(vec!["", "", "a.internal", "b.a.internal", "*.internal", "*.a.internal", "*.b.a.internal", "[::1]"]),
        path in some_rule(),
        methods in subsequence(vec!["GET", "POST"], 0..=2),
        headers in subsequence(HEADERS.to_vec(), 0..=2),
    ) -> MatchSpec {
        route(host, path, &methods, &headers)
    }
}

prop_compose! {
    fn some_request()(
        host in select(vec!["", "internal", "a.internal", "b.a.internal", "c.b.a.internal", "x.internal", ".internal", "[::1]"]),
        path in some_path(),
        method in select(vec!["GET", "POST", "PUT"]),
        headers in subsequence(HEADERS.to_vec(), 0..=3),
    ) -> Request {
        headers.iter().fold(Request::new(method, host, &path), |request, (name, value)| request.with(name, value))
    }
}

proptest! {
    #[test]
    fn what_is_found_is_what_the_contract_says(
        specs in prop::collection::vec(some_route(), 0..24),
        requests in prop::collection::vec(some_request(), 1..24),
    ) {
        let table = Table::new(specs.clone());
        let shadowed = table.shadowed();
        for request in &requests {
            let found = find(&table, request);
            prop_assert_eq!(found, oracle(&specs, request), "{:?}", request);
            // Shadows are never claimed wrongly.
            prop_assert!(shadowed.iter().all(|(route, _)| Some(*route) != found), "{:?} {:?}", shadowed, found);
            // An explanation agrees with what is done.
            let verdicts = request.line(|line| table.explain(line));
            prop_assert_eq!(verdicts.len(), specs.len());
            for (place, verdict) in verdicts.iter().enumerate() {
                prop_assert_eq!(*verdict == Verdict::Taken, Some(place) == found);
                let alone = oracle(std::slice::from_ref(&specs[place]), request).is_some();
                prop_assert_eq!(alone, matches!(verdict, Verdict::Taken | Verdict::Behind(_)), "{:?}", verdict);
                if let Verdict::Behind(first) = verdict {
                    prop_assert_eq!(Some(*first), found);
                }
            }
        }
    }
}
