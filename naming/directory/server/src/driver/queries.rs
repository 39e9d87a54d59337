//! Answers from a state.

use naming::{Name, NameRef, NodeId};
use naming_directory::catalog::{Catalog, Change, Event, RecordKind};
use naming_directory_client::wire::{
    self, Cursor, Failure, FailureKind, Table, event_to, position_to, request, response,
};

/// Names or events in an answer at most.
const MAX_ITEMS: usize = 4096;
/// Bytes of a listing's names and values after which a page ends.
const PAGE_BYTES: usize = 1 << 20;

/// The answer to a query, from the state as it is.
pub(super) fn answer(state: &Catalog, query: &request::Body) -> response::Body {
    let answer = match query {
        request::Body::Resolve(resolve) => self::resolve(state, resolve),
        request::Body::List(list) => self::list(state, list),
        _ => Err(Failure::new(FailureKind::Refused, "the request is no query")),
    };
    answer.unwrap_or_else(response::Body::Failure)
}

fn resolve(state: &Catalog, resolve: &wire::Resolve) -> Result<response::Body, Failure> {
    if resolve.names.len() > MAX_ITEMS {
        let text = format!("{} names; a request takes {MAX_ITEMS}", resolve.names.len());
        return Err(Failure::new(FailureKind::Refused, text));
    }
    let resolutions: Result<_, Failure> =
        resolve.names.iter().map(|name| Ok(resolution(state, own_name(state, name)?))).collect();
    Ok(response::Body::Resolved(wire::Resolved {
        resolutions: resolutions?,
        position: position_to(state.position()),
    }))
}

fn resolution(state: &Catalog, name: NameRef<'_>) -> wire::Resolution {
    let len = |prefix: NameRef<'_>| prefix.len() as u32;
    wire::Resolution {
        copies: state.copies(name).map(|copies| wire::Copies {
            digest: copies.digest.as_bytes().to_vec().into(),
            length: copies.length,
            holders: copies.holders.iter().map(|node| node.get()).collect(),
        }),
        authority: state.authority(name).map(|(prefix, held)| wire::Authority {
            prefix_len: len(prefix),
            node: held.node.map_or(0, NodeId::get),
            epoch: held.epoch,
            term: held.term,
            remaining_ms: held.expires.0.saturating_sub(state.time().0),
        }),
        route: state.longest_record(RecordKind::Route, name).map(|(prefix, record)| wire::Route {
            prefix_len: len(prefix),
            revision: record.revision,
            value: record.value.clone(),
        }),
    }
}

fn list(state: &Catalog, list: &wire::List) -> Result<response::Body, Failure> {
    let prefix = name_of(&list.prefix)?;
    let (first, after) = match &list.cursor {
        Some(cursor) => (cursor.table(), Some(name_of(&cursor.name)?)),
        None => (Table::Nodes, None),
    };
    let mut page = Page { events: Vec::new(), bytes: 0, limit: (list.limit as usize).clamp(1, MAX_ITEMS) };
    let tables = TABLES.into_iter().skip_while(|table| *table != first);
    let next = tables.into_iter().find_map(|table| {
        let full = page.fill(state, table, prefix, after.filter(|_| table == first));
        full.map(|name| Cursor { table: table.into(), name: name.as_bytes().to_vec().into() })
    });
    let range = state.range();
    Ok(response::Body::Listing(wire::Listing {
        events: page.events,
        next,
        position: position_to(state.position()),
        from: range.from().as_bytes().to_vec().into(),
        until: range.until().map(|until| until.as_bytes().to_vec().into()),
    }))
}

const TABLES: [Table; 7] = [
    Table::Nodes,
    Table::Pools,
    Table::Routes,
    Table::Programs,
    Table::Limits,
    Table::Authorities,
    Table::Copies,
];

struct Page {
    events: Vec<wire::Event>,
    bytes: usize,
    limit: usize,
}

impl Page {
    /// Takes what the table has under `prefix` behind `after`; the last name that was taken, if there may be more.
    fn fill(
        &mut self,
        state: &Catalog,
        table: Table,
        prefix: NameRef<'_>,
        after: Option<NameRef<'_>>,
    ) -> Option<Name> {
        let records = |kind: RecordKind| {
            state.records(kind, prefix, after).map(move |(name, record)| {
                (name.to_name(), vec![Change::Record { kind, record: Some(record.clone()) }])
            })
        };
        match table {
            Table::Nodes => {
                let live = state.nodes(None).filter(|node| node.expires > state.time());
                let items = live.filter_map(|node| {
                    let name = naming::space::node(node.location.node).ok()?;
                    let up = Change::NodeUp { location: node.location.clone(), epoch: node.epoch };
                    Some((name, vec![up]))
                });
                let behind = |(name, _): &(Name, Vec<Change>)| {
                    name.as_name().starts_with(prefix) && after.is_none_or(|after| after < name.as_name())
                };
                self.take(items.filter(behind))
            }
            Table::Pools => self.take(records(RecordKind::Pool)),
            Table::Routes => self.take(records(RecordKind::Route)),
            Table::Programs => self.take(records(RecordKind::Program)),
            Table::Limits => self.take(records(RecordKind::Limits)),
            Table::Authorities => {
                let held = state.authorities(prefix, after);
                self.take(held.map(|(name, held)| {
                    (name.to_name(), vec![Change::Authority { node: held.node, term: held.term }])
                }))
            }
            Table::Copies => self.take(state.names_with_copies(prefix, after).map(|(name, copies)| {
                let (digest, length) = (copies.digest, copies.length);
                let copies = copies.holders.iter().map(|node| Change::Copy { node: *node, digest, length });
                (name, copies.collect())
            })),
        }
    }

    fn take(&mut self, items: impl Iterator<Item = (Name, Vec<Change>)>) -> Option<Name> {
        for (name, changes) in items {
            for change in changes {
                let event = event_to(&Event { name: name.clone(), change });
                self.bytes += prost::Message::encoded_len(&event);
                self.events.push(event);
            }
            if self.events.len() >= self.limit || self.bytes >= PAGE_BYTES {
                return Some(name);
            }
        }
        None
    }
}

/// A name that the shard has to have. If it has not, it was split, and whoever asks does not know yet.
pub(super) fn own_name<'a>(state: &Catalog, bytes: &'a [u8]) -> Result<NameRef<'a>, Failure> {
    let name = name_of(bytes)?;
    let other = || Failure::new(FailureKind::WrongShard, format!("{name} is another shard's"));
    state.range().contains(name).then_some(name).ok_or_else(other)
}

fn name_of(bytes: &[u8]) -> Result<NameRef<'_>, Failure> {
    NameRef::from_bytes(bytes).map_err(|error| Failure::new(FailureKind::Refused, error))
}
