//! A client of etcd. A copy of a chunk is a pair of key and value.

use std::sync::Arc;

use etcd_client::{GetOptions, KvClient, PutOptions, Txn, TxnOp, WatchClient, WatchOptions};
use naming::{Digest, Name};

use crate::Failure;
use crate::client::Freshness;
use crate::entry::{CHUNK_BYTES, Entry, HOLDER};
use crate::watch::FanOut;

/// Clones share a connection.
#[derive(Clone)]
pub(crate) struct Client(Arc<Parts>);

struct Parts {
    pairs: KvClient,
    watches: WatchClient,
}

impl Client {
    pub(crate) fn new(client: &etcd_client::Client) -> Self {
        Self(Arc::new(Parts { pairs: client.kv_client(), watches: client.watch_client() }))
    }

    /// One put, or one transaction of puts.
    pub(crate) async fn publish(&self, entries: &[Entry]) -> Result<(), Failure> {
        let mut pairs = self.0.pairs.clone();
        if let [entry] = entries {
            pairs.put(key(&entry.name), value(entry), None::<PutOptions>).await?;
        } else {
            let puts: Vec<TxnOp> =
                entries.iter().map(|entry| TxnOp::put(key(&entry.name), value(entry), None)).collect();
            pairs.txn(Txn::new().and_then(puts)).await?;
        }
        Ok(())
    }

    pub(crate) async fn resolve(&self, name: &Name, freshness: Freshness) -> Result<Option<Digest>, Failure> {
        let options = match freshness {
            Freshness::Linearizable => None,
            Freshness::Local => Some(GetOptions::new().with_serializable()),
        };
        let got = self.0.pairs.clone().get(key(name), options).await?;
        let digest = |value: &[u8]| value.first_chunk().copied().map(Digest::from_bytes);
        Ok(got.kvs().first().and_then(|pair| digest(pair.value())))
    }

    pub(crate) async fn watch(&self, prefix: &Name, fan_out: &Arc<FanOut>) -> Result<(), Failure> {
        let options = WatchOptions::new().with_prefix();
        let mut stream = self.0.watches.clone().watch(key(prefix), Some(options)).await?;
        // The first message says that it has begun.
        stream.message().await?.ok_or("a watch ended before it began")?;
        let fan_out = Arc::clone(fan_out);
        tokio::spawn(async move {
            while let Ok(Some(response)) = stream.message().await {
                if !fan_out.seen(response.events().len()) {
                    break;
                }
            }
        });
        Ok(())
    }
}

/// As SmartSwitch has it: the name's components, which sort in its order.
fn key(name: &Name) -> Vec<u8> {
    name.as_bytes().to_vec()
}

/// What SmartSwitch has of a copy: digest, length, holder.
fn value(entry: &Entry) -> Vec<u8> {
    [&entry.digest.as_bytes()[..], &CHUNK_BYTES.to_le_bytes(), &HOLDER.to_le_bytes()].concat()
}
