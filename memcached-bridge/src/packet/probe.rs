//! Probes: whether each server still answers.
//!
//! Worker 0 asks every server for its version, one interval after the other. So many probes without an answer in a
//! row, and the server is marked dead; one answer, and it is alive again. What follows from a mark is decided in
//! [`members`](crate::members).

use fabric::function::Context;
use fabric::io::PacketBuf;
use fabric::time::Nanos;

use super::MemcachedSwitch;
use super::pool::{Pool, Probing};
use super::upstream::Purpose;
use crate::hashing::MemberIndex;

#[derive(Debug)]
pub(super) struct Prober {
    probing: Probing,
    servers: Vec<Watched>,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    next: Nanos,
    failures: u32,
}

impl Prober {
    pub(super) fn new(pool: &Pool) -> Self {
        let servers = vec![Watched { next: Nanos(0), failures: 0 }; pool.servers.len()];
        Self { probing: pool.probing, servers }
    }

    /// A server that is due for a probe, which it is taken to get.
    fn due(&mut self, now: Nanos) -> Option<usize> {
        let index = self.servers.iter().position(|watched| watched.next <= now)?;
        self.servers[index].next = now + self.probing.interval;
        Some(index)
    }

    /// Returns whether the server is to be marked dead.
    fn failed(&mut self, server: usize) -> bool {
        let failures = &mut self.servers[server].failures;
        *failures = failures.saturating_add(1);
        *failures >= self.probing.failures
    }
}

impl<P: PacketBuf> MemcachedSwitch<P> {
    pub(super) fn probe(&mut self, context: &mut dyn Context<P>) {
        let now = context.now();
        while let Some(server) = self.prober.as_mut().and_then(|prober| prober.due(now)) {
            let Some(id) = self.upstream.open(now + self.pool().probing.interval, MemberIndex(server as u16))
            else {
                return;
            };
            if !self.send_upstream(MemberIndex(server as u16), id, &[b"version\r\n"], context) {
                self.upstream.close(id);
                return;
            }
            self.upstream.assign(id, Purpose::Probe { server });
            self.counters.probes_sent += 1;
        }
    }

    pub(super) fn probe_answered(&mut self, server: usize) {
        if let Some(prober) = &mut self.prober {
            prober.servers[server].failures = 0;
            self.state.members().mark(server, true);
        }
    }

    pub(super) fn probe_lost(&mut self, server: usize) {
        self.counters.probes_lost += 1;
        if self.prober.as_mut().is_some_and(|prober| prober.failed(server)) {
            self.state.members().mark(server, false);
        }
    }
}
