//! The TAP interface toward the host kernel: given the node's address, and the virtual addresses of pools whose sockets are
//! the node's own, and brought up, as a person would with `ip`.

use std::process::Command;

use super::settings::Host;

/// The interface could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("`ip {arguments}` failed: {reason}; the node must be root, and iproute2 installed")]
pub struct HostError {
    arguments: String,
    reason: String,
}

pub(super) fn configure(host: &Host, mtu: u16) -> Result<(), HostError> {
    let address = host.address.to_string();
    let mtu = mtu.to_string();
    ip(&["address", "replace", &address, "dev", &host.interface])?;
    for vip in &host.virtual_addresses {
        ip(&["address", "replace", &format!("{vip}/32"), "dev", &host.interface])?;
    }
    ip(&["link", "set", &host.interface, "mtu", &mtu, "up"])
}

fn ip(arguments: &[&str]) -> Result<(), HostError> {
    let error = |reason: String| HostError { arguments: arguments.join(" "), reason };
    let output = Command::new("ip").args(arguments).output().map_err(|source| error(source.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(error(String::from_utf8_lossy(&output.stderr).trim().to_string()))
}
