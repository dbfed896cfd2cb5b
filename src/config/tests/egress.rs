//! The proxy on the way out: the field, the environment, and what is said of them.

use super::*;
use crate::model::EgressProxy;

const ROUTE: &str = "upstream: https://api.example.com/v1";

/// `BASE` with a login, and with this in place of the route's upstream.
fn file(upstream: &str, credential: &str) -> String {
    let login = format!(
        "{{provider: oauth2, token_url: 'https://login.example.com/t', client_id: a, client_secret: b{credential}}}"
    );
    BASE.replace(ROUTE, upstream).replace("{provider: static, token: x}", &login)
}

fn load(yaml: &str, variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let environment = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, text)| (*text).to_owned());
    load_bytes(Path::new("proxy.yaml"), yaml.as_bytes(), &environment)
}

/// The route's proxy and the credential's, each with the variable that names it.
fn chosen(yaml: &str, variables: &[(&str, &str)]) -> [Option<(String, Option<&'static str>)>; 2] {
    let settings = load(yaml, variables).unwrap_or_else(|problems| panic!("{problems}")).settings;
    let RouteAction::Forward(forward) = &settings.routes[0].action else { panic!("responds") };
    [&forward.egress, &settings.credentials["key"].egress]
        .map(|egress| egress.as_ref().map(|egress| (egress.proxy.to_string(), egress.variable)))
}

#[test]
fn the_field_goes_before_the_environment_and_none_before_both() {
    let some = |url: &str, variable| Some((url.to_owned(), variable));
    let environment = [("HTTPS_PROXY", "http://env:3128"), ("NO_PROXY", "excepted.example.com")];
    let map = |more: &str| format!("upstream: {{url: https://api.example.com/v1{more}}}");
    assert_eq!(chosen(BASE, &[]), [None, None]);
    assert_eq!(chosen(&file(ROUTE, ""), &environment), [(); 2].map(|()| some("http://env:3128", Some("HTTPS_PROXY"))));
    let field = ", proxy: 'http://u:p@field:1'";
    assert_eq!(chosen(&file(&map(field), ""), &environment)[0], some("http://***@field:1", None));
    assert_eq!(chosen(&file(ROUTE, field), &environment)[1], some("http://***@field:1", None));
    assert_eq!(chosen(&file(&map(", proxy: none"), ", proxy: none"), &environment), [None, None]);
    let excepted = "upstream: https://excepted.example.com/v1";
    assert_eq!(chosen(&file(excepted, ""), &environment)[0], None);
    // What is written is meant, also for an exception and for this machine.
    for url in ["https://excepted.example.com", "https://127.0.0.1:8443"] {
        let written = format!("upstream: {{url: '{url}'{field}}}");
        assert_eq!(chosen(&file(&written, ""), &environment)[0], some("http://***@field:1", None));
    }
    assert_eq!(chosen(&file("upstream: https://127.0.0.1:8443", ""), &environment)[0], None);
    assert_eq!(
        chosen(&file(&map(", proxy: '${P}'"), ""), &[("P", "http://u:p@ref:1")])[0],
        some("http://***@ref:1", None)
    );
}

#[test]
fn what_is_no_proxy_is_refused_with_what_to_write_and_without_what_was_written() {
    const WRITE: &str =
        "write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, odd characters of them as %XX; or none";
    for (written, message, mend) in [
        ("proxy.example:3128", "must begin with http://", WRITE),
        ("direct", "is not the URL of a proxy", "write `none` for no proxy"),
        ("''", "is not the URL of a proxy", "write `none` for no proxy"),
        (
            "socks5://u:CANARY@p:1",
            "is a SOCKS proxy, which is not spoken",
            "write the http:// address of a proxy that takes CONNECT",
        ),
        (
            "https://u:CANARY@p:1",
            "is a proxy by https://, which is not spoken",
            "write http://: what goes to an https upstream is encrypted in the tunnel through it all the same",
        ),
        ("http://u:CAN/ARY@p:1", "must not have a path, a query or a fragment", WRITE),
        ("http://:CANARY@p:1", "has no valid user and password", WRITE),
        ("http://u:CANARY@p:x", "has a port that is none", WRITE),
    ] {
        let upstream = format!("upstream: {{url: https://api.example.com/v1, proxy: {written}}}");
        for (yaml, place) in [
            (file(&upstream, ""), "6:56 routes[0].upstream.proxy"),
            (file(ROUTE, &format!(", proxy: {written}")), "3:108 credentials.key.proxy"),
        ] {
            let problems = load(&yaml, &[]).unwrap_err();
            assert_eq!(told(&problems.list), [format!("{place}: {message} | {mend}")], "{written}");
            let shown = render(&problems.list, false);
            assert!(!shown.contains("CANARY") && !shown.contains("ARY"), "{shown}");
        }
    }
    let beside = BASE.replace(ROUTE, &format!("{ROUTE}\n    proxy: http://p:1"));
    let told = told(&load(&beside, &[]).unwrap_err().list);
    assert_eq!(told, ["7:5 routes[0].proxy: unknown field `proxy` | write it under `upstream`, beside its `url`"]);
}

#[test]
fn a_proxy_of_the_environment_that_cannot_be_spoken_to_is_told_once_and_only_where_it_counts() {
    let variables = [("ALL_PROXY", "socks5://u:CANARY@p:1")];
    let problems = load(&file(ROUTE, ""), &variables).unwrap_err();
    let told = told(&problems.list);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("ALL_PROXY is in force here, and is a SOCKS proxy, which is not spoken"), "{told:?}");
    assert!(!render(&problems.list, false).contains("CANARY"));
    for yaml in [
        file("upstream: {url: https://api.example.com, proxy: none}", ", proxy: 'http://p:1'"),
        file("upstream: http://127.0.0.1:1", ", proxy: none"),
    ] {
        assert!(load(&yaml, &variables).is_ok(), "{yaml}");
    }
}

