//! Row 33: TLS towards upstreams and token endpoints: no certificate that does not hold is sent a byte,
//! least of all a credential.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, NameConstraints,
    date_time_ymd,
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::answers_of_its_own::is_problem;
use crate::harness::client::{get, text};
use crate::harness::eventually;
use crate::harness::process::Process;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, exchange};
use crate::harness::tls::{Authority, Identity};
use crate::harness::upstream::Upstream;
use crate::harness::yaml::one_route;

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A TLS server that answers nothing, and keeps every byte that it was sent inside.
struct Listening {
    port: u16,
    asked: Arc<AtomicUsize>,
    shaken: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<u8>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Listening {
    async fn start(identity: &Identity) -> Self {
        let acceptor = TlsAcceptor::from(identity.server(&["http/1.1"], None));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, shaken, heard): (Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<Mutex<Vec<u8>>>) = Default::default();
        let (its_asked, its_shaken, its_heard) = (Arc::clone(&asked), Arc::clone(&shaken), Arc::clone(&heard));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                its_asked.fetch_add(1, Ordering::SeqCst);
                let (acceptor, shaken, heard) = (acceptor.clone(), Arc::clone(&its_shaken), Arc::clone(&its_heard));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    shaken.fetch_add(1, Ordering::SeqCst);
                    let mut buffer = [0; 4096];
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        heard.lock().unwrap().extend_from_slice(&buffer[..read]);
                    }
                });
            }
        });
        Self { port, asked, shaken, heard, task }
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A certificate, and what it is judged by: `host` is what the URL says, `ca` what `ca` names.
struct Case {
    what: &'static str,
    identity: Identity,
    host: &'static str,
    ca: Authority,
}

fn case(what: &'static str, ca: Authority, host: &'static str, issue: impl FnOnce(&Authority) -> Identity) -> Case {
    Case { what, identity: issue(&ca), host, ca }
}

fn constrained_to(domain: &str) -> Authority {
    Authority::made(|params| {
        let permitted_subtrees = vec![GeneralSubtree::DnsName(domain.to_owned())];
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    })
}

/// What an upstream with a good certificate shows.
fn good() -> Vec<Case> {
    vec![
        case("its own name", Authority::new(), "localhost", |ca| ca.identity(&["localhost"])),
        case("its own address", Authority::new(), "127.0.0.1", |ca| ca.identity(&["127.0.0.1"])),
        case("an authority between", Authority::new(), "localhost", |ca| {
            let between = ca.below(|_| {});
            between.identity(&["localhost"]).behind(&between)
        }),
        case("a name that its authority may vouch for", constrained_to("localhost"), "localhost", |ca| {
            ca.identity(&["localhost"])
        }),
        case("for servers and clients", Authority::new(), "localhost", |ca| {
            ca.issue(&["localhost"], |params| {
                params.extended_key_usages =
                    vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            })
        }),
    ]
}

