//! Row 11: nothing secret is in what the proxy says, at its most verbose. Here with a canary for every kind of
//! secret; in `harness::secrets` with the secrets of every other test of the suite.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokenferry::demo::{Crayon, Crewmojo, CrmCom, Fault, OAuth2};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::client::{self, get, send};
use crate::harness::eventually;
use crate::harness::process::{Process, command};
use crate::harness::proxy::complete;
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, route, simulate};

/// Everything that must not be said, by what it is.
#[derive(Default)]
struct Canaries(Mutex<Vec<(String, String)>>);

impl Canaries {
    /// A secret unlike any other.
    fn hatch(&self, what: &str) -> String {
        let secret = format!("canary{:016x}", fastrand::u64(..));
        self.keep(what, &secret);
        secret
    }

    fn keep(&self, what: &str, secret: &str) {
        assert!(secret.len() >= 8, "{what} is too short to be looked for");
        self.0.lock().unwrap().push((what.to_owned(), secret.to_owned()));
    }

    /// As Basic authentication writes it.
    fn keep_basic(&self, what: &str, user: &str, password: &str) {
        self.keep(&format!("{what} in Basic"), &STANDARD.encode(format!("{user}:{password}")));
    }

    fn assert_none_in(&self, log: &str) {
        let all = self.0.lock().unwrap();
        assert!(all.len() > 30, "only {} canaries", all.len());
        for (what, secret) in all.iter() {
            if let Some(line) = log.lines().find(|line| line.contains(secret)) {
                panic!("{what} is in the log: {line}");
            }
        }
    }
}

/// One request over HTTP/2 with prior knowledge.
async fn over_http2(address: std::net::SocketAddr, request: Request<Full<Bytes>>) -> StatusCode {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let answer = sender.send_request(request).await.unwrap();
    let status = answer.status();
    drop(answer.into_body().collect().await);
    driver.abort();
    status
}

/// Answers every connection with these bytes and closes it.
async fn blunt(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 8192];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    origin
}

/// A login endpoint that says back whatever it was sent, in every part of its answer.
async fn echoing(status: u16) -> Upstream {
    Upstream::answering(move |seen| {
        let said = String::from_utf8_lossy(&seen.body).into_owned();
        let auth = seen.headers.get("authorization").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
        let body = serde_json::json!({
            "error": format!("{auth} {said}"), "error_description": said, "status": {"code": said, "message": auth},
            "Error": said, "errorMessage": auth,
        });
        Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .header("location", format!("/elsewhere?{}", STANDARD.encode(&said)))
            .body(Full::from(body.to_string()))
            .unwrap()
    })
    .await
}

