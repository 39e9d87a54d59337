//! Why bytes or text are no name.

use crate::component::ComponentType;
use crate::name::{MAX_COMPONENTS, MAX_LEN};

/// What is wrong with a name that came from outside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum NameError {
    #[error("the name has more than {MAX_LEN} bytes")]
    TooLong,
    #[error("the name has more than {MAX_COMPONENTS} components")]
    TooManyComponents,
    #[error("the bytes end within a component, {missing} more were announced")]
    Truncated { missing: usize },
    #[error("a number at byte {at} is not in its shortest form")]
    NotShortest { at: usize },
    #[error("component type {0} is not between 1 and 65535")]
    BadType(u64),
    #[error("a component of type {kind} has 32 bytes, this one has {len}")]
    BadDigestLength { kind: ComponentType, len: usize },
    #[error("the element has type {0}, a name has type 7")]
    NotAName(u64),
    #[error("`{0}` does not begin with `/`")]
    NoSlash(String),
    #[error("`{0}` has an empty component; one without bytes is written `...`")]
    EmptyComponent(String),
    #[error("component `{0}` is relative; periods alone are written with three more of them")]
    Relative(String),
    #[error("component `{0}` has a `%` without two hexadecimal digits behind it")]
    BadEscape(String),
    #[error("component `{0}` has a character that must be written as `%XX`")]
    BadCharacter(String),
    #[error("component `{0}` needs a decimal number of at most 64 bits behind `=`")]
    BadNumber(String),
    #[error("component `{0}` needs 64 hexadecimal digits behind `=`")]
    BadDigest(String),
    #[error(
        "component `{0}` has an unknown type before `=`; give a number, seg, off, v, t, seq, sha256digest or params-sha256, or write `=` as %3D"
    )]
    UnknownType(String),
}