/// What one who is somebody else might show.
fn bad() -> Vec<Case> {
    let longest = |params: &mut rcgen::CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    vec![
        case("another name", Authority::new(), "localhost", |ca| ca.identity(&["example.com"])),
        case("expired", Authority::new(), "localhost", |ca| {
            ca.issue(&["localhost"], |params| {
                params.not_before = date_time_ymd(2020, 1, 1);
                params.not_after = date_time_ymd(2021, 1, 1);
            })
        }),
        case("not valid yet", Authority::new(), "localhost", |ca| {
            ca.issue(&["localhost"], |params| {
                params.not_before = date_time_ymd(2200, 1, 1);
                params.not_after = date_time_ymd(2201, 1, 1);
            })
        }),
        case("self-signed", Authority::new(), "localhost", |_| Identity::self_signed(&["localhost"])),
        case("an unknown authority", Authority::new(), "localhost", |_| Authority::new().identity(&["localhost"])),
        case("an unknown authority that comes along", Authority::new(), "localhost", |_| {
            let own = Authority::new();
            own.identity(&["localhost"]).behind(&own)
        }),
        case("for clients only", Authority::new(), "localhost", |ca| {
            ca.issue(&["localhost"], |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            })
        }),
        case("issued by what is no authority", Authority::new(), "localhost", |ca| {
            let neighbour = ca.below(|params| params.is_ca = IsCa::ExplicitNoCa);
            neighbour.identity(&["localhost"]).behind(&neighbour)
        }),
        case("issued too far below its root", Authority::new(), "localhost", |ca| {
            let last = ca.below(longest);
            let further = last.below(|_| {});
            further.identity(&["localhost"]).behind(&further).behind(&last)
        }),
        case("a name that its authority may not vouch for", constrained_to("example.com"), "localhost", |ca| {
            ca.identity(&["localhost"])
        }),
        case("an address, and a name alone", Authority::new(), "127.0.0.1", |ca| ca.identity(&["localhost"])),
        case("a name, and an address alone", Authority::new(), "localhost", |ca| ca.identity(&["127.0.0.1"])),
        case("its common name alone", Authority::new(), "localhost", |ca| {
            ca.issue(&[], |params| params.distinguished_name.push(DnType::CommonName, "localhost"))
        }),
        case("a wildcard for what is below", Authority::new(), "localhost", |ca| ca.identity(&["*.localhost"])),
        case("a wildcard for everything", Authority::new(), "localhost", |ca| ca.identity(&["*"])),
        case("the authority between is missing", Authority::new(), "localhost", |ca| {
            ca.below(|_| {}).identity(&["localhost"])
        }),
        case("the authority between has expired", Authority::new(), "localhost", |ca| {
            let between = ca.below(|params| params.not_after = date_time_ymd(2021, 1, 1));
            between.identity(&["localhost"]).behind(&between)
        }),
        case("a critical extension that nobody knows", Authority::new(), "localhost", |ca| {
            ca.issue(&["localhost"], |params| {
                let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
                unknown.set_criticality(true);
                params.custom_extensions.push(unknown);
            })
        }),
        case("a byte of its signature is another", Authority::new(), "localhost", |ca| {
            let mut identity = ca.identity(&["localhost"]);
            let mut der = identity.chain[0].to_vec();
            *der.last_mut().unwrap() ^= 1;
            identity.chain[0] = der.into();
            identity
        }),
    ]
}

/// A route and a credential for each of these, in one proxy.
async fn proxy_for(cases: &[Case]) -> (Proxy, Vec<(Listening, Listening)>) {
    let folder = TempDir::new().unwrap();
    let (mut credentials, mut routes, mut servers) = (
        String::from("credentials:\n  fixed: {provider: static, token: r0ute-cr3dential}\n"),
        String::new(),
        Vec::new(),
    );
    for (number, case) in cases.iter().enumerate() {
        case.ca.write(&folder.path().join(format!("{number}.pem")));
        let (upstream, endpoint) = (Listening::start(&case.identity).await, Listening::start(&case.identity).await);
        let host = case.host;
        credentials += &format!(
            "  login{number}: {{provider: oauth2, token_url: 'https://{host}:{}/token', client_id: c1ient-id, \
             client_secret: c1ient-s3cret, ca: {number}.pem, timeout: 3s}}\n",
            endpoint.port
        );
        routes += &format!(
            "  - {{name: r{number}, match: {{path: /r{number}}}, upstream: {{url: 'https://{host}:{}', ca: {number}.pem}}, \
             credential: fixed, timeouts: {{response: 3s}}}}\n  \
             - {{name: t{number}, match: {{path: /t{number}}}, upstream: 'http://127.0.0.1:1', credential: login{number}, \
             timeouts: {{token: 3s}}}}\n",
            upstream.port
        );
        servers.push((upstream, endpoint));
    }
    let proxy = Proxy::start_in(folder, &format!("{credentials}routes:\n{routes}"), &[]).await;
    (proxy, servers)
}

