//! Members, distributions, and the ring made of both.

use serde::{Deserialize, Serialize};

use super::continuum::{Continuum, Site};
use super::functions::KeyHash;
use super::jump;
use super::rendezvous::Rendezvous;

/// The weights of a ring's live members may add up to so much: modula and jump keep one entry for each unit.
pub const MAX_SHARES: usize = 1 << 16;
/// The longest name that twemproxy hashes whole, with `-` and five digits behind it.
const MAX_KETAMA_NAME_LEN: usize = 79;
/// memcached's port, which both twemproxy and libmemcached leave out of the name that they hash.
const DEFAULT_PORT: &str = ":11211";

/// A member of a pool: an index into the list that the ring was built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberIndex(pub u16);

/// How keys are spread over members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// twemproxy's `ketama`.
    #[default]
    Ketama,
    /// libmemcached's `MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED`; its clients hash keys with [`KeyHash::Md5`].
    KetamaLibmemcached,
    /// libmemcached's `MEMCACHED_BEHAVIOR_KETAMA`; it knows no weights. Its points are made with the key hash, which
    /// is [`KeyHash::OneAtATime`] unless the client chose another.
    KetamaLibmemcachedUnweighted,
    /// twemproxy's `modula`: the hash modulo the sum of the weights.
    Modula,
    /// Highest random weight.
    Rendezvous,
    /// Jump consistent hash over the members in order, each as many buckets as its weight.
    Jump,
}

/// What a ring needs to know of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What is hashed: `host:port` as clients have it configured, or twemproxy's alias.
    pub name: String,
    /// Its share of the keys, relative to the others'; at least 1.
    pub weight: u32,
    /// A dead member gets no keys, as if it were not in the list.
    pub alive: bool,
}

/// Why no ring can be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RingError {
    #[error("no member is alive")]
    NoMembers,
    #[error("{0} members were listed, a ring takes {max}", max = u16::MAX)]
    TooManyMembers(usize),
    #[error("member {0} has weight 0, give it at least 1")]
    ZeroWeight(String),
    #[error("the weights add up to more than {MAX_SHARES}, divide them by a common factor")]
    TooMuchWeight,
    #[error("two members are called {0}, and would get the same keys")]
    SameName(String),
    #[error("member name {0} is longer than {MAX_KETAMA_NAME_LEN} bytes, give it an alias")]
    NameTooLong(String),
    #[error("the weights are so uneven that no member gets a point")]
    NoPoints,
}

/// The map from keys to members.
#[derive(Clone, Debug)]
pub struct Ring {
    hash: KeyHash,
    hash_tag: Option<[u8; 2]>,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    One(MemberIndex),
    Continuum(Continuum),
    Modula(Box<[MemberIndex]>),
    Jump(Box<[MemberIndex]>),
    Rendezvous(Rendezvous),
}

impl Ring {
    /// Builds the ring over the live ones of `members`.
    ///
    /// `hash_tag` is twemproxy's: if a key holds the first byte and, later, the second, only what is between them is
    /// hashed (unless that is nothing). Allocates, and takes a millisecond for some hundred members.
    ///
    /// # Errors
    /// If no member is alive, or a name or weight cannot be used.
    pub fn build(
        distribution: Distribution,
        hash: KeyHash,
        hash_tag: Option<[u8; 2]>,
        members: &[Member],
    ) -> Result<Ring, RingError> {
        check(members, distribution)?;
        let live: Vec<Site<'_>> = (0u16..)
            .zip(members)
            .filter(|(_, member)| member.alive)
            .map(|(index, member)| Site {
                index: MemberIndex(index),
                name: &member.name,
                weight: member.weight,
            })
            .collect();
        let shape = shape(distribution, hash, &live)?;
        Ok(Ring { hash, hash_tag, shape })
    }

    /// The member that `key` belongs to.
    #[inline]
    pub fn locate(&self, key: &[u8]) -> MemberIndex {
        self.locate_hash(self.hash(key))
    }

