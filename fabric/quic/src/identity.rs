//! Who this node is, and whom it believes: its certificate and key, and the authorities of all nodes.
//!
//! TLS 1.3 only, with certificates from both sides on every connection: sessions are not resumed, so no ticket
//! outlives a certificate.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use naming::NodeId;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use ring::hmac;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring as ring_provider};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::node_name::{self, NoNode};

/// The protocol spoken inside TLS, with its version.
const ALPN: &[u8] = b"smartswitch/1";

/// The files of an identity, all in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Certificates of the authorities that are believed. Two while one takes the other's place.
    pub ca: PathBuf,
    /// The node's certificate, followed by those between it and an authority, if there are any.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
}

/// The files make no identity.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum IdentityError {
    #[error("cannot read {}: {source}; check the path and who may read it", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} holds no {wanted}; give a PEM file with one, `-----BEGIN ...-----` and on", path.display())]
    Empty { path: PathBuf, wanted: &'static str },
    #[error("cannot use {}: {reason}; `smartswitch pki show FILE` says what is in a certificate", path.display())]
    Unfit { path: PathBuf, reason: String },
    #[error("the certificate in {} is no node's: {reason}", path.display())]
    NoNode { path: PathBuf, reason: NoNode },
    #[error("the certificate in {} is for node {found}, but this is node {own}", path.display())]
    OtherNode { path: PathBuf, found: NodeId, own: NodeId },
}

/// A node's certificate and key, and the authorities it believes.
#[derive(Clone)]
pub struct Identity {
    node: NodeId,
    expires: SystemTime,
    verifier: Arc<dyn ClientCertVerifier>,
    client: Arc<QuicClientConfig>,
    server: Arc<QuicServerConfig>,
    secret: hmac::Key,
    certificate: PathBuf,
}

impl Identity {
    /// Reads `files` and checks that other nodes will believe them: the certificate names a node, is signed by one of
    /// the authorities, valid now, and of this key.
    ///
    /// # Errors
    /// [`IdentityError`] names the file and what to do.
    pub fn open(files: &Files) -> Result<Self, IdentityError> {
        let Files { ca, certificate, key } = files;
        let chain = certificates(certificate)?;
        let secret_key = private_key(key)?;
        let node = node_name::of_certificate(&chain[0])
            .map_err(|reason| IdentityError::NoNode { path: certificate.clone(), reason })?;

        let roots = roots(ca)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider());
        let verifier = verifier.build().map_err(|error| unfit(ca, error))?;
        let checked = verifier.verify_client_cert(&chain[0], &chain[1..], UnixTime::now());
        checked.map_err(|error| unfit(certificate, error))?;
        let expires = expiry(&chain).map_err(|error| unfit(certificate, error))?;

        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret_key.secret_der());
        let server = server(Arc::clone(&verifier), chain.clone(), secret_key.clone_key());
        let server = server.map_err(|error| unfit(key, error))?;
        let client = client(roots, chain, secret_key).map_err(|error| unfit(key, error))?;
        Ok(Self { node, expires, verifier, client, server, secret, certificate: certificate.clone() })
    }

    /// The node that the certificate names.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// When the certificate, or one between it and its authority, ends.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }

    /// Whose certificates these are, the node's first, if the authorities vouch for them now, and until when.
    pub(crate) fn verify(&self, chain: &[CertificateDer<'_>]) -> Result<(NodeId, SystemTime), String> {
        let (first, between) = chain.split_first().ok_or("it showed no certificate")?;
        let checked = self.verifier.verify_client_cert(first, between, UnixTime::now());
        checked.map_err(|error| error.to_string())?;
        let node = node_name::of_certificate(first).map_err(|error| error.to_string())?;
        Ok((node, expiry(chain)?))
    }

    /// Complains if this is not `own`'s.
    pub(crate) fn must_be(&self, own: NodeId) -> Result<(), IdentityError> {
        if self.node == own {
            return Ok(());
        }
        Err(IdentityError::OtherNode { path: self.certificate.clone(), found: self.node, own })
    }

    pub(crate) fn client(&self) -> Arc<QuicClientConfig> {
        Arc::clone(&self.client)
    }

    pub(crate) fn server(&self) -> Arc<QuicServerConfig> {
        Arc::clone(&self.server)
    }

    /// A key for `purpose` that is the same each time the node starts with these files.
    pub(crate) fn lasting_key(&self, purpose: &str) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(hmac::sign(&self.secret, purpose.as_bytes()).as_ref());
        key
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("node", &self.node)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

fn server(
    verifier: Arc<dyn ClientCertVerifier>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<QuicServerConfig>, String> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(QuicServerConfig::try_from(config).map_err(|error| error.to_string())?))
}

fn client(
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<QuicClientConfig>, String> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(QuicClientConfig::try_from(config).map_err(|error| error.to_string())?))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring_provider::default_provider())
}

fn roots(path: &Path) -> Result<Arc<RootCertStore>, IdentityError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| unfit(path, error))?;
    }
    Ok(Arc::new(roots))
}

/// The earliest end of all of them.
fn expiry(chain: &[CertificateDer<'_>]) -> Result<SystemTime, String> {
    let ends = chain.iter().map(|certificate| {
        let (_, certificate) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
        let seconds = certificate.validity().not_after.timestamp();
        Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    });
    ends.collect::<Result<Vec<_>, String>>()?.into_iter().min().ok_or_else(|| "no certificate".to_owned())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let pem = read(path)?;
    let certificates: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates.map_err(|error| unfit(path, error))? {
        none if none.is_empty() => Err(IdentityError::Empty { path: path.to_owned(), wanted: "certificate" }),
        certificates => Ok(certificates),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        PemError::NoItemsFound => {
            IdentityError::Empty { path: path.to_owned(), wanted: "private key without a passphrase" }
        }
        error => unfit(path, error),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    std::fs::read(path).map_err(|source| IdentityError::Unreadable { path: path.to_owned(), source })
}

fn unfit(path: &Path, reason: impl Display) -> IdentityError {
    IdentityError::Unfit { path: path.to_owned(), reason: reason.to_string() }
}
