use super::*;

#[test]
fn try_out() {
    let yaml = "\
listeners:
  - address: localhost:8080
    tsl: {}
credentials:
  crm:
    provider: oauth2
    token_url: https://login.example.com/token
    grant: client_credential
    client_id: ${MISSING}
    client_secert: hunter2
    refresh_before: 200%
routes:
  - name: one
    match: {path: crm, path_regex: 'a('}
    upstream: https://u:p@api.example.com/
    credential: crmm
    timeouts: {response: 90}
  - {name: one, upstream: [x], credential: key, workers: 1}
workers: many
store: {kind: redis}
";
    let problems = refused(yaml);
    eprintln!("{problems}");
    eprintln!("{:#?}", told(&problems.list));
}
