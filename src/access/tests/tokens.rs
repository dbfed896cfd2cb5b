//! Tokens, forged in every way.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{KeyPair as _, RsaKeyPair};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use serde_json::{Value, json};

use super::*;
use crate::model::{EndpointUrl, JwtRules, KeySet, KeyUrl, UpstreamTls};

/// An issuer with an RSA key `r` and an ECDSA key `e`.
struct Issuer {
    rsa: EncodingKey,
    ecdsa: EncodingKey,
    jwks: Value,
    /// The RSA key, as one may find it published.
    public: KeyPair,
}

/// An RSA key, and its public half as a JWK under this name.
fn rsa(id: &str) -> (KeyPair, EncodingKey, Value) {
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let public = RsaKeyPair::from_pkcs8(&key.serialize_der()).unwrap();
    let public = PublicKeyComponents::<Vec<u8>>::from(public.public_key());
    let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let jwk = json!({"kty": "RSA", "kid": id, "use": "sig", "n": b64(&public.n), "e": b64(&public.e)});
    let encoding = EncodingKey::from_rsa_pem(key.serialize_pem().as_bytes()).unwrap();
    (key, encoding, jwk)
}

static ISSUER: LazyLock<Issuer> = LazyLock::new(|| {
    let (key, rsa, jwk) = rsa("r");
    let ecdsa = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let point = ecdsa.public_key_raw();
    let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let jwks = json!({"keys": [
        jwk,
        {"kty": "EC", "kid": "e", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..])},
        {"kty": "oct", "kid": "o", "k": b64(b"shared")},
    ]});
    let ecdsa = EncodingKey::from_ec_pem(ecdsa.serialize_pem().as_bytes()).unwrap();
    Issuer { rsa, ecdsa, jwks, public: key }
});

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn rules() -> JwtRules {
    JwtRules {
        issuer: "https://login.example.com".to_owned(),
        audience: vec!["billing".to_owned(), "crm".to_owned()],
        algorithms: vec![Algorithm::RS256, Algorithm::PS256, Algorithm::ES256],
        claims: vec![("scope".to_owned(), vec!["read".to_owned()]), ("groups".to_owned(), vec!["staff".to_owned()])],
        leeway: std::time::Duration::from_secs(60),
        keys: KeySource::File(Arc::new(KeySet::parse(ISSUER.jwks.to_string().as_bytes()).unwrap())),
    }
}

fn access(rules: JwtRules) -> Access {
    ready(AccessPolicy { jwt: Some(Arc::new(rules)), ..AccessPolicy::default() })
}

fn claims() -> Value {
    json!({"iss": "https://login.example.com", "aud": "billing", "exp": now() + 300, "sub": "alice",
           "scope": "write read", "groups": ["staff", "other"]})
}

fn header(algorithm: Algorithm, id: Option<&str>) -> Header {
    Header { kid: id.map(str::to_owned), ..Header::new(algorithm) }
}

fn signed(claims: &Value) -> String {
    encode(&header(Algorithm::RS256, Some("r")), claims, &ISSUER.rsa).unwrap()
}

fn judged(access: &Access, token: &str) -> Result<Option<String>, Denied> {
    let headers = headers(&[("authorization", &format!("Bearer {token}"))]);
    let visitor = Visitor::default();
    admit(access, &visitor, &headers)
}

/// The same, with what is told of one that does not hold.
fn told(access: &Access, token: &str) -> Result<Option<String>, String> {
    judged(access, token).map_err(|denied| match denied {
        Denied::Token(flaw) if flaw.is_of_a_token() => flaw.to_string(),
        other => panic!("{other:?}"),
    })
}

