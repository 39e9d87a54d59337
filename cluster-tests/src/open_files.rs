//! How many files this process and its children may open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::RackError;

/// Allows this process, and each that it starts, to have `needed` files open.
///
/// # Errors
/// [`RackError::OpenFiles`] if the hard limit is lower.
pub fn allow(needed: u64) -> Result<(), RackError> {
    let limits = || -> nix::Result<Option<u64>> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        if soft < needed && hard >= needed {
            setrlimit(Resource::RLIMIT_NOFILE, needed, hard)?;
        }
        Ok((hard < needed).then_some(hard))
    };
    match limits().map_err(|errno| RackError::io("set the limit of open files")(errno.into()))? {
        Some(allowed) => Err(RackError::OpenFiles { needed, allowed }),
        None => Ok(()),
    }
}
