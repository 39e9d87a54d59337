//! twemproxy's hash functions (`src/hashkit`), most of which come from libmemcached.
//!
//! Some treat a byte of 0x80 or more as negative, because `char` is signed where they were compiled; so do these.

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

/// A function from keys to 32 bits. The names are twemproxy's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyHash {
    /// Jenkins's one-at-a-time.
    #[serde(rename = "one_at_a_time")]
    OneAtATime,
    /// The first four bytes of MD5, least significant first.
    #[serde(rename = "md5")]
    Md5,
    /// CRC-16/XMODEM in a register of 32 bits, which keeps what is shifted out of the lower 16 (twemproxy 0.5.0).
    #[serde(rename = "crc16")]
    Crc16,
    /// libmemcached's "crc32": fifteen bits out of the middle of CRC-32.
    #[serde(rename = "crc32")]
    Crc32,
    /// CRC-32 as everyone else computes it.
    #[serde(rename = "crc32a")]
    Crc32a,
    /// The low half of 64-bit FNV-1.
    #[serde(rename = "fnv1_64")]
    Fnv1_64,
    /// The low half of 64-bit FNV-1a, twemproxy's default.
    #[default]
    #[serde(rename = "fnv1a_64")]
    Fnv1a64,
    /// 32-bit FNV-1.
    #[serde(rename = "fnv1_32")]
    Fnv1_32,
    /// 32-bit FNV-1a.
    #[serde(rename = "fnv1a_32")]
    Fnv1a32,
    /// Hsieh's SuperFastHash.
    #[serde(rename = "hsieh")]
    Hsieh,
    /// MurmurHash2, seeded with the length.
    #[serde(rename = "murmur")]
    Murmur,
    /// Jenkins's lookup3, seeded with 13.
    #[serde(rename = "jenkins")]
    Jenkins,
}

impl KeyHash {
    /// All of them.
    pub const ALL: [KeyHash; 12] = [
        KeyHash::OneAtATime,
        KeyHash::Md5,
        KeyHash::Crc16,
        KeyHash::Crc32,
        KeyHash::Crc32a,
        KeyHash::Fnv1_64,
        KeyHash::Fnv1a64,
        KeyHash::Fnv1_32,
        KeyHash::Fnv1a32,
        KeyHash::Hsieh,
        KeyHash::Murmur,
        KeyHash::Jenkins,
    ];

    /// The name in configuration files.
    pub fn name(self) -> &'static str {
        match self {
            KeyHash::OneAtATime => "one_at_a_time",
            KeyHash::Md5 => "md5",
            KeyHash::Crc16 => "crc16",
            KeyHash::Crc32 => "crc32",
            KeyHash::Crc32a => "crc32a",
            KeyHash::Fnv1_64 => "fnv1_64",
            KeyHash::Fnv1a64 => "fnv1a_64",
            KeyHash::Fnv1_32 => "fnv1_32",
            KeyHash::Fnv1a32 => "fnv1a_32",
            KeyHash::Hsieh => "hsieh",
            KeyHash::Murmur => "murmur",
            KeyHash::Jenkins => "jenkins",
        }
    }

    /// The hash of `key`.
    #[inline]
    pub fn hash(self, key: &[u8]) -> u32 {
        match self {
            KeyHash::Fnv1a64 | KeyHash::Fnv1a32 | KeyHash::Fnv1_64 | KeyHash::Fnv1_32 => {
                let [hash] = self.fnv([key]);
                hash
            }
            KeyHash::OneAtATime => one_at_a_time(key),
            KeyHash::Md5 => md5_words(key)[0],
            KeyHash::Crc16 => crc16(key),
            KeyHash::Crc32 => crc32(key) >> 16 & 0x7fff,
            KeyHash::Crc32a => crc32(key),
            KeyHash::Hsieh => hsieh(key),
            KeyHash::Murmur => murmur(key),
            KeyHash::Jenkins => jenkins(key),
        }
    }

    /// The hashes of four keys. The FNV functions take keys of equal length in step, byte by byte: four times as many
    /// independent multiplications for the processor, in vector instructions.
    #[inline]
    pub fn hash_four(self, keys: [&[u8]; 4]) -> [u32; 4] {
        let is_fnv =
            matches!(self, KeyHash::Fnv1a64 | KeyHash::Fnv1a32 | KeyHash::Fnv1_64 | KeyHash::Fnv1_32);
        if is_fnv && keys.iter().all(|key| key.len() == keys[0].len()) {
            self.fnv(keys)
        } else {
            keys.map(|key| self.hash(key))
        }
    }

    /// The FNV hashes of keys of equal length.
    #[inline]
    fn fnv<const N: usize>(self, keys: [&[u8]; N]) -> [u32; N] {
        let multiply_last = |prime: u32| move |hash: u32, byte: u32| (hash ^ byte).wrapping_mul(prime);
        let multiply_first = |prime: u32| move |hash: u32, byte: u32| hash.wrapping_mul(prime) ^ byte;
        match self {
            KeyHash::Fnv1a32 => in_step(keys, FNV_32_BASIS, multiply_last(FNV_32_PRIME)),
            KeyHash::Fnv1_32 => in_step(keys, FNV_32_BASIS, multiply_first(FNV_32_PRIME)),
            KeyHash::Fnv1_64 => in_step(keys, FNV_64_BASIS, multiply_first(FNV_64_PRIME)),
            _ => in_step(keys, FNV_64_BASIS, multiply_last(FNV_64_PRIME)),
        }
    }
}

/// The MD5 of `bytes` as four words, least significant byte first: what ketama's points are made of.
pub(super) fn md5_words(bytes: &[u8]) -> [u32; 4] {
    let digest: [u8; 16] = Md5::digest(bytes).into();
    let (words, _) = digest.as_chunks::<4>();
    [0, 1, 2, 3].map(|index: usize| u32::from_le_bytes(words[index]))
}