#[tokio::test]
async fn of_every_bad_certificate_none_is_sent_a_byte_of_a_request_or_of_a_login() {
    let cases = bad();
    assert!(cases.len() >= 12);
    let (proxy, servers) = proxy_for(&cases).await;
    for (number, (case, (upstream, endpoint))) in cases.iter().zip(&servers).enumerate() {
        let answer = exchange(
            proxy.address(),
            format!("POST /r{number} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nthe-body!"),
        )
        .await;
        assert_eq!(answer.header("proxy-status"), Some("tokenferry; error=tls_certificate_error"), "{}", case.what);
        is_problem(&answer, 502, "upstream_unreachable");
        let answer = get(proxy.address(), &format!("/t{number}")).await;
        assert_eq!(
            (answer.status(), answer.headers().contains_key("retry-after")),
            (503.try_into().unwrap(), true),
            "{}",
            case.what
        );
        assert!(
            !text(&answer).contains("ertificate"),
            "what is wrong there is the operator's matter: {}",
            text(&answer)
        );
        for server in [upstream, endpoint] {
            assert!(server.asked.load(Ordering::SeqCst) > 0, "{}: nobody came", case.what);
            assert_eq!(server.heard(), "", "{}", case.what);
        }
    }
}

#[tokio::test]
async fn the_same_with_a_good_certificate_is_sent_all_of_it() {
    let cases = good();
    let (proxy, servers) = proxy_for(&cases).await;
    for (number, (case, (upstream, endpoint))) in cases.iter().zip(&servers).enumerate() {
        let mut clients = [End::connect(proxy.address()).await, End::connect(proxy.address()).await];
        clients[0].send(format!("GET /r{number} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        clients[1].send(format!("GET /t{number} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        eventually(case.what, || upstream.heard().contains("r0ute-cr3dential")).await;
        // base64 of c1ient-id:c1ient-s3cret.
        eventually(case.what, || endpoint.heard().contains("YzFpZW50LWlkOmMxaWVudC1zM2NyZXQ=")).await;
        assert!(upstream.shaken.load(Ordering::SeqCst) > 0, "{}", case.what);
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_newer_tls_than_1_1_is_left_at_its_first_word() {
    // ServerHello of TLS 1.1 (RFC 4346 section 7.4.1.3): random, no session, TLS_RSA_WITH_AES_128_CBC_SHA.
    let hello = [&[2, 0, 0, 38, 3, 2][..], &[7; 32], &[0, 0, 0x2f, 0]].concat();
    let record = [&[0x16, 3, 2, 0, u8::try_from(hello.len()).unwrap()][..], &hello].concat();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
    let its = Arc::clone(&heard);
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 16 * 1024];
            let _ = stream.read(&mut buffer).await;
            let mut end = End::over(stream);
            end.send(&record).await;
            let rest = end.rest().await;
            its.lock().unwrap().extend_from_slice(&rest);
        }
    });
    let folder = TempDir::new().unwrap();
    Authority::new().write(&folder.path().join("ca.pem"));
    let yaml = one_route(&format!("{{url: 'https://localhost:{port}', ca: ca.pem}}"), "");
    let proxy = Proxy::start_in(folder, &yaml, &[]).await;
    let answer = exchange(proxy.address(), GET).await;
    is_problem(&answer, 502, "upstream_unreachable");
    assert_eq!(answer.header("proxy-status"), Some("tokenferry; error=tls_protocol_error"));
    // An alert: fatal, protocol_version (RFC 8446 section 6).
    eventually("the alert", || heard.lock().unwrap().len() == 7).await;
    let alert = heard.lock().unwrap().clone();
    assert_eq!((alert[0], alert[6]), (21, 70));
    server.abort();
}

