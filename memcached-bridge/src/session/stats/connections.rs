//! Who is connected, for `stats conns`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::{Busy, Now, Patience};

/// The open connections of a server. As many as the shell opens.
#[derive(Debug, Default)]
pub struct Connections {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    open: BTreeMap<u64, Arc<Connection>>,
    last_id: u64,
}

#[derive(Debug)]
struct Connection {
    peer: SocketAddr,
    /// The second of the last input.
    active: AtomicU32,
}

/// A connection in the table, until it is dropped.
#[derive(Debug)]
pub struct Listed {
    id: u64,
    connection: Arc<Connection>,
    table: Arc<Mutex<Table>>,
}

impl Connections {
    /// Enters a connection of `peer`.
    pub fn enter(&self, peer: SocketAddr, now: Now) -> Listed {
        let connection = Arc::new(Connection { peer, active: AtomicU32::new(now.seconds()) });
        let mut table = lock(&self.table);
        table.last_id += 1;
        let id = table.last_id;
        table.open.insert(id, Arc::clone(&connection));
        Listed { id, connection, table: Arc::clone(&self.table) }
    }

    /// Hands the first `limit` connections to `each`: number, peer, and seconds since the last input. [`Busy`] if another
    /// thread holds the table, and the caller may not wait.
    pub(super) fn each(
        &self,
        limit: usize,
        now: Now,
        patience: Patience,
        mut each: impl FnMut(u64, SocketAddr, u32),
    ) -> Result<(), Busy> {
        let table = match patience {
            Patience::Wait => lock(&self.table),
            Patience::Look => self.table.try_lock().map_err(|_| Busy)?,
        };
        for (&id, connection) in table.open.iter().take(limit) {
            let active = connection.active.load(Ordering::Relaxed);
            each(id, connection.peer, now.seconds().saturating_sub(active));
        }
        Ok(())
    }
}

impl Listed {
    /// Notes that input came.
    pub fn is_active(&self, now: Now) {
        self.connection.active.store(now.seconds(), Ordering::Relaxed);
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.table).open.remove(&self.id);
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
