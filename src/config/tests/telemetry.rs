//! Where traces go.

use http::HeaderValue;

use super::*;
use crate::config::TelemetrySettings;

fn with(telemetry: &str) -> String {
    format!("{BASE}telemetry: {telemetry}\n")
}

fn settings(loaded: &Loaded) -> &TelemetrySettings {
    loaded.settings.telemetry.as_ref().expect("traces go somewhere")
}

#[test]
fn traces_go_nowhere_unless_a_collector_is_named() {
    for yaml in [BASE.to_owned(), with(""), with("~")] {
        let loaded = taken(&yaml);
        assert_eq!(loaded.settings.telemetry, None, "{yaml}");
        assert!(!effective(&loaded, Format::Yaml).contains("telemetry"));
    }
}

#[test]
fn a_collector_has_the_contracts_defaults() {
    let loaded = taken(&with("{otlp: 'http://127.0.0.1:4318'}"));
    assert_eq!(told(&loaded.warnings), Vec::<String>::new());
    let telemetry = settings(&loaded);
    assert_eq!(telemetry.endpoint.to_string(), "http://127.0.0.1:4318/v1/traces");
    assert_eq!((telemetry.sample, telemetry.service_name.as_str()), (1.0, "tokenferry"));
    assert!(telemetry.headers.is_empty() && telemetry.tls.ca.is_none());
    let shown = effective(&loaded, Format::Yaml);
    assert!(shown.contains("  otlp: http://127.0.0.1:4318\n  sample: 1.0\n  service_name: tokenferry\n"), "{shown}");
}

#[test]
fn the_collectors_url_and_that_of_its_place_for_traces_are_the_same() {
    for (otlp, endpoint) in [
        ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
        ("http://localhost:4318/v1/traces", "http://localhost:4318/v1/traces"),
        ("http://localhost:4318/v1/traces/", "http://localhost:4318/v1/traces"),
        ("https://otlp.example.com/otlp", "https://otlp.example.com/otlp/v1/traces"),
        ("https://otlp.example.com/otlp/v1/traces", "https://otlp.example.com/otlp/v1/traces"),
    ] {
        let loaded = taken(&with(&format!("{{otlp: '{otlp}', sample: 0, service_name: ferry two}}")));
        assert_eq!(settings(&loaded).endpoint.to_string(), endpoint);
        assert_eq!((settings(&loaded).sample, settings(&loaded).service_name.as_str()), (0.0, "ferry two"));
    }
}

#[test]
fn a_share_may_come_from_a_variable() {
    let read = |text: &str| settings(&taken(&with(&format!("{{otlp: 'http://localhost', sample: {text}}}")))).sample;
    assert_eq!((read("0.25"), read("1"), read("\"${SHARE:-0.5}\""), read("\"${EMPTY}\"")), (0.25, 1.0, 0.5, 1.0));
}

#[test]
fn what_is_odd_about_a_collector_is_a_warning() {
    for (telemetry, expected) in [
        (
            "{otlp: 'http://127.0.0.1:4317'}",
            "8:19 telemetry.otlp: 4317 is the port for OTLP over gRPC, and traces are sent over HTTP | use the collector's port for HTTP, which is 4318 unless it was changed",
        ),
        (
            "{otlp: 'http://otel.internal:4318', headers: {X-Key: k}}",
            "8:19 telemetry.otlp: the headers go over plain http: they can be read on the way | use https://",
        ),
    ] {
        assert_eq!(told(&taken(&with(telemetry)).warnings), [expected], "{telemetry}");
    }
}

