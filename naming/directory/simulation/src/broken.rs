//! Rules of the shell's contract, to be broken on purpose: a simulation that cannot find a mistake proves
//! nothing.

/// What is done wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Broken {
    /// Nothing.
    #[default]
    Nothing,
    /// Records are called durable when they are written, not when they are synced: promises go out, and
    /// entries are applied, before they are safe.
    PromisesBeforeSync,
    /// Terms and votes are not written.
    ForgetsVotes,
    /// Commit indices are not written.
    ForgetsCommits,
    /// A crash takes the whole disk of one node, which comes back under its old name.
    LosesDisks,
    /// Reads are served from whatever state is at hand.
    StaleReads,
    /// Commands are sent again outside their session.
    RetriesOutsideSession,
    /// A snapshot is called durable before it is.
    SnapshotsBeforeSync,
    /// A snapshot that a leader sent is called durable before it is.
    InstallsBeforeSync,
}

impl Broken {
    /// All that break something.
    pub const ALL: [Broken; 8] = [
        Self::PromisesBeforeSync,
        Self::ForgetsVotes,
        Self::ForgetsCommits,
        Self::LosesDisks,
        Self::StaleReads,
        Self::RetriesOutsideSession,
        Self::SnapshotsBeforeSync,
        Self::InstallsBeforeSync,
    ];
}