async fn run(format: &str) {
    let canaries = Canaries::default();
    let hatch = |what: &str| canaries.hatch(what);

    // Vendors that know canaries.
    let crewmojo = Crewmojo { client_id: "crew-client".to_owned(), client_secret: hatch("Crewmojo's secret") };
    let crm = CrmCom {
        password: hatch("CRM.COM's password"),
        key: hatch("CRM.COM's key"),
        authentication_code: hatch("CRM.COM's code"),
        pass_code: hatch("CRM.COM's pass code"),
        jwt: hatch("CRM.COM's jwt"),
        ..CrmCom::default()
    };
    canaries.keep_basic("CRM.COM's key", &crm.key, "");
    let crayon = Crayon {
        client_id: "crayon-client".to_owned(),
        client_secret: hatch("Crayon's secret"),
        username: "a@example.com".to_owned(),
        password: hatch("Crayon's password"),
    };
    canaries.keep_basic("Crayon's secret", &crayon.client_id, &crayon.client_secret);
    let oauth2 = OAuth2 {
        client_id: "partner-client".to_owned(),
        client_secret: hatch("the partner's secret"),
        username: "b@example.com".to_owned(),
        password: hatch("the partner's password"),
        ..OAuth2::default()
    };
    canaries.keep_basic("the partner's secret", &oauth2.client_id, &oauth2.client_secret);
    let custom_token = hatch("the custom token");
    let custom_body = format!(r#"{{"id":"{custom_token}"}}"#);
    let custom = Upstream::answering(move |_| {
        Response::builder().header("content-type", "application/json").body(Full::from(custom_body.clone())).unwrap()
    })
    .await;
    let (custom_pass, custom_header, custom_query) =
        (hatch("the custom body"), hatch("the custom header"), hatch("the custom query"));
    let key = hatch("the fixed token");
    let wrong = hatch("a wrong secret");
    canaries.keep_basic("a wrong secret", "echo", &wrong);
    let inbound = hatch("an inbound key");
    canaries.keep_basic("an inbound key", "anyone", &inbound);
    let cookie = hatch("an upstream's cookie");
    let bad_token = hatch("a token with a line end");
    let bad_header = hatch("a malformed answer");

    let credentials = [
        format!(
            "crewmojo: {{provider: crewmojo, client_id: {}, client_secret: {}",
            crewmojo.client_id, crewmojo.client_secret
        ),
        format!(
            "password: {{provider: crm_com, method: password, username: {}, password: {}, organisation: {}",
            crm.username, crm.password, crm.organisation
        ),
        "key: {provider: crm_com, method: web_api_key, key: \"${KEY}\"".to_owned(),
        format!(
            "code: {{provider: crm_com, method: consumer_application_key, key: {}, access_token_identifier: {{authentication_code: {}}}",
            crm.key, crm.authentication_code
        ),
        format!(
            "card: {{provider: crm_com, method: consumer_application_key, key: {}, access_token_identifier: {{identifier: {}, pass_code: {}}}",
            crm.key, crm.identifier, crm.pass_code
        ),
        format!(
            "jwt: {{provider: crm_com, method: consumer_application_key, jwt: {}, organisation: {}",
            crm.jwt, crm.organisation
        ),
        format!(
            "crayon: {{provider: crayon, client_id: {}, client_secret: {}, username: {}, password: {}",
            crayon.client_id, crayon.client_secret, crayon.username, crayon.password
        ),
        format!(
            "partner: {{provider: oauth2, client_id: {}, client_secret: {}",
            oauth2.client_id, oauth2.client_secret
        ),
        format!(
            "user: {{provider: oauth2, grant: password, client_auth: body, body: json, client_id: {}, client_secret: {}, username: {}, password: {}",
            oauth2.client_id, oauth2.client_secret, oauth2.username, oauth2.password
        ),
    ];
    let simulators = [
        simulate(crewmojo).await,
        simulate(CrmCom { key: crm.key.clone(), ..crm }).await,
        simulate(crayon).await,
        simulate(oauth2).await,
    ];
    let mut taps = Vec::new();
    for simulator in &simulators {
        taps.push(Upstream::before(simulator.origin()).await);
    }
    let echo = [echoing(400).await, echoing(200).await, echoing(302).await, echoing(500).await];
    let cookies = {
        let cookie = cookie.clone();
        Upstream::answering(move |_| {
            Response::builder().header("set-cookie", format!("sid={cookie}; Path=/")).body(Full::from("ok")).unwrap()
        })
        .await
    };
    let garbled = blunt(format!("HTTP/1.1 200 OK\r\nX: a\r\n{bad_header} and no colon\r\n\r\n")).await;
    let closing = blunt(String::new()).await;
    let poisoned = blunt(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{{\"access_token\":\"{bad_token}\\n\",\"expires_in\":60}}"
    ))
    .await;
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };

    let mut lines = Vec::new();
    let mut routes = Vec::new();
    for line in &credentials {
        let name = line.split(':').next().unwrap();
        let (tap, base, more) = match name {
            "crewmojo" => (&taps[0], "/v1", format!(", token_url: \"{}\"}}", taps[0].url("/v1/oauth/token"))),
            "crayon" => (&taps[2], "/api/v1", format!(", token_url: \"{}\"}}", taps[2].url("/api/v1/connect/token/"))),
            "partner" | "user" => (&taps[3], "/", format!(", token_url: \"{}\"}}", taps[3].url("/oauth2/token"))),
            _ => (&taps[1], "/crmapi/rest/v2", format!(", base_url: \"{}\"}}", taps[1].url("/crmapi/rest/v2"))),
        };
        lines.push(format!("  {line}{more}\n"));
        routes.push(route(name, &tap.url(base), name, ""));
    }
    lines.push(format!(
        "  custom: {{provider: custom, request: {{url: \"{}?k={custom_query}\", headers: {{X-App: {custom_header}}}, json: {{pass: {custom_pass}}}}}, \
         response: {{token: /id}}, inject: [{{query: sid}}, {{header: X-Session}}]}}\n",
        custom.url("/login")
    ));
    routes.push(route("custom", &custom.url("/"), "custom", ""));
    lines.push(format!(
        "  static: {{provider: static, token: {key}, inject: [{{query: key}}, {{header: X-Api-Key}}]}}\n"
    ));
    for (name, origin) in
        [("cookies", cookies.url("/")), ("garbled", garbled), ("closing", closing), ("nobody", nobody.clone())]
    {
        routes.push(route(name, &origin, "static", ""));
    }
    routes.push(format!(
        "  - {{name: h2, match: {{path: /h2}}, upstream: {{url: \"{}\", protocol: h2c}}, credential: static}}\n",
        cookies.url("/")
    ));
    let access = format!(", access: {{api_keys: [{{name: billing, key: {inbound}}}]}}");
    routes.push(route("guarded", &taps[0].url("/v1"), "crewmojo", &access));
    let echoes =
        echo.iter().map(|echo| echo.url("/token")).chain([format!("{poisoned}/token"), format!("{nobody}/token")]);
    for (number, url) in echoes.enumerate() {
        lines.push(format!(
            "  echo{number}: {{provider: oauth2, token_url: \"{url}\", client_id: echo, client_secret: {wrong}}}\n"
        ));
        lines.push(format!(
            "  crew{number}: {{provider: crewmojo, token_url: \"{url}\", client_id: echo, client_secret: {wrong}}}\n"
        ));
        for name in ["echo", "crew"] {
            routes.push(route(&format!("{name}{number}"), &taps[3].url("/"), &format!("{name}{number}"), ""));
        }
    }
    let admin = hatch("the admin port's token");
    let top = format!("log: {{access: all}}\nadmin: {{address: '127.0.0.1:0', token: {admin}}}\n");
    let yaml = format!("{top}{}", config(&lines, &routes));
    let variables = [
        ("KEY", simulated_key(&canaries)),
        ("TOKENFERRY_LOG", "trace,hyper=trace,h2=trace,rustls=trace,tokio_util=trace,mio=trace".to_owned()),
        ("TOKENFERRY_LOG_FORMAT", format.to_owned()),
    ];
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let process = Process::start(&yaml, &variables);
    let address = process.address;

    // Requests that carry secrets of their own, to every route, twice: the second with a warm token.
    let theirs =
        [hatch("a client's token"), hatch("a client's cookie"), hatch("a client's query"), hatch("a client's body")];
    let names: Vec<String> =
        routes.iter().map(|line| line.split(['{', ',', ':']).nth(2).unwrap().trim().to_owned()).collect();
    let request = |name: &str, method: &str| {
        let [token, cookie, query, body] = &theirs;
        Request::builder()
            .method(method)
            .uri(format!("http://{address}/{name}/a?password={query}&token={token}"))
            .header("authorization", format!("Bearer {token}"))
            .header("token", token)
            .header("x-api-key", token)
            .header("cookie", format!("sid={cookie}"))
            .header("content-type", "application/json")
            .body(Full::from(if method == "POST" {
                format!(r#"{{"a":"{body}","token":"{token}"}}"#)
            } else {
                String::new()
            }))
            .unwrap()
    };
    for name in &names {
        let mut relative = request(name, "GET");
        *relative.uri_mut() = relative.uri().path_and_query().unwrap().as_str().parse().unwrap();
        let first = send(address, relative).await.status();
        let second = over_http2(address, request(name, "POST")).await;
        let expected = match name.as_str() {
            "guarded" => 401,
            "garbled" | "closing" | "nobody" => 502,
            name if name.starts_with("echo") || name.starts_with("crew") && name != "crewmojo" => 503,
            _ => 200,
        };
        assert_eq!((first.as_u16(), second.as_u16()), (expected, expected), "{name}: {}", process.log());
    }
    // Refusals, of one token after the other and of all.
    for simulator in &simulators {
        simulator.revoke_all();
    }
    for name in &names {
        over_http2(address, request(name, "POST")).await;
    }
    for simulator in &simulators {
        simulator.adjust(|options| options.refuse_every_token = true);
    }
    for name in &names {
        over_http2(address, request(name, "GET")).await;
    }
    for simulator in &simulators {
        simulator.adjust(|options| {
            options.refuse_every_token = false;
            options.token_fault = Some(Fault::status(StatusCode::BAD_REQUEST));
        });
        simulator.revoke_all();
    }
    // Logins of a client's own, with a key and with a wrong one.
    let guess = hatch("a guessed key");
    for secret in [&inbound, &guess] {
        let login = format!(r#"{{"grant_type":"client_credentials","client_id":"x","client_secret":"{secret}"}}"#);
        client::post(address, "/guarded/oauth/token", "application/json", login).await;
        let basic = format!("Basic {}", STANDARD.encode(format!("anyone:{secret}")));
        let guarded = Request::get("/guarded/a").header("authorization", basic).body(Full::default()).unwrap();
        send(address, guarded).await;
    }
    // Requests that are refused for what they are.
    let odd = hatch("a malformed request");
    client::raw(address, format!("GET /crewmojo/a?{odd} HTTP/1.1\r\nHost: a\r\nHost: {odd}\r\n\r\n")).await;
    client::raw(address, format!("GET /crewmojo/a?{odd} HTTP/1.1\r\nHost: a\r\nbad {odd}\r\n\r\n")).await;
    client::raw(address, format!("TRACE /crewmojo/a?{odd} HTTP/1.1\r\nHost: a\r\nAuthorization: {odd}\r\n\r\n")).await;
    // A changed secret, and files that are not taken.
    let next = hatch("a secret to come");
    process.rewrite(&yaml.replace(&wrong, &next));
    eventually("the change is taken", || process.taken() == 2).await;
    get(address, "/echo0/a").await;
    for (from, to) in
        [("client_secret:", "client_secrets:"), ("provider: static", "provider: statics"), ("pass: ", "pass: [")]
    {
        let before = process.log().matches("configuration refused").count();
        process.rewrite(&yaml.replace(from, to));
        eventually("it is refused", || process.log().matches("configuration refused").count() > before).await;
    }

    for seen in taps.iter().chain([&custom]).flat_map(Upstream::seen) {
        for name in ["authorization", "token"] {
            if let Some(value) = seen.headers.get(name) {
                canaries.keep("a token", value.to_str().unwrap().rsplit(' ').next().unwrap());
            }
        }
    }
    let port = process.admin().await;
    for (method, path) in [
        ("GET", "/metrics"),
        ("GET", "/"),
        ("GET", "/api/v1/status"),
        ("GET", "/readyz"),
        // Of the file that is not taken, with its problems.
        ("POST", "/api/v1/reload"),
        ("POST", "/api/v1/credentials/echo0/refresh"),
    ] {
        let ask = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {admin}"));
        let answer = send(port, ask.body(Full::default()).unwrap()).await;
        let said = format!("{:?} {}", answer.headers(), client::text(&answer));
        assert!(answer.status() != 401 && said.len() > 100, "{method} {path}: {said}");
        canaries.assert_none_in(&said);
    }
    process.signal("TERM");
    let (_, log) = process.ended().await;
    for said in ["TRACE", "token in force", "login failed", "refused by the vendor", "\"request\"", "request failed"] {
        let said = if format == "json" { said } else { said.trim_matches('"') };
        assert!(log.contains(said), "the log is not as verbose as it should be: no {said}");
    }
    canaries.assert_none_in(&log);
}

/// CRM.COM's key, which comes from a variable.
fn simulated_key(canaries: &Canaries) -> String {
    let all = canaries.0.lock().unwrap();
    all.iter().find(|(what, _)| what == "CRM.COM's key").unwrap().1.clone()
}

#[tokio::test]
async fn no_line_of_the_most_verbose_log_holds_a_secret() {
    run("text").await;
}

#[tokio::test]
async fn no_json_line_of_the_most_verbose_log_holds_a_secret() {
    run("json").await;
}

/// A process that is not root's, with this of its own in its environment.
fn somebodys(dumpable: &str) -> Process {
    let folder = TempDir::new().unwrap();
    // Where anybody may run it: what the tests are built in may be root's alone.
    let binary = folder.path().join("tokenferry");
    std::fs::copy(env!("CARGO_BIN_EXE_tokenferry"), &binary).unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    std::fs::write(folder.path().join("proxy.yaml"), complete("routes: [{name: a, respond: 204}]\n")).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -c unlimited; exec ./tokenferry run"]).current_dir(folder.path());
    shell.env("TOKENFERRY_DUMPABLE", dumpable).env("A_SECRET", "k3y").stdin(std::process::Stdio::null());
    if rustix::process::geteuid().is_root() {
        shell.uid(NOBODY).gid(NOBODY);
    }
    Process::launch(Arc::new(folder), shell)
}

/// Reads a file as the user that the process runs as.
fn readable_by_its_user(file: &str) -> bool {
    let mut cat = Command::new("cat");
    if rustix::process::geteuid().is_root() {
        cat.uid(NOBODY).gid(NOBODY);
    }
    cat.arg(file).output().unwrap().status.success()
}

/// Of no account here: `nobody`.
const NOBODY: u32 = 65534;

#[tokio::test]
async fn the_memory_and_the_environment_of_the_process_are_closed_to_its_own_user_and_no_core_is_dumped() {
    let process = somebodys("");
    let place = format!("/proc/{}", process.pid());
    assert_eq!(std::fs::metadata(format!("{place}/environ")).unwrap().uid(), 0, "not dumpable (proc(5))");
    for file in ["environ", "maps", "auxv"] {
        assert!(!readable_by_its_user(&format!("{place}/{file}")), "{file}");
    }
    let limits = std::fs::read_to_string(format!("{place}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    assert_eq!(get(process.address, "/").await.status(), 204);
    process.signal("ABRT");
    let (status, _) = process.ended().await;
    assert!(status.signal() == Some(6) && !status.core_dumped(), "{status:?}");
}

#[tokio::test]
async fn whoever_debugs_the_process_may_open_it() {
    let process = somebodys("1");
    let environ = format!("/proc/{}/environ", process.pid());
    assert!(readable_by_its_user(&environ));
    assert_eq!(get(process.address, "/").await.status(), 204);
}

/// The arguments of a process are everybody's to read.
#[test]
fn no_command_takes_a_secret_as_an_argument() {
    let help = |arguments: &[&str]| {
        let output = command(std::path::Path::new(".")).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for name in ["run", "check", "explain", "token", "config", "reload", "healthcheck"] {
        let told = help(&[name, "--help"]).to_lowercase();
        for option in ["--token", "--secret", "--password", "--key", "--client-secret"] {
            let is_one = |word: &str| word.trim_end_matches(',') == option;
            assert!(!told.split_whitespace().any(is_one), "{name} takes {option}");
        }
    }
}
