//! What is counted, and what the sums say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};

use super::*;

fn ok(method: &Method) -> Finished<'_> {
    Finished {
        method,
        status: Some(StatusCode::OK),
        refusal: None,
        duration: Duration::from_millis(3),
        upstream: Some(Duration::from_millis(2)),
        token_wait: Some(Duration::ZERO),
        received: 10,
        sent: 100,
    }
}

fn totals(metrics: &Metrics, name: &str) -> RouteTotals {
    metrics.routes().into_iter().find(|route| &*route.name == name).expect("the route is there")
}

#[test]
fn the_sums_are_over_all_workers() {
    let metrics = Metrics::new();
    let (one, two) = (metrics.sheet(), metrics.sheet());
    let (a, b, other) = (one.route("a"), two.route("a"), two.route("other"));
    a.count(&ok(&Method::GET));
    b.count(&ok(&Method::GET));
    b.count(&Finished { status: Some(StatusCode::BAD_GATEWAY), refusal: Some("connect"), ..ok(&Method::POST) });
    other.count(&Finished { token_wait: None, upstream: None, ..ok(&Method::GET) });
    b.replayed(Again::Token, Replayed::Answered);
    b.replayed(Again::Token, Replayed::Answered);
    a.replayed(Again::Connection, Replayed::Failed);

    let sums = totals(&metrics, "a");
    assert_eq!((sums.requests, sums.errors, sums.received, sums.sent), (3, 1, 30, 300));
    assert_eq!(sums.answers, [(("GET", 200), 2), (("POST", 502), 1)].into());
    assert_eq!((sums.duration.count(), sums.upstream.count(), sums.token_wait.count()), (3, 3, 3));
    assert!((sums.duration.sum_seconds - 0.009).abs() < 1e-9, "{}", sums.duration.sum_seconds);
    assert_eq!(sums.refusals, [("connect", 1)].into());
    assert_eq!(sums.replays, [("token_answered", 2), ("connection_failed", 1)].into());
    let other = totals(&metrics, "other");
    assert_eq!((other.requests, other.upstream.count(), other.token_wait.count()), (1, 0, 0));
    let names: Vec<_> = metrics.routes().iter().map(|route| route.name.to_string()).collect();
    assert_eq!(names, ["a", "other"], "by name");
}

#[test]
fn labels_have_few_values_whatever_is_sent() {
    let metrics = Metrics::new();
    let meter = metrics.sheet().route("a");
    for word in ["PROPFIND", "get", "BREW"] {
        meter.count(&ok(&Method::from_bytes(word.as_bytes()).unwrap()));
    }
    for status in [100, 599, 600, 999] {
        meter.count(&Finished { status: StatusCode::from_u16(status).ok(), ..ok(&Method::GET) });
    }
    meter.count(&Finished { status: None, ..ok(&Method::GET) });
    let sums = totals(&metrics, "a");
    let expected = [(("other", 200), 3), (("GET", 100), 1), (("GET", 599), 1), (("GET", 0), 3)];
    assert_eq!(sums.answers, expected.into());
    assert_eq!((sums.requests, sums.errors), (8, 1), "no answer is no error of ours");
    assert_eq!([0, 100, 200, 599].map(status_word), ["other", "100", "200", "599"]);
}

#[test]
fn all_nine_registered_methods_have_their_own_word() {
    let metrics = Metrics::new();
    let meter = metrics.sheet().route("a");
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    for method in methods {
        meter.count(&ok(&Method::from_bytes(method.as_bytes()).unwrap()));
    }
    let expected = methods.into_iter().map(|method| ((method, 200), 1)).collect();
    assert_eq!(totals(&metrics, "a").answers, expected);
}

#[test]
fn counts_outlive_a_reload_and_a_route_that_nobody_has_is_forgotten_whole() {
    let metrics = Metrics::new();
    let (one, two) = (metrics.sheet(), metrics.sheet());
    let (a, mine, theirs) = (one.route("a"), one.route("gone"), two.route("gone"));
    for meter in [&a, &mine, &theirs] {
        meter.count(&ok(&Method::GET));
    }
    // The next configuration asks before the one before is let go.
    let again = one.route("a");
    drop(a);
    again.count(&ok(&Method::GET));
    assert_eq!(totals(&metrics, "a").requests, 2);
    drop(mine);
    assert_eq!(totals(&metrics, "gone").requests, 2, "one worker still has it: no sum falls");
    drop(theirs);
    assert_eq!(metrics.routes().len(), 1);
    let back = one.route("gone");
    assert_eq!(totals(&metrics, "gone").requests, 0, "another life");
    drop((again, back));
}

#[test]
fn routes_that_are_gone_do_not_pile_up_where_nobody_reads() {
    let metrics = Metrics::new();
    let sheet = metrics.sheet();
    for number in 0..100_000 {
        drop(sheet.route(&number.to_string()));
    }
    assert!(metrics.known() < 200, "{} are kept", metrics.known());
}

