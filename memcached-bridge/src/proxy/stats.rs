//! `stats`: every server is asked, and what can be added up is.

use super::client::Transmit;
use super::gather::Merge;
use super::in_flight::Tag;
use super::request::{Asked, Taken};
use super::{Proxy, binary};
use crate::protocol::binary::{HEADER_LEN, Header};
use crate::protocol::delimit::Shape;

/// Bytes of one server's statistics that are held.
const MAX_LISTING: usize = 1 << 20;
/// Numbers that the first server's stand for.
const FIRST: [&[u8]; 6] = [b"pid", b"time", b"uptime", b"pointer_size", b"reserved_fds", b"max_connections"];

impl Proxy {
    pub(super) fn ask_statistics(&mut self, asked: Asked<'_>, sink: &mut dyn Transmit) -> Taken {
        let (lanes, failure) = self.lanes_to_all(&asked);
        let listing = Listing::new(lanes.len(), asked.tag(), settings(&asked));
        let parts = lanes.into_iter().map(|lane| (lane, None)).collect();
        self.post_parts(&asked, parts, failure, Merge::Statistics(listing), sink);
        Taken::Yes
    }
}

/// What the reply to `stats` looks like.
pub(super) fn shape(asked: &Asked<'_>) -> Shape {
    if asked.tag().is_some() { Shape::BinaryListing } else { Shape::Listing }
}

/// Whether it is the servers' settings that are asked for: these are not added up.
fn settings(asked: &Asked<'_>) -> bool {
    asked.request.value == b"settings" || asked.head.windows(9).any(|word| word == b" settings")
}

/// The statistics of several servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listing {
    tag: Option<Tag>,
    parts: Vec<Vec<u8>>,
    first_only: bool,
    too_long: bool,
}

impl Listing {
    fn new(parts: usize, tag: Option<Tag>, first_only: bool) -> Self {
        Self { tag, parts: vec![Vec::new(); parts], first_only, too_long: false }
    }

    pub(super) fn add(&mut self, part: u16, bytes: &[u8]) {
        let listing = &mut self.parts[usize::from(part)];
        self.too_long |= listing.len() + bytes.len() > MAX_LISTING;
        if !self.too_long {
            listing.extend_from_slice(bytes);
        }
    }

    /// One listing of all, in the order of the first.
    pub(super) fn merged(&self) -> Vec<u8> {
        if self.too_long {
            let failure = super::failure::Failure::StatsTooLong;
            return self.tag.map_or_else(|| failure.line(), |tag| binary::failure(tag, failure));
        }
        let mut names: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for part in &self.parts {
            let Some(pairs) = (match self.tag {
                None => text_pairs(part),
                Some(_) => binary_pairs(part),
            }) else {
                // An error, or what a server says to `stats reset`.
                return part.clone();
            };
            // Servers list the same names in the same order, but for slab classes that only some have.
            let mut at = 0;
            for (name, value) in pairs {
                match names[at..].iter().position(|(other, _)| other == name) {
                    Some(index) => {
                        at += index + 1;
                        self.join(name, &mut names[at - 1].1, value);
                    }
                    None => match names.iter_mut().find(|(other, _)| other == name) {
                        Some((_, sum)) => self.join(name, sum, value),
                        None => names.push((name.to_vec(), value.to_vec())),
                    },
                }
            }
        }
        self.rendered(&names)
    }

    fn join(&self, name: &[u8], sum: &mut Vec<u8>, value: &[u8]) {
        if self.first_only || FIRST.contains(&name) {
            return;
        }
        if let Some(total) = added(sum, value) {
            *sum = total.into_bytes();
        }
    }

    fn rendered(&self, names: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in names {
            match self.tag {
                Some(tag) => binary::push_reply(&mut out, tag, 0, name, value),
                None => [b"STAT ", &name[..], b" ", value, b"\r\n"].iter().for_each(|part| out.extend(*part)),
            }
        }
        match self.tag {
            Some(tag) => binary::push_reply(&mut out, tag, 0, b"", b""),
            None => out.extend_from_slice(b"END\r\n"),
        }
        out
    }
}

/// The sum of two numbers; `None` if they are none.
fn added(sum: &[u8], value: &[u8]) -> Option<String> {
    let (sum, value) = (std::str::from_utf8(sum).ok()?, std::str::from_utf8(value).ok()?);
    if let (Ok(sum), Ok(value)) = (sum.parse::<u64>(), value.parse::<u64>()) {
        return Some(sum.saturating_add(value).to_string());
    }
    let decimals = sum.rsplit_once('.').filter(|(whole, _)| whole.parse::<u64>().is_ok())?.1.len();
    let total = sum.parse::<f64>().ok()? + value.parse::<f64>().ok()?;
    Some(format!("{total:.decimals$}"))
}

type Pairs<'a> = Vec<(&'a [u8], &'a [u8])>;

fn text_pairs(listing: &[u8]) -> Option<Pairs<'_>> {
    let mut pairs = Vec::new();
    for line in listing.split(|&byte| byte == b'\n') {
        match line.strip_suffix(b"\r").unwrap_or(line) {
            b"END" => return Some(pairs),
            line => {
                let line = line.strip_prefix(b"STAT ")?;
                let space = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
                pairs.push((&line[..space], line.get(space + 1..).unwrap_or_default()));
            }
        }
    }
    None
}

fn binary_pairs(mut listing: &[u8]) -> Option<Pairs<'_>> {
    let mut pairs = Vec::new();
    while let Some(header) = Header::parse(listing) {
        if header.status != 0 {
            return None;
        }
        let body = listing.get(HEADER_LEN..HEADER_LEN + header.body_len as usize)?;
        let (key, value) = body.split_at_checked(header.key_len.into())?;
        if key.is_empty() {
            return Some(pairs);
        }
        pairs.push((key, value));
        listing = &listing[HEADER_LEN + body.len()..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_added_up_is() {
        let mut listing = Listing::new(2, None, false);
        listing
            .add(0, b"STAT pid 7\r\nSTAT get_hits 3\r\nSTAT rusage_user 0.250000\r\nSTAT version 1.6.18\r\n");
        listing.add(0, b"STAT items:1:number 1\r\nEND\r\n");
        listing
            .add(1, b"STAT pid 8\r\nSTAT get_hits 4\r\nSTAT rusage_user 1.500000\r\nSTAT version 1.6.18\r\n");
        listing.add(1, b"STAT items:2:number 5\r\nSTAT empty \r\nEND\r\n");
        let expected = "STAT pid 7\r\nSTAT get_hits 7\r\nSTAT rusage_user 1.750000\r\nSTAT version 1.6.18\r\n\
            STAT items:1:number 1\r\nSTAT items:2:number 5\r\nSTAT empty \r\nEND\r\n";
        assert_eq!(String::from_utf8(listing.merged()).unwrap(), expected);
    }

    #[test]
    fn what_is_no_listing_is_passed_on() {
        let mut listing = Listing::new(2, None, false);
        listing.add(0, b"RESET\r\n");
        listing.add(1, b"RESET\r\n");
        assert_eq!(listing.merged(), b"RESET\r\n");
    }
}
