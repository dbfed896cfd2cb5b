//! `reload` and `healthcheck`: the running proxy is asked, and the exit status is the verdict.

use super::in_folder;
use crate::harness::nobody::Nobody;
use crate::harness::process::{Process, command, replace};

const TOKEN: &str = "adm1n-t0ken-of-the-tests";

/// A process whose admin port is at a known port: `reload` reads it from the file.
async fn started(more: &str) -> (Process, String) {
    let nobody = Nobody::there();
    let yaml = format!("admin: {{address: {nobody}{more}}}\nroutes: [{{name: a, respond: 204}}]\n");
    let process = Process::start(&yaml, &[("ADMIN", TOKEN)]);
    process.admin().await;
    (process, yaml)
}

#[tokio::test]
async fn a_reload_ends_with_the_verdict() {
    let (process, yaml) = started("").await;
    let folder = process.folder.path();
    let ran = in_folder(folder, &["reload"]).await;
    assert_eq!(ran.done(), "unchanged: generation 1\n");

    process.rewrite(&yaml.replace("204", "403"));
    let ran = in_folder(folder, &["reload"]).await;
    // The watcher may have come before.
    let out = ran.done();
    assert!(out == "reloaded: generation 2\n" || out == "unchanged: generation 2\n", "{out}");

    process.rewrite(&yaml.replace("respond: 204", "respond: 999"));
    let checked = in_folder(folder, &["check"]).await;
    let ran = in_folder(folder, &["reload"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(78), ""), "{}", ran.err);
    let words = checked
        .err
        .replace("is invalid: 1 error\n", "is invalid: 1 error; the running proxy keeps its configuration\n");
    assert_eq!(ran.err, words, "as `check` tells it");

    let ran = in_folder(folder, &["reload", "--format", "json"]).await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(78), ""));
    let (told, expected) = (ran.json(), in_folder(folder, &["check", "--format", "json"]).await.json());
    assert_eq!((&told["outcome"], &told["problems"]), (&"refused".into(), &expected["problems"]));

    process.rewrite(&format!("workers: 2\n{yaml}"));
    let ran = in_folder(folder, &["reload"]).await;
    assert_eq!(ran.code, Some(0));
    assert!(ran.err.contains("`workers` has changed: this needs a restart"), "{ran:?}");
}

#[tokio::test]
async fn a_file_that_is_no_yaml_still_leads_to_the_admin_port() {
    let (process, yaml) = started("").await;
    let folder = process.folder.path();
    replace(&folder.join("proxy.yaml"), &yaml.replace("routes: [", "routes: [{"));
    let (checked, ran) = (in_folder(folder, &["check"]).await, in_folder(folder, &["reload"]).await);
    assert_eq!(ran.code, Some(78), "{}", ran.err);
    let problem = checked.err.split("tokenferry: ").next().unwrap();
    assert!(problem.contains("proxy.yaml:") && ran.err.starts_with(problem), "{}", ran.err);
    assert!(ran.err.contains("the running proxy keeps its configuration"), "{}", ran.err);
    assert_eq!(in_folder(folder, &["healthcheck"]).await.done(), "ready\n");

    replace(&folder.join("proxy.yaml"), "routes: [{\n");
    let (checked, ran) = (in_folder(folder, &["check"]).await, in_folder(folder, &["reload"]).await);
    assert_eq!(ran.code, Some(78), "{}", ran.err);
    assert!(ran.err.starts_with(&checked.err) && ran.err.contains("keeps its configuration"), "{}", ran.err);
}

