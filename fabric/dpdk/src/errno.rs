//! Error numbers of DPDK.

use fabric_dpdk_sys as sys;
use std::fmt;

/// An error number of the operating system, as DPDK returns it: positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    pub(crate) const ENOTSUP: Errno = Errno(95);

    /// `rte_errno` of the calling thread.
    pub(crate) fn last() -> Self {
        // SAFETY: reads a thread-local integer.
        Self(unsafe { sys::fabric_errno() })
    }

    /// What a DPDK function returned: negative error numbers are errors.
    pub(crate) fn check(returned: i32) -> Result<i32, Self> {
        if returned < 0 { Err(Self(-returned)) } else { Ok(returned) }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::io::Error::from_raw_os_error(self.0).fmt(f)
    }
}
