//! Micro benches: what a request or a reload pays for each part, alone. A function a topic; each
//! builds its own input, so that one can be run by name: `cargo bench --bench micro -- route`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method};
use tokenferry::model::{CanonicalPath, EncodedSlash, HostPattern, MatchSpec, PathPrefix, PathRule};
use tokenferry::route::{RequestLine, Table};

/// A route's place in the file to what it looks for and to a request that it takes.
type Kind = (&'static str, fn(usize) -> (Option<String>, String));

/// Look-ups among 1, 100 and 10,000 routes. `warm` asks for one route over and over; `spread` goes
/// through all of them in no order that a cache could foresee, as the clients of a large
/// installation do.
fn route_lookup(c: &mut Criterion) {
    let kinds: [Kind; 2] = [
        ("prefix", |i| (None, format!("/api/v1/tenant{i}"))),
        ("host", |i| (Some(format!("tenant{i}.internal")), "/api".to_owned())),
    ];
    for (kind, look) in kinds {
        let mut group = c.benchmark_group(format!("route/{kind}"));
        for size in [1, 100, 10_000] {
            let table = Table::new((0..size).map(|i| spec(look(i))).collect());
            let requests: Vec<(String, String)> = (0..size)
                .map(|i| look(i * 7919 % size))
                .map(|(host, path)| (host.unwrap_or_else(|| "proxy.internal".to_owned()), path + "/employees/7"))
                .collect();
            let find = |(host, path): &(String, String)| {
                let path = CanonicalPath::parse(path, EncodedSlash::Allow).ok()?;
                let headers = HeaderMap::new();
                table.find(RequestLine { host, path: &path, method: &Method::GET, headers: &headers })
            };
            assert!(requests.iter().all(|request| find(request).is_some()), "a request went astray");
            group.bench_with_input(BenchmarkId::new("warm", size), &requests[size / 2], |b, request| {
                b.iter(|| find(black_box(request)));
            });
            let mut turn = requests.iter().cycle();
            group.bench_function(BenchmarkId::new("spread", size), |b| {
                b.iter(|| turn.next().and_then(|request| find(black_box(request))));
            });
        }
        group.finish();
    }
}

/// The structures of a table of 10,000 routes, and the search for those that can never match: the
/// table's share of a configuration load.
fn route_build(c: &mut Criterion) {
    let specs: Vec<MatchSpec> = (0..10_000).map(|i| spec((None, format!("/api/v1/tenant{i}")))).collect();
    c.bench_function("route/build/10000", |b| b.iter(|| Table::new(black_box(specs.clone()))));
    let table = Table::new(specs);
    c.bench_function("route/shadowed/10000", |b| b.iter(|| black_box(&table).shadowed()));
}

fn spec((host, path): (Option<String>, String)) -> MatchSpec {
    MatchSpec {
        host: host.and_then(|host| HostPattern::parse(&host).ok()),
        path: PathRule::Prefix(PathPrefix::parse(&path).unwrap_or_else(|_| PathPrefix::root())),
        methods: vec![Method::GET, Method::POST],
        headers: Vec::new(),
    }
}

criterion_group!(benches, route_lookup, route_build);
criterion_main!(benches);
