//! Micro benches: what a request or a reload pays for each part, alone. A function a topic; each
//! builds its own input, so that one can be run by name: `cargo bench --bench micro -- route`.

#![allow(clippy::expect_used, reason = "a bench may panic where its input is wrong")]

use std::fmt::Write;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use tokenferry::config::load_bytes;
use tokenferry::model::{
    CanonicalPath, EncodedSlash, HeaderCase, HostPattern, Margin, MatchSpec, Origin, PathPrefix, PathRule, Place,
    Protocol, Scheme, UpstreamTls,
};
use tokenferry::proxy::headers::{Peer, Survey, clean_request, clean_response, set_forwarded, via};
use tokenferry::route::{RequestLine, Table};
use tokenferry::secret::Secret;
use tokenferry::telemetry::metrics::{Finished, Metrics};
use tokenferry::token::inject::{remove_headers, splice_json, splice_query};
use tokenferry::token::{BootClock, Cell, CellSettings, Fetch, Lane, SecretVersion};
use tokenferry::upstream::{Destination, Reach, Roots, Target, Upstream};
use tokenferry::vendor::{Grant, Identity, LifetimeSource};

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

/// An upstream of the credential `bench`.
fn destination() -> Destination {
    let origin = Origin::parse(Scheme::Http, "127.0.0.1:1").expect("an origin");
    let target = Target {
        origin: origin.clone(),
        protocol: Protocol::Http1,
        tls: UpstreamTls::default(),
        egress: None,
        header_case: HeaderCase::Title,
        preserve_answers: false,
        idle: Duration::ZERO,
        age: Duration::ZERO,
        connections: None,
        credential: Some("bench".to_owned()),
    };
    let mut reach = Reach::of("bench");
    reach.add(&origin);
    reach.destination(&Upstream::new(target, &Roots::none()).expect("plain http")).expect("its own upstream")
}

/// What a warm request pays for its token: a look at the cell, and the rendered header.
fn warm_token(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let fetch: Fetch = Arc::new(|| {
        let lifetime = Some((Duration::from_secs(3600), LifetimeSource::Answer));
        Box::pin(async move { Ok(Grant::new(Secret::new("x".repeat(900)), lifetime)) })
    });
    let settings = CellSettings {
        name: "bench".to_owned(),
        fetch,
        secret: SecretVersion::of(&Identity { parts: Vec::new(), secrets: Vec::new() }),
        refresh_before: Margin::default(),
        lifetime: None,
        idle_lifetime: None,
        exclusive: false,
        drain: Duration::ZERO,
        release: None,
        share: None,
        waiting: 1,
    };
    let cell = Cell::new(settings, Arc::new(BootClock), runtime.handle().clone());
    let lane = Lane::new(cell, Arc::new(vec![Place::bearer()]), destination());
    runtime.block_on(lane.acquire(Duration::from_secs(1))).expect("a token");
    c.bench_function("token/warm", |b| b.iter(|| black_box(&lane).warm()));
    c.bench_function("token/warm and written", |b| {
        b.iter(|| {
            let mut request = Request::new(());
            *request.headers_mut() = HeaderMap::with_capacity(8);
            black_box(lane.warm().expect("it is warm").seal(request));
        });
    });
}

/// What a warm request pays for being counted, and what a scrape pays for the sums of a thousand
/// routes of two workers.
fn counting(c: &mut Criterion) {
    let metrics = Metrics::new();
    let sheets = [metrics.sheet(), metrics.sheet()];
    let meters: Vec<_> =
        (0..1000).flat_map(|i| sheets.each_ref().map(|sheet| sheet.route(&format!("route{i}")))).collect();
    let request = Finished {
        method: &Method::GET,
        status: Some(StatusCode::OK),
        refusal: None,
        duration: Duration::from_micros(830),
        upstream: Some(Duration::from_micros(640)),
        token_wait: Some(Duration::ZERO),
        received: 0,
        sent: 1024,
    };
    for meter in &meters {
        meter.count(&request);
    }
    c.bench_function("metrics/count", |b| b.iter(|| meters[0].count(black_box(&request))));
    let mut turn = meters.iter().cycle();
    c.bench_function("metrics/count among 1000 routes", |b| {
        b.iter(|| turn.next().map(|meter| meter.count(black_box(&request))));
    });
    c.bench_function("metrics/sums of 1000 routes", |b| b.iter(|| black_box(&metrics).routes()));
}

