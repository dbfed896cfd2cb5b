//! Who may come in: users, tokens, client certificates.

use super::*;
use crate::model::KeySource;

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$DIqnLW7AWEIjVElcDbsvBaRNw77FPk/OaVlxpG8v3vU";
const KEY: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// `BASE` with this access, beside a file `jwks.json` and one that is none.
fn read_beside(access: &str) -> Result<Loaded, Problems> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("jwks.json"), KEY).unwrap();
    std::fs::write(folder.path().join("oct.json"), r#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#).unwrap();
    load_bytes(&folder.path().join("proxy.yaml"), format!("{BASE}    access: {access}\n").as_bytes(), &environment)
}

fn complaints(access: &str) -> Vec<String> {
    let problems = read_beside(access).err().unwrap_or_else(|| panic!("was taken: {access}"));
    let strip = |told: String| told.split_once(": ").map(|(_, told)| told.to_owned()).unwrap();
    told(&problems.list).into_iter().map(strip).collect()
}

#[test]
fn users_and_tokens_are_taken_with_their_defaults() {
    let loaded = read_beside(&format!("{{users: [{{name: alice, password: '{HASH}'}}]}}")).unwrap();
    assert_eq!(loaded.settings.routes[0].access.users[0].name, "alice");
    let shown = effective(&loaded, Format::Yaml);
    assert!(shown.contains("password: '***'") && !shown.contains("argon2") && shown.contains("name: alice"), "{shown}");

    let loaded = read_beside(
        "{jwt: {issuer: 'https://i', audience: [a, b], jwks: jwks.json, claims: {scope: r w, on: true, n: 7}}}",
    )
    .unwrap();
    let jwt = loaded.settings.routes[0].access.jwt.as_ref().unwrap();
    assert_eq!((jwt.issuer.as_str(), jwt.audience.as_slice()), ("https://i", &["a".to_owned(), "b".to_owned()][..]));
    assert_eq!((jwt.algorithms.len(), jwt.leeway.as_secs()), (5, 60));
    let words = |name: &str| jwt.claims.iter().find(|(claim, _)| claim == name).unwrap().1.join(",");
    assert_eq!((words("scope"), words("on"), words("n")), ("r,w".to_owned(), "true".to_owned(), "7".to_owned()));
    assert!(matches!(jwt.keys, KeySource::File(_)));
    assert!(loaded.settings.files.iter().any(|file| file.ends_with("jwks.json")), "it is watched");
    let shown = effective(&loaded, Format::Yaml);
    assert!(shown.contains("scope: r w") && shown.contains("n: 7"), "what a token must have is no secret: {shown}");
    assert!(shown.contains("leeway: 60s") && shown.contains("- EdDSA") && shown.contains("jwks: jwks.json"), "{shown}");

    let loaded = read_beside(
        "{jwt: {issuer: i, audience: a, jwks: 'https://i.example/jwks?x=CANARY', leeway: 0s, algorithms: [ES256]}}",
    )
    .unwrap();
    let jwt = loaded.settings.routes[0].access.jwt.as_ref().unwrap();
    assert!(matches!(&jwt.keys, KeySource::Url(source) if source.url.target() == "/jwks?x=CANARY"));
    assert!(!effective(&loaded, Format::Yaml).contains("CANARY"));
    assert!(read_beside("{jwt: {issuer: i, audience: a, jwks: 'http://127.0.0.1:9/jwks'}}").is_ok());
}

