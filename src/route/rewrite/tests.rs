use proptest::prelude::*;
use proptest::sample::select;
use regex::Regex;

use super::*;

fn by_prefix(prefix: &str, upstream: &str) -> Rewrite {
    Rewrite::new(PathRule::Prefix(PathPrefix::parse(prefix).unwrap()), true, BaseUrl::parse(upstream).unwrap())
}

fn unstripped(prefix: &str, upstream: &str) -> Rewrite {
    Rewrite::new(PathRule::Prefix(PathPrefix::parse(prefix).unwrap()), false, BaseUrl::parse(upstream).unwrap())
}

fn by_exact(path: &str, upstream: &str) -> Rewrite {
    Rewrite::new(PathRule::Exact(path.to_owned()), true, BaseUrl::parse(upstream).unwrap())
}

fn by_regex(regex: &str, upstream: &str) -> Rewrite {
    Rewrite::new(PathRule::Regex(Regex::new(regex).unwrap()), true, BaseUrl::parse(upstream).unwrap())
}

#[test]
fn a_matched_prefix_is_replaced_by_the_upstreams_path() {
    for (prefix, upstream, raw, target) in [
        ("/crewmojo", "https://api.example.com/v1", "/crewmojo/employees", "/v1/employees"),
        ("/crewmojo", "https://api.example.com/v1", "/crewmojo", "/v1"),
        ("/crewmojo", "https://api.example.com/v1", "/crewmojo/", "/v1/"),
        ("/crewmojo", "https://api.example.com/v1/", "/crewmojo", "/v1"),
        ("/crewmojo", "https://api.example.com/v1/", "/crewmojo/a", "/v1/a"),
        ("/crewmojo/", "https://api.example.com", "/crewmojo", "/"),
        ("/crewmojo", "https://api.example.com", "/crewmojo/", "/"),
        ("/crewmojo", "https://api.example.com", "/crewmojo//a//", "//a//"),
        ("/", "https://api.example.com/v1", "/", "/v1/"),
        ("/", "https://api.example.com/v1", "/a%2fb", "/v1/a%2fb"),
        ("/", "https://api.example.com", "/", "/"),
        ("/", "https://api.example.com", "//a", "//a"),
        ("/~me", "https://api.example.com/v1", "/%7eme/%7ex", "/v1/%7ex"),
        ("/a/b", "https://api.example.com/v%31", "/%61/b/c", "/v%31/c"),
    ] {
        assert_eq!(by_prefix(prefix, upstream).forward(raw), target, "{prefix} {upstream} {raw}");
    }
}

#[test]
fn an_exact_path_is_replaced_whole() {
    assert_eq!(by_exact("/health", "https://up/status").forward("/health"), "/status");
    assert_eq!(by_exact("/health", "https://up/status/").forward("/he%61lth"), "/status/");
    assert_eq!(by_exact("/health", "https://up").forward("/health"), "/");
}

#[test]
fn under_a_regex_and_unstripped_the_whole_path_is_appended() {
    assert_eq!(by_regex("^/v[0-9]+/", "https://up/api/").forward("/v2/a%7e"), "/api/v2/a%7e");
    assert_eq!(by_regex("^/", "https://up").forward("//"), "//");
    assert_eq!(unstripped("/crm", "https://up/rest").forward("/crm/a"), "/rest/crm/a");
    let exact = Rewrite::new(PathRule::Exact("/health".into()), false, BaseUrl::parse("https://up/x").unwrap());
    assert_eq!(exact.forward("/health"), "/x/health");
}