#[tokio::test]
async fn without_an_admin_port_it_says_what_to_write_and_without_a_proxy_that_none_runs() {
    let folder = tempfile::TempDir::new().unwrap();
    let base = "listeners: [{address: '127.0.0.1:0'}]\nroutes: [{name: a, respond: 204}]\n";
    for subcommand in ["reload", "healthcheck"] {
        replace(&folder.path().join("proxy.yaml"), base);
        let ran = in_folder(folder.path(), &[subcommand]).await;
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains("write `admin: {address: 127.0.0.1:9901}`"), "{ran:?}");
        replace(&folder.path().join("proxy.yaml"), &format!("{base}admin: {{address: 127.0.0.1:1}}\n"));
        let ran = in_folder(folder.path(), &[subcommand]).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.contains("nobody listens at 127.0.0.1:1: is the proxy running?"), "{ran:?}");
        replace(&folder.path().join("proxy.yaml"), &format!("{base}admin: {{address: 127.0.0.1}}\n"));
        let ran = in_folder(folder.path(), &[subcommand]).await;
        assert_eq!(ran.code, Some(78), "{ran:?}");
        assert!(ran.err.contains("admin.address: has no port"), "{ran:?}");
        let ran = in_folder(folder.path(), &[subcommand, "--admin", "nonsense"]).await;
        assert_eq!(ran.code, Some(2), "{ran:?}");
    }
}

#[tokio::test]
async fn the_token_comes_from_the_file_or_the_environment() {
    let (process, _) = started(", token: '${ADMIN}'").await;
    let folder = process.folder.path().to_owned();
    let run = |arguments: &'static [&'static str], variables: Vec<(&'static str, String)>| {
        let folder = folder.clone();
        async move {
            let mut command = command(&folder);
            command.args(arguments).envs(variables);
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            super::Ran::from(output)
        }
    };
    assert_eq!(run(&["reload"], vec![("ADMIN", TOKEN.to_owned())]).await.done(), "unchanged: generation 1\n");
    let ran = run(&["reload"], Vec::new()).await;
    assert_eq!(ran.code, Some(78), "{ran:?}");
    assert!(ran.err.contains("admin.token: the environment variable ADMIN is not set"), "{ran:?}");
    let given = ("TOKENFERRY_ADMIN_TOKEN", TOKEN.to_owned());
    assert_eq!(run(&["reload"], vec![given.clone()]).await.done(), "unchanged: generation 1\n");
    let address = process.admin().await.to_string();
    assert_eq!(run(&["reload"], vec![given, ("TOKENFERRY_ADMIN", address)]).await.code, Some(0));
    let wrong = run(&["reload"], vec![("ADMIN", "an0ther-t0ken-than-that".to_owned())]).await;
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.err.contains("is not the one in force") && !wrong.err.contains("an0ther"), "{wrong:?}");
    assert_eq!(run(&["healthcheck"], Vec::new()).await.done(), "ready\n", "which needs no token");
}

#[tokio::test]
async fn a_proxy_that_drains_is_alive_and_not_ready() {
    let (process, yaml) = started("").await;
    let folder = process.folder.path().to_owned();
    assert_eq!(in_folder(&folder, &["healthcheck"]).await.done(), "ready\n");
    assert_eq!(in_folder(&folder, &["healthcheck", "--live"]).await.done(), "ok\n");
    let told = in_folder(&folder, &["healthcheck", "--format", "json"]).await;
    assert_eq!(told.json(), serde_json::json!({"ok": true, "status": 200, "detail": "ready"}));
    process.rewrite(&format!("drain_delay: 30s\n{yaml}"));
    assert_eq!(in_folder(&folder, &["reload"]).await.code, Some(0));
    process.signal("TERM");
    crate::harness::eventually("it drains", || process.log().contains("draining")).await;
    let ran = in_folder(&folder, &["healthcheck"]).await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), "tokenferry: not ready: draining\n"));
    let told = in_folder(&folder, &["healthcheck", "--format", "json"]).await;
    assert_eq!((told.code, &told.json()["ok"]), (Some(1), &false.into()));
    assert_eq!(in_folder(&folder, &["healthcheck", "--live"]).await.done(), "ok\n");
    process.signal("TERM");
    process.ended().await;
}
