//! Why the directory did not do what was asked.

use std::time::Duration;

use naming::{Name, NodeId};
use naming_directory::proto::refused::Reason;

use crate::ShardId;
use crate::wire::Malformed;

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(
        "no server of the directory told of a shard for {name} within {waited:?}, of {}: see that they run, and that this node \
         reaches them", nodes(.asked)
    )]
    NoServer { name: Name, asked: Vec<NodeId>, waited: Duration },
    #[error(
        "shard {shard} of the directory did not answer within {waited:?} ({last}); its members are {}: see that a majority of \
         them runs and that they reach one another", nodes(.members)
    )]
    NoQuorum { shard: ShardId, members: Vec<NodeId>, waited: Duration, last: String },
    #[error("the directory refused: {}", reason(.0))]
    Refused(Reason),
    #[error("the directory refused: {0}")]
    Rejected(String),
    #[error(
        "whether the command was executed is not known: its session ended before it was answered; read what it was to change, \
         and send it again if it is not there"
    )]
    OutcomeUnknown,
    #[error("{len} bytes of one item; a command takes {limit}: make it smaller")]
    TooLarge { len: usize, limit: usize },
    #[error(
        "the snapshot of shard {shard} from node {node} broke off after {chunks} chunks: {why}; take another one"
    )]
    BrokenOff { shard: ShardId, node: NodeId, chunks: u64, why: String },
    #[error("a server's answer makes no sense: {0}; see that all nodes run releases that fit together")]
    Senseless(#[from] Malformed),
}

fn nodes(nodes: &[NodeId]) -> String {
    match nodes {
        [] => "none that are known".to_owned(),
        _ => nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn reason(reason: &Reason) -> String {
    match reason {
        Reason::Unsupported(unsupported) => {
            format!(
                "the directory is at version {}, which does not have this: upgrade all its nodes",
                unsupported.version
            )
        }
        Reason::Malformed(malformed) => malformed.problem.clone(),
        Reason::WrongShard(_) => "a name is another shard's".to_owned(),
        Reason::SessionUnknown(_) => "the session expired".to_owned(),
        Reason::SequencePassed(passed) => {
            format!("command {} of the session was executed already", passed.last)
        }
        Reason::Full(full) => {
            format!("the table `{}` has the {} items that fit: split the shard", full.table, full.capacity)
        }
        Reason::Conflict(conflict) => match conflict.revision {
            0 => "there is no such record any more: read it again".to_owned(),
            revision => format!("the record is at revision {revision}: read it again"),
        },
        Reason::NotFound(_) => "there is no such thing".to_owned(),
        Reason::Held(held) => {
            format!("node {:016x} holds the authority for {} ms more", held.node, held.remaining_ms)
        }
        Reason::StaleEpoch(stale) => {
            format!("the node's epoch is {} or later: register it again", stale.epoch)
        }
    }
}
