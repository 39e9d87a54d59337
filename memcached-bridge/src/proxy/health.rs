//! Deadlines, and what follows when one passes: servers fail, are ejected, are asked whether they are back.

use std::time::Duration;

use fabric::time::Nanos;

use super::backend::{Backend, BackendId, Phase, Role, ServerId};
use super::client::{Client, ClientId, Reading, Transmit, Wait};
use super::failure::Failure;
use super::in_flight::{InFlight, Owner, Writes};
use super::{Action, MAX_HOLD_UP, Proxy};
use crate::protocol::delimit::Shape;
use crate::protocol::{Protocol, Verb};

/// How often clients that stand still are looked for.
const STALL_CHECK: Duration = Duration::from_secs(1);

/// Pauses of uneven length, so that many nodes do not ask at once (xorshift64*, Vigna 2016).
#[derive(Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Between half of `pause` and one and a half.
    fn around(&mut self, pause: Duration) -> Duration {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let part = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        let nanos = pause.as_nanos() as u64;
        Duration::from_nanos(nanos / 2 + ((u128::from(nanos) * u128::from(part)) >> 32) as u64)
    }
}

/// What is due on a connection.
enum Due {
    Nothing,
    Unreachable,
    TimedOut,
    /// A client keeps others waiting.
    HeldUpBy(ClientId),
}

impl Proxy {
    /// A request to a server failed, or a connection.
    pub(super) fn server_failed(&mut self, server: ServerId, failure: Failure) {
        let part = &mut self.pools[usize::from(server.pool)];
        let probing = part.shared.pool().probing;
        let seen = &mut part.servers[usize::from(server.server)];
        seen.failures = seen.failures.saturating_add(1);
        // A server that closed its connection is asked on another one at once.
        if failure == Failure::Unreachable {
            seen.retry_at = self.now + self.jitter.around(probing.interval);
        }
        if seen.failures >= probing.failures {
            // Where it is not ejected, routes know by the mark that it is down.
            part.shared.members().mark(usize::from(server.server), false);
        }
        if probing.auto_eject && seen.failures >= probing.failures {
            seen.retry_at = self.now + self.jitter.around(probing.interval);
            self.apply_marks(server.pool);
        }
    }

    fn apply_marks(&mut self, pool: u16) {
        let part = &mut self.pools[usize::from(pool)];
        let shared = &part.shared;
        for change in shared.members().apply(shared.pool(), shared.coherence(), self.now) {
            self.commons.actions.push_back(Action::Changed { pool, change });
        }
        part.adopt_ring();
    }

    /// Asks servers that are ejected whether they are back. Each is asked by one thread.
    pub(super) fn watch_servers(&mut self, pool: usize) {
        let threads = self.pools[pool].shared.threads().len();
        for server in (usize::from(self.thread)..self.pools[pool].servers.len()).step_by(threads) {
            let part = &mut self.pools[pool];
            let seen = &mut part.servers[server];
            if part.shared.members().is_alive(server) || seen.probe.is_some() || self.now < seen.retry_at {
                continue;
            }
            part.counters.probes_sent += 1;
            let server = ServerId { pool: pool as u16, server: server as u16 };
            let probe = self.connect(server, Protocol::Text, Role::Probe);
            self.server_mut(server).probe = Some(probe);
            if let Some(backend) = self.backends.get_mut(probe) {
                backend.outgoing.tail().extend_from_slice(b"version\r\n");
            }
            self.post(probe, InFlight::new(Owner::Probe, Verb::Version, Shape::Line, self.now));
        }
    }

    pub(super) fn probe_answered(&mut self, id: BackendId) {
        let Some(backend) = self.close_backend(id) else { return };
        let server = self.server_mut(backend.server);
        (server.failures, server.retry_at) = (0, Nanos(0));
        let pool = backend.server.pool;
        self.pools[usize::from(pool)].shared.members().mark(usize::from(backend.server.server), true);
        self.apply_marks(pool);
    }

    pub(super) fn probe_lost(&mut self, server: ServerId) {
        let part = &mut self.pools[usize::from(server.pool)];
        part.counters.probes_lost += 1;
        let pause = self.jitter.around(part.shared.pool().probing.interval);
        self.server_mut(server).retry_at = self.now + pause;
    }

