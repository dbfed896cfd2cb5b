use proptest::prelude::*;

use super::*;

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let line =
        |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
    lines.iter().map(line).collect()
}

/// What a request's headers become, by what is seen in them.
fn forwarded(headers: &mut HeaderMap, peer: &Peer, host: Option<&HeaderValue>, via: &HeaderValue) {
    set_forwarded(headers, Survey::of(headers), peer, host, via);
}

/// Sorted `name: value` lines.
fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> = headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
    lines.sort();
    lines
}

#[test]
fn hop_by_hop_and_framing_headers_go_and_all_others_stay() {
    let mut headers = map(&[
        ("Connection", "keep-alive"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic x"),
        ("Proxy-Authenticate", "Basic"),
        ("Proxy-Authentication-Info", "x"),
        ("TE", "gzip"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ("Content-Length", "5"),
        ("Expect", "100-continue"),
        ("Accept", "a"),
        ("Accept", "b"),
        ("Content-Type", "x/y"),
        ("Cookie", "a=b"),
        ("Max-Forwards", "3"),
        ("Trailer", "X-Sum"),
        ("Proxy-Status", "x"),
        ("X-Custom_Name", "y"),
    ]);
    assert_eq!(clean_request(&mut headers), Cleaned { trailers: false });
    assert_eq!(
        lines(&headers),
        [
            "accept: a",
            "accept: b",
            "content-type: x/y",
            "cookie: a=b",
            "max-forwards: 3",
            "proxy-status: x",
            "trailer: X-Sum",
            "x-custom_name: y",
        ]
    );
}

/// Threats row 2: HTTP/1 servers that read `_` as `-` would take these for framing.
#[test]
fn framing_headers_spelled_with_underscores_go() {
    let mut headers = map(&[
        ("transfer_encoding", "chunked"),
        ("content_length", "5"),
        ("proxy_authorization", "x"),
        ("keep_alive", "x"),
        ("content_type", "stays"),
    ]);
    clean_request(&mut headers);
    assert_eq!(lines(&headers), ["content_type: stays"]);
}

/// Threats row 5, Traefik's CVE-2024-45410: nominating takes away what the client sent, never what is set later.
#[test]
fn nominating_a_header_cannot_take_away_what_is_set_afterwards() {
    let mut headers = map(&[
        ("Connection", "close, Host , content-length,cookie"),
        ("Connection", "Authorization,X-Forwarded-For,via,,  ,x y,TE, \"q\""),
        ("Host", "a"),
        ("Content-Length", "5"),
        ("Cookie", "a=b"),
        ("Authorization", "mine"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("Via", "1.0 b"),
        ("TE", "trailers"),
        ("Accept", "c"),
    ]);
    assert_eq!(clean_request(&mut headers), Cleaned { trailers: true });
    assert_eq!(lines(&headers), ["accept: c"]);

    forwarded(
        &mut headers,
        &Peer::new("192.0.2.1".parse().ok(), true),
        Some(&HeaderValue::from_static("a")),
        &HeaderValue::from_static("1.1 t"),
    );
    assert_eq!(
        lines(&headers),
        ["accept: c", "via: 1.1 t", "x-forwarded-for: 192.0.2.1", "x-forwarded-host: a", "x-forwarded-proto: https"]
    );
}

#[test]
fn trailers_are_asked_for_by_te_trailers_alone() {
    for (te, trailers) in [
        ("trailers", true),
        ("Trailers", true),
        ("gzip;q=0.5, trailers", true),
        ("gzip", false),
        ("trailers;q=1", false),
        ("", false),
    ] {
        assert_eq!(clean_request(&mut map(&[("te", te)])), Cleaned { trailers }, "{te}");
    }
}

#[test]
fn an_answer_keeps_its_length_and_loses_what_was_for_this_hop() {
    let mut headers = map(&[
        ("Connection", "close, X-Internal, content-length"),
        ("X-Internal", "1"),
        ("Keep-Alive", "x"),
        ("Transfer-Encoding", "chunked"),
        ("transfer_encoding", "chunked"),
        ("Upgrade", "x"),
        ("Proxy-Authenticate", "Basic"),
        ("Content-Length", "5"),
        ("Set-Cookie", "a"),
        ("Set-Cookie", "b"),
        ("Trailer", "grpc-status"),
        ("WWW-Authenticate", "Bearer"),
    ]);
    clean_response(&mut headers, StatusCode::OK, Version::HTTP_2);
    assert_eq!(
        lines(&headers),
        ["content-length: 5", "set-cookie: a", "set-cookie: b", "trailer: grpc-status", "www-authenticate: Bearer"]
    );
}

/// Threats row 14: over HTTP/2 a length means nothing, and a client's next hop may heed it.
#[test]
fn no_answer_without_content_has_a_length_and_no_name_is_none_of_http_1() {
    for (status, length) in [(200, true), (204, false), (101, false), (304, true), (205, true)] {
        let mut headers = map(&[("content-length", "5"), ("accept", "a")]);
        headers.insert(HeaderName::from_lowercase(b"x\"y").unwrap(), HeaderValue::from_static("1"));
        clean_response(&mut headers, StatusCode::from_u16(status).unwrap(), Version::HTTP_2);
        assert_eq!(headers.contains_key(CONTENT_LENGTH), length, "{status}");
        assert!(headers.contains_key("accept") && headers.len() == 1 + usize::from(length), "{headers:?}");
    }
}

/// Row 6 and CVE-2025-64484: nothing that the client said of its way here is believed.
#[test]
fn what_the_client_says_of_its_way_is_replaced_or_dropped() {
    let client = [
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-For", "7.7.7.7"),
        ("X_Forwarded_For", "6.6.6.6"),
        ("x-forwarded_for", "6.6.6.6"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil"),
        ("x_forwarded_host", "evil"),
        ("X-Forwarded-Port", "1"),
        ("X-Forwarded-Server", "x"),
        ("X-Forwarded-Prefix", "/x"),
        ("X-Forwarded-Client-Cert", "x"),
        ("X-Forwarded", "x"),
        ("X_Forwarded_User", "admin"),
        ("Forwarded", "for=6.6.6.6"),
        ("X-Real-IP", "6.6.6.6"),
        ("x_real_ip", "6.6.6.6"),
    ];
    let others = [
        ("X-Forwardedness", "stays"),
        ("X-Real-Ipsum", "stays"),
        ("X", "stays"),
        ("From", "stays"),
        ("Forward", "stays"),
    ];
    let (host, via) = (HeaderValue::from_static("CRM.internal:8080"), HeaderValue::from_static("1.1 t"));

    let mut headers = map(&[&client[..], &others[..]].concat());
    forwarded(&mut headers, &Peer::new("::ffff:192.0.2.1".parse().ok(), false), Some(&host), &via);
    assert_eq!(
        lines(&headers),
        [
            "forward: stays",
            "from: stays",
            "via: 1.1 t",
            "x-forwarded-for: 192.0.2.1",
            "x-forwarded-host: CRM.internal:8080",
            "x-forwarded-proto: http",
            "x-forwardedness: stays",
            "x-real-ipsum: stays",
            "x: stays",
        ]
    );

    let mut headers = map(&client);
    forwarded(&mut headers, &Peer::new(None, true), None, &via);
    assert_eq!(lines(&headers), ["via: 1.1 t", "x-forwarded-proto: https"], "what is not known is not said");

    let mut headers = HeaderMap::new();
    forwarded(&mut headers, &Peer::new("2001:db8::1".parse().ok(), true), None, &via);
    assert_eq!(headers["x-forwarded-for"], "2001:db8::1");
}

#[test]
fn via_is_added_to_and_tells_a_loop() {
    let name = "tokenferry-1a2b";
    let ours = via(Version::HTTP_11, name).unwrap();
    assert_eq!(ours, "1.1 tokenferry-1a2b");
    assert_eq!(via(Version::HTTP_10, "x").unwrap(), "1.0 x");
    assert_eq!(via(Version::HTTP_2, "x").unwrap(), "2.0 x");
    assert_eq!(via(Version::HTTP_2, "x\n"), None);

    let mut headers = map(&[("Via", "1.0 fred"), ("Via", "HTTP/1.1 p.example.net (Apache, 1.1)")]);
    assert!(!has_been_here(&headers, name));
    forwarded(&mut headers, &Peer::new(None, false), None, &ours);
    assert_eq!(
        headers.get_all(VIA).iter().collect::<Vec<_>>(),
        ["1.0 fred, HTTP/1.1 p.example.net (Apache, 1.1), 1.1 tokenferry-1a2b"]
    );
    assert!(has_been_here(&headers, name));

    for (line, here) in [
        ("1.1 tokenferry-1a2b", true),
        ("1.1\tTokenFerry-1A2B (comment)", true),
        ("1.0 a,2.0   tokenferry-1a2b,1.1 c", true),
        ("1.1 a (never closed, 1.1 tokenferry-1a2b", true),
        ("1.1 tokenferry-1a2bc", false),
        ("1.1 x-tokenferry-1a2b", false),
        ("1.1 tokenferry", false),
        ("tokenferry-1a2b", false),
        ("1.1 a (tokenferry-1a2b)", false),
        ("1.1 a tokenferry-1a2b", false),
        ("", false),
        (", ,", false),
    ] {
        assert_eq!(has_been_here(&map(&[("via", line)]), name), here, "{line}");
    }
}

/// Threats row 6: trailers may never carry a credential or framing name.
#[test]
fn trailers_lose_framing_routing_and_credentials_and_keep_the_rest() {
    let places = [
        Place::Header { name: HeaderName::from_static("x-vendor-token"), scheme: None },
        Place::Query { name: "grpc-status".to_owned() },
    ];
    let edits = HeaderEdits {
        set: vec![(HeaderName::from_static("x-tenant"), HeaderValue::from_static("acme"))],
        remove: vec![HeaderName::from_static("x-internal")],
    };
    let mut trailers = map(&[
        ("grpc-status", "0"),
        ("grpc-message", "ok"),
        ("x-checksum", "1"),
        ("server-timing", "x"),
        ("Authorization", "Bearer evil"),
        ("X-Vendor-Token", "evil"),
        ("x_vendor_token", "evil"),
        ("X-Api-Key", "evil"),
        ("X-Tenant", "evil"),
        ("x_tenant", "evil"),
        ("x_internal", "evil"),
        ("Content-Length", "5"),
        ("content_length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("Host", "evil"),
        ("Cookie", "a"),
        ("Set-Cookie", "a"),
        ("Connection", "x-checksum"),
        ("Content-Type", "x"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("Via", "x"),
        ("Trailer", "x"),
    ]);
    clean_trailers(&mut trailers, &barred(&places, &edits));
    assert_eq!(lines(&trailers), ["grpc-message: ok", "grpc-status: 0", "server-timing: x", "x-checksum: 1"]);
}

#[test]
fn edits_remove_first_and_then_set() {
    let mut headers = map(&[("cookie", "a"), ("cookie", "b"), ("x-source", "1"), ("x-source", "2"), ("accept", "c")]);
    let name = HeaderName::from_static;
    let edits = HeaderEdits {
        set: vec![
            (name("x-source"), HeaderValue::from_static("legacy")),
            (name("x-new"), HeaderValue::from_static("1")),
        ],
        remove: vec![name("cookie"), name("x-new"), name("x-none")],
    };
    apply_edits(&mut headers, &edits);
    assert_eq!(lines(&headers), ["accept: c", "x-new: 1", "x-source: legacy"]);
}

/// Threats row 4: only what is nominated, and never HTTP/2.
#[test]
fn an_upgrade_counts_only_where_connection_nominates_it_and_h2c_never() {
    for (connection, upgrade, protocol) in [
        (Some("Upgrade"), Some("websocket"), Some("websocket")),
        (Some("keep-alive, UPGRADE"), Some("WebSocket"), Some("WebSocket")),
        (Some("upgrade"), Some("websocket, foo"), Some("websocket")),
        (Some("upgrade"), Some("h2c"), None),
        (Some("Upgrade, HTTP2-Settings"), Some("H2C"), None),
        (Some("upgrade"), Some("h2c, websocket"), None),
        (Some("upgrade"), Some("HTTP/2.0"), None),
        (Some("upgrade"), Some(""), None),
        (Some("upgrade"), None, None),
        (Some("keep-alive"), Some("websocket"), None),
        (Some("upgraded"), Some("websocket"), None),
        (None, Some("websocket"), None),
    ] {
        let lines: Vec<_> =
            [("connection", connection), ("upgrade", upgrade)].into_iter().filter_map(|(n, v)| Some((n, v?))).collect();
        assert_eq!(requested_upgrade(&map(&lines)), protocol, "{lines:?}");
    }
    let mut headers = HeaderMap::new();
    set_upgrade(&mut headers, HeaderValue::from_static("websocket"));
    assert_eq!(requested_upgrade(&headers), Some("websocket"));
}

proptest! {
    #[test]
    fn no_hop_header_survives_and_nothing_else_is_lost(
        names in prop::collection::vec(prop_oneof![
            prop::sample::select(vec![
                "connection", "te", "transfer-encoding", "transfer_encoding", "content-length", "expect", "upgrade", "keep-alive",
                "proxy-connection", "proxy_connection", "http2-settings", "proxy-authorization", "a", "b-c", "b_c", "x-forwarded-for",
            ]).prop_map(str::to_owned),
            "[a-z_-]{1,19}",
        ], 0..24),
        nominated in prop::collection::vec(prop::sample::select(vec!["a", "B-C", "close", "te", "", "b_c"]), 0..4),
    ) {
        let mut headers = HeaderMap::new();
        for name in names.iter().filter(|name| *name != "connection") {
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("v"));
        }
        headers.insert(CONNECTION, nominated.join(",").parse().unwrap());
        let is_hop = |name: &str| HOP.iter().any(|hop| hop.as_str() == name.replace('_', "-"));
        let mut expected = headers.clone();
        for name in headers.keys() {
            if is_hop(name.as_str()) || nominated.iter().any(|n| n.eq_ignore_ascii_case(name.as_str())) {
                expected.remove(name);
            }
        }
        clean_request(&mut headers);
        prop_assert_eq!(&headers, &expected);
        clean_request(&mut headers);
        prop_assert_eq!(headers, expected, "once is enough");
    }

    #[test]
    fn no_header_value_panics(value in prop::collection::vec(prop_oneof![Just(b'\t'), 0x20..0x7fu8, 0x80..=0xffu8], 0..40)) {
        let value = HeaderValue::from_bytes(&value).unwrap();
        let mut headers = HeaderMap::new();
        for name in ["connection", "te", "via", "upgrade", "forwarded"] {
            headers.append(name, value.clone());
            headers.append(name, value.clone());
        }
        has_been_here(&headers, "x");
        requested_upgrade(&headers);
        clean_response(&mut headers.clone(), StatusCode::NO_CONTENT, Version::HTTP_2);
        clean_trailers(&mut headers.clone(), &[]);
        let mut onward = headers.clone();
        forwarded(&mut onward, &Peer::new(None, false), Some(&value), &HeaderValue::from_static("1.1 x"));
        prop_assert!(has_been_here(&onward, "x"));
        clean_request(&mut headers);
        prop_assert!(!headers.contains_key(CONNECTION));
    }
}
