//! A connection that does not block, plain or TLS.

use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, X25519};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

pub(crate) struct Line {
    stream: TcpStream,
    tls: Option<Box<Connection>>,
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Line {
    pub(crate) fn plain(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, tls: None })
    }

    pub(crate) fn client(stream: TcpStream, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST).into());
        let tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        Self::secured(stream, tls.into())
    }

    pub(crate) fn server(stream: TcpStream, config: &Arc<ServerConfig>) -> io::Result<Self> {
        let tls = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        Self::secured(stream, tls.into())
    }

    fn secured(stream: TcpStream, mut tls: Connection) -> io::Result<Self> {
        // What is written is bounded by the messages of the measurement.
        tls.set_buffer_limit(None);
        Ok(Self { tls: Some(Box::new(tls)), ..Self::plain(stream)? })
    }

    /// Nothing at the end; an error of the kind `WouldBlock` where nothing has come yet.
    pub(crate) fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.stream.read(space) };
        loop {
            match tls.reader().read(space) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            if tls.read_tls(&mut self.stream)? == 0 {
                return Ok(0);
            }
            let processed = tls.process_new_packets();
            // An alert, or the handshake's next flight.
            flush(tls, &mut self.stream)?;
            processed.map_err(io::Error::other)?;
        }
    }

    /// As much as it takes; an error of the kind `WouldBlock` where that is nothing.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.stream.write(bytes) };
        let count = tls.writer().write(bytes)?;
        flush(tls, &mut self.stream)?;
        Ok(count)
    }

    /// Sends on what it has taken; whether nothing is left.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        flush(tls, &mut self.stream)?;
        Ok(!tls.wants_write())
    }
}

fn flush(tls: &mut Connection, stream: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(stream) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Trusts this certificate alone, and resumes no session: each handshake is a full one. All are asked for the same
/// key exchange: the proxy knows a post-quantum one that OpenSSL 3.0 below nginx and `HAProxy` does not, and it would
/// do more than they. P-256 stands behind, since OpenSSL shows no certificate whose curve is not offered.
pub(crate) fn client_config(certificate: &Path) -> Result<Arc<ClientConfig>, String> {
    let told = |what: &dyn std::fmt::Display| format!("{}: {what}", certificate.display());
    let mut roots = RootCertStore::empty();
    for found in CertificateDer::pem_file_iter(certificate).map_err(|e| told(&e))? {
        roots.add(found.map_err(|e| told(&e))?).map_err(|e| told(&e))?;
    }
    let provider = CryptoProvider { kx_groups: vec![X25519, SECP256R1], ..aws_lc_rs::default_provider() };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| told(&e))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// Shows this certificate, without tickets or a session cache.
pub(crate) fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let told = |what: &dyn std::fmt::Display| format!("{}: {what}", certificate.display());
    let chain = CertificateDer::pem_file_iter(certificate).map_err(|e| told(&e))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|e| told(&e))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|e| told(&e))?;
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).map_err(|e| told(&e))?;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(Arc::new(config))
}
