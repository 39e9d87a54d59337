//! Certificates and keys in PEM files.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::pki_types::pem::{Error, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum TlsError {
    #[error("cannot read {}, the `{key}` in {section}: {source}; check the path and who may read it", path.display())]
    Unreadable { section: &'static str, key: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{}, the `{key}` in {section}, holds no {wanted}; give a PEM file with one, `-----BEGIN ...-----` and on", path.display())]
    Empty { section: &'static str, key: &'static str, path: PathBuf, wanted: &'static str },
    #[error("cannot use {}, the `{key}` in {section}: {reason}; `openssl x509 -in FILE -text` shows a certificate, and `openssl pkey -in FILE -pubout` whose key it is", path.display())]
    Unfit { section: &'static str, key: &'static str, path: PathBuf, reason: String },
}

/// A file, and the key of the configuration that names it.
#[derive(Clone, Copy)]
pub(super) struct File<'a> {
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    pub(super) path: &'a Path,
}

impl File<'_> {
    /// All certificates in it, at least one.
    pub(super) fn certificates(self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let pem = self.read()?;
        let certificates: Result<Vec<_>, Error> = CertificateDer::pem_slice_iter(&pem).collect();
        match certificates.map_err(|error| self.unfit(error))? {
            none if none.is_empty() => Err(self.empty("certificate")),
            certificates => Ok(certificates),
        }
    }

    /// The first private key in it.
    pub(super) fn key(self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.read()?).map_err(|error| match error {
            Error::NoItemsFound => self.empty("private key without a passphrase"),
            error => self.unfit(error),
        })
    }

    fn read(self) -> Result<Vec<u8>, TlsError> {
        let File { section, key, path } = self;
        std::fs::read(path).map_err(|source| TlsError::Unreadable {
            section,
            key,
            path: path.to_owned(),
            source,
        })
    }

    fn empty(self, wanted: &'static str) -> TlsError {
        TlsError::Empty { section: self.section, key: self.key, path: self.path.to_owned(), wanted }
    }

    /// What is in it cannot be used.
    pub(super) fn unfit(self, reason: impl Display) -> TlsError {
        let File { section, key, path } = self;
        TlsError::Unfit { section, key, path: path.to_owned(), reason: reason.to_string() }
    }
}
