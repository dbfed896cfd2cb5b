use super::*;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, NamedGroup, RootCertStore, ServerConnection};

fn identity() -> ServerIdentity {
    made(&["localhost"])
}

fn only(identity: &ServerIdentity) -> ServerTls {
    ServerTls { first: identity.clone(), further: Vec::new(), clients: None, session_tickets: true }
}

/// A certificate for these names.
fn made(names: &[&str]) -> ServerIdentity {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    ServerIdentity {
        chain: vec![made.cert.der().clone()],
        key: Arc::new(PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap()),
    }
}

fn client(identity: &ServerIdentity, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    client_of(identity, alpn, rustls::ALL_VERSIONS)
}

/// A client that speaks only these versions.
fn client_of(
    identity: &ServerIdentity,
    alpn: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(identity.chain[0].clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    Arc::new(config)
}

/// A whole handshake in memory, with the tickets that follow it.
fn shake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> (ServerConnection, ClientConnection) {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    for _ in 0..4 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    (server, client)
}

#[test]
fn http2_is_preferred_and_http1_is_spoken_with_those_who_know_no_other() {
    let identity = identity();
    let config = server_config(&only(&identity)).unwrap();
    for (offered, chosen) in [
        (&[b"http/1.1".as_slice(), b"h2"][..], Some(b"h2".as_slice())),
        (&[b"http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let (server, _) = shake(&config, &client(&identity, offered));
        assert_eq!(server.alpn_protocol(), chosen);
    }
}

#[test]
fn the_key_exchange_is_the_post_quantum_hybrid() {
    let identity = identity();
    let (server, _) = shake(&server_config(&only(&identity)).unwrap(), &client(&identity, &[]));
    assert_eq!(server.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
}

#[test]
fn a_session_is_resumed_by_ticket_but_not_by_the_next_configuration() {
    let identity = identity();
    let config = server_config(&only(&identity)).unwrap();
    let client = client(&identity, &[]);
    assert_eq!(shake(&config, &client).0.handshake_kind(), Some(HandshakeKind::Full));
    assert_eq!(shake(&config, &client).0.handshake_kind(), Some(HandshakeKind::Resumed));
    let next = server_config(&only(&identity)).unwrap();
    assert_eq!(shake(&next, &client).0.handshake_kind(), Some(HandshakeKind::Full));
}

#[test]
fn without_tickets_no_session_is_resumed_in_either_version() {
    let identity = identity();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (session_tickets, second) in [(true, HandshakeKind::Resumed), (false, HandshakeKind::Full)] {
            let config = server_config(&ServerTls { session_tickets, ..only(&identity) }).unwrap();
            let client = client_of(&identity, &[], &[version]);
            assert_eq!(shake(&config, &client).0.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(shake(&config, &client).0.handshake_kind(), Some(second), "{version:?}, {session_tickets}");
        }
    }
}

#[test]
fn a_key_that_does_not_fit_is_an_error() {
    let identity = ServerIdentity { chain: identity().chain.clone(), key: identity().key.clone() };
    assert!(server_config(&only(&identity)).is_err());
}

#[test]
fn a_certificate_is_found_by_its_names_exact_before_wildcard_and_else_the_first() {
    let (first, wild) = (made(&["localhost", "Both.Example"]), made(&["*.example", "*.deep.example"]));
    let exact = made(&["api.example", "both.example"]);
    let tls = ServerTls { further: vec![wild.clone(), exact.clone()], ..only(&first) };
    let by_name = ByName::new(&tls, &aws_lc_rs::default_provider()).unwrap();
    for (asked, shown) in [
        ("localhost", Some(&first)),
        ("both.example", Some(&first)),
        ("api.example", Some(&exact)),
        ("API.Example", Some(&exact)),
        ("other.example", Some(&wild)),
        ("a.deep.example", Some(&wild)),
        ("a.b.example", None),
        ("example", None),
        ("deep.example", Some(&wild)),
        (".example", Some(&wild)),
        ("api.example.", None),
    ] {
        let found = by_name.find(asked).map(|key| &key.cert);
        assert_eq!(found, shown.map(|identity| &identity.chain), "{asked}");
    }
}
