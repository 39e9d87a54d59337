//! The form of what is written to disks and streamed between nodes: a log record, a chunk of a snapshot.
//!
//! ```text
//! 0..4     length of the payload, little-endian
//! 4        kind of the payload
//! 5..21    the first 16 bytes of BLAKE3 over bytes 0..5 and the payload
//! 21..     the payload
//! ```
//! A run of zeros, as a file that grew before its data arrived has it, is no frame.

/// Bytes before a payload.
pub const HEADER_LEN: usize = 21;
/// Bytes of a payload at most: what is read before its checksum could be compared.
pub const MAX_PAYLOAD_LEN: usize = 64 << 20;

const SUM: std::ops::Range<usize> = 5..HEADER_LEN;

/// A frame whose checksum held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: u8,
    /// The payload.
    pub payload: &'a [u8],
}

/// Why bytes do not begin with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// As many bytes are missing, as far as can be told.
    #[error("{0} bytes are missing at its end")]
    Truncated(usize),
    /// Its length is beyond [`MAX_PAYLOAD_LEN`].
    #[error("its length, {0}, is beyond {MAX_PAYLOAD_LEN} bytes")]
    TooLong(usize),
    /// Its checksum does not match.
    #[error("its checksum does not match")]
    Corrupt,
}

/// Appends a frame to `out`.
///
/// # Panics
/// If the payload is beyond [`MAX_PAYLOAD_LEN`].
pub fn write(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    assert!(payload.len() <= MAX_PAYLOAD_LEN, "a payload of {} bytes", payload.len());
    let start = out.len();
    out.reserve(HEADER_LEN + payload.len());
    out.extend((payload.len() as u32).to_le_bytes());
    out.push(kind);
    let sum = checksum(&out[start..], payload);
    out.extend(sum);
    out.extend(payload);
}

/// The frame that `bytes` begin with, and the bytes behind it.
///
/// # Errors
/// If they begin with none.
pub fn read(bytes: &[u8]) -> Result<(Frame<'_>, &[u8]), FrameError> {
    let Some((header, rest)) = bytes.split_at_checked(HEADER_LEN) else {
        return Err(FrameError::Truncated(HEADER_LEN - bytes.len()));
    };
    let len = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
    if len > MAX_PAYLOAD_LEN {
        return Err(FrameError::TooLong(len));
    }
    let Some((payload, rest)) = rest.split_at_checked(len) else {
        return Err(FrameError::Truncated(len - rest.len()));
    };
    if checksum(&header[..SUM.start], payload) != header[SUM] {
        return Err(FrameError::Corrupt);
    }
    Ok((Frame { kind: header[4], payload }, rest))
}

fn checksum(prefix: &[u8], payload: &[u8]) -> [u8; SUM.end - SUM.start] {
    let hash = blake3::Hasher::new().update(prefix).update(payload).finalize();
    let mut sum = [0; SUM.end - SUM.start];
    sum.copy_from_slice(&hash.as_bytes()[..SUM.end - SUM.start]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, kind, payload);
        out
    }

    #[test]
    fn the_bytes_of_a_frame() {
        let bytes = framed(7, b"abc");
        assert_eq!(&bytes[..5], [3, 0, 0, 0, 7]);
        assert_eq!(bytes[5..21], blake3::hash(b"\x03\0\0\0\x07abc").as_bytes()[..16]);
        assert_eq!(&bytes[21..], b"abc");
    }

    #[test]
    fn zeros_are_no_frame() {
        assert_eq!(read(&[0; 100]), Err(FrameError::Corrupt));
        assert_eq!(read(&[0; 20]), Err(FrameError::Truncated(1)));
        assert_eq!(read(&[255; 30]), Err(FrameError::TooLong(u32::MAX as usize)));
    }

    proptest! {
        #[test]
        fn frames_come_back(kind: u8, payload in prop::collection::vec(any::<u8>(), 0..300), rest: [u8; 3]) {
            let mut bytes = framed(kind, &payload);
            bytes.extend(rest);
            prop_assert_eq!(read(&bytes), Ok((Frame { kind, payload: &payload }, &rest[..])));
        }

        #[test]
        fn a_cut_is_truncated_and_a_flipped_bit_is_no_frame(
            payload in prop::collection::vec(any::<u8>(), 0..100), at: prop::sample::Index, bit in 0..8_u8
        ) {
            let bytes = framed(1, &payload);
            let at = at.index(bytes.len());
            prop_assert!(matches!(read(&bytes[..at]), Err(FrameError::Truncated(_))));
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            prop_assert!(read(&flipped).is_err());
        }

        #[test]
        fn any_bytes_are_frames_or_not(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&bytes);
        }
    }
}
