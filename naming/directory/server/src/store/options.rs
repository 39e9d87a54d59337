//! How RocksDB is set up.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, Options,
};

use super::StoreError;

pub(super) const META: &str = "meta";
pub(super) const LOG: &str = "log";
pub(super) const STATE: &str = "state";

/// Bytes of entries in memory before they become a file: most are compacted away before that.
const LOG_BUFFER: usize = 64 << 20;
/// Bytes of chunks in memory before they become a file.
const STATE_BUFFER: usize = 16 << 20;
/// Bytes of write-ahead logs: beyond, RocksDB writes out whichever family holds the oldest one back, which is `meta`.
const MAX_WAL: u64 = 256 << 20;
/// Bytes of blocks kept in memory. Little is ever read twice.
const CACHE: usize = 8 << 20;
/// Files of RocksDB's own log, and bytes of each.
const INFO_LOGS: (usize, usize) = (3, 1 << 20);

pub(super) fn open(path: &Path) -> Result<DB, StoreError> {
    let cache = Cache::new_lru_cache(CACHE);
    let families = [(META, STATE_BUFFER), (LOG, LOG_BUFFER), (STATE, STATE_BUFFER)]
        .map(|(name, buffer)| ColumnFamilyDescriptor::new(name, family(buffer, &cache)));
    DB::open_cf_descriptors(&database(), path.join("db"), families).map_err(|problem| {
        let path = path.to_owned();
        // RocksDB's errors for these are I/O errors like any other.
        let says = |text: &str| problem.as_ref().contains(text);
        match () {
            () if says("While lock file") || says("lock hold") => StoreError::InUse { path },
            () if says("No space left") => StoreError::Write(problem),
            () => StoreError::Open { path, problem },
        }
    })
}

fn database() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_paranoid_checks(true);
    options.set_max_total_wal_size(MAX_WAL);
    // What is synced is in the write-ahead log: a stop need not wait for more.
    options.set_avoid_unnecessary_blocking_io(true);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(INFO_LOGS.0);
    options.set_max_log_file_size(INFO_LOGS.1);
    options.set_bytes_per_sync(1 << 20);
    options
}

fn family(buffer: usize, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(buffer);
    options.set_compression_type(DBCompressionType::None);
    options
}
