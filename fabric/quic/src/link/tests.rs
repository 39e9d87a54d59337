//! Two links over a made-up network, with a made-up clock.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const BACKOFF: Backoff = Backoff { min: Duration::from_millis(50), max: Duration::from_millis(3000) };

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn why() -> Arc<str> {
    "gone".into()
}

#[test]
fn one_dial_serves_all_who_wait() {
    let now = Instant::now();
    let mut link = Link::new(true, BACKOFF);
    assert_eq!(link.want(now), Want::Dial);
    assert_eq!(link.want(now), Want::Wait);
    assert!(link.established(1, "a", Origin::Dialed, now).is_empty());
    assert_eq!(link.want(now), Want::Use("a"));
}

#[test]
fn failures_make_it_rest_longer_up_to_a_bound() {
    let mut now = Instant::now();
    let mut link = Link::<()>::new(true, BACKOFF);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        assert_eq!(link.want(now), Want::Dial);
        assert_eq!(link.dial_failed(why(), now, 0.0), pauses.is_empty());
        let Want::Resting { until, .. } = link.want(now) else { panic!("it does not rest") };
        pauses.push((until - now).as_millis());
        now = until;
    }
    assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 3000, 3000, 3000]);
    assert_eq!(BACKOFF.pause(40, 0.0), ms(3000));
    assert_eq!(BACKOFF.pause(1, 1.0), ms(25));
    link.wake();
    assert_eq!(link.want(now), Want::Dial);
}

#[test]
fn who_accepts_and_hangs_up_is_not_dialed_in_a_loop() {
    let mut now = Instant::now();
    let mut link = Link::new(true, BACKOFF);
    let mut dials = 0;
    let end = now + Duration::from_secs(60);
    while now < end {
        match link.want(now) {
            Want::Dial => {
                dials += 1;
                link.established(dials, (), Origin::Dialed, now);
                link.lost(dials, why(), now, 0.0);
            }
            Want::Resting { until, .. } => now = until,
            other => panic!("{other:?}"),
        }
    }
    assert!(dials < 30, "{dials} dials in a minute");
    // One that lasts clears its record.
    assert_eq!(link.want(now), Want::Dial);
    link.established(1000, (), Origin::Dialed, now);
    link.lost(1000, why(), now + LASTING, 0.0);
    assert_eq!(link.want(now + LASTING), Want::Dial);
}

#[test]
fn a_peer_that_started_anew_is_not_shut_out_by_its_former_life() {
    let now = Instant::now();
    for decides in [true, false] {
        let mut link = Link::new(decides, BACKOFF);
        link.want(now);
        link.established(1, "former", Origin::Dialed, now);
        link.established(2, "new", Origin::Accepted, now + ms(10));
        assert_eq!(link.current(), Some("new"), "decides: {decides}");
    }
}

#[test]
fn connections_held_are_bounded() {
    let now = Instant::now();
    let mut link = Link::new(false, BACKOFF);
    let retired: usize = (0..10).map(|id| link.established(id, id, Origin::Accepted, now).len()).sum();
    assert_eq!((link.held.len(), retired), (MAX_HELD, 10 - MAX_HELD));
    assert_eq!(link.current(), Some(9));
}

/// What arrives at an end.
#[derive(Clone, Debug)]
enum Event {
    /// The first step of a handshake that the other end began.
    Hello(u64),
    /// Its second, at the end that dialed: the connection is there.
    Welcome(u64),
    /// The other end does not use this connection any more.
    Retired(u64),
    /// It is gone.
    Closed(u64),
}

/// Two ends; each message takes a random while, and may be lost with the connection it belongs to.
struct World {
    now: Instant,
    ends: [Link<u64>; 2],
    mail: BTreeMap<(Instant, u64), (usize, Event)>,
    serial: u64,
    connections: u64,
    delays: Vec<u64>,
    open: std::collections::BTreeSet<u64>,
}

impl World {
    fn new(delays: Vec<u64>) -> Self {
        let ends = [Link::new(true, BACKOFF), Link::new(false, BACKOFF)];
        let (mail, open) = (BTreeMap::new(), std::collections::BTreeSet::new());
        Self { now: Instant::now(), ends, mail, serial: 0, connections: 0, delays, open }
    }

    fn post(&mut self, to: usize, event: Event) {
        self.serial += 1;
        let delay = self.delays[self.serial as usize % self.delays.len()];
        self.mail.insert((self.now + ms(delay), self.serial), (to, event));
    }

    fn want(&mut self, end: usize) {
        if self.ends[end].want(self.now) == Want::Dial {
            self.connections += 1;
            self.post(1 - end, Event::Hello(self.connections));
        }
    }

    fn retire(&mut self, end: usize, retired: Vec<u64>) {
        for id in retired {
            self.post(1 - end, Event::Retired(id));
            self.post(1 - end, Event::Closed(id));
            self.open.remove(&id);
        }
    }

    /// The end forgets everything, and the other notices later.
    fn restart(&mut self, end: usize) {
        self.ends[end] = Link::new(end == 0, BACKOFF);
        for id in std::mem::take(&mut self.open) {
            self.post(1 - end, Event::Closed(id));
        }
        let dials: Vec<_> = self.mail.values().filter(|(to, _)| *to == end).cloned().collect();
        self.mail.retain(|_, (to, event)| *to != end && !matches!(event, Event::Hello(_)));
        for (_, event) in dials {
            if let Event::Hello(id) = event {
                self.post(1 - end, Event::Closed(id));
            }
        }
    }

    fn step(&mut self) -> bool {
        let Some(((at, _), (to, event))) = self.mail.pop_first() else { return false };
        self.now = self.now.max(at);
        match event {
            Event::Hello(id) => {
                self.open.insert(id);
                let retired = self.ends[to].established(id, id, Origin::Accepted, self.now);
                self.post(1 - to, Event::Welcome(id));
                self.retire(to, retired);
            }
            Event::Welcome(id) if self.open.contains(&id) => {
                let retired = self.ends[to].established(id, id, Origin::Dialed, self.now);
                self.retire(to, retired);
            }
            Event::Welcome(_) => {
                self.ends[to].dial_failed(why(), self.now, 0.5);
            }
            Event::Retired(id) => self.ends[to].retired(id),
            Event::Closed(id) => {
                if !self.ends[to].lost(id, why(), self.now, 0.5) && self.ends[to].dialing_since.is_some() {
                    self.ends[to].dial_failed(why(), self.now, 0.5);
                }
            }
        }
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn both_ends_come_to_use_the_same_connection(
        delays in prop::collection::vec(1u64..200, 1..40),
        acts in prop::collection::vec((0usize..2, 0u8..8, 0u64..100), 1..60),
    ) {
        let mut world = World::new(delays);
        for (end, act, pause) in acts {
            match act {
                0 => world.restart(end),
                1..5 => world.want(end),
                _ => {
                    world.step();
                }
            }
            world.now += ms(pause);
        }
        while world.step() {}
        // Quiet again, each side wants the link until both have it.
        for _ in 0..20 {
            world.now += ms(3000);
            world.want(0);
            world.want(1);
            while world.step() {}
        }
        let used = [world.ends[0].current(), world.ends[1].current()];
        prop_assert!(used[0].is_some() && used[0] == used[1], "{used:?} of {:?}", world.open);
    }
}
