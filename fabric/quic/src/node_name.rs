//! How a certificate names a node: by the DNS name `<node id>.node.smartswitch.internal`.
//!
//! A DNS name, since every TLS library checks it against the name that was dialed, and every authority can issue it.
//! The top-level domain `internal` is set aside for private use, so nobody can resolve or own such a name. Other
//! names and addresses may stand in the certificate too; a second node may not.

use naming::NodeId;
use rustls::pki_types::CertificateDer;

const SUFFIX: &str = ".node.smartswitch.internal";

/// Why a certificate is nobody's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum NoNode {
    #[error("it names no node; it needs a DNS name such as 0000000000000001{SUFFIX}")]
    Unnamed,
    #[error("it names several nodes, {0} and {1}; give each node a certificate of its own")]
    Several(NodeId, NodeId),
    #[error("it is no certificate that can be read: {0}")]
    Unreadable(String),
}

/// The DNS name of a node.
pub fn dns_name(node: NodeId) -> String {
    format!("{node}{SUFFIX}")
}

/// The node that a certificate names. Says nothing of who signed it.
///
/// # Errors
/// [`NoNode`], if it is not exactly one.
pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<NodeId, NoNode> {
    let unreadable = |error: webpki::Error| NoNode::Unreadable(error.to_string());
    let certificate = webpki::EndEntityCert::try_from(certificate).map_err(unreadable)?;
    let mut nodes = certificate.valid_dns_names().filter_map(of_dns_name);
    let node = nodes.next().ok_or(NoNode::Unnamed)?;
    match nodes.find(|other| *other != node) {
        None => Ok(node),
        Some(other) => Err(NoNode::Several(node, other)),
    }
}

/// The certificates that the peer of a connection showed, its own first.
pub(crate) fn chain(quic: &quinn::Connection) -> Vec<CertificateDer<'static>> {
    let chain = quic.peer_identity().and_then(|identity| identity.downcast::<Vec<CertificateDer>>().ok());
    chain.map_or_else(Vec::new, |chain| *chain)
}

/// The node of this DNS name, if it is one.
pub fn of_dns_name(name: &str) -> Option<NodeId> {
    let (id, suffix) = name.split_at_checked(name.len().checked_sub(SUFFIX.len())?)?;
    // Only the form that `dns_name` gives: two names for a node would be two nodes to whoever compares names.
    let node: NodeId = id.parse().ok()?;
    (suffix.eq_ignore_ascii_case(SUFFIX) && id.eq_ignore_ascii_case(&node.to_string())).then_some(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let node = NodeId::new(0xbeef).unwrap();
        assert_eq!(dns_name(node), "000000000000beef.node.smartswitch.internal");
        assert_eq!(of_dns_name(&dns_name(node)), Some(node));
        assert_eq!(of_dns_name("000000000000BEEF.NODE.smartswitch.internal"), Some(node));
        for name in [
            "",
            "beef.node.smartswitch.internal",
            "*.node.smartswitch.internal",
            "000000000000beef.example.com",
        ] {
            assert_eq!(of_dns_name(name), None, "{name}");
        }
    }
}
