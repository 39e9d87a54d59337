//! The request model that all protocols share.

use std::ops::Deref;

use super::ascii::next_token;
use super::base64::{self, Decoded};

/// What a request asks for. Quiet forms are the same verb with [`Request::quiet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are memcached's")]
pub enum Verb {
    Get,
    Gets,
    Gat,
    Gats,
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    Cas,
    Incr,
    Decr,
    Touch,
    Delete,
    FlushAll,
    Version,
    Verbosity,
    Stats,
    Quit,
    /// `mn`, and the binary no-op.
    Noop,
    /// `mg`
    MetaGet,
    /// `ms`
    MetaSet,
    /// `md`
    MetaDelete,
    /// `ma`
    MetaArithmetic,
    /// `me`
    MetaDebug,
    /// Binary: list mechanisms, authenticate, step.
    Sasl,
}

impl Verb {
    /// All of them, each at its own index.
    pub const ALL: [Verb; 26] = [
        Verb::Get,
        Verb::Gets,
        Verb::Gat,
        Verb::Gats,
        Verb::Set,
        Verb::Add,
        Verb::Replace,
        Verb::Append,
        Verb::Prepend,
        Verb::Cas,
        Verb::Incr,
        Verb::Decr,
        Verb::Touch,
        Verb::Delete,
        Verb::FlushAll,
        Verb::Version,
        Verb::Verbosity,
        Verb::Stats,
        Verb::Quit,
        Verb::Noop,
        Verb::MetaGet,
        Verb::MetaSet,
        Verb::MetaDelete,
        Verb::MetaArithmetic,
        Verb::MetaDebug,
        Verb::Sasl,
    ];

    /// Its name in text; binary has the same verbs.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::Gets => "gets",
            Verb::Gat => "gat",
            Verb::Gats => "gats",
            Verb::Set => "set",
            Verb::Add => "add",
            Verb::Replace => "replace",
            Verb::Append => "append",
            Verb::Prepend => "prepend",
            Verb::Cas => "cas",
            Verb::Incr => "incr",
            Verb::Decr => "decr",
            Verb::Touch => "touch",
            Verb::Delete => "delete",
            Verb::FlushAll => "flush_all",
            Verb::Version => "version",
            Verb::Verbosity => "verbosity",
            Verb::Stats => "stats",
            Verb::Quit => "quit",
            Verb::Noop => "mn",
            Verb::MetaGet => "mg",
            Verb::MetaSet => "ms",
            Verb::MetaDelete => "md",
            Verb::MetaArithmetic => "ma",
            Verb::MetaDebug => "me",
            Verb::Sasl => "sasl",
        }
    }
}

/// What a request does to the keys it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Reads keys and changes none of their values, flags, CAS or expiries. (A server also notes when an item was
    /// last read, and to whom it gave the recache token of a stale one; only `mg` and `me` return that.)
    Read,
    /// May change the value, flags, CAS or expiry of its keys. That includes `gat` and `touch`, and `mg` with the
    /// flags `N` (vivify), `R` (recache) or `T` (new expiry).
    Write,
    /// Changes every key of the server: `flush_all`.
    WriteAll,
    /// Names no key and changes none.
    Keyless,
    /// Ends the connection.
    Quit,
}

/// Whether the server will answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Replies {
    /// Exactly one reply.
    Always,
    /// Only if the outcome is not the usual one: meta with `q`, and the quiet binary opcodes. Which outcome is
    /// usual depends on the verb (a miss for reads, success for writes).
    Unusual,
    /// None, not even an error: ASCII `noreply`, and `quit`.
    Never,
}

/// Which protocol a request came in, and what only that protocol has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect<'a> {
    /// The classic text commands.
    Ascii,
    /// The meta commands.
    Meta(MetaFlags<'a>),
    /// The binary protocol.
    Binary {
        /// The opcode as received: tells `getk` from `get`, and the quiet forms.
        opcode: u8,
        /// Returned with the reply, unread.
        opaque: u32,
    },
}

/// One request. Borrows from the buffer that it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What is asked for.
    pub verb: Verb,
    /// The protocol's own part.
    pub dialect: Dialect<'a>,
    /// The keys. For [`Verb::Stats`] none, though arguments may follow.
    pub keys: Keys<'a>,
    /// The client's flags to be stored with the value.
    pub flags: u32,
    /// Expiry in seconds as on the wire: 0 never, negative at once, up to 30 days relative, beyond that a Unix
    /// time. For [`Verb::FlushAll`] the delay.
    pub exptime: i64,
    /// Act only if the item's CAS is this. Binary 0 counts as none.
    pub cas: Option<u64>,
    /// How much to count up or down; for [`Verb::Verbosity`] the level.
    pub delta: u64,
    /// The value to begin counting at if the item is missing: binary, unless the expiry says not to create it;
    /// meta `J`, which counts only next to `N`.
    pub initial: Option<u64>,
    /// The value to store, without `\r\n`. For a binary `stat` its argument.
    pub value: &'a [u8],
    /// `noreply`, `q`, or a quiet opcode.
    pub quiet: bool,
}

