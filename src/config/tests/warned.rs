//! What is odd about who may come in, and works all the same.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use super::*;

const GOOD: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$DIqnLW7AWEIjVElcDbsvBaRNw77FPk/OaVlxpG8v3vU";

/// `path: message` of each warning.
fn warned(yaml: &str) -> Vec<String> {
    taken(yaml).warnings.iter().map(|warning| format!("{}: {}", warning.path, warning.message)).collect()
}

fn with_route(more: &str) -> Vec<String> {
    warned(&format!("{BASE}    {more}\n"))
}

#[test]
fn weak_keys_and_hashes_are_told_of() {
    let key = |key: &str| with_route(&format!("access: {{api_keys: [{{name: a, key: '{key}'}}]}}"));
    let short = ["routes[0].access.api_keys[0].key: is short enough to be found by trying"];
    assert_eq!(key("123456789012345"), short);
    assert_eq!(key("1234567890123456"), Vec::<String>::new());
    assert_eq!(key(&format!("sha256:{}", "0".repeat(64))), Vec::<String>::new());

    let users = |hashes: &[String]| {
        let each = hashes.iter().enumerate().map(|(at, hash)| format!("{{name: u{at}, password: '{hash}'}}"));
        with_route(&format!("access: {{users: [{}]}}", each.collect::<Vec<_>>().join(", ")))
    };
    let cheap = "is cheap to guess at: it takes too little memory, or too few passes";
    for (from, to, expected) in [
        ("x", "x", None),
        ("m=19456,t=2", "m=7168,t=5", None),
        ("m=19456,t=2", "m=47104,t=1", None),
        ("m=19456,t=2", "m=8,t=1", Some(cheap)),
        ("m=19456,t=2", "m=4096,t=16", Some(cheap)),
        ("m=19456,t=2", "m=19456,t=1", Some(cheap)),
        ("argon2id", "argon2i", Some("is not of argon2id, the kind that withstands most")),
        ("argon2id", "argon2d", Some("is not of argon2id, the kind that withstands most")),
    ] {
        let expected = expected.map(|weakness| format!("routes[0].access.users[0].password: the hash {weakness}"));
        assert_eq!(users(&[GOOD.replace(from, to)]), expected.into_iter().collect::<Vec<_>>(), "{to}");
    }
    let dear = GOOD.replace("m=19456", "m=65536");
    assert_eq!(users(&[GOOD.to_owned(), GOOD.replace("c2Fs", "d2Fs")]), Vec::<String>::new());
    let told = users(&[GOOD.to_owned(), dear]);
    assert!(told.len() == 1 && told[0].starts_with("routes[0].access.users: the hashes differ in cost"), "{told:?}");
}

#[test]
fn rules_that_hold_for_others_than_meant_are_told_of() {
    let deny = |networks: &str| with_route(&format!("access: {{deny: [{networks}]}}"));
    for networks in ["'::/0'", "'::fffe:0:0/95'"] {
        assert_eq!(deny(networks), ["routes[0].access.deny[0]: denies no IPv4 client"], "{networks}");
    }
    for networks in ["'::/0', 0.0.0.0/0", "'::/0', 10.0.0.0/8", "'::ffff:0:0/96'", "'2001:db8::/32'", "10.0.0.0/8"] {
        assert_eq!(deny(networks), Vec::<String>::new(), "{networks}");
    }
    let limit = "limits: {rate: [{rate: 1/s, per: key}]}";
    let told = with_route(&format!("{limit}\n    access: public"));
    assert!(told.len() == 1 && told[0].starts_with("routes[0].limits.rate: nobody shows a key"), "{told:?}");
    let keys = "access: {api_keys: [{name: a, key: 0123456789abcdefg}]}";
    assert_eq!(with_route(&format!("{limit}\n    {keys}")), Vec::<String>::new());
}

#[test]
fn keys_in_the_clear_and_everybody_trusted_are_told_of() {
    let open = BASE.replace("127.0.0.1", "0.0.0.0");
    let clear = ["listeners[0].address: keys and passwords come in the clear from other machines"];
    let keys = "    access: {api_keys: [{name: a, key: 0123456789abcdefg}]}\n";
    assert_eq!(warned(&format!("{open}{keys}")), clear);
    assert_eq!(warned(&format!("{open}    access: {{users: [{{name: a, password: '{GOOD}'}}]}}\n")), clear);
    for quiet in [
        format!("{BASE}{keys}"),
        format!("{open}    access: public\n"),
        format!("{open}    access: {{allow: [10.0.0.0/8]}}\n"),
        format!("trusted_proxies: [10.0.0.0/24]\n{open}{keys}"),
    ] {
        assert_eq!(warned(&quiet), Vec::<String>::new(), "{quiet}");
    }
    let everyone = ["trusted_proxies: every client is trusted to say where it is"];
    assert_eq!(warned(&format!("trusted_proxies: ['0.0.0.0/0']\n{BASE}")), everyone);
}

