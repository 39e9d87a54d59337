//! What one client may have of a listener: connections at a time, and its share of requests over all of them.
//!
//! A client is an IPv4 address, or the /64 network of an IPv6 address, since whoever has one address of it mostly has all.
//! One whose connections are closed is remembered until its bucket is full again: a new connection is no new share.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fabric::time::Nanos;
use memcached_bridge::proxy::limits::{Rate, TokenBucket};

/// Clients without a connection that are remembered. One more has one of them forgotten, which gets a full bucket when it
/// comes back.
const MAX_REMEMBERED: usize = 65_536;

/// The limits of each client; none without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerClient {
    /// Connections at a time.
    pub connections: Option<usize>,
    /// Requests.
    pub rate: Option<Rate>,
}

/// The clients of a listener.
pub(crate) struct Clients {
    limits: PerClient,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    clients: HashMap<IpAddr, Entry>,
    /// Entries without a connection.
    remembered: usize,
}

struct Entry {
    connections: usize,
    bucket: Option<Arc<TokenBucket>>,
}

/// One connection's place among its client's.
pub(crate) struct Share {
    clients: Arc<Clients>,
    /// `None` if nothing is limited.
    client: Option<IpAddr>,
    bucket: Option<Arc<TokenBucket>>,
}

impl Clients {
    pub(crate) fn new(limits: PerClient) -> Arc<Self> {
        Arc::new(Self { limits, table: Mutex::default() })
    }

    /// A place for one more connection from `address`. `None` if its client has as many as it may.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr, now: Nanos) -> Option<Share> {
        let clients = Arc::clone(self);
        if self.limits.connections.is_none() && self.limits.rate.is_none() {
            return Some(Share { clients, client: None, bucket: None });
        }
        let client = client(address);
        let bucket = self.table().enter(client, self.limits, now)?;
        Some(Share { clients, client: Some(client), bucket })
    }

    /// A place for a connection that is there already, however many its client has.
    pub(crate) fn keep(self: &Arc<Self>, address: IpAddr, now: Nanos) -> Share {
        let clients = Arc::clone(self);
        if self.limits.connections.is_none() && self.limits.rate.is_none() {
            return Share { clients, client: None, bucket: None };
        }
        let client = client(address);
        let bucket =
            self.table().enter(client, PerClient { connections: None, ..self.limits }, now).flatten();
        Share { clients, client: Some(client), bucket }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The bucket of a client with one connection more. `None` if it has too many.
    fn enter(&mut self, client: IpAddr, limits: PerClient, now: Nanos) -> Option<Option<Arc<TokenBucket>>> {
        let entry = self.clients.entry(client).or_insert_with(|| {
            self.remembered += 1;
            Entry { connections: 0, bucket: limits.rate.map(|rate| Arc::new(TokenBucket::new(rate))) }
        });
        if limits.connections.is_some_and(|most| entry.connections >= most) {
            return None;
        }
        if entry.connections == 0 {
            self.remembered -= 1;
        }
        entry.connections += 1;
        let bucket = entry.bucket.clone();
        if self.remembered > MAX_REMEMBERED {
            self.forget(now);
        }
        Some(bucket)
    }

    fn leave(&mut self, client: IpAddr) {
        let Some(entry) = self.clients.get_mut(&client) else { return };
        entry.connections -= 1;
        if entry.connections > 0 {
            return;
        }
        if entry.bucket.is_some() {
            self.remembered += 1;
        } else {
            self.clients.remove(&client);
        }
    }

    /// Forgets those whose bucket is full, and of the others as many as there are too many: half of them, so that this is
    /// seldom done.
    fn forget(&mut self, now: Nanos) {
        let is_full = |entry: &Entry| entry.bucket.as_ref().is_none_or(|bucket| bucket.is_full(now));
        self.clients.retain(|_, entry| entry.connections > 0 || !is_full(entry));
        let mut left = MAX_REMEMBERED / 2;
        self.clients.retain(|_, entry| {
            let is_kept = entry.connections > 0 || left > 0;
            left = left.saturating_sub(usize::from(is_kept && entry.connections == 0));
            is_kept
        });
        self.remembered = self.clients.values().filter(|entry| entry.connections == 0).count();
    }
}

impl Share {
    /// What limits the requests of its client, if something does.
    pub(crate) fn bucket(&self) -> Option<Arc<TokenBucket>> {
        self.bucket.clone()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(client) = self.client {
            self.clients.table().leave(client);
        }
    }
}

/// Who is at `address`.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Nanos = Nanos(1_000_000_000);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_client_has_its_connections() {
        let clients = Clients::new(PerClient { connections: Some(2), rate: None });
        let admit = |text| clients.admit(address(text), NOW);
        let (first, second) = (admit("10.0.0.1").unwrap(), admit("::ffff:10.0.0.1").unwrap());
        assert!(admit("10.0.0.1").is_none());
        let others = [admit("10.0.0.2"), admit("2001:db8::1"), admit("2001:db8::2")];
        assert!(others.iter().all(Option::is_some) && admit("2001:db8::3").is_none());
        assert!(admit("2001:db8:0:1::3").is_some());
        drop(first);
        let third = admit("10.0.0.1").unwrap();
        drop((second, third, others));
        assert!(clients.table().clients.is_empty(), "somebody without connections is held");
    }

    #[test]
    fn a_new_connection_is_no_new_share() {
        let rate = Rate { per_second: 1, burst: 2 };
        let clients = Clients::new(PerClient { connections: None, rate: Some(rate) });
        let take = || {
            let share = clients.admit(address("10.0.0.1"), NOW).unwrap();
            share.bucket().unwrap().take(1, NOW)
        };
        assert_eq!([take(), take(), take()], [true, true, false]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let rate = Rate { per_second: 1, burst: 2 };
        let clients = Clients::new(PerClient { connections: None, rate: Some(rate) });
        let stays = clients.admit(address("10.0.0.1"), NOW).unwrap();
        for number in 0..3 * MAX_REMEMBERED as u32 {
            let share = clients.admit(IpAddr::V4((0x0b00_0000 + number).into()), NOW).unwrap();
            share.bucket().unwrap().take(1, NOW);
        }
        let table = clients.table();
        assert!(table.clients.len() <= MAX_REMEMBERED + 2, "{}", table.clients.len());
        let remembered = table.clients.values().filter(|entry| entry.connections == 0).count();
        assert_eq!(table.remembered, remembered);
        assert_eq!(table.clients[&address("10.0.0.1")].connections, 1);
        drop(table);
        drop(stays);
    }
}
