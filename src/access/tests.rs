use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine as _;
use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use super::presented::BASE64;
use super::*;
use crate::model::{ApiKey, BasicUser, CertificateName, CertificateRule, ClientCertificate, KeyDigest, PasswordHash};

mod tokens;

/// Where passwords are checked.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().unwrap());

const KEY: Denied = Denied::Key { beside_user: false };

fn ready(policy: AccessPolicy) -> Access {
    Access::new(policy, None, Passwords::new(RUNTIME.handle().clone()))
}

/// What is said without waiting.
fn admit(access: &Access, visitor: &Visitor<'_>, headers: &HeaderMap) -> Result<Option<String>, Denied> {
    access.admit(visitor, headers)?.at_once().map(|admitted| admitted.who.map(Cow::into_owned))
}

/// The same of a login with this `client_secret`.
fn admit_key(access: &Access, visitor: &Visitor<'_>, key: &str) -> Result<Option<String>, Denied> {
    let none = HeaderMap::new();
    let shown = access.shown(&none).in_body(Some(key.as_bytes()));
    let judged = access.admit_shown(visitor, &none, &shown, &KeyPlace::ALL)?;
    judged.at_once().map(|admitted| admitted.who.map(Cow::into_owned))
}

#[expect(clippy::unnecessary_wraps, reason = "it stands for what the judgement gives")]
fn as_who(name: &str) -> Result<Option<String>, Denied> {
    Ok(Some(name.to_owned()))
}

fn access(keys: &[&str], allow: &[&str], deny: &[&str]) -> Access {
    let key = |key: &&str| ApiKey { name: format!("name of {key}"), digest: KeyDigest::of(key.as_bytes()) };
    let networks = |list: &[&str]| list.iter().map(|network| network.parse().unwrap()).collect();
    let api_keys = keys.iter().map(key).collect();
    ready(AccessPolicy { api_keys, allow: networks(allow), deny: networks(deny), ..AccessPolicy::default() })
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
    assert_eq!(admit(&open, &Visitor::default(), &HeaderMap::new()), Ok(None));
    assert_eq!(admit(&open, &from("192.0.2.1"), &headers(&[("x-api-key", "any")])), Ok(None));
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
        let admitted = admit(&access, &Visitor::default(), &headers(&[(name, value)]));
        assert_eq!(admitted, as_who(&format!("name of {key}")), "{name}: {value}");
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
        assert_eq!(admit(&access, &Visitor::default(), &headers(lines)), Err(KEY), "{lines:?}");
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
        assert_eq!(admit(&access, &Visitor::default(), &headers(lines)), Err(KEY), "{lines:?}");
    }
}

#[test]
fn a_valid_key_in_one_place_is_enough() {
    let access = access(&["billing"], &[], &[]);
    for lines in [
        [("authorization", "Bearer of-the-upstream"), ("x-api-key", "billing")],
        [("authorization", "Bearer billing"), ("x-api-key", "of-the-upstream")],
    ] {
        assert!(admit(&access, &Visitor::default(), &headers(&lines)).is_ok(), "{lines:?}");
    }
}

#[test]
fn an_empty_key_opens_nothing_even_if_one_was_configured() {
    let access = access(&[""], &[], &[]);
    for lines in [&[][..], &[("x-api-key", "")], &[("authorization", "Basic dXNlcjo=")]] {
        assert_eq!(admit(&access, &Visitor::default(), &headers(lines)), Err(KEY));
    }
    assert_eq!(admit_key(&access, &Visitor::default(), ""), Err(KEY));
}