#[test]
fn a_listener_with_the_proxy_protocol_that_nobody_could_connect_to_is_refused() {
    let listener = |address: &str, trusted: &str| {
        let listener = format!("{{address: '{address}', proxy_protocol: true}}");
        format!("trusted_proxies: [{trusted}]\n{}", BASE.replace("{address: 127.0.0.1:8080}", &listener))
    };
    for (address, trusted, message) in [
        (
            "unix:/x",
            "127.0.0.1",
            "nobody who comes by a Unix socket is in `trusted_proxies`, and so nobody could connect",
        ),
        ("127.0.0.1:1", "unix", "`trusted_proxies` has no address, and so nobody could connect"),
    ] {
        let problems = refused(&listener(address, trusted)).list;
        assert_eq!((problems.len(), problems[0].message.as_str()), (1, message));
        assert_eq!(problems[0].path, "listeners[0].proxy_protocol");
        assert_eq!(warned(&listener(address, "127.0.0.1, unix")), Vec::<String>::new());
    }
}

#[test]
fn certificates_that_are_never_shown_are_told_of_and_none_but_an_authoritys_vouches_for_clients() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        std::fs::set_permissions(folder.path().join(name), Permissions::from_mode(0o600)).unwrap();
    };
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "ours");
    let key = rcgen::KeyPair::generate().unwrap();
    write("ca.pem", &authority.self_signed(&key).unwrap().pem());
    let issuer = rcgen::Issuer::new(authority, key);
    for (file, names) in [
        ("one", &["a.example"][..]),
        ("two", &["b.example", "A.example"]),
        ("b", &["b.example"]),
        ("own", &["c.example"]),
    ] {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let (params, key) = (rcgen::CertificateParams::new(names).unwrap(), rcgen::KeyPair::generate().unwrap());
        let made = if file == "own" { params.self_signed(&key) } else { params.signed_by(&key, &issuer) };
        write(&format!("{file}.crt"), &made.unwrap().pem());
        write(&format!("{file}.key"), &key.serialize_pem());
    }
    let path = folder.path().join("proxy.yaml");
    let told = |more: &str| {
        let tls = format!("8080, tls: {{cert: one.crt, key: one.key, {more}}}}}");
        let loaded = load_bytes(&path, BASE.replace("8080}", &tls).as_bytes(), &environment);
        let (list, is_taken) = loaded.map_or_else(|problems| (problems.list, false), |loaded| (loaded.warnings, true));
        (list.iter().map(|told| format!("{}: {}", told.path, told.message)).collect::<Vec<_>>(), is_taken)
    };
    let never = |place: usize| {
        let message = "certificates before it have all of its names, and it is never shown";
        format!("listeners[0].tls.certificates[{place}].cert: {message}")
    };
    let two = "{cert: two.crt, key: two.key}";
    for (further, expected) in [
        ("{cert: own.crt, key: own.key}".to_owned(), None),
        ("{cert: one.crt, key: one.key}".to_owned(), Some(never(0))),
        // It is shown for the other one of its names.
        (two.to_owned(), None),
        (format!("{two}, {{cert: b.crt, key: b.key}}"), Some(never(1))),
        (format!("{{cert: b.crt, key: b.key}}, {two}"), Some(never(1))),
    ] {
        let expected = (expected.into_iter().collect::<Vec<_>>(), true);
        assert_eq!(told(&format!("certificates: [{further}]")), expected, "{further}");
    }
    assert_eq!(told("client_ca: ca.pem"), (Vec::new(), true));
    for leaf in ["own.crt", "two.crt"] {
        let message =
            "a certificate in the file is no authority's (CA:FALSE): whoever has its key could sign for any name";
        let expected = vec![format!("listeners[0].tls.client_ca: {message}")];
        assert_eq!(told(&format!("client_ca: {leaf}")), (expected, false), "{leaf}");
    }
}

#[test]
fn secrets_in_a_file_that_others_may_read_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.yaml");
    let warned = |yaml: &str, mode: u32| {
        std::fs::write(&path, yaml).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let loaded = load(&path, &environment).unwrap_or_else(|problems| panic!("{problems}"));
        loaded.warnings.iter().map(|warning| format!("{}: {}", warning.path, warning.message)).collect::<Vec<_>>()
    };
    for (mode, allows) in
        [(0o644, "lets others at it"), (0o606, "lets others at it"), (0o660, "lets its group write it")]
    {
        let message = format!("a secret stands in this file, and its mode {mode:04o} {allows}");
        assert_eq!(warned(BASE, mode), [format!("credentials.key.token: {message}")]);
    }
    assert_eq!(warned(BASE, 0o640), Vec::<String>::new());
    let referred = BASE.replace("token: x", "token: '${SECRET}'");
    let digest = format!("{referred}    access: {{api_keys: [{{name: a, key: 'sha256:{}'}}]}}\n", "0".repeat(64));
    assert_eq!(warned(&digest, 0o644), Vec::<String>::new());
}
