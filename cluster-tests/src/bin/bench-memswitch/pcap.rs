//! Capture files (draft-ietf-opsawg-pcap).

use std::io::{self, Write};

/// Microsecond timestamps, in the byte order of what follows.
const MAGIC: u32 = 0xa1b2_c3d4;
const LINKTYPE_ETHERNET: u32 = 1;
const SNAP_LEN: u32 = 65_535;

/// Writes `frames` as a capture file, a microsecond apart.
///
/// # Errors
/// Those of `to`.
pub(crate) fn write(mut to: impl Write, frames: &[Vec<u8>]) -> io::Result<()> {
    // Version 2.4, two fields that are always zero, the snap length and the link type.
    for word in [MAGIC, 4 << 16 | 2, 0, 0, SNAP_LEN, LINKTYPE_ETHERNET] {
        to.write_all(&word.to_le_bytes())?;
    }
    for (number, frame) in frames.iter().enumerate() {
        let len = frame.len() as u32;
        for word in [number as u32 / 1_000_000, number as u32 % 1_000_000, len, len] {
            to.write_all(&word.to_le_bytes())?;
        }
        to.write_all(frame)?;
    }
    to.flush()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_file_of_one_frame() {
        let mut file = Vec::new();
        super::write(&mut file, &[vec![1; 60]]).unwrap();
        assert_eq!(file.len(), 24 + 16 + 60);
        assert_eq!(file[..8], [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
        assert_eq!(file[32..40], [60, 0, 0, 0, 60, 0, 0, 0]);
    }
}
