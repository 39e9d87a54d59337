//! Making certificates.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use naming::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};

use super::files::{self, Readers};
use super::{Facts, PkiError, facts};
use crate::identity::Files;
use crate::node_name;

/// A certificate is valid for so long before it was made: clocks of other machines may be slow.
const SKEW: Duration = Duration::from_secs(300);
/// RFC 5280 lets serial numbers have 20 bytes, the first of them below 128.
const SERIAL_LEN: usize = 16;

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first moment.
    pub from: SystemTime,
    /// Its last.
    pub until: SystemTime,
}

impl Validity {
    /// From five minutes ago, since clocks differ, for so many days from now.
    ///
    /// # Errors
    /// If that is beyond the calendar.
    pub fn days(days: u32) -> Result<Self, PkiError> {
        let now = SystemTime::now();
        let until =
            now.checked_add(Duration::from_secs(86_400 * u64::from(days))).ok_or(PkiError::TooLong)?;
        // Certificates have four digits for a year, and end 9999-12-31.
        let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        if until > last { Err(PkiError::TooLong) } else { Ok(Self { from: now - SKEW, until }) }
    }
}

/// An authority in its directory.
pub struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    facts: Facts,
}

impl Authority {
    /// Makes an authority in a directory that has none. It calls itself `name` and a random number: of authorities of the
    /// same name one could not tell whose a certificate is.
    ///
    /// # Errors
    /// If one is there, or the files cannot be written.
    pub fn create(dir: &Path, name: &str, validity: Validity) -> Result<Self, PkiError> {
        files::directory(dir)?;
        let (certificate_file, key_file) = (dir.join("ca.crt"), dir.join("ca.key"));
        let number: String = random::<4>()?.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut params = params(&format!("{name} {number}"), vec![], validity)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(unmade)?;
        let certificate = params.self_signed(&key).map_err(unmade)?;
        if certificate_file.exists() {
            return Err(PkiError::Exists(certificate_file));
        }
        files::write_new(&key_file, &key.serialize_pem(), Readers::Owner)?;
        files::write_new(&certificate_file, &certificate.pem(), Readers::All)?;
        Self::open(dir)
    }

    /// The authority in `dir`.
    ///
    /// # Errors
    /// If there is none, or its files cannot be used.
    pub fn open(dir: &Path) -> Result<Self, PkiError> {
        let (certificate_file, key_file) = (dir.join("ca.crt"), dir.join("ca.key"));
        if !certificate_file.exists() {
            return Err(PkiError::NoAuthority(dir.to_owned()));
        }
        let unfit = |path: &Path, error: rcgen::Error| PkiError::Unfit {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let facts = facts(&certificate_file)?.swap_remove(0);
        let key = KeyPair::from_pem(&files::read(&key_file)?).map_err(|error| unfit(&key_file, error))?;
        let pem = files::read(&certificate_file)?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(|error| unfit(&certificate_file, error))?;
        if rcgen::PublicKeyData::subject_public_key_info(issuer.key()) != facts.public_key {
            let reason = format!("it is not the key of {}", certificate_file.display());
            return Err(PkiError::Unfit { path: key_file, reason });
        }
        Ok(Self { dir: dir.to_owned(), issuer, facts })
    }

    /// What is in its certificate.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Where a node's files are, or will be.
    pub fn files(&self, node: NodeId) -> Files {
        let file = |extension: &str| self.dir.join(format!("{node}.{extension}"));
        Files { ca: self.dir.join("ca.crt"), certificate: file("crt"), key: file("key") }
    }

    /// Makes a key and a certificate for a node that has none. `names` are host names and addresses that it is to be
    /// valid for besides the node's own name, for whoever reaches the node's other servers by TLS.
    ///
    /// # Errors
    /// If it has one, or the files cannot be written.
    pub fn issue(&self, node: NodeId, names: &[String], validity: Validity) -> Result<Files, PkiError> {
        let files = self.files(node);
        if let Some(path) = [&files.certificate, &files.key].into_iter().find(|path| path.exists()) {
            return Err(PkiError::NodeExists { path: path.clone(), node });
        }
        let key = KeyPair::generate().map_err(unmade)?;
        let certificate = self.certificate(node, names, validity, &key)?;
        files::write_new(&files.key, &key.serialize_pem(), Readers::Owner)?;
        files::write_new(&files.certificate, &certificate, Readers::All)
            .inspect_err(|_| drop(std::fs::remove_file(&files.key)))?;
        Ok(files)
    }

    /// Puts a new certificate in the place of a node's, for the same key, so that the two files always belong
    /// together. Without `names`, those of the old one stay.
    ///
    /// # Errors
    /// If it has none, or the files cannot be used or written.
    pub fn renew(&self, node: NodeId, names: &[String], validity: Validity) -> Result<Files, PkiError> {
        let files = self.files(node);
        if let Some(path) = [&files.certificate, &files.key].into_iter().find(|path| !path.exists()) {
            return Err(PkiError::NothingToRenew { path: path.clone(), node });
        }
        let key = KeyPair::from_pem(&files::read(&files.key)?)
            .map_err(|error| PkiError::Unfit { path: files.key.clone(), reason: error.to_string() })?;
        let kept = match names {
            [] => facts(&files.certificate)?.swap_remove(0).names,
            names => names.to_vec(),
        };
        let certificate = self.certificate(node, &kept, validity, &key)?;
        files::replace(&files.certificate, &certificate, Readers::All)?;
        Ok(files)
    }

    fn certificate(
        &self,
        node: NodeId,
        names: &[String],
        validity: Validity,
        key: &KeyPair,
    ) -> Result<String, PkiError> {
        if validity.until > self.facts.not_after {
            return Err(PkiError::Outlives { dir: self.dir.clone(), ends: self.facts.not_after });
        }
        let own = node_name::dns_name(node);
        let others = names.iter().filter(|name| node_name::of_dns_name(name).is_none());
        let names = std::iter::once(&own).chain(others).cloned().collect();
        let mut params = params(&format!("SmartSwitch node {node}"), names, validity)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(key, &self.issuer).map_err(unmade)?.pem())
    }
}

fn params(name: &str, names: Vec<String>, validity: Validity) -> Result<CertificateParams, PkiError> {
    for name in &names {
        let host = rustls::pki_types::ServerName::try_from(name.as_str());
        host.map_err(|_| PkiError::Name(name.clone()))?;
    }
    let mut params = CertificateParams::new(names).map_err(unmade)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = validity.from.into();
    params.not_after = validity.until.into();
    params.serial_number = Some(serial()?);
    Ok(params)
}

/// Never the same twice, even for the same key.
fn serial() -> Result<SerialNumber, PkiError> {
    let mut bytes = [0; SERIAL_LEN];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| PkiError::Unmade("the system has no randomness".to_owned()))?;
    // Positive, and without a leading zero.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn random<const LEN: usize>() -> Result<[u8; LEN], PkiError> {
    let mut bytes = [0; LEN];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| PkiError::Unmade("the system has no randomness".to_owned()))?;
    Ok(bytes)
}

fn unmade(error: rcgen::Error) -> PkiError {
    PkiError::Unmade(error.to_string())
}
