use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use rcgen::{BasicConstraints, DnType, ExtendedKeyUsagePurpose, IsCa, SanType, date_time_ymd};
use rustls::server::WebPkiClientVerifier;

use super::*;
use crate::model::ServerIdentity;
use crate::upstream::testing::{Authority, PATIENCE, Served, self_signed, server_config, target};
use crate::upstream::{ConnectError, OnceError, Upstream, once};

/// What a request to this upstream comes to, and how many requests it has seen.
async fn ask(served: &Served, change: impl FnOnce(&mut Target)) -> (Result<(), OnceError>, usize) {
    let mut target = target(&format!("https://127.0.0.1:{}", served.address.port()));
    change(&mut target);
    let upstream = Upstream::new(target, &Roots::none()).unwrap();
    let request = Request::get("/").body(Full::new(Bytes::from_static(b"secret"))).unwrap();
    let result = once(&upstream, request, PATIENCE, 1 << 20).await;
    (result.map(|response| assert_eq!(response.status(), 200)), served.requests())
}

async fn refused(identity: &ServerIdentity, what: &str, change: impl FnOnce(&mut Target)) {
    let served = Served::tls(server_config(identity, &[])).await;
    let (result, requests) = ask(&served, change).await;
    let Err(OnceError::Connect(error)) = result else { panic!("{what}: {result:?}") };
    assert!(error.is_certificate(), "{what}: {error:?}");
    assert_eq!(error.proxy_status(), "tls_certificate_error", "{what}");
    assert_eq!(requests, 0, "{what}");
}