#[test]
fn each_fault_of_a_collector_is_told_with_its_place_and_mend() {
    let mut missed = Vec::new();
    let headers = |headers: &str| format!("{{otlp: 'http://localhost', headers: {headers}}}");
    for (telemetry, expected) in [
        ("{}".to_owned(), "8:1 telemetry: `otlp` is missing | add `otlp: http://127.0.0.1:4318`, the collector's URL"),
        ("yes please".to_owned(), "8:12 telemetry: must be a map, not text | write {otlp: http://127.0.0.1:4318}"),
        (
            "{otlp: 'localhost:4318'}".to_owned(),
            "8:19 telemetry.otlp: must begin with http:// or https:// | write https://host/path",
        ),
        (
            "{otlp: 'http://u:hunter2@localhost'}".to_owned(),
            "8:19 telemetry.otlp: must not hold a user name or password | take what is before the '@' out, and put it into a credential",
        ),
        (
            "{otlp: 'http://localhost', sample: 10%}".to_owned(),
            "8:47 telemetry.sample: must be a share from 0 to 1 | write 0.1 for a tenth, or 1 for all",
        ),
        (
            "{otlp: 'http://localhost', sample: 1.5}".to_owned(),
            "8:47 telemetry.sample: must be a share from 0 to 1 | write 0.1 for a tenth, or 1 for all",
        ),
        (
            "{otlp: 'http://localhost', service_name: ' a'}".to_owned(),
            "8:53 telemetry.service_name: must be 1 to 255 bytes on one line, without spaces around them | write a name such as tokenferry",
        ),
        (
            "{otlp: 'http://localhost', ca: ca.pem}".to_owned(),
            "8:39 telemetry.ca: is of no use without TLS | write `otlp: https://...`, or take it out",
        ),
        (
            "{otlp: 'http://localhost', endpoint: x}".to_owned(),
            "8:39 telemetry.endpoint: unknown field `endpoint` | known here: otlp, sample, headers, service_name, ca",
        ),
        (headers("[x]"), "8:39 telemetry.headers: must be a map, not a list | write {X-Tenant: acme}"),
        (
            headers("{'a b': hunter2}"),
            "8:49 telemetry.headers.a…: is not a header name | write letters, digits and '-', without a colon",
        ),
        (
            headers("{Content-Type: hunter2}"),
            "8:49 telemetry.headers.Content-Type: this header frames or describes what is sent | take it out",
        ),
        (
            headers("{Host: hunter2}"),
            "8:49 telemetry.headers.Host: this header frames or describes what is sent | take it out",
        ),
        (headers("{X-Key: '${EMPTY}'}"), "8:56 telemetry.headers.X-Key: is empty | give it a value, or take it out"),
        (
            headers("{X-Key: \"hunter2\\n3\"}"),
            "8:56 telemetry.headers.X-Key: has a character that a header cannot carry | write one line of visible characters",
        ),
        (
            headers("{X-Key: hunter2, x-key: hunter2}"),
            "8:65 telemetry.headers.x-key: this header is here twice | keep one of the two",
        ),
    ] {
        let told = told(&refused(&with(&telemetry)).list);
        assert!(!told.join(" ").contains("hunter2"));
        if !told.iter().any(|told| told == expected) {
            missed.push(format!("{telemetry}\n  expected {expected}\n  told     {told:#?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn its_fields_at_the_wrong_place_are_sent_home() {
    for (more, expected) in [
        ("otlp: http://localhost", "8:1 otlp: unknown field `otlp` | write it under `telemetry`"),
        ("tracing: {}", "8:1 tracing: unknown field `tracing` | write `telemetry: {otlp: URL}`"),
    ] {
        assert_eq!(told(&refused(&format!("{BASE}{more}\n")).list), [expected]);
    }
}

#[test]
fn no_header_of_a_collector_is_shown_anywhere() {
    let fields = "\n  otlp: https://otel.example.com\n  headers:\n    X-Key: CANARY1\n    authorization: Bearer CANARY2\n    x-scope: \"${SECRET}\"\n";
    let loaded = taken(&with(fields));
    let headers = &settings(&loaded).headers;
    assert_eq!(headers["authorization"], "Bearer CANARY2");
    assert!(headers.len() == 3 && headers.values().all(HeaderValue::is_sensitive));
    let shown = effective(&loaded, Format::Yaml);
    assert!(shown.contains("otlp: https://otel.example.com") && shown.contains("X-Key: '***'"), "{shown}");
    let all = [shown, effective(&loaded, Format::Json), format!("{:?}", loaded.settings)].concat();
    let refused = refused(&with(&format!("{fields}  smaple: 1\n  sample: x\n")));
    let all = [all, render(&refused.list, false), to_json(&refused.list).to_string()].concat();
    assert!(!all.contains("CANARY"), "{all}");
}