#[test]
fn a_route_without_requests_costs_two_words() {
    assert!(size_of::<RouteMeter>() <= 16, "{}", size_of::<RouteMeter>());
}

#[test]
fn connections_are_counted_while_they_are_open() {
    let metrics = Metrics::new();
    let (one, two) = (metrics.sheet(), metrics.sheet());
    let client = one.connected(Side::Client);
    let (first, second) = (one.connected(Side::Upstream), two.connected(Side::Upstream));
    assert_eq!(metrics.connections(), Connections { clients: 1, upstreams: 2 });
    drop((client, first));
    assert_eq!(metrics.connections(), Connections { clients: 0, upstreams: 1 });
    drop(second);
    assert_eq!(metrics.connections(), Connections::default());
}

#[test]
fn whoever_reads_while_workers_count_sees_sums_that_only_grow() {
    const EACH: u64 = 20_000;
    let metrics = Metrics::new();
    let done = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let sheet = metrics.sheet();
            std::thread::spawn(move || {
                let meter = sheet.route("a");
                for number in 0..EACH {
                    let status = StatusCode::from_u16(200 + u16::try_from(number % 7).unwrap()).ok();
                    meter.count(&Finished { status, ..ok(&Method::GET) });
                }
                meter
            })
        })
        .collect();
    let reader = {
        let (metrics, done) = (Arc::clone(&metrics), Arc::clone(&done));
        std::thread::spawn(move || {
            let mut last = 0;
            while !done.load(Ordering::Relaxed) {
                let now = metrics.routes().first().map_or(0, |route| route.requests);
                assert!(now >= last, "{last} and then {now}");
                last = now;
            }
        })
    };
    let meters: Vec<_> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    done.store(true, Ordering::Relaxed);
    reader.join().unwrap();
    let sums = totals(&metrics, "a");
    assert_eq!((sums.requests, sums.duration.count(), sums.answers.len()), (4 * EACH, 4 * EACH, 7));
    drop(meters);
}

// Histograms.

fn observed(millis: impl IntoIterator<Item = f64>) -> HistogramTotals {
    let metrics = Metrics::new();
    let meter = metrics.sheet().route("a");
    for millis in millis {
        meter.count(&Finished { duration: Duration::from_secs_f64(millis / 1000.0), ..ok(&Method::GET) });
    }
    totals(&metrics, "a").duration
}

#[test]
fn buckets_run_from_half_a_millisecond_to_a_minute_and_a_bound_belongs_below() {
    assert_eq!((BOUNDS.first(), BOUNDS.last()), (Some(&0.0005), Some(&60.0)));
    assert!(BOUNDS.is_sorted());
    for (place, bound) in BOUNDS.iter().enumerate() {
        let at = observed([bound * 1000.0]);
        assert_eq!(at.buckets[place], 1, "{bound} s");
        let above = observed([bound * 1000.0 + 0.001]);
        assert_eq!(above.buckets[place + 1], 1, "a microsecond above {bound} s");
    }
    assert_eq!(observed([0.0]).buckets[0], 1);
    assert_eq!(observed([1e9]).buckets[BOUNDS.len()], 1);
}

/// The upper bound of the bucket that it falls into would be 2.5 ms.
#[test]
fn a_quantile_is_linear_inside_its_bucket_as_prometheus_has_it() {
    let even = observed([2.0; 100]);
    for (q, seconds) in [(0.0, 0.001), (0.5, 0.00175), (1.0, 0.0025)] {
        assert!((even.quantile(q).unwrap() - seconds).abs() < 1e-12, "{q}: {:?}", even.quantile(q));
    }
    let two = observed([vec![0.3; 90], vec![700.0; 10]].concat());
    assert!((two.quantile(0.9).unwrap() - 0.0005).abs() < 1e-12);
    assert!((two.quantile(0.95).unwrap() - 0.75).abs() < 1e-12);
    assert_eq!(observed([1e9; 3]).quantile(0.5), Some(60.0), "above all bounds, the greatest is told");
    assert_eq!(HistogramTotals::default().quantile(0.5), None);
    assert_eq!(even.quantile(7.0), even.quantile(1.0));
}

#[test]
fn what_came_since_is_the_difference_and_never_below_nothing() {
    let (before, now) = (observed([2.0; 3]), observed([2.0, 2.0, 2.0, 40.0, 70_000.0]));
    let since = now.since(&before);
    assert_eq!((since.count(), since.buckets[6], since.buckets[BOUNDS.len()]), (2, 1, 1));
    assert!((since.sum_seconds - 70.04).abs() < 1e-9);
    let other_life = before.since(&now);
    assert_eq!((other_life.count(), other_life.sum_seconds), (0, 0.0));
    assert_eq!(now.since(&HistogramTotals::default()), now);
}
