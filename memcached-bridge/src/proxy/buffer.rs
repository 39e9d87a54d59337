//! Bytes that wait to be sent, in memory that connections take turns with.

/// Buffers that are kept for reuse, at most, and the largest that is.
const KEPT: usize = 64;
const KEPT_BYTES: usize = 256 * 1024;

/// Empty buffers. An idle connection owns none.
#[derive(Debug, Default)]
pub(super) struct Spares(Vec<Vec<u8>>);

impl Spares {
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    pub(super) fn put(&mut self, mut bytes: Vec<u8>) {
        if self.0.len() < KEPT && (1..=KEPT_BYTES).contains(&bytes.capacity()) {
            bytes.clear();
            self.0.push(bytes);
        }
    }

    /// Gives the memory of `bytes` back if it is empty.
    pub(super) fn collect(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() && bytes.capacity() > 0 {
            self.put(std::mem::take(bytes));
        }
    }

    /// `bytes` behind what `into` has, which gets memory if it has none.
    pub(super) fn append(&mut self, into: &mut Vec<u8>, bytes: &[u8]) {
        if into.capacity() == 0 && !bytes.is_empty() {
            *into = self.take();
        }
        into.extend_from_slice(bytes);
    }
}

/// Bytes in the order in which they are sent.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    sent: usize,
}

impl Buffer {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, bytes: &[u8], spares: &mut Spares) {
        if self.sent > KEPT_BYTES && self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        spares.append(&mut self.bytes, bytes);
    }

    /// Appends `bytes` and takes their memory over if that saves a copy.
    pub(super) fn push_whole(&mut self, bytes: Vec<u8>, spares: &mut Spares) {
        if self.is_empty() {
            spares.put(std::mem::replace(&mut self.bytes, bytes));
            self.sent = 0;
        } else {
            self.push(&bytes, spares);
            spares.put(bytes);
        }
    }

    /// Keeps the first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(self.sent + len);
    }

    /// `len` bytes were sent.
    pub(super) fn advance(&mut self, len: usize, spares: &mut Spares) {
        self.sent += len;
        debug_assert!(self.sent <= self.bytes.len(), "more was sent than there was");
        if self.is_empty() {
            self.sent = 0;
            self.bytes.clear();
            spares.collect(&mut self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_and_the_memory_goes_round() {
        let (mut buffer, mut spares) = (Buffer::default(), Spares::default());
        let mut expected: Vec<u8> = Vec::new();
        for round in 0..5000usize {
            let bytes: Vec<u8> = (0..round % 97).map(|index| (round + index) as u8).collect();
            match round % 3 {
                0 => buffer.push_whole(bytes.clone(), &mut spares),
                _ => buffer.push(&bytes, &mut spares),
            }
            expected.extend(bytes);
            let sent = expected.len().min(round % 80);
            assert_eq!(buffer.as_slice()[..sent], expected[..sent], "round {round}");
            buffer.advance(sent, &mut spares);
            expected.drain(..sent);
        }
        buffer.advance(buffer.len(), &mut spares);
        assert!(buffer.is_empty() && buffer.bytes.capacity() == 0 && !spares.0.is_empty());
    }
}