#[test]
fn what_can_never_hold_or_is_no_hash_is_refused_with_its_mend() {
    let hash = "make one with `tokenferry hash-password`";
    for (access, complaint) in [
        ("{users: [{name: a, password: hunter2}]}", format!("is no hash of a password | {hash}")),
        (
            "{users: [{name: a, password: $2b$12$eImiTXuWVxfM37uY4JANjQ}]}",
            format!("is a hash of another kind than argon2 | {hash}"),
        ),
        ("{users: [{name: a, password: $argon2id$x}]}", format!("is no sound argon2 hash | {hash}")),
        (
            &format!("{{users: [{{name: a, password: '{}'}}]}}", HASH.replace("m=19456", "m=1048576")),
            "asks for more than 256 MiB of memory, 16 passes or 16 lanes | make a cheaper one with `tokenferry \
             hash-password`"
                .to_owned(),
        ),
        (
            &format!("{{users: [{{name: 'a:b', password: '{HASH}'}}]}}"),
            "a user's name can have no ':' | choose a name without one: nobody could log in by it".to_owned(),
        ),
        (
            &format!("{{users: [{{name: a, password: '{HASH}'}}, {{name: a, password: '{HASH}'}}]}}"),
            "another user has this name | give each user a name of their own".to_owned(),
        ),
        ("{users: [{name: a}]}", format!("`password` is missing | {hash}")),
        ("{users: [{password: x}]}", "`name` is missing | say who it is: `name: alice`".to_owned()),
        (
            &format!("{{users: [{{name: a, password: '{HASH}'}}], jwt: {{issuer: i, audience: a, jwks: jwks.json}}}}"),
            "no request can have both a user and a token of `jwt`: each is in its Authorization | take one of the two \
             out, or write a route for each"
                .to_owned(),
        ),
        (
            "{jwt: {issuer: i, audience: a, jwks: 'http://i.example/jwks'}}",
            "whoever is on the way could put keys of their own in its place over plain http | use https://".to_owned(),
        ),
        (
            "{jwt: {issuer: i, audience: a, jwks: 'https://u:CANARY@i.example/jwks'}}",
            "must not hold a user name or password | take what is before the '@' out: public keys are asked for without a \
             login"
                .to_owned(),
        ),
        (
            "{jwt: {issuer: '***', audience: a, jwks: jwks.json}}",
            "is the mask of `tokenferry config`, not a value | write the value, or better ${NAME} or ${file:/path}"
                .to_owned(),
        ),
        (
            "{deny: []}",
            "has no rule, and so does not say who may come in | write `public` for everyone, or add `api_keys`, \
             `users`, `jwt`, `client_certificates`, `allow` or `deny`"
                .to_owned(),
        ),
        (
            "{jwt: {issuer: i, audience: a, jwks: missing.json}}",
            "the file does not exist | create it, or mend the path; a relative one is relative to this file".to_owned(),
        ),
        (
            "{jwt: {issuer: i, audience: a, jwks: oct.json}}",
            "the file has no key that signatures can be verified with | name a JWK set (RFC 7517) with public keys: RSA \
             of 2048 bits or more, P-256, P-384, Ed25519"
                .to_owned(),
        ),
        (
            "{jwt: {issuer: i, audience: [], jwks: jwks.json}}",
            "the list is empty, and so lets nobody in | write one at least".to_owned(),
        ),
        (
            "{jwt: {issuer: i, audience: a, jwks: jwks.json, leeway: 1h}}",
            "must be 10 minutes at most | write 60s, and set the clocks right".to_owned(),
        ),
        (
            "{jwt: {issuer: i, audience: a, jwks: jwks.json, claims: {aud: x}}}",
            "this claim has its own rule | take it out: `issuer`, `audience` and the times are looked at anyway".to_owned(),
        ),
        (
            "{client_certificates: any}",
            "no listener asks for client certificates, so nobody would be let in | add `tls: {cert: ..., key: ..., \
             client_ca: clients.pem}` to a listener"
                .to_owned(),
        ),
        (
            "{client_certificates: {names: []}}",
            "the list is empty, and so lets nobody in | take `names` out for every certificate that is vouched for"
                .to_owned(),
        ),
        (
            "{client_certificates: all}",
            "must be `any`, or a map | write any, or {names: [app.internal]}".to_owned(),
        ),
    ] {
        assert_eq!(complaints(access), [complaint], "{access}");
    }
    for word in ["HS256", "none", "rs256"] {
        let told = complaints(&format!("{{jwt: {{issuer: i, audience: a, jwks: jwks.json, algorithms: [{word}]}}}}"));
        assert!(told.len() == 1 && told[0].contains("RS256"), "{told:?}");
        let mend =
            if word == "rs256" { "did you mean `RS256`?" } else { "a secret that is shared, or none, is never taken" };
        assert!(told[0].ends_with(mend), "{told:?}");
    }
    let told = complaints("{jwt: {}}");
    assert_eq!(told.len(), 3, "{told:?}");
    let told = complaints("{client_certificates: {names: ['spiffe://trust/*']}}");
    assert!(told.iter().all(|told| told.starts_with("is no name that a certificate can have")), "{told:?}");
}
