//! The learning switch's table: which port leads to which station (IEEE 802.1Q, section 8.7 and 8.8).
//!
//! One table is shared by all workers. It is a fixed array of buckets, one cache line each, of four ways; a way is
//! a key word (VLAN id and MAC) and a value word (port, second of the last frame, generation). A station lives in
//! one of the four ways that its key hashes to; when all four are taken by others, the one heard of least recently
//! is forgotten.
//!
//! Nobody waits for anybody. A reader takes value, key, value: equal values around a matching key mean that the
//! value belonged to the key, since whoever gives a way to another station first marks the value as claimed and
//! moves its generation on. The 13 bits of generation could be fooled only by 8192 replacements of one way within
//! one second, between two loads of one reader. A writer that loses a race leaves the learning to the next frame.
//! A station that is heard of again by the same port is written at most once a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::io::PortId;
use crate::packet::MacAddr;
use crate::time::Nanos;

/// Stations in one bucket.
const WAYS: usize = 4;
/// How often a reader starts over before it takes a way as unreadable for now.
const READS: usize = 4;

/// The size and the memory of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StationsConfig {
    /// Stations that fit at most, rounded up to a power of two; 16 bytes each. With many more stations than a half
    /// of this, some buckets overflow and their stations are flooded now and then.
    pub capacity: usize,
    /// After how long without a frame a station is forgotten; 300 s in IEEE 802.1Q. Counted in whole seconds.
    pub aging: Duration,
    /// Any number; one that outsiders do not know keeps them from filling a bucket of their choice.
    pub seed: u64,
}

impl Default for StationsConfig {
    fn default() -> Self {
        Self { capacity: 16_384, aging: Duration::from_secs(300), seed: 0 }
    }
}

/// What came of [`Stations::learn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// It is where it was.
    Known,
    /// It was not there, and is now.
    New,
    /// It was not there and is now, and another station was forgotten for it.
    Evicted,
    /// It was at another port, and is at this one now.
    Moved,
    /// It is pinned to another port: whoever sent the frame is not the station.
    Refused,
    /// A group or zero address, or no way free of pinned stations or of other writers. Nothing was written.
    Ignored,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Station {
    /// The VLAN it was heard in; 0 is untagged.
    pub vlan: u16,
    /// Its address.
    pub mac: MacAddr,
    /// The port that leads to it.
    pub port: PortId,
    /// How long ago it was heard of, in whole seconds; zero if pinned.
    pub idle: Duration,
    /// Whether it never moves and is never forgotten.
    pub pinned: bool,
}

/// All four ways of the bucket are taken by pinned stations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room to pin station {mac} in VLAN {vlan}; raise the capacity of the station table")]
pub struct NoRoomToPin {
    /// The VLAN asked for.
    pub vlan: u16,
    /// The address asked for.
    pub mac: MacAddr,
}

/// VLAN id in bits 48 to 59, MAC in bits 0 to 47.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u64);

impl Key {
    #[inline]
    pub(crate) fn new(vlan: u16, mac: u64) -> Key {
        Key(u64::from(vlan & 0x0fff) << 48 | mac)
    }

    /// Whether the MAC names one station: neither a group nor zero.
    #[inline]
    fn is_station(self) -> bool {
        self.0 & 1 << 40 == 0 && self.0 << 16 != 0
    }
}

/// Whole seconds of the worker's time; enough for 136 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Second(pub(crate) u32);

impl Second {
    #[inline]
    pub(crate) fn of(now: Nanos) -> Second {
        Second((now.0 / 1_000_000_000) as u32)
    }
}

/// A value word: port in bits 0 to 15, marks in 16 to 18, generation in 19 to 31, second in 32 to 63.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Value(u64);

const PRESENT: u64 = 1 << 16;
const PINNED: u64 = 1 << 17;
const CLAIMED: u64 = 1 << 18;
const ONE_GENERATION: u64 = 1 << 19;
const GENERATION: u64 = 0xffff_ffff & !(ONE_GENERATION - 1);

impl Value {
    #[inline]
    fn port(self) -> PortId {
        PortId(self.0 as u16)
    }

    #[inline]
    fn second(self) -> Second {
        Second((self.0 >> 32) as u32)
    }

    #[inline]
    fn has(self, mark: u64) -> bool {
        self.0 & mark != 0
    }

    /// The same generation of the way, with other contents.
    #[inline]
    fn with(self, marks: u64, port: PortId, second: Second) -> Value {
        Value(self.0 & GENERATION | marks | u64::from(port.0) | u64::from(second.0) << 32)
    }

