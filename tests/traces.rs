//! Traces: every request belongs to one, and what is sampled comes to a collector, which costs no
//! request anything whatever it does.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tokenferry::demo::{Crewmojo, Simulator};

use crate::harness::client::{get, send, text};
use crate::harness::collector::{Collector, Mood, Seen, named};
use crate::harness::nobody::Nobody;
use crate::harness::process::Process;
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, crewmojo, route, simulate};
use crate::harness::yaml::{injecting, one_route};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// A `traceparent` of the client's.
fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{SPAN}-{flags}")
}

/// The parts of a `traceparent`: trace, span, flags.
fn parts(traceparent: Option<&str>) -> (String, String, String) {
    let text = traceparent.expect("a traceparent");
    let parts: Vec<&str> = text.split('-').collect();
    assert!(text.len() == 55 && parts.len() == 4 && parts[0] == "00", "{text}");
    (parts[1].to_owned(), parts[2].to_owned(), parts[3].to_owned())
}

fn asking(target: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::get(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

/// Traces go to this collector. `more` are further fields, such as `, sample: 0`.
fn telemetry(collector: &Collector, more: &str) -> String {
    format!("telemetry: {{otlp: \"{}\"{more}}}\n", collector.url())
}

/// A route `crewmojo` to a tap before a simulator.
async fn crew() -> (Simulator, Upstream, String) {
    let simulator = simulate(Crewmojo::default()).await;
    let tap = Upstream::before(simulator.origin()).await;
    let yaml = config(&[crewmojo(simulator.login_origin(), "")], &[route("crewmojo", &tap.url("/v1"), "crewmojo", "")]);
    (simulator, tap, yaml)
}

fn clients(spans: &[Seen]) -> Vec<&Seen> {
    let mut clients: Vec<&Seen> = spans.iter().filter(|seen| seen.span.kind == SpanKind::Client as i32).collect();
    clients.sort_by_key(|seen| seen.says("tokenferry.attempt"));
    clients
}

#[tokio::test]
async fn a_sampled_request_its_wait_for_a_token_and_its_sending_are_told_of() {
    let collector = Collector::start().await;
    let (_simulator, tap, yaml) = crew().await;
    let proxy = Proxy::start(&format!("{}{yaml}", telemetry(&collector, ", sample: 0"))).await;
    let asked = asking(
        "/crewmojo/employees?page=2",
        &[("traceparent", &parent("01")), ("tracestate", "vendor=opaque"), ("host", "crm.internal:80")],
    );
    assert_eq!(send(proxy.address(), asked).await.status(), 200);

    let spans = collector.trace(TRACE, 3).await;
    let server = named(&spans, "GET crewmojo");
    assert_eq!((server.parent().as_str(), server.span.kind), (SPAN, SpanKind::Server as i32));
    for (attribute, expected) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("url.path", "/crewmojo/employees"),
        ("url.scheme", "http"),
        ("server.address", "crm.internal"),
        ("network.protocol.version", "1.1"),
        ("tokenferry.route", "crewmojo"),
        ("tokenferry.credential", "crewmojo"),
        ("tokenferry.generation", "1"),
    ] {
        assert_eq!(server.says(attribute), expected, "{attribute}: {server:#?}");
    }
    assert!(!server.failed());
    assert_eq!(
        (server.service("service.name").as_str(), server.service("telemetry.sdk.language").as_str()),
        ("tokenferry", "rust")
    );

    let wait = named(&spans, "token wait");
    assert_eq!((wait.parent(), wait.span.kind), (server.id(), SpanKind::Internal as i32));
    assert_eq!(wait.says("tokenferry.credential"), "crewmojo");
    assert_eq!(
        (wait.says("tokenferry.generation").as_str(), wait.says("tokenferry.outcome").as_str()),
        ("1", "obtained")
    );

    let [client] = clients(&spans)[..] else { panic!("{spans:#?}") };
    assert_eq!(client.parent(), server.id());
    assert_eq!(
        (client.says("server.address").as_str(), client.says("server.port")),
        ("127.0.0.1", tap.address.port().to_string())
    );
    assert_eq!(
        (client.says("http.response.status_code").as_str(), client.says("tokenferry.attempt").as_str()),
        ("200", "1")
    );
    let inside = |outer: &Seen, inner: &Seen| {
        outer.span.start_time_unix_nano <= inner.span.start_time_unix_nano
            && inner.span.end_time_unix_nano <= outer.span.end_time_unix_nano + 1_000_000
    };
    assert!(inside(server, wait) && inside(server, client), "{spans:#?}");

    let seen = tap.last();
    assert_eq!(parts(seen.header("traceparent")), (TRACE.to_owned(), client.id(), "01".to_owned()));
    assert_eq!(seen.header("tracestate"), Some("vendor=opaque"));
}

#[tokio::test]
async fn each_sending_has_a_span_of_its_own_which_the_upstream_is_told() {
    let collector = Collector::start().await;
    let (simulator, tap, yaml) = crew().await;
    let proxy = Proxy::start(&format!("{}{yaml}", telemetry(&collector, ", sample: 0"))).await;
    assert_eq!(get(proxy.address(), "/crewmojo/a").await.status(), 200);
    simulator.revoke_all();
    let before = tap.seen().len();
    let answer = send(proxy.address(), asking("/crewmojo/b", &[("traceparent", &parent("01"))])).await;
    assert_eq!(answer.status(), 200, "{}", text(&answer));

    let spans = collector.trace(TRACE, 4).await;
    let [refused, taken] = clients(&spans)[..] else { panic!("{spans:#?}") };
    assert_eq!(
        (refused.says("tokenferry.token_refused").as_str(), refused.says("http.response.status_code").as_str()),
        ("true", "401")
    );
    assert!(refused.failed() && !taken.failed());
    assert_eq!(
        (taken.says("http.request.resend_count").as_str(), taken.says("tokenferry.generation").as_str()),
        ("1", "2")
    );
    let named: Vec<String> = tap.seen()[before..].iter().map(|seen| parts(seen.header("traceparent")).1).collect();
    assert_eq!(named, [refused.id(), taken.id()]);
}

#[tokio::test]
async fn a_login_has_a_trace_of_its_own() {
    let collector = Collector::start().await;
    let (_simulator, _tap, yaml) = crew().await;
    let proxy = Proxy::start(&format!("{}{yaml}", telemetry(&collector, ""))).await;
    let answer = send(proxy.address(), asking("/crewmojo/a", &[("traceparent", &parent("00"))])).await;
    assert_eq!(answer.status(), 200);
    let spans = collector.wait(1, |seen| seen.name() == "token fetch").await;
    assert_eq!((spans[0].parent().as_str(), spans[0].says("tokenferry.credential").as_str()), ("", "crewmojo"));
    assert_eq!(spans[0].says("tokenferry.outcome"), "obtained");
    assert_ne!(spans[0].trace(), TRACE);
}

#[tokio::test]
async fn what_is_not_sampled_goes_on_as_it_came_and_is_not_told_of() {
    let collector = Collector::start().await;
    let upstream = Upstream::start().await;
    let proxy = Proxy::start(&format!("{}{}", telemetry(&collector, ""), one_route(&upstream.url("/"), ""))).await;
    // Later versions and flags as well, byte for byte.
    for came in [parent("00"), format!("{}-more", parent("02").replacen("00", "cc", 1))] {
        send(proxy.address(), asking("/not", &[("traceparent", &came), ("tracestate", "a=b")])).await;
        let seen = upstream.last();
        assert_eq!((seen.header("traceparent"), seen.header("tracestate")), (Some(came.as_str()), Some("a=b")));
    }
    get(proxy.address(), "/sampled").await;
    collector.wait(1, |seen| seen.says("url.path") == "/sampled").await;
    assert!(collector.spans().iter().all(|seen| seen.trace() != TRACE));
}

#[tokio::test]
async fn a_share_of_nothing_tells_of_nothing_and_one_of_all_of_everything() {
    for (sample, flags) in [(0, "00"), (1, "01")] {
        let collector = Collector::start().await;
        let upstream = Upstream::start().await;
        let yaml = one_route(&upstream.url("/"), "");
        let proxy = Proxy::start(&format!("{}{yaml}", telemetry(&collector, &format!(", sample: {sample}")))).await;
        for _ in 0..20 {
            get(proxy.address(), "/a").await;
            let (trace, _, sampled) = parts(upstream.last().header("traceparent"));
            assert_eq!(sampled, flags);
            assert_ne!(trace, TRACE);
        }
        send(proxy.address(), asking("/last", &[("traceparent", &parent("01"))])).await;
        collector.trace(TRACE, 2).await;
        let roots = collector.spans().iter().filter(|seen| seen.parent().is_empty()).count();
        assert_eq!(roots, 20 * sample, "share {sample}");
    }
}

#[tokio::test]
async fn a_request_without_a_trace_begins_one_also_where_there_is_no_collector() {
    let upstream = Upstream::start().await;
    let proxy = Proxy::start(&one_route(&upstream.url("/"), "")).await;
    let mut traces = std::collections::HashSet::new();
    let sound = parent("01");
    for wrong in
        [None, Some("00"), Some(&sound[..54]), Some(&*sound.to_uppercase()), Some(&*sound.replacen("00", "ff", 1))]
    {
        let mut headers = vec![("tracestate", "a=b")];
        headers.extend(wrong.map(|wrong| ("traceparent", wrong)));
        send(proxy.address(), asking("/a", &headers)).await;
        let seen = upstream.last();
        let (trace, _, flags) = parts(seen.header("traceparent"));
        assert_eq!((flags.as_str(), seen.header("tracestate")), ("00", None), "{wrong:?}");
        assert!(traces.insert(trace), "{wrong:?}");
    }
    // Two are none.
    send(proxy.address(), asking("/a", &[("traceparent", &sound), ("traceparent", &sound)])).await;
    assert!(traces.insert(parts(upstream.last().header("traceparent")).0) && !traces.contains(TRACE));
    send(proxy.address(), asking("/a", &[("traceparent", &sound), ("tracestate", "a=b")])).await;
    let seen = upstream.last();
    assert_eq!((seen.header("traceparent"), seen.header("tracestate")), (Some(sound.as_str()), Some("a=b")));
}

#[tokio::test]
async fn an_operator_may_keep_the_trace_from_an_upstream() {
    let collector = Collector::start().await;
    let upstream = Upstream::start().await;
    for (edit, expected) in [("remove: [traceparent, tracestate]", None), ("set: {traceparent: mine}", Some("mine"))] {
        let yaml = one_route(&upstream.url("/"), &format!("request_headers: {{{edit}}}\n"));
        let proxy = Proxy::start(&format!("{}{yaml}", telemetry(&collector, ""))).await;
        for flags in ["00", "01"] {
            send(proxy.address(), asking("/a", &[("traceparent", &parent(flags))])).await;
            assert_eq!(upstream.last().header("traceparent"), expected);
        }
    }
}

#[tokio::test]
async fn refusals_and_failures_are_told_of_as_such() {
    let collector = Collector::start().await;
    let upstream = Upstream::answering(|_| Response::builder().status(503).body(Full::default()).unwrap()).await;
    let nobody = Nobody::there();
    let yaml = format!(
        "routes:\n  - {{name: bad, match: {{path: /bad}}, upstream: \"{}\", credential: none}}\n  \
         - {{name: gone, match: {{path: /gone}}, upstream: \"http://{nobody}\", credential: none}}\n",
        upstream.url("/")
    );
    let proxy = Proxy::start(&format!("{}{yaml}", telemetry(&collector, ""))).await;
    for (path, status) in [("/bad", 503), ("/gone", 502), ("/nowhere", 404)] {
        assert_eq!(get(proxy.address(), path).await.status(), status);
    }
    let servers = collector.wait(3, |seen| seen.span.kind == SpanKind::Server as i32).await;
    let bad = named(&servers, "GET bad");
    assert_eq!(
        (bad.failed(), bad.says("error.type").as_str(), bad.says("tokenferry.refusal").as_str()),
        (true, "503", "")
    );
    let gone = named(&servers, "GET gone");
    assert!(gone.failed() && gone.says("error.type") == gone.says("tokenferry.refusal"), "{gone:#?}");
    let nowhere = named(&servers, "GET");
    assert_eq!((nowhere.failed(), nowhere.says("http.response.status_code").as_str()), (false, "404"));
    let sendings = collector.wait(2, |seen| seen.span.kind == SpanKind::Client as i32).await;
    assert!(sendings.iter().all(Seen::failed));
}

#[tokio::test]
async fn a_collector_that_hangs_or_refuses_costs_no_request_and_has_spans_when_it_is_well() {
    let collector = Collector::start().await;
    let upstream = Upstream::start().await;
    let proxy = Proxy::start(&format!("{}{}", telemetry(&collector, ""), one_route(&upstream.url("/"), ""))).await;
    for (mood, path) in [(Mood::Hangs, "/after-hanging"), (Mood::Answers(500), "/after-refusing")] {
        collector.is(mood);
        get(proxy.address(), "/a").await;
        let posts = collector.posts().len();
        // Until it has something in hand that it does not answer.
        crate::harness::eventually("a batch", || collector.posts().len() > posts).await;
        for _ in 0..50 {
            let began = Instant::now();
            assert_eq!(get(proxy.address(), "/meanwhile").await.status(), 200);
            // What waits for the collector waits for five seconds.
            assert!(began.elapsed() < Duration::from_secs(3), "{mood:?}: {:?}", began.elapsed());
        }
        collector.is(Mood::Takes);
        get(proxy.address(), path).await;
        collector.wait(1, |seen| seen.says("url.path") == path).await;
    }
}

#[tokio::test]
async fn a_collector_that_goes_and_comes_back_is_one_line_each() {
    let nobody = Nobody::there();
    let address = nobody.address;
    let upstream = Upstream::start().await;
    let yaml = format!("telemetry: {{otlp: \"http://{address}\"}}\n{}", one_route(&upstream.url("/"), ""));
    let process = Process::start(&yaml, &[]);
    let lines = |text: &str| process.log().lines().filter(|line| line.contains(text)).count();
    assert_eq!(get(process.address, "/a").await.status(), 200);
    crate::harness::eventually_within(Duration::from_secs(30), "a warning", || lines("does not take spans") == 1).await;
    assert!(process.log().contains("onnection refused"), "{}", process.log());
    assert!(!process.log().contains(&address.to_string()), "a URL may have come from a reference");

    // Several batches that fail in another way are no news.
    let collector = Collector::start_on(nobody.listens(), Mood::Answers(500));
    while collector.posts().len() < 3 {
        get(process.address, "/a").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    collector.is(Mood::Takes);
    get(process.address, "/back").await;
    collector.wait(1, |seen| seen.says("url.path") == "/back").await;
    crate::harness::eventually("a word of it", || lines("the collector is back") == 1).await;
    assert_eq!(lines("does not take spans"), 1);
}

#[tokio::test]
async fn a_reload_switches_traces_on_and_off_and_what_waits_still_goes_out() {
    let (one, other) = (Collector::start().await, Collector::start().await);
    let upstream = Upstream::start().await;
    let yaml = one_route(&upstream.url("/"), "");
    let proxy = Proxy::start(&yaml).await;
    let asked = || get(proxy.address(), "/a");
    let flags = || parts(upstream.last().header("traceparent")).2;
    let reloaded = async |yaml: String, expected: &str| {
        proxy.rewrite(&yaml);
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            asked().await;
            if flags() == expected {
                return;
            }
            assert!(Instant::now() < deadline, "not reloaded: {yaml}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    asked().await;
    assert_eq!(flags(), "00");
    reloaded(format!("{}{yaml}", telemetry(&one, "")), "01").await;
    get(proxy.address(), "/to-one").await;
    // Off at once: the span that waits goes out all the same.
    reloaded(yaml.clone(), "00").await;
    one.wait(1, |seen| seen.says("url.path") == "/to-one" && seen.parent().is_empty()).await;
    reloaded(format!("{}{yaml}", telemetry(&other, ", service_name: renamed")), "01").await;
    get(proxy.address(), "/to-other").await;
    let spans = other.wait(1, |seen| seen.says("url.path") == "/to-other").await;
    assert_eq!(spans[0].service("service.name"), "renamed");
    assert!(one.spans().iter().all(|seen| seen.says("url.path") != "/to-other"));
    // The share alone changes without another exporter.
    reloaded(format!("{}{yaml}", telemetry(&other, ", service_name: renamed, sample: 0")), "00").await;
}

#[tokio::test]
async fn what_waits_goes_out_at_the_end_and_a_collector_that_hangs_does_not_hold_it_up() {
    for mood in [Mood::Takes, Mood::Hangs] {
        let collector = Collector::start().await;
        let upstream = Upstream::start().await;
        let proxy = Proxy::start(&format!("{}{}", telemetry(&collector, ""), one_route(&upstream.url("/"), ""))).await;
        collector.is(mood);
        get(proxy.address(), "/last").await;
        let began = Instant::now();
        proxy.stop().await;
        match mood {
            Mood::Takes => assert!(collector.spans().iter().any(|seen| seen.says("url.path") == "/last")),
            // Three seconds for that, and some for the rest.
            _ => assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed()),
        }
    }
}

#[tokio::test]
async fn the_collector_is_asked_as_the_configuration_says_and_told_no_secret() {
    let collector = Collector::start().await;
    let upstream = Upstream::start().await;
    let secrets = ["C0LLECT0R", "CL1ENT-KEY", "QUERY-HUSH", "C00KIE", "B0DY-HUSH", "UPSTREAM-HUSH", "T0K3N"];
    let inject = "[{query: token}, {header: X-Token}]";
    let access = "access: {api_keys: [{name: billing, key: CL1ENT-KEY}]}\n";
    let headers = ", headers: {Authorization: \"Bearer ${KEY}\"}";
    let yaml = format!("{}{}", telemetry(&collector, headers), injecting(&upstream.url("/base"), inject, access));
    let proxy = Proxy::start_with(&yaml, &[("KEY", "C0LLECT0R")]).await;
    for key in ["CL1ENT-KEY", "UPSTREAM-HUSH"] {
        let request = Request::post("/a/b?password=QUERY-HUSH")
            .header("x-api-key", key)
            .header("cookie", "sid=C00KIE")
            .header("user-agent", "C00KIE")
            .header("x-request-id", "C00KIE")
            .header("traceparent", parent("01"))
            .header("tracestate", "a=C00KIE")
            .body(Full::from("B0DY-HUSH"))
            .unwrap();
        send(proxy.address(), request).await;
    }
    assert!(upstream.last().target.contains("token=T0K3N"));
    // The first waits for its token, the second is not let in.
    collector.trace(TRACE, 4).await;
    let posts = collector.posts();
    assert_eq!(posts[0].path, "/v1/traces");
    assert_eq!(posts[0].headers["authorization"], "Bearer C0LLECT0R");
    assert_eq!(posts[0].headers["content-type"], "application/x-protobuf");
    for post in &posts {
        for secret in secrets {
            let found = post.body.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} in {:?}", String::from_utf8_lossy(&post.body));
        }
    }
}

#[tokio::test]
async fn the_access_line_says_which_trace_it_is() {
    let upstream = Upstream::start().await;
    let yaml = one_route(&upstream.url("/"), "");
    let process = Process::start(&format!("log: {{format: json, access: all}}\n{yaml}"), &[]);
    send(process.address, asking("/given", &[("traceparent", &parent("00"))])).await;
    get(process.address, "/begun").await;
    let (begun, _, _) = parts(upstream.last().header("traceparent"));
    for (path, trace) in [("/given", TRACE), ("/begun", begun.as_str())] {
        let said = || {
            let log = process.log();
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            lines.find(|line| line["path"] == path).map(|line| line["trace_id"].clone())
        };
        crate::harness::eventually("an access line", || said().is_some()).await;
        assert_eq!(said().unwrap(), trace, "{path}");
    }
}
