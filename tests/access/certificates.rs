//! Client certificates.

use tempfile::TempDir;

use crate::answers_of_its_own::is_problem;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Message, Wire};
use crate::harness::tls::{Authority, Identity, connect};
use crate::harness::yaml::routes;

async fn get(proxy: &Proxy, authority: &Authority, path: &str, client: Option<&Identity>) -> Message {
    let mut end =
        End::over(connect(proxy.address(), "localhost", authority.client(&["http/1.1"], client)).await.unwrap());
    end.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: k3y\r\n\r\n")).await;
    end.answer().await
}

#[tokio::test]
async fn a_certificate_lets_in_by_the_names_that_its_route_lists() {
    let upstream = Wire::ok().await;
    let (authority, clients) = (Authority::new(), Authority::new());
    let folder = TempDir::new().unwrap();
    authority.identity(&["localhost"]).write(folder.path(), "server");
    clients.write(&folder.path().join("clients.pem"));
    let to = format!("upstream: {}, credential: fixed", upstream.url(""));
    let list = format!(
        "- {{name: named, match: {{path: /named}}, {to}, access: {{client_certificates: {{names: [app.internal, '*.apps.internal']}}}}}}\n\
         - {{name: any, match: {{path: /any}}, {to}, access: {{client_certificates: any}}}}\n\
         - {{name: both, match: {{path: /both}}, {to}, access: {{client_certificates: {{}}, api_keys: [{{name: k, key: other}}]}}}}\n\
         - {{name: open, match: {{path: /open}}, {to}, access: public}}\n"
    );
    let listener = "listeners:\n  - address: 127.0.0.1:0\n    tls: {cert: server.crt, key: server.key, client_ca: \
                    clients.pem, client_auth: request}\n";
    let proxy = Proxy::start_in(folder, &format!("{listener}{}", routes(&list)), &[]).await;
    let (app, deep, other) = (
        clients.identity(&["app.internal"]),
        clients.identity(&["x", "a.b.apps.internal"]),
        clients.identity(&["apps.internal"]),
    );
    for (path, client, status) in [
        ("/named", Some(&app), 200),
        ("/named", Some(&deep), 200),
        ("/named", Some(&other), 403),
        ("/named", None, 403),
        ("/any", Some(&other), 200),
        ("/any", None, 403),
        ("/both", Some(&other), 401),
        ("/both", None, 403),
        ("/open", None, 200),
    ] {
        let answer = get(&proxy, &authority, path, client).await;
        assert_eq!(answer.status(), status, "{path}: {answer:?}");
        if status == 403 {
            is_problem(&answer, 403, "certificate_denied");
        }
    }
}
