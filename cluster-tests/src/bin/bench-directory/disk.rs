//! The disk that members write to: durability is what they are compared at.

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

/// A small record, padded to what a disk writes at least.
const RECORD: [u8; 4096] = [0x5a; 4096];
const PROBE: Duration = Duration::from_secs(1);

/// Where members keep their data.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Disk {
    /// Its file system.
    pub(crate) file_system: String,
    /// Records of 4 KiB that one process appends and syncs each second, each before the next.
    pub(crate) syncs_per_second: f64,
}

impl Disk {
    /// Looks at what `directory` is on, and how fast it syncs.
    ///
    /// # Errors
    /// If it is in memory, or cannot be written.
    pub(crate) fn probe(directory: &Path) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let file_system = file_system(directory)?;
        if file_system == "tmpfs" || file_system == "ramfs" {
            return Err(format!(
                "{} is in memory ({file_system}), where nothing is durable: name a directory on a disk with --directory",
                directory.display()
            )
            .into());
        }
        let path = directory.join("probe");
        let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
        let (began, mut syncs) = (Instant::now(), 0);
        while began.elapsed() < PROBE {
            file.write_all(&RECORD)?;
            file.sync_data()?;
            syncs += 1;
        }
        let syncs_per_second = f64::from(syncs) / began.elapsed().as_secs_f64();
        fs::remove_file(path)?;
        Ok(Self { file_system, syncs_per_second })
    }
}

/// The kind of file system that has `path`: of the mount points above it, the nearest.
fn file_system(path: &Path) -> io::Result<String> {
    let path = path.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        path.starts_with(point).then_some((point.len(), kind))
    });
    // Of several at one place the last covers the others.
    Ok(mounted.max_by_key(|(len, _)| *len).map_or("unknown", |(_, kind)| kind).to_owned())
}

/// Bytes that the files under `directory` take on the disk. Files that go meanwhile count nothing.
pub(crate) fn usage(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => usage(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_tests::scratch::Scratch;

    #[test]
    fn files_of_all_levels_count() {
        let scratch = Scratch::new("disk-usage").unwrap();
        let deep = scratch.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        for directory in [scratch.path(), &deep] {
            fs::write(directory.join("file"), RECORD).unwrap();
        }
        assert!(usage(scratch.path()) >= 2 * RECORD.len() as u64);
        assert_eq!(usage(&scratch.path().join("nothing")), 0);
    }

    #[test]
    fn memory_is_no_disk() {
        assert_eq!(file_system(Path::new("/proc/self")).unwrap(), "proc");
        if file_system(Path::new("/dev/shm")).is_ok_and(|kind| kind == "tmpfs") {
            let error = Disk::probe(Path::new("/dev/shm")).unwrap_err();
            assert!(error.to_string().contains("--directory"), "{error}");
        }
    }
}