/// What a browser's head of a dozen lines pays: hop-by-hop lines off, ours on, the token last.
fn header_work(c: &mut Criterion) {
    let came: HeaderMap = [
        ("host", "proxy.internal"),
        ("connection", "keep-alive"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
        ("accept", "application/json, text/plain, */*"),
        ("accept-encoding", "gzip, deflate, br"),
        ("accept-language", "en-GB,en;q=0.9"),
        ("authorization", "Bearer the-clients-own"),
        ("content-type", "application/json"),
        ("content-length", "1024"),
        ("cookie", "session=0123456789abcdef"),
        ("referer", "https://app.internal/page"),
        ("x-request-id", "6f1c2a52-1c1e-4c3e-9a53-1d6f2f3f7f11"),
    ]
    .into_iter()
    .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
    .collect();
    let peer = Peer::new(Some([127, 0, 0, 1].into()), false);
    let host = HeaderValue::from_static("proxy.internal");
    let via = via(Version::HTTP_11, "tokenferry-00000000").expect("a header value");
    let places = [Place::bearer()];
    c.bench_function("headers/request", |b| {
        b.iter(|| {
            let mut headers = came.clone();
            clean_request(&mut headers);
            remove_headers(&mut headers, &places);
            set_forwarded(&mut headers, Survey::of(&came), &peer, Some(&host), &via);
            headers.insert(http::header::HOST, host.clone());
            headers
        });
    });
    c.bench_function("headers/answer", |b| {
        b.iter(|| {
            let mut headers = came.clone();
            clean_response(&mut headers, http::StatusCode::OK, http::Version::HTTP_11);
            headers
        });
    });
}

/// A token into a query of 200 bytes, and into JSON bodies of 1 and 64 KiB.
fn splices(c: &mut Criterion) {
    let token = "x".repeat(357);
    let query = "contact_information_identifier=number=CI000111&fields_set=a,b,c&token=old&".repeat(3);
    c.bench_function("splice/query", |b| b.iter(|| splice_query(Some(black_box(&query)), "token", &token)));
    for kib in [1, 64] {
        let rows = vec![serde_json::json!({"number": "CI000111", "amount": 12.5, "tags": ["a", "b"]}); kib * 18];
        let body = serde_json::json!({"token": "old", "rows": rows}).to_string();
        c.bench_function(&format!("splice/json/{kib} KiB"), |b| {
            b.iter(|| splice_json(black_box(body.as_bytes()), "token", &token));
        });
    }
}

/// A file of 10,000 routes, from its bytes to checked settings: what a reload costs, off the workers.
fn config_load(c: &mut Criterion) {
    let mut text = String::from("listeners: [{address: 127.0.0.1:0}]\nroutes:\n");
    for i in 0..10_000 {
        let _ = writeln!(
            text,
            "  - {{name: r{i}, match: {{path: /api/v1/tenant{i}}}, upstream: 'https://u{}.example/v1', credential: none}}",
            i % 100
        );
    }
    let mut group = c.benchmark_group("config");
    group.sample_size(10);
    group.bench_function("load/10000 routes", |b| {
        b.iter(|| load_bytes(Path::new("proxy.yaml"), black_box(text.as_bytes()), &|_| None).expect("it is valid"));
    });
    group.finish();
}

criterion_group!(benches, route_lookup, route_build, warm_token, counting, header_work, splices, config_load);
criterion_main!(benches);
