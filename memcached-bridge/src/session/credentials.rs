//! Who may authenticate: users and their passwords.

use std::fmt;
use std::sync::atomic::AtomicU64;

use subtle::{Choice, ConstantTimeEq};

/// The longest user name or password in bytes (RFC 4616 wants 255 to be taken).
pub const MAX_FIELD_LEN: usize = 255;
/// The most users.
pub const MAX_USERS: usize = 1024;

/// Users and their passwords. Every comparison takes the same time, whoever asks and whatever is wrong.
pub struct Credentials {
    users: Vec<User>,
    /// Attempts to authenticate.
    pub auth_cmds: AtomicU64,
    /// Those that failed.
    pub auth_errors: AtomicU64,
}

struct User {
    name: Field,
    password: Field,
}

/// A text and its length, so that all are equally long.
struct Field([u8; 1 + MAX_FIELD_LEN]);

/// What is wrong with a password file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCredentials {
    /// A line without a colon, or with nothing before it.
    #[error("line {line}: write `user:password`")]
    NoUser {
        /// From 1.
        line: usize,
    },
    /// A user name or password that is too long.
    #[error("line {line}: a user name or password takes at most {MAX_FIELD_LEN} bytes, none of them NUL")]
    Unfit {
        /// From 1.
        line: usize,
    },
    /// There are more than [`MAX_USERS`].
    #[error("line {line}: there can be {MAX_USERS} users")]
    TooMany {
        /// From 1.
        line: usize,
    },
    /// Nobody could authenticate.
    #[error("it names no user: write one `user:password` on each line")]
    Empty,
}

impl Credentials {
    /// Reads `user:password` lines, as memcached's password files have them. The password is all that follows the
    /// first colon. Empty lines are skipped.
    ///
    /// # Errors
    /// [`BadCredentials`] with the first line that is wrong.
    pub fn parse(text: &[u8]) -> Result<Self, BadCredentials> {
        let mut users = Vec::new();
        for (index, content) in text.split(|&byte| byte == b'\n').enumerate() {
            let (line, content) = (index + 1, content.strip_suffix(b"\r").unwrap_or(content));
            if content.is_empty() {
                continue;
            }
            let colon = content.iter().position(|&byte| byte == b':').filter(|&at| at > 0);
            let (name, password) = content.split_at(colon.ok_or(BadCredentials::NoUser { line })?);
            let unfit = BadCredentials::Unfit { line };
            let name = Field::new(name).ok_or(unfit)?;
            let password = Field::new(&password[1..]).ok_or(unfit)?;
            if users.len() == MAX_USERS {
                return Err(BadCredentials::TooMany { line });
            }
            users.push(User { name, password });
        }
        if users.is_empty() {
            return Err(BadCredentials::Empty);
        }
        Ok(Self { users, auth_cmds: AtomicU64::new(0), auth_errors: AtomicU64::new(0) })
    }

    /// Whether `password` is that of `name`. Looks at every user in any case.
    pub(super) fn accept(&self, name: &[u8], password: &[u8]) -> bool {
        let (Some(name), Some(password)) = (Field::new(name), Field::new(password)) else { return false };
        let accepted = self.users.iter().fold(Choice::from(0), |accepted, user| {
            accepted | user.name.0.ct_eq(&name.0) & user.password.0.ct_eq(&password.0)
        });
        accepted.into()
    }
}

impl Field {
    fn new(text: &[u8]) -> Option<Self> {
        let mut field = [0; 1 + MAX_FIELD_LEN];
        field[0] = u8::try_from(text.len()).ok().filter(|_| !text.contains(&0))?;
        field[1..=text.len()].copy_from_slice(text);
        Some(Self(field))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_accepted_with_the_whole_password_only() {
        let credentials = Credentials::parse(b"alice:secret\r\n\nbob:a:b\ncarol:\n").unwrap();
        for (name, password) in [("alice", "secret"), ("bob", "a:b"), ("carol", "")] {
            assert!(credentials.accept(name.as_bytes(), password.as_bytes()), "{name}");
        }
        for (name, password) in [
            ("alice", "secre"),
            ("alice", "secrets"),
            ("alice", ""),
            ("bob", "secret"),
            ("", ""),
            ("Alice", "secret"),
        ] {
            assert!(!credentials.accept(name.as_bytes(), password.as_bytes()), "{name} {password}");
        }
        assert!(!credentials.accept(&[b'a'; 300], b"secret"));
        assert!(!format!("{credentials:?}").contains("secret"));
    }

    #[test]
    fn a_bad_file_says_where() {
        let parse = |text: &[u8]| Credentials::parse(text).map(|_| ()).unwrap_err();
        assert_eq!(parse(b"a:b\nnonsense\n"), BadCredentials::NoUser { line: 2 });
        assert_eq!(parse(b":b\n"), BadCredentials::NoUser { line: 1 });
        assert_eq!(parse(&[&b"a:"[..], &[b'x'; 256]].concat()), BadCredentials::Unfit { line: 1 });
        assert_eq!(parse(b"a:\0\n"), BadCredentials::Unfit { line: 1 });
        assert_eq!(parse(b"\n\n"), BadCredentials::Empty);
        assert_eq!(parse(&b"a:b\n".repeat(MAX_USERS + 1)), BadCredentials::TooMany { line: MAX_USERS + 1 });
    }
}
