//! With a new store: at once, or once others have said that it may. What they say means is for
//! [`beginning`](crate::beginning) to know.

use naming::NodeId;
use naming_directory::Position;
use naming_directory::catalog::{Catalog, NameRange};
use naming_directory::log::{Base, Log, Members, Record};
use naming_directory_client::ShardId;
use naming_directory_client::wire;

use super::{Driver, End};
use crate::beginning::{Beginning, Step, Waiting};
use crate::settings::{Begin, Settings};
use crate::store::{Founders, Identity, Store, StoreError, StoreId};

/// What a store begins with, if it has not begun, and whether it has nothing; `None`: nobody is to be asked.
pub(super) fn begin(
    store: &Store,
    settings: &Settings,
    is_empty: bool,
) -> Result<Option<Beginning>, StoreError> {
    if store.has_begun() {
        return Ok(None);
    }
    match &settings.begin {
        Begin::Join => Ok(None),
        Begin::Found(_) if !is_empty => Ok(None),
        Begin::Found(voters) => found(store, voters.iter().copied(), settings).map(|_| None),
        Begin::Ask { founders, peers } => Ok(Some(Beginning::new(store.identity(), founders, peers))),
    }
}

/// What the first members of a directory begin with, all with the same.
fn found(
    store: &Store,
    voters: impl IntoIterator<Item = NodeId>,
    settings: &Settings,
) -> Result<(Log, Catalog), StoreError> {
    let state = Catalog::new(NameRange::all(), Position::FIRST, settings.history_bytes);
    let members = Members::of_voters(voters);
    let log = Log::begin(Base { position: Position::FIRST, members });
    store.create(ShardId::FIRST, &log, &state)?;
    store.begin()?;
    Ok((log, state))
}

impl Store {
    /// Makes a shard durable that begins: its state first, since a log without a state is damage.
    pub(crate) fn create(&self, shard: ShardId, log: &Log, state: &Catalog) -> Result<(), StoreError> {
        self.keep_snapshot(shard, state)?;
        let records: Vec<Record> = log.records().collect();
        self.write([(shard, &records[..])], true).map(drop)
    }
}

impl Driver {
    /// Takes what others said, does what follows from it, and says what it waits for then, if it does.
    pub(super) fn told(&mut self, answers: Vec<(NodeId, wire::Description)>) -> Result<Option<Waiting>, End> {
        let Some(beginning) = &mut self.beginning else { return Ok(None) };
        let mut step = beginning.round(&answers);
        if let Step::WriteDown(founders) = step {
            self.store.write_down(&founders).map_err(End::Failed)?;
            step = beginning.written_down(founders);
        }
        match step {
            Step::Wait | Step::WriteDown(_) => {}
            Step::Found(founders) => {
                tracing::info!(founders = ?founders.keys(), "the directory begins");
                self.found(&founders).map_err(End::Failed)?;
            }
            Step::Refuse(refused) => return Err(End::Refused(refused)),
        }
        Ok(self.beginning.as_ref().map(Beginning::waiting))
    }

    fn found(&mut self, founders: &Founders) -> Result<(), StoreError> {
        let settings = &self.shared.settings;
        // A node that founds alone has not done so.
        self.store.write_down(founders)?;
        let (log, state) = found(&self.store, founders.keys().copied(), settings)?;
        self.beginning = None;
        self.start(ShardId::FIRST, log, Some(state))
    }

    /// Notes that it got a shard: once in a store's life that is written, and the disk waited for.
    pub(super) fn joined(&mut self) -> Result<(), StoreError> {
        self.beginning = None;
        self.store.join()
    }

    /// Whether messages of another node's groups are taken. Of one that may count on what this node forgot they are not.
    pub(super) fn hears(&mut self, from: NodeId) -> bool {
        self.beginning.as_mut().is_none_or(|beginning| beginning.hears(from))
    }

    /// How the store began, for others that have not.
    pub(super) fn describe_beginning(&self) -> wire::Beginning {
        let Identity { store, founders, begun, .. } = self.store.identity();
        let founder =
            |(node, store): (&NodeId, &StoreId)| wire::Founder { node: node.get(), store: store.get() };
        let founders = founders.iter().map(founder).collect();
        wire::Beginning { store: store.get(), begun, founders }
    }
}
