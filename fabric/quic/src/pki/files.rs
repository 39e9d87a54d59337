//! Writing certificates and keys.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::PkiError;

/// Who may read a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Readers {
    /// Keys.
    Owner,
    /// Certificates.
    All,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Readers::Owner => 0o600,
            Readers::All => 0o644,
        }
    }
}

/// Makes a directory for its owner only, with those above it; one that is there is left as it is.
pub(super) fn directory(path: &Path) -> Result<(), PkiError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| unwritable(path, source))
}

/// Writes a file that must not be there yet.
pub(super) fn write_new(path: &Path, text: &str, readers: Readers) -> Result<(), PkiError> {
    let written = create(path, readers).and_then(|mut file| {
        // A part of a file would be kept, and in the way, for ever.
        fill(&mut file, text).inspect_err(|_| drop(fs::remove_file(path)))
    });
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => PkiError::Exists(path.to_owned()),
        _ => unwritable(path, error),
    })
}

/// Puts a file in the place of another, so that at each moment one of them is there, whole.
pub(super) fn replace(path: &Path, text: &str, readers: Readers) -> Result<(), PkiError> {
    let new = path.with_extension("new");
    let replaced = fs::remove_file(&new)
        .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
        .and_then(|()| create(&new, readers))
        .and_then(|mut file| fill(&mut file, text))
        .and_then(|()| fs::rename(&new, path));
    replaced.map_err(|source| unwritable(path, source))
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|source| PkiError::Unreadable { path: path.to_owned(), source })
}

fn create(path: &Path, readers: Readers) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(readers.mode()).open(path)
}

fn fill(file: &mut File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn unwritable(path: &Path, source: io::Error) -> PkiError {
    PkiError::Unwritable { path: path.to_owned(), source }
}
