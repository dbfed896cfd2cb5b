//! No command shows a secret, whatever is wrong: a file full of canaries, through all of them.

use http::{Response, StatusCode};
use http_body_util::Full;
use tempfile::TempDir;

use super::Ran;
use crate::harness::process::command;
use crate::harness::upstream::Upstream;

/// Every kind of secret, each with a value that begins with `CANARY`.
const FULL: &str = "\
listeners: [{address: 127.0.0.1:0}]
defaults:
  access: {api_keys: [{name: all, key: CANARY-default-key}]}
credentials:
  literal: {provider: static, token: CANARY-static}
  referred: {provider: static, token: '${TOKEN}', inject: {header: X-Api-Key}}
  filed: {provider: static, token: '${file:secret}', inject: [{query: key}, {json: key}]}
  defaulted: {provider: static, token: '${UNSET:-CANARY-default}'}
  partner:
    provider: oauth2
    token_url: ORIGIN/token?code=CANARY-query
    grant: password
    client_id: id
    client_secret: CANARY-client-secret
    username: user
    password: ${PASSWORD}
    extra: {pin: CANARY-pin}
  refreshing:
    provider: oauth2
    token_url: ORIGIN/token
    client_auth: body
    client_id: id
    client_secret: CANARY-client-secret
    grant: refresh_token
    refresh_token: CANARY-refresh
    state_file: state
    encryption_key: [Q0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0E=, '${KEY}']
  asserting:
    provider: oauth2
    token_url: ORIGIN/token
    client_auth: private_key_jwt
    client_id: id
    private_key: ${file:key.pem}
    grant: jwt_bearer
    assertion: {private_key: '${file:key.pem}', issuer: me, claims: {deep: {pin: CANARY-claim}}}
  asserted:
    provider: oauth2
    token_url: ORIGIN/token
    client_auth: none
    grant: jwt_bearer
    assertion: CANARY-assertion
  exchanging:
    provider: oauth2
    token_url: ORIGIN/token
    client_auth: none
    grant: token_exchange
    subject_token: CANARY-subject
    actor_token: '${TOKEN}'
  custom:
    provider: custom
    request:
      method: POST
      url: ${URL}
      headers: {X-Secret: CANARY-header, Authorization: 'Basic ${TOKEN}'}
      json: {user: CANARY-user, pass: '${PASSWORD}'}
    response: {token: /t}
  key:
    provider: crm_com
    base_url: ${URL}
    method: web_api_key
    key: CANARY-web-key
routes:
  - {name: literal, match: {path: /literal}, upstream: '${URL}', credential: literal}
  - name: referred
    match: {path: /referred, headers: {X-Match: '${TOKEN}'}}
    upstream: {url: '${URL}'}
    credential: referred
    access: {api_keys: [{name: one, key: '${TOKEN}'}, {name: two, key: CANARY-key}]}
    request_headers: {set: {X-Note: '${TOKEN}', Cookie: CANARY-cookie, X-App-Secret: CANARY-app}}
  - {name: filed, match: {path: /filed}, upstream: ORIGIN/v1, credential: filed, access: public}
  - {name: defaulted, match: {path: /defaulted}, upstream: ORIGIN/v1, credential: defaulted, access: public}
  - {name: partner, match: {path: /partner}, upstream: ORIGIN/v1, credential: partner, access: public}
  - {name: refreshing, match: {path: /refreshing}, upstream: ORIGIN/v1, credential: refreshing, access: public}
  - {name: asserting, match: {path: /asserting}, upstream: ORIGIN/v1, credential: asserting, access: public}
  - {name: asserted, match: {path: /asserted}, upstream: ORIGIN/v1, credential: asserted, access: public}
  - {name: exchanging, match: {path: /exchanging}, upstream: ORIGIN/v1, credential: exchanging, access: public}
  - {name: custom, match: {path: /custom}, upstream: ORIGIN/v1, credential: custom, access: public}
  - {name: key, match: {path: /key}, upstream: ORIGIN/v1, credential: key, access: public}
  - name: users
    match: {path: /users}
    respond: 204
    access: {users: [{name: ann, password: '$argon2id$v=19$m=8,t=1,p=1$CANARYsaltsaltAA$CANARYhashhashAAAAAAAAAA'}]}
";

/// Commands, each with what makes it look at another part.
const COMMANDS: &[&[&str]] = &[
    &["check"],
    &["check", "--connect", "--force"],
    &["config"],
    &["token", "literal"],
    &["token", "referred"],
    &["token", "filed"],
    &["token", "defaulted"],
    &["token", "partner"],
    &["token", "refreshing"],
    &["token", "asserting"],
    &["token", "asserted"],
    &["token", "exchanging"],
    &["token", "custom"],
    &["token", "key"],
    &["explain", "GET", "/literal/x", "-H", "X-Api-Key: CANARY-default-key"],
    &["explain", "GET", "/referred/x", "-H", "X-Match: CANARY-token", "-H", "X-Api-Key: CANARY-key"],
    &["explain", "GET", "/referred/x", "-H", "X-Match: CANARY-token", "-H", "Authorization: Bearer CANARY-key"],
    &["explain", "GET", "/referred/x"],
    &["explain", "GET", "/filed/x"],
    &["explain", "POST", "/filed/x", "-H", "Content-Type: application/json", "-d", "{}"],
    &["explain", "GET", "/defaulted"],
    &["explain", "POST", "/partner/token"],
    &["explain", "POST", "/refreshing/token"],
    &["explain", "GET", "/asserting/x"],
    &["explain", "GET", "/exchanging/x"],
    &["explain", "POST", "/custom/login"],
    &["explain", "GET", "/users", "-H", "Authorization: Basic YW5uOkNBTkFSWQ=="],
    &["explain", "GET", "/nope"],
];

