//! The grants and client authentications beyond RFC 6749's own.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};

use super::*;
use crate::vendor::tests::occasion;
use crate::vendor::{FieldProblem, parse};

fn pem(algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    (key.serialize_pem(), key.public_key_pem())
}

/// The parameters of the body that is sent.
fn parameters(vendor: &dyn Vendor, occasion: &Occasion) -> Vec<(String, String)> {
    let Ok(Login::Request(request)) = vendor.login(occasion) else { panic!("nothing is sent") };
    form_urlencoded::parse(request.body.expose().as_bytes()).into_owned().collect()
}

fn parameter(vendor: &dyn Vendor, name: &str) -> String {
    parameters(vendor, &occasion()).into_iter().find(|(key, _)| key == name).unwrap().1
}

fn claims(token: &str, algorithm: Algorithm, public: &str) -> Value {
    let key = match algorithm {
        Algorithm::RS256 | Algorithm::PS256 => DecodingKey::from_rsa_pem(public.as_bytes()),
        Algorithm::EdDSA => DecodingKey::from_ed_pem(public.as_bytes()),
        _ => DecodingKey::from_ec_pem(public.as_bytes()),
    };
    let mut validation = Validation::new(algorithm);
    (validation.validate_exp, validation.validate_aud) = (false, false);
    decode::<Value>(token, &key.unwrap(), &validation).unwrap().claims
}

fn built(settings: &Value) -> Result<Arc<dyn Vendor>, Vec<FieldProblem>> {
    parse("oauth2", settings).unwrap_or_else(|e| panic!("{e}")).build(Some(EndpointUrl::parse(URL).unwrap()))
}

fn at(settings: &Value) -> Vec<String> {
    problems_at("oauth2", settings, Some(URL))
}

#[test]
fn a_refresh_token_is_sent_the_kept_one_before_the_first() {
    let vendor = vendor(json!({"grant": "refresh_token", "refresh_token": "first", "client_auth": "body"}));
    let body = sent(&*vendor).body;
    assert!(body.starts_with("grant_type=refresh_token&client_id="), "{body}");
    assert!(body.ends_with("&refresh_token=first"), "{body}");
    let later = Occasion { refresh_token: Some(Secret::new("second")), ..occasion() };
    assert!(parameters(&*vendor, &later).contains(&("refresh_token".to_owned(), "second".to_owned())));
    assert_eq!(vendor.first_refresh_token(), Some(&Secret::new("first")));
}

#[test]
fn the_refresh_token_of_an_answer_is_read_where_it_is_used() {
    let body = r#"{"access_token":"t","refresh_token":"second"}"#;
    let refreshing = vendor(json!({"grant": "refresh_token", "refresh_token": "first"}));
    assert_eq!(answer(&*refreshing, 200, body).unwrap().refresh_token, Some(Secret::new("second")));
    for without in [
        r#"{"access_token":"t"}"#,
        r#"{"access_token":"t","refresh_token":""}"#,
        r#"{"access_token":"t","refresh_token":null}"#,
    ] {
        assert_eq!(answer(&*refreshing, 200, without).unwrap().refresh_token, None, "{without}");
    }
    assert_eq!(answer(&*vendor(json!({})), 200, body).unwrap().refresh_token, None);
}

