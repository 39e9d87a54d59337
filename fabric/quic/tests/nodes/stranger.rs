//! A peer that does as it likes: QUIC and TLS without any of the endpoint's own rules.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fabric_quic::{Files, node_name};
use naming::NodeId;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint};
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;

use crate::support::{Ca, soon};

/// What it shows of itself.
pub(crate) struct Stranger {
    endpoint: Endpoint,
    config: rustls::ClientConfig,
}

fn believing(ca: &Ca) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca.certificate()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    builder.with_protocol_versions(&[&TLS13]).unwrap().with_root_certificates(roots)
}

impl Stranger {
    fn new(config: rustls::ClientConfig) -> Self {
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { endpoint, config }.speaking(b"smartswitch/1")
    }

    /// Without a certificate.
    pub(crate) fn nobody(ca: &Ca) -> Self {
        Self::new(believing(ca).with_no_client_auth())
    }

    /// With a node's files.
    pub(crate) fn with(ca: &Ca, files: &Files) -> Self {
        let certificate = CertificateDer::from_pem_file(&files.certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
        Self::new(believing(ca).with_client_auth_cert(vec![certificate], key).unwrap())
    }

    /// With a certificate of the authority for these names.
    pub(crate) fn named(ca: &Ca, names: &[String]) -> Self {
        let authority_key = KeyPair::from_pem(&std::fs::read_to_string(ca.key()).unwrap()).unwrap();
        let authority = std::fs::read_to_string(ca.certificate()).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&authority, authority_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = SystemTime::now().into();
        params.not_after = (SystemTime::now() + Duration::from_secs(3600)).into();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let chain = vec![certificate.der().clone()];
        Self::new(believing(ca).with_client_auth_cert(chain, key).unwrap())
    }

    pub(crate) fn speaking(mut self, protocol: &[u8]) -> Self {
        self.config.alpn_protocols = vec![protocol.to_vec()];
        self
    }

    /// Connects, as far as its own side of the handshake goes.
    pub(crate) async fn connect(
        &self,
        node: NodeId,
        address: SocketAddr,
    ) -> Result<Connection, ConnectionError> {
        let config = QuicClientConfig::try_from(self.config.clone()).unwrap();
        let config = ClientConfig::new(Arc::new(config));
        let connecting = self.endpoint.connect_with(config, address, &node_name::dns_name(node)).unwrap();
        soon("the handshake", connecting).await
    }

    /// Connects, and says how the node ended that.
    pub(crate) async fn refusal(&self, node: NodeId, address: SocketAddr) -> String {
        match self.connect(node, address).await {
            Ok(connection) => soon("the refusal", connection.closed()).await.to_string(),
            Err(error) => error.to_string(),
        }
    }
}
