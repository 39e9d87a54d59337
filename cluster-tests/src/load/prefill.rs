//! Values put into a server before it is measured.

use super::Keys;
use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

/// Stores every key at the memcached server at `address`, over TCP, and waits until all are there.
///
/// # Errors
/// What the kernel says, or that the server reports an error.
pub fn prefill(address: SocketAddrV4, keys: Keys) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address.into(), Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut batch = Vec::new();
    for index in 0..keys.count {
        write!(batch, "set {} 0 0 {} noreply\r\n", keys.key(index), keys.value_bytes)?;
        batch.extend_from_slice(&keys.value(index));
        batch.extend_from_slice(b"\r\n");
        if batch.len() > 1 << 16 {
            stream.write_all(&batch)?;
            batch.clear();
        }
    }
    batch.extend_from_slice(b"mn\r\n");
    stream.write_all(&batch)?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    if answer != *b"MN\r\n" {
        return Err(io::Error::other("the server refused a value"));
    }
    Ok(())
}
