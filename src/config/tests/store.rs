//! Where tokens are kept.

use std::time::Duration;

use super::*;

const KEY: &str = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";
const OTHER: &str = "ASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4mrze8=";
const URL: &str = "redis://:CANARY-password@store.internal:6380/2";

fn with(store: &str) -> String {
    format!("{BASE}store: {store}\n")
}

fn redis(loaded: &Loaded) -> &RedisSettings {
    match &loaded.settings.store {
        StoreSettings::Redis(redis) => redis,
        StoreSettings::Memory => panic!("in memory"),
    }
}

#[test]
fn tokens_are_kept_in_memory_unless_a_store_is_named() {
    for yaml in [BASE.to_owned(), with(""), with("{kind: memory}")] {
        assert_eq!(taken(&yaml).settings.store, StoreSettings::Memory, "{yaml}");
    }
}

#[test]
fn a_store_has_the_contracts_defaults() {
    let loaded = taken(&with(&format!("{{kind: redis, url: \"{URL}\", encryption_key: {KEY}}}")));
    let redis = redis(&loaded);
    assert_eq!((redis.key_prefix.as_str(), redis.timeout), ("tokenferry", Duration::from_millis(250)));
    assert_eq!(redis.server.addr().to_string(), "store.internal:6380");
    assert_eq!(redis.server.redis_settings().db(), 2);
    assert_eq!(redis.server.redis_settings().password(), Some("CANARY-password"));
}

#[test]
fn the_first_of_several_keys_seals() {
    let loaded = taken(&with(&format!("{{kind: redis, url: \"{URL}\", encryption_key: [{OTHER}, \"{KEY}\"]}}")));
    let one = taken(&with(&format!("{{kind: redis, url: \"{URL}\", encryption_key: {OTHER}}}")));
    let sealed = redis(&loaded).keys.seal("x", b"token").unwrap();
    assert_eq!(redis(&one).keys.open("x", &sealed).unwrap().as_slice(), b"token");
}

#[test]
fn a_store_that_differs_in_anything_is_another() {
    let of = |more: &str| taken(&with(&format!("{{kind: redis, {more}}}"))).settings.store.clone();
    let one = of(&format!("url: redis://a, encryption_key: {KEY}"));
    assert_eq!(one, of(&format!("encryption_key: [{KEY}], key_prefix: tokenferry, url: redis://a, timeout: 250ms")));
    for other in [
        format!("url: redis://b, encryption_key: {KEY}"),
        format!("url: redis://a, encryption_key: {OTHER}"),
        format!("url: redis://a, encryption_key: [{KEY}, {OTHER}]"),
        format!("url: redis://a, encryption_key: {KEY}, key_prefix: x"),
        format!("url: redis://a, encryption_key: {KEY}, timeout: 1s"),
    ] {
        assert_ne!(one, of(&other), "{other}");
    }
}

#[test]
fn each_fault_of_a_store_is_told_with_its_place_and_mend() {
    const MAKE: &str = "make one with: openssl rand -base64 32";
    let mut missed = Vec::new();
    let redis = |more: &str| format!("{{kind: redis, url: redis://a, encryption_key: {more}}}");
    for (store, expected) in [
        ("{}".to_owned(), "8:1 store: `kind` is missing | write `kind: redis`, or `kind: memory`".to_owned()),
        ("{kind: disk}".to_owned(), "8:15 store.kind: must be `memory` or `redis` | write one of them".to_owned()),
        (
            "{kind: redis}".to_owned(),
            "8:1 store: `url` is missing | add `url: redis://127.0.0.1:6379/0`".to_owned(),
        ),
        (
            "{kind: redis, url: redis://a}".to_owned(),
            format!("8:1 store: `encryption_key` is missing | tokens are sealed with it: {MAKE}"),
        ),
        (redis("aGVsbG8="), format!("8:54 store.encryption_key: the key must be 32 bytes in base64, and is 5 bytes | {MAKE}")),
        (redis("hunter2!"), format!("8:54 store.encryption_key: the key is not base64 | {MAKE}")),
        (redis(&format!("[{KEY}, hunter2!]")), format!("8:101 store.encryption_key[1]: the key is not base64 | {MAKE}")),
        (redis("[]"), format!("8:38 store.encryption_key: there is no key | {MAKE}")),
        (
            "{kind: memory, timeout: 1s}".to_owned(),
            "8:23 store.timeout: is of no use to a store in memory | write `kind: redis`, or take it out".to_owned(),
        ),
        (
            format!("{{kind: redis, encryption_key: {KEY}, url: http://a}}"),
            "8:89 store.url: must begin with redis:// or rediss:// | write redis://HOST:6379/0, or rediss:// for TLS, with odd characters of a password as %XX".to_owned(),
        ),
        (
            format!("{{kind: redis, encryption_key: {KEY}, url: redis://a/x}}"),
            "8:89 store.url: is not the URL of a Redis server | write redis://HOST:6379/0, or rediss:// for TLS, with odd characters of a password as %XX".to_owned(),
        ),
        (
            format!("{{kind: redis, encryption_key: {KEY}, url: redis://a, key_prefix: 'a{{b'}}"),
            "8:112 store.key_prefix: must be 1 to 100 visible ASCII characters, without braces, quotes and backslashes | write a word such as tokenferry".to_owned(),
        ),
    ] {
        let told = told(&refused(&with(&store)).list);
        assert!(!told.join(" ").contains("hunter2"));
        if !told.contains(&expected) {
            missed.push(format!("{store}\n  expected {expected}\n  told     {told:#?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn no_password_and_no_key_of_a_store_is_shown_anywhere() {
    for keys in [KEY.to_owned(), format!("[{KEY}, \"{OTHER}\"]"), format!("\n    - {KEY}\n    - {OTHER}")] {
        let fields = format!("\n  kind: redis\n  url: {URL}\n  encryption_key: {keys}\n  key_prefix: shown\n");
        let loaded = taken(&with(&fields));
        let shown = effective(&loaded, Format::Yaml);
        assert!(shown.contains("key_prefix: shown") && shown.contains("timeout: 250ms"), "{shown}");
        let all = [shown, effective(&loaded, Format::Json), format!("{:?}", loaded.settings)].concat();
        // The same, where it does not pass.
        let refused = refused(&with(&format!("{fields}  tiemout: 1s\n  timeout: x\n")));
        let all = [all, render(&refused.list, false), to_json(&refused.list).to_string()].concat();
        for secret in ["CANARY", KEY, OTHER] {
            assert!(!all.contains(secret), "{secret} in\n{all}");
        }
    }
}

#[test]
fn a_stores_url_is_shown_without_what_is_secret_in_it() {
    let shown = |url: &str| {
        let loaded = taken(&with(&format!("{{kind: redis, url: \"{url}\", encryption_key: {KEY}}}")));
        let json: serde_json::Value = serde_json::from_str(&effective(&loaded, Format::Json)).unwrap();
        json["store"]["url"].as_str().unwrap().to_owned()
    };
    for (url, expected) in [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://store.internal", "rediss://store.internal"),
        (URL, "redis://***@store.internal:6380/2"),
        ("redis://ann:CANARY%2F@[::1]:6380", "redis://***@[::1]:6380"),
        ("redis://:${SECRET}@store.internal:6379/1", "redis://***@store.internal:6379/1"),
        ("redis://store.internal:${PORT}/1", "redis://store.internal:***/1"),
    ] {
        assert_eq!(shown(url), expected);
    }
}
