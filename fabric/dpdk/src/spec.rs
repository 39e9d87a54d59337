//! What a configuration says about a port.

use fabric_dpdk_sys as sys;
use std::fmt;
use std::str::FromStr;

/// The longest name of a device, its final NUL not counted.
const NAME_BYTES: usize = sys::RTE_ETH_NAME_MAX_LEN as usize - 1;

/// Arguments without which a driver is of no use.
const NEEDED: &[(&str, &str)] = &[("net_af_packet", "iface"), ("net_af_xdp", "iface")];

/// How a device comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bus {
    /// A card that is there.
    Pci,
    /// A virtual device that is made when the port is opened and unmade when it is closed.
    Vdev,
}

/// A device, as DPDK writes it (a *devargs* string): a name, then `key=value` arguments, separated by commas.
///
/// | | for example |
/// |---|---|
/// | a PCI address | `0000:03:00.0`, `03:00.0,mprq_en=1` |
/// | a driver of virtual devices and a number | `net_af_xdp0,iface=sw0`, `net_af_packet0,iface=sw0,qpairs=2` |
///
/// Parsed and checked once; the driver checks its own arguments when the port is opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PortSpec {
    device_string: String,
    name_len: usize,
    bus: Bus,
}

impl PortSpec {
    /// The device's name: its full PCI address, or driver and number.
    pub fn name(&self) -> &str {
        &self.device_string[..self.name_len]
    }

    /// Name and arguments.
    pub fn device_string(&self) -> &str {
        &self.device_string
    }

    /// How the device comes to be.
    pub fn bus(&self) -> Bus {
        self.bus
    }

    /// The driver of a virtual device, such as `net_af_xdp`.
    pub fn vdev_driver(&self) -> Option<&str> {
        match self.bus {
            Bus::Pci => None,
            Bus::Vdev => Some(self.name().trim_end_matches(|c: char| c.is_ascii_digit())),
        }
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.device_string)
    }
}

/// A text that is not a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "port {text:?}: {reason} (expected a PCI address such as \"0000:03:00.0\", or a virtual device such as \
     \"net_af_xdp0,iface=eth1\")"
)]
pub struct SpecError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: SpecProblem,
}

/// What is wrong with a device's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecProblem {
    /// Nothing stands before the first comma.
    #[error("the name is missing")]
    NoName,
    /// The name is neither a PCI address nor begins with `net_`.
    #[error(
        "{0:?} is neither a PCI address nor the name of a virtual network device, which begins with \"net_\""
    )]
    Name(String),
    /// A virtual device's name does not end in a number.
    #[error("{0:?} lacks the number that tells devices of one driver apart, as in \"{0}0\"")]
    NoNumber(String),
    /// The name is longer than DPDK allows.
    #[error("the name has {0} bytes, {NAME_BYTES} are allowed")]
    LongName(usize),
    /// An argument is not `key=value`.
    #[error("the argument {0:?} is not of the form key=value")]
    Argument(String),
    /// A control character, or a NUL.
    #[error("it holds a control character")]
    ControlCharacter,
    /// The driver needs an argument that is not there.
    #[error("{driver} needs the argument {argument}=...")]
    Needs {
        /// The driver.
        driver: &'static str,
        /// The argument's key.
        argument: &'static str,
    },
}

impl FromStr for PortSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        parse(text.trim()).map_err(|reason| SpecError { text: text.to_owned(), reason })
    }
}

fn parse(text: &str) -> Result<PortSpec, SpecProblem> {
    if text.chars().any(char::is_control) {
        return Err(SpecProblem::ControlCharacter);
    }
    let (name, arguments) = match text.split_once(',') {
        Some((name, arguments)) => (name, Some(arguments)),
        None => (text, None),
    };
    if name.is_empty() {
        return Err(SpecProblem::NoName);
    }
    let (bus, name) = match pci_address(name) {
        Some(address) => (Bus::Pci, address),
        None => (Bus::Vdev, vdev_name(name)?.to_owned()),
    };
    let keys = arguments.map(argument_keys).transpose()?.unwrap_or_default();
    let device_string = match arguments {
        Some(arguments) => format!("{name},{arguments}"),
        None => name.clone(),
    };
    let spec = PortSpec { device_string, name_len: name.len(), bus };
    for &(driver, argument) in NEEDED {
        if spec.vdev_driver() == Some(driver) && !keys.contains(&argument) {
            return Err(SpecProblem::Needs { driver, argument });
        }
    }
    Ok(spec)
}

/// `[domain:]bus:device.function`, all hexadecimal, in the full form that DPDK names devices by.
fn pci_address(name: &str) -> Option<String> {
    let (rest, function) = name.rsplit_once('.')?;
    let (rest, device) = rest.rsplit_once(':')?;
    let (domain, bus) = rest.rsplit_once(':').unwrap_or(("0000", rest));
    let function = hexadecimal(function, 1..=1).filter(|&number| number < 8)?;
    let device = hexadecimal(device, 2..=2).filter(|&number| number < 32)?;
    let bus = hexadecimal(bus, 2..=2)?;
    let domain = hexadecimal(domain, 4..=8)?;
    Some(format!("{domain:04x}:{bus:02x}:{device:02x}.{function}"))
}