#[test]
fn networks_are_judged_before_keys_and_deny_before_allow() {
    let access = access(&["billing"], &["10.0.0.0/8", "2001:db8::/32"], &["10.1.0.0/16"]);
    let good = headers(&[("x-api-key", "billing")]);
    let bad = HeaderMap::new();
    for (client, with_key, without) in [
        ("10.0.0.1", Ok(()), Err(KEY)),
        ("2001:db8::1", Ok(()), Err(KEY)),
        ("::ffff:10.0.0.1", Ok(()), Err(KEY)),
        ("10.1.0.1", Err(Denied::Network), Err(Denied::Network)),
        ("::ffff:10.1.0.1", Err(Denied::Network), Err(Denied::Network)),
        ("192.0.2.1", Err(Denied::Network), Err(Denied::Network)),
        ("2001:db9::1", Err(Denied::Network), Err(Denied::Network)),
    ] {
        assert_eq!(admit(&access, &from(client), &good).map(drop), with_key, "{client}");
        assert_eq!(admit(&access, &from(client), &bad).map(drop), without, "{client}");
        assert_eq!(admit_key(&access, &from(client), "billing").map(drop), with_key, "{client}");
        assert_eq!(admit_key(&access, &from(client), "other").map(drop), without, "{client}");
    }
}

#[test]
fn a_network_of_mapped_addresses_is_the_ipv4_network() {
    let access = access(&[], &["::ffff:10.0.0.0/104"], &["::ffff:10.0.0.7/128"]);
    assert!(admit(&access, &from("10.9.9.9"), &HeaderMap::new()).is_ok());
    assert!(admit(&access, &from("::ffff:10.9.9.9"), &HeaderMap::new()).is_ok());
    assert_eq!(admit(&access, &from("10.0.0.7"), &HeaderMap::new()), Err(Denied::Network));
    assert_eq!(admit(&access, &from("11.0.0.1"), &HeaderMap::new()), Err(Denied::Network));
}