fn with(claims: &Value, more: &Value) -> Value {
    let mut claims = claims.clone();
    for (name, value) in more.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

#[test]
fn a_token_of_the_issuer_lets_in_under_its_subjects_name() {
    let access = access(rules());
    let alice = Ok(Some("alice".to_owned()));
    let token = signed(&claims());
    // The second time it is remembered.
    assert_eq!(judged(&access, &token), alice);
    assert_eq!(judged(&access, &token), alice);
    for (algorithm, id, key) in [
        (Algorithm::RS256, Some("r"), &ISSUER.rsa),
        (Algorithm::PS256, Some("r"), &ISSUER.rsa),
        (Algorithm::RS256, None, &ISSUER.rsa),
        (Algorithm::ES256, Some("e"), &ISSUER.ecdsa),
        (Algorithm::ES256, None, &ISSUER.ecdsa),
    ] {
        let token = encode(&header(algorithm, id), &claims(), key).unwrap();
        assert_eq!(judged(&access, &token), alice, "{algorithm:?} {id:?}");
    }
    let mut left = headers(&[("authorization", &format!("Bearer {token}")), ("accept", "*/*")]);
    access.remove_key(&mut left);
    assert_eq!(left, headers(&[("accept", "*/*")]));
}

#[test]
fn what_a_token_says_is_held_against_every_rule() {
    let access = access(rules());
    let good = claims();
    let aud = "its aud is not of `audience`";
    let iss = "its iss is not `issuer`";
    let exp = "its exp is missing or is no time";
    let scope = "its scope is not what `claims` asks for";
    let groups = "its groups is not what `claims` asks for";
    for (more, wrong) in [
        (json!({"aud": ["other", "crm"]}), ""),
        (json!({"aud": "bill"}), aud),
        (json!({"aud": ["other"]}), aud),
        (json!({"aud": []}), aud),
        (json!({"aud": 7}), aud),
        (json!({"aud": null}), aud),
        (json!({"iss": "https://login.example.com/"}), iss),
        (json!({"iss": "HTTPS://login.example.com"}), iss),
        (json!({"iss": ["https://login.example.com"]}), iss),
        (json!({"iss": null}), iss),
        (json!({"exp": null}), exp),
        (json!({"exp": now() - 30}), ""),
        (json!({"exp": now() - 90}), "it expired 9"),
        (json!({"exp": 0}), "it expired "),
        (json!({"exp": -1}), exp),
        (json!({"exp": format!("{}", now() + 300)}), exp),
        (json!({"exp": f64::from(u32::try_from(now()).unwrap()) + 300.5}), ""),
        (json!({"exp": 1e300}), exp),
        (json!({"nbf": now() + 30}), ""),
        (json!({"nbf": now() + 99}), "its nbf is 9"),
        (json!({"nbf": "soon"}), "its nbf is missing or is no time"),
        (json!({"scope": "read"}), ""),
        (json!({"scope": ["read"]}), ""),
        (json!({"scope": "reader"}), scope),
        (json!({"scope": "write"}), scope),
        (json!({"scope": null}), "it lacks the claim scope"),
        (json!({"groups": "staff"}), ""),
        (json!({"groups": "staff other"}), groups),
        (json!({"groups": {"staff": true}}), groups),
        (json!({"groups": null}), "it lacks the claim groups"),
    ] {
        match told(&access, &signed(&with(&good, &more))) {
            Ok(who) => assert_eq!((wrong, who.as_deref()), ("", Some("alice")), "{more}"),
            Err(told) => assert!(!wrong.is_empty() && told.starts_with(wrong), "{more}: {told}"),
        }
    }
    for (subject, name) in [
        (json!("a\nb\u{1b}[31m\u{202e}c"), Some("ab[31mc".to_owned())),
        (json!("\u{e9}".repeat(60)), Some("\u{e9}".repeat(32))),
        (json!("\n"), None),
        (json!(7), None),
        (json!(null), None),
    ] {
        assert_eq!(judged(&access, &signed(&with(&good, &json!({"sub": subject.clone()})))), Ok(name), "{subject}");
    }
}

/// A token with this head, in the place of its own.
fn with_head(head: &Value, token: &str) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(head.to_string()))
}

