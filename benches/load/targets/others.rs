//! nginx, `HAProxy` and what `--peer` names: the same job with a token written into their configuration.

use super::peer::Peer;
use super::stage::Stage;
use super::{Target, listens, start_on_free_ports, stderr_to, write};
use crate::family::Child;
use crate::scenario::Client;
use crate::token::{FIXED, token};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

/// nginx's own account of its version, where it is installed.
pub(crate) fn nginx_version() -> Option<String> {
    let output = Command::new("nginx").arg("-v").output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(text.trim().trim_start_matches("nginx version: ").to_owned())
}

/// `HAProxy`'s own account of its version, where it is installed.
pub(crate) fn haproxy_version() -> Option<String> {
    let output = Command::new("haproxy").arg("-v").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next()?.trim_start_matches("HAProxy version ");
    Some(format!("haproxy/{}", line.split_whitespace().next()?))
}

pub(crate) fn start_nginx(stage: &Stage<'_>) -> Result<Target, String> {
    start("nginx", stage, include_str!("../../peers/nginx.conf"), |command, dir, file| {
        command.arg("-p").arg(dir).arg("-c").arg(file).arg("-e").arg("stderr");
    })
}

pub(crate) fn start_haproxy(stage: &Stage<'_>) -> Result<Target, String> {
    start("haproxy", stage, include_str!("../../peers/haproxy.cfg"), |command, _, file| {
        command.arg("-db").arg("-f").arg(file);
    })
}

fn start(
    program: &str,
    stage: &Stage<'_>,
    template: &str,
    arguments: impl Fn(&mut Command, &Path, &Path),
) -> Result<Target, String> {
    let dir = stage.scratch.join(program);
    fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let log = stage.scratch.join(format!("{program}.log"));
    let (child, [plain, tls, h2c]) = start_on_free_ports(program, &log, |[plain, tls, h2c]| {
        let certificates = stage.certificates;
        let upstream_tls = if stage.traffic.upstream_tls { " ssl verify none no-ssl-reuse" } else { "" };
        let configuration = template
            .replace("@WORKERS@", &stage.workers.to_string())
            .replace("@FILES@", &stage.files.to_string())
            .replace("@CONNECTIONS@", &stage.connections().to_string())
            .replace("@DIR@", &dir.display().to_string())
            .replace("@CERTIFICATE@", &certificates.certificate.display().to_string())
            .replace("@KEY@", &certificates.key.display().to_string())
            .replace("@CERTIFICATE_AND_KEY@", &certificates.both.display().to_string())
            .replace("@LISTEN@", &plain.to_string())
            .replace("@LISTEN_TLS@", &tls.to_string())
            .replace("@LISTEN_H2C@", &h2c.to_string())
            .replace("@SCHEME@", stage.scheme())
            .replace("@UPSTREAM@", &stage.upstream().to_string())
            .replace("@UPSTREAM_TLS@", upstream_tls)
            .replace("@TOKEN@", &token(FIXED));
        let file = dir.join("configuration");
        write(&file, &configuration)?;
        let mut command = stage.pinning.proxy(program);
        arguments(&mut command, &dir, &file);
        Ok(command)
    })?;
    let address = match stage.traffic.client {
        Client::Plain => plain,
        Client::Tls => tls,
        Client::H2c => h2c,
    };
    Ok(Target::of(program, address, Some(child), Some(log)))
}

pub(crate) fn start_peer(stage: &Stage<'_>, peer: &Peer) -> Result<Target, String> {
    let dir = stage.scratch.join(format!("peer-{}", peer.name));
    fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let log = stage.scratch.join(format!("peer-{}.log", peer.name));
    let shell = |address: SocketAddr| {
        let command = peer.command(&[
            ("port", &address.port().to_string()),
            ("upstream", &stage.upstream().to_string()),
            ("token", &token(FIXED)),
            ("workers", &stage.workers.to_string()),
            ("dir", &dir.display().to_string()),
        ]);
        let mut shell = stage.pinning.proxy("sh");
        // It replaces the shell where it can; where not, the shell's children are counted with it.
        shell.arg("-c").arg(command).current_dir(&dir);
        shell
    };
    let (child, address) = match peer.port {
        None => {
            let (child, [address]) = start_on_free_ports(&peer.name, &log, |[address]| Ok(shell(address)))?;
            (child, address)
        }
        Some(port) => {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            if TcpStream::connect(address).is_ok() {
                return Err(format!("{}: something listens on port {port} already", peer.name));
            }
            let mut command = shell(address);
            command.stderr(stderr_to(&log)?);
            let child = Child::start(command).map_err(|e| format!("{}: {e}", peer.name))?;
            if !listens(&child, address) {
                return Err(format!("{} does not listen on port {port}\n{}", peer.name, super::end_of(&log)));
            }
            (child, address)
        }
    };
    Ok(Target::of(&peer.name, address, Some(child), Some(log)))
}