#[test]
fn a_unix_socket_has_no_network_that_could_be_allowed() {
    assert_eq!(
        admit(&access(&[], &["0.0.0.0/0", "::/0"], &[]), &Visitor::default(), &HeaderMap::new()),
        Err(Denied::Network)
    );
    assert!(admit(&access(&[], &[], &["0.0.0.0/0", "::/0"]), &Visitor::default(), &HeaderMap::new()).is_ok());
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

/// alice with "hunter2", bob with "hunter3".
fn users() -> Vec<BasicUser> {
    use argon2::{Argon2, Params, PasswordHasher as _};
    let user = |(name, password): (&str, &str)| {
        let hash = Argon2::from(Params::new(64, 1, 1, None).unwrap()).hash_password(password.as_bytes()).unwrap();
        BasicUser { name: name.to_owned(), password: PasswordHash::parse(&hash.to_string()).unwrap() }
    };
    [("alice", "hunter2"), ("bob", "hunter3")].map(user).to_vec()
}

#[test]
fn a_user_is_let_in_by_their_own_password_alone() {
    let access = ready(AccessPolicy { users: users(), ..AccessPolicy::default() });
    for (value, name) in [
        (basic("alice:hunter2"), Some("alice")),
        (basic("alice:hunter2").replace("Basic ", "bASIC   "), Some("alice")),
        (basic("bob:hunter3"), Some("bob")),
        (basic("alice:hunter3"), None),
        (basic("bob:hunter2"), None),
        (basic("carol:hunter2"), None),
        (basic("Alice:hunter2"), None),
        (basic("alice:"), None),
        (basic(":hunter2"), None),
        (basic("alice"), None),
        (basic("alice:hunter2:"), None),
        ("Bearer hunter2".to_owned(), None),
        ("Basic !!!".to_owned(), None),
        (String::new(), None),
    ] {
        let expected = name.map_or(Err(Denied::User), as_who);
        assert_eq!(admit(&access, &Visitor::default(), &headers(&[("authorization", &value)])), expected, "{value}");
    }
    let right = basic("alice:hunter2");
    assert_eq!(admit(&access, &Visitor::default(), &headers(&[("x-api-key", "hunter2")])), Err(Denied::User));
    let twice = headers(&[("authorization", &right), ("authorization", &right)]);
    assert_eq!(admit(&access, &Visitor::default(), &twice), Err(Denied::User));
    assert_eq!(admit_key(&access, &Visitor::default(), "hunter2"), Err(Denied::User));
    assert!(access.shown(&headers(&[("authorization", &right)])).key(KeyPlace::Authorization).is_none());
    for value in [right.as_str(), "Bearer of-the-upstream", "Basic !!!"] {
        let mut left = headers(&[("authorization", value), ("x-api-key", "of-the-upstream")]);
        access.remove_key(&mut left);
        assert_eq!(left, headers(&[("x-api-key", "of-the-upstream")]), "{value}");
    }
}

#[tokio::test]
async fn a_password_that_was_right_is_not_checked_again_and_a_wrong_one_always_is() {
    let access = ready(AccessPolicy { users: users(), ..AccessPolicy::default() });
    let (right, wrong) = (headers(&[("authorization", &basic("alice:hunter2"))]), basic("alice:hunter3"));
    let (wrong, unknown) =
        (headers(&[("authorization", &wrong)]), headers(&[("authorization", &basic("eve:hunter2"))]));
    let visitor = Visitor::default();
    for (headers, expected) in [(&right, as_who("alice")), (&wrong, Err(Denied::User)), (&unknown, Err(Denied::User))] {
        let Ok(Judgement::Pending(pending)) = access.admit(&visitor, headers) else { panic!("nothing is known yet") };
        let settled = pending.settle().await;
        assert_eq!(settled.map(|admitted| admitted.who.map(Cow::into_owned)), expected);
    }
    assert!(matches!(access.admit(&visitor, &right), Ok(Judgement::Admitted(_))));
    assert!(matches!(access.admit(&visitor, &wrong), Ok(Judgement::Pending(_))));
    assert!(matches!(access.admit(&visitor, &unknown), Ok(Judgement::Pending(_))));
    // What is remembered belongs to the hash, not to the name.
    let mut others = users();
    others[0].password = others[1].password.clone();
    let changed =
        Access::new(AccessPolicy { users: others, ..AccessPolicy::default() }, None, Arc::clone(&access.passwords));
    let Ok(Judgement::Pending(pending)) = changed.admit(&visitor, &right) else { panic!("another hash") };
    assert_eq!(pending.settle().await, Err(Denied::User));
}

#[test]
fn beside_users_a_key_is_in_its_own_header_and_both_must_be_right() {
    let key = ApiKey { name: "billing".to_owned(), digest: KeyDigest::of(b"k3y") };
    let access = ready(AccessPolicy { users: users(), api_keys: vec![key], ..AccessPolicy::default() });
    let (right, with_key) = (basic("alice:hunter2"), basic("alice:k3y"));
    for (lines, expected) in [
        (&[("authorization", right.as_str()), ("x-api-key", "k3y")][..], as_who("billing+alice")),
        (&[("authorization", right.as_str())], Err(Denied::Key { beside_user: true })),
        (&[("authorization", right.as_str()), ("x-api-key", "other")], Err(Denied::Key { beside_user: true })),
        (&[("x-api-key", "k3y")], Err(Denied::User)),
        (&[("authorization", "Bearer k3y"), ("x-api-key", "k3y")], Err(Denied::User)),
        (&[("authorization", "Bearer k3y")], Err(Denied::Key { beside_user: true })),
        (&[("authorization", with_key.as_str())], Err(Denied::Key { beside_user: true })),
    ] {
        assert_eq!(admit(&access, &Visitor::default(), &headers(lines)), expected, "{lines:?}");
    }
    let lines = headers(&[("authorization", &right), ("x-api-key", "k3y")]);
    let admitted = access.admit(&Visitor::default(), &lines).unwrap().at_once().unwrap();
    assert_eq!(admitted.key, Some(KeyPlace::Own));
    assert_eq!(admit_key(&access, &Visitor::default(), "k3y"), Err(Denied::Key { beside_user: true }));
    let mut left = lines;
    access.remove_key(&mut left);
    assert!(left.is_empty());
}

#[test]
fn a_certificate_lets_in_by_its_alternative_names_alone() {
    let certificate = |names: &[&str], common: Option<&str>| ClientCertificate {
        names: names.iter().map(|&name| name.to_owned()).collect(),
        common_name: common.map(str::to_owned),
    };
    let rule = |names: &[&str]| {
        let names = names.iter().map(|name| CertificateName::parse(name).unwrap()).collect();
        let client_certificates = Some(CertificateRule::Names(names));
        ready(AccessPolicy { client_certificates, ..AccessPolicy::default() })
    };
    let named = rule(&["app.internal", "*.apps.internal", "spiffe://trust/app"]);
    let any = ready(AccessPolicy { client_certificates: Some(CertificateRule::Any), ..AccessPolicy::default() });
    for (shown, by_name, by_any) in [
        (certificate(&["app.internal"], None), Some("app.internal"), Some("app.internal")),
        (certificate(&["other", "a.apps.internal"], None), Some("a.apps.internal"), Some("other")),
        (certificate(&["spiffe://trust/app"], Some("x")), Some("spiffe://trust/app"), Some("spiffe://trust/app")),
        (certificate(&["other"], Some("app.internal")), None, Some("other")),
        (certificate(&[], Some("app.internal")), None, Some("app.internal")),
    ] {
        let visitor = Visitor { address: None, certificate: Some(&shown) };
        let expected = by_name.map_or(Err(Denied::Certificate), as_who);
        assert_eq!(admit(&named, &visitor, &HeaderMap::new()), expected, "{shown:?}");
        let told = Ok(by_any.map(str::to_owned));
        assert_eq!(admit(&any, &visitor, &HeaderMap::new()), told, "{shown:?}");
    }
    for access in [&named, &any] {
        assert!(!access.is_open());
        assert_eq!(admit(access, &Visitor::default(), &HeaderMap::new()), Err(Denied::Certificate));
    }
}

#[test]
fn networks_come_before_certificates_and_those_before_keys() {
    let mut access = access(&["k3y"], &["10.0.0.0/8"], &[]);
    access.policy.client_certificates = Some(CertificateRule::Any);
    let shown = ClientCertificate { names: vec!["app".to_owned()], common_name: None };
    let visitor = |address: &str, certificate| Visitor { certificate, ..from(address) };
    let key = headers(&[("x-api-key", "k3y")]);
    for (visitor, headers, expected) in [
        (visitor("11.0.0.1", Some(&shown)), &key, Err(Denied::Network)),
        (visitor("10.0.0.1", None), &key, Err(Denied::Certificate)),
        (visitor("10.0.0.1", Some(&shown)), &HeaderMap::new(), Err(KEY)),
        (visitor("10.0.0.1", Some(&shown)), &key, as_who("app+name of k3y")),
    ] {
        assert_eq!(admit(&access, &visitor, headers), expected);
    }
    assert_eq!(admit_key(&access, &visitor("10.0.0.1", None), "k3y"), Err(Denied::Certificate));
    assert!(access.rules().eq([Rule::Network, Rule::Certificate, Rule::Key]));
}

#[test]
fn a_key_a_user_and_a_certificate_of_one_name_are_told_apart() {
    let alice = ApiKey { name: "alice".to_owned(), digest: KeyDigest::of(b"k3y") };
    let by_key = ready(AccessPolicy { api_keys: vec![alice], ..AccessPolicy::default() });
    let by_user = ready(AccessPolicy { users: users(), ..AccessPolicy::default() });
    let any = Some(CertificateRule::Any);
    let by_certificate = ready(AccessPolicy { client_certificates: any, ..AccessPolicy::default() });
    let shown = ClientCertificate { names: vec!["alice".to_owned()], common_name: None };
    let visitor = Visitor { address: None, certificate: Some(&shown) };
    let (key, user) = (headers(&[("x-api-key", "k3y")]), headers(&[("authorization", &basic("alice:hunter2"))]));
    let mut identities = Vec::new();
    for (access, headers) in [(&by_key, &key), (&by_user, &user), (&by_certificate, &HeaderMap::new())] {
        let admitted = access.admit(&visitor, headers).unwrap().at_once().unwrap();
        assert_eq!(admitted.who.as_deref(), Some("alice"));
        identities.push(admitted.identity.unwrap());
    }
    identities.sort_unstable();
    identities.dedup();
    assert_eq!(identities.len(), 3);
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
        prop_assert_eq!(admit(&access, &from("10.0.0.1"), &map), Err(KEY));
        access.remove_key(&mut map);
        prop_assert!(!map.contains_key("x-api-key"));
    }
}
