//! The command line, through the real binary: what it prints, where, and how it ends.

mod canary;
mod check;
mod explain;
mod hash_password;
mod man;
mod reload;
mod shape;
mod token;
mod waiting;

use std::path::Path;
use std::process::Output;

use tokenferry::demo::{OAuth2, Options, Simulator};

use crate::harness::process;

/// What came of a command.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ran {
    /// What a command that must succeed printed.
    fn done(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }

    /// The same, as JSON.
    fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs a command beside this `proxy.yaml`.
fn ran(yaml: &str, arguments: &[&str]) -> Ran {
    ran_with(yaml, arguments, &[])
}

fn ran_with(yaml: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    process::run(yaml, arguments, variables).into()
}

/// The same, while simulators of this runtime answer.
async fn ran_async(yaml: &str, arguments: &[&str]) -> Ran {
    let (yaml, arguments) = (yaml.to_owned(), arguments.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
    let run = move || ran(&yaml, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Runs a command in a folder that has its `proxy.yaml`, such as a running proxy's.
async fn in_folder(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = process::command(folder);
    command.args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
}

/// A token endpoint, and a credential `partner` for it.
async fn partner() -> (Simulator, String) {
    let vendor = Simulator::start(OAuth2::default(), Options::default()).await.unwrap();
    let yaml = format!(
        "\
listeners: [{{address: 127.0.0.1:8080}}]
credentials:
  partner:
    provider: oauth2
    token_url: {origin}/oauth2/token
    grant: client_credentials
    client_id: demo:client
    client_secret: demo/oauth2+secret
routes:
  - {{name: api, upstream: {origin}/api, credential: partner}}
",
        origin = vendor.origin()
    );
    (vendor, yaml)
}
