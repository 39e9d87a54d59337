//! Jump consistent hash: Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm" (2014).

/// The bucket of `key` out of `buckets` (at least one).
pub(super) fn bucket(mut key: u64, buckets: usize) -> usize {
    let mut bucket = 0;
    let mut next = 0;
    while next < buckets as u64 {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let steps = (1u64 << 31) as f64 / ((key >> 33) + 1) as f64;
        next = ((bucket + 1) as f64 * steps) as u64;
    }
    bucket as usize
}