#[tokio::test]
async fn what_is_trusted_and_which_name_is_looked_for_is_as_the_route_says() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let right = authority.identity(&["localhost"]);
    for (what, identity, ca, more, good) in [
        ("the named authority", &right, true, "", true),
        ("the system's roots", &right, false, "", false),
        ("another authority", &stranger.identity(&["localhost"]), true, "", false),
        ("another name", &authority.identity(&["example.com"]), true, "", false),
        (
            "another name that is asked for",
            &authority.identity(&["example.com"]),
            true,
            ", server_name: example.com",
            true,
        ),
        ("a name that it has not", &right, true, ", server_name: example.com", false),
        ("nobody looks", &stranger.identity(&["example.com"]), true, ", insecure: true", true),
    ] {
        let upstream = Upstream::tls(identity.server(&["http/1.1"], None)).await;
        let folder = TempDir::new().unwrap();
        authority.write(&folder.path().join("ca.pem"));
        let ca = if ca { ", ca: ca.pem" } else { "" };
        let url = format!("https://localhost:{}", upstream.address.port());
        let proxy = Proxy::start_in(folder, &one_route(&format!("{{url: '{url}'{ca}{more}}}"), ""), &[]).await;
        let answer = exchange(proxy.address(), GET).await;
        if good {
            assert_eq!(answer.text(), "ok", "{what}");
        } else {
            is_problem(&answer, 502, "upstream_unreachable");
            assert_eq!(answer.header("proxy-status"), Some("tokenferry; error=tls_certificate_error"), "{what}");
            assert!(upstream.seen().is_empty(), "{what}");
        }
    }
}

#[tokio::test]
async fn who_verifies_nothing_is_named_in_the_log_at_every_start_and_reload_and_in_the_metrics() {
    let yaml = |insecure: bool, status: u16| {
        format!(
            "admin: {{address: '127.0.0.1:0'}}\ncredentials:\n  \
             partner: {{provider: oauth2, token_url: 'https://login.example/token', client_id: a, client_secret: b, \
             insecure: {insecure}}}\nroutes:\n  \
             - {{name: crm, match: {{path: /crm}}, upstream: {{url: 'https://crm.example', insecure: {insecure}}}, credential: partner}}\n  \
             - {{name: other, match: {{path: /other}}, upstream: 'https://crm.example', credential: none}}\n  \
             - {{name: last, match: {{path: /last}}, respond: {status}}}\n"
        )
    };
    let process = Process::start(&yaml(true, 204), &[]);
    let told = |who: &str| process.log().matches(&format!("{who}: no certificate is verified")).count();
    let admin = process.admin().await;
    let metrics = async || {
        let page = text(&get(admin, "/metrics").await);
        let rows = page.lines().filter(|line| line.starts_with("tokenferry_insecure_upstreams{"));
        rows.map(str::to_owned).collect::<Vec<_>>()
    };
    for generation in 1..=2 {
        for who in ["the route `crm`", "the credential `partner`"] {
            eventually("the warning", || told(who) == generation).await;
        }
        assert_eq!(
            metrics().await,
            [
                "tokenferry_insecure_upstreams{kind=\"credential\",name=\"partner\"} 1",
                "tokenferry_insecure_upstreams{kind=\"route\",name=\"crm\"} 1"
            ]
        );
        assert_eq!(told("the route `other`"), 0);
        if generation == 1 {
            process.rewrite(&yaml(true, 205));
            process.signal("HUP");
        }
    }
    process.rewrite(&yaml(false, 204));
    process.signal("HUP");
    eventually("the third configuration", || process.taken() == 3).await;
    assert!(metrics().await.is_empty());
    assert_eq!(told("the route `crm`"), 2);
}

#[test]
fn the_check_warns_of_it_and_there_is_no_switch_for_all() {
    let run = |more: &str| {
        let yaml = format!(
            "listeners: [{{address: '127.0.0.1:0'}}]\n{more}routes: \
             [{{name: crm, upstream: {{url: 'https://crm.example', insecure: true}}, credential: none}}]\n"
        );
        crate::harness::process::run(&yaml, &["check"], &[])
    };
    let said = |output: &std::process::Output| {
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let warned = run("");
    assert!(
        warned.status.success() && said(&warned).contains("the route `crm`: no certificate is verified"),
        "{}",
        said(&warned)
    );
    for everywhere in ["insecure: true\n", "defaults: {insecure: true}\n", "client: {insecure: true}\n"] {
        let refused = run(everywhere);
        assert_eq!(refused.status.code(), Some(78), "{everywhere}");
        assert!(said(&refused).contains("unknown field `insecure`"), "{everywhere}: {}", said(&refused));
    }
}
