//! A question to the running proxy, by its admin port.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use zeroize::Zeroizing;

use super::{ConfigArg, FormatArg, INVALID, USAGE, fail, ready};
use crate::app::process_environment;
use crate::config::{ListenAddress, admin};
use crate::secret::{Secret, secret_header};

/// The variable that has the token where the configuration's cannot be read, or is another one by now.
const TOKEN: &str = "TOKENFERRY_ADMIN_TOKEN";
/// For a connection on this machine or near it.
const CONNECT: Duration = Duration::from_secs(5);
/// The problems of a large file.
const LARGEST_ANSWER: usize = 16 << 20;

/// How the admin port is found, and how its answer is written.
#[derive(Debug, clap::Args)]
pub(super) struct AskArg {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The admin port's address, where it is not read from the configuration: `127.0.0.1:9901` or
    /// `unix:/path`. Its token is then in `TOKENFERRY_ADMIN_TOKEN`.
    #[arg(long, env = "TOKENFERRY_ADMIN", value_name = "ADDRESS")]
    admin: Option<String>,
    #[command(flatten)]
    pub(super) format: FormatArg,
}

/// The admin port of a proxy that may be running.
#[derive(Debug)]
pub(super) struct Port {
    address: ListenAddress,
    token: Option<Secret>,
    /// Where the token is from, in words.
    source: &'static str,
}

const FROM_ENVIRONMENT: &str = "that of TOKENFERRY_ADMIN_TOKEN";
const FROM_FILE: &str = "that of the configuration";

/// What it said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl AskArg {
    /// Finds the admin port, also by a file that is invalid elsewhere. Without one, says what to do, and
    /// gives the exit status. `authorised` says whether the question needs the token.
    pub(super) fn port(&self, authorised: bool) -> Result<Port, ExitCode> {
        let given = std::env::var(TOKEN).ok().filter(|token| !token.is_empty()).map(Secret::new);
        if let Some(text) = &self.admin {
            let address = parse(text)
                .ok_or_else(|| fail("--admin is no address: write 127.0.0.1:9901, [::1]:9901 or unix:/path", USAGE))?;
            // The token in the file is most likely the one, also where the address in it is another by now.
            let (token, source) = match given {
                Some(given) => (Some(given), FROM_ENVIRONMENT),
                None if authorised => (self.token_of_file(), FROM_FILE),
                None => (None, FROM_FILE),
            };
            return Ok(Port { address, token, source });
        }
        let path = &self.config.config;
        // A question that needs no token is not kept from being asked by one that cannot be read.
        let stands_in = if authorised { given } else { Some(Secret::new("of-no-use-to-a-health-check")) };
        match admin(path, &*process_environment(), stands_in.as_ref()) {
            Ok(Some(settings)) => {
                let source = if stands_in.is_some() { FROM_ENVIRONMENT } else { FROM_FILE };
                let token = if authorised { stands_in.or(settings.token) } else { None };
                Ok(Port { address: settings.address, token, source })
            }
            Ok(None) => Err(self.without()),
            Err(problems) => {
                ready::show(&problems.list);
                let what =
                    format!("the admin port is not known: mend `admin` in {}, or name it with --admin", path.display());
                Err(fail(&what, INVALID))
            }
        }
    }

    /// The file's admin token, where that can be read.
    fn token_of_file(&self) -> Option<Secret> {
        admin(&self.config.config, &*process_environment(), None).ok().flatten().and_then(|settings| settings.token)
    }

    /// There is no admin port in the file; perhaps since there is nothing to be read in it.
    fn without(&self) -> ExitCode {
        let path = &self.config.config;
        if let Err(problems) = ready::load(path) {
            ready::refuse(&problems);
            return fail("a running proxy keeps its configuration", INVALID);
        }
        let what = format!(
            "{} has no admin port; write `admin: {{address: 127.0.0.1:9901}}` and restart, or name one with --admin",
            path.display()
        );
        fail(&what, USAGE)
    }
}

fn parse(text: &str) -> Option<ListenAddress> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Some(ListenAddress::Unix(PathBuf::from(path)));
    }
    let text = text.strip_prefix("http://").unwrap_or(text);
    let text = text.strip_suffix('/').unwrap_or(text).replace("localhost:", "127.0.0.1:");
    text.parse().ok().map(ListenAddress::Tcp)
}

