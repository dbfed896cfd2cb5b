//! Row 9: paths that two servers could read differently. What matched is what is forwarded, byte for
//! byte; what could be read as another path is refused.

use crate::answers_of_its_own::is_problem;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, exchange};
use crate::harness::yaml::routes;

#[tokio::test]
async fn a_path_that_could_be_read_in_another_way_is_400_and_reaches_nobody() {
    let upstream = Wire::ok().await;
    let yaml = routes(&format!(
        "- {{name: pub, match: {{path: /pub}}, upstream: {0}, credential: fixed}}\n\
         - {{name: slashes, match: {{path: /slashes}}, upstream: {0}, credential: fixed, encoded_slash: allow}}\n\
         - {{name: no, match: {{path: /no}}, respond: 403}}\n\
         - {{name: admin, match: {{path: /admin}}, upstream: {0}, credential: fixed, access: {{api_keys: [{{name: a, key: k3y}}]}}}}\n",
        upstream.url("")
    ));
    let proxy = Proxy::start(&yaml).await;
    for path in [
        "/pub/../admin",
        "/pub/..",
        "/pub/.",
        "/pub/./x",
        "/..",
        "/pub/%2e%2e/admin",
        "/pub/%2E./admin",
        "/pub/.%2e",
        "/pub/..;/admin",
        "/pub/..;x=y/admin",
        "/pub/..%3bx/admin",
        "/pub/.;/x",
        "/pub\\..\\admin",
        "/pub/%5c../admin",
        "/pub/%5C",
        "/pub/%00",
        "/pub/x%00.html",
        "/pub/%",
        "/pub/%2",
        "/pub/%zz",
        "/pub/%2g",
        "/pub/%u002e",
        "/pub/..%2f..;/%2e%2e/admin",
        "/pub/a%2fb",
        "/pub/a%2Fb",
        "/pub%2f",
        "/no/a%2fb",
        "/nowhere%2f",
        "/slashes/..%2fx",
        "/slashes/%2f..",
        "/slashes/%2f%2e%2e%2f",
        "/pub/\x7f",
        "/pub/caf\u{e9}",
        "/pub?\u{e9}",
        "/pub?\x7f",
        "/pub?<",
    ] {
        let answer = exchange(proxy.address(), format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(answer.status(), 400, "{path:?}: {answer:?}");
    }
    assert_eq!(upstream.accepted(), 0);
    is_problem(&exchange(proxy.address(), "GET /pub/.. HTTP/1.1\r\nHost: x\r\n\r\n").await, 400, "bad_path");
    for path in ["/slashes/a%2Fb%2fc", "/slashes/%2f/x", "/slashes/...%2f"] {
        let answer = exchange(proxy.address(), format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(upstream.last().target(), &path["/slashes".len()..]);
    }
}

/// The routes of the table below.
const ROUTES: &str = "- {name: rest, upstream: UP/rest, credential: fixed, strip_prefix: false}\n\
    - {name: pub, match: {path: /pub}, upstream: UP/pub, credential: fixed, strip_prefix: false}\n\
    - {name: admin, match: {path: /admin}, upstream: UP/admin, credential: fixed, strip_prefix: false}\n\
    - {name: api, match: {path: /api}, upstream: UP/api, credential: fixed, strip_prefix: false, encoded_slash: allow}\n\
    - {name: exact, match: {path_exact: /exact}, upstream: UP/exact, credential: fixed, strip_prefix: false}\n\
    - {name: regex, match: {path_regex: '^/v[0-9]+/'}, upstream: UP/regex, credential: fixed, strip_prefix: false}\n\
    - {name: no, match: {path: /no}, respond: 403}";

const REST: &str = "rest";
const PUB: &str = "pub";
const ADMIN: &str = "admin";
const API: &str = "api";
const EXACT: &str = "exact";
const REGEX: &str = "regex";
/// Refused, and nothing reaches anybody.
const BAD: &str = "400";
/// Answered by its route.
const NO: &str = "403";

/// A request target as it is written, and the route that takes it.
#[rustfmt::skip]
const TABLE: [(&str, &str); 287] = [
    // What matches goes to its route, as it came.
    ("/", REST), ("/pub", PUB), ("/pub/", PUB), ("/pub/a", PUB), ("/pub/a/b/c", PUB), ("/pub//a", PUB),
    ("/pub//", PUB), ("/pub///a//", PUB), ("/pubx", REST), ("/pu", REST), ("/Pub", REST), ("/PUB/a", REST),
    ("/pub.", REST), ("/pub;x", REST), ("/pub;x/a", REST), ("/pub,a", REST), ("/admin", ADMIN),
    ("/admin/", ADMIN), ("/admin/x", ADMIN), ("/adminx", REST), ("/Admin", REST), ("/admin;", REST),
    ("/admin/;", ADMIN), ("//pub", REST), ("//admin", REST), ("///admin/x", REST), ("/x/admin", REST),
    ("/pub/admin", PUB), ("/admin/pub", ADMIN), ("/exact", EXACT), ("/exact/", REST), ("/exact/x", REST),
    ("/exactx", REST), ("/Exact", REST), ("//exact", REST), ("/v1/", REGEX), ("/v1/a", REGEX),
    ("/v12/a/b", REGEX), ("/v1", REST), ("/v/a", REST), ("/vx/a", REST), ("/v1x/a", REST), ("//v1/a", REST),
    ("/a/v1/b", REST),
    // Escapes of unreserved characters are those characters, and stay escapes on the way.
    ("/%70ub", PUB), ("/p%75b/a", PUB), ("/%70%75%62", PUB), ("/%61dmin", ADMIN), ("/%61%64%6d%69%6e", ADMIN),
    ("/%61%64%6D%69%6E/%78", ADMIN), ("/adm%69n", ADMIN), ("/%41dmin", REST), ("/%65xact", EXACT),
    ("/exac%74", EXACT), ("/%76%31/a", REGEX), ("/v%31/%61", REGEX), ("/pub/%61", PUB), ("/pub/%7e", PUB),
    ("/pub/%7Euser", PUB), ("/pub/%2d%5f", PUB), ("/pub/a%2eb", PUB), ("/pub/%2ewell-known", PUB),
    ("/pub/.well-known", PUB), ("/pub/...", PUB), ("/pub/%2e%2e%2e", PUB), ("/pub/..a", PUB), ("/pub/a..", PUB),
    ("/pub/a../b", PUB), ("/pub/..%2ea", PUB), ("/pub/.a./b", PUB), ("/pub/..,/b", PUB), ("/pub/..:/b", PUB),
    ("/pub/..=;/b", PUB), ("/pub/a;..", PUB), ("/pub/a;/..b", PUB), ("/pub/;..", PUB), ("/pub/;/;", PUB),
    // Reserved ones are not: another server may tell them apart.
    ("/pub%3b", REST), ("/pub/%3b", PUB), ("/pub/a%3Ab", PUB), ("/pub/%40", PUB), ("/pub/%26%3d%2b", PUB),
    ("/pub/%20", PUB), ("/pub/a%20b", PUB), ("/pub/%3f", PUB), ("/pub/%3Fa=b", PUB), ("/pub/%23", PUB),
    ("/pub/%23a", PUB), ("/pub/%25", PUB), ("/pub/%22%3c%3e", PUB), ("/pub/%7b%7c%7d", PUB),
    ("/pub/%c3%a9", PUB), ("/pub/%C3%A9", PUB), ("/pub/%ff", PUB), ("/pub/%c0%af", PUB),
    ("/pub/%e0%80%af", PUB), ("/pub/%c0%ae%c0%ae/", PUB), ("/pub/%7f", PUB), ("/pub/%01", PUB),
    ("/pub/%09", PUB), ("/pub/%0a", PUB), ("/pub/%0d%0a", PUB), ("/pub/%0d%0aHost:%20evil", PUB),
    ("/pub%20", REST), ("/pub%09/a", REST), ("/pub%0a", REST),
    // Twice escaped is once escaped.
    ("/pub/%252e%252e/admin", PUB), ("/pub/%252f", PUB), ("/pub/%252fadmin", PUB), ("/pub/%255c", PUB),
    ("/pub/%2500", PUB), ("/pub/%25", PUB), ("/%2561dmin", REST), ("/%252e%252e/admin", REST),
    ("/pub/%25252e", PUB),
    // Dot segments in any spelling.
    ("/.", BAD), ("/..", BAD), ("/./", BAD), ("/../", BAD), ("/pub/.", BAD), ("/pub/..", BAD), ("/pub/./", BAD),
    ("/pub/../", BAD), ("/pub/./a", BAD), ("/pub/../admin", BAD), ("/pub/a/../../admin", BAD),
    ("/pub/../pub/a", BAD), ("/./pub", BAD), ("/../pub", BAD), ("//../admin", BAD), ("/pub//../admin", BAD),
    ("/pub/..//admin", BAD), ("/pub/%2e", BAD), ("/pub/%2E", BAD), ("/pub/%2e/", BAD), ("/pub/%2e%2e", BAD),
    ("/pub/%2e%2e/", BAD), ("/pub/%2e%2e/admin", BAD), ("/pub/%2E%2E/admin", BAD), ("/pub/.%2e/admin", BAD),
    ("/pub/%2e./admin", BAD), ("/pub/%2E.", BAD), ("/%2e/pub", BAD), ("/%2e%2e/admin", BAD),
    ("/admin/%2e%2e/pub", BAD), ("/pub/..;", BAD), ("/pub/..;/", BAD), ("/pub/..;/admin", BAD),
    ("/pub/..;x/admin", BAD), ("/pub/..;x=y/admin", BAD), ("/pub/..;x;y/admin", BAD), ("/pub/.;/admin", BAD),
    ("/pub/.;x/", BAD), ("/..;/admin", BAD), ("/pub/%2e%2e;/admin", BAD), ("/pub/%2e%2e;x/admin", BAD),
    ("/pub/..%3b/admin", BAD), ("/pub/..%3Bx/admin", BAD), ("/pub/%2e%2e%3b/admin", BAD), ("/pub/.%3b/", BAD),
    ("/exact/..", BAD), ("/exact/.", BAD), ("/v1/..", BAD), ("/v1/../admin", BAD), ("/v1/%2e%2e/admin", BAD),
    ("/no/..", BAD), ("/no/../pub", BAD),
    // Slashes that are none.
    ("/pub%2f", BAD), ("/pub%2fa", BAD), ("/pub%2Fa", BAD), ("/pub/%2f", BAD), ("/pub/%2F", BAD),
    ("/pub/a%2fb", BAD), ("/pub/a%2Fb/c", BAD), ("/%2fpub", BAD), ("/%2fadmin", BAD), ("/%2Fadmin", BAD),
    ("/pub%2f..%2fadmin", BAD), ("/pub/..%2f", BAD), ("/pub/..%2fadmin", BAD),
    ("/pub/..%2f..;/%2e%2e/admin", BAD), ("/pub/%2f..%2fadmin", BAD), ("/admin%2f", BAD), ("/admin%2fx", BAD),
    ("/exact%2f", BAD), ("/exact%2fx", BAD), ("/v1%2fa", BAD), ("/v1/%2fa", BAD), ("/no%2fx", BAD),
    ("/no/%2f", BAD), ("/nowhere%2f", BAD), ("/pub\\a", BAD), ("/pub\\..\\admin", BAD), ("/pub/\\", BAD),
    ("/\\admin", BAD), ("\\admin", BAD), ("/pub%5c", BAD), ("/pub%5Ca", BAD), ("/pub/%5c..%5cadmin", BAD),
    ("/pub/..%5cadmin", BAD), ("/pub/..\\admin", BAD), ("/%5cadmin", BAD), ("/pub/%2e%2e%5c", BAD),
    // Slashes that a route allows, but none that hides a dot segment.
    ("/api/a%2fb", API), ("/api/a%2Fb", API), ("/api/%2f", API), ("/api/%2f%2f", API), ("/api/%2fadmin", API),
    ("/api/...%2f", API), ("/api/a%2f...", API), ("/%61pi/%2f", API), ("/api/;%2f", API), ("/api/..%2f", BAD),
    ("/api/..%2fadmin", BAD), ("/api/%2f..", BAD), ("/api/%2f..%2f", BAD), ("/api/%2f%2e%2e", BAD),
    ("/api/%2f%2e%2e%2fadmin", BAD), ("/api/%2F.%2F", BAD), ("/api/a%2f.", BAD), ("/api/a%2f..;x", BAD),
    ("/api/a%2f..%3bx%2fb", BAD), ("/api/%5c", BAD), ("/api%2fa", BAD),
    // Bytes that end a path for some.
    ("/pub/%00", BAD), ("/pub%00", BAD), ("/pub/a%00.html", BAD), ("/pub/%00/admin", BAD), ("/%00", BAD),
    ("/admin%00", BAD), ("/exact%00", BAD), ("/v1/%00", BAD), ("/api/%00", BAD), ("/pub/\x7f", BAD),
    ("/pub/caf\u{e9}", BAD), ("/pub/\u{ff0e}\u{ff0e}/admin", BAD), ("/pub/\u{2215}admin", BAD),
    ("\u{ff0f}admin", BAD),
    // Escapes that are none.
    ("/pub/%", BAD), ("/pub/%2", BAD), ("/pub/%zz", BAD), ("/pub/%2g", BAD), ("/pub/%g2", BAD),
    ("/pub/% 2", BAD), ("/pub/%%32e", BAD), ("/pub/%u002e", BAD), ("/pub/%u2215", BAD), ("/pub/%+2", BAD),
    ("/pub/%-1", BAD), ("/pub/a%", BAD), ("/%", BAD), ("/pub/%2%65", BAD), ("/pub/%x2e", BAD),
   
    // What is no path.
    ("pub", BAD), ("pub/a", BAD), ("./pub", BAD), ("../admin", BAD), ("*", BAD), ("**", BAD), ("?x", BAD),
    ("@/pub", BAD), ("admin", BAD),
    // A query is no path, and a fragment is nothing.
    ("/pub?/../admin", PUB), ("/pub?%2e%2e%2f", PUB), ("/pub?a=%00", PUB), ("/pub?", PUB), ("/pub??", PUB),
    ("/pub/?admin", PUB), ("/?/admin", REST), ("/admin?x=/pub", ADMIN), ("/exact?a", EXACT),
    ("/exact?/", EXACT), ("/v1/?", REGEX), ("/pub/..?x", BAD), ("/pub/%2f?x", BAD), ("/pub/..;?x", BAD),
    ("/pub?\u{e9}", BAD), ("/pub?\x7f", BAD),
    // A route that answers by itself does so in every spelling.
    ("/no", NO), ("/no/", NO), ("/no/x", NO), ("/%6eo", NO), ("/n%6f/x", NO), ("/no?x", NO), ("/nox", REST),
    ("/no;", REST), ("/No", REST),
];

#[tokio::test]
async fn every_path_leads_to_one_route_as_it_came_or_is_refused() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&routes(&ROUTES.replace("UP", &upstream.url("")))).await;
    let mut client = End::connect(proxy.address()).await;
    let mut wrong = Vec::new();
    for (raw, route) in TABLE {
        let before = upstream.seen().len();
        client.send(format!("GET {raw} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        let answer = client.answer().await;
        let came: Vec<_> = upstream.seen().split_off(before).iter().map(|seen| seen.target().to_owned()).collect();
        let expected = match route {
            BAD => (400, vec![]),
            NO => (403, vec![]),
            route => (200, vec![format!("/{route}{raw}")]),
        };
        if (answer.status(), came.clone()) != expected {
            wrong.push(format!("{raw:?}: {} {came:?}, not {expected:?}", answer.status()));
        }
        if answer.header("connection").is_some_and(|c| c.eq_ignore_ascii_case("close")) {
            client = End::connect(proxy.address()).await;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Where the prefix is cut off, it is the prefix that is cut off, however it was spelled.
#[tokio::test]
async fn a_prefix_is_cut_off_by_segments_and_the_rest_is_forwarded_byte_for_byte() {
    let upstream = Wire::ok().await;
    let list = format!(
        "- {{name: deep, match: {{path: /a/b}}, upstream: {0}/base, credential: fixed}}\n\
         - {{name: pub, match: {{path: /pub}}, upstream: {0}, credential: fixed}}\n",
        upstream.url("")
    );
    let proxy = Proxy::start(&routes(&list)).await;
    for (raw, went) in [
        ("/a/b", "/base"),
        ("/a/b/", "/base/"),
        ("/%61/%62/c", "/base/c"),
        ("/a/b//c", "/base//c"),
        ("/a/b/%61/%2e%2e%2e", "/base/%61/%2e%2e%2e"),
        ("/a/b/c;d=e/f%3bg", "/base/c;d=e/f%3bg"),
        ("/pub", "/"),
        ("/pub//evil.example/x", "//evil.example/x"),
        ("/pub/@evil.example", "/@evil.example"),
        ("/%70%75%62/%61%c3%A9?q=%2F..", "/%61%c3%A9?q=%2F.."),
    ] {
        let answer = exchange(proxy.address(), format!("GET {raw} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!((answer.status(), upstream.last().target()), (200, went), "{raw}");
    }
    assert_eq!(upstream.accepted(), 1);
}
