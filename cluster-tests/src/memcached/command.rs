//! Commands on one key and what servers answer.

use super::{binary, text};
use std::fmt;

/// How a command is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// The classic text protocol.
    Text,
    /// The meta commands.
    Meta,
    /// The binary protocol.
    Binary,
}

/// What is stored.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Item {
    /// The client's flags.
    pub flags: u32,
    /// The value.
    pub value: Vec<u8>,
}

impl Item {
    /// An item of `value` with `flags`.
    pub fn new(flags: u32, value: impl Into<Vec<u8>>) -> Self {
        Self { flags, value: value.into() }
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} with flags {}", String::from_utf8_lossy(&self.value), self.flags)
    }
}

/// A command on one key. What it stores or touches does not expire, unless it says so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Reads the item.
    Get,
    /// Reads the item and its CAS unique.
    Gets,
    /// Reads the item and touches it.
    Gat,
    /// Stores.
    Set(Item),
    /// Stores for so many seconds.
    SetFor(Item, u32),
    /// Stores if absent.
    Add(Item),
    /// Stores if present.
    Replace(Item),
    /// Appends to the value, if present.
    Append(Vec<u8>),
    /// Prepends to the value, if present.
    Prepend(Vec<u8>),
    /// Stores if the item still has this CAS unique.
    Cas(Item, u64),
    /// Adds to the value, a decimal number.
    Increment(u64),
    /// Subtracts from the value, a decimal number, but not below 0.
    Decrement(u64),
    /// Deletes.
    Delete,
    /// Touches.
    Touch,
}

impl Command {
    /// Whether it changes nothing that a later command could see.
    pub fn is_read(&self) -> bool {
        matches!(self, Command::Get | Command::Gets)
    }
}

/// What came back, the same for all encodings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The item; its CAS unique if the command or the encoding tells it.
    Value {
        /// Flags and value.
        item: Item,
        /// The CAS unique.
        cas: Option<u64>,
    },
    /// Stored, deleted or touched.
    Done,
    /// Add, replace, append or prepend: the condition did not hold.
    NotStored,
    /// Cas: the item has another CAS unique.
    Exists,
    /// There is no such item.
    Absent,
    /// Increment or decrement: the new number.
    Number(u64),
    /// Increment or decrement: the value is not a number.
    NotANumber,
    /// Any other error, as the server put it.
    Error(String),
}

impl Outcome {
    /// Add, replace, append and prepend answer "not stored", whichever way the encoding says it.
    fn normalized(self, command: &Command) -> Outcome {
        let conditional = matches!(
            command,
            Command::Add(_) | Command::Replace(_) | Command::Append(_) | Command::Prepend(_)
        );
        match self {
            Outcome::Exists | Outcome::Absent if conditional => Outcome::NotStored,
            other => other,
        }
    }
}

/// The request's bytes, without the UDP frame.
pub fn encode(encoding: Encoding, key: &[u8], command: &Command) -> Vec<u8> {
    match encoding {
        Encoding::Text => text::encode(key, command),
        Encoding::Meta => text::encode_meta(key, command),
        Encoding::Binary => binary::encode(key, command),
    }
}

/// The reply to one command; `None` while it is not complete.
pub fn decode(encoding: Encoding, command: &Command, reply: &[u8]) -> Option<Outcome> {
    let outcome = match encoding {
        Encoding::Text | Encoding::Meta => text::decode(reply),
        Encoding::Binary => binary::decode(command, reply),
    };
    Some(outcome?.normalized(command))
}
