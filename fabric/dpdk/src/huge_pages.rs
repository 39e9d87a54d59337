//! How much memory the kernel keeps free in huge pages.

use std::fs;
use std::path::Path;

const POOLS: &str = "/sys/kernel/mm/hugepages";

/// Free huge pages of all sizes and NUMA nodes, in MiB.
pub fn free_huge_pages_mib() -> u64 {
    free_mib_under(Path::new(POOLS))
}

fn free_mib_under(pools: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(pools) else { return 0 };
    let kib: u64 = entries.flatten().filter_map(|entry| free_kib(&entry.path())).sum();
    kib / 1024
}

/// `pool` is a directory such as `hugepages-2048kB`.
fn free_kib(pool: &Path) -> Option<u64> {
    let name = pool.file_name()?.to_str()?;
    let page_kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    let read = |file| fs::read_to_string(pool.join(file)).ok()?.trim().parse::<u64>().ok();
    // Reserved pages are promised to mappings that have not touched them yet.
    let free = read("free_hugepages")?.saturating_sub(read("resv_hugepages").unwrap_or(0));
    Some(free * page_kib)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_free_pages_of_all_sizes_without_the_reserved() {
        let pools = std::env::temp_dir().join(format!("huge-pages-{}", std::process::id()));
        for (size, free, reserved) in [("2048kB", "10\n", "4\n"), ("1048576kB", "1\n", "0\n")] {
            let pool = pools.join(format!("hugepages-{size}"));
            fs::create_dir_all(&pool).unwrap();
            fs::write(pool.join("free_hugepages"), free).unwrap();
            fs::write(pool.join("resv_hugepages"), reserved).unwrap();
        }
        fs::create_dir_all(pools.join("something-else")).unwrap();
        assert_eq!(free_mib_under(&pools), 6 * 2 + 1024);
        fs::remove_dir_all(&pools).unwrap();
        assert_eq!(free_mib_under(&pools), 0);
    }
}