#[test]
fn no_forged_token_lets_in() {
    let access = access(rules());
    let good = signed(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let (_, other, _) = rsa("r");
    let pem = ISSUER.public.public_key_pem();
    let hs256 = |key: &[u8], id: &str| {
        encode(&header(Algorithm::HS256, Some(id)), &claims(), &EncodingKey::from_secret(key)).unwrap()
    };
    let more = with(&claims(), &json!({"sub": "root"}));
    let (form, hs256_is) = ("it is no JWT, or its alg is none that is known", "its alg HS256 is not taken");
    let by_r = "its RS256 signature is not by the key with its kid `r`";
    let forged = [
        // alg none (RFC 8725 section 3.1), in every spelling.
        (with_head(&json!({"alg": "none"}), &good), form),
        (with_head(&json!({"alg": "None", "kid": "r"}), &good), form),
        (format!("{}.{}.", URL_SAFE_NO_PAD.encode("{\"alg\":\"none\"}"), parts[1]), form),
        // The public key as a shared secret.
        (hs256(ISSUER.public.public_key_raw(), "r"), hs256_is),
        (hs256(pem.as_bytes(), "r"), hs256_is),
        (hs256(pem.trim().as_bytes(), "r"), hs256_is),
        (hs256(ISSUER.jwks["keys"][0]["n"].as_str().unwrap().as_bytes(), "r"), hs256_is),
        (hs256(b"shared", "o"), hs256_is),
        // Another key, under its name or under none, or as the token brings it along.
        (encode(&header(Algorithm::RS256, Some("r")), &claims(), &other).unwrap(), by_r),
        (
            encode(&header(Algorithm::RS256, None), &claims(), &other).unwrap(),
            "none of the issuer's keys made its RS256 signature",
        ),
        (
            encode(&header(Algorithm::RS256, Some("un\u{1b}known")), &claims(), &ISSUER.rsa).unwrap(),
            "the issuer has no key with its kid `unknown`",
        ),
        (
            encode(&header(Algorithm::RS256, Some("e")), &claims(), &ISSUER.rsa).unwrap(),
            "its RS256 signature is not by the key with its kid `e`",
        ),
        (
            encode(&header(Algorithm::ES256, Some("r")), &claims(), &ISSUER.ecdsa).unwrap(),
            "its ES256 signature is not by the key with its kid `r`",
        ),
        // An algorithm that is not allowed, of the right key.
        (encode(&header(Algorithm::RS512, Some("r")), &claims(), &ISSUER.rsa).unwrap(), "its alg RS512 is not taken"),
        // What must be understood and is not.
        (
            encode(
                &Header { crit: Some(vec!["b64".to_owned()]), ..header(Algorithm::RS256, Some("r")) },
                &claims(),
                &ISSUER.rsa,
            )
            .unwrap(),
            "its head has crit, of which nothing is understood",
        ),
        // Changed, cut and stretched.
        (format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(more.to_string()), parts[2]), by_r),
        (format!("{}.{}.", parts[0], parts[1]), by_r),
        (format!("{}.{}", parts[0], parts[1]), form),
        (format!("{good}.{}", parts[2]), form),
        (format!("{good}="), by_r),
        (format!("{good} x"), by_r),
        (good[..good.len() - 2].to_owned(), by_r),
        ("x".to_owned(), form),
        ("..".to_owned(), form),
        (signed(&with(&claims(), &json!({"long": "x".repeat(16 << 10)}))), "it is longer than 16 KiB"),
    ];
    for (token, flaw) in &forged {
        assert_eq!(told(&access, token), Err((*flaw).to_owned()), "{token}");
    }
    assert!(judged(&access, &good).is_ok());
}

#[test]
fn a_key_that_a_token_names_or_brings_is_never_used() {
    let access = access(rules());
    let (_, key, jwk) = rsa("mine");
    for id in [None, Some("r"), Some("mine")] {
        let head = Header {
            jwk: Some(serde_json::from_value(jwk.clone()).unwrap()),
            jku: Some("http://127.0.0.1:9/jwks".to_owned()),
            x5u: Some("http://127.0.0.1:9/x5u".to_owned()),
            ..header(Algorithm::RS256, id)
        };
        assert!(told(&access, &encode(&head, &claims(), &key).unwrap()).is_err(), "{id:?}");
    }
}

#[test]
fn who_presents_no_token_is_told_of_no_error_and_one_in_two_places_is_none() {
    let access = access(rules());
    let token = format!("Bearer {}", signed(&claims()));
    let visitor = Visitor::default();
    for (lines, flaw) in [
        (&[][..], Flaw::Absent),
        (&[("authorization", "Basic YTpi")], Flaw::Absent),
        (&[("authorization", "Bearer ")], Flaw::Absent),
        (&[("x-api-key", token.as_str())], Flaw::Absent),
        (&[("authorization", token.as_str()), ("authorization", token.as_str())], Flaw::Doubled),
        (&[("authorization", "Bearer x")], Flaw::Form),
    ] {
        assert_eq!(admit(&access, &visitor, &headers(lines)), Err(Denied::Token(flaw)), "{lines:?}");
    }
}

#[test]
fn before_the_keys_are_there_nobody_is_at_fault() {
    let url = EndpointUrl::parse("https://login.example.com/jwks").unwrap();
    let keys = KeySource::Url(Box::new(KeyUrl { url, label: String::new(), tls: UpstreamTls::default() }));
    let access = access(JwtRules { keys, ..rules() });
    assert_eq!(judged(&access, &signed(&claims())), Err(Denied::NoKeys));
    assert_eq!(judged(&access, ""), Err(Denied::Token(Flaw::Absent)));
}

#[test]
fn subjects_that_are_named_alike_are_told_apart() {
    let access = access(rules());
    let identity = |subject: Value| {
        let mut claims = claims();
        claims["sub"] = subject;
        let headers = headers(&[("authorization", &format!("Bearer {}", signed(&claims)))]);
        access.admit(&Visitor::default(), &headers).unwrap().at_once().unwrap().identity.unwrap()
    };
    let long = "spiffe://trust.example/".repeat(4);
    let subjects = [json!(format!("{long}a")), json!(format!("{long}b")), json!("a\u{1b}b"), json!("ab"), json!(7)];
    for (place, one) in subjects.iter().enumerate() {
        for (other_place, other) in subjects.iter().enumerate() {
            assert_eq!(identity(one.clone()) == identity(other.clone()), place == other_place, "{one} {other}");
        }
    }
}
