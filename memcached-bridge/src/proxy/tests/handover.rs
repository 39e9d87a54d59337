//! Clients that go on with another proxy.

use std::time::Duration;

use super::rig::{Rig, pool};
use crate::proxy::pool::{CacheLimits, Pool};
use crate::proxy::{MAX_HELD_VALUE, Proxy};

/// Retires the rig's proxy, and puts another one in its place once the client may leave. Returns how the client is called there.
fn replace(rig: &mut Rig) -> crate::proxy::ClientId {
    rig.proxy.retire(rig.now);
    rig.run();
    let id = *rig.leaving.first().expect("the client is offered");
    let handover = rig.proxy.hand_over(id, rig.now).expect("it may leave");
    assert!(rig.proxy.hand_over(id, rig.now).is_none(), "only once");
    rig.proxy = Proxy::new(vec![rig.shared.clone()], 0, 12);
    rig.reset_connections();
    let id = rig.proxy.take_over(0, handover, rig.now, &mut rig.taken);
    rig.run();
    id
}

#[test]
fn requests_that_were_not_read_go_along() {
    for cut in 0..=40 {
        let mut rig = Rig::new(2);
        let client = rig.open();
        let requests = "set a 0 0 1\r\n1\r\nget a\r\nget b\r\ndelete a\r\n";
        let cut = cut.min(requests.len());
        rig.send(client, &requests.as_bytes()[..cut]);
        let successor = replace(&mut rig);
        let replies = rig.take(client) + &rig.take(successor) + &rig.ask(successor, &requests[cut..]);
        assert_eq!(replies, "STORED\r\nVALUE a 0 1\r\n1\r\nEND\r\nEND\r\nDELETED\r\n", "cut at {cut}");
        assert!(rig.closed.is_empty());
    }
}

#[test]
fn a_pipeline_is_answered_before_its_client_leaves() {
    let mut rig = Rig::new(2);
    let client = rig.open();
    rig.send(client, "get a\r\n".repeat(20).as_bytes());
    rig.proxy.retire(rig.now);
    rig.act();
    assert!(rig.leaving.is_empty(), "its requests are under way");
    assert_eq!(rig.proxy.client_wants(client), 0);
    rig.run();
    assert_eq!(rig.take(client), "END\r\n".repeat(20));
    assert_eq!(rig.leaving, [client]);
}

#[test]
fn a_value_that_was_begun_is_read_to_its_end() {
    let mut rig = Rig::new(1);
    let client = rig.open();
    let len = 4 * MAX_HELD_VALUE;
    let request = format!("set a 0 0 {len}\r\n{}\r\n", "v".repeat(len));
    rig.ask(client, &request[..len / 2]);
    rig.proxy.retire(rig.now);
    rig.run();
    assert!(rig.leaving.is_empty());
    assert_eq!(rig.ask(client, &request[len / 2..]), "STORED\r\n");
    assert_eq!(rig.leaving, [client]);
}

#[test]
fn a_client_that_ends_is_closed_and_not_offered() {
    let mut rig = Rig::new(1);
    let client = rig.open();
    rig.send(client, b"get a\r\n");
    rig.proxy.client_ended(client, rig.now);
    rig.proxy.retire(rig.now);
    rig.run();
    assert_eq!(rig.take(client), "END\r\n");
    assert_eq!((rig.closed.clone(), rig.leaving.len()), (vec![client], 0));
}

#[test]
fn writes_under_way_with_the_old_proxy_keep_the_new_ones_cache_shut() {
    let mut rig = Rig::with(pool(1, true));
    let writer = rig.open();
    assert_eq!(rig.ask(writer, "set k 0 0 3\r\nold\r\n"), "STORED\r\n");
    rig.silent.push(0);
    rig.send(writer, b"set k 0 0 3\r\nnew\r\n");
    rig.act();
    let changed = Pool { lanes: 2, ..pool(1, true) };
    let successor = rig.shared.successor(changed, 5, rig.now, rig.now).unwrap();
    let hash = successor.hash(b"k");
    let coherence = successor.coherence();
    assert!(coherence.may_fill(&coherence.snapshot(rig.now), hash).is_none(), "a write is under way");
    rig.silent.clear();
    rig.run();
    assert_eq!(rig.take(writer), "STORED\r\n");
    assert!(coherence.may_fill(&coherence.snapshot(rig.now), hash).is_some());
}

#[test]
fn a_cache_with_another_lease_stays_shut_while_both_serve() {
    let rig = Rig::with(pool(1, true));
    let lease = Duration::from_millis(200);
    let cache = Some(CacheLimits { lease, ..pool(1, true).cache.unwrap() });
    let apart = rig.now + Duration::from_secs(10);
    let successor = rig.shared.successor(Pool { cache, ..pool(1, true) }, 5, rig.now, apart).unwrap();
    let coherence = successor.coherence();
    let open_after = |seconds| coherence.snapshot(rig.now + Duration::from_secs(seconds)).is_open();
    assert!(!open_after(1) && !open_after(9) && open_after(11));
}