impl<'a> Request<'a> {
    /// A request without keys, numbers or value.
    pub fn new(verb: Verb, dialect: Dialect<'a>) -> Self {
        Self {
            verb,
            dialect,
            keys: Keys::None,
            flags: 0,
            exptime: 0,
            cas: None,
            delta: 0,
            initial: None,
            value: &[],
            quiet: false,
        }
    }

    /// What the request does to its keys.
    pub fn class(&self) -> Class {
        match self.verb {
            Verb::Get | Verb::Gets | Verb::MetaDebug => Class::Read,
            Verb::MetaGet => match self.dialect {
                Dialect::Meta(flags) if flags.writes() => Class::Write,
                _ => Class::Read,
            },
            Verb::FlushAll => Class::WriteAll,
            Verb::Version | Verb::Verbosity | Verb::Stats | Verb::Noop | Verb::Sasl => Class::Keyless,
            Verb::Quit => Class::Quit,
            Verb::Gat | Verb::Gats | Verb::Set | Verb::Add | Verb::Replace | Verb::Append => Class::Write,
            Verb::Prepend | Verb::Cas | Verb::Incr | Verb::Decr | Verb::Touch => Class::Write,
            Verb::Delete | Verb::MetaSet | Verb::MetaDelete | Verb::MetaArithmetic => Class::Write,
        }
    }

    /// The keys in order, repeated ones repeatedly.
    pub fn keys(&self) -> Keys<'a> {
        self.keys
    }

    /// The first key.
    pub fn key(&self) -> Option<Key<'a>> {
        self.keys().next()
    }

    /// Whether the server will answer.
    pub fn replies(&self) -> Replies {
        match (self.dialect, self.quiet) {
            (Dialect::Ascii, _) if self.verb == Verb::Quit => Replies::Never,
            (_, false) => Replies::Always,
            (Dialect::Ascii, true) => Replies::Never,
            (_, true) => Replies::Unusual,
        }
    }

    /// Whether exactly one reply will come. If not, none or one may: see [`Request::replies`].
    pub fn expects_reply(&self) -> bool {
        self.replies() == Replies::Always
    }

    /// Whether the reply carries the CAS next to each value (`gets`, `gats`).
    pub fn with_cas(&self) -> bool {
        matches!(self.verb, Verb::Gets | Verb::Gats)
    }
}

/// The keys of a request, one by one, without allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keys<'a> {
    /// No key, or no further one.
    #[default]
    None,
    /// One key as it stands (it may hold spaces: binary).
    Wire(&'a [u8]),
    /// One key in base64, known to decode.
    Base64(&'a [u8]),
    /// Keys separated by spaces.
    List(&'a [u8]),
}

impl<'a> Iterator for Keys<'a> {
    type Item = Key<'a>;

    fn next(&mut self) -> Option<Key<'a>> {
        match std::mem::take(self) {
            Keys::None => None,
            Keys::Wire(key) => Some(Key::Wire(key)),
            Keys::Base64(text) => base64::decode(text).map(Key::Decoded),
            Keys::List(list) => {
                let (key, rest) = next_token(list)?;
                *self = Keys::List(rest);
                Some(Key::Wire(key))
            }
        }
    }
}

/// A key as the server knows it: base64 is decoded. Derefs to its bytes.
#[derive(Clone, Debug)]
pub enum Key<'a> {
    /// As it stands in the request.
    Wire(&'a [u8]),
    /// Decoded from base64.
    Decoded(Decoded),
}

impl Deref for Key<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Key::Wire(key) => key,
            Key::Decoded(key) => key,
        }
    }
}

impl AsRef<[u8]> for Key<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Key<'_> {}

/// The flags of a meta command: the rest of its line behind the key (`mg`, `md`, `ma`, `me`) or the length (`ms`).
/// They are known to be valid: each at most once, numbers are numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetaFlags<'a>(pub(crate) &'a [u8]);

impl<'a> MetaFlags<'a> {
    /// `(flag, argument)` in order.
    pub fn iter(self) -> impl Iterator<Item = (u8, &'a [u8])> {
        self.tokens().filter_map(|token| token.split_first().map(|(&flag, argument)| (flag, argument)))
    }

    /// The argument of `flag`, if the flag is there (most have an empty one).
    pub fn argument(self, flag: u8) -> Option<&'a [u8]> {
        self.iter().find(|&(other, _)| other == flag).map(|(_, argument)| argument)
    }

    /// Whether `flag` is there.
    pub fn has(self, flag: u8) -> bool {
        self.argument(flag).is_some()
    }

    /// What the client wants back with the reply (`O`), unread.
    pub fn opaque(self) -> Option<&'a [u8]> {
        self.argument(b'O')
    }

    /// The mode of `ms` and `ma` (`M`).
    pub fn mode(self) -> Option<u8> {
        self.argument(b'M').and_then(|argument| argument.first().copied())
    }

    /// The bytes as they stand.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn tokens(self) -> impl Iterator<Item = &'a [u8]> {
        self.0.split(|&byte| byte == b' ').filter(|token| !token.is_empty())
    }

    /// Whether an `mg` with these flags may change the item.
    fn writes(self) -> bool {
        self.iter().any(|(flag, _)| matches!(flag, b'N' | b'R' | b'T'))
    }
}