    /// Nobody's, in the next generation, until its claimer stores again.
    fn claimed(self) -> Value {
        Value(self.0.wrapping_add(ONE_GENERATION) & GENERATION | CLAIMED)
    }

    fn age(self, now: Second) -> u32 {
        now.0.saturating_sub(self.second().0)
    }
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Bucket {
    keys: [AtomicU64; WAYS],
    values: [AtomicU64; WAYS],
}

impl Bucket {
    /// The way of `key` and its value, if it is there.
    #[inline]
    fn look(&self, key: Key) -> Option<(usize, Value)> {
        // Without branches: which way it is cannot be predicted.
        let mut at = WAYS;
        for way in (0..WAYS).rev() {
            at = if self.keys[way].load(Ordering::Relaxed) == key.0 { way } else { at };
        }
        if at == WAYS {
            return None;
        }
        let (found, value) = self.read(at)?;
        (found == key).then_some((at, value))
    }

    /// Key and value of a way as they belong together; `None` if nobody is there, or writers never rest.
    #[inline]
    fn read(&self, way: usize) -> Option<(Key, Value)> {
        for _ in 0..READS {
            meanwhile();
            let before = Value(self.values[way].load(Ordering::Acquire));
            if !before.has(PRESENT) {
                return None;
            }
            meanwhile();
            let key = Key(self.keys[way].load(Ordering::Acquire));
            if self.values[way].load(Ordering::Relaxed) == before.0 {
                return Some((key, before));
            }
        }
        None
    }

    fn swap(&self, way: usize, old: Value, new: Value) -> bool {
        self.values[way].compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Gives a way whose value was `old` to `key`. False if someone else was first.
    fn give(&self, way: usize, old: Value, key: Key, marks: u64, port: PortId, second: Second) -> bool {
        let claimed = old.claimed();
        if !self.swap(way, old, claimed) {
            return false;
        }
        self.keys[way].store(key.0, Ordering::Release);
        self.values[way].store(claimed.with(PRESENT | marks, port, second).0, Ordering::Release);
        true
    }

    /// Empties a way whose value was `old`. Its key goes too, or it would hide the same key in another way.
    fn empty(&self, way: usize, old: Value) {
        let claimed = old.claimed();
        if self.swap(way, old, claimed) {
            self.keys[way].store(0, Ordering::Release);
            self.values[way].store(claimed.0 & GENERATION, Ordering::Release);
        }
    }

    /// Two workers that meet a new station at once may each give it a way: the lower one stays.
    fn drop_duplicates(&self, key: Key) {
        let mut seen = false;
        for way in 0..WAYS {
            let Some((_, value)) = self.read(way).filter(|(found, _)| *found == key) else { continue };
            if seen {
                self.empty(way, value);
            }
            seen = true;
        }
    }
}

/// The table. See the [module](self).
#[derive(Debug)]
pub struct Stations {
    buckets: Box<[Bucket]>,
    aging_seconds: u32,
    seed: u64,
}

impl Stations {
    /// An empty table.
    pub fn new(config: StationsConfig) -> Self {
        let buckets = config.capacity.div_ceil(WAYS).next_power_of_two();
        Self {
            buckets: (0..buckets).map(|_| Bucket::default()).collect(),
            aging_seconds: config.aging.as_secs().min(u64::from(u32::MAX)) as u32,
            seed: config.seed,
        }
    }

    /// How many stations fit at most.
    pub fn capacity(&self) -> usize {
        self.buckets.len() * WAYS
    }

    /// Notes that a frame from `mac` in `vlan` came in by `port`.
    pub fn learn(&self, vlan: u16, mac: MacAddr, port: PortId, now: Nanos) -> Learned {
        self.learn_key(Key::new(vlan, mac.to_u64()), port, Second::of(now))
    }

    /// The port that leads to `mac` in `vlan`, unless it was not heard of for the aging time.
    pub fn find(&self, vlan: u16, mac: MacAddr, now: Nanos) -> Option<PortId> {
        self.find_key(Key::new(vlan, mac.to_u64()), Second::of(now))
    }