#[test]
fn a_location_in_the_upstream_comes_back_as_a_path_under_the_prefix() {
    let rewrite = by_prefix("/crewmojo", "https://api.example.com/v1");
    for (location, back) in [
        ("https://api.example.com/v1/employees/7?a=b#c", Some("/crewmojo/employees/7?a=b#c")),
        ("HTTPS://API.example.com.:443/v1", Some("/crewmojo")),
        ("https://api.example.com:/v1/", Some("/crewmojo/")),
        ("//api.example.com/v1/a", Some("/crewmojo/a")),
        ("//api.example.com:443/v1/a", Some("/crewmojo/a")),
        ("/v1/a%2fb//c?", Some("/crewmojo/a%2fb//c?")),
        ("/v%31/a", Some("/crewmojo/a")),
        ("/v1?next=/v1/x", Some("/crewmojo?next=/v1/x")),
        ("/v1/caf\u{e9}\\%zz", Some("/crewmojo/caf\u{e9}\\%zz")),
        // Not of this upstream.
        ("http://api.example.com/v1/a", None),
        ("https://api.example.com:8443/v1/a", None),
        ("https://api.example.com.evil.example/v1/a", None),
        ("https://api.example.com@evil.example/v1/a", None),
        ("https://user@api.example.com/v1/a", None),
        ("https://evil.example/v1/a", None),
        ("//evil.example/v1/a", None),
        ("https://api.example.com\\@evil.example/v1", None),
        // Not of this route.
        ("https://api.example.com/v2/a", None),
        ("https://api.example.com", None),
        ("/v2/a", None),
        ("/v1x", None),
        ("/", None),
        ("/v1/../admin", None),
        ("/v1/..;x/admin", None),
        ("/v1/caf\u{e9}/%2e%2E/admin", None),
        ("/v1/caf\u{e9}/..\\admin", None),
        // Right on both sides.
        ("", None),
        ("a/b", None),
        ("../a", None),
        ("?page=2", None),
        ("#top", None),
        ("a:b", None),
        ("mailto:a@example.com", None),
        ("https:/v1/a", None),
        ("/v1/\ta", None),
    ] {
        assert_eq!(rewrite.location_back(location, None).as_deref(), back, "{location}");
    }
}

#[test]
fn an_upstream_at_the_root_maps_every_path() {
    let rewrite = by_prefix("/crm", "http://[::1]:8080");
    for (location, back) in [
        ("/", Some("/crm/")),
        ("/a", Some("/crm/a")),
        ("http://[0::1]:8080", Some("/crm/")),
        ("http://[::1]:8080?a=b", Some("/crm/?a=b")),
        ("http://[::1]/a", None),
    ] {
        assert_eq!(rewrite.location_back(location, None).as_deref(), back, "{location}");
    }
    let all = by_prefix("/", "http://up/v1");
    assert_eq!(all.location_back("/v1", None).as_deref(), Some("/"));
    assert_eq!(all.location_back("/v1?a", None).as_deref(), Some("/?a"));
    assert_eq!(by_prefix("/", "http://up").location_back("/a", None), None, "nothing to change");
    assert_eq!(by_prefix("/", "http://up").location_back("http://up", None).as_deref(), Some("/"));
}

#[test]
fn a_path_that_comes_back_never_names_a_host() {
    let rewrite = by_prefix("/", "https://up/v1");
    assert_eq!(rewrite.location_back("/v1//evil.example/a", None).as_deref(), Some("/.//evil.example/a"));
    assert_eq!(rewrite.location_back("https://up/v1/\\evil.example", None).as_deref(), Some("/./\\evil.example"));
    let whole = by_prefix("/", "https://up");
    assert_eq!(whole.location_back("https://up//evil.example/a", None).as_deref(), Some("/.//evil.example/a"));
}

