//! Files with the passwords of those who may use a listener.

use std::io;
use std::path::{Path, PathBuf};

use memcached_bridge::session::credentials::{BadCredentials, Credentials};

/// The passwords cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The file cannot be read.
    #[error("cannot read the passwords in {}: {source}; check `password_file` in {section} and who may read it", path.display())]
    Unreadable {
        /// Who names it, such as `[embedded]`.
        section: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("cannot use the passwords in {}: {source}", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// Where and what to do.
        source: BadCredentials,
    },
}

/// Reads `user:password` lines from the file that `section` names.
pub(crate) fn read(path: &Path, section: &'static str) -> Result<Credentials, PasswordError> {
    let path = path.to_owned();
    match std::fs::read(&path) {
        Ok(text) => Credentials::parse(&text).map_err(|source| PasswordError::Bad { path, source }),
        Err(source) => Err(PasswordError::Unreadable { section, path, source }),
    }
}