impl Port {
    /// Asks. Without an answer, says why, and gives the exit status.
    pub(super) fn ask(&self, method: Method, path: &str, within: Duration) -> Result<Answer, ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| fail(&format!("cannot start: {error}"), 1))?;
        let asking = async { tokio::time::timeout(within, self.exchange(method, path)).await };
        match runtime.block_on(asking) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(fail(&self.unanswered(&error), 1)),
            Err(_) => Err(fail(&format!("the proxy at {} does not answer in time", self.named()), 1)),
        }
    }

    fn unanswered(&self, error: &io::Error) -> String {
        let named = self.named();
        if let ListenAddress::Tcp(address) = &self.address
            && address.port() == 0
        {
            return format!("{named} has no port of its own; name the one that `run` printed with --admin");
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                format!(
                    "nobody listens at {named}: is the proxy running? (a changed `admin.address` needs a restart; \
                     --admin asks at the old one)"
                )
            }
            io::ErrorKind::PermissionDenied => format!("{named} may not be connected to (permission denied)"),
            _ => format!("the proxy at {named} cannot be asked: {error}"),
        }
    }

    /// Why the token was not taken, in words.
    pub(super) fn wrong_token(&self) -> String {
        match &self.token {
            None => "no token was sent: write `admin.token`, or set TOKENFERRY_ADMIN_TOKEN".to_owned(),
            Some(_) => format!(
                "{} is not the one in force: a changed `admin.token` needs a restart, and TOKENFERRY_ADMIN_TOKEN goes \
                 before the file's",
                self.source
            ),
        }
    }

    /// As the configuration has it.
    pub(super) fn named(&self) -> String {
        match &self.address {
            ListenAddress::Tcp(address) => address.to_string(),
            ListenAddress::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    async fn exchange(&self, method: Method, path: &str) -> io::Result<Answer> {
        match &self.address {
            ListenAddress::Tcp(address) => {
                let address = reachable(*address);
                let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await??;
                self.over(stream, &address.to_string(), method, path).await
            }
            ListenAddress::Unix(socket) => {
                self.over(UnixStream::connect(socket).await?, "localhost", method, path).await
            }
        }
    }

    async fn over<S>(&self, stream: S, host: &str, method: Method, path: &str) -> io::Result<Answer>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host)
            .body(Empty::<Bytes>::new())
            .map_err(io::Error::other)?;
        if let Some(token) = &self.token {
            let text = Zeroizing::new(["Bearer ", token.expose()].concat());
            let value = secret_header(text).map_err(io::Error::other)?;
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await.map_err(io::Error::other)?;
        Ok(Answer { status, body: body.to_bytes() })
    }
}

/// What listens everywhere listens on loopback too.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_port_is_named_as_it_is_configured_or_as_a_url() {
        let tcp = |text: &str| Some(ListenAddress::Tcp(text.parse().unwrap()));
        assert_eq!(parse("127.0.0.1:9901"), tcp("127.0.0.1:9901"));
        assert_eq!(parse("http://127.0.0.1:9901/"), tcp("127.0.0.1:9901"));
        assert_eq!(parse("http://localhost:9901"), tcp("127.0.0.1:9901"));
        assert_eq!(parse("[::1]:9901"), tcp("[::1]:9901"));
        assert_eq!(parse("unix:/run/a.sock"), Some(ListenAddress::Unix("/run/a.sock".into())));
        for none in ["9901", "127.0.0.1", "https://127.0.0.1:9901", "http://127.0.0.1:9901/api", ""] {
            assert_eq!(parse(none), None, "{none}");
        }
    }

    #[test]
    fn what_listens_everywhere_is_asked_on_loopback() {
        assert_eq!(reachable("0.0.0.0:1".parse().unwrap()).to_string(), "127.0.0.1:1");
        assert_eq!(reachable("[::]:1".parse().unwrap()).to_string(), "[::1]:1");
        assert_eq!(reachable("10.0.0.1:1".parse().unwrap()).to_string(), "10.0.0.1:1");
    }
}
