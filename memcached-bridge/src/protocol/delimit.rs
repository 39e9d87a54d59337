//! Where the replies of a server end in their stream, without holding them.
//!
//! Whoever asked knows which [`Shape`] the next reply has. A [`Delimiter`] cuts it into [`Piece`]s: whole lines and
//! headers, and as much of a value as is there. Only a line or a header that has not arrived to its end must be kept.

use super::MAX_VALUE_LEN;
use super::binary::{HEADER_LEN, Header, MAGIC_RESPONSE};

/// The longest line that a server's reply may have, in bytes.
pub const MAX_REPLY_LINE: usize = 4096;

/// What a reply looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One line.
    Line,
    /// `VALUE` items and `END`, or one other line.
    Items,
    /// A line of a meta command; a value behind it if it begins with `VA`.
    Meta,
    /// As [`Meta`](Shape::Meta), or nothing, and then `MN`: a quiet meta command with `mn` behind it.
    MetaThenNoop,
    /// Lines until `END`, or one line that is no `STAT`.
    Listing,
    /// One binary packet.
    Binary,
    /// Binary packets until one without a key, or one that is an error.
    BinaryListing,
}

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A part of an item or of another body: a `VALUE` or `VA` line, bytes of a value, a line of a listing.
    Item,
    /// The line that ends items, a listing, or a command with `mn` behind it. It says nothing else.
    End,
    /// A line or a header that is the reply, or its beginning (binary).
    Status,
}

/// The front of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes.
    pub len: usize,
    /// What it is.
    pub kind: Kind,
    /// An item has begun and not ended.
    pub within_item: bool,
    /// The reply ends with it.
    pub last: bool,
}

/// The stream holds no reply of the shape that was asked for: nothing behind this can be told apart any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server sent what is no reply to the request")]
pub struct Garbled;

/// How far into a reply its stream has been read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delimiter {
    /// Bytes of the value, its line end included, that are still to come.
    value: usize,
    /// The reply ends with the value.
    ends: bool,
}

impl Delimiter {
    /// The next piece of a reply of `shape` at the front of `input`. `None` if a line or header is not all there:
    /// call again with more behind the same bytes.
    ///
    /// # Errors
    /// [`Garbled`]
    #[inline]
    pub fn next(&mut self, shape: Shape, input: &[u8]) -> Result<Option<Piece>, Garbled> {
        if self.value > 0 {
            return Ok((!input.is_empty()).then(|| self.take(0, Kind::Item, input.len())));
        }
        match shape {
            Shape::Binary | Shape::BinaryListing => self.packet(shape, input),
            _ => self.line(shape, input),
        }
    }

    fn line(&mut self, shape: Shape, input: &[u8]) -> Result<Option<Piece>, Garbled> {
        let Some(end) = super::ascii::find(input, b'\n') else {
            return if input.len() > MAX_REPLY_LINE { Err(Garbled) } else { Ok(None) };
        };
        let (line, len) = (&input[..end], end + 1);
        let whole = |kind, last| Ok(Some(Piece { len, kind, within_item: false, last }));
        match shape {
            Shape::Items if line.starts_with(b"VALUE ") => {
                let value = item_len(line).ok_or(Garbled)?;
                Ok(Some(self.begin(len, Kind::Item, value, false, input.len())))
            }
            Shape::Meta | Shape::MetaThenNoop if line.starts_with(b"VA ") => {
                let value = value_len(&line[3..]).ok_or(Garbled)?;
                let ends = shape == Shape::Meta;
                Ok(Some(self.begin(len, Kind::Item, value, ends, input.len())))
            }
            Shape::Listing if line.starts_with(b"STAT ") || line.starts_with(b"ITEM ") => {
                whole(Kind::Item, false)
            }
            Shape::Items | Shape::Listing if line == b"END\r" => whole(Kind::End, true),
            Shape::MetaThenNoop if line == b"MN\r" => whole(Kind::End, true),
            Shape::MetaThenNoop => whole(Kind::Status, false),
            _ => whole(Kind::Status, true),
        }
    }

    /// A head of `head` bytes with a value and its line end behind it.
    fn begin(&mut self, head: usize, kind: Kind, value: usize, ends: bool, available: usize) -> Piece {
        self.value = value + 2;
        self.ends = ends;
        self.take(head, kind, available)
    }

    /// `head` bytes and what there is of the value.
    fn take(&mut self, head: usize, kind: Kind, available: usize) -> Piece {
        let value = self.value.min(available - head);
        self.value -= value;
        let within_item = self.value > 0;
        Piece { len: head + value, kind, within_item, last: !within_item && self.ends }
    }

    fn packet(&mut self, shape: Shape, input: &[u8]) -> Result<Option<Piece>, Garbled> {
        if input.first().is_some_and(|&magic| magic != MAGIC_RESPONSE) {
            return Err(Garbled);
        }
        let Some(header) = Header::parse(input) else { return Ok(None) };
        let listed = shape == Shape::BinaryListing && header.status == 0 && header.key_len > 0;
        self.value = header.body_len as usize;
        self.ends = !listed;
        Ok(Some(self.take(HEADER_LEN, Kind::Status, input.len())))
    }
}

