//! The proxy in this process, entered by `app::run` as the binary does.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use tempfile::TempDir;
use tokenferry::app::{self, Accepting, Start};
use tokenferry::config::render;
use tokenferry::server::ListenOn;
use tokenferry::telemetry::metrics::Metrics;
use tokio::sync::{mpsc, oneshot};

use super::{editor, secrets};

/// A proxy that runs until dropped.
pub struct Proxy {
    addresses: Vec<ListenOn>,
    admin: Option<ListenOn>,
    hangups: mpsc::Sender<()>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), app::AppError>>>,
    folder: TempDir,
    /// What it counts.
    pub metrics: Arc<Metrics>,
}

impl Proxy {
    /// Starts a proxy with this configuration. `listeners` is put in front (port 0) unless the text
    /// has its own; one worker unless it says `workers`.
    pub async fn start(yaml: &str) -> Self {
        Self::start_with(yaml, &[]).await
    }

    /// The same, with these variables for `${NAME}`.
    pub async fn start_with(yaml: &str, variables: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        Self::start_in(folder, yaml, variables).await
    }

    /// The same without variables and without a watcher: another configuration is taken when somebody asks.
    pub async fn start_unwatched(yaml: &str) -> Self {
        Self::launch(TempDir::new().unwrap(), yaml, &[], false).await
    }

    /// The same, in a folder that has files which the configuration names.
    pub async fn start_in(folder: TempDir, yaml: &str, variables: &[(&str, &str)]) -> Self {
        Self::launch(folder, yaml, variables, true).await
    }

    async fn launch(folder: TempDir, yaml: &str, variables: &[(&str, &str)], watch: bool) -> Self {
        secrets::watch_the_log();
        secrets::keep_those_of(yaml);
        secrets::keep_variables(variables.iter().map(|(name, value)| (name.as_ref(), value.as_ref())));
        std::fs::write(folder.path().join("proxy.yaml"), complete(yaml)).unwrap();
        let (hangups, inbox) = mpsc::channel(8);
        let (stop, stopped) = oneshot::channel::<()>();
        let (announce, mut announced) = mpsc::unbounded_channel();
        let variables: HashMap<String, String> =
            variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let metrics = Metrics::new();
        let start = Start {
            config: folder.path().join("proxy.yaml"),
            environment: Arc::new(move |name: &str| variables.get(name).cloned()),
            watch,
            sockets: Vec::new(),
            metrics: Arc::clone(&metrics),
        };
        let expected = complete(yaml).matches("address:").count().max(1);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let outcome = runtime.block_on(app::run(
                start,
                move |accepting| {
                    drop(announce.send(match accepting {
                        Accepting::Listener(address) => (address.clone(), false),
                        Accepting::Admin(address) => (address.clone(), true),
                    }));
                },
                inbox,
                async move { drop(stopped.await) },
            ));
            if let Err(app::AppError::Config(problems)) = &outcome {
                eprintln!("{}", render(&problems.list, false));
            }
            outcome
        });
        let (mut addresses, mut admin) = (Vec::new(), None);
        while addresses.len() + usize::from(admin.is_some()) < expected {
            match announced.recv().await.expect("the proxy starts") {
                (address, true) => admin = Some(address),
                (address, false) => addresses.push(address),
            }
        }
        editor::takes(&complete(yaml));
        Self { addresses, admin, hangups, stop: Some(stop), thread: Some(thread), folder, metrics }
    }

    /// The first listener's address.
    pub fn address(&self) -> SocketAddr {
        self.address_of(0)
    }

    /// The address of the listener at this place.
    pub fn address_of(&self, place: usize) -> SocketAddr {
        match &self.addresses[place] {
            ListenOn::Tcp(address) => *address,
            ListenOn::Unix(path) => panic!("{} is no TCP listener", path.display()),
        }
    }

    /// The admin port's address.
    pub fn admin(&self) -> SocketAddr {
        match self.admin.as_ref().expect("an admin port") {
            ListenOn::Tcp(address) => *address,
            ListenOn::Unix(path) => panic!("{} is no TCP socket", path.display()),
        }
    }

    /// `http://ADDRESS` and this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// The configuration's folder.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Writes another configuration, by rename, as editors do. It is taken when the watcher sees it.
    pub fn rewrite(&self, yaml: &str) {
        secrets::keep_those_of(yaml);
        let next = self.folder.path().join("next.yaml");
        std::fs::write(&next, complete(yaml)).unwrap();
        std::fs::rename(next, self.folder.path().join("proxy.yaml")).unwrap();
    }

    /// What SIGHUP does.
    pub async fn hang_up(&self) {
        self.hangups.send(()).await.unwrap();
    }

    /// Drains, and waits for the end.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        let thread = self.thread.take().unwrap();
        tokio::task::spawn_blocking(move || thread.join().unwrap().unwrap()).await.unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Left to end by itself: a test that failed must not hang here.
        if !std::thread::panicking() {
            secrets::assert_none_was_logged();
        }
    }
}

/// Puts in front what the test does not care about.
pub fn complete(yaml: &str) -> String {
    let mut text = String::new();
    if !yaml.contains("listeners:") {
        text.push_str("listeners:\n  - address: 127.0.0.1:0\n");
    }
    if !yaml.contains("workers:") {
        text.push_str("workers: 1\n");
    }
    if !yaml.contains("shutdown_timeout:") {
        text.push_str("shutdown_timeout: 5s\n");
    }
    text.push_str(yaml);
    text
}
