//! Who shows what in the handshake: the listener its certificates, by the name that is asked for, and
//! clients theirs, where the listener has somebody to vouch for them.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use rustls::HandshakeKind;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::harness::eventually;
use crate::harness::process::Process;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, soon};
use crate::harness::tls::{Authority, Identity, connect};
use crate::harness::yaml::one_route;

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn listener(tls: &str, yaml: &str) -> String {
    format!("listeners: [{{address: '127.0.0.1:0', tls: {{cert: server.crt, key: server.key{tls}}}}}]\n{yaml}")
}

/// A folder with the server's certificate, and whoever vouches for it.
fn folder() -> (TempDir, Authority) {
    let (folder, authority) = (TempDir::new().unwrap(), Authority::new());
    authority.identity(&["localhost"]).write(folder.path(), "server");
    (folder, authority)
}

/// A request on this connection; `None` where the server ended it instead. In TLS 1.3 a client has
/// shaken hands before the server has judged its certificate.
async fn status(stream: std::io::Result<TlsStream<TcpStream>>) -> Option<u16> {
    let mut end = End::over(stream.ok()?);
    end.send(GET).await;
    end.head().await.map(|head| head.status())
}

fn client_only(params: &mut rcgen::CertificateParams) {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
}

#[tokio::test]
async fn a_client_without_a_certificate_that_holds_is_turned_away_in_the_handshake() {
    let upstream = Wire::ok().await;
    let (clients, strangers) = (Authority::new(), Authority::new());
    let between = clients.below(|_| {});
    let shown: Vec<(&str, Option<Identity>, bool)> = vec![
        ("none", None, false),
        ("a good one", Some(clients.issue(&["billing.internal"], client_only)), true),
        ("one without a purpose", Some(clients.identity(&["billing.internal"])), true),
        ("one of an authority between", Some(between.identity(&["billing.internal"]).behind(&between)), true),
        ("one of an authority that is missing", Some(between.identity(&["billing.internal"])), false),
        ("a stranger's", Some(strangers.identity(&["billing.internal"])), false),
        ("its own", Some(Identity::self_signed(&["billing.internal"])), false),
        (
            "an expired one",
            Some(clients.issue(&["billing.internal"], |params| {
                params.not_before = date_time_ymd(2020, 1, 1);
                params.not_after = date_time_ymd(2021, 1, 1);
            })),
            false,
        ),
        (
            "one that is not valid yet",
            Some(clients.issue(&["billing.internal"], |params| params.not_before = date_time_ymd(2200, 1, 1))),
            false,
        ),
        (
            "a server's",
            Some(clients.issue(&["billing.internal"], |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            })),
            false,
        ),
    ];
    for (auth, without) in [("", None), (", client_auth: require", None), (", client_auth: request", Some(200))] {
        let (folder, authority) = folder();
        clients.write(&folder.path().join("clients.pem"));
        let yaml = listener(&format!(", client_ca: clients.pem{auth}"), &one_route(&upstream.url(""), ""));
        let proxy = Proxy::start_in(folder, &yaml, &[]).await;
        for (what, identity, good) in &shown {
            for (version, versions) in [("1.3", &[&rustls::version::TLS13]), ("1.2", &[&rustls::version::TLS12])] {
                let config = authority.client_speaking(versions, &["http/1.1"], identity.as_ref());
                let arrived = upstream.seen().len();
                let got = status(connect(proxy.address(), "localhost", config).await).await;
                let expected = if identity.is_none() { without } else { good.then_some(200) };
                assert_eq!(got, expected, "{what}, {auth}, TLS {version}");
                assert_eq!(upstream.seen().len() - arrived, usize::from(expected.is_some()), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_no_authoritys_never_vouches_for_those_made_with_its_key() {
    let (folder, authority) = folder();
    let clients = Authority::new();
    let file = folder.path().join("clients.pem");
    clients.write(&file);
    let yaml = listener(", client_ca: clients.pem", "routes: [{name: a, respond: 204}]\n");
    std::fs::write(folder.path().join("proxy.yaml"), crate::harness::proxy::complete(&yaml)).unwrap();
    let process = Process::start_in(folder, &[]);
    let ask = async |identity: &Identity| {
        let config = authority.client(&["http/1.1"], Some(identity));
        status(connect(process.address, "localhost", config).await).await
    };
    let good = clients.identity(&["billing.internal"]);
    for leaf in [
        clients.below(|params| params.is_ca = IsCa::ExplicitNoCa),
        Authority::made(|params| params.is_ca = IsCa::ExplicitNoCa),
        Authority::made(|params| params.is_ca = IsCa::NoCa),
    ] {
        let minted = leaf.identity(&["billing.internal"]);
        let refused = || process.log().matches("is no authority's (CA:FALSE)").count();
        let before = refused();
        leaf.write(&file);
        process.signal("HUP");
        eventually("the refusal", || refused() > before).await;
        assert_eq!((ask(&minted).await, ask(&good).await), (None, Some(204)));
    }
    let run = crate::harness::process::command(process.folder.path()).arg("run").output().unwrap();
    let told = String::from_utf8(run.stderr).unwrap();
    assert!(!run.status.success() && told.contains("is no authority's (CA:FALSE)"), "{told}");
}

#[tokio::test]
async fn the_access_line_names_whose_certificate_it_was_also_in_a_resumed_session() {
    let upstream = Wire::ok().await;
    let clients = Authority::new();
    let (folder, authority) = folder();
    clients.write(&folder.path().join("clients.pem"));
    let yaml = format!(
        "log: {{format: json, access: all}}\n{}",
        listener(", client_ca: clients.pem, client_auth: request", &one_route(&upstream.url(""), ""))
    );
    std::fs::write(folder.path().join("proxy.yaml"), crate::harness::proxy::complete(&yaml)).unwrap();
    let process = Process::start_in(folder, &[]);
    let names = || {
        let log = process.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let lines = lines.filter(|line| line["target"] == "access" || line["message"] == "request");
        lines.map(|line| line["certificate"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let billing = clients.identity(&["Billing.Internal", "second.internal"]);
    let mut expected = Vec::new();
    for identity in [Some(&billing), None] {
        let config = authority.client(&["http/1.1"], identity);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let stream = connect(process.address, "localhost", Arc::clone(&config)).await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind));
            let mut end = End::over(stream);
            end.send(GET).await;
            assert_eq!(end.answer().await.status(), 200);
            expected.push(identity.map(|_| "billing.internal".to_owned()));
        }
    }
    eventually("the access lines", || names() == expected).await;
}

#[tokio::test]
async fn a_route_lets_in_by_the_names_in_a_certificate_also_in_a_resumed_session() {
    let upstream = Wire::ok().await;
    let clients = Authority::new();
    let (folder, authority) = folder();
    clients.write(&folder.path().join("clients.pem"));
    let route = one_route(&upstream.url(""), "access: {client_certificates: {names: [billing.internal]}}");
    let yaml = listener(", client_ca: clients.pem, client_auth: request", &route);
    let proxy = Proxy::start_in(folder, &yaml, &[]).await;
    for (names, expected) in [(Some("billing.internal"), 200), (Some("other.internal"), 403), (None, 403)] {
        let identity = names.map(|name| clients.identity(&[name]));
        let config = authority.client(&["http/1.1"], identity.as_ref());
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let stream = connect(proxy.address(), "localhost", Arc::clone(&config)).await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind));
            let mut end = End::over(stream);
            end.send(GET).await;
            assert_eq!(end.answer().await.status(), expected, "{names:?}");
        }
    }
    assert_eq!(upstream.seen().len(), 2);
}

#[tokio::test]
async fn who_vouches_for_clients_changes_with_a_reload_and_no_session_outlives_it() {
    let upstream = Wire::ok().await;
    let (old, new) = (Authority::new(), Authority::new());
    let (folder, authority) = folder();
    old.write(&folder.path().join("clients.pem"));
    let yaml = |more: &str| listener(more, &one_route(&upstream.url(""), ""));
    let ours = ", client_ca: clients.pem";
    let proxy = Proxy::start_in(folder, &yaml(ours), &[]).await;
    let (of_old, of_new) = (old.identity(&["a.internal"]), new.identity(&["a.internal"]));
    let (of_old, of_new, of_none) =
        (authority.client(&[], Some(&of_old)), authority.client(&[], Some(&of_new)), authority.client(&[], None));
    let ask = async |config: &Arc<_>| status(connect(proxy.address(), "localhost", Arc::clone(config)).await).await;
    let until = async |config: &Arc<_>, expected: Option<u16>| {
        soon("the reload", async { while ask(config).await != expected {} }).await;
    };
    assert_eq!((ask(&of_old).await, ask(&of_new).await, ask(&of_none).await), (Some(200), None, None));
    // The file changes.
    new.write(&proxy.folder().join("clients.pem"));
    proxy.hang_up().await;
    until(&of_new, Some(200)).await;
    assert_eq!((ask(&of_old).await, ask(&of_none).await), (None, None), "its session was resumed");
    // The field changes.
    for (more, expected) in
        [(", client_ca: clients.pem, client_auth: request", Some(200)), (ours, None), ("", Some(200))]
    {
        proxy.rewrite(&yaml(more));
        proxy.hang_up().await;
        until(&of_none, expected).await;
    }
    assert_eq!(ask(&of_old).await, Some(200), "nobody is asked for one");
    // A file that is none: what was in force stays so.
    proxy.rewrite(&yaml(ours));
    proxy.hang_up().await;
    until(&of_none, None).await;
    std::fs::write(proxy.folder().join("clients.pem"), "no certificate").unwrap();
    proxy.hang_up().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((ask(&of_none).await, ask(&of_new).await), (None, Some(200)));
}

#[tokio::test]
async fn a_connection_whose_certificate_nobody_vouches_for_any_more_is_let_in_no_longer() {
    let (folder, authority) = folder();
    let (clients, others) = (Authority::new(), Authority::new());
    clients.write(&folder.path().join("clients.pem"));
    let mine = clients.identity(&["billing.internal"]);
    let yaml =
        listener(", client_ca: clients.pem", "routes: [{name: a, respond: 204, access: {client_certificates: any}}]\n");
    let proxy = Proxy::start_in(folder, &yaml, &[]).await;
    let config = authority.client(&["http/1.1"], Some(&mine));
    let mut end = End::over(connect(proxy.address(), "localhost", config).await.unwrap());
    end.send(GET).await;
    assert_eq!(end.answer().await.status(), 204);

    // A renewed certificate of the server's own changes nothing for its clients.
    authority.identity(&["localhost"]).write(&proxy.folder(), "server");
    proxy.hang_up().await;
    end.send(GET).await;
    assert_eq!(end.answer().await.status(), 204);

    others.write(&proxy.folder().join("clients.pem"));
    proxy.hang_up().await;
    soon("the reload", async {
        loop {
            end.send(GET).await;
            match end.answer().await.status() {
                204 => tokio::time::sleep(Duration::from_millis(20)).await,
                status => break assert_eq!(status, 403),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let upstream = Wire::ok().await;
    let folder = TempDir::new().unwrap();
    let authority = Authority::new();
    let made: Vec<Identity> = [
        ("server", &["localhost"][..]),
        ("exact", &["api.example.com", "www.example.com"]),
        ("wild", &["*.example.com"]),
    ]
    .into_iter()
    .map(|(file, names)| {
        let identity = authority.identity(names);
        identity.write(folder.path(), file);
        identity
    })
    .collect();
    let more = ", certificates: [{cert: wild.crt, key: wild.key}, {cert: exact.crt, key: exact.key}]";
    let proxy = Proxy::start_in(folder, &listener(more, &one_route(&upstream.url(""), "")), &[]).await;
    for (name, place) in [
        ("localhost", 0),
        ("api.example.com", 1),
        ("www.example.com", 1),
        ("other.example.com", 2),
        // What nobody has gets the first.
        ("a.b.example.com", 0),
        ("example.com", 0),
        ("elsewhere.test", 0),
        // An address is not asked for by name (RFC 6066 section 3).
        ("127.0.0.1", 0),
    ] {
        let seen = crate::harness::tls::shown(proxy.address(), name).await;
        assert_eq!(seen, made[place].chain[0], "{name}");
    }
    let mut end = End::over(connect(proxy.address(), "other.example.com", authority.client(&[], None)).await.unwrap());
    end.send(GET).await;
    assert_eq!(end.answer().await.text(), "ok");
}

#[tokio::test]
async fn when_certificates_end_is_told_in_the_log_the_metrics_and_the_status() {
    let (folder, clients) = (TempDir::new().unwrap(), Authority::new());
    let authority = Authority::new();
    let soon = |params: &mut rcgen::CertificateParams| {
        params.not_after = (std::time::SystemTime::now() + Duration::from_secs(3 * 24 * 3600 - 600)).into();
    };
    authority.issue(&["soon.example"], soon).write(folder.path(), "server");
    authority.identity(&["late.example"]).write(folder.path(), "further");
    clients.issue(&["me.internal"], soon).write(folder.path(), "client");
    clients.write(&folder.path().join("clients.pem"));
    let yaml = listener(
        ", client_ca: clients.pem, certificates: [{cert: further.crt, key: further.key}]",
        "admin: {address: '127.0.0.1:0'}\nroutes:\n  - {name: a, upstream: {url: 'https://a.example', \
         client_cert: client.crt, client_key: client.key}, credential: none}\n",
    );
    std::fs::write(folder.path().join("proxy.yaml"), crate::harness::proxy::complete(&yaml)).unwrap();
    let process = Process::start_in(folder, &[]);
    for field in ["listeners[0].tls.cert", "routes[0].upstream.client_cert"] {
        let told = format!("{field}: the certificate expires in less than 3 days");
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while !process.log().contains(&told) {
            assert!(std::time::Instant::now() < deadline, "{}", process.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(process.log().matches("the certificate expires").count(), 2, "{}", process.log());
    let admin = process.admin().await;
    let page = crate::harness::client::text(&crate::harness::client::get(admin, "/metrics").await);
    let left = |field: &str, name: &str| {
        let row = format!("tokenferry_certificate_expiry_seconds{{field=\"{field}\",name=\"{name}\"}} ");
        page.lines()
            .find_map(|line| line.strip_prefix(&row)?.parse::<f64>().ok())
            .unwrap_or_else(|| panic!("no {row}: {page}"))
    };
    let days = 24.0 * 3600.0;
    for (field, name) in [("listeners[0].tls.cert", "soon.example"), ("routes[0].upstream.client_cert", "me.internal")]
    {
        let left = left(field, name);
        assert!((2.9 * days..=3.0 * days).contains(&left), "{field}: {left}");
    }
    assert!(left("listeners[0].tls.certificates[0].cert", "late.example") > 365.0 * days);
    assert_eq!(page.matches("tokenferry_certificate_expiry_seconds{field=\"listeners[0].tls.client_ca\"").count(), 1);
    let status = crate::harness::client::json(&crate::harness::client::get(admin, "/api/v1/status").await);
    assert_eq!(status["certificates"].as_array().unwrap().len(), 4, "{status}");
    assert_eq!(status["certificates"][0]["name"], "soon.example");
}

#[tokio::test]
async fn a_client_that_is_turned_away_in_the_handshake_is_counted_and_told_of_in_plain_english() {
    let (folder, authority) = folder();
    let (clients, strangers) = (Authority::new(), Authority::new());
    clients.write(&folder.path().join("clients.pem"));
    let yaml =
        listener(", client_ca: clients.pem", "admin: {address: '127.0.0.1:0'}\nroutes: [{name: a, respond: 204}]\n");
    std::fs::write(folder.path().join("proxy.yaml"), crate::harness::proxy::complete(&yaml)).unwrap();
    let process = Process::start_in(folder, &[]);
    // A balancer looks whether the port is open.
    drop(TcpStream::connect(process.address).await.unwrap());
    eventually("its line", || process.log().contains("closed without a word")).await;
    let expired = clients.issue(&["billing.internal"], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    for identity in [None, Some(strangers.identity(&["billing.internal"])), Some(expired)] {
        let config = authority.client(&["http/1.1"], identity.as_ref());
        assert_eq!(status(connect(process.address, "localhost", config).await).await, None);
    }
    let other = strangers.client(&["http/1.1"], None);
    assert!(connect(process.address, "localhost", other).await.is_err(), "a server of an unknown authority");
    let mut plain = End::over(TcpStream::connect(process.address).await.unwrap());
    plain.send(GET).await;
    assert_eq!(plain.answer().await.status(), 400);
    drop(plain);
    let admin = process.admin().await;
    let expected: Vec<String> =
        [("certificate_missing", 1), ("certificate_refused", 2), ("own_certificate", 1), ("plain_http", 1)]
            .map(|(reason, count)| {
                let listener = process.address;
                format!("tokenferry_connections_refused_total{{listener=\"{listener}\",reason=\"{reason}\"}} {count}")
            })
            .to_vec();
    let mut rows = Vec::new();
    soon("the counts", async {
        while rows != expected {
            let page = crate::harness::client::text(&crate::harness::client::get(admin, "/metrics").await);
            rows = page
                .lines()
                .filter(|line| line.starts_with("tokenferry_connections_refused_total{"))
                .map(str::to_owned)
                .collect();
        }
    })
    .await;
    let log = process.log();
    let told = |words: &str| log.lines().filter(|line| line.contains(" WARN ") && line.contains(words)).count();
    assert_eq!(told("connection refused before its first request"), 4, "{log}");
    assert_eq!(told("the client showed no certificate"), 1, "{log}");
    assert_eq!(told("of no authority in `client_ca`"), 1, "{log}");
    assert_eq!(told("has expired"), 0, "the second of its kind: {log}");
    assert_eq!(told("does not take this listener's certificate"), 1, "{log}");
}

#[tokio::test]
async fn a_certificate_that_has_expired_takes_no_place_of_one_that_holds() {
    let (folder, authority) = folder();
    let yaml = listener("", "routes: [{name: a, respond: 204}]\n");
    std::fs::write(folder.path().join("proxy.yaml"), crate::harness::proxy::complete(&yaml)).unwrap();
    let process = Process::start_in(folder, &[]);
    let seen = || crate::harness::tls::shown(process.address, "localhost");
    let good = seen().await;
    let expired = authority.issue(&["localhost"], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    expired.write(process.folder.path(), "server");
    process.signal("HUP");
    eventually("the refusal", || process.log().contains("the certificate has expired; the one in force")).await;
    assert_eq!(seen().await, good, "what was in force stays");
    let renewed = authority.identity(&["localhost"]);
    renewed.write(process.folder.path(), "server");
    process.signal("HUP");
    soon("the reload", async { while seen().await != renewed.chain[0] {} }).await;
}
