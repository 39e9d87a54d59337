//! Nodes with certificates of their own, and waiting for what is to come.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use fabric_quic::pki::{Authority, Validity};
use fabric_quic::{
    Builder, Calls, Config, Endpoint, Files, Identity, IncomingCall, IncomingStream, MessageInbox, Messages,
    Streams,
};
use naming::NodeId;
use tokio::sync::mpsc;

/// Ordinary messages.
pub(crate) const NEWS: Messages = Messages::new(1, "news");
/// Messages with little room.
pub(crate) const TIGHT: Messages =
    Messages::new(2, "tight").max_bytes(1 << 20).queue(16, 1 << 20).inbox(4, 1 << 20);
/// Ordinary calls.
pub(crate) const ASK: Calls = Calls::new(3, "ask").max_bytes(64 << 20, 64 << 20);
/// One call at a time.
pub(crate) const ONE: Calls = Calls::new(4, "one").concurrent(1);
/// Streams of chunks.
pub(crate) const FLOW: Streams = Streams::new(5, "flow");
/// What no node serves.
pub(crate) const NOBODY: Calls = Calls::new(99, "nobody");
/// What no node serves.
pub(crate) const SILENCE: Messages = Messages::new(98, "silence");

/// What takes longer than this does not come any more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks whether it has come.
const PAUSE: Duration = Duration::from_millis(2);

pub(crate) fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

/// An authority, in a directory that is gone with it.
pub(crate) struct Ca {
    dir: PathBuf,
    authority: Authority,
}

impl Ca {
    pub(crate) fn new() -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("quic-{}-{serial}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let authority = Authority::create(&dir, "test", Validity::days(30).unwrap()).unwrap();
        Self { dir, authority }
    }

    /// A node's files, made if it has none.
    pub(crate) fn files(&self, node: NodeId) -> Files {
        let files = self.authority.files(node);
        if files.key.exists() {
            files
        } else {
            self.authority.issue(node, &[], Validity::days(1).unwrap()).unwrap()
        }
    }

    /// A new certificate for a node that has files.
    pub(crate) fn renew(&self, node: NodeId, until: SystemTime) -> Files {
        let from = SystemTime::now() - Duration::from_secs(3600);
        self.authority.renew(node, &[], Validity { from, until }).unwrap()
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.dir.join("ca.key")
    }

    pub(crate) fn identity(&self, node: NodeId) -> Identity {
        Identity::open(&self.files(node)).unwrap()
    }

    pub(crate) fn node(&self, number: u64) -> Node {
        Node::start(self.identity(id(number)), config(), "127.0.0.1:0".parse().unwrap())
    }
}

impl Drop for Ca {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// So patient that it is no fault of anybody if the machine is busy, or stands still.
pub(crate) fn config() -> Config {
    Config { dial_ms: 60_000, backoff_max_ms: 200, idle_timeout_ms: 600_000, ..Config::default() }
}

/// Impatient, so that tests of who is gone need not be patient.
pub(crate) fn impatient() -> Config {
    Config { dial_ms: 1000, idle_timeout_ms: 3000, keep_alive_ms: 500, ..config() }
}

/// A node that serves every channel above.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) news: MessageInbox,
    pub(crate) tight: MessageInbox,
    pub(crate) ask: mpsc::Receiver<IncomingCall>,
    pub(crate) one: mpsc::Receiver<IncomingCall>,
    pub(crate) flow: mpsc::Receiver<IncomingStream>,
}

impl Node {
    pub(crate) fn start(identity: Identity, config: Config, address: SocketAddr) -> Self {
        let mut builder = Builder::new(identity, config);
        let (news, tight) = (builder.messages(&NEWS), builder.messages(&TIGHT));
        let (ask, one, flow) = (builder.calls(&ASK), builder.calls(&ONE), builder.streams(&FLOW));
        let endpoint = builder.bind(address).unwrap();
        Self { endpoint, news, tight, ask, one, flow }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.endpoint.node()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.endpoint.local_address()
    }

    /// Tells it where `other` is.
    pub(crate) fn knows(&self, other: &Node) {
        self.endpoint.set_addresses(other.id(), &[other.address()]).unwrap();
    }

    pub(crate) fn count(&self, counter: &str) -> u64 {
        self.endpoint.counters().value(counter).unwrap_or_else(|| panic!("no counter {counter}"))
    }

    /// Connections made, by whom ever.
    pub(crate) fn connections(&self) -> u64 {
        self.count("connections_dialed") + self.count("connections_accepted")
    }

    pub(crate) fn is_connected(&self, peer: NodeId) -> bool {
        self.endpoint.peer(peer).is_some_and(|peer| peer.connection.is_some())
    }

    /// Answers each call with what it asks, from now on.
    pub(crate) fn echo(&mut self) {
        let (_, unused) = mpsc::channel(1);
        let mut calls = std::mem::replace(&mut self.ask, unused);
        tokio::spawn(async move {
            while let Some(call) = calls.recv().await {
                let reply = call.request().clone();
                call.reply(reply).unwrap();
            }
        });
    }
}

/// Waits until it is so. Looks are counted, not time: a virtual machine may stand still for long.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        if is_so() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("it did not come: {what}");
}

/// Waits for something, which has to come. Counts as [`until`] does.
pub(crate) async fn soon<T>(what: &str, coming: impl Future<Output = T>) -> T {
    let mut coming = std::pin::pin!(coming);
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        if let Ok(came) = tokio::time::timeout(PAUSE, coming.as_mut()).await {
            return came;
        }
    }
    panic!("it did not come: {what}");
}
