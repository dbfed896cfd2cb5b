//! Row 21: TRACE, which would echo the credential; `Max-Forwards`; `OPTIONS *`.

use crate::answers_of_its_own::is_problem;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{Wire, exchange};
use crate::harness::yaml::{TOKEN, one_route};

#[tokio::test]
async fn connect_and_trace_are_answered_405_and_reach_nobody() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    for head in ["TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n"] {
        let answer = exchange(proxy.address(), head).await;
        is_problem(&answer, 405, "method_not_forwarded");
        assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{answer:?}");
    }
    assert_eq!(upstream.accepted(), 0);
}

#[tokio::test]
async fn trace_in_no_form_reaches_anybody_or_shows_a_credential() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    for head in [
        "TRACE / HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n",
        "TRACE / HTTP/1.1\r\nHost: x\r\nMax-Forwards: 10\r\n",
        "TRACE http://x/ HTTP/1.1\r\nHost: x\r\n",
        "TRACE * HTTP/1.1\r\nHost: x\r\n",
        "TRACE / HTTP/1.0\r\n",
        // Methods have a case (RFC 9110 section 9.1), but not to every server; IIS knew another name.
        "trace / HTTP/1.1\r\nHost: x\r\n",
        "Trace / HTTP/1.1\r\nHost: x\r\n",
        "TRACK / HTTP/1.1\r\nHost: x\r\n",
        "TRACE / HTTP/1.1\r\nHost: x\r\nCookie: secret=1\r\nAuthorization: Bearer mine\r\n",
    ] {
        let answer = exchange(proxy.address(), format!("{head}\r\n")).await;
        assert!([400, 405].contains(&answer.status()), "{head:?}: {answer:?}");
        let told = format!("{answer:?}");
        assert!(!told.contains(TOKEN) && !told.contains("secret=1") && !told.contains("mine"), "{head:?}: {told}");
        assert_ne!(answer.header("content-type"), Some("message/http"), "{head:?}");
    }
    assert_eq!(upstream.accepted(), 0);
}

#[tokio::test]
async fn options_goes_as_far_as_max_forwards_says() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    for lines in ["Max-Forwards: 0\r\n", "max-forwards: 000\r\n"] {
        let answer = exchange(proxy.address(), format!("OPTIONS /a HTTP/1.1\r\nHost: x\r\n{lines}\r\n")).await;
        assert_eq!((answer.status(), answer.text().as_str()), (204, ""), "{answer:?}");
        assert!(!format!("{answer:?}").contains(TOKEN));
    }
    assert_eq!(upstream.accepted(), 0);
    for (method, sent, went) in [
        ("OPTIONS", "Max-Forwards: 1\r\n", vec!["0"]),
        ("OPTIONS", "Max-Forwards: 10\r\n", vec!["9"]),
        ("OPTIONS", "Max-Forwards: 99999999999999999999999\r\n", vec!["18446744073709551614"]),
        ("OPTIONS", "", vec![]),
        // What is no number bounds nothing, and goes no further.
        ("OPTIONS", "Max-Forwards: -1\r\n", vec![]),
        ("OPTIONS", "Max-Forwards: x\r\n", vec![]),
        ("OPTIONS", "Max-Forwards: 0\r\nMax-Forwards: 5\r\n", vec![]),
        // To other methods it says nothing.
        ("GET", "Max-Forwards: 0\r\n", vec!["0"]),
    ] {
        let answer = exchange(proxy.address(), format!("{method} /a HTTP/1.1\r\nHost: x\r\n{sent}\r\n")).await;
        assert_eq!(answer.status(), 200, "{method} {sent:?}");
        assert_eq!(upstream.last().all("max-forwards"), went, "{method} {sent:?}");
    }
}

#[tokio::test]
async fn a_closed_route_does_not_answer_options_to_strangers() {
    let upstream = Wire::ok().await;
    let more = "access: {api_keys: [{name: a, key: k3y}]}";
    let proxy = Proxy::start(&one_route(&upstream.url(""), more)).await;
    let answer = exchange(proxy.address(), "OPTIONS / HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n").await;
    is_problem(&answer, 401, "key_required");
}

/// As nginx does: it is a question to a server, and what is behind this one is another.
#[tokio::test]
async fn the_asterisk_is_400_and_no_route() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    for head in [
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n",
        "OPTIONS * HTTP/1.0\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n",
        "OPTIONS ** HTTP/1.1\r\nHost: x\r\n",
        "GET * HTTP/1.1\r\nHost: x\r\n",
    ] {
        assert_eq!(exchange(proxy.address(), format!("{head}\r\n")).await.status(), 400, "{head:?}");
    }
    assert_eq!(upstream.accepted(), 0);
}
