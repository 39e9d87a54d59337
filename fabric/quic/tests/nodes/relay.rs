//! A network between nodes that loses, delays and reorders datagrams, or carries none.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Stands before one node: who dials `address` is passed on to it.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    cut: Arc<AtomicBool>,
    one_way: Arc<AtomicBool>,
    pub(crate) lost: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Weather {
    pub(crate) const FAIR: Self = Self { loss_per_mille: 0, delay: Duration::ZERO, seed: 0 };
}

/// What happens to datagrams: so many of a thousand are lost, and each takes up to so long.
#[derive(Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) loss_per_mille: u32,
    pub(crate) delay: Duration,
    pub(crate) seed: u64,
}

impl Relay {
    pub(crate) async fn before(node: SocketAddr, weather: Weather) -> Self {
        let outside = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let inside = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        inside.connect(node).await.unwrap();
        let address = outside.local_addr().unwrap();
        let (cut, lost) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let one_way = Arc::new(AtomicBool::new(false));
        let silent = Arc::clone(&one_way);
        let (is_cut, count) = (Arc::clone(&cut), Arc::clone(&lost));
        let task = tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(weather.seed);
            let (mut there, mut back) = (vec![0; 65_536], vec![0; 65_536]);
            let mut client = None;
            loop {
                let (bytes, from, to) = tokio::select! {
                    Ok((len, from)) = outside.recv_from(&mut there) => {
                        client = Some(from);
                        (there[..len].to_vec(), &inside, node)
                    }
                    Ok(len) = inside.recv(&mut back) => {
                        let Some(client) = client else { continue };
                        (back[..len].to_vec(), &outside, client)
                    }
                    else => continue,
                };
                let swallowed =
                    is_cut.load(Ordering::Relaxed) || to != node && silent.load(Ordering::Relaxed);
                if swallowed || random.u32(0..1000) < weather.loss_per_mille {
                    count.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                let (socket, delay) = (Arc::clone(from), weather.delay.mul_f64(random.f64()));
                let connected = to == node;
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    let _ =
                        if connected { socket.send(&bytes).await } else { socket.send_to(&bytes, to).await };
                });
            }
        });
        Self { address, cut, one_way, lost, task }
    }

    /// Brings nothing back from now on: as if who dials had given the address of another.
    pub(crate) fn one_way(&self) {
        self.one_way.store(true, Ordering::Relaxed);
    }

    /// Carries nothing from now on, or again.
    pub(crate) fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}