    /// The hash of `key` on this ring.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u32 {
        self.hash.hash(self.hashed_part(key))
    }

    /// The hashes of four keys. Most hash functions are one long chain of dependent steps: who has many keys hashes
    /// them together and [locates](Ring::locate_hash) them then.
    #[inline]
    pub fn hash_four(&self, keys: [&[u8]; 4]) -> [u32; 4] {
        self.hash.hash_four(keys.map(|key| self.hashed_part(key)))
    }

    /// The member that keys with this [hash](Ring::hash) belong to.
    #[inline]
    pub fn locate_hash(&self, hash: u32) -> MemberIndex {
        match &self.shape {
            Shape::Continuum(continuum) => continuum.locate(hash),
            Shape::One(member) => *member,
            Shape::Modula(shares) => shares[hash as usize % shares.len()],
            Shape::Jump(shares) => shares[jump::bucket(hash.into(), shares.len())],
            Shape::Rendezvous(rendezvous) => rendezvous.locate(hash),
        }
    }

    #[inline]
    fn hashed_part<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        match self.hash_tag {
            Some(tag) => tagged(tag, key).unwrap_or(key),
            None => key,
        }
    }
}

fn tagged([open, close]: [u8; 2], key: &[u8]) -> Option<&[u8]> {
    let start = key.iter().position(|&byte| byte == open)? + 1;
    let len = key[start..].iter().position(|&byte| byte == close)?;
    (len > 0).then(|| &key[start..start + len])
}

fn check(members: &[Member], distribution: Distribution) -> Result<(), RingError> {
    if members.len() > usize::from(u16::MAX) {
        return Err(RingError::TooManyMembers(members.len()));
    }
    let mut names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(RingError::SameName(pair[0].to_owned()));
    }
    if let Some(member) = members.iter().find(|member| member.weight == 0) {
        return Err(RingError::ZeroWeight(member.name.clone()));
    }
    let too_long = |member: &&Member| member.name.len() > MAX_KETAMA_NAME_LEN;
    match members.iter().find(too_long) {
        Some(member) if distribution == Distribution::Ketama => {
            Err(RingError::NameTooLong(member.name.clone()))
        }
        _ => Ok(()),
    }
}

fn shape(distribution: Distribution, hash: KeyHash, live: &[Site<'_>]) -> Result<Shape, RingError> {
    let continuum = match distribution {
        _ if live.is_empty() => return Err(RingError::NoMembers),
        _ if live.len() == 1 => return Ok(Shape::One(live[0].index)),
        Distribution::Ketama | Distribution::KetamaLibmemcached => Continuum::weighted(&short_names(live)),
        Distribution::KetamaLibmemcachedUnweighted => Continuum::unweighted(&short_names(live), hash),
        Distribution::Modula => return shares(live).map(Shape::Modula),
        Distribution::Jump => return shares(live).map(Shape::Jump),
        Distribution::Rendezvous => {
            let members = live.iter().map(|site| (site.index, site.name, site.weight));
            return Ok(Shape::Rendezvous(Rendezvous::new(members)));
        }
    };
    if continuum.is_empty() { Err(RingError::NoPoints) } else { Ok(Shape::Continuum(continuum)) }
}

fn short_names<'a>(live: &[Site<'a>]) -> Vec<Site<'a>> {
    let short = |name: &'a str| name.strip_suffix(DEFAULT_PORT).unwrap_or(name);
    live.iter().map(|site| Site { name: short(site.name), ..*site }).collect()
}

/// Each member as often as its weight says.
fn shares(live: &[Site<'_>]) -> Result<Box<[MemberIndex]>, RingError> {
    if live.iter().map(|site| site.weight as usize).sum::<usize>() > MAX_SHARES {
        return Err(RingError::TooMuchWeight);
    }
    Ok(live.iter().flat_map(|site| std::iter::repeat_n(site.index, site.weight as usize)).collect())
}
