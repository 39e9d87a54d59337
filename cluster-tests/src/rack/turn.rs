//! One rack at a time on this machine: racks take every core there is.

use crate::{RackError, wait};
use std::fs::File;
use std::time::Duration;

/// How long a rack waits for its turn.
const TURN_DEADLINE: Duration = Duration::from_secs(900);

/// Held while a rack stands. Given back when dropped, or by the kernel when the process ends.
#[derive(Debug)]
pub(super) struct Turn {
    _lock: File,
}

impl Turn {
    /// Waits until no other rack stands, in this process or another.
    pub(super) fn take() -> Result<Self, RackError> {
        let path = std::env::temp_dir().join("cluster-tests.lock");
        let what = format!("lock {}", path.display());
        let lock = File::options().create(true).append(true).open(&path).map_err(RackError::io(what))?;
        wait::until_true("another rack to be taken down", TURN_DEADLINE, || lock.try_lock().is_ok())?;
        Ok(Self { _lock: lock })
    }
}