#[test]
fn a_refused_refresh_token_is_called_by_its_name() {
    let refreshing = vendor(json!({"grant": "refresh_token", "refresh_token": "first"}));
    let fault = answer(&*refreshing, 400, r#"{"error":"invalid_grant"}"#).unwrap_err();
    assert_eq!((fault.class, fault.reason), (FaultClass::Refused, FaultReason::RefreshToken));
    assert_eq!(fault.to_string(), "the token endpoint refused the refresh token (invalid_grant)");
    let other = answer(&*refreshing, 401, r#"{"error":"invalid_client"}"#).unwrap_err();
    assert_eq!(other.reason, FaultReason::Status(401));
}

#[test]
fn what_was_sent_for_one_login_alone_does_not_come_back_in_its_code() {
    let refreshing = vendor(json!({"grant": "refresh_token", "refresh_token": "first"}));
    let headers = http::HeaderMap::new();
    let sent = [Secret::new("s3cond")];
    let body = br#"{"error":"no s3cond here, nor first"}"#;
    let answer = Answer { status: http::StatusCode::BAD_REQUEST, headers: &headers, body, sent: &sent };
    assert_eq!(refreshing.read(&answer).unwrap_err().code.as_deref(), Some("no *** here, nor ***"));
    let later = Occasion { refresh_token: Some(Secret::new("s3cond")), ..occasion() };
    let Ok(Login::Request(request)) = refreshing.login(&later) else { panic!("nothing is sent") };
    assert_eq!(request.fleeting, sent);
}

#[test]
fn a_client_signs_that_it_is_itself_by_each_kind_of_key() {
    for (kind, algorithm) in [
        (&PKCS_ECDSA_P256_SHA256, Algorithm::ES256),
        (&PKCS_ECDSA_P384_SHA384, Algorithm::ES384),
        (&PKCS_ED25519, Algorithm::EdDSA),
        (&PKCS_RSA_SHA256, Algorithm::RS256),
    ] {
        let (private, public) = pem(kind);
        let settings =
            json!({"client_auth": "private_key_jwt", "client_id": "app", "private_key": private, "key_id": "k1"});
        let vendor = build("oauth2", &settings, Some(URL));
        assert_eq!(
            parameter(&*vendor, "client_assertion_type"),
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        );
        assert_eq!(parameter(&*vendor, "client_id"), "app");
        let token = parameter(&*vendor, "client_assertion");
        let header = decode_header(&token).unwrap();
        assert_eq!((header.alg, header.kid.as_deref()), (algorithm, Some("k1")));
        let now = occasion().now;
        let expected = json!({"iss": "app", "sub": "app", "aud": URL, "iat": now, "exp": now + 180, "jti": "n0nce"});
        assert_eq!(claims(&token, algorithm, &public), expected);
        assert_eq!(vendor.in_force().last().unwrap(), &("algorithm", vendor_algorithm(algorithm).to_owned()));
    }
}

fn vendor_algorithm(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::ES256 => "ES256",
        Algorithm::ES384 => "ES384",
        Algorithm::EdDSA => "EdDSA",
        _ => "RS256",
    }
}

#[test]
fn a_clients_assertion_may_be_for_another_audience_and_signed_as_it_is_told() {
    let (private, public) = pem(&PKCS_RSA_SHA256);
    let vendor = build(
        "oauth2",
        &json!({"client_auth": "private_key_jwt", "client_id": "app", "private_key": private, "algorithm": "PS256",
                "client_assertion_audience": "https://issuer.example"}),
        Some(URL),
    );
    let token = parameter(&*vendor, "client_assertion");
    assert_eq!(claims(&token, Algorithm::PS256, &public)["aud"], "https://issuer.example");
}

#[test]
fn a_key_that_does_not_sign_is_refused_at_its_field_and_not_shown() {
    let (ec, public) = pem(&PKCS_ECDSA_P256_SHA256);
    let settings = |key: &str| json!({"client_auth": "private_key_jwt", "client_id": "app", "private_key": key});
    let sec1 = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
    for (key, message) in [
        ("CANARY", "is no key in PEM"),
        (public.as_str(), "is no private key that can sign"),
        (sec1, "is in the older form of EC keys"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "is encrypted"),
        (&ec[..ec.len() / 2], "is no private key that can sign"),
    ] {
        let problems = built(&settings(key)).unwrap_err();
        let told: Vec<_> = problems.iter().map(|p| (p.field.as_str(), p.message.as_str())).collect();
        assert_eq!(told, [("private_key", message)], "{key}");
        assert!(!format!("{problems:?}").contains("CANARY"));
    }
    let mut wrong = settings(&ec);
    wrong["algorithm"] = "RS256".into();
    let problems = built(&wrong).unwrap_err();
    assert_eq!((problems[0].field.as_str(), problems.len()), ("algorithm", 1));
    assert!(problems[0].message.ends_with("it signs by ES256"), "{problems:?}");
    assert!(parse("oauth2", &json!({"algorithm": "HS256"})).is_err());
}

#[test]
fn an_assertion_is_sent_as_given_or_made_and_signed_here() {
    let given =
        vendor(json!({"grant": "jwt_bearer", "client_auth": "none", "client_secret": "", "assertion": "a.b.c"}));
    assert_eq!(parameter(&*given, "assertion"), "a.b.c");
    assert_eq!(parameter(&*given, "grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");

    let (private, public) = pem(&PKCS_ED25519);
    let signed = build(
        "oauth2",
        &json!({"grant": "jwt_bearer", "client_auth": "none", "assertion": {
            "private_key": private, "issuer": "svc@example", "subject": "user@example", "lifetime": "10m",
            "claims": {"scope": "a b", "n": 1, "deep": {"x": [true]}}}}),
        Some(URL),
    );
    let now = occasion().now;
    let expected = json!({"iss": "svc@example", "sub": "user@example", "aud": URL, "iat": now, "exp": now + 600,
                          "jti": "n0nce", "scope": "a b", "n": 1, "deep": {"x": [true]}});
    assert_eq!(claims(&parameter(&*signed, "assertion"), Algorithm::EdDSA, &public), expected);
    let Ok(Login::Request(request)) = signed.login(&occasion()) else { panic!("nothing is sent") };
    assert_eq!(request.fleeting.len(), 1, "a signed assertion is no setting, and is a secret all the same");
}

#[test]
fn an_assertions_parts_are_checked_each_at_its_field() {
    let (private, _) = pem(&PKCS_ED25519);
    let jwt = |assertion: Value| json!({"grant": "jwt_bearer", "client_auth": "none", "assertion": assertion});
    assert_eq!(at(&json!({"grant": "jwt_bearer", "client_auth": "none"})), ["assertion"]);
    assert_eq!(at(&jwt("".into())), ["assertion"]);
    assert_eq!(at(&jwt(json!({}))), ["assertion.private_key", "assertion.issuer"]);
    assert_eq!(at(&jwt(json!({"private_key": "x", "issuer": "i"}))), ["assertion.private_key"]);
    for (lifetime, wrong) in [("5", true), ("soon", true), ("0s", true), ("10ms", true), ("9000h", true), ("1h", false)]
    {
        let found = at(&jwt(json!({"private_key": private, "issuer": "i", "lifetime": lifetime})));
        assert_eq!(found.len(), usize::from(wrong), "{lifetime}: {found:?}");
    }
    assert_eq!(
        at(&jwt(json!({"private_key": private, "issuer": "i", "claims": {"exp": 1, "x": 2, "iss": "y"}}))),
        ["assertion.claims.exp", "assertion.claims.iss"]
    );
    assert_eq!(at(&jwt(json!({"private_key": private, "issuer": "i", "claims": [1]}))), ["assertion.claims"]);
}

#[test]
fn a_certificate_is_accompanied_by_the_clients_id_alone() {
    let settings = json!({"client_auth": "tls", "client_id": "app"});
    assert_eq!(sent(&*build("oauth2", &settings, Some(URL))).body, "grant_type=client_credentials&client_id=app");
    assert!(parse("oauth2", &settings).unwrap().shows_certificate());
    assert!(!parse("oauth2", &json!({})).unwrap().shows_certificate());
    assert_eq!(at(&json!({"client_auth": "tls", "client_secret": "s"})), ["client_id", "client_secret"]);
}

#[test]
fn tokens_are_exchanged_with_their_types() {
    let plain =
        vendor(json!({"grant": "token_exchange", "client_auth": "none", "client_secret": "", "client_id": "app",
                              "subject_token": "s", "audience": "api"}));
    let access = "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token";
    let begin = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&client_id=app&subject_token=s";
    assert_eq!(sent(&*plain).body, format!("{begin}&subject_token_type={access}&audience=api"));
    let full =
        vendor(json!({"grant": "token_exchange", "client_auth": "none", "client_secret": "", "client_id": "app",
                             "subject_token": "s", "subject_token_type": "urn:x", "actor_token": "a",
                             "requested_token_type": "urn:y"}));
    assert_eq!(
        sent(&*full).body,
        format!(
            "{begin}&subject_token_type=urn%3Ax&actor_token=a&actor_token_type={access}&requested_token_type=urn%3Ay"
        )
    );
    let answered = r#"{"access_token":"t","issued_token_type":"urn:y","token_type":"N_A","expires_in":60}"#;
    assert_eq!(answer(&*full, 200, answered).unwrap().token.expose(), "t");
    let placeholder: Value =
        serde_json::from_str(&full.placeholder(OwnCall::Login, "p", Duration::from_secs(60))).unwrap();
    assert_eq!((&placeholder["issued_token_type"], &placeholder["access_token"]), (&json!("urn:y"), &json!("p")));
}

#[test]
fn what_another_grant_or_client_auth_would_need_is_told_of() {
    let with = |more: Value| {
        let mut settings = json!({"client_id": "i", "client_secret": "s"});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        at(&settings)
    };
    assert_eq!(with(json!({"grant": "refresh_token"})), ["refresh_token"]);
    assert_eq!(with(json!({"grant": "token_exchange"})), ["subject_token"]);
    assert_eq!(with(json!({"refresh_token": "r", "assertion": "a"})), ["refresh_token", "assertion"]);
    assert_eq!(
        with(json!({"subject_token": "a", "actor_token": "b", "subject_token_type": "c", "actor_token_type": "d",
                    "requested_token_type": "e"})),
        ["subject_token", "actor_token", "subject_token_type", "actor_token_type", "requested_token_type"]
    );
    assert_eq!(
        with(json!({"grant": "token_exchange", "subject_token": "s", "actor_token_type": "t", "username": "u"})),
        ["actor_token_type", "username"]
    );
    assert_eq!(
        with(json!({"private_key": "k", "key_id": "k", "algorithm": "ES256", "client_assertion_audience": "a"})),
        ["private_key", "key_id", "client_assertion_audience", "algorithm"]
    );
    assert_eq!(with(json!({"client_auth": "private_key_jwt"})), ["client_secret", "private_key"]);
    let own =
        with(json!({"extra": {"refresh_token": "r", "client_assertion": "a", "subject_token": "s", "assertion": "x"}}));
    assert_eq!(own, ["extra.refresh_token", "extra.client_assertion", "extra.subject_token", "extra.assertion"]);
}

#[test]
fn a_secret_of_a_grant_is_a_version_and_the_rest_a_part() {
    let (first, second) = (pem(&PKCS_ED25519).0, pem(&PKCS_ED25519).0);
    let lasting = |settings: Value| {
        let identity = vendor(settings).identity();
        (identity.lasting().0, identity.secrets)
    };
    for (one, other) in [
        (
            json!({"grant": "refresh_token", "refresh_token": "a"}),
            json!({"grant": "refresh_token", "refresh_token": "b"}),
        ),
        (json!({"grant": "jwt_bearer", "assertion": "a"}), json!({"grant": "jwt_bearer", "assertion": "b"})),
        (
            json!({"grant": "jwt_bearer", "assertion": {"private_key": first, "issuer": "i"}}),
            json!({"grant": "jwt_bearer", "assertion": {"private_key": second, "issuer": "i"}}),
        ),
        (
            json!({"grant": "token_exchange", "subject_token": "a", "actor_token": "x"}),
            json!({"grant": "token_exchange", "subject_token": "b", "actor_token": "y"}),
        ),
    ] {
        let ((parts, secrets), (others, changed)) = (lasting(one), lasting(other));
        assert_eq!(parts, others);
        assert_ne!(secrets, changed);
    }
    let statement = |field: &str| {
        let mut assertion = json!({"private_key": first, "issuer": "i"});
        assertion[field] = "other".into();
        vendor(json!({"grant": "jwt_bearer", "assertion": assertion})).identity().parts
    };
    let all = [statement("issuer"), statement("subject"), statement("audience"), statement("key_id")];
    assert!(all.iter().enumerate().all(|(at, one)| all[at + 1..].iter().all(|other| one != other)));
}