    /// Makes `mac` in `vlan` a station that is always at `port`: it never moves, and is never forgotten. With
    /// [`PortId::NONE`] it is the node itself, and frames to it that no function claims go nowhere. Meant for the
    /// time before the workers run: one that learns the same station at the same moment may undo it.
    ///
    /// # Errors
    /// [`NoRoomToPin`] if its bucket has none.
    pub fn pin(&self, vlan: u16, mac: MacAddr, port: PortId) -> Result<(), NoRoomToPin> {
        let key = Key::new(vlan, mac.to_u64());
        let bucket = self.bucket(key);
        loop {
            if let Some((way, value)) = bucket.look(key) {
                if bucket.swap(way, value, value.with(PRESENT | PINNED, port, Second(0))) {
                    return Ok(());
                }
                continue;
            }
            let (way, value) = self.victim(bucket, Second(0)).ok_or(NoRoomToPin { vlan, mac })?;
            if bucket.give(way, value, key, PINNED, port, Second(0)) {
                return Ok(());
            }
        }
    }

    /// The stations of the table, in no order. Those that come or go meanwhile may be missing.
    pub fn snapshot(&self, now: Nanos) -> impl Iterator<Item = Station> + '_ {
        let now = Second::of(now);
        let ways = self.buckets.iter().flat_map(|bucket| (0..WAYS).filter_map(|way| bucket.read(way)));
        ways.filter(move |(_, value)| !self.is_expired(*value, now)).map(move |(key, value)| Station {
            vlan: (key.0 >> 48) as u16,
            mac: MacAddr::from_u64(key.0),
            port: value.port(),
            idle: Duration::from_secs(if value.has(PINNED) { 0 } else { value.age(now).into() }),
            pinned: value.has(PINNED),
        })
    }

    #[inline]
    pub(crate) fn find_key(&self, key: Key, now: Second) -> Option<PortId> {
        let (_, value) = self.bucket(key).look(key)?;
        (!self.is_expired(value, now)).then(|| value.port())
    }

    #[inline]
    pub(crate) fn learn_key(&self, key: Key, port: PortId, now: Second) -> Learned {
        match self.bucket(key).look(key) {
            Some((_, value)) if value.port() == port && (value.second() >= now || value.has(PINNED)) => {
                Learned::Known
            }
            Some((way, value)) => self.hear_again(key, way, value, port, now),
            None if key.is_station() => self.add(key, port, now),
            None => Learned::Ignored,
        }
    }

    #[cold]
    fn hear_again(&self, key: Key, way: usize, value: Value, port: PortId, now: Second) -> Learned {
        if value.has(PINNED) {
            return Learned::Refused;
        }
        // If someone else was first, the way says something as new as this.
        self.bucket(key).swap(way, value, value.with(PRESENT, port, now.max(value.second())));
        match value.port() == port {
            _ if self.is_expired(value, now) => Learned::New,
            true => Learned::Known,
            false => Learned::Moved,
        }
    }

    #[cold]
    fn add(&self, key: Key, port: PortId, now: Second) -> Learned {
        let bucket = self.bucket(key);
        meanwhile();
        let Some((way, value)) = self.victim(bucket, now) else { return Learned::Ignored };
        if !bucket.give(way, value, key, 0, port, now) {
            return Learned::Ignored;
        }
        bucket.drop_duplicates(key);
        if value.has(PRESENT) && !self.is_expired(value, now) { Learned::Evicted } else { Learned::New }
    }

    /// The way to give away: an empty one, or else the one that was heard of least recently.
    fn victim(&self, bucket: &Bucket, now: Second) -> Option<(usize, Value)> {
        let ways = bucket.values.iter().map(|value| Value(value.load(Ordering::Acquire))).enumerate();
        let free = ways.filter(|(_, value)| !value.has(PINNED | CLAIMED));
        free.max_by_key(|(_, value)| if value.has(PRESENT) { u64::from(value.age(now)) } else { u64::MAX })
    }

    #[inline]
    fn is_expired(&self, value: Value, now: Second) -> bool {
        value.age(now) > self.aging_seconds && !value.has(PINNED)
    }

    #[inline]
    fn bucket(&self, key: Key) -> &Bucket {
        // A multiplication folded onto itself: every bit of the key reaches the low bits of the hash.
        let product = u128::from(key.0 ^ self.seed) * 0x9e37_79b9_7f4a_7c15;
        let hash = (product >> 64) as usize ^ product as usize;
        &self.buckets[hash & (self.buckets.len() - 1)]
    }
}

/// Where a test lets another worker act.
#[cfg(not(test))]
#[inline(always)]
fn meanwhile() {}

#[cfg(test)]
use tests::meanwhile;

#[cfg(test)]
#[path = "stations_tests.rs"]
mod tests;