#[test]
fn a_secret_in_plain_http_through_a_proxy_is_warned_of() {
    let warnings = |yaml: &str, variables: &[(&str, &str)]| told(&load(yaml, variables).unwrap().warnings);
    let token = "the token goes over plain http through an egress proxy, which can read it \
                 | use https://, or write `proxy: none` under `upstream`";
    for (upstream, variables, place) in [
        ("upstream: {url: 'http://10.0.0.1', proxy: 'http://p:1'}", &[][..], "6:21 routes[0].upstream.url"),
        // This machine's own, and all the same another one sees it.
        ("upstream: {url: 'http://127.0.0.1', proxy: 'http://p:1'}", &[], "6:21 routes[0].upstream.url"),
        ("upstream: http://10.0.0.1", &[("http_proxy", "p:1")], "6:15 routes[0].upstream"),
    ] {
        assert_eq!(warnings(&file(upstream, ""), variables), [format!("{place}: {token}")], "{upstream}");
    }
    for quiet in ["upstream: {url: 'https://10.0.0.1', proxy: 'http://p:1'}", "upstream: http://127.0.0.1:1"] {
        assert_eq!(warnings(&file(quiet, ""), &[("http_proxy", "p:1")]), Vec::<String>::new());
    }
    let login = file(ROUTE, ", proxy: 'http://p:1'").replace("https://login", "http://login");
    let told = warnings(&login, &[]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("the login goes over plain http through an egress proxy, which can read its secrets"));
    let fixed = BASE.replace("token: x", "token: x, proxy: 'http://p:1'");
    assert_eq!(
        warnings(&fixed, &[]),
        ["3:37 credentials.key.proxy: has no effect: nothing is asked for | take it out"]
    );
}

#[test]
fn neither_settings_nor_what_is_kept_for_showing_hold_the_password() {
    let yaml = file(
        "upstream: {url: https://api.example.com, proxy: 'http://u:CANARY@p:1'}",
        ", proxy: 'http://u:CANARY@q:1'",
    );
    let loaded = load(&yaml, &[("no_proxy", "x")]).unwrap();
    let all = format!("{:?}{:?}{}", loaded.settings, loaded.written, effective(&loaded, Format::Yaml));
    assert!(!all.contains("CANARY"), "{all}");
    assert!(all.contains("http://***@p:1") && all.contains("http://***@q:1"), "{all}");
    assert!(EgressProxy::parse("http://u:CANARY@p:1").is_ok());
}
