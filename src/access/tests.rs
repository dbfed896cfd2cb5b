use base64::Engine as _;
use proptest::prelude::*;

use super::presented::BASE64;
use super::*;
use crate::model::{ApiKey, KeyDigest};

fn access(keys: &[&str], allow: &[&str], deny: &[&str]) -> Access {
    let key = |key: &&str| ApiKey { name: format!("name of {key}"), digest: KeyDigest::of(key.as_bytes()) };
    let networks = |list: &[&str]| list.iter().map(|network| network.parse().unwrap()).collect();
    Access::new(AccessPolicy { api_keys: keys.iter().map(key).collect(), allow: networks(allow), deny: networks(deny) })
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    lines.iter().map(|(n, v)| (n.parse::<HeaderName>().unwrap(), HeaderValue::from_str(v).unwrap())).collect()
}

fn from(text: &str) -> Visitor<'static> {
    Visitor::at(Some(text.parse().unwrap()))
}

/// `Basic` with this pair.
fn basic(pair: &str) -> String {
    format!("Basic {}", BASE64.encode(pair))
}

#[test]
fn nothing_listed_lets_everyone_in() {
    let open = access(&[], &[], &[]);
    assert!(open.is_open());
    assert_eq!(open.admit(&Visitor::default(), &HeaderMap::new()), Ok(Admitted { key: None }));
    assert_eq!(open.admit(&from("192.0.2.1"), &headers(&[("x-api-key", "any")])), Ok(Admitted { key: None }));
    for closed in [access(&["k"], &[], &[]), access(&[], &["::/0"], &[]), access(&[], &[], &["::/0"])] {
        assert!(!closed.is_open());
    }
}

#[test]
fn a_key_is_taken_from_each_of_its_places() {
    let access = access(&["billing", "with:colon", "x"], &[], &[]);
    for (name, value, key) in [
        ("authorization", "Bearer billing", "billing"),
        ("authorization", "bEARER   x ", "x"),
        ("authorization", &basic("anyone:billing"), "billing"),
        ("authorization", &basic(":billing"), "billing"),
        ("authorization", &basic("user:with:colon"), "with:colon"),
        ("authorization", basic("u:billing").trim_end_matches('='), "billing"),
        ("authorization", "basic dTpiaWxsaW5n", "billing"),
        ("x-api-key", "billing", "billing"),
        ("X-API-KEY", "x", "x"),
    ] {
        let admitted = access.admit(&Visitor::default(), &headers(&[(name, value)]));
        assert_eq!(admitted, Ok(Admitted { key: Some(&format!("name of {key}")) }), "{name}: {value}");
    }
}

#[test]
fn no_key_and_a_wrong_one_are_denied_alike() {
    let access = access(&["billing"], &[], &[]);
    for lines in [
        &[][..],
        &[("authorization", "")],
        &[("authorization", "Bearer")],
        &[("authorization", "Bearer ")],
        &[("authorization", "billing")],
        &[("authorization", "Token billing")],
        &[("authorization", "Bearer Billing")],
        &[("authorization", "Bearer billing2")],
        &[("authorization", "Bearer billing, billing")],
        &[("authorization", "Basic billing")],
        &[("authorization", "Basic %%%")],
        &[("authorization", "Basic YmlsbGluZw==")], // "billing", no user
        &[("authorization", "Basic YmlsbGluZzo=")], // "billing:", as the user
        &[("x-api-key", "")],
        &[("x-api-key", "Bearer billing")],
        &[("x_api_key", "billing")],
        &[("proxy-authorization", "Bearer billing")],
    ] {
        assert_eq!(access.admit(&Visitor::default(), &headers(lines)), Err(Denied::Key), "{lines:?}");
    }
}

#[test]
fn a_place_that_is_written_twice_is_not_guessed_at() {
    let access = access(&["billing"], &[], &[]);
    for lines in [
        &[("authorization", "Bearer billing"), ("authorization", "Bearer billing")][..],
        &[("authorization", "Bearer x"), ("authorization", "Bearer billing")],
        &[("authorization", "Bearer x"), ("authorization", "Bearer y"), ("x-api-key", "billing")],
        &[("x-api-key", "billing"), ("x-api-key", "x")],
    ] {
        assert_eq!(access.admit(&Visitor::default(), &headers(lines)), Err(Denied::Key), "{lines:?}");
    }
}

#[test]
fn a_valid_key_in_one_place_is_enough() {
    let access = access(&["billing"], &[], &[]);
    for lines in [
        [("authorization", "Bearer of-the-upstream"), ("x-api-key", "billing")],
        [("authorization", "Bearer billing"), ("x-api-key", "of-the-upstream")],
    ] {
        assert!(access.admit(&Visitor::default(), &headers(&lines)).is_ok(), "{lines:?}");
    }
}