async fn taken(identity: &ServerIdentity, what: &str, change: impl FnOnce(&mut Target)) {
    let served = Served::tls(server_config(identity, &[])).await;
    let (result, requests) = ask(&served, change).await;
    assert!(result.is_ok(), "{what}: {result:?}");
    assert_eq!(requests, 1, "{what}");
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_is_refused_before_a_byte_of_the_request() {
    let authority = Authority::new();
    let here = &["127.0.0.1"];
    let cases = [
        ("wrong host", authority.identity(&["elsewhere.test"], |_| {})),
        ("wrong address", authority.identity(&["127.0.0.2"], |_| {})),
        (
            "an address written as a name",
            authority.identity(&[], |params| {
                params.subject_alt_names = vec![SanType::DnsName("127.0.0.1".try_into().unwrap())];
            }),
        ),
        (
            "a common name only",
            authority.identity(&[], |params| {
                params.distinguished_name.push(DnType::CommonName, "127.0.0.1");
            }),
        ),
        ("expired", authority.identity(here, |params| params.not_after = date_time_ymd(2020, 1, 1))),
        ("not yet valid", authority.identity(here, |params| params.not_before = date_time_ymd(2999, 1, 1))),
        (
            "an authority itself",
            authority.identity(here, |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }),
        ),
        (
            "for clients only",
            authority.identity(here, |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
        ),
        ("unknown authority", Authority::new().identity(here, |_| {})),
        ("self-signed", self_signed(here, |_| {})),
    ];
    for (what, identity) in &cases {
        refused(identity, what, |target| target.tls.ca = Some(authority.roots())).await;
    }
    let good = authority.identity(here, |_| {});
    refused(&good, "wrong server_name", |target| {
        target.tls.ca = Some(authority.roots());
        target.tls.server_name = Some("other.test".to_owned());
    })
    .await;
    taken(&good, "the counter-check", |target| target.tls.ca = Some(authority.roots())).await;
}

#[tokio::test]
async fn a_server_name_is_asked_for_and_verified_instead_of_the_host() {
    let authority = Authority::new();
    let identity = authority.identity(&["api.test"], |_| {});
    taken(&identity, "named", |target| {
        target.tls.ca = Some(authority.roots());
        target.tls.server_name = Some("api.test".to_owned());
    })
    .await;
}

#[tokio::test]
async fn insecure_takes_any_certificate() {
    for identity in [
        self_signed(&["elsewhere.test"], |params| params.not_after = date_time_ymd(2020, 1, 1)),
        Authority::new().identity(&[], |_| {}),
    ] {
        taken(&identity, "insecure", |target| target.tls.insecure = true).await;
    }
}

#[tokio::test]
async fn a_self_signed_certificate_named_as_ca_is_taken_for_its_name_and_its_time() {
    for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let own = |names: &[&str], expired: bool| {
            self_signed(names, |params| {
                params.is_ca = is_ca;
                if expired {
                    params.not_after = date_time_ymd(2020, 1, 1);
                }
            })
        };
        let named = |identity: &ServerIdentity| {
            let ca = Arc::new(identity.chain.clone());
            move |target: &mut Target| target.tls.ca = Some(ca)
        };
        let identity = own(&["127.0.0.1"], false);
        taken(&identity, "itself", named(&identity)).await;
        let identity = own(&["elsewhere.test"], false);
        refused(&identity, "wrong host", named(&identity)).await;
        let identity = own(&["127.0.0.1"], true);
        refused(&identity, "expired", named(&identity)).await;
        let other = own(&["127.0.0.1"], false);
        refused(&own(&["127.0.0.1"], false), "another of the same name", named(&other)).await;
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_without_one_nothing_is_heard() {
    let authority = Authority::new();
    let identity = authority.identity(&["127.0.0.1"], |_| {});
    let client = authority.identity(&["client.test"], |_| {});
    let mut roots = RootCertStore::empty();
    roots.add(authority.roots()[0].clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .unwrap();
    let served = Served::tls(config).await;

    let (result, requests) = ask(&served, |target| target.tls.ca = Some(authority.roots())).await;
    // In TLS 1.3 the server's refusal comes after the client's handshake is done.
    assert!(matches!(result, Err(OnceError::Broken(_) | OnceError::Connect(_))), "{result:?}");
    assert_eq!(requests, 0);

    let (result, requests) = ask(&served, |target| {
        target.tls.ca = Some(authority.roots());
        target.tls.client = Some(client);
    })
    .await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(requests, 1);
}

#[tokio::test]
async fn an_upstream_that_speaks_no_tls_is_no_matter_of_certificates() {
    let served = Served::plain().await;
    let (result, requests) = ask(&served, |target| target.tls.insecure = true).await;
    let Err(OnceError::Connect(error)) = result else { panic!("{result:?}") };
    assert!(matches!(error, ConnectError::Tls(_)) && !error.is_certificate());
    assert_eq!(error.proxy_status(), "tls_protocol_error");
    assert_eq!(requests, 0);
}

#[tokio::test]
async fn a_session_is_resumed() {
    let authority = Authority::new();
    let identity = authority.identity(&["127.0.0.1"], |_| {});
    let mut target = target("https://127.0.0.1");
    target.tls.ca = Some(authority.roots());
    let tls = client_tls(&target, &Roots::none()).unwrap().unwrap();
    let server = Arc::new(server_config(&identity, &["h2", "http/1.1"]));
    for (config, kind) in [
        (&tls.any, rustls::HandshakeKind::Full),
        (&tls.any, rustls::HandshakeKind::Resumed),
        (&tls.http1, rustls::HandshakeKind::Resumed),
    ] {
        let (near, far) = tokio::io::duplex(1 << 16);
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&server));
        let (client, server) = tokio::join!(connector.connect(tls.name.clone(), near), acceptor.accept(far));
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        // The tickets come with the first bytes.
        tokio::io::AsyncWriteExt::write_all(&mut server, b"x").await.unwrap();
        tokio::io::AsyncWriteExt::flush(&mut server).await.unwrap();
        tokio::io::AsyncReadExt::read_u8(&mut client).await.unwrap();
        assert_eq!(client.get_ref().1.handshake_kind(), Some(kind));
    }
}

#[test]
fn a_target_that_cannot_be_judged_is_refused_when_it_is_made_ready() {
    let ready = |target: Target| Upstream::new(target, &Roots::none()).map(drop);
    assert!(matches!(ready(target("https://upstream.test")), Err(TlsSetupError::NoRoots)));
    assert!(ready(target("http://upstream.test")).is_ok(), "without TLS no roots are needed");
    let mut own = target("https://upstream.test");
    own.tls.ca = Some(Arc::default());
    assert!(matches!(ready(own), Err(TlsSetupError::NoRoots)));
    let mut broken = target("https://upstream.test");
    broken.tls.ca = Some(Arc::new(vec![CertificateDer::from(vec![1, 2, 3])]));
    assert!(matches!(ready(broken), Err(TlsSetupError::Rustls(_))));
    let mut misnamed = target("https://upstream.test");
    misnamed.tls.ca = Some(Authority::new().roots());
    misnamed.tls.server_name = Some("no name".to_owned());
    assert!(matches!(ready(misnamed), Err(TlsSetupError::ServerName)));
}

#[test]
fn nothing_printed_of_an_upstream_holds_a_key() {
    let mut target = target("https://upstream.test");
    let identity = self_signed(&["upstream.test"], |_| {});
    target.tls.ca = Some(Arc::new(identity.chain.clone()));
    target.tls.client = Some(identity);
    let upstream = Upstream::new(target, &Roots::none()).unwrap();
    assert!(format!("{upstream:?}").contains("key ***"));
}

#[tokio::test]
async fn a_token_call_over_tls_is_bounded_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut target = target(&format!("https://{}", listener.local_addr().unwrap()));
    target.tls.insecure = true;
    let upstream = Upstream::new(target, &Roots::none()).unwrap();
    let request = Request::get("/").body(Full::default()).unwrap();
    let result = once(&upstream, request, Duration::from_millis(50), 1).await;
    assert!(matches!(result, Err(OnceError::Timeout { sent: false })), "{result:?}");
}
