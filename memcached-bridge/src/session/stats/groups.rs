//! The rows of each group of statistics.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};

use fabric::counters::Counters;

use crate::session::{COMPATIBLE_VERSION, Scene, Server};
use crate::store::{Busy, StoreCounters};

/// Connections that one `stats conns` tells of at most.
const CONNECTIONS: usize = 1000;

/// A group of statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Group {
    General,
    Settings,
    Items,
    Slabs,
    Sizes,
    SizesEnable,
    Connections,
}

/// Takes a row: its name and its value.
pub(in crate::session) type Row<'a> = dyn FnMut(&str, &dyn Display) + 'a;

impl Group {
    /// The group that the store itself knows by `name`.
    pub(in crate::session) fn of_store(name: &[u8]) -> Option<Self> {
        match name {
            b"items" => Some(Group::Items),
            b"slabs" => Some(Group::Slabs),
            b"sizes" | b"sizes_disable" => Some(Group::Sizes),
            b"sizes_enable" => Some(Group::SizesEnable),
            _ => None,
        }
    }

    /// Hands the group's rows to `row`. One that must wait for the store has handed over none.
    pub(in crate::session) fn rows(self, scene: Scene<'_>, row: &mut Row<'_>) -> Result<(), Busy> {
        match self {
            Group::General => general(scene, row)?,
            Group::Settings => settings(scene.server, row),
            Group::Items => items(scene, row)?,
            Group::Slabs => slabs(scene, row)?,
            Group::Sizes => row("sizes_status", &"disabled"),
            Group::SizesEnable => {
                row("sizes_status", &"error");
                row("sizes_error", &"not_supported");
            }
            Group::Connections => connections(scene, row)?,
        }
        Ok(())
    }
}

fn general(scene: Scene<'_>, row: &mut Row<'_>) -> Result<(), Busy> {
    let (Server { store, facts, credentials }, now) = (scene.server, scene.now);
    let usage = store.usage_if(scene.patience)?;
    row("pid", &facts.pid);
    row("uptime", &now.at.since(facts.started.at).as_secs());
    row("time", &now.unix);
    row("version", &COMPATIBLE_VERSION);
    row("smartswitch_version", &env!("CARGO_PKG_VERSION"));
    row("pointer_size", &usize::BITS);
    row("max_connections", &facts.max_connections);
    row("curr_connections", &counted(&facts.curr_connections));
    row("total_connections", &counted(&facts.total_connections));
    row("rejected_connections", &counted(&facts.rejected_connections));
    usage.counters.values(|index, value| row(StoreCounters::NAMES[index], &value));
    row("auth_cmds", &credentials.as_ref().map_or(0, |credentials| counted(&credentials.auth_cmds)));
    row("auth_errors", &credentials.as_ref().map_or(0, |credentials| counted(&credentials.auth_errors)));
    row("bytes_read", &counted(&facts.bytes_read));
    row("bytes_written", &counted(&facts.bytes_written));
    row("limit_maxbytes", &usage.limit_bytes);
    row("threads", &facts.threads);
    row("bytes", &usage.bytes);
    row("curr_items", &usage.curr_items);
    Ok(())
}

fn settings(server: &Server, row: &mut Row<'_>) {
    let Server { store, facts, credentials } = server;
    let limits = store.limits();
    let listen = facts.listen.get();
    let port = listen.map_or(0, |listen| listen.address.port());
    let authenticates = credentials.is_some();
    row("maxbytes", &limits.memory_bytes);
    row("maxconns", &facts.max_connections);
    row("tcpport", &port);
    row("udpport", &if listen.is_some_and(|listen| listen.udp) { port } else { 0 });
    row("inter", &listen.map_or(String::new(), |listen| listen.address.ip().to_string()));
    row("verbosity", &0);
    row("evictions", &"on");
    row("shutdown_command", &"no");
    row("num_threads", &facts.threads);
    row("detail_enabled", &"no");
    row("cas_enabled", &"yes");
    row("binding_protocol", &if authenticates { "binary" } else { "auto-negotiate" });
    row("auth_enabled_sasl", &if authenticates { "yes" } else { "no" });
    row("auth_enabled_ascii", &"no");
    row("item_size_max", &limits.item_bytes);
    row("maxconns_fast", &"yes");
    row("slab_reassign", &"no");
    row("lru_crawler", &"no");
    row("flush_enabled", &"yes");
    row("dump_enabled", &"no");
    row("lru_maintainer_thread", &"no");
    row("lru_segmented", &"no");
    row("track_sizes", &"no");
    row("ssl_enabled", &"no");
}

/// An empty class has no rows, as in memcached.
fn items(scene: Scene<'_>, row: &mut Row<'_>) -> Result<(), Busy> {
    let usage = scene.store().usage_if(scene.patience)?;
    let age_seconds = scene.store().age_seconds_if(scene.now, scene.patience)?;
    if usage.curr_items == 0 {
        return Ok(());
    }
    row("items:1:number", &usage.curr_items);
    row("items:1:age", &age_seconds);
    row("items:1:mem_requested", &usage.bytes);
    row("items:1:evicted", &usage.counters.evictions);
    row("items:1:outofmemory", &0);
    row("items:1:tailrepairs", &0);
    row("items:1:reclaimed", &usage.counters.reclaimed);
    row("items:1:expired_unfetched", &usage.counters.expired_unfetched);
    row("items:1:evicted_unfetched", &usage.counters.evicted_unfetched);
    Ok(())
}

fn slabs(scene: Scene<'_>, row: &mut Row<'_>) -> Result<(), Busy> {
    let usage = scene.store().usage_if(scene.patience)?;
    let counters = &usage.counters;
    if usage.curr_items > 0 {
        row("1:used_chunks", &usage.curr_items);
        row("1:get_hits", &counters.get_hits);
        row("1:cmd_set", &counters.cmd_set);
        row("1:delete_hits", &counters.delete_hits);
        row("1:incr_hits", &counters.incr_hits);
        row("1:decr_hits", &counters.decr_hits);
        row("1:cas_hits", &counters.cas_hits);
        row("1:cas_badval", &counters.cas_badval);
        row("1:touch_hits", &counters.touch_hits);
    }
    row("active_slabs", &u8::from(usage.curr_items > 0));
    row("total_malloced", &usage.bytes);
    Ok(())
}

fn connections(scene: Scene<'_>, row: &mut Row<'_>) -> Result<(), Busy> {
    let facts = &scene.server.facts;
    let listen = facts.listen.get().map(|listen| listen.address);
    facts.connections.each(CONNECTIONS, scene.now, scene.patience, |id, peer, idle_seconds| {
        row(&format!("{id}:addr"), &format_args!("tcp:{peer}"));
        if let Some(listen) = listen {
            row(&format!("{id}:listen_addr"), &format_args!("tcp:{listen}"));
        }
        row(&format!("{id}:state"), &"conn_read");
        row(&format!("{id}:secs_since_last_cmd"), &idle_seconds);
    })
}

fn counted(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