/// The length of the value behind `VALUE <key> <flags> <bytes> [<cas>]`.
fn item_len(line: &[u8]) -> Option<usize> {
    let rest = &line[b"VALUE ".len()..];
    let key = super::ascii::find(rest, b' ')?;
    let rest = &rest[key + 1..];
    let flags = super::ascii::find(rest, b' ')?;
    value_len(&rest[flags + 1..])
}

/// The number at the front of `rest`, up to a space or the line's end.
fn value_len(rest: &[u8]) -> Option<usize> {
    let mut len = 0;
    for (index, byte) in rest.iter().enumerate() {
        match byte {
            b'0'..=b'9' if len <= MAX_VALUE_LEN => len = len * 10 + usize::from(byte - b'0'),
            b' ' | b'\r' if index > 0 && len <= MAX_VALUE_LEN => return Some(len),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts `stream`, which comes in pieces of `step` bytes, by `shapes`. Returns the replies and the bytes of the
    /// pieces that ended within an item.
    fn cut(stream: &[u8], shapes: &[Shape], step: usize) -> Result<Vec<Vec<u8>>, Garbled> {
        let (mut replies, mut reply, mut held) = (Vec::new(), Vec::new(), Vec::new());
        let mut delimiter = Delimiter::default();
        for bytes in stream.chunks(step) {
            held.extend_from_slice(bytes);
            while let Some(shape) = shapes.get(replies.len()) {
                let Some(piece) = delimiter.next(*shape, &held)? else { break };
                assert!(!(piece.last && piece.within_item), "{piece:?}");
                reply.extend(held.drain(..piece.len));
                if piece.last {
                    replies.push(std::mem::take(&mut reply));
                }
            }
        }
        assert!(held.is_empty() && reply.is_empty(), "left: {held:?}, {reply:?}");
        Ok(replies)
    }

    fn packet(status: u16, key: &[u8], value: &[u8]) -> Vec<u8> {
        let header = Header {
            magic: MAGIC_RESPONSE,
            opcode: 0x10,
            key_len: key.len() as u16,
            extras_len: 0,
            data_type: 0,
            status,
            body_len: (key.len() + value.len()) as u32,
            opaque: 7,
            cas: 0,
        };
        [&header.to_bytes()[..], key, value].concat()
    }

    #[test]
    fn replies_are_cut_where_they_end_however_they_arrive() {
        let listing = [packet(0, b"pid", b"1"), packet(0, b"version", b"2"), packet(0, b"", b"")].concat();
        let table: Vec<(Shape, Vec<u8>)> = vec![
            (Shape::Line, b"STORED\r\n".to_vec()),
            (Shape::Items, b"END\r\n".to_vec()),
            (Shape::Items, b"VALUE a 0 5\r\nEND\r\n\r\nEND\r\n".to_vec()),
            (Shape::Items, b"VALUE a 0 0\r\n\r\nVALUE b 4294967295 1 77\r\n\n\r\nEND\r\n".to_vec()),
            (Shape::Items, b"SERVER_ERROR out of memory writing get response\r\n".to_vec()),
            (Shape::Meta, b"EN\r\n".to_vec()),
            (Shape::Meta, b"HD f0 Oabc\r\n".to_vec()),
            (Shape::Meta, b"VA 4 c5\r\n\r\n\r\n\r\n".to_vec()),
            (Shape::MetaThenNoop, b"MN\r\n".to_vec()),
            (Shape::MetaThenNoop, b"HD\r\nMN\r\n".to_vec()),
            (Shape::MetaThenNoop, b"VA 2\r\nMN\r\nMN\r\n".to_vec()),
            (Shape::Listing, b"STAT a 1\r\nSTAT b END\r\nEND\r\n".to_vec()),
            (Shape::Listing, b"RESET\r\n".to_vec()),
            (Shape::Binary, packet(1, b"", b"Not found")),
            (Shape::Binary, packet(0, b"", b"")),
            (Shape::BinaryListing, listing),
            (Shape::BinaryListing, packet(0x81, b"", b"Unknown command")),
        ];
        let shapes: Vec<Shape> = table.iter().map(|(shape, _)| *shape).collect();
        let stream: Vec<u8> = table.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let expected: Vec<Vec<u8>> = table.into_iter().map(|(_, bytes)| bytes).collect();
        for step in 1..=stream.len() {
            assert_eq!(cut(&stream, &shapes, step).as_ref(), Ok(&expected), "pieces of {step}");
        }
    }

    #[test]
    fn what_is_no_reply_is_garbled() {
        let long = vec![b'x'; MAX_REPLY_LINE + 1];
        for (shape, bytes) in [
            (Shape::Items, &b"VALUE a 0 x\r\n"[..]),
            (Shape::Items, b"VALUE a 0\r\n"),
            (Shape::Items, b"VALUE a 0 99999999999\r\n"),
            (Shape::Meta, b"VA -1\r\n"),
            (Shape::Line, &long),
            (Shape::Binary, b"STORED\r\n"),
        ] {
            assert_eq!(Delimiter::default().next(shape, bytes), Err(Garbled), "{shape:?}");
        }
    }
}
