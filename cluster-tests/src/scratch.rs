//! A directory for configuration and logs.

use std::path::{Path, PathBuf};

use crate::RackError;

/// A directory that goes with this.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A directory of this process, empty; `name` tells it from others of the same process.
    ///
    /// # Errors
    /// [`RackError::Io`] if it cannot be made.
    pub fn new(name: &str) -> Result<Self, RackError> {
        Self::within(&std::env::temp_dir(), name)
    }

    /// The same in a directory of one's choice.
    ///
    /// # Errors
    /// As [`new`](Scratch::new).
    pub fn within(parent: &Path, name: &str) -> Result<Self, RackError> {
        let path = parent.join(format!("{name}-{}", std::process::id()));
        let what = format!("make the directory {}", path.display());
        std::fs::create_dir_all(&path).map_err(RackError::io(what))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