#[test]
fn exact_and_appended_paths_come_back_as_the_client_knows_them() {
    let exact = by_exact("/he%61lth", "https://up/status");
    assert_eq!(exact.location_back("https://up/st%61tus?a", None).as_deref(), Some("/health?a"));
    assert_eq!(exact.location_back("/status/more", None), None);
    assert_eq!(exact.location_back("/status/", None), None);
    let regex = by_regex("^/v[0-9]+/", "https://up/api");
    assert_eq!(regex.location_back("https://up/api/v2/a", None).as_deref(), Some("/v2/a"));
    assert_eq!(regex.location_back("/api", None).as_deref(), Some("/"));
    assert_eq!(regex.location_back("/other", None), None);
    let unstripped = unstripped("/crm", "https://up");
    assert_eq!(unstripped.location_back("https://up/crm/a", None).as_deref(), Some("/crm/a"));
    assert_eq!(unstripped.location_back("/crm/a", None), None, "it is the same on both sides");
}

#[test]
fn an_injected_token_never_comes_back() {
    let rewrite = by_prefix("/crm", "https://up/v1");
    for (location, back) in [
        ("https://up/v1/a?token=SECRET", Some("/crm/a")),
        ("https://up/v1/a?token=SECRET#f", Some("/crm/a#f")),
        ("/v1/a?x=%7e&token=SECRET&&y", Some("/crm/a?x=%7e&&y")),
        ("/v1/a?t%6fken=SECRET&token=AGAIN&token", Some("/crm/a")),
        ("/v1/a?Token=1&tokens=2&x=token=3", Some("/crm/a?Token=1&tokens=2&x=token=3")),
        // Also where the route does not lead.
        ("/other?a&token=SECRET", Some("/other?a")),
        ("https://up/other?token=SECRET", Some("https://up/other")),
        ("?page=2&token=SECRET", Some("?page=2")),
        ("next?token=SECRET", Some("next")),
        ("http://up/v1?token=SECRET", Some("http://up/v1")),
        ("https://UP:8443/v1?a&token=SECRET", Some("https://UP:8443/v1?a")),
        ("https://evil.example/?token=x", None),
    ] {
        assert_eq!(rewrite.location_back(location, Some("token")).as_deref(), back, "{location}");
    }
    let spaced = rewrite.location_back("/v1?a+b=SECRET&a%20b=SECRET&c", Some("a b"));
    assert_eq!(spaced.as_deref(), Some("/crm?c"));
}

