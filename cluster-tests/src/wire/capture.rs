//! Capturing what passes a host's link, with tcpdump: unlike a plain packet socket it gives VLAN tags back.

use super::frame::UdpView;
use crate::RackError;
use crate::rack::{Host, LINK};
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long tcpdump may take to listen.
const LISTEN_DEADLINE: Duration = Duration::from_secs(10);
/// The head of a file and of a frame in it (libpcap's savefile format).
const FILE_HEAD: usize = 24;
const FRAME_HEAD: usize = 16;

/// Which way frames go, seen from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Toward the host.
    In,
    /// Out of the host.
    Out,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    listening: bool,
    ended: bool,
    frames: Vec<Vec<u8>>,
}

/// Frames of one host's link, from when it was opened until it is dropped.
#[derive(Debug)]
pub struct Capture {
    child: Child,
    shared: Arc<Shared>,
    readers: Vec<JoinHandle<()>>,
}

impl Capture {
    /// Starts to capture frames of `direction` at `host` that match `filter` (pcap-filter(7); empty for all), and
    /// waits until tcpdump listens.
    ///
    /// # Errors
    /// [`RackError::Missing`] without tcpdump, [`RackError::Timeout`] if it does not listen (a wrong filter).
    pub fn open(host: &Host, direction: Direction, filter: &str) -> Result<Self, RackError> {
        let way = if direction == Direction::In { "in" } else { "out" };
        let arguments = [
            "-i",
            LINK,
            "-Q",
            way,
            "-U",
            "--immediate-mode",
            "-B",
            "8192",
            "-n",
            "-Z",
            "root",
            "-w",
            "-",
            filter,
        ];
        let mut child = host
            .command("tcpdump")?
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(RackError::io("start tcpdump"))?;
        let shared = Arc::new(Shared::default());
        let mut readers = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            let shared = shared.clone();
            readers.push(thread::spawn(move || watch_messages(stderr, &shared)));
        }
        if let Some(stdout) = child.stdout.take() {
            let shared = shared.clone();
            readers.push(thread::spawn(move || {
                // Ends with the pipe, when tcpdump does.
                let _ = read_frames(stdout, &shared);
                shared.update(|state| state.ended = true);
            }));
        }
        let capture = Self { child, shared, readers };
        capture.wait("tcpdump to listen", LISTEN_DEADLINE, |state| {
            (state.listening || state.ended).then_some(state.listening)
        })?;
        Ok(capture)
    }

    /// The frames so far.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).frames.clone()
    }

    /// Waits until `choose` finds something in the frames so far.
    ///
    /// # Errors
    /// [`RackError::Timeout`] naming `what`, with the number of frames there were.
    pub fn wait_for<T>(
        &self,
        what: &str,
        within: Duration,
        mut choose: impl FnMut(&[Vec<u8>]) -> Option<T>,
    ) -> Result<T, RackError> {
        self.wait(what, within, |state| choose(&state.frames))
    }

    /// Waits for a UDP datagram that `wanted` accepts, and gives its frame.
    ///
    /// # Errors
    /// As [`wait_for`](Capture::wait_for).
    pub fn wait_udp(
        &self,
        what: &str,
        within: Duration,
        mut wanted: impl FnMut(&UdpView<'_>) -> bool,
    ) -> Result<Vec<u8>, RackError> {
        self.wait_for(what, within, |frames| {
            frames.iter().find(|frame| UdpView::parse(frame).is_some_and(|view| wanted(&view))).cloned()
        })
    }

    fn wait<T>(
        &self,
        what: &str,
        within: Duration,
        mut choose: impl FnMut(&State) -> Option<T>,
    ) -> Result<T, RackError> {
        let deadline = Instant::now() + within;
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(value) = choose(&state) {
                return Ok(value);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let detail = format!(" ({} frames captured)", state.frames.len());
                return Err(RackError::Timeout { what: what.to_owned(), waited: within, detail });
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

impl Shared {
    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

fn watch_messages(stderr: impl Read, shared: &Shared) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if line.contains("listening on") {
            shared.update(|state| state.listening = true);
        } else if line.contains("syntax error") {
            eprintln!("tcpdump: {line}");
        }
    }
}

fn read_frames(stdout: impl Read, shared: &Shared) -> io::Result<()> {
    let mut stream = BufReader::new(stdout);
    stream.read_exact(&mut [0; FILE_HEAD])?;
    loop {
        let mut head = [0; FRAME_HEAD];
        stream.read_exact(&mut head)?;
        // tcpdump writes in the byte order of this machine.
        let len = u32::from_ne_bytes([head[8], head[9], head[10], head[11]]);
        let mut frame = vec![0; len as usize];
        stream.read_exact(&mut frame)?;
        shared.update(|state| state.frames.push(frame));
    }
}