/// Those that read a file and refuse it, each by its own way out.
const READERS: &[&[&str]] = &[&["check", "--connect"], &["config"], &["token", "literal"], &["explain", "GET", "/"]];

/// Credentials whose logins the vendor of these tests refuses.
const REFUSED: &[&str] = &["partner", "refreshing", "asserting", "asserted", "exchanging", "custom", "key"];

struct Cage {
    folder: TempDir,
    /// A private key in PEM; the longest line of it is looked for, too.
    key: String,
    origin: String,
}

impl Cage {
    /// Runs a command and looks for canaries in what it printed.
    fn run(&self, yaml: &str, arguments: &[&str], log: &str) -> Ran {
        std::fs::write(self.folder.path().join("proxy.yaml"), yaml.replace("ORIGIN", &self.origin)).unwrap();
        std::fs::write(self.folder.path().join("secret"), "CANARY-file\n").unwrap();
        std::fs::write(self.folder.path().join("key.pem"), &self.key).unwrap();
        let output = command(self.folder.path())
            .args(arguments)
            .env("TOKEN", "CANARY-token")
            .env("PASSWORD", "CANARY-password")
            .env("KEY", "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=")
            .env("URL", format!("{}/CANARY-path", self.origin))
            .env("TOKENFERRY_LOG", log)
            .output()
            .unwrap();
        let ran = Ran::from(output);
        for text in [&ran.out, &ran.err] {
            let found: Vec<&str> = text.lines().filter(|line| line.contains("CANARY")).collect();
            assert!(found.is_empty(), "{arguments:?}: {found:#?}");
            let line = self.key.lines().max_by_key(|line| line.len()).unwrap();
            assert!(
                !text.contains(line) && !text.contains("YWFhYWFh") && !text.contains("eyJ"),
                "{arguments:?}: {text}"
            );
            // As Basic credentials and in forms.
            assert!(!text.contains("Q0FOQVJ") && !text.contains("NBTkFSW") && !text.contains("DQU5BUl"), "{text}");
        }
        ran
    }

    /// Runs commands in both formats, at the most verbose level.
    fn run_each(&self, yaml: &str, commands: &[&[&str]]) -> Vec<(Option<i32>, String)> {
        let both = commands.iter().flat_map(|command| ["text", "json"].map(|format| (command, format)));
        both.map(|(command, format)| {
            let ran = self.run(yaml, &[*command, &["--format", format]].concat(), "trace");
            (ran.code, command.join(" "))
        })
        .collect()
    }
}

async fn cage() -> (Upstream, Cage) {
    // A vendor that says what it was sent.
    let vendor = Upstream::answering(|seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let error =
            serde_json::json!({"error": body, "error_description": body, "status": {"code": body, "message": body}});
        let mut response = Response::new(Full::from(error.to_string()));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response
    })
    .await;
    let cage = Cage {
        folder: TempDir::new().unwrap(),
        key: rcgen::KeyPair::generate().unwrap().serialize_pem(),
        origin: vendor.url(""),
    };
    (vendor, cage)
}

#[tokio::test]
async fn no_command_shows_a_secret() {
    let (vendor, cage) = cage().await;
    let ends = tokio::task::spawn_blocking(move || cage.run_each(FULL, COMMANDS)).await.unwrap();
    for (code, command) in &ends {
        let fails = command.contains("--connect") || REFUSED.iter().any(|name| *command == format!("token {name}"));
        assert_eq!(*code, Some(i32::from(fails)), "{command}");
    }
    assert!(vendor.seen().iter().any(|seen| String::from_utf8_lossy(&seen.body).contains("CANARY-password")));
}

#[tokio::test]
async fn no_command_shows_a_secret_of_a_file_that_is_wrong_everywhere() {
    let (_vendor, cage) = cage().await;
    let misspelt = [
        ("token:", "tokn:"),
        ("client_secret:", "client_secert:"),
        ("password:", "pasword:"),
        ("key:", "kee:"),
        ("extra:", "extras:"),
        ("json:", "jsn:"),
        ("set:", "sett:"),
        ("refresh_token:", "refresh_tokn:"),
        ("assertion:", "asertion:"),
        ("subject_token:", "subject_tokn:"),
        ("encryption_key:", "encription_key:"),
    ];
    let wrong = misspelt.iter().fold(FULL.to_owned(), |text, (right, wrong)| text.replace(right, wrong));
    let mistyped = FULL.replace(": CANARY", ": [CANARY").replace("CANARY-static", "CANARY-static]");
    let doubled = FULL.replace("    client_id: id\n", "    client_id: id\n    client_secret: CANARY-second\n");
    let unset = FULL.replace("${PASSWORD}", "CANARY-${NOT_SET}");
    let torn = FULL.replace("token: CANARY-static}", "token: \"CANARY-static}");
    let ends = tokio::task::spawn_blocking(move || {
        let files = [wrong, mistyped, doubled, unset, torn];
        let mut ends: Vec<_> = files.iter().flat_map(|file| cage.run_each(file, READERS)).collect();
        ends.extend(files.iter().map(|file| (cage.run(file, &["run"], "trace").code, "run".to_owned())));
        ends
    })
    .await
    .unwrap();
    for (code, command) in ends {
        assert_eq!(code, Some(78), "{command}");
    }
}