#[test]
fn a_cookie_comes_back_to_the_route_that_set_it() {
    let rewrite = by_prefix("/crm", "https://up/v1");
    for (cookie, back) in [
        ("sid=a=b; Path=/v1; HttpOnly", "sid=a=b; Path=/crm; HttpOnly"),
        ("sid=1; path=/v1/a/;Max-Age=5", "sid=1; path=/crm/a/;Max-Age=5"),
        ("sid=1; Path=/", "sid=1; Path=/crm"),
        ("sid=1; Path=/v2", "sid=1; Path=/crm"),
        ("sid=1; Path=/v1/../v2", "sid=1; Path=/crm"),
        ("sid=1;PATH = \"/v1/x\" ; Secure", "sid=1;PATH =\"/crm/x\"; Secure"),
        ("sid=1; Path=", "sid=1; Path="),
        ("sid=1; Path", "sid=1; Path"),
        ("sid=1", "sid=1"),
        ("sid=1;", "sid=1;"),
        ("sid=1; Domain=.up.example; SameSite=Lax", "sid=1; SameSite=Lax"),
        ("sid=1; DOMAIN=up ; domain", "sid=1"),
        ("Domain=x; Secure", "Domain=x; Secure"),
        ("sid=\"a b\"; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "sid=\"a b\"; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
        ("", ""),
    ] {
        assert_eq!(rewrite.set_cookie_back(cookie, false), back, "{cookie}");
    }
}

#[test]
fn secure_goes_where_the_client_is_plain() {
    let rewrite = by_prefix("/crm", "https://up/v1");
    let cookie = "sid=1; Secure; SameSite=None; secure=x;SECURE";
    assert_eq!(rewrite.set_cookie_back(cookie, true), "sid=1; SameSite=None");
    assert_eq!(rewrite.set_cookie_back(cookie, false), cookie);
    assert_eq!(rewrite.set_cookie_back("Secure=1; Path=/v1", true), "Secure=1; Path=/crm");
    assert_eq!(rewrite.set_cookie_back("__Secure-a=1; Secure", true), "__Secure-a=1");
    assert_eq!(rewrite.set_cookie_back("__Host-a=1; Secure; Path=/", false), "__Host-a=1; Secure; Path=/crm");
}

#[test]
fn a_cookie_never_reaches_further_than_its_route() {
    for (rewrite, path, back) in [
        (by_prefix("/crm", "https://up"), "/", "/crm"),
        (by_prefix("/crm", "https://up"), "/a", "/crm/a"),
        (by_prefix("/", "https://up/v1"), "/v1", "/"),
        (by_prefix("/", "https://up/v1"), "/v2", "/"),
        (unstripped("/crm", "https://up/v1"), "/v1/crm/a", "/crm/a"),
        (unstripped("/crm", "https://up/v1"), "/v1", "/crm"),
        (unstripped("/crm", "https://up/v1"), "/v1/other", "/crm"),
        (unstripped("/crm", "https://up"), "/", "/crm"),
        (by_regex("^/a/", "https://up/v1"), "/v1/a", "/a"),
        (by_regex("^/a/", "https://up/v1"), "/", "/"),
        (by_exact("/health", "https://up/v1"), "/v1", "/health"),
        (by_exact("/health", "https://up/v1"), "/", "/health"),
    ] {
        let cookie = rewrite.set_cookie_back(&format!("a=b; Path={path}"), false);
        assert_eq!(cookie, format!("a=b; Path={back}"), "{rewrite:?}");
    }
}

prop_compose! {
    fn some_path()(
        segments in prop::collection::vec(select(vec!["a", "b", "", "%7e", "caf%C3%A9", ";x=1", "a%2fb", "@:"]), 0..5)
    ) -> String {
        segments.iter().flat_map(|segment| ["/", segment]).collect()
    }
}

proptest! {
    #[test]
    fn what_goes_there_comes_back(prefix in some_path(), base in some_path(), rest in some_path()) {
        let prefix = PathPrefix::parse(&format!("{prefix}/")).unwrap();
        let raw = format!("{}{rest}", prefix.as_str());
        prop_assume!(raw.starts_with('/'));
        let upstream = format!("https://up.example:8443{base}");
        let rewrite = Rewrite::new(PathRule::Prefix(prefix), true, BaseUrl::parse(&upstream).unwrap());
        let target = rewrite.forward(&raw);
        prop_assert!(target.starts_with('/'));
        let location = format!("https://up.example:8443{target}?q=1");
        let back = rewrite.location_back(&location, None).unwrap();
        // The root of an upstream is one resource with its slash and without.
        let raw = if target == "/" && !raw.ends_with('/') { format!("{raw}/") } else { raw };
        let guard = if raw.starts_with("//") { "/." } else { "" };
        prop_assert_eq!(back, format!("{guard}{raw}?q=1"));
    }

    #[test]
    fn nothing_that_comes_from_outside_panics(
        location in "[ -~]{0,40}", path in "(/|%|2|e|\\.|\\\\|;|\u{e9}|[ -~]){0,20}", plain in any::<bool>(),
    ) {
        for rewrite in [
            by_prefix("/", "https://up"),
            by_prefix("/a", "https://up/v1"),
            by_exact("/a", "https://up/v1"),
            by_regex("^/", "https://up/v1"),
        ] {
            for location in [location.clone(), path.clone(), format!("//{path}"), format!("https://up{path}")] {
                let back = rewrite.location_back(&location, Some("a"));
                prop_assert!(!back.is_some_and(|back| back.starts_with("//") && !location.starts_with("//")));
            }
            let cookie = format!("a=b; Path={path}; {location}");
            prop_assert!(rewrite.set_cookie_back(&cookie, plain).starts_with("a=b"));
        }
    }
}
