//! All shards, one after the other, from whichever members have them.

use naming::Name;
use naming_directory_client::client::Snapshot;
use naming_directory_client::wire::Malformed;
use naming_directory_client::{Client, Error};

use super::parts;

/// A backup on its way: the file's bytes, part by part, at the pace at which they are asked for. Of shards that the client's node
/// does not have, a chunk at a time is in memory. Each shard has everything that was acknowledged before the backup was begun.
pub struct Backup {
    client: Client,
    next: Next,
    /// Shards that came.
    shards: u32,
}

/// What comes next.
enum Next {
    Header(Box<Snapshot>),
    Shard(Box<Snapshot>),
    Chunk(Box<Snapshot>),
    /// The shard that begins with this name.
    From(Name),
    End,
    Error(Error),
    Nothing,
}

impl Backup {
    /// Begins with the first shard.
    ///
    /// # Errors
    /// If the directory does not answer.
    pub async fn begin(client: Client) -> Result<Self, Error> {
        let first = client.snapshot(Name::root().as_name()).await?;
        Ok(Self { client, next: Next::Header(Box::new(first)), shards: 0 })
    }

    /// The next part; `None` behind the last one: the backup is whole then, unless there was an error. Before an error a part says
    /// why there is no end, for whoever has nothing but the parts.
    ///
    /// # Errors
    /// If a shard does not answer, or a member does not go on with what it sent before.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>, Error>> {
        loop {
            let (part, next) = match std::mem::replace(&mut self.next, Next::Nothing) {
                Next::Header(first) => (Some(parts::header()), Next::Shard(first)),
                Next::Shard(snapshot) => (Some(parts::shard(snapshot.shard())), Next::Chunk(snapshot)),
                Next::Chunk(mut snapshot) => match snapshot.next().await {
                    Ok(Some(chunk)) => (Some(parts::chunk(&chunk)), Next::Chunk(snapshot)),
                    Ok(None) => {
                        self.shards += 1;
                        let until = snapshot.range().until();
                        (None, until.map_or(Next::End, |until| Next::From(until.to_name())))
                    }
                    Err(error) => (Some(parts::failed(&error)), Next::Error(error)),
                },
                Next::From(name) => match self.snapshot_from(&name).await {
                    Ok(snapshot) => (None, Next::Shard(Box::new(snapshot))),
                    Err(error) => (Some(parts::failed(&error)), Next::Error(error)),
                },
                Next::End => (Some(parts::end(self.shards)), Next::Nothing),
                Next::Error(error) => return Some(Err(error)),
                Next::Nothing => return None,
            };
            self.next = next;
            if let Some(part) = part {
                return Some(Ok(part));
            }
        }
    }

    async fn snapshot_from(&self, name: &Name) -> Result<Snapshot, Error> {
        let snapshot = self.client.snapshot(name.as_name()).await?;
        // Shards are never merged: where one ended, another one begins for ever.
        if snapshot.range().from() != name.as_name() {
            return Err(Malformed("a shard does not begin where the one before ends").into());
        }
        Ok(snapshot)
    }
}