fn hexadecimal(digits: &str, length: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let valid = length.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    valid.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

fn vdev_name(name: &str) -> Result<&str, SpecProblem> {
    let valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let driver = name.strip_prefix("net_").unwrap_or_default();
    if !valid || !driver.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(SpecProblem::Name(name.to_owned()));
    }
    if name.len() > NAME_BYTES {
        return Err(SpecProblem::LongName(name.len()));
    }
    if !name.ends_with(|c: char| c.is_ascii_digit()) {
        return Err(SpecProblem::NoNumber(name.to_owned()));
    }
    Ok(name)
}

/// Commas within brackets belong to a value, as in `representor=[0,1]`.
fn argument_keys(arguments: &str) -> Result<Vec<&str>, SpecProblem> {
    let mut depth = 0_usize;
    let between_arguments = |c: char| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    arguments.split(between_arguments).map(key).collect()
}

fn key(argument: &str) -> Result<&str, SpecProblem> {
    let is_key = |text: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        !text.is_empty() && text.bytes().all(allowed)
    };
    match argument.split_once('=') {
        Some((key, value)) if is_key(key) && !value.is_empty() => Ok(key),
        _ => Err(SpecProblem::Argument(argument.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> PortSpec {
        text.parse().unwrap()
    }

    fn problem(text: &str) -> SpecProblem {
        text.parse::<PortSpec>().unwrap_err().reason
    }

    #[test]
    fn pci_addresses_get_their_full_form() {
        for (text, name) in [
            ("0000:03:00.0", "0000:03:00.0"),
            ("03:00.1", "0000:03:00.1"),
            ("0000:AF:1f.7,representor=[0,1],dv_flow_en=2", "0000:af:1f.7"),
            ("10000:01:00.0", "10000:01:00.0"),
            (" 0000:03:00.0 ", "0000:03:00.0"),
        ] {
            let spec = parsed(text);
            assert_eq!((spec.name(), spec.bus(), spec.vdev_driver()), (name, Bus::Pci, None), "{text}");
        }
        assert_eq!(parsed("3f:00.1,a=b").device_string(), "0000:3f:00.1,a=b");
    }

    #[test]
    fn virtual_devices_are_a_driver_and_a_number() {
        for (text, name, driver) in [
            ("net_af_xdp0,iface=sw0", "net_af_xdp0", "net_af_xdp"),
            ("net_af_packet12,iface=sw0,qpairs=2", "net_af_packet12", "net_af_packet"),
            ("net_pcap0,rx_pcap=/a b/c.pcap,infinite_rx=1", "net_pcap0", "net_pcap"),
            ("net_null0", "net_null0", "net_null"),
            ("net_memif3,socket=/run/m.sock,zero-copy=yes", "net_memif3", "net_memif"),
        ] {
            let spec = parsed(text);
            assert_eq!((spec.name(), spec.bus(), spec.vdev_driver()), (name, Bus::Vdev, Some(driver)));
            assert_eq!((spec.device_string(), spec.to_string().as_str()), (text, text));
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        use SpecProblem::*;
        assert_eq!(problem(""), NoName);
        assert_eq!(problem(",iface=sw0"), NoName);
        for name in
            ["eth0", "0000:03:20.0", "0000:03:00.8", "0000:003:00.0", "net_", "net_0", "net_null 0", "--help"]
        {
            assert_eq!(problem(name), Name(name.into()), "{name}");
        }
        assert_eq!(problem("net_null"), NoNumber("net_null".into()));
        assert_eq!(problem(&format!("net_{}", "n1".repeat(30))), LongName(64));
        for (text, argument) in [
            ("net_null0,", ""),
            ("net_null0,size", "size"),
            ("net_null0,size=", "size="),
            ("net_null0,=64", "=64"),
            ("net_null0,size=64,,copy=1", ""),
            ("net_null0,si ze=64", "si ze=64"),
        ] {
            assert_eq!(problem(text), Argument(argument.into()), "{text}");
        }
        assert_eq!(problem("net_null0,size=6\n4"), ControlCharacter);
        assert_eq!(problem("net_null0\0"), ControlCharacter);
        assert_eq!(problem("net_af_xdp0,queue_count=1"), Needs { driver: "net_af_xdp", argument: "iface" });
        assert_eq!(problem("net_af_packet0"), Needs { driver: "net_af_packet", argument: "iface" });
    }

    #[test]
    fn a_message_shows_text_reason_and_a_way_out() {
        let message = "eth0".parse::<PortSpec>().unwrap_err().to_string();
        assert!(message.starts_with("port \"eth0\": \"eth0\" is neither a PCI address"), "{message}");
        assert!(message.contains("\"net_af_xdp0,iface=eth1\""), "{message}");
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC*|(net_[a-z_]{0,9}[0-9]?|[0-9a-f:.]{0,13})(,[a-z=\\[\\],]{0,20})?") {
            if let Ok(spec) = text.parse::<PortSpec>() {
                prop_assert!(spec.device_string().starts_with(spec.name()));
                prop_assert_eq!(&parsed(spec.device_string()), &spec);
            }
        }
    }
}
