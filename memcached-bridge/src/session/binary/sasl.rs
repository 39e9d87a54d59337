//! SASL (RFC 4422) with the one mechanism PLAIN (RFC 4616), as memcached 1.6.18 with Cyrus SASL answers.
//!
//! Without [`Credentials`](crate::session::credentials::Credentials) there is nothing to authenticate against, and the
//! commands are unknown, as in a memcached without `-S`. With them a connection may only ask for the version and
//! authenticate itself; anything else ends it.

use std::sync::atomic::Ordering;

use crate::protocol::binary::{Header, Reply, Status};
use crate::session::credentials::Credentials;

const MECHANISM: &[u8] = b"PLAIN";
const LIST: u8 = 0x20;
const STEP: u8 = 0x22;
const VERSION: u8 = 0x0b;
/// The longest name of a mechanism in bytes.
const MAX_MECHANISM_LEN: usize = 32;
/// The longest message in bytes: three fields of 255 and what parts them are less.
const MAX_MESSAGE_LEN: usize = 1024;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SaslState {
    exchange: Exchange,
    authenticated: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Exchange {
    #[default]
    None,
    /// The mechanism is chosen, the message is to come.
    Begun,
    /// It succeeded; a connection has one such exchange in its life.
    Over,
}

/// Why a message of `len` bytes is not taken in.
pub(crate) fn refuse(header: &Header, len: usize, credentials: Option<&Credentials>) -> Option<Status> {
    if credentials.is_none() {
        return Some(Status::UnknownCommand);
    }
    if usize::from(header.key_len) > MAX_MECHANISM_LEN {
        return Some(Status::InvalidArguments);
    }
    (len > MAX_MESSAGE_LEN).then_some(Status::OutOfMemory)
}

impl SaslState {
    /// Whether a request may go on. One whose lengths contradict one another is refused for that.
    pub(crate) fn admits(&self, header: &Header, credentials: Option<&Credentials>) -> bool {
        credentials.is_none()
            || self.authenticated
            || matches!(header.opcode, VERSION | LIST..=STEP)
            || header.prefix_len() > header.body_len as usize
    }

    /// Answers a request to list, to authenticate or to step. `reply` is what it gets if there is nothing to say.
    pub(crate) fn answer(
        &mut self,
        reply: Reply<'static>,
        mechanism: &[u8],
        message: &[u8],
        credentials: Option<&Credentials>,
        out: &mut Vec<u8>,
    ) {
        let Some(credentials) = credentials else {
            return reply.failed(Status::UnknownCommand).render(out);
        };
        // Each of these begins anew, the list too, as memcached has it.
        self.authenticated = false;
        if reply.opcode == LIST {
            return Reply { value: MECHANISM, ..reply }.render(out);
        }
        let is_step = reply.opcode == STEP;
        let begins = !is_step && mechanism.eq_ignore_ascii_case(MECHANISM);
        if begins && message.is_empty() {
            self.exchange = self.exchange.max(Exchange::Begun);
            return Reply { status: Status::AuthContinue, ..reply }.render(out);
        }
        let may_succeed = match self.exchange {
            Exchange::None => begins,
            Exchange::Begun => begins || is_step,
            Exchange::Over => false,
        };
        self.authenticated = may_succeed && is_accepted(message, credentials);
        credentials.auth_cmds.fetch_add(1, Ordering::Relaxed);
        if self.authenticated {
            self.exchange = Exchange::Over;
            return Reply { value: b"Authenticated", ..reply }.render(out);
        }
        if !is_step && self.exchange == Exchange::Begun {
            self.exchange = Exchange::None;
        }
        credentials.auth_errors.fetch_add(1, Ordering::Relaxed);
        reply.failed(Status::AuthFailure).render(out);
    }
}

/// `[authorization identity] NUL user NUL password`. Nobody acts for somebody else here.
fn is_accepted(message: &[u8], credentials: &Credentials) -> bool {
    let fields: Vec<&[u8]> = message.splitn(4, |&byte| byte == 0).collect();
    let &[identity, user, password] = fields.as_slice() else { return false };
    let acts_for_itself = identity.is_empty() || identity == user;
    credentials.accept(user, password) && acts_for_itself
}