/// A byte as a signed `char` that was widened.
#[inline]
fn widen(byte: u8) -> u32 {
    byte as i8 as u32
}

// Only the low halves of the 64-bit constants matter, since only the low half of the result is used.
const FNV_64_BASIS: u32 = 0x8422_2325;
const FNV_64_PRIME: u32 = 0x0000_01b3;
const FNV_32_BASIS: u32 = 0x811c_9dc5;
const FNV_32_PRIME: u32 = 0x0100_0193;

/// Folds keys of equal length byte by byte, four bytes to a round: the compiler makes vectors of the lanes.
#[inline]
fn in_step<const N: usize>(keys: [&[u8]; N], basis: u32, step: impl Fn(u32, u32) -> u32) -> [u32; N] {
    let mut hashes = [basis; N];
    let len = keys.first().map_or(0, |key| key.len());
    let whole = len / 4 * 4;
    for at in (0..whole).step_by(4) {
        let words = keys.map(|key| key[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word)));
        for shift in [24, 16, 8, 0] {
            for (hash, word) in hashes.iter_mut().zip(words) {
                *hash = step(*hash, ((word << shift) as i32 >> 24) as u32);
            }
        }
    }
    for at in whole..len {
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = step(*hash, widen(key[at]));
        }
    }
    hashes
}

fn one_at_a_time(key: &[u8]) -> u32 {
    let mut hash = 0u32;
    for &byte in key {
        hash = hash.wrapping_add(widen(byte));
        hash = hash.wrapping_add(hash << 10);
        hash ^= hash >> 6;
    }
    hash = hash.wrapping_add(hash << 3);
    hash ^= hash >> 11;
    hash.wrapping_add(hash << 15)
}

fn crc16(key: &[u8]) -> u32 {
    static TABLE: [u16; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut entry = (index as u16) << 8;
            let mut bit = 0;
            while bit < 8 {
                entry = if entry >> 15 == 1 { entry << 1 ^ 0x1021 } else { entry << 1 };
                bit += 1;
            }
            table[index] = entry;
            index += 1;
        }
        table
    };
    key.iter().fold(0, |crc: u32, &byte| crc << 8 ^ u32::from(TABLE[usize::from((crc >> 8) as u8 ^ byte)]))
}

fn crc32(key: &[u8]) -> u32 {
    static TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut entry = index as u32;
            let mut bit = 0;
            while bit < 8 {
                entry = if entry & 1 == 1 { entry >> 1 ^ 0xedb8_8320 } else { entry >> 1 };
                bit += 1;
            }
            table[index] = entry;
            index += 1;
        }
        table
    };
    !key.iter().fold(u32::MAX, |crc, &byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

fn hsieh(key: &[u8]) -> u32 {
    let pair = |a: u8, b: u8| u32::from(u16::from_le_bytes([a, b]));
    let mut hash = 0u32;
    let (groups, rest) = key.as_chunks::<4>();
    for &[a, b, c, d] in groups {
        hash = hash.wrapping_add(pair(a, b));
        hash = hash << 16 ^ (pair(c, d) << 11 ^ hash);
        hash = hash.wrapping_add(hash >> 11);
    }
    match *rest {
        [a, b, c] => {
            hash = hash.wrapping_add(pair(a, b));
            hash ^= hash << 16;
            hash ^= widen(c) << 18;
            hash = hash.wrapping_add(hash >> 11);
        }
        [a, b] => {
            hash = hash.wrapping_add(pair(a, b));
            hash ^= hash << 11;
            hash = hash.wrapping_add(hash >> 17);
        }
        [a] => {
            hash = hash.wrapping_add(a.into());
            hash ^= hash << 10;
            hash = hash.wrapping_add(hash >> 1);
        }
        _ => {}
    }
    hash ^= hash << 3;
    hash = hash.wrapping_add(hash >> 5);
    hash ^= hash << 4;
    hash = hash.wrapping_add(hash >> 17);
    hash ^= hash << 25;
    hash.wrapping_add(hash >> 6)
}

fn murmur(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let len = key.len() as u32;
    let mut hash = 0xdead_beef_u32.wrapping_mul(len) ^ len;
    let (groups, rest) = key.as_chunks::<4>();
    for &group in groups {
        let mut word = u32::from_le_bytes(group).wrapping_mul(M);
        word ^= word >> 24;
        hash = hash.wrapping_mul(M) ^ word.wrapping_mul(M);
    }
    if !rest.is_empty() {
        hash = (hash ^ partial_word(rest)).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

/// Up to four bytes, least significant first, missing ones as zero.
fn partial_word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte))
}

fn jenkins(key: &[u8]) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(key.len() as u32).wrapping_add(13);
    let (mut a, mut b, mut c) = (start, start, start);
    // The last block, full or not, is finished differently.
    let split = key.len().saturating_sub(1) / 12 * 12;
    let (body, tail) = key.split_at(split);
    for block in body.chunks_exact(12) {
        (a, b, c) = add_block(a, b, c, block);
        (a, b, c) = mix(a, b, c);
    }
    if tail.is_empty() {
        return c;
    }
    (a, b, c) = add_block(a, b, c, tail);
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

fn add_block(a: u32, b: u32, c: u32, block: &[u8]) -> (u32, u32, u32) {
    let word = |index: usize| partial_word(block.chunks(4).nth(index).unwrap_or(&[]));
    (a.wrapping_add(word(0)), b.wrapping_add(word(1)), c.wrapping_add(word(2)))
}

fn mix(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    b = b.wrapping_add(a);
    (a, b, c)
}
