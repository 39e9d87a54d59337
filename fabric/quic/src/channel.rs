//! Channels: what is said between nodes, by whom understood, and within which bounds.
//!
//! A channel is a constant that both ends share. Its number goes over the wire and never changes its meaning; 0 is the
//! endpoint's own.

/// The number of the endpoint's own channel.
pub(crate) const CONTROL: u8 = 0;

/// Bytes of a message, request, reply or chunk that no channel may exceed.
pub const MAX_BYTES: usize = 256 << 20;

/// One-way messages, in order, to each peer. Sending never blocks: what does not fit the queue is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Messages {
    pub(crate) number: u8,
    pub(crate) name: &'static str,
    pub(crate) max_bytes: usize,
    pub(crate) queue_messages: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) inbox_messages: usize,
    pub(crate) inbox_bytes: usize,
}

impl Messages {
    /// Messages of 1 MiB at most; 4096 of them and 16 MiB wait for a peer, and as many here for who takes them.
    ///
    /// # Panics
    /// If the number is 0.
    pub const fn new(number: u8, name: &'static str) -> Self {
        assert!(number != CONTROL, "channel 0 is the endpoint's own");
        Self {
            number,
            name,
            max_bytes: 1 << 20,
            queue_messages: 4096,
            queue_bytes: 16 << 20,
            inbox_messages: 4096,
            inbox_bytes: 16 << 20,
        }
    }

    /// With messages of `bytes` at most, and queues that hold at least one.
    ///
    /// # Panics
    /// If that is more than [`MAX_BYTES`].
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        assert!(bytes <= MAX_BYTES, "beyond what a channel may carry");
        self.max_bytes = bytes;
        if self.queue_bytes < bytes {
            self.queue_bytes = bytes;
        }
        if self.inbox_bytes < bytes {
            self.inbox_bytes = bytes;
        }
        self
    }

    /// With so much waiting for each peer; beyond it the newest is dropped.
    ///
    /// # Panics
    /// If that cannot hold the largest message.
    pub const fn queue(mut self, messages: usize, bytes: usize) -> Self {
        assert!(messages > 0 && bytes >= self.max_bytes, "the queue cannot hold the largest message");
        self.queue_messages = messages;
        self.queue_bytes = bytes;
        self
    }

    /// With so much waiting here, of all peers together; beyond it peers have to wait.
    ///
    /// # Panics
    /// If that cannot hold the largest message, or is 4 GiB or more.
    pub const fn inbox(mut self, messages: usize, bytes: usize) -> Self {
        assert!(messages > 0 && bytes >= self.max_bytes, "the inbox cannot hold the largest message");
        assert!(bytes <= u32::MAX as usize, "an inbox is below 4 GiB");
        self.inbox_messages = messages;
        self.inbox_bytes = bytes;
        self
    }
}

/// Requests, each with one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    pub(crate) number: u8,
    pub(crate) name: &'static str,
    pub(crate) max_request_bytes: usize,
    pub(crate) max_reply_bytes: usize,
    pub(crate) concurrent: usize,
}

impl Calls {
    /// Requests and replies of 1 MiB at most; 1024 calls answered at a time, of all peers together.
    ///
    /// # Panics
    /// If the number is 0.
    pub const fn new(number: u8, name: &'static str) -> Self {
        assert!(number != CONTROL, "channel 0 is the endpoint's own");
        Self { number, name, max_request_bytes: 1 << 20, max_reply_bytes: 1 << 20, concurrent: 1024 }
    }

    /// With requests and replies of so many bytes at most.
    ///
    /// # Panics
    /// If that is more than [`MAX_BYTES`].
    pub const fn max_bytes(mut self, request: usize, reply: usize) -> Self {
        assert!(request <= MAX_BYTES && reply <= MAX_BYTES, "beyond what a channel may carry");
        self.max_request_bytes = request;
        self.max_reply_bytes = reply;
        self
    }

    /// With so many calls answered at a time; further ones are refused as busy.
    pub const fn concurrent(mut self, calls: usize) -> Self {
        self.concurrent = calls;
        self
    }
}

/// Streams of chunks, both ways, for what is long or has no end: snapshots, watches. Who is slow slows the other
/// down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    pub(crate) number: u8,
    pub(crate) name: &'static str,
    pub(crate) max_chunk_bytes: usize,
    pub(crate) concurrent: usize,
}

impl Streams {
    /// Chunks of 1 MiB at most; 64 streams served at a time, of all peers together.
    ///
    /// # Panics
    /// If the number is 0.
    pub const fn new(number: u8, name: &'static str) -> Self {
        assert!(number != CONTROL, "channel 0 is the endpoint's own");
        Self { number, name, max_chunk_bytes: 1 << 20, concurrent: 64 }
    }

    /// With chunks of `bytes` at most.
    ///
    /// # Panics
    /// If that is more than [`MAX_BYTES`].
    pub const fn max_chunk_bytes(mut self, bytes: usize) -> Self {
        assert!(bytes <= MAX_BYTES, "beyond what a channel may carry");
        self.max_chunk_bytes = bytes;
        self
    }

    /// With so many streams served at a time; further ones are refused as busy.
    pub const fn concurrent(mut self, streams: usize) -> Self {
        self.concurrent = streams;
        self
    }
}