    /// Looks at every connection to a server.
    pub(super) fn check_backends(&mut self, sink: &mut dyn Transmit) {
        let ids: Vec<BackendId> = self.backends.keys().collect();
        for id in ids {
            let Some(backend) = self.backends.get(id) else { continue };
            let pool = usize::from(backend.server.pool);
            match self.due(backend) {
                Due::Nothing => self.hold_long_writes(id),
                Due::Unreachable => self.lose(id, Failure::Unreachable, sink),
                Due::TimedOut => {
                    self.pools[pool].counters.replies_timed_out += backend.in_flight.len() as u64;
                    self.give_up(id, Failure::TimedOut, sink);
                }
                Due::HeldUpBy(client) => self.cut_for(client, |counters| &mut counters.cut_slow),
            }
        }
    }

    fn due(&self, backend: &Backend) -> Due {
        let deadlines = self.pools[usize::from(backend.server.pool)].shared.pool().deadlines;
        if let Phase::Connecting(since) = backend.phase {
            let late = self.now.since(since) >= deadlines.connect;
            return if late { Due::Unreachable } else { Due::Nothing };
        }
        if let Some(held_up) = backend.held_up
            && !held_up.early
            && self.now.since(held_up.since) >= MAX_HOLD_UP
            && backend.in_flight.iter().skip(1).any(|entry| self.is_waited_for(entry, held_up.by))
        {
            return Due::HeldUpBy(held_up.by);
        }
        match backend.waits_since() {
            Some(since) if self.now.since(since) >= deadlines.reply => Due::TimedOut,
            _ => Due::Nothing,
        }
    }

    /// Whether someone else than `client` waits for the reply to a request.
    fn is_waited_for(&self, entry: &InFlight, client: ClientId) -> bool {
        match entry.owner {
            Owner::Client { client: other, .. } => other != client && self.clients.contains_key(other),
            Owner::Part(part) => self.gathers.get(part.gather).is_some_and(|gather| gather.client != client),
            Owner::Attempt(id) => self.attempt_client(id).is_some_and(|waits| waits != client),
            Owner::Fill => true,
            Owner::Probe | Owner::Nobody => false,
        }
    }

    /// Keeps the keys of writes from being cached that are under way for longer than a write is waited for.
    fn hold_long_writes(&mut self, id: BackendId) {
        let Some(backend) = self.backends.get(id) else { return };
        let part = &self.pools[usize::from(backend.server.pool)];
        let Some(cache) = &part.cache else { return };
        let (coherence, lease) = (part.shared.coherence(), cache.lease());
        for entry in &backend.in_flight {
            if self.now.since(entry.sent) < lease / 4 {
                break;
            }
            let held = match entry.writes {
                Some(Writes { hash: Some(hash), .. }) if !entry.begun => {
                    coherence.begin_write_without_reply(hash, self.now)
                }
                Some(Writes { hash: None, .. }) if !entry.begun => coherence.begin_write_all(None, self.now),
                _ => Ok(()),
            };
            if held.is_err() {
                coherence.close(self.now, self.now + lease);
                coherence.bump_pool();
            }
        }
    }

    /// Closes clients that stand still for too long.
    pub(super) fn check_clients(&mut self) {
        if self.now < self.next_stall_check {
            return;
        }
        self.next_stall_check = self.now + STALL_CHECK;
        let now = self.now;
        let stalled = |client: &Client| {
            let owes = client.reading != Reading::Requests || !client.input.is_empty();
            let waits_for_it = !client.unsent().is_empty() || owes && client.wait == Wait::No;
            waits_for_it && client.progress.age(now) >= self.door_of(client).limits.stall
        };
        let stalled: Vec<ClientId> =
            self.clients.iter().filter(|(_, client)| stalled(client)).map(|(id, _)| id).collect();
        for id in stalled {
            self.cut_for(id, |counters| &mut counters.cut_stalled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_differ_and_stay_around_what_was_asked() {
        let mut jitter = Jitter::new(7);
        let pause = Duration::from_millis(200);
        let pauses: Vec<Duration> = (0..1000).map(|_| jitter.around(pause)).collect();
        assert!(pauses.iter().all(|other| (pause / 2..=pause * 3 / 2).contains(other)));
        let (least, most) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
        assert!(*least < pause * 6 / 10 && *most > pause * 14 / 10, "{least:?} {most:?}");
    }
}
