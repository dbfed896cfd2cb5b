use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::json;
use tokio::time::advance;

use super::*;
use crate::access::{Access, Denied, FetchError, Flaw, Judgement, Passwords};
use crate::model::{AccessPolicy, EndpointUrl, JwtRules, KeySetError, KeySource, KeyUrl, UpstreamTls, Visitor};

/// A set of one key with this name.
fn set(id: &str) -> KeySet {
    let text = format!(r#"{{"keys": [{{"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "{id}"}}]}}"#);
    KeySet::parse(text.as_bytes()).unwrap()
}

/// An issuer that is asked, each time for a key of another name; `None` stands for no answer.
struct Issuer {
    asked: Arc<AtomicUsize>,
    keyring: Arc<Keyring>,
}

fn source(fetch: FetchKeys) -> Source {
    Source { fetch, url: "https://issuer/jwks".to_owned() }
}

fn issuer(answers: &'static [Option<&'static str>], takes: Duration) -> Issuer {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let fetch: FetchKeys = Arc::new(move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let answer = answers.get(number).or(answers.last()).copied().flatten();
        Box::pin(async move {
            sleep(takes).await;
            answer.map(set).ok_or(FetchError::Keys(KeySetError::NoKeys))
        })
    });
    Issuer { asked, keyring: Keyring::fetching(source(fetch), "only".to_owned(), &Handle::current()) }
}

impl Issuer {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn has(&self, id: &str) -> bool {
        let keys = self.keyring.keys();
        keys.as_ref().is_some_and(|keys| keys.find(Some(id), jsonwebtoken::Algorithm::EdDSA).is_some())
    }
}

const QUICK: Duration = Duration::from_millis(20);

/// Lets so much time go by, with all that happens in it.
async fn wait(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_at_once_and_every_ten_minutes() {
    let issuer = issuer(&[Some("a"), Some("b"), Some("c")], QUICK);
    assert!(issuer.keyring.keys().is_none());
    wait(1).await;
    assert!(issuer.has("a") && issuer.asked() == 1);
    wait(598).await;
    assert_eq!(issuer.asked(), 1);
    wait(2).await;
    assert!(issuer.has("b") && !issuer.has("a") && issuer.asked() == 2);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_has_the_issuer_asked_at_most_every_half_minute_and_once_for_all() {
    let issuer = issuer(&[Some("a"), Some("b"), Some("c")], QUICK);
    wait(10).await;
    for _ in 0..100 {
        assert_eq!(issuer.keyring.refreshed().await, Refreshed::TooSoon);
    }
    wait(21).await;
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let keyring = Arc::clone(&issuer.keyring);
            tokio::spawn(async move { keyring.refreshed().await })
        })
        .collect();
    for task in waiting {
        assert_eq!(task.await.unwrap(), Refreshed::Asked);
    }
    assert!(issuer.has("b") && issuer.asked() == 2);
    assert_eq!(issuer.keyring.refreshed().await, Refreshed::TooSoon);
    // What was asked for is not asked for again when all are gone.
    wait(60).await;
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn keys_without_names_are_asked_for_again_once_a_token_is_by_none_of_them() {
    let signing = |_| KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let keys = [0, 1].map(signing);
    let set = |key: &KeyPair| {
        let point = key.public_key_raw();
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..])});
        KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap()
    };
    let (rotated, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (sets, place, count) = (keys.each_ref().map(set), Arc::clone(&rotated), Arc::clone(&asked));
    let fetch: FetchKeys = Arc::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        let set = sets[place.load(Ordering::SeqCst)].clone();
        Box::pin(async move { Ok(set) })
    });
    let keyring = Keyring::fetching(source(fetch), "only".to_owned(), &Handle::current());
    let url = KeyUrl {
        url: EndpointUrl::parse("https://issuer/jwks").unwrap(),
        label: String::new(),
        tls: UpstreamTls::default(),
    };
    let rules = JwtRules {
        issuer: "i".to_owned(),
        audience: vec!["a".to_owned()],
        algorithms: vec![Algorithm::ES256],
        claims: Vec::new(),
        leeway: Duration::ZERO,
        keys: KeySource::Url(Box::new(url)),
    };
    let policy = AccessPolicy { jwt: Some(Arc::new(rules)), ..AccessPolicy::default() };
    let access = Access::new(policy, Some(keyring), Passwords::new(Handle::current()));
    let judged = async |key: &KeyPair| {
        let claims = json!({"iss": "i", "aud": "a", "exp": 9_000_000_000_u64});
        let signed = EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).unwrap();
        let head = Header { kid: Some("any".to_owned()), ..Header::new(Algorithm::ES256) };
        let token = encode(&head, &claims, &signed).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        match access.admit(&Visitor::default(), &headers) {
            Ok(Judgement::Admitted(_)) => Ok(()),
            Ok(Judgement::Pending(pending)) => pending.settle().await.map(drop),
            Err(denied) => Err(denied),
        }
    };
    wait(1).await;
    assert_eq!((judged(&keys[0]).await, asked.load(Ordering::SeqCst)), (Ok(()), 1));
    rotated.store(1, Ordering::SeqCst);
    let none = Err(Denied::Token(Flaw::NoKey(Algorithm::ES256)));
    assert_eq!((judged(&keys[1]).await, asked.load(Ordering::SeqCst)), (none.clone(), 1));
    wait(30).await;
    assert_eq!((judged(&keys[1]).await, asked.load(Ordering::SeqCst)), (Ok(()), 2));
    assert_eq!(judged(&keys[0]).await, none, "the old key is out");
}

