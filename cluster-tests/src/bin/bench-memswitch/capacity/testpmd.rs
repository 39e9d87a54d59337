//! The limit: DPDK's own test program on the same file and the same core.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use cluster_tests::rack::find_program;
use fabric_dpdk::free_huge_pages_mib;

use super::worker::{PACKET_BUFFERS, memory_mib};

/// How long testpmd may take to print its first numbers.
const DEADLINE: Duration = Duration::from_secs(15);

/// The command line: the EAL's part, then testpmd's. Both arms take huge pages if there are enough.
pub(crate) fn arguments(pcap: &Path, huge_pages: bool) -> Vec<String> {
    let input = format!("--vdev=net_pcap0,rx_pcap={},infinite_rx=1", pcap.display());
    let memory: &[&str] = if huge_pages { &["--in-memory"] } else { &["--no-huge", "--no-shconf"] };
    let mut all: Vec<String> = ["-l", "0,1", "--no-pci", "--no-telemetry"].map(str::to_owned).into();
    all.extend(memory.iter().copied().map(str::to_owned));
    all.extend(["-m".to_owned(), memory_mib().to_string(), input]);
    let buffers = format!("--total-num-mbufs={PACKET_BUFFERS}");
    all.extend(
        ["--", "--forward-mode=macswap", &buffers, "--auto-start", "--stats-period=1"].map(str::to_owned),
    );
    all
}

/// Millions of packets each second that testpmd forwards with `macswap`. Takes about `periods` + 2 seconds.
///
/// # Errors
/// If testpmd is missing, ends early or prints no numbers.
pub(crate) fn macswap_mpps(pcap: &Path, periods: usize) -> Result<f64, Box<dyn Error>> {
    let mut child = Command::new(find_program("dpdk-testpmd")?)
        .args(arguments(pcap, free_huge_pages_mib() >= u64::from(memory_mib())))
        // It stops at the end of its input.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let rates = rates(&mut child, periods);
    let _ = child.kill();
    child.wait()?;
    let rates = rates?;
    Ok(rates.iter().sum::<f64>() / rates.len() as f64 / 1e6)
}

/// The rates of so many periods, the first left out.
fn rates(child: &mut Child, periods: usize) -> Result<Vec<f64>, Box<dyn Error>> {
    let output = child.stdout.take().ok_or("testpmd has no output")?;
    let (send, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    let (deadline, mut rates) = (Instant::now() + DEADLINE, Vec::new());
    while rates.len() <= periods {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = lines
            .recv_timeout(left)
            .map_err(|_| "dpdk-testpmd printed no rate; run it by hand to see why")?;
        rates.extend(rate(&line).filter(|rate| *rate > 0.0));
    }
    Ok(rates.split_off(1))
}

/// The number in `  Rx-pps:     49123456          Rx-bps:  28294...`.
fn rate(line: &str) -> Option<f64> {
    line.trim_start().strip_prefix("Rx-pps:")?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn reads_testpmds_statistics() {
        assert_eq!(rate("  Rx-pps:     49123456          Rx-bps:  28294111000"), Some(49_123_456.0));
        assert_eq!(rate("  Tx-pps:            7          Tx-bps:            0"), None);
    }
}
