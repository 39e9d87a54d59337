//! Linearizable reads: which are under way, and when they may be served.
//!
//! Reads that are asked for while others are under way share the next round. A round is one ReadIndex
//! (Ongaro's thesis, section 6.4): the leader notes its commit index, makes sure that it still leads, and
//! tells the index; the reads of the round may be served once the state has it. `raft` drops a round silently
//! when there is no leader, when the leader has not committed anything in its term yet, when it steps down,
//! and when the network does. So rounds that are not answered in time are sent again, each time under a new
//! context: the answer to an old one is still right, but an old *request* under a context that is in use
//! would be taken for the new one.

use std::collections::VecDeque;

use naming::NodeId;

use super::config::Config;
use super::error::TooManyReads;

/// Rounds under way at a time.
const MAX_ROUNDS: usize = 4;
/// Bytes of a round's context: node, its start, the round.
const CONTEXT_LEN: usize = 24;

/// A read, as whoever asks for it calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

#[derive(Clone, Copy, Debug)]
struct Read {
    id: ReadId,
    /// The tick in which it was asked for.
    asked: u64,
}

#[derive(Debug)]
struct Round {
    number: u64,
    sent: u64,
    reads: Vec<Read>,
}

#[derive(Debug)]
pub(super) struct Reads {
    id: NodeId,
    seed: u64,
    limit: usize,
    retry_ticks: u64,
    timeout_ticks: u64,
    now: u64,
    next_round: u64,
    /// Not in a round yet.
    waiting: Vec<Read>,
    rounds: VecDeque<Round>,
    /// To be served once the state has this entry.
    confirmed: Vec<(u64, Read)>,
    failed: Vec<ReadId>,
    retried: u64,
}

impl Reads {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            id: config.id,
            seed: config.seed,
            limit: config.max_reads,
            retry_ticks: config.read_retry_ticks.into(),
            timeout_ticks: config.read_timeout_ticks.into(),
            now: 0,
            next_round: 0,
            waiting: Vec::new(),
            rounds: VecDeque::new(),
            confirmed: Vec::new(),
            failed: Vec::new(),
            retried: 0,
        }
    }

    pub(super) fn ask(&mut self, id: ReadId) -> Result<(), TooManyReads> {
        let rounds: usize = self.rounds.iter().map(|round| round.reads.len()).sum();
        if self.waiting.len() + rounds + self.confirmed.len() >= self.limit {
            return Err(TooManyReads { limit: self.limit });
        }
        self.waiting.push(Read { id, asked: self.now });
        Ok(())
    }

    /// Rounds that were sent again.
    pub(super) fn retried(&self) -> u64 {
        self.retried
    }

    pub(super) fn tick(&mut self) {
        self.now += 1;
        let late = self.rounds.iter().take_while(|round| round.sent + self.retry_ticks <= self.now).count();
        self.give_up(late);
        let expired = |read: &Read| read.asked + self.timeout_ticks <= self.now;
        let in_rounds =
            self.rounds.iter_mut().flat_map(|round| round.reads.extract_if(.., |read| expired(read)));
        let waiting = self.waiting.extract_if(.., |read| expired(read));
        let confirmed = self.confirmed.extract_if(.., |(_, read)| expired(read)).map(|(_, read)| read);
        self.failed.extend(in_rounds.chain(waiting).chain(confirmed).map(|read| read.id));
    }

    /// Nobody is going to answer the rounds under way: there is another leader, or none.
    pub(super) fn leader_changed(&mut self) {
        self.give_up(self.rounds.len());
    }

    fn give_up(&mut self, rounds: usize) {
        self.retried += rounds as u64;
        for round in self.rounds.drain(..rounds) {
            self.waiting.extend(round.reads);
        }
    }

    /// The context of a new round, if there are reads for one.
    pub(super) fn begin_round(&mut self) -> Option<Vec<u8>> {
        if self.waiting.is_empty() || self.rounds.len() >= MAX_ROUNDS {
            return None;
        }
        self.next_round += 1;
        let round =
            Round { number: self.next_round, sent: self.now, reads: std::mem::take(&mut self.waiting) };
        let context = [self.id.get(), self.seed, round.number].map(u64::to_le_bytes).concat();
        self.rounds.push_back(round);
        Some(context)
    }

    /// The round of this context may be served once the state has entry `index`.
    pub(super) fn confirm(&mut self, context: &[u8], index: u64) {
        let Ok(context) = <&[u8; CONTEXT_LEN]>::try_from(context) else { return };
        let (life, number) = context.split_at(16);
        let own = [self.id.get(), self.seed].map(u64::to_le_bytes).concat();
        let number = number.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
        let round = self.rounds.iter().position(|round| life == own && round.number == number);
        if let Some(round) = round.and_then(|place| self.rounds.remove(place)) {
            self.confirmed.extend(round.reads.into_iter().map(|read| (index, read)));
        }
    }

    /// Reads that the state may serve now that it has entry `applied`.
    pub(super) fn served(&mut self, applied: u64) -> Vec<ReadId> {
        self.confirmed.extract_if(.., |(index, _)| *index <= applied).map(|(_, read)| read.id).collect()
    }

    /// Reads that took too long.
    pub(super) fn failed(&mut self) -> Vec<ReadId> {
        std::mem::take(&mut self.failed)
    }
}