#[tokio::test(start_paused = true)]
async fn keys_at_hand_serve_while_the_issuer_is_away_and_it_is_not_stormed() {
    let issuer = issuer(&[Some("a"), None], QUICK);
    wait(650).await;
    assert!(issuer.has("a") && issuer.asked() > 1);
    let before = issuer.asked();
    wait(3600).await;
    assert!(issuer.has("a"));
    let status = issuer.keyring.status().unwrap();
    assert_eq!(status.failure.as_deref(), Some("the answer has no key that signatures can be verified with"));
    assert_eq!(status.age.unwrap().as_secs(), 3600 + 649);
    assert!((100..=125).contains(&(issuer.asked() - before)), "{}", issuer.asked() - before);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_away_at_first_is_asked_again_soon() {
    let issuer = issuer(&[None, None, Some("a")], QUICK);
    wait(1).await;
    assert!(issuer.keyring.keys().is_none() && issuer.asked() == 2);
    let failing = issuer.keyring.status().unwrap();
    assert!(failing.age.is_none() && failing.failure.is_some(), "{failing:?}");
    wait(1).await;
    assert!(issuer.has("a"));
    let well = issuer.keyring.status().unwrap();
    assert!(well.age.is_some() && well.failure.is_none(), "{well:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_issuer_that_hangs_goes_on_after_a_while_and_not_all_may_wait() {
    let issuer = issuer(&[Some("a")], Duration::from_secs(3600));
    wait(1).await;
    let waiting: Vec<_> = (0..MOST_WAITING + 10)
        .map(|_| {
            let keyring = Arc::clone(&issuer.keyring);
            tokio::spawn(async move { keyring.refreshed().await })
        })
        .collect();
    let mut crowded = 0;
    for task in waiting {
        crowded += usize::from(task.await.unwrap() == Refreshed::Crowded);
    }
    assert_eq!((crowded, issuer.asked()), (10, 1));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_once_the_keyring_is_gone() {
    let issuer = issuer(&[Some("a")], QUICK);
    wait(1).await;
    let asked = Arc::clone(&issuer.asked);
    drop(issuer);
    advance(Duration::from_secs(3600)).await;
    wait(1).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
