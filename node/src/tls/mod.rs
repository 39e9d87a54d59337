//! TLS 1.2 and 1.3 to clients and to servers, with rustls.
//!
//! Sessions are resumed: clients get tickets, and those of servers are used. Early data is not taken, since whoever
//! records it can send it again. A shell holds a `Stream`, which is plain TCP or TLS over it.
//!
//! | module | what it is |
//! |---|---|
//! | `files` | certificates and keys in PEM files |
//! | `stream` | one connection, plain or not |

mod files;
mod stream;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::config::{ServerTls, Tls};
use files::File;
pub use files::TlsError;
pub(crate) use stream::Stream;

/// How long a client may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Sessions of TLS 1.2 clients without tickets that can be resumed.
const KEPT_SESSIONS: usize = 4096;

/// The listening side.
pub(crate) struct Acceptor(TlsAcceptor);

impl Acceptor {
    /// Reads the files of `section`, such as `[pool.tls]`.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what to do.
    pub(crate) fn open(tls: &Tls, section: &'static str) -> Result<Self, TlsError> {
        let certificate = File { section, key: "certificate", path: &tls.certificate };
        let key = File { section, key: "key", path: &tls.key };
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| key.unfit(error))?;
        let builder = match &tls.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let file = File { section, key: "client_ca", path };
                let verifier = WebPkiClientVerifier::builder_with_provider(roots(file)?, provider());
                builder.with_client_cert_verifier(verifier.build().map_err(|error| file.unfit(error))?)
            }
        };
        let mut config = builder
            .with_single_cert(certificate.certificates()?, key.key()?)
            .map_err(|error| certificate.unfit(error))?;
        config.session_storage = ServerSessionMemoryCache::new(KEPT_SESSIONS);
        config.ticketer = ring::Ticketer::new().map_err(|error| certificate.unfit(error))?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Does the handshake on a connection that was accepted.
    ///
    /// # Errors
    /// If the client does not go through with it, or not in time.
    pub(crate) async fn accept(&self, tcp: TcpStream) -> io::Result<Stream> {
        match tokio::time::timeout(HANDSHAKE, self.0.accept(tcp)).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream?.into()))),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// The connecting side.
pub(crate) struct Connector {
    tls: TlsConnector,
    /// The name that the servers' certificates must be for; without one the host of each server's address.
    name: Option<ServerName<'static>>,
}

impl Connector {
    /// Reads the files of `section`, such as `[pool.server_tls]`.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what to do.
    pub(crate) fn open(tls: &ServerTls, section: &'static str) -> Result<Self, TlsError> {
        let ca = File { section, key: "ca", path: &tls.ca };
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| ca.unfit(error))?;
        let builder = builder.with_root_certificates(roots(ca)?);
        let config = match &tls.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let certificate = File { section, key: "certificate", path: certificate };
                let key = File { section, key: "key", path: key };
                let mut config = builder
                    .with_client_auth_cert(certificate.certificates()?, key.key()?)
                    .map_err(|error| certificate.unfit(error))?;
                // memcached breaks the handshake off if a client with a certificate resumes a session: it gives OpenSSL
                // no session id context.
                config.resumption = Resumption::disabled();
                config
            }
        };
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), name: tls.server_name.clone() })
    }

    /// Does the handshake on a connection to the server at `address`, which is `HOST:PORT`.
    ///
    /// # Errors
    /// If the server does not go through with it, or is not who it should be.
    pub(crate) async fn connect(&self, tcp: TcpStream, address: &str) -> io::Result<Stream> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => host(address)?,
        };
        Ok(Stream::Tls(Box::new(self.tls.connect(name, tcp).await?.into())))
    }
}

/// The host of `HOST:PORT`, as a certificate names it.
fn host(address: &str) -> io::Result<ServerName<'static>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(file: File<'_>) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in file.certificates()? {
        roots.add(certificate).map_err(|error| file.unfit(error))?;
    }
    Ok(Arc::new(roots))
}

impl Stream {
    /// Whether an earlier TLS session was resumed.
    pub(crate) fn is_resumed(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Tls(tls) => tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_for_the_host_of_an_address() {
        let name = |address: &str| host(address).unwrap().to_str().into_owned();
        assert_eq!(name("mc1.example:11211"), "mc1.example");
        assert_eq!(name("10.0.0.1:11211"), "10.0.0.1");
        assert_eq!(name("[fd00::1]:11211"), "fd00::1");
        assert!(host("a b:1").is_err());
    }
}
