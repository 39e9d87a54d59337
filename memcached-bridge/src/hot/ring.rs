//! A ring of contiguous records over a stretch of the arena: appended at the head, taken at the tail. All in
//! units of [`UNIT`](super::record::UNIT) bytes.

#[derive(Clone, Debug)]
pub(super) struct Ring {
    start: usize,
    end: usize,
    head: usize,
    tail: usize,
    /// Where the records before the wrap end, while the head has wrapped and the tail has not.
    wrapped_at: Option<usize>,
    records: usize,
}

impl Ring {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start, end, head: start, tail: start, wrapped_at: None, records: 0 }
    }

    pub(super) fn capacity(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn contains(&self, position: usize) -> bool {
        (self.start..self.end).contains(&position)
    }

    /// Where the oldest record is.
    pub(super) fn oldest(&self) -> Option<usize> {
        (self.records > 0).then_some(self.tail)
    }

    /// Takes the oldest record, of length `units`, off.
    pub(super) fn pop(&mut self, units: usize) {
        debug_assert!(self.records > 0);
        self.records -= 1;
        self.tail += units;
        if self.records == 0 {
            *self = Ring::new(self.start, self.end);
        } else if self.wrapped_at == Some(self.tail) {
            self.tail = self.start;
            self.wrapped_at = None;
        }
    }

    /// A place for a record of `units` at the head, or `None` until older ones are popped.
    ///
    /// Right after a record was popped there is always a place for one of its length.
    pub(super) fn push(&mut self, units: usize) -> Option<usize> {
        let limit = if self.wrapped_at.is_some() { self.tail } else { self.end };
        if self.head + units > limit {
            if self.wrapped_at.is_some() || self.start + units > self.tail {
                return None;
            }
            self.wrapped_at = Some(self.head);
            self.head = self.start;
        }
        let position = self.head;
        self.head += units;
        self.records += 1;
        Some(position)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_never_overlap_and_leave_in_order(sizes in prop::collection::vec(1usize..40, 1..400)) {
            let mut ring = Ring::new(7, 107);
            let mut live: VecDeque<(usize, usize)> = VecDeque::new();
            for size in sizes {
                let position = loop {
                    if let Some(position) = ring.push(size) {
                        break position;
                    }
                    let (position, size) = live.pop_front().unwrap();
                    prop_assert_eq!(ring.oldest(), Some(position));
                    ring.pop(size);
                    // A record just popped can always be put back at the head.
                    let mut again = ring.clone();
                    prop_assert!(again.push(size).is_some());
                };
                prop_assert!(position >= 7 && position + size <= 107);
                for (other, len) in &live {
                    prop_assert!(position + size <= *other || other + len <= position);
                }
                live.push_back((position, size));
            }
        }
    }
}
