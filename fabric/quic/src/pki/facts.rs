//! What is in a certificate.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use naming::NodeId;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use super::PkiError;
use crate::node_name;

/// What is in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whose it is, as a distinguished name.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The number its issuer gave it, in hexadecimal digits.
    pub serial: String,
    /// The node it names, if it names one.
    pub node: Option<NodeId>,
    /// Whether it may sign others.
    pub is_ca: bool,
    /// Its first moment.
    pub not_before: SystemTime,
    /// Its last.
    pub not_after: SystemTime,
    /// Host names and addresses that it is valid for, the node's name among them.
    pub names: Vec<String>,
    /// SHA-256 of it, in hexadecimal digits.
    pub fingerprint: String,
    /// The public key with its algorithm, as the certificate holds it (DER).
    pub(super) public_key: Vec<u8>,
}

impl Facts {
    /// Whether it is valid at `time`, as far as its dates say.
    pub fn is_valid_at(&self, time: SystemTime) -> bool {
        (self.not_before..=self.not_after).contains(&time)
    }
}

/// What is in the certificates of a PEM file, at least one.
///
/// # Errors
/// If the file cannot be read, or holds no certificate.
pub fn facts(path: &Path) -> Result<Vec<Facts>, PkiError> {
    let unfit = |reason: String| PkiError::Unfit { path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|source| PkiError::Unreadable { path: path.to_owned(), source })?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|error| unfit(error.to_string()))?;
    if certificates.is_empty() {
        return Err(unfit(
            "it holds no certificate; give a PEM file with one, `-----BEGIN CERTIFICATE-----`".into(),
        ));
    }
    certificates.iter().map(|certificate| of(certificate).map_err(unfit)).collect()
}

fn of(der: &CertificateDer<'_>) -> Result<Facts, String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let time =
        |seconds: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    Ok(Facts {
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        serial: hex(certificate.raw_serial()),
        node: node_name::of_certificate(der).ok(),
        is_ca: certificate.is_ca(),
        not_before: time(certificate.validity().not_before.timestamp()),
        not_after: time(certificate.validity().not_after.timestamp()),
        names: names(&certificate),
        fingerprint: hex(ring::digest::digest(&ring::digest::SHA256, der).as_ref()),
        public_key: certificate.public_key().raw.to_vec(),
    })
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extensions = certificate.extensions().iter();
    let names = extensions.filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    names.flatten().filter_map(name).collect()
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