#[test]
fn an_empty_key_opens_nothing_even_if_one_was_configured() {
    let access = access(&[""], &[], &[]);
    for lines in [&[][..], &[("x-api-key", "")], &[("authorization", "Basic dXNlcjo=")]] {
        assert_eq!(access.admit(&Visitor::default(), &headers(lines)), Err(Denied::Key));
    }
    assert_eq!(access.admit_key(&Visitor::default(), ""), Err(Denied::Key));
}

#[test]
fn networks_are_judged_before_keys_and_deny_before_allow() {
    let access = access(&["billing"], &["10.0.0.0/8", "2001:db8::/32"], &["10.1.0.0/16"]);
    let good = headers(&[("x-api-key", "billing")]);
    let bad = HeaderMap::new();
    for (client, with_key, without) in [
        ("10.0.0.1", Ok(()), Err(Denied::Key)),
        ("2001:db8::1", Ok(()), Err(Denied::Key)),
        ("::ffff:10.0.0.1", Ok(()), Err(Denied::Key)),
        ("10.1.0.1", Err(Denied::Network), Err(Denied::Network)),
        ("::ffff:10.1.0.1", Err(Denied::Network), Err(Denied::Network)),
        ("192.0.2.1", Err(Denied::Network), Err(Denied::Network)),
        ("2001:db9::1", Err(Denied::Network), Err(Denied::Network)),
    ] {
        assert_eq!(access.admit(&from(client), &good).map(drop), with_key, "{client}");
        assert_eq!(access.admit(&from(client), &bad).map(drop), without, "{client}");
        assert_eq!(access.admit_key(&from(client), "billing").map(drop), with_key, "{client}");
        assert_eq!(access.admit_key(&from(client), "other").map(drop), without, "{client}");
    }
}

#[test]
fn a_network_of_mapped_addresses_is_the_ipv4_network() {
    let access = access(&[], &["::ffff:10.0.0.0/104"], &["::ffff:10.0.0.7/128"]);
    assert!(access.admit(&from("10.9.9.9"), &HeaderMap::new()).is_ok());
    assert!(access.admit(&from("::ffff:10.9.9.9"), &HeaderMap::new()).is_ok());
    assert_eq!(access.admit(&from("10.0.0.7"), &HeaderMap::new()), Err(Denied::Network));
    assert_eq!(access.admit(&from("11.0.0.1"), &HeaderMap::new()), Err(Denied::Network));
}

#[test]
fn a_unix_socket_has_no_network_that_could_be_allowed() {
    assert_eq!(
        access(&[], &["0.0.0.0/0", "::/0"], &[]).admit(&Visitor::default(), &HeaderMap::new()),
        Err(Denied::Network)
    );
    assert!(access(&[], &[], &["0.0.0.0/0", "::/0"]).admit(&Visitor::default(), &HeaderMap::new()).is_ok());
}

#[test]
fn what_let_a_request_in_is_taken_out_of_it() {
    let access = access(&["billing", "other"], &[], &[]);
    for (before, after) in [
        (&[("authorization", "Bearer billing"), ("accept", "*/*")][..], &[("accept", "*/*")][..]),
        (&[("authorization", "Basic dTpiaWxsaW5n")], &[]),
        (&[("authorization", "Bearer x"), ("authorization", "Bearer other")], &[]),
        (&[("x-api-key", "billing"), ("X_Api_Key", "x"), ("x-api_key", "y"), ("x_api-key", "z")], &[]),
        (
            &[("x-api-key", "billing"), ("authorization", "Bearer of-the-upstream")],
            &[("authorization", "Bearer of-the-upstream")],
        ),
        (&[("x-api-keys", "a"), ("api-key", "b")], &[("x-api-keys", "a"), ("api-key", "b")]),
    ] {
        let mut left = headers(before);
        access.remove_key(&mut left);
        assert_eq!(left, headers(after), "{before:?}");
    }
}

#[test]
fn where_no_key_is_asked_for_none_is_taken_out() {
    let lines = headers(&[("x-api-key", "of-the-upstream"), ("authorization", "Bearer of-the-upstream")]);
    let mut left = lines.clone();
    access(&[], &["10.0.0.0/8"], &[]).remove_key(&mut left);
    assert_eq!(left, lines);
}

#[test]
fn no_key_is_shown() {
    let access = access(&["hunter2"], &[], &[]);
    let digest: String = KeyDigest::of(b"hunter2").0.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let shown = format!("{access:?}");
    assert!(!shown.contains(&digest), "{shown}");
}

proptest! {
    #[test]
    fn nothing_that_a_client_sends_panics(authorization in prop::collection::vec(any::<u8>(), 0..60), bare in ".{0,20}") {
        let access = access(&["billing"], &["10.0.0.0/8"], &[]);
        let mut map = HeaderMap::new();
        for (name, bytes) in [("authorization", &authorization[..]), ("x-api-key", bare.as_bytes())] {
            if let Ok(value) = HeaderValue::from_bytes(bytes) {
                map.insert(name, value);
            }
        }
        prop_assert_eq!(access.admit(&from("10.0.0.1"), &map), Err(Denied::Key));
        access.remove_key(&mut map);
        prop_assert!(!map.contains_key("x-api-key"));
    }
}
