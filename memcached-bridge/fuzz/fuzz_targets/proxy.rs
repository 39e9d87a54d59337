//! Arbitrary clients and arbitrary servers around a proxy: it goes on, within its bounds.
//!
//! The lowest bit of the input's first byte says whether there is a cache, which takes long to make, the next one whether there is
//! a route over several pools: clients come by the one or by the other. The rest is a list of what happens:
//! an operation, a length, and so many bytes.
#![no_main]

use std::time::Duration;

use fabric::time::Nanos;
use libfuzzer_sys::fuzz_target;
use memcached_bridge::hashing::{Distribution, KeyHash};
use memcached_bridge::proxy::limits::{ClientLimits, MaxTtl};
use memcached_bridge::proxy::pool::{CacheLimits, Deadlines, Pool, Probing, Server};
use memcached_bridge::proxy::route::{Acks, Destination, Route, Shadow, Share};
use memcached_bridge::proxy::{
    Action, BackendId, ClientId, DoorId, MAX_UNSENT, Proxy, SharedPool, SharedRoute, Transmit,
};

struct Deaf;

impl Transmit for Deaf {
    fn transmit(&mut self, _client: ClientId, _parts: &[&[u8]]) -> usize {
        0
    }
}

fn pool(cached: bool) -> Pool {
    let server = |name: &str| Server { name: name.to_owned(), weight: 1 };
    let time = Duration::from_millis(100);
    Pool {
        name: "fuzz".to_owned(),
        servers: vec![server("one"), server("two")],
        distribution: Distribution::Modula,
        key_hash: KeyHash::Fnv1a64,
        hash_tag: None,
        cache: cached.then_some(CacheLimits { capacity_bytes: 1 << 16, lease: time, hot_threshold: 1 }),
        deadlines: Deadlines { connect: time, reply: time },
        probing: Probing { interval: time, failures: 2, auto_eject: true },
        lanes: 1,
        limits: ClientLimits { max_ttl: Some(MaxTtl { seconds: 60 }), ..ClientLimits::default() },
        credentials: None,
    }
}

/// Keys of each beginning go to another kind of destination.
fn route() -> Route {
    let to = Destination::of;
    let shadow = Some(Shadow { pool: 2, share: Share::of(1.0) });
    let ttl = Some(MaxTtl { seconds: 60 });
    Route {
        name: "fuzz".to_owned(),
        default: Destination { replicas: vec![1, 2], acks: Acks::Majority, ..to(0) },
        prefixes: vec![
            (b"f".to_vec(), Destination { failover: vec![1], failover_ttl: ttl, failover_on_miss: true, ..to(0) }),
            (b"p".to_vec(), to(1)),
            (b"w".to_vec(), Destination { warm_from: Some(1), shadow, ..to(0) }),
        ],
        limits: ClientLimits::default(),
        credentials: None,
    }
}

fn act(proxy: &mut Proxy, backends: &mut Vec<BackendId>, clients: &mut Vec<ClientId>, now: Nanos) {
    while let Some(action) = proxy.next_action() {
        match action {
            Action::Connect(id, _) => {
                backends.push(id);
                proxy.backend_connected(id, now);
            }
            Action::SendToBackend(id) => proxy.backend_sent(id, proxy.backend_output(id).len(), now, &mut Deaf),
            Action::SendToClient(id) => {
                let len = proxy.client_output(id).len();
                assert!(len <= MAX_UNSENT + (1 << 17), "{len} bytes wait for a client");
                proxy.client_sent(id, len, now, &mut Deaf);
            }
            Action::CloseBackend(id) => backends.retain(|other| *other != id),
            Action::CloseClient(id) => clients.retain(|other| *other != id),
            _ => {}
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&shape, data)) = data.split_first() else { return };
    let (cached, routed) = (shape & 1 == 1, shape & 2 == 2);
    let Ok(pools) = (0..if routed { 3 } else { 1 }).map(|_| SharedPool::new(pool(cached), 1, 1)).collect() else {
        return;
    };
    let mut proxy = Proxy::new(pools, 0, 1);
    proxy.trace(2, 1);
    if routed {
        proxy = proxy.with_routes(vec![SharedRoute::new(route(), 1)]);
    }
    let (mut backends, mut clients, mut now) = (Vec::new(), Vec::new(), Nanos(1 << 30));
    let mut rest = data;
    while let &[operation, len, ref after @ ..] = rest {
        let (bytes, after) = after.split_at(after.len().min(len.into()));
        rest = after;
        let which = usize::from(operation >> 4);
        let client: Option<ClientId> = clients.get(which % clients.len().max(1)).copied();
        let backend: Option<BackendId> = backends.get(which % backends.len().max(1)).copied();
        match (operation & 7, client, backend) {
            (0, _, _) if clients.len() < 4 => {
                let door = if routed && which > 3 { DoorId::Route(0) } else { DoorId::Pool(0) };
                clients.push(proxy.client_opened(door, now));
            }
            (1 | 2, Some(id), _) if proxy.client_wants(id) >= bytes.len() => {
                proxy.client_received(id, bytes, now, &mut Deaf);
            }
            (3 | 4, _, Some(id)) if proxy.backend_wants(id) => {
                proxy.backend_received(id, bytes, now, &mut Deaf);
            }
            (5, _, Some(id)) => {
                backends.retain(|other| *other != id);
                proxy.backend_closed(id, now, &mut Deaf);
            }
            (6, Some(id), _) => {
                clients.retain(|other| *other != id);
                proxy.client_closed(id, now);
            }
            (7, _, _) => {
                now = now + Duration::from_millis(u64::from(len));
                proxy.tick(now, &mut Deaf);
            }
            _ => {}
        }
        act(&mut proxy, &mut backends, &mut clients, now);
        while let Some(trace) = proxy.next_trace() {
            assert!(trace.began <= trace.ended && trace.shares.len() <= trace.servers, "{trace:?}");
        }
    }
});
